"""VHS tapes: what they type, what they wait for, and what is said of the rest."""

import pytest

from gshell.replay import gst, gstwrite, tape
from gshell.replay.script import ScriptError

DEMO = """\
# how it looks
Output demo.gif
Output golden.ascii
Require echo
Set Shell "bash"
Set FontSize 22
Set Theme { "name": "Whimsy", "black": "#535178",
  "red": "#ef6487" }
Set Theme "Catppuccin Mocha"
Set TypingSpeed .1
Set LoopOffset 20.99%
Set WaitTimeout 30s
Env NAME "a value"

Hide
Type "cd /tmp" Enter
Show
Type@500ms 'echo "hi ${USER}"'
Sleep 500ms
Enter
Wait+Screen@5s /hi .*/
Type `vim x.txt` Sleep .5 Enter
Type "i"  Sleep 1
Type "hello world"
Escape
Sleep 1s
Type ":wq" Enter@1 2
Down@.5 2 Sleep 1s
Ctrl+C
Ctrl+Alt+x Alt+b Shift+Tab Shift+a PageUp Ctrl+Left
Sleep 2
Copy "pasted text"
Type "x" Paste
Enter
Wait
Screenshot out.png
"""


def test_a_tape_is_what_it_types_and_waits_for():
    script = tape.read(DEMO, "demo.tape")
    assert [line for line in gstwrite.write(script).splitlines() if not line.startswith("#")] == [
        '@env NAME="a value"', "@shell bash",
        "", "$ cd /tmp",
        "", '> echo "hi $${USER}"',
        "", "expect screen /hi .*/ 5s", "> vim x.txt",
        "", '> <Type "i">',
        "", '> "hello world" <Esc>',
        "", "> :wq",
        "", ">",
        "", "> <Down> <Down>",
        "", "> ^C",
        "", '> <C-M-x> <M-b> <S-Tab> "A" <PageUp> <C-Left>',
        "", "> xpasted text",
        "", "wait 30s",
    ]  # fmt: skip
    assert script.steps[1].line == 18
    assert [step.expected for step in script.steps] == [None] * len(script.steps)
    assert script.warnings == (
        "demo.tape:3: golden.ascii is not compared: gshell replay --learn makes a .gst",
        "demo.tape:4: echo is needed where this is replayed; not looked for",
        "Sleep (6 times) is not slept: each input waits for its program",
    )
    again = gst.read(gstwrite.write(script), "demo.tape")
    assert again.shell == script.shell == "bash"
    assert again.steps[3].parts == script.steps[3].parts


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ('Type "a" "b" c', "a b c"), ("Type 'say \"x\"'", 'say "x"'), ('Type `it\'s "q"`', 'it\'s "q"'), ('Type "a\\n"', "a\\n"),
        ('Type "cost $$5"', "cost $$$$5"), ('Type "a" Space 2 Type "b"', "a  b"), ('Type "# no comment"', "# no comment"), ('Type "open', "open"),
    ],
)  # fmt: skip
def test_every_quoting_is_read(text, typed):
    (step,) = tape.read(f"{text}\nEnter\n", "x.tape").steps
    assert [part.text for part in step.parts] == [typed]


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("Jump 3", "1:1", "no command"), ("Enter\n  enter", "2:3", "no command"), ("Type", "1:1", "takes a text"), ("Sleep", "1:1", "how long"),
        ("Wait /[/", "1:1", "no regular"), ("Wait+Page /x/", "1:1", "Wait+Line"), ("Type@x 'a'", "1:5", "a time"), ("Ctrl+", "1:1", "what"),
        ("Source other.tape", "1:1", "another tape"), ("Enter 100000", "1:7", "too often"), ("Set WaitTimeout x", "1:1", "time"), ("Ctrl", "1:1", "what"),
        ("Ctrl+Shift+C+Alt", "1:14", "before the key"), ("Source other.vhs", "1:1", "another tape"),
    ],
)  # fmt: skip
def test_what_is_no_tape_is_an_error_with_its_place(text, where, why):
    with pytest.raises(ScriptError) as error:
        tape.read(text, "x.tape")
    assert str(error.value).startswith(f"x.tape:{where}: ")
    assert why in str(error.value)


def test_an_unknown_setting_is_a_warning():
    assert tape.read("Set Sparkle 3\nType 'a' Enter", "x.tape").warnings == (
        "x.tape:1: Set Sparkle: nobody knows that setting: passed over",
    )


def test_tapes_in_tapes_are_read_where_the_caller_can():
    inner = {"a.tape": "Type 'inside' Enter", "loop.tape": "Source loop.tape"}
    script = tape.read("Source a.tape\nType 'outside' Enter", "x.tape", inner.__getitem__)
    assert [step.shown for step in script.steps] == ["$ inside", "> outside"]
    with pytest.raises(ScriptError, match="in each other"):
        tape.read("Source loop.tape", "x.tape", inner.__getitem__)


def test_a_tape_that_cannot_be_read_is_an_error_where_it_is_named():
    def nothing(name):
        raise FileNotFoundError(2, "No such file or directory")

    for name, why in (("a.tape", "No such file"), ("a.vhs", "no tape")):
        with pytest.raises(ScriptError, match=why) as error:
            tape.read(f"Enter\nSource {name}", "x.tape", nothing)
        assert str(error.value).startswith("x.tape:2:1: ")


def test_a_tape_of_windows_is_read():
    script = tape.read("\ufeffType 'a'\r\nEnter\r\n", "x.tape")
    assert [step.shown for step in script.steps] == ["$ a"]


def test_a_quote_that_is_not_closed_is_said():
    script = tape.read('Type "echo hi Sleep 300ms Enter\nEnter', "x.tape")
    assert [step.shown for step in script.steps] == ["$ echo hi Sleep 300ms Enter"]
    assert "no quote at the end" in script.warnings[0]
