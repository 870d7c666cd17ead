"""gshell.client.terminal on real pseudo-terminals, under a real shell, and every way to die."""

import fcntl
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

import gshell
from gshell.client import terminal as module
from gshell.client.terminal import Terminal, packed, raw_of, rescue, unpacked

CHILD = pathlib.Path(__file__).with_name("terminal_child.py")
ROOT = str(pathlib.Path(gshell.__file__).parents[1])
PATIENCE_S = 20.0
RESET = b"\x1b[r\x1b[?1049l\x1b[?25h\x1b[m"
TIMES = int(os.environ.get("GSHELL_TEST_TIMES", "3"))  # 100 for a release


class Screen:
    """A pty's master side: types, and waits for text."""

    def __init__(self, argv):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.shown = b""
        self.process = subprocess.Popen(
            argv,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "PS1": "$ ", "TERM": "dumb", "LINES": "", "COLUMNS": ""},
        )

    def type(self, keys):
        os.write(self.master, keys)

    def wait_for(self, pattern, timeout_s=PATIENCE_S):
        """The match of ``pattern`` in what was shown; what was before is forgotten."""
        end = time.monotonic() + timeout_s
        while not (match := re.search(pattern, self.shown, re.DOTALL)):
            left = end - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.shown!r}"
            if select.select([self.master], [], [], left)[0]:
                self.shown += os.read(self.master, 65536)
        self.shown = self.shown[match.end() :]
        return match

    def until_restored(self):
        """The guardian works after the death was seen: a moment later."""
        end = time.monotonic() + PATIENCE_S
        while not self.is_restored():
            assert time.monotonic() < end, termios.tcgetattr(self.slave)
            os.sched_yield()

    def is_restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def until_raw(self):
        end = time.monotonic() + PATIENCE_S
        while not self.is_raw():
            assert time.monotonic() < end
            os.sched_yield()

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def ready(self):
        """The pids of (main, guardian), once the terminal is raw."""
        match = self.wait_for(rb"READY main=(\d+) guardian=(\d+)\.")
        return int(match[1]), int(match[2])

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screens():
    opened = []

    def new(*argv):
        opened.append(Screen(list(argv)))
        return opened[-1]

    yield new
    for screen in opened:
        screen.close()


def child(*options):
    return (sys.executable, "-I", "-S", str(CHILD), ROOT, *options)


def wait_state(pid, state):
    """Until /proc says so; a process that is gone is as good as a zombie."""
    end = time.monotonic() + PATIENCE_S
    found = ""
    while found != state:
        assert time.monotonic() < end, f"process {pid} is {found}"
        try:
            found = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            found = "Z"


def wait_gone(pid):
    wait_state(pid, "Z")


# ---------------------------------------------------------------------------------------- deaths


@pytest.mark.parametrize("death", ["exit", "exception", "INT", "TERM", "HUP", "QUIT", "KILL"])
@pytest.mark.parametrize("screen_set", [False, True], ids=["plain", "alternate"])
def test_the_terminal_is_as_before_after(screens, death, screen_set):
    for _ in range(TIMES):
        screen = screens(*child())
        main, guardian = screen.ready()
        assert screen.is_raw()
        if screen_set:
            screen.type(b"a")
            screen.wait_for(b"ALTERNATE\r\n")
        if death in ("exit", "exception"):
            screen.type(b"q" if death == "exit" else b"x")
        else:
            os.kill(main, signal.Signals["SIG" + death])
        screen.process.wait(PATIENCE_S)
        if death in ("exit", "exception", "INT"):
            assert screen.is_restored()
        else:
            screen.until_restored()
        wait_gone(guardian)
        if screen_set:
            screen.wait_for(re.escape(RESET))
        else:
            assert b"\x1b" not in screen.shown


def test_a_killed_guardian_is_not_missed(screens):
    for _ in range(TIMES):
        screen = screens(*child())
        _, guardian = screen.ready()
        os.kill(guardian, signal.SIGKILL)
        wait_gone(guardian)
        screen.type(b"a")  # which it would be told
        screen.wait_for(b"ALTERNATE\r\n")
        screen.type(b"q")
        assert screen.process.wait(PATIENCE_S) == 0
        assert screen.is_restored()
        screen.wait_for(re.escape(RESET))


def test_the_guardian_hears_neither_the_keys_nor_the_hang_up(screens):
    screen = screens(*child("SIGINT", "SIGHUP"))
    main, guardian = screen.ready()
    os.killpg(screen.process.pid, signal.SIGINT)
    os.killpg(screen.process.pid, signal.SIGHUP)
    assert os.getsid(guardian) == guardian
    os.kill(main, signal.SIGKILL)
    screen.process.wait()
    screen.until_restored()


def test_the_guardian_holds_nothing_but_its_pipe_and_the_terminal(screens):
    screen = screens(*child())
    _, guardian = screen.ready()
    end = time.monotonic() + PATIENCE_S
    while len(found := os.listdir(f"/proc/{guardian}/fd")) > 2:
        assert time.monotonic() < end, found
    assert sorted(os.readlink(f"/proc/{guardian}/fd/{fd}").split(":")[0] for fd in found) == [
        os.ttyname(screen.slave),
        "pipe",
    ]


def test_who_has_the_terminal_by_now_keeps_it(screens):
    screen = screens(*child())
    main, guardian = screen.ready()
    os.kill(main, signal.SIGSTOP)
    theirs = termios.tcgetattr(screen.slave)
    theirs[3] |= termios.ISIG  # as a line editor would
    termios.tcsetattr(screen.slave, termios.TCSANOW, theirs)
    os.kill(main, signal.SIGKILL)
    wait_gone(guardian)
    assert termios.tcgetattr(screen.slave) == theirs


def test_for_a_question_of_ours_the_terminal_is_as_before(screens):
    screen = screens(*child())
    screen.ready()
    screen.type(b"c")
    screen.wait_for(b"COOKED\r\r\n")  # the terminal adds its own
    screen.wait_for(b"RAW\r\n")
    assert screen.is_raw()


# ------------------------------------------------------------------------------------ job control

bash = pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")


class Shell:
    """An interactive bash with our child as its job; its line editor sets modes of its own."""

    def __init__(self, screens):
        self.screen = screens("bash", "--norc", "--noprofile", "-i")
        self.screen.wait_for(rb"\$ ")
        self.settings = self.stty()

    def line(self, text):
        self.screen.type(text.encode() + b"\n")

    def stty(self):
        self.line("echo set=$(stty -g).")
        settings = self.screen.wait_for(rb"set=([0-9a-f:]+)\.")[1]
        self.screen.wait_for(rb"\$ ")
        return settings

    def start(self):
        self.line(" ".join(child()))
        return self.screen.ready()


@bash
def test_suspended_the_shell_has_its_terminal_and_fg_gives_it_back_raw(screens):
    shell = Shell(screens)
    shell.start()
    shell.screen.type(b"az")
    shell.screen.wait_for(re.escape(RESET))
    shell.screen.wait_for(rb"Stopped.*\$ ")
    assert shell.stty() == shell.settings
    shell.line("fg")
    shell.screen.wait_for(b"CONTINUED True")
    assert shell.screen.is_raw()
    shell.screen.type(b"q")
    shell.screen.wait_for(rb"\$ ")
    assert shell.stty() == shell.settings


@bash
def test_bg_is_answered_by_stopping_again_and_what_the_shell_set_since_is_kept(screens):
    shell = Shell(screens)
    shell.start()
    shell.screen.type(b"z")
    shell.screen.wait_for(rb"Stopped.*\$ ")
    shell.line("stty -ixon")
    shell.screen.wait_for(rb"\$ ")
    changed = shell.stty()
    shell.line("set -b; bg")
    shell.screen.wait_for(rb"&\r\n.*Stopped")
    shell.line("")
    shell.screen.wait_for(rb"\$ ")
    assert shell.stty() == changed
    shell.line("fg")
    shell.screen.wait_for(b"CONTINUED True")
    assert shell.screen.is_raw()
    shell.screen.type(b"q")
    shell.screen.wait_for(rb"\$ ")
    assert shell.stty() == changed


@bash
def test_continued_behind_the_shell_s_line_editor_its_modes_are_not_taken_for_the_user_s(screens):
    shell = Shell(screens)
    main, _ = shell.start()
    shell.screen.type(b"z")
    shell.screen.wait_for(rb"Stopped.*\$ ")
    shell.screen.until_raw()  # the line editor's
    os.kill(main, signal.SIGCONT)
    wait_state(main, "T")
    shell.line("fg")
    shell.screen.wait_for(b"CONTINUED True")
    shell.screen.type(b"s")  # some shells would put it right, not all
    saved = shell.screen.wait_for(rb"SAVED ([0-9a-f]+)\.")[1].decode()
    assert saved == packed(shell.screen.before).hex()
    shell.screen.type(b"q")
    shell.screen.wait_for(rb"\$ ")
    assert shell.stty() == shell.settings


@bash
@pytest.mark.parametrize("suspended", [False, True])
def test_killed_under_a_shell_its_line_editor_is_left_alone(screens, suspended):
    shell = Shell(screens)
    main, guardian = shell.start()
    if suspended:
        shell.screen.type(b"z")
        shell.screen.wait_for(rb"Stopped.*\$ ")
    os.kill(main, signal.SIGKILL)
    wait_gone(guardian)
    shell.line("")
    shell.screen.wait_for(rb"\$ ")
    assert shell.stty() == shell.settings


def test_without_job_control_suspending_does_nothing(screens):
    screen = screens(*child())  # a session leader: its group is orphaned
    screen.ready()
    screen.type(b"z")
    screen.wait_for(b"CONTINUED False")
    assert screen.is_raw()


# ----------------------------------------------------------------------------------------- the rest


@pytest.fixture
def slave():
    master, slave = pty.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def test_the_size_is_the_terminal_s_or_what_the_environment_says(slave, monkeypatch):
    terminal = Terminal(slave)
    monkeypatch.delenv("LINES", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal.size() == (24, 80)
    monkeypatch.setenv("LINES", "50")
    monkeypatch.setenv("COLUMNS", "x")
    assert terminal.size() == (50, 80)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 500, 200, 0, 0))
    assert terminal.size() == (500, 200)


def test_a_stopped_terminal_holds_up_neither_raw_nor_restore(slave):
    with Terminal(slave) as terminal:
        terminal.raw()
        terminal.output(b"\x1b[?1049h")
        termios.tcflow(slave, termios.TCOOFF)
        begun = time.monotonic()
        terminal.restore()
        assert time.monotonic() - begun < 20.0
        assert not terminal.is_raw


def test_settings_survive_the_way_through_the_pipe(slave):
    for attributes in (termios.tcgetattr(slave), raw_of(termios.tcgetattr(slave))):
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        now = termios.tcgetattr(slave)
        assert packed(now) == packed(attributes)
        termios.tcsetattr(slave, termios.TCSANOW, unpacked(packed(now)))
        assert termios.tcgetattr(slave) == now


def test_a_rescue_needs_the_mode_to_be_as_told(slave):
    before = termios.tcgetattr(slave)
    mode = packed(raw_of(before))
    assert not rescue(slave, mode, packed(before), b"")
    assert not rescue(slave, b"", b"", b"")
    termios.tcsetattr(slave, termios.TCSANOW, raw_of(before))
    assert rescue(slave, mode, packed(before), b"")
    assert termios.tcgetattr(slave) == before


def test_a_guardian_costs_little():
    costs_s = []
    for _ in range(5):  # the machine may be busy with others
        master, slave = pty.openpty()
        terminal = Terminal(slave)
        begun = time.perf_counter()
        terminal.guard()
        costs_s.append(time.perf_counter() - begun)
        terminal.close()
        os.close(master)
        os.close(slave)
    # 0.4 ms from a fresh interpreter; here the fork copies all of pytest
    assert min(costs_s) < 0.1


def test_no_terminal_is_said_at_once(tmp_path):
    with open(tmp_path / "f", "w") as file, pytest.raises(termios.error):
        Terminal(file.fileno())
    assert module.in_foreground(-1)
