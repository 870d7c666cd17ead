"""Where a session's output is kept, by offset. Knows nothing of clients, programs or the network.

Output is appended to a stream's log once; every reader is a cursor in it. The newest bytes are in
memory, older ones on disk if somebody needs them or they are to be kept, the oldest are forgotten.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Callable, NamedTuple

from gshell.agent.spool import Spool, SpoolTrouble
from gshell.wire.streams import Missing

_SMALL = (
    4096  # smaller appends are put together: a program that writes bytes costs bytes, not objects
)
_ENOUGH = (
    16 * 1024
)  # a read that found less goes on to the next chunks: a frame each would cost more


class Retention(NamedTuple):
    """What a log keeps, and what it does when that is not enough."""

    ring_bytes: int = 1 << 20
    """Newest bytes that stay in memory, wanted or not: the history for who comes late."""
    hold_bytes: int = 8 << 20
    """Bytes a needed reader has not released that stay in memory before they go to disk. More than
    the stream's window, or every byte passes the disk."""
    quota_bytes: int = 64 << 20
    """Bytes on disk, at most; 0: none."""
    keep: bool = False
    """Whether what nobody needs goes to disk beyond the ring, to be read later."""
    block: bool = True
    """When a needed reader's bytes have no place: True stops the program (`full`), False forgets
    the oldest ones, and the reader gets a gap."""


class StreamLog:
    """The output of one stream. Invariant: holds ``[start, end)`` without gaps, older bytes on
    disk, newer in memory, and with ``block`` forgets nothing that a needed cursor lacks."""

    __slots__ = (
        "_busy_from",
        "_chunks",
        "_cursors",
        "_in_memory",
        "_make_spool",
        "_spool",
        "_starts",
        "_waiting",
        "closed",
        "end",
        "full",
        "retention",
        "start",
        "trouble",
    )

    def __init__(
        self,
        make_spool: Callable[[], Spool] | None = None,
        retention: Retention = Retention(),  # noqa: B008 - immutable
    ) -> None:
        """``make_spool`` is called when the first byte goes to disk; None: memory only."""
        self.retention = retention
        """To change it: `retain`."""
        self.start = 0  # the oldest kept offset
        self.end = 0
        self.closed = False
        self.full = False
        """Stop reading the program; look again after each `release`, `append` or `retry`."""
        self.trouble: str | None = None
        """What the disk complains about while it does; the log makes do with memory meanwhile."""
        self._make_spool = make_spool
        self._spool: Spool | None = None
        self._chunks: list[bytes | bytearray] = []  # only the last may be a bytearray: it grows
        self._starts: list[int] = []
        self._in_memory = 0
        self._cursors: list[Cursor] = []
        self._busy_from = 0  # an append settles nothing before `end` gets here
        self._waiting = False  # a release may settle something
        self._settle()

    # -------------------------------------------------------------------------------------- writing

    def append(self, data: bytes) -> None:
        """Add output. Always taken, also when `full`: what was read must not be lost."""
        assert not self.closed
        if not data:
            return
        chunks = self._chunks
        last = chunks[-1] if chunks else b""
        if len(data) < _SMALL and 0 < len(last) < _SMALL:
            if isinstance(last, bytes):
                last = chunks[-1] = bytearray(last)
            last += data
        else:
            if isinstance(last, bytearray):
                chunks[-1] = bytes(last)
            self._starts.append(self.end)
            chunks.append(data)
        self.end = end = self.end + len(data)
        self._in_memory += len(data)
        for cursor in self._cursors:
            cursor.end = end
        if end >= self._busy_from:
            self._settle()

    def close(self) -> None:
        """Nothing will follow."""
        self.closed = True
        for cursor in self._cursors:
            cursor.closed = True

    @property
    def keep(self) -> bool:
        return self.retention.keep

    @keep.setter
    def keep(self, keep: bool) -> None:
        if keep != self.retention.keep:
            self.retain(self.retention._replace(keep=keep))

    def retain(self, retention: Retention) -> None:
        """Other rules from now on."""
        self.retention = retention
        self._settle()

    def retry(self) -> None:
        """See whether the disk works again, for a log that is `full` while in `trouble`."""
        self._settle()

    def delete(self) -> None:
        """Forget everything, and leave nothing on disk."""
        self._chunks.clear()
        self._starts.clear()
        self._in_memory = 0
        if self._spool is not None:
            self._spool.delete()
            self._spool = None
        self._settle()

    # -------------------------------------------------------------------------------------- reading

    def cursor(self, at: int, needed: bool) -> Cursor:
        """A reader that has everything below ``at`` already.

        ``needed``: nothing is forgotten before it has released it. Others take what is there.
        """
        cursor = Cursor(self, at, needed)
        self._cursors.append(cursor)
        self._settle()
        return cursor

    def read(self, offset: int, at_most: int) -> bytes:
        """Output from ``offset``, at least a byte of it if there is one, at most ``at_most``.

        Raises:
            Missing: forgotten; ``start`` is the oldest offset that is not.
        """
        starts = self._starts
        if not starts or offset < starts[0]:
            return self._read_older(offset, at_most)
        at = len(starts) - 1
        if offset < starts[at]:
            at = bisect_right(starts, offset) - 1
        chunk = self._chunks[at]
        skip = offset - starts[at]
        left = len(chunk) - skip
        if isinstance(chunk, bytes) and not skip and left <= at_most:
            piece = chunk
        else:
            piece = bytes(memoryview(chunk)[skip : skip + at_most])
        if left < _ENOUGH and left < at_most and at + 1 < len(starts):
            return self._join(piece, at + 1, at_most)
        return piece

    def recent(self, at_most: int, since: int = 0) -> tuple[int, bytes]:
        """The newest kept bytes, from ``since`` on if that is later: their (offset, bytes)."""
        start = at = max(self.end - at_most, since, self.start)
        pieces: list[bytes] = []
        while at < self.end:
            try:
                piece = self.read(at, self.end - at)
            except Missing as missing:  # the disk failed us just now
                start = at = missing.start
                pieces.clear()
                continue
            pieces.append(piece)
            at += len(piece)
        return start, b"".join(pieces)

    def _join(self, piece: bytes, at: int, at_most: int) -> bytes:
        pieces = [piece]
        room = at_most - len(piece)
        for chunk in self._chunks[at:]:
            pieces.append(bytes(memoryview(chunk)[:room]))
            room -= len(pieces[-1])
            if room < _SMALL:
                break
        return b"".join(pieces)

    def _read_older(self, offset: int, at_most: int) -> bytes:
        if offset < self.start:
            raise Missing(self.start)
        if offset >= self.end or self._spool is None:
            return b""
        try:
            return self._spool.read(offset, at_most)
        except SpoolTrouble as trouble:
            self.trouble = str(trouble)
            self._spool.clear()
            self._settle()
            raise Missing(self.start) from trouble

    # ------------------------------------------------------------------------------------- settling

    def _settle(self) -> None:
        """Put every byte where it belongs by now: memory, disk or nowhere; then see what's left."""
        rules, chunks = self.retention, self._chunks
        needed = min([c.released for c in self._cursors if c.needed], default=self.end)
        limit = rules.ring_bytes
        stuck = held = False
        gone = 0
        for start, chunk in zip(self._starts, chunks):
            rest = self._in_memory - len(chunk)
            if rest < limit:
                break
            wanted = needed < start + len(chunk)
            if wanted and rest < rules.hold_bytes:
                held = True
                limit = rules.hold_bytes
                break
            if not self._let_go(start, chunk, needed, wanted):
                stuck = True
                break
            self._in_memory = rest
            gone += 1
        if gone:
            del chunks[:gone], self._starts[:gone]
        spool = self._spool
        if spool is not None and not rules.keep:
            spool.drop_before(needed)
        if spool is not None and spool.size:
            self.start = spool.start
            self._waiting = True
        else:
            self.start = self._starts[0] if chunks else self.end
            self._waiting = stuck or held
        self.full = stuck
        self._busy_from = self.end + limit - self._in_memory + (len(chunks[0]) if chunks else 0)

    def _let_go(self, start: int, chunk: bytes | bytearray, needed: int, wanted: bool) -> bool:
        """Find the oldest chunk in memory another place, or none. False: it must stay."""
        rules = self.retention
        if wanted or rules.keep:
            if self._store(start, chunk, needed if rules.block else start):
                return True
            if wanted and rules.block:
                return False
        return (
            True  # no hole: nothing older is on disk, `_store` or the end of `_settle` saw to that
        )

    def _store(self, start: int, chunk: bytes | bytearray, protected: int) -> bool:
        """To disk, at the cost of older bytes there but none from ``protected`` on."""
        quota = self.retention.quota_bytes
        spool = self._spool
        if spool is None:
            if self._make_spool is None or not quota:
                return False
            try:
                spool = self._spool = self._make_spool()
            except OSError as error:
                self.trouble = f"no place for the session's spool: {error.strerror or error}"
                return False
        while True:
            if spool.size + len(chunk) <= quota:
                try:
                    spool.append(start, chunk)
                except SpoolTrouble as trouble:
                    self.trouble = str(trouble)
                else:
                    self.trouble = None
                    return True
            if not spool.drop_oldest(protected):
                return False


class Cursor:
    """One reader's place in a log, as a `Source` of a stream. Close it when the reader is gone."""

    __slots__ = ("_log", "_needed", "closed", "end", "live", "released", "start")

    def __init__(self, log: StreamLog, at: int, needed: bool) -> None:
        """Made by `StreamLog.cursor`, which also keeps `end` and `closed` up to date."""
        self._log = log
        self._needed = needed
        self.end = log.end
        self.closed = log.closed
        self.start = at  # where it began
        self.live = log.end  # what is below was there before it
        self.released = at  # the reader has everything below

    @property
    def needed(self) -> bool:
        """Does the log keep what this reader has not released?"""
        return self._needed

    @needed.setter
    def needed(self, needed: bool) -> None:
        self._needed = needed
        self._log._settle()

    def read(self, offset: int, at_most: int) -> bytes:
        return self._log.read(offset, at_most)

    def release(self, offset: int) -> None:
        if offset > self.released:
            self.released = offset
            log = self._log
            if self._needed and (log.full or log._waiting):
                log._settle()

    def close(self) -> None:
        """Take it out of the log, which may forget its bytes at once."""
        if self in self._log._cursors:
            self._log._cursors.remove(self)
            self._log._settle()
