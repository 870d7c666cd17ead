"""Ways to give processes less of the processor, and all of it back. Measures nothing.

Each may turn out to do nothing at all: an autogroup's nice is inert in a cpu cgroup, a process's
between autogroups. Who uses them measures.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import resource
import signal
from typing import Protocol

from gshell.agent.proctree import Process, Tree, look

NICEST = 19
_NICE_RATIO = 1.25  # of the weights of two levels that follow each other
LEAST_NICE = _NICE_RATIO**-NICEST
RESTORED_BY = 8  # sessions: the kernel lets who has no privilege write ten autogroups a second

log = logging.getLogger("gshell.agent")


class Way(Protocol):
    """Weights: of what is demoted, where what is not has 1."""

    name: str
    least: float
    """It can do no less."""

    def apply(self, trees: list[Tree], weight: float) -> bool:
        """Have it so from now on; False: that cannot be done here."""

    def restore(self) -> bool:
        """All as before; False: not yet all, ask again soon."""


def _level(weight: float) -> float:
    """The nice value with about this weight."""
    return min(float(NICEST), max(0.0, -math.log(max(weight, 1e-6)) / math.log(_NICE_RATIO)))


class Autogroup:
    """The nice value of sessions: of each, whatever its processes' own are."""

    name = "autogroup"
    least = LEAST_NICE

    def __init__(self) -> None:
        self._done: dict[int, int] = {}  # session -> level
        self._owed = 0.0

    @staticmethod
    def possible() -> bool:
        try:
            with open("/proc/sys/kernel/sched_autogroup_enabled", "rb") as file:
                return file.read().strip() == b"1"
        except OSError:
            return False

    def apply(self, trees: list[Tree], weight: float) -> bool:
        wanted = _level(weight) + self._owed
        level = max(0, min(NICEST, round(wanted)))
        self._owed = max(-1.0, min(1.0, wanted - level))  # levels are coarse: two take turns
        sessions: dict[int, int] = {}
        for tree in trees:
            sessions.update(tree.sessions())
        if not _quick() and len(sessions) > RESTORED_BY:
            return False  # they could not all be restored in time
        for session in set(self._done) - set(sessions):
            del self._done[session]
        if not _quick() and len(sessions) > 2:
            level = round(level / 2) * 2  # fewer changes: each waits for its turn
        for session, pid in sessions.items():
            if self._done.get(session) != level:
                failure = _write(f"/proc/{pid}/autogroup", level)
                if failure == 0:
                    self._done[session] = level
                elif failure not in (errno.EAGAIN, errno.ESRCH, errno.ENOENT):
                    return False
        return True

    def restore(self) -> bool:
        self._owed = 0.0
        for session in list(self._done):
            pid = session if look(session) is not None else _somebody_of(session)
            failure = _write(f"/proc/{pid}/autogroup", 0) if pid else 0
            if failure != errno.EAGAIN:
                del self._done[session]
        return not self._done


class Nice:
    """The nice value of processes. What they start while demoted inherits it."""

    name = "nice"
    least = LEAST_NICE

    def __init__(self) -> None:
        self._before: dict[tuple[int, int], int] = {}  # process -> its own value

    @staticmethod
    def reversible() -> bool:
        """Without privilege a value can only grow."""
        most = resource.getrlimit(resource.RLIMIT_NICE)[0]
        return os.geteuid() == 0 or most == resource.RLIM_INFINITY or most >= 20

    def apply(self, trees: list[Tree], weight: float) -> bool:
        level = round(_level(weight))
        done = True
        for tree in trees:
            known = {key[0]: own for key, own in self._before.items()}
            for process in tree.members.values():
                if process.key not in self._before:  # a child began with its parent's
                    own = known.get(process.parent)
                    self._before[process.key] = _nice_of(process.pid) if own is None else own
                done = _renice(process.pid, max(level, self._before[process.key])) and done
        return done

    def restore(self) -> bool:
        for (pid, started), own in self._before.items():
            process = look(pid)
            if process is not None and process.started == started and not _renice(pid, own):
                log.warning("process %d keeps a low priority: there is no right to raise it", pid)
        self._before.clear()
        return True


class Stop:
    """Stopped and continued by turns. Invariant: it continues what it stopped, and nothing else."""

    name = "stop"

    def __init__(self) -> None:
        self._stopped: dict[int, Process] = {}

    @property
    def any(self) -> bool:
        return bool(self._stopped)

    def stop(self, trees: list[Tree]) -> None:
        for tree in trees:
            for member in tree.members.values():
                process = look(member.pid)  # as it is now, and whether it is that one still
                if process is None or process.key != member.key or process.pid in self._stopped:
                    continue
                if process.state not in "Tt":  # what somebody else stopped is theirs to continue
                    self._stopped[process.pid] = process
                    _kill(process.pid, signal.SIGSTOP)

    def go_on(self, pids: set[int] | None = None) -> None:
        """Continue all, or those of ``pids``, that we stopped."""
        for pid, process in list(self._stopped.items()):
            if pids is None or pid in pids:
                del self._stopped[pid]
                now = look(pid)
                if now is not None and now.key == process.key:
                    _kill(pid, signal.SIGCONT)


def _quick() -> bool:
    """Does the kernel let us write as often as we like?"""
    return os.geteuid() == 0


def _write(path: str, value: int) -> int:
    """Its errno; 0: written. A buffered write would not see it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        return error.errno or errno.EIO
    try:
        os.write(fd, str(value).encode())
        return 0
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        os.close(fd)


def _somebody_of(session: int) -> int:
    """A process of this session whose leader has gone; 0: there is none."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = look(int(name))
            if process is not None and process.session == session:
                return process.pid
    return 0


def _nice_of(pid: int) -> int:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except OSError:
        return 0


def _renice(pid: int, level: int) -> bool:
    """Of all its threads: each has its own."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return True  # gone
    for thread in threads:
        try:
            os.setpriority(os.PRIO_PROCESS, int(thread), level)
        except ProcessLookupError:
            pass
        except PermissionError:
            return False
    return True


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):  # gone; or it became somebody else (sudo)
        pass
