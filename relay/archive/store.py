"""What the archive has on its disk: a directory a step, segments of its streams, and what is known
of it. Knows no network and no clock.

``JOB.INDEX/`` (0700) holds ``STREAM.OFFSET`` files (0600), each the bytes of a stream from that
offset on; where one does not begin at the end of the one before, there is a gap. ``meta.json`` is
written last: a directory without it is a step that is still being fetched.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, NamedTuple

from gshell.wire.streams import Missing

META = "meta.json"
BOOT = "boot"  # of an unfinished step: what a crash of the machine left of it is not trusted
SEGMENT_BYTES = 16 << 20  # what one step of forgetting forgets
SEGMENTS = 1000  # of one stream: gaps in its output make new ones, and a hostile agent has many
STREAM_BYTES = 128 << 20  # of one stream: twice what an agent's spool holds
STEP_BYTES = 1 << 30  # of all of a step's
FILE_BYTES = 4096  # what a file costs besides

_NAME = re.compile(r"([0-9]{1,15})\.([0-9]{1,9})")
_SEGMENT = re.compile(r"([0-9]{1,9})\.([0-9]{1,19})")

Key = tuple[int, int]  # job, index


class Kept(NamedTuple):
    """One archived step, for deciding what goes."""

    key: Key
    user: str
    ended_at: float
    disk: int
    """Bytes that it takes."""
    bytes: int = 0
    """Bytes that the step printed and that are here."""


class Segments:
    """One stream's bytes on the disk, by offset. Invariant: ``[(start, end)]`` in order, apart."""

    def __init__(self, folder: str, stream: int) -> None:
        self._path = f"{folder}/{stream}."
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.bytes = 0

    def add(self, start: int, end: int) -> None:
        self.starts.append(start)
        self.ends.append(end)
        self.bytes += end - start

    @property
    def end(self) -> int:
        return self.ends[-1] if self.ends else 0

    def append(self, offset: int, data: bytes) -> None:
        """Bytes at ``offset``, not below `end`: what lies between is a gap.

        Raises:
            OSError: nothing was added.
        """
        assert offset >= self.end
        fresh = not self.ends or offset != self.ends[-1]
        fresh = fresh or self.ends[-1] - self.starts[-1] >= SEGMENT_BYTES
        start = offset if fresh else self.starts[-1]
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        flags |= os.O_CREAT | os.O_TRUNC if fresh else 0
        fd = os.open(f"{self._path}{start}", flags, 0o600)
        try:
            at, rest = offset - start, memoryview(data)
            while rest:
                wrote = os.pwrite(fd, rest, at)
                at += wrote
                rest = rest[wrote:]
        except OSError:
            _cut(fd, self._path, start, 0 if fresh else offset - start)
            raise
        finally:
            os.close(fd)
        if fresh:
            self.add(start, offset + len(data))
        else:
            self.ends[-1] = offset + len(data)
            self.bytes += len(data)

    def read(self, offset: int, at_most: int) -> bytes:
        """Bytes at ``offset``, at least one if there is one.

        Raises:
            Missing: they are in a gap, or gone; ``start`` is where it goes on.
            OSError: the disk.
        """
        at = bisect_right(self.starts, offset) - 1
        if at < 0 or offset >= self.ends[at]:
            raise Missing(self.starts[at + 1] if at + 1 < len(self.starts) else -1)
        start, end = self.starts[at], self.ends[at]
        try:
            fd = os.open(f"{self._path}{start}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                data = os.pread(fd, min(at_most, end - offset), offset - start)
            finally:
                os.close(fd)
        except FileNotFoundError:
            data = b""
        if not data:  # forgotten meanwhile, or cut short by somebody
            raise Missing(self.starts[at + 1] if at + 1 < len(self.starts) else -1)
        return data

    def drop_oldest(self) -> None:
        start = self.starts.pop(0)
        self.bytes -= self.ends.pop(0) - start
        try:
            os.unlink(f"{self._path}{start}")
        except OSError:
            pass  # it counts as forgotten all the same

    def sync(self) -> None:
        for start in self.starts:
            _sync(f"{self._path}{start}")


class Shelf:
    """A step's directory while it is being filled. Adding goes on where an earlier try ended."""

    def __init__(self, path: str, boot: str) -> None:
        """Raises:
        OSError: it cannot be made.
        """
        self.path = path
        self.streams: dict[int, Segments] = {}
        self.bytes = 0
        if os.path.isdir(path):
            if _text(f"{path}/{BOOT}") == boot and not os.path.exists(f"{path}/{META}"):
                self.streams = segments_of(path)
                self.bytes = sum(segments.bytes for segments in self.streams.values())
                return
            shutil.rmtree(path)
        os.mkdir(path, 0o700)
        _write(f"{path}/{BOOT}", boot.encode())

    def append(self, stream: int, offset: int, data: bytes, most: int) -> None:
        """New output; what was here before an earlier try ended is passed over. The oldest goes
        when the step has more than ``most``.

        Raises:
            OSError: the disk.
        """
        segments = self.streams.get(stream)
        if segments is None:
            segments = self.streams[stream] = Segments(self.path, stream)
        if offset < segments.end:
            data = data[segments.end - offset :]
            offset = segments.end
        if data:
            segments.append(offset, data)
            self.bytes += len(data)
            while segments.bytes > STREAM_BYTES or len(segments.starts) > SEGMENTS:
                self._forget(segments)
            while self.bytes > most:
                self._forget(max(self.streams.values(), key=lambda each: each.bytes))

    def make_room(self) -> bool:
        """Give up the oldest of the longest stream: the end of it matters more. Was there any?"""
        longest = max(self.streams.values(), key=lambda each: each.bytes, default=None)
        if longest is None or not longest.starts:
            return False
        self._forget(longest)
        return True

    def _forget(self, segments: Segments) -> None:
        self.bytes -= segments.bytes
        segments.drop_oldest()
        self.bytes += segments.bytes

    def finish(self, meta: dict[str, Any]) -> int:
        """Everything is here: from now on it is archived. Returns the bytes it takes.

        Raises:
            OSError: it cannot be written down.
        """
        for segments in self.streams.values():
            segments.sync()
        files = 1 + sum(len(segments.starts) for segments in self.streams.values())
        meta["bytes"] = self.bytes
        meta["disk"] = self.bytes + files * FILE_BYTES
        _write(f"{self.path}/{META}", json.dumps(meta, separators=(",", ":")).encode())
        try:
            os.unlink(f"{self.path}/{BOOT}")
        except OSError:
            pass
        _sync(self.path)
        return int(meta["bytes"])


class Store:
    """All of it. Invariant: ``kept`` is what has a `meta.json`."""

    def __init__(self, path: str) -> None:
        """
        Raises:
            OSError: the directory cannot be made or read.
        """
        self.path = path
        self.kept: dict[Key, Kept] = {}
        self.total = 0
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                self._boot = file.read().strip()
        except OSError:
            self._boot = ""
        os.makedirs(path, mode=0o700, exist_ok=True)
        for name in os.listdir(path):
            key = _key(name)
            if key is not None:
                meta = self.meta(key)
                if meta is not None:
                    self._count(key, meta)

    def _folder(self, key: Key) -> str:
        return f"{self.path}/{key[0]}.{key[1]}"

    def _count(self, key: Key, meta: dict[str, Any]) -> None:
        self._uncount(key)
        owner, ended_at = str(meta.get("owner", "")), _number(meta.get("ended_at"))
        disk, count = int(_number(meta.get("disk"))), int(_number(meta.get("bytes")))
        kept = Kept(key, owner, ended_at, disk, count)
        self.kept[key] = kept
        self.total += kept.disk

    def _uncount(self, key: Key) -> None:
        before = self.kept.pop(key, None)
        if before is not None:
            self.total -= before.disk

    def meta(self, key: Key) -> dict[str, Any] | None:
        """What is known of an archived step; None if it is not one."""
        try:
            with open(f"{self._folder(key)}/{META}", encoding="utf-8") as file:
                meta = json.load(file)
        except (OSError, ValueError):
            return None
        return meta if isinstance(meta, dict) else None

    def streams(self, key: Key) -> dict[int, Segments]:
        return segments_of(self._folder(key))

    def shelf(self, key: Key) -> Shelf:
        """
        Raises:
            OSError: the disk.
        """
        return Shelf(self._folder(key), self._boot)

    def put(self, key: Key, shelf: Shelf, meta: dict[str, Any]) -> int:
        """It is complete; returns its bytes.

        Raises:
            OSError: the disk.
        """
        count = shelf.finish(meta)
        self._count(key, meta)
        return count

    def drop(self, key: Key) -> None:
        """Forget a step, archived or half fetched."""
        self._uncount(key)
        folder = self._folder(key)
        try:
            os.unlink(f"{folder}/{META}")  # first: half a step is none
        except OSError:
            pass
        shutil.rmtree(folder, ignore_errors=True)

    def unfinished(self) -> list[Key]:
        names = [_key(name) for name in os.listdir(self.path)]
        return [key for key in names if key is not None and key not in self.kept]


def victims(kept: Iterable[Kept], now: float, keep_s: float, most: int) -> list[tuple[Key, str]]:
    """What has to go, and why: what is too old, then, of whoever has most, the oldest."""
    out: list[tuple[Key, str]] = []
    of: dict[str, list[Kept]] = {}
    sizes: dict[str, int] = {}
    for one in sorted(kept, key=lambda each: each.ended_at):
        if now - one.ended_at > keep_s:
            out.append((one.key, "it was archived too long ago"))
        else:
            of.setdefault(one.user, []).append(one)
            sizes[one.user] = sizes.get(one.user, 0) + one.disk
    total = sum(sizes.values())
    for queue in of.values():
        queue.reverse()
    while total > most and of:
        user = max(sizes, key=lambda name: sizes[name])
        one = of[user].pop()
        total -= one.disk
        sizes[user] -= one.disk
        out.append((one.key, "the archive was full"))
        if not of[user]:
            del of[user], sizes[user]
    return out


def segments_of(folder: str) -> dict[int, Segments]:
    """The streams in a step's directory."""
    found: list[tuple[int, int]] = []
    try:
        for name in os.listdir(folder):
            match = _SEGMENT.fullmatch(name)
            if match:
                found.append((int(match[1]), int(match[2])))
    except OSError:
        return {}
    out: dict[int, Segments] = {}
    for stream, start in sorted(found):
        segments = out.setdefault(stream, Segments(folder, stream))
        try:
            size = os.lstat(f"{folder}/{stream}.{start}").st_size
        except OSError:
            continue
        if size and start >= segments.end:
            segments.add(start, start + size)
    return out


def _key(name: str) -> Key | None:
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(100)
    except (OSError, ValueError):
        return ""


def _cut(fd: int, path: str, start: int, size: int) -> None:
    """What a failed write left is not ours."""
    try:
        if size:
            os.ftruncate(fd, size)
        else:
            os.unlink(f"{path}{start}")
    except OSError:
        pass


def _write(path: str, data: bytes) -> None:
    """Whole or not at all, 0600."""
    fresh = path + ".new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(fresh, path)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
