"""Scripts played to real programs in real terminals: what is typed when, and what is said of it."""

import shlex
import shutil
import sys

import pytest

from gshell.net import inputwait
from gshell.net.loop import Loop
from gshell.replay import gst, ladder, shells
from gshell.replay.engine import Engine
from gshell.replay.script import Key, Script, Step, Text, Wait
from gshell.replay.targets import Local
from kit import conversations
from kit.conversations import Judge, environment, play


@pytest.fixture(autouse=True)
def calls_are_known():
    if not inputwait.CALLS:
        pytest.skip("system calls are not known for this processor")


def script(text):
    return gst.read(text, "x.gst")


def differences(verdicts):
    return [(v.step.shown, one) for v in verdicts for one in v.differences]


@pytest.mark.parametrize("number", [0, 1, 3, 5, 6, 9])
def test_every_input_gets_where_it_belongs(tmp_path, number):
    conversation = conversations.all_of_them(tmp_path)[number]
    if conversation.missing:
        pytest.skip(f"no {conversation.missing[0]} here")
    assert conversations.wrong(conversation, 1, None) == []


def test_nothing_is_typed_before_a_slow_program_asks(tmp_path):
    conversation = conversations.all_of_them(tmp_path)[20]  # it throws away what came early
    assert conversations.wrong(conversation, 8, None) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "dash", "sh"])
def test_a_shell_says_how_each_command_ended(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    text = "$ echo one; sh -c 'exit 3'\none\n[3]\n$ true\n[0]\n$ exit 7\n[7]\n"
    verdicts, outcome = play(script(text), argv=shells.argv(shutil.which(shell), plain=True))
    seen = [v.seen for v in verdicts]
    assert [one.status for one in seen] == [3, 0, 7]
    assert seen[0].out == ("one",)
    assert {one.sync for one in seen} == {"osc133"}
    assert outcome.status == 7


@pytest.mark.parametrize(
    ("shell", "file", "own"),
    [
        ("bash", ".bashrc", "PROMPT_COMMAND='PS1=\"new> \"'; own() { echo mine; }"),
        ("bash", ".bashrc", "PROMPT_COMMAND=(true 'PS1=again:'); own() { echo mine; }"),
        ("zsh", ".zshrc", "precmd() { PS1='z> '; }; own() { echo mine; }"),
    ],
)
def test_marks_stand_beside_what_the_user_has_set(tmp_path, monkeypatch, shell, file, own):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    (tmp_path / file).write_text(own + "\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    verdicts, _ = play(script("$ own; false\nmine\n[1]\n$ \n[1]\n$ true\n[0]\n"),
                       argv=shells.argv(shutil.which(shell)))  # fmt: skip
    assert differences(verdicts) == []
    assert {v.seen.sync for v in verdicts} == {"osc133"}


def test_where_another_program_waits_nothing_is_typed(tmp_path, monkeypatch):
    monkeypatch.setattr(ladder, "STRAY_S", 0.4)
    text = f"$ cat >{tmp_path}/f; echo end\n(gdb)> precious\n"
    verdicts, outcome = play(script(text), timeout_s=30.0)
    assert len(verdicts) == 1
    assert "the prompt '(gdb)'; cat waits" in verdicts[0].seen.timed_out
    assert (tmp_path / "f").read_text() == ""
    assert not outcome.late
    assert any("step 2" in line and "was not typed" in line for line in outcome.trouble)


def test_a_step_that_takes_too_long_says_what_it_waited_for_and_the_last_lines():
    text = "$ echo line-of-before; sleep 100\n@timeout 2s\n$ echo never\n"
    verdicts, outcome = play(script(text))
    assert outcome.late
    assert verdicts[0].seen.timed_out == "the shell's prompt, for 2 s"
    assert outcome.trouble[0].startswith("x.gst:3: step 2 ($ echo never) was not typed")
    assert any("line-of-before" in line for line in outcome.trouble)


def test_a_program_that_has_ended_is_typed_nothing():
    verdicts, outcome = play(script("$ exit 5\n$ echo x\n"))
    assert outcome.status == 5
    assert "has ended with status 5" in verdicts[-1].seen.timed_out


def test_what_was_captured_is_typed():
    verdicts, _ = play(script("$ echo 42\n(int as n)\n$ echo ${n}1\n421\n"))
    assert differences(verdicts) == []


def test_a_running_program_is_interrupted():
    text = '$ sleep 100\n""> ^C\n(nothing)\n[130]\n$ echo on\non\n'
    verdicts, _ = play(script(text), timeout_s=20.0)
    assert differences(verdicts) == []


@pytest.mark.parametrize("regex", [">>>$", ">>> $", "^>>>", "^>>> $"])
def test_a_prompt_is_found_with_its_blank_or_without(regex):
    ask = "print(1); x = input('>>> '); print(x)"
    text = f"$ {sys.executable} -c {shlex.quote(ask)}\nexpect /{regex}/ 5s\n> 7\n7\n$ exit\n"
    verdicts, _ = play(script(text))
    assert [v.seen.sync for v in verdicts][1] == "expect"
    assert differences(verdicts) == []


def test_an_expected_text_is_waited_for():
    text = (
        '$ echo wait; sleep 0.1; echo rea""dy; read x; echo "<$$x>"\nexpect /ready/\n""> go\n<go>\n'
    )
    verdicts, _ = play(script(text))
    assert verdicts[-1].seen.out == ("<go>",)
    assert verdicts[-1].seen.sync == "expect"


def played(steps, argv, blind=False):
    loop = Loop()
    one = Script("x", tuple(steps))
    watcher = Judge(one)
    engine = Engine(one, Local(loop, argv, environment()), watcher, blind, 20.0)
    outcome = engine.play()
    loop.close()
    return engine, watcher, outcome


def test_a_secret_is_typed_and_not_recorded():
    text = '$ stty -echo; read x; stty echo; test "$$x" = secret\'\'1\n""> (secret 1)\n[0]\n'
    loop = Loop()
    one = script(text)
    watcher = Judge(one)
    engine = Engine(one, Local(loop, shells.argv("/bin/bash", True), environment()), watcher)
    engine.play()
    loop.close()
    assert differences(watcher.verdicts) == []
    recorded = [happening for happening in engine.happenings if b"secret1" in happening.data]
    assert recorded == []
    assert [h.data for h in engine.happenings if h.code == "s"] == [b"1"]


def test_a_long_paste_arrives_whole(tmp_path):
    lines = "".join(f"line {number} {'x' * 50}\n" for number in range(2000))  # 25 x a terminal
    paste = Text(lines.replace("\n", "\r"))
    steps = [
        Step(1, 1, "paste", "keys", (paste,)),
        Step(2, 2, "^D", "keys", (Key(b"\x04", "^D"),)),
    ]
    _, _, outcome = played(steps, ["sh", "-c", f"cat >{tmp_path}/got"])
    assert outcome.status == 0
    assert (tmp_path / "got").read_text() == lines


def test_blindly_it_is_typed_at_the_recorded_time():
    steps = [Step(1, 1, "x", "line", (Text("early"),), Wait(at_s=0.05))]
    engine, watcher, _ = played(steps, ["sh", "-c", "sleep 0.3; read x; echo got $x"], blind=True)
    typed = next(happening.at_s for happening in engine.happenings if happening.code == "i")
    assert typed < 0.3
    assert watcher.verdicts[0].seen.sync == "blind"


class Deaf(Local):
    """A target that says nothing of waits, as an old agent does."""

    tells = False

    @property
    def waiting(self):
        return None


@pytest.mark.parametrize(("prompt", "sync", "warned"), [("name: ", "text", 0), ("", "quiet", 1)])
def test_without_word_of_waits_it_goes_by_the_text_and_then_by_silence(prompt, sync, warned):
    loop = Loop()
    one = Script("x", (Step(1, 1, "x", "line", (Text("me"),), Wait(text=prompt)),))
    watcher = Judge(one)
    program = ["sh", "-c", "printf 'name: '; read x; echo got $x; exit 4"]
    outcome = Engine(one, Deaf(loop, program, environment()), watcher).play()
    loop.close()
    assert watcher.verdicts[0].seen.sync == sync
    assert watcher.verdicts[0].seen.out == ("got me",)
    assert (outcome.status, len(outcome.warnings)) == (4, warned)


def test_another_shell_than_it_was_typed_into_is_said():
    one = script("@shell fish\n$ echo a\na\n")
    _, outcome = play(one)
    assert outcome.warnings == ("this was typed into fish, and is played in /bin/bash now",)
    _, outcome = play(script("@shell bash\n$ echo a\na\n"))
    assert outcome.warnings == ()


def test_a_recording_of_a_program_that_is_played_to_a_shell_says_what_to_name(monkeypatch):
    monkeypatch.setattr(ladder, "STRAY_S", 0.4)
    _, outcome = play(script(">>>> 1+1\n2\n"))
    assert any("gshell replay FILE -- run -- PROGRAM" in line for line in outcome.trouble)


def test_a_shell_behind_a_program_that_always_reads_is_typed_to():
    if shutil.which("script") is None:
        pytest.skip("no script here")
    inner = "script -qc \"PS1='in$ ' bash --norc\" /dev/null"
    text = f"$ {inner}\n$ echo $((20+3))\n23\n$ exit\nexit\n$ echo out\nout\n"
    verdicts, _ = play(script(text), timeout_s=20.0)
    assert differences(verdicts) == []
