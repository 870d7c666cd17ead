"""Begins a process on this host: its descriptors, limits and mark. Knows nobody who follows it."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import termios
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

DESCRIPTORS = 65536  # that we ask for
DEFAULTED = [
    number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)
]
MARK_NAME = "GSHELL_SWEEP_HERE"
_owner = uuid.uuid4().hex
"""Of all marks of this Python; a child by fork has its own."""
_numbers = itertools.count(1)
_limit: tuple[int, int] | None = None  # of descriptors, before we raised it


def marks_begin() -> str:
    """All marks of this Python, and no others."""
    return f"{MARK_NAME}={_owner}."


def _forked() -> None:
    global _owner
    _owner = uuid.uuid4().hex


os.register_at_fork(after_in_child=_forked)


class Spawned(NamedTuple):
    """A process that was started."""

    pid: int
    stdin: int
    stdout: int
    stderr: int
    """Ours of its pipes; of a terminal, ``stdin`` and ``stdout`` are both its master."""
    pidfd: int
    mark: bytes
    """In its environment, and in that of all that it starts: so these are found wherever they went,
    into other sessions too."""


def spawn(argv: Sequence[str], env: Mapping[str, str], pty: bool) -> Spawned:
    """Start ``argv``, its stdin, stdout and stderr on pipes of ours (``pty``: the first two on a
    terminal of its own), signals as they are by default, no other descriptor.

    Raises:
        OSError: it cannot be started.
    """
    value = f"{_owner}.{next(_numbers)}"
    env = {**env, MARK_NAME: value}
    ours: list[int] = []
    theirs: list[int] = []
    try:
        err_ours, err_theirs = os.pipe()
        ours.append(err_ours)
        theirs.append(err_theirs)
        if pty:
            master, slave = os.openpty()
            termios.tcsetwinsize(slave, (24, 80))
            ours.append(master)
            theirs.append(slave)
            stdin = stdout = master
            # The first terminal that the leader of a session opens is its controlling one.
            actions: list[tuple[Any, ...]] = [
                (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
            ]
        else:
            in_theirs, stdin = os.pipe()
            stdout, out_theirs = os.pipe()
            ours += [stdin, stdout]
            theirs += [in_theirs, out_theirs]
            actions = [(os.POSIX_SPAWN_DUP2, in_theirs, 0), (os.POSIX_SPAWN_DUP2, out_theirs, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, err_theirs, 2))
        spare = os.dup(err_ours)  # to be missed now, not when it has begun
        theirs.append(spare)
        pid = os.posix_spawnp(
            argv[0], list(argv), env, file_actions=actions, setsid=True,
            setsigmask=[], setsigdef=DEFAULTED,
        )  # fmt: skip
        theirs.remove(spare)
        os.close(spare)
        pidfd = _handle(pid)
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    for fd in ours:
        os.set_blocking(fd, False)
    return Spawned(pid, stdin, stdout, err_ours, pidfd, f"{MARK_NAME}={value}".encode())


def _handle(pid: int) -> int:
    """Of a child that has just begun, which gets the limits that we were started with.

    Raises:
        OSError: no descriptor is left; it was ended.
    """
    if _limit is not None:
        with contextlib.suppress(OSError):  # it has ended
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _limit)
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def raise_limit() -> None:
    """Four descriptors a process: with 1024 no 256 of them would run at a time."""
    global _limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if _limit is None and soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            _limit = (soft, hard)
