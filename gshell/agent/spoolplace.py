"""Where an agent's spools are: a directory of its own, which the next agent can tell is nobody's.

A killed agent removes nothing. So each holds a lock in its directory, and who starts removes those
of the same user and host whose lock is free. Only what has our names is removed, and no link is
followed: the place is /tmp, where others may put anything. Jobs' work directories (workdir.py) are
kept in such a place too, of another kind.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from hashlib import blake2b
from typing import Callable, NamedTuple

LOCK = "lock"
_SPOOL = re.compile(r"\d{1,20}\Z")  # and a segment in it; see `SpoolPlace.next_path`
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

MOST_BYTES = 4 << 30  # what all sessions of an agent may have on disk, unless it is told
LEAST_BYTES = 64 << 20  # however full the disk is now: there may be room later

log = logging.getLogger("gshell.agent")


class Kind(NamedTuple):
    """What stands in a place."""

    word: str
    """Of its name."""
    names: re.Pattern[str]
    """What ours in it are called."""
    remove: Callable[[int, str], Iterator[str]]
    """Removes one, given the place's descriptor and its name, step by step."""
    news: bool = True
    """Is it worth a word that one was left behind?"""


def usual_quota(base: str) -> int:
    """Half of what is free there, at most `MOST_BYTES`."""
    try:
        status = os.statvfs(base)
    except OSError:
        return MOST_BYTES
    return max(LEAST_BYTES, min(MOST_BYTES, status.f_bavail * status.f_frsize // 2))


class SpoolPlace:
    """Invariant: what it made is locked, from before it has its name until it is removed."""

    def __init__(self, base: str | None = None, kind: Kind | None = None) -> None:
        """``base``: where to make the directory; else where temporary files go."""
        self._kind = kind or SPOOLS
        self.base = base or _temporary()
        self._path: str | None = None
        self._locks: list[int] = []
        self._count = 0

    def next_path(self) -> str:
        """Where the next spool may make its directory.

        Raises:
            OSError: there is no place.
        """
        self._count += 1
        return f"{self.path()}/{self._count}"

    def path(self) -> str:
        """The directory, made if it was not.

        Raises:
            OSError: there is no place.
        """
        if self._path is None:
            self._path = self._make()
        return self._path

    def remake(self) -> None:
        """Make the directory again if somebody removed it.

        Raises:
            OSError: it cannot be.
        """
        if self._path is not None:
            os.mkdir(self._path, 0o700)
            self._unlock()
            self._lock(self._path)

    def remove(self) -> None:
        """With all that is in it."""
        if self._path is not None:
            for _ in _removing(self.base, os.path.basename(self._path), None, self._kind):
                pass
            self._path = None
            self._unlock()

    def leftovers(self) -> Iterator[str]:
        """Remove what dead agents left here, a file with each step; the steps' names."""
        prefix = _prefix(self._kind)
        try:
            names = [name for name in os.listdir(self.base) if name.startswith(prefix)]
        except OSError:
            return
        own = os.path.basename(self._path or "")
        for name in names:
            if name != own:
                yield from _remove_dead(self.base, name, self._kind)

    def _make(self) -> str:
        new = tempfile.mkdtemp(prefix=".new-" + _prefix(self._kind), dir=self.base)
        try:
            self._lock(new)
            path = os.path.join(self.base, os.path.basename(new)[len(".new-") :])
            os.rename(new, path)
        except OSError:
            self._unlock()
            for name in os.listdir(new):
                os.unlink(os.path.join(new, name))
            os.rmdir(new)
            raise
        return path

    def _lock(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(os.path.join(path, LOCK), flags, 0o600)
        self._locks.append(fd)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:  # and the directory: what cleans /tmp by age leaves a locked one alone
            fd = os.open(path, DIRECTORY)
            self._locks.append(fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # NFS
            pass

    def _unlock(self) -> None:
        for fd in self._locks:
            os.close(fd)
        self._locks.clear()


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # nothing can be written anywhere: that is told when it is needed
        return "/tmp"  # noqa: S108 - only our own directory in it is ever used


def _prefix(kind: Kind) -> str:
    """Of this host's, as others may share the file system and no lock reaches them."""
    host = blake2b(os.uname().nodename.encode(), digest_size=4).hexdigest()
    return f"gshell-{kind.word}-{host}-"


def _remove_dead(base: str, name: str, kind: Kind) -> Iterator[str]:
    try:
        directory = os.open(os.path.join(base, name), DIRECTORY)
    except OSError:
        return
    try:
        lock = os.open(
            LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory
        )
    except OSError:
        os.close(directory)
        return
    try:
        if _ours(directory, stat.S_ISDIR) and _ours(lock, stat.S_ISREG):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield from _removing(base, name, directory, kind)
            level = logging.INFO if kind.news else logging.DEBUG
            log.log(level, "removed the %s of a dead agent: %s/%s", kind.word, base, name)
    except OSError:  # somebody holds it
        pass
    finally:
        os.close(lock)
        os.close(directory)


def _ours(fd: int, kind: object) -> bool:
    status = os.fstat(fd)
    return bool(kind(status.st_mode)) and status.st_uid == os.geteuid()  # type: ignore[operator]


def _removing(base: str, name: str, directory: int | None, kind: Kind) -> Iterator[str]:
    """What it removes of our directory, step by step, the lock last."""
    path = os.path.join(base, name)
    opened = -1
    try:
        if directory is None:
            directory = opened = os.open(path, DIRECTORY)
        for entry in os.listdir(directory):
            if kind.names.match(entry):
                yield from kind.remove(directory, entry)
        os.unlink(LOCK, dir_fd=directory)
        os.rmdir(path)
    except OSError:  # gone, or there is something that is not ours
        pass
    finally:
        if opened >= 0:
            os.close(opened)


def _remove_spool(above: int, name: str) -> Iterator[str]:
    try:
        directory = os.open(name, DIRECTORY, dir_fd=above)
    except OSError:
        return
    try:
        for segment in os.listdir(directory):
            if _SPOOL.match(segment):
                os.unlink(segment, dir_fd=directory)
                yield segment
        os.rmdir(name, dir_fd=above)
    except OSError:
        pass
    finally:
        os.close(directory)


SPOOLS = Kind("spool", _SPOOL, _remove_spool)
