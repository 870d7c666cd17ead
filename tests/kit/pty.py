"""A scripted terminal: a program in a pty of its own, or in tmux. Knows no gshell.

What is waited for is text, never quiet. The slave side stays open here, so that the terminal's modes can
still be asked when the program has ended.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

PATIENCE_S = 30.0  # nothing waits this long when all is well
READ_BYTES = 1 << 16
SIZE = (24, 80)  # rows, columns


class Pty:
    """A program whose controlling terminal we are. Use as a context: the end kills what is left of it."""

    def __init__(
        self,
        argv: Sequence[str | bytes],
        env: Mapping[str, str],
        size: tuple[int, int] = SIZE,
        cwd: str | Path | None = None,
        raw: bool = False,
        stderr: int | None = None,
    ) -> None:
        """``raw``: the line discipline changes nothing, for programs that don't set it themselves."""
        self.argv = argv
        self.master, self._slave = os.openpty()
        self._size = size
        self.resize(*size, tell=False)
        if raw:
            make_raw(self._slave)
        self.modes_at_start = self.modes()
        self.seen = bytearray()
        """All output so far."""
        self._at = 0  # what was waited for last ended here
        slave = self._slave
        self.process = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave if stderr is None else stderr,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> Pty:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the program and hang up."""
        if self.process.poll() is None:
            self.process.kill()
        for fd in (self._slave, self.master):
            os.close(fd)
        self.process.wait()

    # -- typing

    def send(self, data: bytes | str) -> None:
        """Type it; reads along, so that a long paste cannot stand against its own echo."""
        data = data.encode() if isinstance(data, str) else data
        os.set_blocking(self.master, False)
        end = time.monotonic() + PATIENCE_S
        while data:
            readable, writable, _ = select.select([self.master], [self.master], [], 1.0)
            if readable:
                self._read()
            if writable:
                try:
                    data = data[os.write(self.master, data[:4096]) :]
                except BlockingIOError:
                    pass
            assert time.monotonic() < end, f"{len(data)} bytes were not taken\n{self.tail()}"

    def line(self, text: str) -> None:
        """Type a line, ended by Enter."""
        self.send(text + "\r")

    def resize(self, rows: int, columns: int, tell: bool = True) -> None:
        self._size = (rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    # -- looking

    def wait_for(self, text: bytes | str, patience_s: float = PATIENCE_S) -> bytes:
        """Wait for ``text`` after what was waited for last; what came up to its end."""
        text = text.encode() if isinstance(text, str) else text
        end = time.monotonic() + patience_s
        looked = self._at  # megabytes may come
        while True:
            found = self.seen.find(text, looked)
            if found >= 0:
                came = bytes(self.seen[self._at : found + len(text)])
                self._at = found + len(text)
                return came
            looked = max(looked, len(self.seen) - len(text) + 1)
            left = end - time.monotonic()
            assert left > 0, f"waited {patience_s:.0f} s for {text!r}\n{self.tail()}"
            self._pump(left)

    def wait_bytes(self, count: int, patience_s: float = PATIENCE_S) -> bytes:
        """The next ``count`` bytes of output."""
        end = time.monotonic() + patience_s
        while len(self.seen) - self._at < count:
            left = end - time.monotonic()
            assert left > 0, f"{len(self.seen) - self._at} of {count} bytes came\n{self.tail()}"
            self._pump(left)
        came = bytes(self.seen[self._at : self._at + count])
        self._at += count
        return came

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """The program's exit status (as a shell counts it), once it has ended; all output is read."""
        end = time.monotonic() + patience_s
        while self.process.poll() is None:
            assert time.monotonic() < end, f"{self.argv} does not end\n{self.tail()}"
            self._pump(0.01)
        while self._pump(0.0):
            pass
        code = self.process.returncode
        return 128 - code if code < 0 else code

    def rest(self) -> bytes:
        """What came after what was waited for last."""
        while self._pump(0.0):
            pass
        came = bytes(self.seen[self._at :])
        self._at = len(self.seen)
        return came

    def screen(self) -> list[str]:
        """The rows of the screen as a person sees them now, without trailing blanks."""
        while self._pump(0.0):
            pass
        return draw(bytes(self.seen), self._size)

    def tail(self) -> str:
        return f"... {bytes(self.seen[-2000:])!r}"

    def modes(self) -> list[object]:
        """What ``stty -g`` prints, as termios has it."""
        return termios.tcgetattr(self._slave)

    def wait_modes(self, raw: bool, patience_s: float = PATIENCE_S) -> None:
        """Until the terminal is raw, or as it was at the start."""
        end = time.monotonic() + patience_s
        while self.is_raw() if not raw else not self.is_raw():
            assert time.monotonic() < end, (
                f"the terminal is {'not ' if raw else ''}raw\n{self.tail()}"
            )
            self._pump(0.01)

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self._slave)[3] & (termios.ICANON | termios.ECHO)

    def foreground(self) -> int:
        """The foreground process group."""
        return os.tcgetpgrp(self.master)

    def _pump(self, timeout_s: float) -> bool:
        readable, _, _ = select.select([self.master], [], [], min(timeout_s, 0.2))
        return bool(readable) and self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self.master, READ_BYTES)
        except (BlockingIOError, OSError):
            return False
        self.seen += data
        return bool(data)


def make_raw(fd: int) -> None:
    """No echo, no lines, no signals, no translation."""
    modes = termios.tcgetattr(fd)
    modes[0] = termios.IGNPAR
    modes[1] = 0
    modes[3] = 0
    modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, modes)


_PRIVATE_SGR = re.compile(rb"\x1b\[[>?][0-9;]*m")  # key modes, not colours; pyte breaks on them


def draw(data: bytes, size: tuple[int, int] = SIZE) -> list[str]:
    """What a terminal of this size shows after ``data``."""
    screen = pyte.Screen(size[1], size[0])
    pyte.ByteStream(screen).feed(_PRIVATE_SGR.sub(b"", data))
    return [row.rstrip() for row in screen.display]


class Tmux:
    """A tmux server of our own with one session; a person in front of it is played by `keys`."""

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str],
        argv: Sequence[str] = ("bash", "--norc", "--noprofile", "-i"),
        size: tuple[int, int] = SIZE,
    ) -> None:
        self._socket = str(folder / "tmux.sock")
        self._env = {**env, "PS1": "ready$ ", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        rows, columns = size
        self.do(
            "-f", "/dev/null", "-u", "new-session", "-d", "-x", str(columns), "-y", str(rows), *argv
        )

    def __enter__(self) -> Tmux:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            ["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False
        )

    def do(self, *words: str) -> str:
        """A tmux command; what it prints."""
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words],
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"tmux {words}: {done.stderr}"
        return done.stdout

    def keys(self, *keys: str) -> None:
        """By tmux's names: ``"Enter"``, ``"C-z"``."""
        self.do("send-keys", *keys)

    def line(self, text: str) -> None:
        self.do("send-keys", "-l", text)
        self.keys("Enter")

    def screen(self) -> str:
        return self.do("capture-pane", "-p")

    def resize(self, rows: int, columns: int) -> None:
        self.do("resize-window", "-x", str(columns), "-y", str(rows))

    def wait_for(self, text: str, patience_s: float = PATIENCE_S) -> str:
        """Until ``text`` is on the screen; the screen."""
        end = time.monotonic() + patience_s
        while text not in (screen := self.screen()):
            assert time.monotonic() < end, f"waited {patience_s:.0f} s for {text!r} on\n{screen}"
            time.sleep(0.02)
        return screen

    def clear(self) -> None:
        """An empty screen with a prompt, so that what is waited for is new."""
        self.keys("C-l")
        self.do("clear-history")

    def pane_pid(self) -> int:
        return int(self.do("display", "-p", "#{pane_pid}"))


def children(pid: int) -> list[int]:
    """Process ids of the children of ``pid``."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def state_of(pid: int) -> str:
    """R, S, T (stopped), Z ... ; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)
