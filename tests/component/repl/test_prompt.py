"""The prompt as a person has it: in tmux, without a relay; and as a program has it: a dumb terminal."""

import os
import re
import shutil
import signal
import stat
import sys
from pathlib import Path

import pytest

import gshell
from kit.procs import gshell_argv, until
from kit.pty import Pty, Tmux

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux")
PATIENCE_S = 30.0
ROOT = str(Path(gshell.__file__).parents[1])
RC = "alias greet='!echo hello there'\nset announce on\n"


@pytest.fixture
def env(tmp_path):
    """No relay, a home of its own, a history and an rc file."""
    for folder in ("config", "state"):
        (tmp_path / "home" / folder).mkdir(parents=True, mode=0o700)
    (tmp_path / "home/config/gshellrc").write_text(RC)
    (tmp_path / "home/config/gshellrc").chmod(0o600)
    (tmp_path / "home/state/history").write_text("jobs -a\nrun -n 4 -- lu.C\n")
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("GSHELL_", "XDG_", "LC_", "NO_C"))
    }
    return {**kept, "GSHELL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "SHELL": "/bin/sh",
            "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}  # fmt: skip


@pytest.fixture
def tmux(tmp_path, env):
    with Tmux(tmp_path, env, ("sh", "-i")) as one:
        one.wait_for("ready$", PATIENCE_S)
        one.line("unset PROMPT_TOOLKIT_NO_CPR; " + " ".join(gshell_argv()))
        one.wait_for("no relay runs", PATIENCE_S)
        yield one


def lines(tmux):
    return [line.rstrip() for line in tmux.screen().splitlines() if line.strip()]


def test_a_line_is_done_and_what_failed_is_shown(tmux):
    tmux.line("greet")
    tmux.wait_for("\nhello there\n", PATIENCE_S)
    tmux.line("!exit 7")
    tmux.wait_for("[7] gshell>", PATIENCE_S)
    tmux.line("!cd /; pwd")
    tmux.wait_for("\n/\n", PATIENCE_S)
    tmux.keys("C-d")
    tmux.wait_for("ready$", PATIENCE_S)


def test_tab_offers_commands_and_options_with_their_help(tmux):
    tmux.do("send-keys", "-l", "agen")
    tmux.keys("Tab")
    tmux.wait_for("start, stop, drain", PATIENCE_S)
    tmux.keys("C-c")
    until(lambda: lines(tmux)[-2] == "gshell>", "an empty prompt", show=tmux.screen)
    tmux.do("send-keys", "-l", "jobs --jso")
    tmux.keys("Tab")
    until(lambda: lines(tmux)[-2] == "gshell> jobs --json", "the option", show=tmux.screen)


def test_a_suggestion_is_taken_and_the_history_searched(tmux):
    tmux.do("send-keys", "-l", "run -")
    tmux.wait_for("gshell> run -n 4 -- lu.C", PATIENCE_S)
    tmux.keys("C-e")
    tmux.do("send-keys", "-l", "x")
    tmux.wait_for("gshell> run -n 4 -- lu.Cx", PATIENCE_S)
    tmux.keys("C-u", "C-r")
    tmux.wait_for("history>", PATIENCE_S)
    tmux.do("send-keys", "-l", "r4lu")
    tmux.wait_for("history> r4lu\n", PATIENCE_S)
    until(
        lambda: any(line.strip() == "run -n 4 -- lu.C" for line in lines(tmux)),
        "it",
        show=tmux.screen,
    )
    tmux.keys("Enter")
    tmux.wait_for("gshell> run -n 4 -- lu.C", PATIENCE_S)


def test_an_open_line_goes_on_and_ctrl_c_drops_it(tmux):
    tmux.line("alias x='!echo on\\")
    tmux.wait_for("\n...", PATIENCE_S)
    tmux.line("e'")
    tmux.line("alias")
    tmux.wait_for("alias x=", PATIENCE_S)
    tmux.line("run 'a")
    tmux.keys("C-c")
    tmux.line("greet")
    tmux.wait_for("\nhello there\n", PATIENCE_S)


def test_the_history_is_private_and_leaves_out_what_begins_with_a_blank(tmux, env):
    tmux.line(" !echo sec''ret")
    tmux.wait_for("\nsecret\n", PATIENCE_S)
    tmux.line("greet")
    tmux.wait_for("\nhello there\n", PATIENCE_S)
    path = Path(env["GSHELL_HOME"], "state/history")
    until(
        lambda: path.read_text() == "jobs -a\nrun -n 4 -- lu.C\ngreet\n", "it", show=path.read_text
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_ctrl_c_ends_what_runs_and_not_the_prompt(tmux):
    tmux.line("!echo beg''un; sleep 1000; echo never")
    tmux.wait_for("begun", PATIENCE_S)
    tmux.keys("C-c")
    tmux.wait_for("[130] gshell>", PATIENCE_S)
    tmux.line("!trap 'echo cau''ght' INT; echo aga''in; sleep 1000; echo go''es on")
    tmux.wait_for("again", PATIENCE_S)
    tmux.keys("C-c")
    tmux.wait_for("caught\ngoes on\ngshell>", PATIENCE_S)


def test_a_narrow_screen_and_one_that_grows(tmux):
    tmux.resize(15, 40)
    tmux.keys("C-l", "F2")
    tmux.wait_for("nothing is known yet", PATIENCE_S)
    assert all(len(line) <= 40 for line in lines(tmux))
    tmux.resize(24, 80)
    tmux.line("greet")
    tmux.wait_for("\nhello there\n", PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_prompt_that_is_ended_gives_the_terminal_back(env, number):
    with Pty(gshell_argv(), env) as pty:
        pty.wait_for("gshell>", PATIENCE_S)
        pty.wait_modes(raw=True, patience_s=PATIENCE_S)
        pty.process.send_signal(number)
        assert pty.wait(PATIENCE_S) == 128 + number
        assert pty.modes() == pty.modes_at_start


def test_modes_that_a_program_left_behind_are_undone(env):
    with Pty(gshell_argv(), env) as pty:
        pty.wait_for("gshell>", PATIENCE_S)
        pty.line("!stty -echo -icanon; echo do''ne")
        pty.wait_for("done\r\n", PATIENCE_S)
        pty.wait_for("gshell>", PATIENCE_S)
        pty.send("\x04")
        assert pty.wait(PATIENCE_S) == 0
        assert pty.modes() == pty.modes_at_start


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_knows_only_lines_gets_only_lines(env, term):
    with Pty(gshell_argv(), {**env, "TERM": term}) as pty:
        pty.wait_for("gshell>", PATIENCE_S)
        pty.send("greet\n")
        pty.wait_for("hello there\r\n", PATIENCE_S)
        pty.wait_for("gshell>", PATIENCE_S)
        pty.send("set here\\\n")
        pty.wait_for("... ", PATIENCE_S)
        pty.send("\x03")
        pty.wait_for("gshell>", PATIENCE_S)
        pty.send("exit 3\n")
        assert pty.wait(PATIENCE_S) == 3
        assert b"\x1b" not in pty.seen


@pytest.mark.parametrize("how", [["--color", "never"], []])
def test_without_colour_there_is_none(env, how):
    env = env if how else {**env, "NO_COLOR": "1"}
    with Pty([*gshell_argv(), *how], env) as pty:
        pty.wait_for("gshell>", PATIENCE_S)
        pty.line("!exit 7")
        pty.wait_for("[7]", PATIENCE_S)
        pty.wait_for("gshell>", PATIENCE_S)
        pty.send("\x04")
        pty.wait(PATIENCE_S)
        colours = re.findall(rb"\x1b\[[0-9;]*m", bytes(pty.seen))
        assert not [
            one for one in colours if re.search(rb"[\[;](3[0-7]|4[0-7]|9[0-7])[;m]|[34]8;", one)
        ]


@pytest.mark.parametrize(
    ("environ", "yes"),
    [({}, False), ({"LANG": "C"}, True), ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, True),
     ({"LC_CTYPE": "en_US.utf8"}, False), ({"LANG": "de_DE.ISO-8859-1"}, True)],
)  # fmt: skip
def test_what_a_locale_says_of_the_terminal(environ, yes):
    from gshell.repl.prompt import ascii_only

    assert ascii_only(environ) is yes


def test_a_locale_without_more_gets_ascii(env):
    with Pty(gshell_argv(), {**env, "LC_ALL": "C"}) as pty:
        pty.wait_for("gshell>", PATIENCE_S)
        pty.line("greet")
        pty.wait_for("hello there", PATIENCE_S)
        pty.wait_for("gshell>", PATIENCE_S)
        pty.send("\x04")
        pty.wait(PATIENCE_S)
        assert bytes(pty.seen).isascii()


HANGS = """
import signal, sys, time
from gshell import sitepath
sitepath.enable()
from gshell.cli import main
from gshell.repl import prompt
def ask(self):
    try:
        print("up", flush=True)
        signal.pause()
    finally:
        time.sleep(1000)  # as if the terminal owed an answer
prompt.Prompt._ask = ask
prompt.END_S = 0.2
sys.exit(main.main([]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_ends_although_its_terminal_gives_no_answer(env, number):
    with Pty([sys.executable, "-c", HANGS], {**env, "PYTHONPATH": ROOT}) as one:
        one.wait_for("up")
        one.process.send_signal(number)
        assert one.wait() == 128 + number
