"""Who belongs to a step and what processor time they have had and wanted, from /proc. Decides
nothing.

A step's processes are its ranks' descendants, and whoever is in a session that one of them made:
launchers give each rank a session of its own, and daemons lose their parents.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

PROCESSES = 2000  # of one step, looked at; a fork bomb costs us no more
_THREADS = 64  # of one process


class Process(NamedTuple):
    """One process, as it was."""

    pid: int
    parent: int
    session: int
    state: str
    started: int
    """In the kernel's ticks: tells it from a later one with its number."""

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.started


class Times(NamedTuple):
    """Of processor time, in seconds."""

    run: float = 0.0
    wait: float = 0.0
    """Runnable, and not running."""


def look(pid: int) -> Process | None:
    """None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read(4096).rpartition(b")")[2].split()
        return Process(pid, int(words[1]), int(words[3]), words[0].decode(), int(words[19]))
    except (OSError, ValueError, IndexError):
        return None


def children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in _threads(pid):
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except (OSError, ValueError):  # gone, or a kernel without CONFIG_PROC_CHILDREN
            pass
    return found


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")[:_THREADS]
    except OSError:
        return []


class Tree:
    """A step's processes. Invariant: never this process, its parent, or their sessions."""

    def __init__(self) -> None:
        self._sessions: set[int] = set()
        self._times: dict[tuple[int, int], Times] = {}
        self.members: dict[int, Process] = {}

    def refresh(self, roots: Iterable[int], adopter: int = 0) -> list[Process]:
        """Find them anew; orphans are looked for among ``adopter``'s children."""
        spared = {1, os.getpid(), os.getppid()}
        found: dict[int, Process] = {}
        waiting = list(roots)
        if adopter > 1 and self._sessions:
            for pid in children(adopter):
                orphan = look(pid) if pid not in spared else None
                if orphan is not None and orphan.session in self._sessions:
                    waiting.append(pid)
        while waiting and len(found) < PROCESSES:
            pid = waiting.pop()
            if pid in found or pid in spared:
                continue
            process = look(pid)
            if process is not None and process.state not in "ZX":
                found[pid] = process
                waiting += children(pid)
        own = os.getsid(0)
        self._sessions = {p.session for p in found.values() if p.session > 1 and p.session != own}
        self.members = found
        return list(found.values())

    def sessions(self) -> dict[int, int]:
        """Session -> one of its processes that is there."""
        return {p.session: p.pid for p in self.members.values() if p.session in self._sessions}

    def runnable(self) -> int:
        """How many members were running, or waiting to."""
        return sum(process.state == "R" for process in self.members.values())

    def spent(self) -> Times:
        """What its members have run and waited since this was asked last."""
        before, self._times = self._times, {}
        run = wait = 0.0
        for process in self.members.values():
            now = _times(process.pid)
            self._times[process.key] = now
            then = before.get(process.key)
            if then is not None:
                run += max(0.0, now.run - then.run)
                wait += max(0.0, now.wait - then.wait)
        return Times(run, wait)


def _times(pid: int) -> Times:
    run = wait = 0
    for thread in _threads(pid):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as file:
                words = file.read().split()
            run, wait = run + int(words[0]), wait + int(words[1])
        except (OSError, ValueError, IndexError):  # it has just ended
            pass
    return Times(run / 1e9, wait / 1e9)
