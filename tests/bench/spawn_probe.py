"""Runs by itself: ``spawn_probe.py RSS_MB COUNT``. Starts ``true`` under a pty COUNT times, in turn
with the agent's spawn and with pty.fork, from a process of that size; prints microseconds as JSON.
"""

from __future__ import annotations

import json
import os
import pty
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAM = "/bin/true"
PAGE_BYTES = 4096
ENVIRONMENT = dict(os.environ)


def grow_to(size_mb: int) -> bytearray:
    with open("/proc/self/statm", "rb") as file:
        have = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    ballast = bytearray(max(0, (size_mb << 20) - have))
    ballast[::PAGE_BYTES] = b"\1" * len(ballast[::PAGE_BYTES])  # touched, hence resident
    return ballast


def drain(fd: int) -> None:
    try:
        while os.read(fd, PAGE_BYTES):
            pass
    except OSError:
        pass  # EIO: end of file on a pty's master


def with_pty_fork() -> None:
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(PROGRAM, [PROGRAM])
    drain(fd)
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert status == 0


def with_the_agent() -> None:
    """The one place that knows how the agent's spawn is called, and how the agent sees the end."""
    from gshell.agent.spawn import SpawnSpec, spawn

    child = spawn(SpawnSpec([PROGRAM], ENVIRONMENT, pty=(24, 80)))
    select.select([child.pidfd], [], [])
    ended = child.reap()
    drain(child.stdout)
    child.close()
    assert ended is not None
    assert ended.code == 0


def microseconds(start: Callable[[], None]) -> float:
    begun = time.perf_counter()
    start()
    return (time.perf_counter() - begun) * 1e6


def main(size_mb: int, count: int) -> None:
    report: dict[str, object] = {"failure": "", "gshell": [], "pty.fork": []}
    ours: list[float] = []
    peer: list[float] = []
    try:
        with_the_agent()
    except Exception as exc:
        report["failure"] = f"{type(exc).__name__}: {exc}"
    ballast = grow_to(size_mb)
    for _ in range(count):
        if not report["failure"]:
            ours.append(microseconds(with_the_agent))
        peer.append(microseconds(with_pty_fork))
    report |= {"gshell": ours, "pty.fork": peer}
    assert ballast is not None
    print(json.dumps(report))


if __name__ == "__main__":
    sys.path.append(
        str(Path(__file__).resolve().parents[2])
    )  # last: an installed gshell comes first
    main(int(sys.argv[1]), int(sys.argv[2]))
