"""A rank that a launcher has started and whose streams are ours: what `spawn.Child` is to the
session, for a process that is not our child. Knows no socket: see claims.py.

Its end is seen by its pidfd. Its exit status is its parent's to take; we read it from the process
table while the launcher has not taken it, or from the pidfd when it has (Linux 6.15). Where neither
works it counts as 0: the launcher's own status is the job's, and it says which rank died.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
from typing import NamedTuple

from gshell.agent.spawn import Child, Exit, exit_of, open_terminal, output_pipe

_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes)
_PIDFD_INFO_EXIT = 1 << 3
_INFO = struct.Struct("=QQ11Ii")  # mask, cgroup, numbers, exit status
UNKNOWN = Exit(0, None, False)


class Ends(NamedTuple):
    """A rank's streams, before there is a process."""

    ours: tuple[int, int, int, int]
    """stdin, stdout, stderr, a terminal's other side: as `Child` has them, -1 for none."""
    theirs: tuple[int, ...]
    """stdin, stdout, stderr; or a terminal."""


def make_ends(
    pty: tuple[int, int] | None, env: dict[str, str], stdin: bool, pipe_bytes: int
) -> Ends:
    """``pty``: (rows, columns); ``stdin``: a pipe, else /dev/null.

    Raises:
        OSError: no descriptors are left.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        if pty is not None:
            master, held, _ = open_terminal(pty, env, ours)
            return Ends((master, master, -1, held), (os.dup(held),))
        if stdin:
            read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(write, False)
            theirs.append(read)
            ours.append(write)
        else:
            theirs.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        for _ in ("stdout", "stderr"):
            read, write = output_pipe(pipe_bytes)
            ours.append(read)
            theirs.append(write)
    except BaseException:
        for fd in ours + theirs:
            os.close(fd)
        raise
    if not stdin:
        ours.insert(0, -1)
    return Ends((ours[0], ours[1], ours[2], -1), tuple(theirs))


class Claimed(Child):
    """Invariant: no signal after it was seen to have ended."""

    __slots__ = ()

    def __init__(self, pid: int, ends: Ends) -> None:
        super().__init__(pid, *ends.ours)

    def signal(self, number: int) -> bool:
        """As `Child.signal`; to its group if it leads one, for else that is the launcher's too."""
        if self.exit is not None or self._ended():
            return False
        try:
            if os.getpgid(self.pid) == self.pid:
                return super().signal(number)
            os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def reap(self) -> Exit | None:
        """How it ended; None while it runs."""
        if self.exit is None and self._ended():
            status = _zombie_status(self.pid)
            if status is None and self.pidfd >= 0:
                status = _kept_status(self.pidfd)
            self.exit = UNKNOWN if status is None else exit_of(status)
            self._close("_held")
        return self.exit

    def _ended(self) -> bool:
        if self.pidfd < 0:
            return not os.path.exists(f"/proc/{self.pid}")
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))


def _zombie_status(pid: int) -> int | None:
    """Of a process whose parent has not asked yet. None: it has, or the number is another's."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[49]) if fields[0] == b"Z" else None
    except (OSError, ValueError, IndexError):
        return None


def _kept_status(pidfd: int) -> int | None:
    """Of a process whose parent has taken it: the kernel keeps it for who has a pidfd."""
    try:
        answer = fcntl.ioctl(pidfd, _PIDFD_GET_INFO, _INFO.pack(_PIDFD_INFO_EXIT, *[0] * 13))
    except OSError:  # before Linux 6.13
        return None
    values = _INFO.unpack(answer)
    return values[-1] if values[0] & _PIDFD_INFO_EXIT else None
