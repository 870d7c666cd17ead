"""gshell under a shell with job control: Ctrl-Z, bg, fg, and whose typing it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.procs import Env, gshell_argv, until
from kit.pty import Pty, Tmux, children, state_of

WAYS = ["background", "compiled", "direct"]


@pytest.fixture
def tmux(private: Env, tmp_path: Path, background: bool) -> Iterator[Tmux]:
    """bash in tmux, in which ``gshell`` is ours."""
    environ = private.client_env(background)
    with Tmux(tmp_path, environ) as found:
        found.wait_for("ready$")
        words = " ".join(gshell_argv())
        found.line(f"gshell() {{ {words} \"$@\"; }}; cd {tmp_path}; clear; echo fre''sh")
        found.wait_for("fresh")
        yield found
        found.keys("C-c")
        private.gshell(
            "cancel",
            "-q",
            *[job["id"] for job in private.jobs() if job["state"] == "ACTIVE"] or ["0"],
        )


def back_at_the_shell(tmux: Tmux) -> None:
    """What is typed before the program has ended is still its own."""
    until(
        lambda: tmux.do("display", "-p", "#{pane_current_command}").strip() == "bash",
        "the shell to be in front",
    )
    tmux.line("echo e''nd")
    tmux.wait_for("end")


def brought_forward(tmux: Tmux) -> None:
    """When the shell names the job, it has the terminal no longer."""
    tmux.line("fg")
    until(lambda: re.search(r"fg\n\S", tmux.screen()), "fg to say what goes on", show=tmux.screen)


def test_ctrl_z_stops_gshell_and_the_shell_has_the_typing(tmux: Tmux) -> None:
    tmux.line("gshell run -- sh -c 'echo st''arted; cat'")
    tmux.wait_for("started")
    tmux.do("send-keys", "-l", "")
    tmux.keys("Enter")
    tmux.line("~")  # not a command; then the line is ended
    tmux.keys("~", "C-z")
    tmux.wait_for("Stopped")
    for number in range(5):
        tmux.line(f"echo mine-$(({number}+100))")
        tmux.wait_for(f"mine-{number + 100}")
    brought_forward(tmux)
    tmux.line("to the 'program'")
    screen = tmux.wait_for("to the 'program'\nto the 'program'")
    assert "not found" not in screen
    tmux.keys("C-d")
    back_at_the_shell(tmux)


def test_a_suspended_gshell_in_bg_is_raw_again_after_fg(tmux: Tmux) -> None:
    tmux.line("gshell run -- sh -c 'echo st''arted; stty -echo; sed -u s/^/got_/'")
    tmux.wait_for("started")
    tmux.keys("Enter", "~", "C-z")
    tmux.wait_for("Stopped")
    tmux.line("bg")
    tmux.line("echo mi''ne")
    tmux.wait_for("mine")
    brought_forward(tmux)  # before, it is the shell's own line that makes the terminal raw
    until(
        lambda: "-icanon" in _modes(tmux),
        "a raw terminal",
        show=lambda: _modes(tmux) + tmux.screen(),
    )
    tmux.line("to it")
    tmux.wait_for("got_to it")
    tmux.keys("C-d")
    back_at_the_shell(tmux)


def _modes(tmux: Tmux) -> str:
    """What ``stty -a`` says of the pane's terminal, seen from outside."""
    terminal = tmux.do("display", "-p", "#{pane_tty}").strip()
    return subprocess.run(
        ["stty", "-a", "-F", terminal], capture_output=True, text=True, check=True
    ).stdout


def test_in_pipe_mode_ctrl_z_is_the_kernels(tmux: Tmux, tmp_path: Path) -> None:
    tmux.line("gshell run -T -- sh -c 'echo st''arted; cat' | cat")
    tmux.wait_for("started")
    tmux.keys("C-z")
    tmux.wait_for("Stopped")
    for number in range(5):
        tmux.line(f"echo mine-$(({number}+100))")
        tmux.wait_for(f"mine-{number + 100}")
    brought_forward(tmux)
    tmux.line("for the program")
    tmux.wait_for("for the program\nfor the program")
    tmux.keys("C-d")
    back_at_the_shell(tmux)


def test_in_pipe_mode_ctrl_c_ends_the_program(tmux: Tmux) -> None:
    tmux.line("gshell run -T -- sh -c 'echo st''arted; exec sleep 600'; echo sta''tus $?")
    tmux.wait_for("started")
    tmux.keys("C-c")
    tmux.wait_for("status 130")


def test_bg_lets_it_go_on(tmux: Tmux, tmp_path: Path) -> None:
    tmux.line(
        "gshell run -T -- sh -c 'echo st''arted; until test -e go; do sleep 0.05; done; echo go''ne'"
    )
    tmux.wait_for("started")
    tmux.keys("C-z")
    tmux.wait_for("Stopped")
    tmux.line("bg")
    tmux.line("echo mi''ne")
    tmux.wait_for("mine")
    (tmp_path / "go").touch()
    tmux.wait_for("gone")
    tmux.line("wait; echo wai''ted")
    tmux.wait_for("waited")


def test_a_run_in_the_background_takes_none_of_the_shells_typing(
    tmux: Tmux, tmp_path: Path
) -> None:
    tmux.line("gshell run -T -- sh -c 'until test -e go; do sleep 0.05; done; echo go''ne' &")
    for number in range(20):
        tmux.line(f"echo mine-$(({number}+100))")
        tmux.wait_for(f"mine-{number + 100}")
    (tmp_path / "go").touch()
    tmux.wait_for("gone")
    tmux.line("wait; echo wai''ted")
    tmux.wait_for("waited")


def test_a_background_run_that_is_brought_forward_gets_the_typing(tmux: Tmux) -> None:
    tmux.line("gshell run -T -- sh -c 'echo st''arted; cat' &")
    tmux.wait_for("started")
    brought_forward(tmux)
    tmux.line("for the program")
    tmux.wait_for("for the program\nfor the program")
    tmux.keys("C-d")
    back_at_the_shell(tmux)


def test_a_killed_gshell_gives_the_shell_its_typing(tmux: Tmux, private: Env) -> None:
    tmux.line("gshell run -- sh -c 'echo st''arted; exec sleep 600'")
    tmux.wait_for("started")
    front = until(lambda: children(tmux.pane_pid()), "gshell")[0]
    os.kill(front, signal.SIGKILL)
    tmux.wait_for("Killed")
    for number in range(5):
        tmux.line(f"echo mine-$(({number}+100))")
        tmux.wait_for(f"mine-{number + 100}")
    assert [job["state"] for job in private.jobs()].count("ACTIVE") == 1


def test_a_stopped_gshell_holds_no_program(private: Env, background: bool) -> None:
    """SIGSTOP, which nobody can catch: the program may wait, other sessions do not."""
    run = private.popen("run", "--", "cat", background=background)
    os.kill(run.pid, signal.SIGSTOP)
    until(lambda: state_of(run.pid) == "T", "it to stop")
    assert private.gshell("run", "--", "echo", "other", background=background).stdout == b"other\n"
    os.kill(run.pid, signal.SIGCONT)
    out, _ = run.communicate(b"on", timeout=20)
    assert (out, run.returncode) == (b"on", 0)


def test_no_job_control_no_suspending(private: Env, background: bool) -> None:
    """Nobody is there who could continue us: the program goes on at once."""
    with Pty(
        private.argv("run", "--", "sed", "-u", "s/^/got_/"), private.client_env(background)
    ) as pty:
        pty.send("one\n")
        pty.wait_for("got_one")
        pty.send("\n~\x1a")
        pty.send("still here\n")
        pty.wait_for("got_still here")
        pty.send(b"\x04")
        assert pty.wait() == 0
