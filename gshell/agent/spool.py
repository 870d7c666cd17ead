"""The part of a session's output that is on disk, by offset. Knows no cursor and no policy.

A spool is a directory of its own (0700) with a row of segment files (0600), made when first needed.
Old output goes by unlinking whole segments, so space comes back at once and nothing is ever moved.
"""

from __future__ import annotations

import errno
import os

SEGMENT_BYTES = 4 << 20  # a sixteenth of the usual quota: what one step of forgetting forgets


class SpoolTrouble(Exception):
    """The disk refused; nothing was changed, and trying again later is safe."""


class _Segment:
    __slots__ = ("end", "path", "start")

    def __init__(self, path: str, start: int) -> None:
        self.path = path
        self.start = start
        self.end = start


class Spool:
    """The bytes ``[start, end)`` of a stream. Invariant: without gaps; two descriptors at most."""

    def __init__(self, path: str, segment_bytes: int = SEGMENT_BYTES) -> None:
        """``path``: its directory, not existing yet, in one that nobody else may write to."""
        self.path = path
        self._made = False
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._fd = -1  # of the newest segment, to write and to read
        self._old: _Segment | None = None  # the older one that was read last
        self._old_fd = -1

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
            raise SpoolTrouble(_words(error)) from error
        segment.end = start + len(data)

    def read(self, offset: int, at_most: int) -> bytes:
        """Bytes at ``offset``, at least one if it is within ``[start, end)``, else none.

        Raises:
            SpoolTrouble: an I/O error; the bytes are lost as far as anybody can tell.
        """
        segments = self._segments
        for segment in segments:  # sixteen or so
            if offset < segment.end:
                break
        else:
            return b""
        if offset < segment.start:
            return b""
        try:
            fd = self._fd if segment is segments[-1] else self._reopen(segment)
            data = os.pread(fd, min(at_most, segment.end - offset), offset - segment.start)
        except OSError as error:
            raise SpoolTrouble(_words(error)) from error
        if not data and at_most:
            raise SpoolTrouble("the spool was cut short")
        return data

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
        if self._made:
            self._made = False
            try:
                os.rmdir(self.path)
            except OSError:  # gone, or somebody put a file there: not ours to remove
                pass

    def _begin(self, start: int) -> None:
        if not self._made:
            os.mkdir(self.path, 0o700)  # fails where something, be it a link, has that name
            self._made = True
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        path = f"{self.path}/{start}"
        fd = os.open(path, flags, 0o600)
        self._close("_fd")
        self._fd = fd
        self._segments.append(_Segment(path, start))

    def _reopen(self, segment: _Segment) -> int:
        if self._old is not segment:
            self._close("_old_fd")
            self._old = None
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
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
        for segment in gone:
            try:
                os.unlink(segment.path)
            except OSError:  # somebody was faster, or the disk is gone: forgotten all the same
                pass

    def _close(self, name: str) -> None:
        fd = getattr(self, name)
        if fd >= 0:
            setattr(self, name, -1)
            os.close(fd)


def _words(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room for the session's spool: {error.strerror}"
    return f"the session's spool fails: {error.strerror or error}"
