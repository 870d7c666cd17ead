"""The transcript language, by example; any script and any text are in tests/property."""

import pytest

from gshell.replay import gst, gstwrite
from gshell.replay.script import Key, Script, ScriptError, Secret, Text

LU = """\
# lu.gst                                             # comment; key=value header below
@param N=4   @timeout 90s   @size 80x24 @shell /bin/bash
$ mpirun -n ${N} ./bin/lu.S.${N}                      # sent when the shell's prompt is ready
... (any*)
 Time step    1
 Verification Successful                              # must appear, in order
 Time in seconds = (num as t)
... (any*)
[0]
$ gdb -q -p $(pgrep -n lu.S)
(gdb)> bt 3                                           # '>' = line to a program that waits
#0 ... (glob)
(gdb)> ^D                                             # keys: ^C ^D ^Z <Esc> <Up> <F10>
[0]
"""


def steps(text):
    return gst.read(text, "x.gst").steps


def only(text):
    (step,) = steps(text)
    return step


def test_a_session_is_read_as_it_looks():
    script = gst.read(LU, "lu.gst")
    assert (script.params, script.timeout_s, script.size) == ((("N", "4"),), 90.0, (80, 24))
    assert script.shell == "/bin/bash"
    assert gst.read('@command "python3 -q"\n> 1', "x.gst").command == "python3 -q"
    assert [step.kind for step in script.steps] == ["shell", "shell", "line", "keys"]
    assert script.steps[0].parts == (Text("mpirun -n ${N} ./bin/lu.S.${N}"),)
    assert [line.text for line in script.steps[0].expected][2:4] == [
        " Verification Successful", " Time in seconds = (num as t)",
    ]  # fmt: skip
    assert script.steps[1].expected is None
    assert script.steps[2].wait.text == "(gdb)"
    assert script.steps[2].expected[0].text == "#0 ... (glob)"
    assert script.steps[3].parts == (Key(b"\x04", "^D"),)
    assert [step.status and step.status.text for step in script.steps] == ["0", None, None, "0"]


def test_a_command_goes_on_behind_a_backslash():
    step = only("$ make -j 4 \\\n  all\nok\n")
    assert step.parts == (Text("make -j 4   all"),)
    assert step.expected[0].number == 3


@pytest.mark.parametrize(
    ("typed", "kind", "data"),
    [
        ("^C", "keys", [b"\x03"]),
        ("<Up 2> <Enter>", "keys", [b"\x1b[A", b"\x1b[A", b"\r"]),
        ('"iab" <Esc>', "keys", ["iab", b"\x1b"]),
        ('<Type "q">', "keys", ["q"]),
        ("<C-x> <M-b> <C-Left> <F10>", "keys", [b"\x18", b"\x1bb", b"\x1b[1;5D", b"\x1b[21~"]),
        ('<Paste "a\\nb">', "keys", [b"\x1b[200~a\nb\x1b[201~"]),
        ("<Bytes ff 00>", "keys", [b"\xff\x00"]),
        ("(secret 2)", "line", [2]),
        ('"x"', "line", ['"x"']),
        ("a ^C", "line", ["a ^C"]),
        ("<b>bold</b>", "line", ["<b>bold</b>"]),
        ('<Text "^C">', "line", ["^C"]),
        ("", "line", []),
    ],
)
def test_what_is_typed_is_the_text_or_keys(typed, kind, data):
    step = only(f"> {typed}")
    assert step.kind == kind
    values = {
        Text: lambda part: part.text,
        Key: lambda part: part.data,
        Secret: lambda part: part.number,
    }
    assert [values[type(part)](part) for part in step.parts] == data


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        (">>>> 1", ">>>"), ("...> 1", "..."), ('"Your name: "> 1', "Your name: "), ("> 1", ""), ("(gdb)> 1", "(gdb)"),
        ("mysql>> 1", "mysql>"), ('"In [(int)]:"> 1', "In [(int)]:"), ("#> 1", "#"),
    ],
)  # fmt: skip
def test_the_prompt_stands_before_the_angle(line, prompt):
    step = only(line)
    assert (step.wait.text, step.parts) == (prompt, (Text("1"),))


@pytest.mark.parametrize(
    "line", ["$ x", "# x", "@size 1x1", "[0]", "(gdb)> x", "expect /x/", "(stderr) x", "(nothing)", "(rank 1) x", "> x", "wait"]
)  # fmt: skip
def test_a_backslash_makes_any_line_output(line):
    (found,) = only(f"$ true\n\\{line}\n").expected
    assert found.text == line
    (found,) = only(f"$ true\n\\\\{line}\n").expected
    assert found.text == "\\" + line


def test_what_only_looks_like_ours_is_output():
    text = "$ true\n#0 main\n#include <x>\n<html> x\n[1] 42\n[12:30]\nuser@host\nexpected /x/\n$5\n"
    assert [line.text for line in only(text).expected] == text.splitlines()[1:]


def test_empty_lines_count_only_between_lines():
    step = only("\n$ x\n\na\n\nb\n\n\n")
    assert [line.text for line in step.expected] == ["", "a", "", "b"]


def test_streams_ranks_and_order():
    step = only("$ x\n(unordered)\n(stderr) a\n(rank 3) b\n(rank 2) (stderr) c\n(both) d\n")
    found = [(line.stream, line.rank, line.text) for line in step.expected]
    assert found == [("err", None, "a"), ("out", 3, "b"), ("err", 2, "c"), ("any", None, "d")]
    assert step.unordered


def test_no_line_is_no_judgement_and_nothing_is_one():
    none, nothing = steps("$ a\n$ b\n(nothing)\n")
    assert (none.expected, nothing.expected) == (None, ())


def test_expect_belongs_to_the_next_input_and_wait_to_nobody():
    _, second, third, fourth = steps(
        "$ serve\nexpect /ready on \\d+/ 10s\n> hello\nwait 2s\nexpect screen /a\\/b/\nc\n"
    )
    assert second.wait[:4] == (r"ready on \d+", "", False, 10.0)
    assert (third.kind, third.wait.regex, third.wait.timeout_s) == ("wait", "", 2.0)
    assert (fourth.kind, fourth.wait.regex, fourth.wait.on_screen) == ("wait", "a/b", True)
    assert fourth.expected[0].text == "c"


def test_a_directive_below_an_input_is_that_step_s():
    step = only("@timeout 9s\n$ x\n@timeout 500ms @ready 2m @at 1.5s\n")
    assert (step.timeout_s, step.wait.timeout_s, step.wait.at_s) == (0.5, 120.0, 1.5)


def test_captures_are_known_from_there_on():
    text = "$ echo 7\n(int as n)\n$ kill ${n}\n"
    assert len(steps(text)) == 2
    with pytest.raises(ScriptError, match=r"x.gst:1:8: no parameter \$\{n\}"):
        steps("$ kill ${n}\n$ echo 7\n(int as n)\n")


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("hello", "1:1", "nothing was typed"),
        ("$ a\n$ b ${Q}", "2:5", "no parameter ${Q}"),
        ("@param N=1\n$ a\nx ${M} y", "3:3", "there are N"),
        ("@fast", "1:1", "@fast"),
        ("@size 80", "1:1", "no size"),
        ("@shell python3", "1:1", "no shell"),
        ("@param N=1 @timeout soon", "1:12", "no time"),
        ("$ a\n@size 80x24", "2:1", "before the first step"),
        ("$ a\nx (num 1.5 rel=tiny)", "2:3", "no part of (num)"),
        ("$ a\nx (re /[/) y", "2:3", "no regular expression"),
        ("$ a\n(a+)+b (re)", "2:1", "for ever"),
        ("expect /(x*)*/", "1:8", "for ever"),
        ("expect ready", "1:1", "nothing was typed"),
        ("expect", "1:8", "expect what"),
        ("$ a\n[0]\n[1]", "3:1", "one status"),
        ('@env A="x', "1:8", "quote"),
        ("> (secret 0)", "1:3", "numbered from 1"),
    ],
)
def test_an_error_says_where_and_why(text, where, why):
    with pytest.raises(ScriptError) as error:
        gst.read(text, "x.gst")
    assert str(error.value).startswith(f"x.gst:{where}: ")
    assert why in str(error.value)


def test_what_is_written_is_what_a_person_would_write():
    text = (
        "# x.gst\n@param N=4\n@timeout 90s @size 80x24 @shell zsh @command mysql\n\n$ run ${N}\n... (any*)\n\\$ 5\n[0]\n\n"
        'expect /ready/ 5s\n"Your name: "> Ada\n(nothing)\n\n> ^C <Up> "x"\n'
    )
    assert gstwrite.write(gst.read(text, "x.gst")) == text


def test_warnings_of_other_forms_are_written_as_comments():
    assert gstwrite.write(Script("a.tape", (), warnings=("Sleep is not slept",))).splitlines()[
        1
    ] == ("# note: Sleep is not slept")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Words of cram\n\n  $ echo\n", "beginning of their lines"),
        ("```scrut\n$ echo\n```", "fences"),
        ("spawn bash\n", "command line"),
        ('send "ls\\r"', "$ command for a shell"),
        ("(gdb) bt", '"(gdb)"> text'),
        ("hello", "$ command, PROMPT> text"),
    ],
)
def test_who_writes_another_language_is_told_ours(text, hint):
    with pytest.raises(ScriptError) as error:
        gst.read(text, "x.gst")
    assert hint in error.value.hint


@pytest.mark.parametrize(
    "line",
    [
        "foo (no-eol)",
        "x+ (re+)",
        "* (glob*)",
        "expect foo",
        "wait soon",
        "(int as 3x)",
        "(gdb) bt",
    ],
)
def test_output_that_was_perhaps_meant_otherwise_is_said(line):
    script = gst.read(f"$ a\n{line}\n", "x.gst")
    assert len(script.warnings) == 1
    assert script.warnings[0].startswith("x.gst:2: ")
    assert script.steps[0].expected[0].text == line


@pytest.mark.parametrize("line", ["foo (re)", "(int as n)", "wait for it", "expect (any)", "a (b)"])
def test_of_other_lines_nothing_is_said(line):
    assert gst.read(f"$ a\n{line}\n", "x.gst").warnings == ()
