"""``gshell run`` and ``gshell sh`` on a terminal: size, keys, escape keys, and the terminal as it was."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable

import pytest

from kit.procs import Env, until
from kit.pty import Pty, state_of

WAYS = ["background", "compiled", "direct"]
PY = [sys.executable, "-I", "-S", "-c"]
PROMPT = "ready$ "


def shell(env: Env, background: bool = True, size: tuple[int, int] = (24, 80)) -> Pty:
    """``gshell sh`` with its prompt on the screen."""
    pty = Pty(env.argv("sh"), env.client_env(background), size)
    pty.wait_for(PROMPT)
    return pty


def run(env: Env, *words: str, background: bool = True, size: tuple[int, int] = (24, 80)) -> Pty:
    return Pty(env.argv("run", *words), env.client_env(background), size)


def leave(pty: Pty) -> None:
    pty.line("exit")
    pty.wait()


# ------------------------------------------------------------------------------------------ the start


@pytest.mark.parametrize("size", [(24, 80), (1, 1), (200, 500), (33, 101)])
def test_the_size_is_there_first_thing(env: Env, size: tuple[int, int], background: bool) -> None:
    with run(env, "--", "stty", "size", background=background, size=size) as pty:
        assert pty.wait() == 0
        assert pty.rest() == b"%d %d\r\n" % size


def test_a_terminal_of_no_size_counts_as_24_by_80(private: Env, background: bool) -> None:
    with run(private, "--", "stty", "size", background=background, size=(0, 0)) as pty:
        assert pty.wait() == 0
        assert pty.rest() == b"24 80\r\n"


def test_it_is_the_controlling_terminal_and_ours_in_front(private: Env, background: bool) -> None:
    script = "tty; echo through > /dev/tty; ps -o pgid=,tpgid= -p $$ | awk '{print $1 == $2}'"
    with run(private, "--", "sh", "-c", script, background=background) as pty:
        assert pty.wait() == 0
        assert re.fullmatch(rb"/dev/pts/\d+\r\nthrough\r\n1\r\n", pty.rest())


def test_a_terminal_only_where_stdin_and_stdout_are_one(private: Env, background: bool) -> None:
    script = "test -t 0 && echo yes || echo no"
    assert private.gshell("run", "--", "sh", "-c", script, background=background).stdout == b"no\n"
    with run(private, "-T", "--", "sh", "-c", script, background=background) as pty:
        assert pty.wait() == 0
        assert pty.rest() == b"no\r\n"
    done = private.gshell("run", "-t", "--", "sh", "-c", script, background=background)
    assert done.stdout == b"yes\r\n"


def test_without_term_the_program_has_one(private: Env, background: bool) -> None:
    env = {name: value for name, value in private.client_env(background).items() if name != "TERM"}
    with Pty(private.argv("run", "--", "sh", "-c", "echo $TERM"), env) as pty:
        assert pty.wait() == 0
        assert pty.rest() == b"xterm-256color\r\n"


def test_stderr_elsewhere_stays_the_terminals_one_stream(private: Env, background: bool) -> None:
    with run(
        private, "--", "sh", "-c", "echo out; echo err >&2; exit 3", background=background
    ) as pty:
        assert pty.wait() == 3
        assert pty.rest() == b"out\r\nerr\r\n"


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("exec /no/such", 127)],
)
def test_the_terminal_is_as_before_and_the_status_right(
    env: Env, script: str, status: int, background: bool
) -> None:
    with run(env, "--", "sh", "-c", script, background=background) as pty:
        assert pty.wait() == status
        assert pty.modes() == pty.modes_at_start


def test_exit_3_of_a_shell_is_3(env: Env, background: bool) -> None:
    with shell(env, background) as pty:
        pty.line("exit 3")
        assert pty.wait() == 3
        assert pty.modes() == pty.modes_at_start


# -------------------------------------------------------------------------------------------- resize


def test_a_resize_reaches_the_program(env: Env, background: bool) -> None:
    script = "trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.02; done"
    with run(env, "--", "bash", "-c", script, background=background) as pty:
        pty.wait_for("ready")
        pty.resize(30, 90)
        pty.wait_for("30 90")
        assert pty.wait() == 5


def test_after_a_thousand_resizes_the_last_one_counts(private: Env, background: bool) -> None:
    with shell(private, background) as pty:
        for number in range(1000):
            pty.resize(20 + number % 50, 60 + number % 70)
        pty.resize(43, 111)
        pty.line("clear; until [ \"$(stty size)\" = '43 111' ]; do sleep 0.02; done; echo it' 'is")
        pty.wait_for("it is")
        leave(pty)


# ---------------------------------------------------------------------------------------------- keys


def test_ctrl_c_interrupts_a_program(env: Env, background: bool) -> None:
    with run(env, "--", "sh", "-c", "echo ready; exec sleep 600", background=background) as pty:
        pty.wait_for("ready")
        pty.send(b"\x03")
        assert pty.wait() == 130
        assert pty.modes() == pty.modes_at_start


def test_ctrl_c_interrupts_the_shells_job_not_the_shell(env: Env, background: bool) -> None:
    with shell(env, background) as pty:
        # Said by the job itself: a bash that is just starting one swallows a Ctrl-C.
        pty.line("sh -c 'echo be\"\"gun; exec sleep 600'")
        pty.wait_for("begun")
        pty.send(b"\x03")
        pty.wait_for(PROMPT)
        pty.line("echo $?")
        pty.wait_for("130")
        leave(pty)


def test_ctrl_c_in_a_flood_brings_the_prompt_back(env: Env, background: bool) -> None:
    with shell(env, background) as pty:
        pty.line("yes")
        pty.wait_for("y\r\n" * 100)
        pty.send(b"\x03")
        pty.wait_for("^C")
        pty.wait_for(PROMPT)
        leave(pty)


def test_ctrl_z_stops_the_remote_job_and_fg_goes_on(env: Env, background: bool) -> None:
    with shell(env, background) as pty:
        pty.line("echo be'gun'; sed -u s/^/got_/")
        pty.wait_for("begun")
        pty.send("one\n")  # a newline is one in every mode: the shell may still be setting them
        pty.wait_for("got_one")
        pty.send(b"\x1a")
        pty.wait_for("Stopped")
        pty.wait_for(PROMPT)
        pty.line("fg")
        pty.send("two\n")
        pty.wait_for("got_two")
        pty.send(b"\x04")
        pty.wait_for(PROMPT)
        leave(pty)


def test_ctrl_s_and_ctrl_q_belong_to_the_other_side(private: Env, background: bool) -> None:
    with shell(private, background) as pty:
        pty.line("for i in $(seq 1 200); do echo n$i; sleep 0.005; done")
        pty.wait_for("n5\r\n")
        pty.send(b"\x13")
        until(lambda: not _grows(pty), "the output to stand still")
        pty.send(b"\x11")
        pty.wait_for("n200\r\n")
        leave(pty)


def _grows(pty: Pty) -> bool:
    pty._pump(0.1)
    before = len(pty.seen)
    pty._pump(0.1)
    return len(pty.seen) > before


def test_ctrl_d_ends_input(private: Env, background: bool) -> None:
    with run(private, "--", "cat", background=background) as pty:
        pty.line("a line")
        pty.wait_for("a line\r\na line\r\n")
        pty.send(b"\x04")
        assert pty.wait() == 0


def test_a_password_is_not_echoed(private: Env, background: bool) -> None:
    script = "stty -echo; printf 'word: '; read x; stty echo; echo; echo \"got $x\" | tr a-z A-Z"
    with run(private, "--", "sh", "-c", script, background=background) as pty:
        pty.wait_for("word: ")
        pty.line("secret")
        assert pty.wait_for("GOT SECRET").count(b"secret") == 0
        assert pty.wait() == 0


# -------------------------------------------------------------------------------------- escape keys


def detached_job(pty: Pty) -> str:
    match = re.search(rb"detached from (\d+)", pty.wait_for("returns]"))
    assert match is not None, pty.tail()
    return match[1].decode()


def end(env: Env, job: str) -> None:
    assert env.gshell("cancel", job).returncode == 0


@pytest.mark.parametrize("keys", [b"\r~.", b"\r~d", b"\x1d\x1d\x1d"])
def test_detaching_names_the_job_and_leaves_it(env: Env, keys: bytes, background: bool) -> None:
    with shell(env, background) as pty:
        for byte in keys:
            pty.send(bytes((byte,)))
        job = detached_job(pty)
        assert pty.wait() == 0
        assert pty.modes() == pty.modes_at_start
    assert any(found["id"] == job and found["state"] == "ACTIVE" for found in env.jobs())
    end(env, job)


def test_help_is_shown_and_typing_goes_on(private: Env, background: bool) -> None:
    with shell(private, background) as pty:
        pty.send("\r~?")
        pty.wait_for("suspend gshell")
        pty.line("echo al'l'right")
        pty.wait_for("allright")
        leave(pty)


def test_two_tildes_are_one_and_a_late_one_is_itself(private: Env, background: bool) -> None:
    with run(private, "--", "sh", "-c", "echo ready; exec cat", background=background) as pty:
        pty.wait_for("ready")  # before, keys are not ours to read
        pty.send("~~.\r")
        pty.wait_for("~.\r\n~.\r\n")
        pty.send("x~.\r")
        pty.wait_for("x~.\r\nx~.\r\n")
        pty.send(b"\x04")
        assert pty.wait() == 0


def test_no_escape_keys_when_told_so(private: Env, background: bool) -> None:
    with run(private, "-e", "none", "--", "cat", background=background) as pty:
        pty.send("~.\r")
        pty.wait_for("~.\r\n~.\r\n")
        pty.send(b"\x04")
        assert pty.wait() == 0


def test_another_escape_character(private: Env, background: bool) -> None:
    with run(private, "-e", "^B", "--", "cat", background=background) as pty:
        pty.send("~.\r")
        pty.wait_for("~.\r\n~.\r\n")
        pty.send(b"\x02.")
        job = detached_job(pty)
        assert pty.wait() == 0
    end(private, job)


@pytest.mark.parametrize("marks", [(b"\x1b[200~", b"\x1b[201~"), (b"", b"")])
def test_a_paste_detaches_nothing(
    private: Env, marks: tuple[bytes, bytes], background: bool
) -> None:
    script = "stty raw -echo; printf 'ready\\r\\n'; head -c 70 | od -An -c; stty sane; exit 4"
    text = marks[0] + b"line\r~.\rmore of a paste\r~.\r" + marks[1]
    with run(private, "--", "sh", "-c", script, background=background) as pty:
        pty.wait_for("ready")
        pty.send(text + b"x" * (70 - len(text)))
        assert pty.wait() == 4


def test_kill_from_the_keyboard(private: Env, background: bool) -> None:
    with run(private, "--", "sh", "-c", "echo ready; exec sleep 600", background=background) as pty:
        pty.wait_for("ready")
        pty.send("\r~K")
        assert pty.wait() in (129, 143)
        assert pty.modes() == pty.modes_at_start


# ------------------------------------------------------------------------------------ ends of gshell


def signal_front(number: int) -> Callable[[Pty], None]:
    return lambda pty: os.kill(pty.process.pid, number)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_killed_gshell_leaves_a_sane_terminal_and_a_living_job(
    private: Env, number: int, background: bool
) -> None:
    with shell(private, background) as pty:
        pty.line("printf '\\033[?1049h\\033[?25l\\033[?2004h'; echo al'tered'")
        pty.wait_for("altered")
        os.kill(pty.process.pid, number)
        pty.wait()
        pty.wait_modes(raw=False)
        assert pty.modes() == pty.modes_at_start
        after = pty.seen.rpartition(b"altered")[2]
        until(
            lambda: pty._pump(0.05) or b"\x1b[?1049l" in pty.seen,
            "the modes to be reset",
            show=pty.tail,
        )
        assert b"\x1b[?25h" in pty.seen, after
        assert b"\x1b[?2004l" in pty.seen
    live = [job["id"] for job in private.jobs() if job["state"] == "ACTIVE"]
    assert len(live) == 1
    end(private, live[0])


def test_a_killed_background_process_is_told_and_the_terminal_sane(alone: Env) -> None:
    assert alone.gshell("run", "true").returncode == 0
    with shell(alone) as pty:
        pid = int((alone.home / "run" / "bg.sock.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        assert pty.wait() == 255
        assert b"background process ended" in pty.seen
        assert pty.modes() == pty.modes_at_start
    until(lambda: state_of(pid) in ("", "Z"), "it to be gone")


def test_without_a_terminal_the_end_of_the_background_process_is_255_too(alone: Env) -> None:
    assert alone.gshell("run", "true").returncode == 0
    run = alone.popen("run", "--", "sh", "-c", "echo on; sleep 600")
    assert run.stdout is not None
    assert run.stdout.readline() == b"on\n"
    os.kill(int((alone.home / "run" / "bg.sock.pid").read_text()), signal.SIGKILL)
    _, err = run.communicate(timeout=20)
    assert run.returncode == 255
    assert b"the job goes on" in err


def test_a_hung_up_terminal_detaches(private: Env, background: bool) -> None:
    pty = shell(private, background)
    front = pty.process.pid
    os.close(pty._slave)
    os.close(pty.master)
    until(lambda: state_of(front) in ("", "Z"), "gshell to end")
    pty.process.wait()
    live = [job["id"] for job in private.jobs() if job["state"] == "ACTIVE"]
    assert len(live) == 1
    end(private, live[0])
