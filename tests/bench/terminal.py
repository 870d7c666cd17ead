"""A user at a terminal: a local pty with a program in it. Knows nothing of what the program is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Any

from bench.measure import Failed, brief, tail

READ_BYTES = 64 * 1024
DEADLINE_S = 20.0  # of any one wait; the slowest (mosh's start) takes about one second
KEPT_BYTES = 4096  # of what was seen last, for patterns and for the failure message


class Terminal:
    """Owns the pty's master and the program, which is ended (by pid) and waited for on close."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], size: tuple[int, int] = (24, 80)
    ):
        self.argv = argv
        self.fd, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        name = os.ttyname(slave)
        inherit: list[Any] = [
            (os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0)
        ]  # opened by a session leader: its tty
        inherit += [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
        self.pid = os.posix_spawnp(argv[0], list(argv), env, setsid=True, file_actions=inherit)
        os.close(slave)
        os.set_blocking(self.fd, False)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLIN)
        self.seen = b""
        self._status: int | None = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Type ``data``; keeps reading, so that neither side waits for the other."""
        while data:
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:
                select.select([], [self.fd], [], DEADLINE_S)

    def read(self, deadline: float) -> bytes:
        """What has arrived, at least one byte; empty at the end of the file.

        Raises:
            Failed: nothing until ``deadline`` (of time.monotonic).
        """
        while True:
            try:
                data = os.read(self.fd, READ_BYTES)
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not self._poll.poll(left * 1000):
                    raise Failed(f"{brief(self.argv)}: silence after {tail(self.seen)!r}") from None
                continue
            except OSError:
                return b""  # Linux: EIO is end of file on a master whose other side closed
            self.seen = (self.seen + data)[-KEPT_BYTES:]
            return data

    def wait_for(self, pattern: bytes, deadline_s: float = DEADLINE_S) -> float:
        """Read until ``pattern`` (a regular expression) has come; when (perf_counter) it had."""
        deadline = time.monotonic() + deadline_s
        expression = re.compile(pattern)
        while not expression.search(self.seen):
            if not self.read(deadline):
                raise Failed(f"{brief(self.argv)}: ended after {tail(self.seen)!r}")
            if time.monotonic() > deadline:
                raise Failed(f"{brief(self.argv)}: no {pattern!r} in {deadline_s:.0f} s")
        instant = time.perf_counter()
        self.seen = self.seen[expression.search(self.seen).end() :]  # type: ignore[union-attr]
        return instant

    def echo(self, keys: bytes) -> list[float]:
        """Type one key at a time, each when the one before has come back; seconds each took.

        Raises:
            Failed: something else came back.
        """
        times = []
        for key in keys:
            sent = bytes((key,))
            begun = time.perf_counter()
            os.write(self.fd, sent)
            got = self.read(time.monotonic() + DEADLINE_S)
            times.append(time.perf_counter() - begun)
            if got != sent:
                raise Failed(f"{brief(self.argv)}: typed {sent!r}, got {got[:40]!r}")
        return times

    def wait(self, status: int | None = 0, deadline_s: float = DEADLINE_S) -> int:
        """Read to the end and reap the program.

        Raises:
            Failed: it ended with another status (None: any), or didn't end.
        """
        deadline = time.monotonic() + deadline_s
        while self.read(deadline):
            pass
        if not self._reap(deadline):
            raise Failed(f"{brief(self.argv)}: closed its terminal but doesn't end")
        assert self._status is not None
        if status is not None and self._status != status:
            raise Failed(f"{brief(self.argv)}: status {self._status}, not {status}")
        return self._status

    def close(self) -> None:
        """Hang up; the program is ended if that doesn't."""
        with contextlib.suppress(OSError):
            os.close(self.fd)
        for sign in (signal.SIGHUP, signal.SIGTERM, signal.SIGKILL):
            if self._reap(time.monotonic() + (0.5 if sign is signal.SIGHUP else 1.0)):
                return
            os.kill(self.pid, sign)
        self._reap(time.monotonic() + DEADLINE_S)

    def _reap(self, deadline: float) -> bool:
        while self._status is None:
            pid, raw = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(raw)
            elif time.monotonic() > deadline:
                return False
            else:
                time.sleep(0.002)
        return True
