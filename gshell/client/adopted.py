"""Servers that outlive the background process which started them, and how the next one finds them.

A note beside their state says who they are; a number alone would not: it may be somebody else's by
now. Knows not what they serve.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess

from gshell import config


def remember(name: str, pid: int) -> None:
    """Note who ``name`` is."""
    config.write_private(_note(name), f"{pid} {_started(pid)}\n")


def find(name: str) -> Adopted | None:
    """The ``name`` that was noted, if it still runs."""
    try:
        with open(_note(name), encoding="ascii") as file:
            pid_text, started = file.read().split()
        adopted = Adopted(int(pid_text))
    except (OSError, ValueError):
        return None
    if started == _started(adopted.pid) and adopted.poll() is None:
        return adopted
    adopted.forget()
    return None


def _note(name: str) -> str:
    return f"{config.embedded_dir()}/{name}.pid"


def _started(pid: int) -> str:
    """When it started, in the kernel's ticks; with the number that is one process for ever."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return "0"


class Adopted:
    """As much of a ``Popen`` as its supervisor uses, for a process that is not our child."""

    def __init__(self, pid: int) -> None:
        """OSError: there is no such process."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        return 0 if self._ended(0.0) else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return 0

    def send_signal(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self._fd, number)
        except ProcessLookupError:
            pass  # it ended by itself

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def forget(self) -> None:
        os.close(self._fd)

    def _ended(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))
