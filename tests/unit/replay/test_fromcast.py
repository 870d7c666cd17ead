"""Recordings with input: cut into what a person did."""

import pytest

from gshell.cast.format import Cast, Event, Header
from gshell.replay import fromcast, gstwrite
from gshell.replay.script import ScriptError


def cast(*events):
    return Cast(
        Header(80, 24), [Event(n / 10, code, data) for n, (code, data) in enumerate(events)]
    )


def typing(text, end="\r\n"):
    """A line, a key at a time, each echoed, and Enter."""
    keys = [event for char in text for event in (("i", char), ("o", char))]
    return [*keys, ("i", "\r"), ("o", end)]


def written(*events):
    """As a transcript, without times and head."""
    made = fromcast.script(cast(*events), "x.cast")._replace(warnings=())
    lines = gstwrite.write(made).splitlines()
    return [line for line in lines[2:] if line and not line.startswith("@at")]


def test_a_shell_and_a_program_in_it():
    assert written(
        ("o", "\x1b[?2004hhost:~$ "), *typing("python3", "\r\n\x1b[?2004l\rPython 3.11\r\n>>> "),
        *typing("1+1", "\r\n2\r\n>>> "), *typing("print('(any)')", "\r\n(any)\r\n# x\r\n>>> "),
        ("i", "\x04"), ("o", "\r\nhost:~$ "), *typing("exit", "\r\nexit\r\n"), ("x", "0"),
    ) == [
        "$ python3", "Python 3.11", ">>>> 1+1", "2", ">>>> print('(any)')", "\\(any)", "\\# x", ">>>> ^D",
        "(nothing)", "$ exit", "exit",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("named", "shell"), [("/opt/bin/zsh", "/opt/bin/zsh"), ("bash", "bash"), ("/bin/rm", "")]
)
def test_the_shell_is_the_one_it_was_typed_into(named, shell):
    typed = cast(("o", "$ "), *typing("ls"))
    one = typed._replace(header=typed.header._replace(env={"SHELL": named, "TERM": "xterm"}))
    assert fromcast.script(one, "x.cast").shell == shell
    assert fromcast.script(typed, "x.cast").shell == ""


def headed(script_of=(), **fields):
    typed = cast(*(script_of or (("o", "$ "), *typing("ls"))))
    return fromcast.script(typed._replace(header=typed.header._replace(**fields)), "x.cast")


def test_a_shell_that_says_which_it_is_counts_more_than_who_recorded_it():
    events = [("o", "\x1b]133;S;/bin/bash\x07"), ("p", "A"), ("o", "$ "), ("p", "B"), *typing("ls")]
    assert headed(events, env={"SHELL": "/bin/zsh"}).shell == "/bin/bash"


def test_a_shell_that_nobody_knows_is_said():
    script = headed(env={"SHELL": "/usr/bin/nu"})
    assert script.shell == ""
    assert "/usr/bin/nu" in script.warnings[0]


def test_what_was_recorded_is_kept_and_no_shell_is_looked_for():
    script = headed(
        [("o", ">>> "), *typing("1+1", "\r\n2\r\n>>> ")],
        command="python3 -q", env={"SHELL": "/bin/bash"},
    )  # fmt: skip
    assert (script.command, script.shell) == ("python3 -q", "")
    assert [step.shown for step in script.steps] == [">>>> 1+1"]


FANCY = "\r\n~/src on main took 2s\r\n\u276f "
PASTES, PASTED = "\x1b[?2004h", "\x1b[?2004l\r"
ZSH = "\x1b[1m\x1b[7m%\x1b[27m\x1b[1m\x1b[0m" + " " * 79 + "\r \r\r\x1b[0m\x1b[27m\x1b[24m\x1b[J"


@pytest.mark.parametrize(
    "prompt",
    [PASTES + FANCY, ZSH + FANCY + "\x1b[K\x1b[75C12:30\x1b[79D" + PASTES],
    ids=["bash", "zsh"],
)
def test_a_prompt_of_several_lines_is_no_answer(prompt):
    assert written(
        ("o", prompt), *typing("ls", "\r\n" + PASTED + "a  b\r\n" + prompt),
        *typing("printf x", "\r\n" + PASTED + "x" + prompt), *typing("true", "\r\n" + PASTED + prompt),
    ) == ["$ ls", "a  b", "$ printf x", "x", "$ true", "(nothing)"]  # fmt: skip


def test_output_without_a_line_end_is_seen_before_the_prompt():
    mark = "\x1b[2m\u23ce\x1b(B\x1b[m" + " " * 79 + "\r\u23ce \r\x1b[K"
    fish = mark + PASTES + "me@box ~> "
    assert written(("o", fish), *typing("printf x", "\r\n" + PASTED + "x" + fish))[1:] == ["x"]
    assert written(("o", "# "), *typing("printf x", "\r\nx# "), *typing("true", "\r\n# ")) == [
        "$ printf x", "x", "$ true", "(nothing)",
    ]  # fmt: skip


PASTE = [
    ("i", "\x1b[200~a\nb\x1b[201~"),
    ("o", "\x1b[7ma\x1b[m\r\n\x1b[7mb\x1b[m"),
    ("o", "\r" + "\x1b[A" + "$ a\r\nb"),
]


@pytest.mark.parametrize(
    "enter",
    [
        "\r\n\x1b[?2004l\r", "\x1b[?1l\x1b>\x1b[?2004l\r\r\n",
        "\x1b[K\r\n\x1b[30m\x1b(B\x1b[m\x1b[?2004l\x1b]0;a\x07",
    ],
    ids=["bash", "zsh", "fish"],
)  # fmt: skip
def test_a_pasted_command_of_several_lines_is_not_its_own_answer(enter):
    prompt = PASTES + "$ "
    for said in (["A"], ["", "A"], []):
        answer = ("o", enter + "".join(f"{line}\r\n" for line in said) + prompt)
        made = fromcast.script(cast(("o", prompt), *PASTE, ("i", "\r"), answer))
        assert [line.text for line in made.steps[-1].expected] == said
        made = fromcast.script(cast(("o", prompt), *typing("ls", ""), answer))
        assert [line.text for line in made.steps[-1].expected] == said


def test_lines_above_a_prompt_are_known_by_their_return():
    prompt = "\r\n~/a on main\r\n$ "
    events = [("o", "Welcome\r\n" + prompt), *typing("ls", "\r\na  b\r\n" + prompt)]
    events += [*typing("cd /", "\r\n" + prompt.replace("~/a", "/")), *typing("x", "\r\n>>> ")]
    events += [("i", "\x04"), ("o", "\r\n" + prompt), *typing("true", "\r\n" + prompt)]
    assert written(*events) == [
        "$ ls", "a  b", "$ cd /", "(nothing)", "$ x", "(nothing)", ">>>> ^D", "(nothing)", "$ true",
        "(nothing)",
    ]  # fmt: skip
    lone = [("o", "Last login: now\r\n$ "), *typing("last", "\r\nLast login: then\r\n$ ")]
    assert written(*lone, *typing("true", "\r\n$ "))[:2] == ["$ last", "Last login: then"]


def test_what_is_shown_below_while_it_is_typed_is_echo():
    below = [
        ("i", "1+1"),
        ("o", "1+1\x1b[3m\r\n2\x1b[m\x1b[1A\x1b[6G"),
        ("i", "\r"),
        ("o", "\r\n\x1b[J2\r\n> "),
    ]
    assert written(("o", "$ "), *typing("node", "\r\n> "), *below) == [
        "$ node", "(nothing)", ">> 1+1", "2",
    ]  # fmt: skip


def test_where_lines_are_not_shown_again_the_prompt_tells_that_they_were_typed_ahead():
    made = fromcast.script(
        cast(("o", "# "), *typing("sleep 5"), *typing("ls"), ("o", "# a  b\r\n# "), *typing("true"))
    )
    assert [step.expected is not None for step in made.steps] == [False, False, True]


def test_a_right_prompt_is_no_answer():
    prompt = "host% \x1b[60C[12:30]\x1b[68D"
    assert written(("o", prompt), *typing("ls", "\r\na\r\n" + prompt)) == ["$ ls", "a"]


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("me@box ~> ", "me@box /tmp> "),
        ("\u279c  ~ ", "\u279c  src git:(main) \u2717 "),
        ("~/a> ", "/usr> "),
    ],
)
def test_the_shells_prompt_is_the_one_that_asked_first(first, other):
    assert written(
        ("o", first), *typing("cd x", "\r\n" + other), *typing("python3", "\r\n>>> "),
        *typing("1+1", "\r\n2\r\n>>> "),
    ) == ["$ cd x", "(nothing)", "$ python3", "(nothing)", ">>>> 1+1", "2"]  # fmt: skip


def test_what_was_typed_ahead_is_known_by_its_second_echo():
    made = fromcast.script(
        cast(
            ("o", "$ "), *typing("pwd", "\r\n/\r\n$ "), *typing("sleep 5"), *typing("ls"), *typing("date"),
            ("o", "$ ls\r\na\r\n$ date\r\nnow\r\n$ "), *typing("echo x", "\r\nx\r\n$ "),
        )
    )  # fmt: skip
    assert [(step.kind, step.expected is not None) for step in made.steps] == [
        ("shell", True), ("shell", False), ("line", False), ("shell", False), ("shell", True),
    ]  # fmt: skip
    assert made.warnings == ("steps 2, 3, 4: typed ahead of the prompt, not judged",)
    right = "$ ls" + " " * 60 + "[0]\r\n"
    (slow, early) = fromcast.script(
        cast(("o", "$ "), *typing("sleep 5"), *typing("ls"), ("o", right + "a\r\n$ "))
    ).steps
    assert (slow.expected, early.expected) == (None, None)


def test_the_size_is_the_one_at_the_first_input_and_another_one_is_said():
    made = fromcast.script(
        cast(("r", "90x30"), ("o", "$ "), *typing("ls"), ("r", "60x30"), ("o", "$ "), *typing("ls"))
    )
    assert made.size == (90, 30)
    assert "another size from step 1 on" in made.warnings[0]


def test_marks_tell_the_shell_and_the_status():
    assert written(
        ("p", "A"), ("o", "any prompt> "), ("p", "B"), *typing("false"), ("p", "C"), ("o", "oh\r\n"), ("p", "D;1"),
        ("p", "A"), ("o", "two\r\nlines> "), ("p", "B"), *typing("cat"), ("p", "C"), ("i", "x\r"), ("o", "x\r\nx\r\n"), ("i", "\x04"), ("p", "D;0"), ("p", "A"),
    ) == ["$ false", "oh", "[1]", "$ cat", "(nothing)", "> x", "x", "> ^D", "(nothing)", "[0]"]  # fmt: skip
    osc = "\x1b]133;A\x07? \x1b]133;B\x07"
    assert written(("o", osc), *typing("a", "\r\n\x1b]133;C\x07b\r\n\x1b]133;D;3\x07" + osc)) == [
        "$ a",
        "b",
        "[3]",
    ]


def test_what_was_rubbed_out_was_not_typed():
    assert written(
        ("o", "$ "),
        ("i", "l"),
        ("o", "l"),
        ("i", "x"),
        ("o", "x"),
        ("i", "\x7f"),
        ("o", "\b \b"),
        *typing("s"),
    ) == ["$ ls", "(nothing)"]
    assert written(("o", "pw: "), ("i", "x"), ("i", "\x7f"), ("i", "\x7f"), ("s", "2"), ("o", "\r\nok\r\n")) == [
        "pw:> (secret 2)", "ok",
    ]  # fmt: skip


def test_completion_and_history_are_keys():
    assert written(
        ("o", "$ "), ("i", "cat f"), ("o", "cat f"), ("i", "\t"), ("o", "ile.txt "), ("i", "\r"), ("o", "\r\nhi\r\n$ "),
        ("i", "\x1b[A"), ("o", "cat file.txt"), ("i", "\r"), ("o", "\r\nhi\r\n$ "),
    ) == ['$ "cat f" <Tab>', "$", "hi", "$ <Up> <Enter>", "hi"]  # fmt: skip


def test_a_secret_is_a_place_only():
    assert written(("o", "$ "), *typing("sudo x", "\r\nPassword: "), ("s", "1"), ("i", "\r"), ("o", "\r\nok\r\n$ ")) == [
        "$ sudo x", "(nothing)", "Password:> (secret 1)", "ok",
    ]  # fmt: skip


def test_full_screen_programs_get_keys_and_are_not_judged():
    assert written(
        ("o", "$ "), *typing("less x", "\r\n\x1b[?1049hTEXT"), ("i", "j"), ("o", "\r\nmore"), ("i", "\x1b[6~"), ("o", "\r\nyet"),
        ("i", "q"), ("o", "\x1b[?1049l$ "), *typing("ls", "\r\na\r\n$ "),
    ) == ["$ less x", '> <Type "j">', "> <PageDown>", '> <Type "q">', "$ ls", "a"]  # fmt: skip


def test_what_was_typed_ahead_is_not_judged():
    assert written(("o", "? "), ("w", "tty"), *typing("a"), *typing("b", "\r\nA\r\nB\r\n? "), ("w", "tty"), *typing("c", "\r\nC\r\n? "), ("w", "tty"), *typing("d")) == [
        "?> a", "> b", "?> c", "C", "?> d", "(nothing)",
    ]  # fmt: skip
    script = fromcast.script(
        cast(("o", "? "), ("w", "tty"), *typing("a"), *typing("b", "\r\nA\r\nB\r\n? "))
    )
    assert script.warnings == ("steps 1, 2: typed ahead of the prompt, not judged",)


def test_a_prompt_that_is_marked_waits_though_nobody_looked_in_time():
    prompt = [("p", "A"), ("o", "$ "), ("p", "B")]
    events = [*prompt, ("w", "tty"), *typing("a"), ("p", "C"), ("o", "A\r\n"), ("p", "D;0")]
    events += [*prompt, *typing("b"), ("p", "C"), ("o", "B\r\n"), ("p", "D;0"), *prompt]
    assert written(*events) == ["$ a", "A", "[0]", "$ b", "B", "[0]"]


def test_a_prompt_is_one_though_its_wait_was_too_short_to_be_seen():
    events = [("o", "? "), ("w", "tty"), *typing("a", "\r\nA\r\n? "), *typing("b", "\r\nB\r\n")]
    assert written(*events) == ["?> a", "A", "?> b", "B"]


def test_stderr_sizes_and_exact_bytes_are_heeded():
    script = fromcast.script(
        cast(
            ("r", "100x30"),
            ("i", "x\r"),
            ("o", "a\ufffdb\n"),
            ("b", "Yf9i"),
            ("e", "oops\n"),
            ("x", "3"),
        )
    )
    (step,) = script.steps
    assert [(line.stream, line.text) for line in step.expected] == [
        ("out", "a\ufffdb"),
        ("err", "oops"),
    ]
    assert (script.status, script.size) == (3, (100, 30))


def test_a_recording_without_input_says_how_to_get_one():
    with pytest.raises(ScriptError) as error:
        fromcast.script(cast(("o", "$ ls\r\n")), "x.cast")
    assert "-I" in error.value.hint
