"""A file on its way into a directory, and how much of such may be there. Knows no paths: the
directory is an open descriptor, the file a name in it.

It becomes visible whole, by a rename, or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os

from gshell.net.trouble import Trouble

READ_BYTES = 1 << 18
PART = ".gshell-"  # how the names of unfinished files begin


class Quota:
    """How much may be in a box. Invariant: ``bytes`` and ``files`` (directories are some, too) are
    what is still free: what is begun counts, whether it is ever finished or not."""

    def __init__(self, bytes: int, files: int) -> None:
        self.bytes = bytes
        self.files = files
        self._folders: set[tuple[str, ...]] = set()

    def check(self, size: int) -> None:
        """
        Raises:
            Trouble: a file of this size is too much.
        """
        if self.files < 1:
            raise Trouble("limit", "there are as many files as may be there")
        if size > self.bytes:
            raise Trouble("limit", f"{size} bytes are more than the {self.bytes} that are left")

    def took(self, size: int, files: int = 1) -> None:
        self.bytes -= size
        self.files -= files

    def folders(self, parts: list[str]) -> None:
        """Directories that may have to be made; each counts once.

        Raises:
            Trouble: there are too many.
        """
        for count in range(1, len(parts) + 1):
            folder = tuple(parts[:count])
            if folder not in self._folders:
                self.check(0)
                self._folders.add(folder)
                self.took(0)


def is_part(name: str) -> bool:
    """Is it the name of a file that is not whole yet?"""
    return name.startswith(PART) and name.endswith(".part")


def hash_start(fd: int, size: int) -> hashlib._Hash | None:
    """The hash of the first ``size`` bytes; None: there are fewer."""
    machine = hashlib.sha256()
    at = 0
    while at < size:
        data = os.pread(fd, min(READ_BYTES, size - at), at)
        if not data:
            return None
        machine.update(data)
        at += len(data)
    return machine


class Incoming:
    """A file on its way in, under a name of its own until it is whole. ``key`` tells apart what
    it may be a part of: who comes back with the same key goes on where the last one stopped."""

    def __init__(
        self, above: int, name: str, key: str, size: int, quota: Quota | None = None
    ) -> None:
        """``above`` is owned from now on."""
        self.have = 0
        """Bytes that are there from an earlier try; `begin` says how many of them count."""
        self.size = size
        self._above = above
        self._name = name
        short = os.fsdecode(os.fsencode(name)[:150])  # a name may have 255 bytes
        self._part = f"{PART}{short}.{key}.part"
        self._quota = quota
        self._counted: int | None = None  # bytes of the quota's that are ours
        self._fd = -1
        self._hash = hashlib.sha256()
        self._at = 0

    def look(self) -> str:
        """How much there is of it (``have``), and its hash.

        Raises:
            OSError
        """
        try:
            self._fd = os.open(
                self._part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._above
            )
        except FileNotFoundError:
            self.have = 0
            return ""
        have = min(os.fstat(self._fd).st_size, self.size)
        self._hash = hash_start(self._fd, have) or hashlib.sha256()
        self.have = have
        return self._hash.hexdigest()

    def begin(self, offset: int) -> None:
        """Write from ``offset`` on: 0, or what `look` found.

        Raises:
            Trouble: there is no room for it.
            OSError
        """
        if offset and (self._fd < 0 or offset != self.have):
            raise Trouble("changed", "what was there of it has changed meanwhile")
        self._count(offset)
        if not offset:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            try:
                os.unlink(self._part, dir_fd=self._above)
            except FileNotFoundError:
                pass
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._part, flags, 0o600, dir_fd=self._above)
            self._hash = hashlib.sha256()
        self._at = offset
        room = os.fstatvfs(self._fd)
        if self.size - offset > room.f_bavail * room.f_frsize:
            raise OSError(errno.ENOSPC, "No space left on device")

    def _count(self, offset: int) -> None:
        """All of it counts from the beginning; what is there of it did already."""
        if self._quota is None:
            return
        try:
            there = os.stat(self._part, dir_fd=self._above, follow_symlinks=False).st_size
        except FileNotFoundError:
            self._quota.check(self.size)
            self._quota.took(self.size)
        else:
            if self.size > self._quota.bytes + there:
                self._quota.check(self.size)
            self._quota.took(self.size - there, 0)
        self._counted = self.size

    def _uncount(self, kept: int, files: int) -> None:
        if self._quota is not None and self._counted is not None:
            self._quota.took(kept - self._counted, -files)
            self._counted = None

    def write(self, data: bytes) -> None:
        """
        Raises:
            Trouble: it is more than was said.
            OSError
        """
        if self._at + len(data) > self.size:
            raise Trouble("changed", "it is longer than was said")
        view = memoryview(data)
        at = self._at
        while view:
            count = os.pwrite(self._fd, view, at)
            view = view[count:]
            at += count
        self._hash.update(data)
        self._at = at

    @property
    def at(self) -> int:
        return self._at

    def dup(self) -> int:
        """A descriptor of what is here of it, for who reads it meanwhile."""
        return os.dup(self._fd)

    def finish(self, digest: str, mode: int, mtime_ns: int) -> None:
        """All is here: check it, and let it be seen.

        Raises:
            Trouble: it is not what was sent.
            OSError
        """
        if self._at != self.size:
            raise Trouble("changed", "it is shorter than was said")
        if self._hash.hexdigest() != digest:
            self.drop()
            raise Trouble("digest", "what arrived is not what was sent")
        status = os.fstat(self._fd)
        if status.st_size != self.size:
            os.ftruncate(self._fd, self.size)
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(self._fd, (mode & 0o777) & ~umask)
        if 0 < mtime_ns < 1 << 62:
            os.utime(self._fd, ns=(mtime_ns, mtime_ns))
        try:
            ours = os.stat(self._part, dir_fd=self._above, follow_symlinks=False).st_ino
        except FileNotFoundError:
            ours = -1
        if ours != status.st_ino:  # somebody began anew under our hands, or was quicker
            raise Trouble("changed", "another copy to the same place got in between")
        os.rename(self._part, self._name, src_dir_fd=self._above, dst_dir_fd=self._above)
        self._counted = None
        self.close()

    def drop(self) -> None:
        """It is of no use: nothing of it stays."""
        if self._fd >= 0:
            try:
                os.unlink(self._part, dir_fd=self._above)
            except OSError:
                pass
        self._uncount(0, 1)
        self.close()

    def close(self) -> None:
        """What is here stays for another try."""
        if self._fd >= 0:
            self._uncount(os.fstat(self._fd).st_size, 0)
            os.close(self._fd)
            self._fd = -1
        if self._above >= 0:
            os.close(self._above)
            self._above = -1
