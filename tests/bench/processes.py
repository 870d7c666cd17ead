"""What the processes below this one used: CPU, memory, and who is left at the end (Linux's /proc).

Knows nothing of gshell. This process becomes the *subreaper* of everything it starts, so a daemon
that leaves its parent stays in the tree: its CPU is counted, and it can be ended by pid.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
END_DEADLINE_S = 3.0


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    name: str
    state: str
    cpu_s: float
    """user + system time of the process and of its children that were waited for"""
    own_cpu_s: float
    """user + system time of the process alone"""


def become_subreaper() -> None:
    """Orphans below us are re-parented to us, not to init."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def process(pid: int) -> Process | None:
    """The process as it is now, or None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()  # from the state on: field 3 of proc(5)
    user, system, children_user, children_system = (int(field) / TICKS for field in fields[11:15])
    return Process(
        pid=pid,
        parent=int(fields[1]),
        name=name,
        state=fields[0],
        cpu_s=user + system + children_user + children_system,
        own_cpu_s=user + system,
    )


def descendants(root: int | None = None) -> list[Process]:
    """Every process below ``root`` (this process unless told), zombies included."""
    children: dict[int, list[Process]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (found := process(int(entry))) is not None:
            children.setdefault(found.parent, []).append(found)
    result: list[Process] = []
    todo = [os.getpid() if root is None else root]
    while todo:
        below = children.get(todo.pop(), [])
        result += below
        todo += [child.pid for child in below]
    return result


def cpu_below() -> float:
    """CPU seconds of everything ever started below this process, dead or alive.

    The difference of two calls is what all of them used in between, whoever ended meanwhile; this
    process's own work (it plays the user's terminal) is not in it.
    """
    ended = os.times()
    return ended.children_user + ended.children_system + sum(p.cpu_s for p in descendants())


def cpu_of(pids: Iterable[int]) -> float:
    """CPU seconds of these processes alone, as far as they are alive."""
    return sum(found.own_cpu_s for pid in pids if (found := process(pid)) is not None)


def memory_of(pids: Iterable[int]) -> int:
    """Bytes: the processes' proportional set size, or their resident one where that isn't shown."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += _pss(pid)
    return total


def _pss(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except PermissionError:
        pass
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def environment_of(pid: int) -> dict[str, str]:
    """The environment the process was started with; empty if it may not be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            text = file.read().decode(errors="replace")
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in text.split("\0"))
    return {name: value for name, _, value in pairs if name}


def reap_adopted(mine: Iterable[int] = ()) -> None:
    """Wait for the orphans that ended as our children; ``mine`` are somebody else's to wait for."""
    keep = set(mine)
    for found in descendants():
        if found.state == "Z" and found.parent == os.getpid() and found.pid not in keep:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(found.pid, os.WNOHANG)


def end_leftovers() -> list[str]:
    """End whatever is still alive below this process; their names, for the report."""
    names: list[str] = []
    for sign in (signal.SIGTERM, signal.SIGKILL):
        reap_adopted()
        left = [found for found in descendants() if found.state != "Z"]
        names = names or sorted(found.name for found in left)
        for found in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.pid, sign)
        deadline = time.monotonic() + END_DEADLINE_S
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            reap_adopted()
            left = [found for found in descendants() if found.state != "Z"]
        if not left:
            break
    return names
