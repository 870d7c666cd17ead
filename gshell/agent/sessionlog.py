"""Where a session's output is kept, by offset. Knows nothing of clients, programs or the network.

Output is appended to a stream's log once; every reader is a cursor in it. The newest bytes are in
memory, older ones on disk if somebody needs them or they are to be kept, the oldest are forgotten.
How much goes to disk is decided with others, by a Budget.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from typing import Callable, NamedTuple

from gshell.agent.budget import Budget
from gshell.agent.spool import Spool, SpoolTrouble, Unreadable
from gshell.wire.streams import Missing

log = logging.getLogger("gshell.agent")

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
    keep: bool = False
    """Whether what nobody needs goes to disk beyond the ring, to be read later."""
    block: bool = True
    """When a needed reader's bytes have no place: True stops the program (`full`), False forgets
    the oldest ones, and the reader gets a gap."""


class StreamLog:
    """The output of one stream. Invariant: holds ``[start, end)`` without gaps but for what the
    disk has lost, older bytes on disk, newer in memory, and with ``block`` forgets nothing that a
    needed cursor lacks."""

    __slots__ = (
        "_budget",
        "_busy_from",
        "_chunks",
        "_cursors",
        "_in_memory",
        "_lost_to",
        "_make_spool",
        "_refused_at",
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
        budget: Budget | None = None,
    ) -> None:
        """``make_spool`` is called when the first byte goes to disk; it may raise OSError. Without
        one, or without a ``budget``, there is memory only."""
        self.retention = retention
        """To change it: `retain`."""
        self.start = 0  # the oldest kept offset
        self.end = 0
        self.closed = False
        self.full = False
        """Stop reading the program; look again after each `release`, `append` or `retry`."""
        self.trouble: str | None = None
        """What the disk complains about while it does; the log makes do with memory meanwhile."""
        self._make_spool = make_spool if budget is not None and budget.quota_bytes else None
        self._budget = budget or Budget(0)
        self._spool: Spool | None = None
        self._chunks: list[bytes | bytearray] = []  # only the last may be a bytearray: it grows
        self._starts: list[int] = []
        self._in_memory = 0
        self._cursors: list[Cursor] = []
        self._busy_from = 0  # an append settles nothing before `end` gets here
        self._waiting = False  # a release may settle something
        self._refused_at = 0  # how much was on disk when it refused more
        self._lost_to = 0  # up to where the disk was found to have lost something
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

    def retain(self, retention: Retention) -> None:
        """Other rules from now on."""
        self.retention = retention
        self._settle()

    def retry(self) -> None:
        """See whether the disk works again, or others have left room, for a log that is `full`."""
        self._settle()

    def delete(self) -> None:
        """Forget everything, and leave nothing on disk."""
        self._chunks.clear()
        self._starts.clear()
        self._in_memory = 0
        spool = self._spool
        if spool is not None:
            size = spool.size
            spool.delete()
            self._spool = None
            self._budget.leave(self)
            self._budget.give(size)
        self._settle()

    # ----------------------------------------------------------------------------- sharing the disk

    @property
    def held(self) -> int:
        """Bytes on disk."""
        return self._spool.size if self._spool is not None else 0

    def shed(self) -> bool:
        """Forget the oldest bytes on disk for the sake of somebody else's, if that may be."""
        spool = self._spool
        if spool is None or not self._drop_oldest(
            spool, self._needed() if self.retention.block else self.end
        ):
            return False
        if spool.size:
            self.start = spool.start
        else:
            self.start = self._starts[0] if self._chunks else self.end
        return True

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
            Missing: forgotten or lost; ``start`` is the next offset that may not be.
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
        except Unreadable as lost:
            if lost.end > self._lost_to:
                self._lost_to = lost.end
                log.warning("output is lost: %s", lost)
            raise Missing(lost.end) from lost

    # ------------------------------------------------------------------------------------- settling

    def _settle(self) -> None:
        """Put every byte where it belongs by now: memory, disk or nowhere; then see what's left."""
        rules, chunks = self.retention, self._chunks
        needed = self._needed()
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
        if spool is not None and not rules.keep and spool.size:
            size = spool.size
            spool.drop_before(needed)
            if spool.size < size:
                self._budget.give(size - spool.size)
            if not spool.size:
                self.trouble = None  # until it is needed again
                self._refused_at = 0
        if spool is not None and spool.size:
            self.start = spool.start
            self._waiting = True
        else:
            self.start = self._starts[0] if chunks else self.end
            self._waiting = stuck or held
        self.full = stuck
        self._busy_from = self.end + limit - self._in_memory + (len(chunks[0]) if chunks else 0)

    def _needed(self) -> int:
        """Where the bytes begin that somebody lacks."""
        return min([c.released for c in self._cursors if c.needed], default=self.end)

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
        spool = self._spool
        if spool is None:
            if self._make_spool is None:
                return False
            try:
                spool = self._spool = self._make_spool()
            except OSError as error:
                self.trouble = f"no place for the session's spool: {error}"
                return False
            self._budget.join(self)
        while True:
            if self._budget.take(len(chunk)):
                try:
                    spool.append(start, chunk)
                except SpoolTrouble as trouble:
                    self._budget.give(len(chunk))
                    self.trouble = str(trouble)
                    self._refused_at = max(self._refused_at, spool.size)
                else:
                    if spool.size > self._refused_at:  # more than when it refused
                        self.trouble = None
                        self._refused_at = 0
                    return True
            else:
                self.trouble = None  # it is not the disk's fault
                self._refused_at = 0
            if not self._drop_oldest(spool, protected):
                return False

    def _drop_oldest(self, spool: Spool, protected: int) -> bool:
        size = spool.size
        dropped = spool.drop_oldest(protected)
        if dropped:
            self._budget.give(size - spool.size)
        return dropped


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
