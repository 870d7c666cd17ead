"""Whole trees of processes, and signals to them, from /proc. Knows nobody who started one.

A tree is found by parents, by sessions, and by a mark in the environment.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection

READ_BYTES = 1 << 16


def signal_all(leaders: Collection[int], marks: Collection[bytes], number: int) -> None:
    """To all of them, each once; who has gone meanwhile is passed over, and who was born while we
    looked is found by looking again."""
    told = {os.getpid()}
    while (leaders or marks) and (new := trees(leaders, marks) - told):
        told |= new
        for one in new:
            with contextlib.suppress(OSError):
                os.kill(one, number)


def signal_tree(pid: int, number: int) -> None:
    """To ``pid`` and all that it has started."""
    signal_all({pid}, (), number)


def trees(leaders: Collection[int], marks: Collection[bytes] = ()) -> set[int]:
    """``leaders`` that are there, their descendants, all of their sessions, and who carries one of
    ``marks``, with descendants."""
    parents: dict[int, list[int]] = {}
    found: set[int] = set()
    others = []
    for name in os.listdir("/proc"):
        fields = _stat(name) if name.isdigit() else None
        if fields is None or fields[0] == b"Z":
            continue
        pid = int(name)
        parents.setdefault(int(fields[1]), []).append(pid)
        if pid in leaders or int(fields[3]) in leaders:
            found.add(pid)
        else:
            others.append(pid)
    if marks:
        wanted = set(marks)
        for pid in others:
            environ = _read_all(f"/proc/{pid}/environ")
            if any(mark in environ for mark in wanted) and wanted & set(environ.split(b"\0")):
                found.add(pid)
    ahead = list(found)
    while ahead:
        for child in parents.get(ahead.pop(), ()):
            if child not in found:
                found.add(child)
                ahead.append(child)
    return found


def started(pid: int) -> str:
    """When, in the kernel's ticks: tells it from a later one with its number. ``0``: it is gone."""
    fields = _stat(pid)
    return fields[19].decode() if fields else "0"


def _stat(pid: str | int) -> list[bytes] | None:
    return _read_all(f"/proc/{pid}/stat").rpartition(b") ")[2].split() or None


def _read_all(path: str) -> bytes:
    """Of a small file in /proc; empty when there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        found = b""
        while data := os.read(fd, READ_BYTES):
            found += data
        return found
    except OSError:
        return b""
    finally:
        os.close(fd)
