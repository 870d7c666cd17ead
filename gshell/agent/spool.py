"""The part of a session's output that is on disk, by offset. Knows no cursor and no policy.

A spool is a directory of its own (0700) with a row of segment files (0600), made when first needed.
Old output goes by unlinking whole segments, so space comes back at once and nothing is ever moved.
What is read is what was written, or an error: each block has its checksum in memory.
"""

from __future__ import annotations

import errno
import os
from array import array
from typing import Callable
from zlib import crc32

SEGMENT_BYTES = 4 << 20  # a sixteenth of the usual quota: what one step of forgetting forgets
LEAST_SEGMENT_BYTES = 1 << 16  # with a small quota
BLOCK_BYTES = 1 << 16  # one checksum's worth: a frame's, so that a read is a block

_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def segment_bytes(quota_bytes: int) -> int:
    """How long a segment is best, where all of them together may have ``quota_bytes``."""
    return max(LEAST_SEGMENT_BYTES, min(SEGMENT_BYTES, quota_bytes // 16))


class SpoolTrouble(Exception):
    """The disk refused; nothing was changed, and trying to write again later is safe."""


class Unreadable(SpoolTrouble):
    """What was written is not there any more, or not the same, up to the offset ``end``."""

    def __init__(self, words: str, end: int) -> None:
        super().__init__(words)
        self.end = end


class _Segment:
    __slots__ = ("end", "path", "start", "sums")

    def __init__(self, path: str, start: int) -> None:
        self.path = path
        self.start = start
        self.end = start
        self.sums = array("I")  # of each block, the last one's so far

    def grow(self, data: bytes | bytearray) -> None:
        """``data`` was written at its end."""
        sums, rest = self.sums, memoryview(data)
        room = -(self.end - self.start) % BLOCK_BYTES
        if room:
            sums[-1] = crc32(rest[:room], sums[-1])
        for at in range(room, len(rest), BLOCK_BYTES):
            sums.append(crc32(rest[at : at + BLOCK_BYTES]))
        self.end += len(rest)


class Spool:
    """The bytes ``[start, end)`` of a stream. Invariant: without gaps; two descriptors at most."""

    def __init__(
        self,
        path: str,
        segment_bytes: int = SEGMENT_BYTES,
        remake: Callable[[], None] = lambda: None,
    ) -> None:
        """``path``: its directory, not existing yet, in one that nobody else may write to.

        ``remake`` makes that one again if it was taken away underneath.
        """
        self.path = path
        self._made = False
        self._remake = remake
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._fd = -1  # of the newest segment, to write and to read
        self._old: _Segment | None = None  # the older one that was read last
        self._old_fd = -1
        self._stuck: list[str] = []  # forgotten, but the disk would not let them go

    @property
    def start(self) -> int:
        return self._segments[0].start if self._segments else 0

    @property
    def end(self) -> int:
        return self._segments[-1].end if self._segments else 0

    @property
    def size(self) -> int:
        """Bytes held, hence on disk."""
        return self.end - self.start

    def append(self, start: int, data: bytes | bytearray) -> None:
        """Add ``data`` that begins at offset ``start``: where the last one ended, if there is any.

        Raises:
            SpoolTrouble: no room, no quota, an I/O error.
        """
        segments = self._segments
        assert not segments or start == segments[-1].end
        try:
            if self._fd < 0 or segments[-1].end - segments[-1].start >= self._segment_bytes:
                self._begin(start)
            segment = segments[-1]
            at, rest = start - segment.start, memoryview(data)
            while rest:
                wrote = os.pwrite(
                    self._fd, rest, at
                )  # what a failure leaves is written over next time
                at += wrote
                rest = rest[wrote:]
        except OSError as error:
            if segments and segments[-1].end == segments[-1].start:
                self._remove(len(segments) - 1, len(segments))
            raise SpoolTrouble(self._words(error)) from error
        segment.grow(data)

    def read(self, offset: int, at_most: int) -> bytes:
        """Bytes at ``offset``, at least one if it is within ``[start, end)``, else none; to the end
        of a block at most.

        Raises:
            Unreadable: these bytes are lost as far as anybody can tell; those behind may not be.
        """
        segments = self._segments
        for segment in segments:  # sixteen or so
            if offset < segment.end:
                break
        else:
            return b""
        if offset < segment.start:
            return b""
        number, skip = divmod(offset - segment.start, BLOCK_BYTES)
        first = number * BLOCK_BYTES
        size = min(BLOCK_BYTES, segment.end - segment.start - first)
        end = segment.end
        try:
            newest = segment is segments[-1] and self._fd >= 0
            fd = self._fd if newest else self._reopen(segment)
            end = segment.start + first + size
            block = os.pread(fd, size, first)
        except OSError as error:
            raise Unreadable(self._words(error), end) from error
        if len(block) < size:
            raise Unreadable(f"the spool in {self.path} was cut short", end)
        if crc32(block) != segment.sums[number]:
            raise Unreadable(f"the spool in {self.path} has changed", end)
        return block if not skip and size <= at_most else block[skip : skip + at_most]

    def drop_before(self, offset: int) -> None:
        """Forget the whole segments below ``offset``."""
        count = 0
        for segment in self._segments:
            if segment.end > offset:
                break
            count += 1
        self._remove(0, count)

    def drop_oldest(self, protected: int) -> bool:
        """Forget the oldest segment, unless it holds bytes from ``protected`` on. Was there one?"""
        if not self._segments or self._segments[0].end > protected:
            return False
        self._remove(0, 1)
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._remove(0, len(self._segments))

    def delete(self) -> None:
        """Forget everything and remove the directory. Another append makes it anew."""
        self.clear()
        self._unlink_stuck()
        if self._made:
            self._made = False
            try:
                os.rmdir(self.path)
            except OSError:  # gone, or somebody put a file there: not ours to remove
                pass

    def _begin(self, start: int) -> None:
        if self._stuck:
            self._unlink_stuck()
        if not self._made:
            self._make()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        path = f"{self.path}/{start}"
        try:
            fd = os.open(path, flags, 0o600)
        except FileNotFoundError:  # the directory was removed underneath
            self._make()
            fd = os.open(path, flags, 0o600)
        self._close("_fd")
        self._fd = fd
        self._segments.append(_Segment(path, start))

    def _make(self) -> None:
        try:
            os.mkdir(self.path, 0o700)  # fails where something, be it a link, has that name
        except FileNotFoundError:
            self._remake()
            os.mkdir(self.path, 0o700)
        self._made = True

    def _reopen(self, segment: _Segment) -> int:
        if self._old is not segment:
            self._close("_old_fd")
            self._old = None
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                self._old_fd = os.open(segment.path, flags)
            except OSError as error:
                if error.errno not in _NO_DESCRIPTORS or self._fd < 0:
                    raise
                self._close("_fd")  # what is written next begins a segment
                self._old_fd = os.open(segment.path, flags)
            self._old = segment
        return self._old_fd

    def _remove(self, first: int, end: int) -> None:
        gone = self._segments[first:end]
        if not gone:
            return
        if end == len(self._segments):
            self._close("_fd")
        if self._old in gone:
            self._close("_old_fd")
            self._old = None
        del self._segments[first:end]
        self._stuck += [segment.path for segment in gone]
        self._unlink_stuck()

    def _unlink_stuck(self) -> None:
        stuck, self._stuck = self._stuck, []
        for path in stuck:
            try:
                os.unlink(path)
            except FileNotFoundError:  # somebody was faster
                pass
            except OSError:  # a read-only or failing disk: forgotten all the same, removed later
                self._stuck.append(path)

    def _close(self, name: str) -> None:
        fd = getattr(self, name)
        if fd >= 0:
            setattr(self, name, -1)
            try:
                os.close(fd)
            except OSError:  # what a network disk owed us; the checksums will tell
                pass

    def _words(self, error: OSError) -> str:
        where = os.path.dirname(self.path)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no room for the session's spool in {where}: {error.strerror}"
        return f"the session's spool in {where} fails: {error.strerror or error}"
