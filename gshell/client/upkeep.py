"""Keeps the user's submitter running where it is needed. Knows not what it does (gshell/submitter).

Whether it runs is asked of a lock that it holds; what it should know anew it is told by a signal.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct

from gshell import config
from gshell.errors import GshellError

_FLOCK = struct.Struct("@hhqqi")  # type, whence, start, len, pid


def running(pin: str) -> int:
    """Its process; 0: there is none on this host."""
    try:
        fd = os.open(config.submitter_lock(pin), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))
    except OSError:
        return 0
    finally:
        os.close(fd)
    return pid if kind != fcntl.F_UNLCK and pid > 0 else 0


def wanted(pin: str) -> bool:
    """Were sites added on this host?"""
    return os.path.exists(config.submitter_file("sites", pin))


def ensure(pin: str, poke: bool = False) -> None:
    """Start it if it is wanted and does not run; else, with ``poke``, let it look at its sites.

    Raises:
        GshellError: it cannot be started.
    """
    if not wanted(pin):
        return
    pid = running(pin)
    if not pid:
        _start()
    elif poke:
        tell(pid, signal.SIGUSR1)


def tell(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def stop(pin: str) -> bool:
    """End it, whatever it waits for; whether there was one. What it submitted goes on."""
    pid = running(pin)
    if pid:
        tell(pid, signal.SIGTERM)
    return bool(pid)


def _start() -> None:
    config.private_dir(config.runtime_dir())
    config.private_dir(config.state_dir())
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        log = os.open(config.state_dir() + "/submitter.log", flags, 0o600)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise GshellError(f"cannot start the submitter: {error.strerror}") from None
    argv = [*config.entry(), "submitter"]
    try:
        os.posix_spawn(
            argv[0],
            argv,
            config.absolute_environment(),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise GshellError(f"cannot start the submitter: {error.strerror}") from None
    finally:
        os.close(log)
        os.close(null)
