"""One direction of one stream: who may send what, what arrived, what may be forgotten.

Limits and positions are absolute offsets, so a grant may be repeated, lost or late without harm,
and resuming is naming a position. Knows no frames' bytes and no other stream.
"""

from __future__ import annotations

from bisect import bisect_right

from gshell.wire.constants import MAX_WINDOW
from gshell.wire.errors import RemoteProtocolError

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Protocol

    from gshell.wire.states import State
else:
    Protocol = object

MAX_OFFSET = 1 << 62  # offsets beyond are nonsense, whoever says them

_SMALL_BYTES = 4096  # smaller pieces are kept together: fewer frames, and never a long list


class Missing(Exception):
    """The bytes at this offset are not kept any more; ``start`` is the oldest offset that is."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


class Source(Protocol):
    """Where a SendStream's bytes come from: a buffer, or a cursor in a session log."""

    end: int  # bytes below this offset exist
    closed: bool  # nothing will be added at ``end``

    def read(self, offset: int, at_most: int) -> bytes:
        """Bytes at ``offset``, at least one if ``offset < end``.

        Raises:
            Missing: they are gone.
        """

    def release(self, offset: int) -> None:
        """The other side has taken everything below ``offset``: it is safe to forget."""


class SendBuffer:
    """A Source that is filled by hand and forgets what was taken. It holds ``[start, end)``."""

    __slots__ = ("_chunks", "_starts", "closed", "end", "start")

    def __init__(self) -> None:
        self.start = 0
        self.end = 0
        self.closed = False
        self._chunks: list[bytes] = []
        self._starts: list[int] = []

    def append(self, data: bytes) -> None:
        assert not self.closed
        size = len(data)
        if not size:
            return
        chunks = self._chunks
        if chunks and len(chunks[-1]) + size <= _SMALL_BYTES:
            chunks[-1] += data
        else:
            self._starts.append(self.end)
            chunks.append(data)
        self.end += size

    def read(self, offset: int, at_most: int) -> bytes:
        if offset < self.start:
            raise Missing(self.start)
        at = bisect_right(self._starts, offset) - 1
        if at < 0:
            return b""
        skip = offset - self._starts[at]
        chunk = self._chunks[at]
        return chunk if not skip and len(chunk) <= at_most else chunk[skip : skip + at_most]

    def release(self, offset: int) -> None:
        if offset <= self.start:
            return
        self.start = min(offset, self.end)
        done = 0
        for first, chunk in zip(self._starts, self._chunks):
            if first + len(chunk) > offset:
                break
            done += 1
        if done:
            del self._starts[:done], self._chunks[:done]


class SendStream:
    """The sending side. Invariant: ``acked <= sent``; nothing at or beyond ``limit`` is sent."""

    __slots__ = ("acked", "fin_sent", "id", "limit", "sent", "source", "stopped")

    def __init__(self, id: int, source: Source, limit: int, start: int = 0) -> None:
        self.id = id
        self.source = source
        self.acked = start  # the other side has taken everything below
        self.sent = start  # sent on the present link, or known to have arrived
        self.limit = limit  # first offset that may not be sent
        self.fin_sent = False
        self.stopped = False  # the reader is gone

    @property
    def state(self) -> State:
        from gshell.wire.states import State  # only who looks at it pays for `enum`

        if self.stopped:
            return State.STOPPED
        if self.fin_sent:
            return State.EOF
        return State.EOF_PENDING if self.source.closed else State.OPEN

    def ready(self) -> bool:
        """Is there something to send now?"""
        source = self.source
        if self.stopped:
            return False
        if self.sent < source.end:
            return self.sent < self.limit
        return source.closed and not self.fin_sent

    def take(self, at_most: int) -> tuple[int, bytes, bool]:
        """The next (offset, bytes, fin) to send, at most ``at_most`` bytes and within the credit.

        Raises:
            Missing: the log begins later; ``skip`` to it and say GAP.
        """
        at = self.sent
        source = self.source
        end = source.end
        room = self.limit - at
        if room > at_most:
            room = at_most
        data = source.read(at, room) if room > 0 and at < end else b""
        self.sent = sent = at + len(data)
        self.fin_sent = fin = source.closed and sent == end
        return at, data, fin

    def skip(self, to: int) -> tuple[int, int]:
        """Jump over bytes that are gone; returns the (start, end) of the gap."""
        start = self.sent
        self.sent = to
        self.limit = max(self.limit, to)  # a gap costs no credit: it holds no memory
        return start, to

    def rewind(self) -> None:
        """What was sent and not taken may not have arrived: it goes out again."""
        self.sent = self.acked
        self.fin_sent = False

    def on_grant(self, consumed: int, limit: int) -> None:
        """
        Raises:
            RemoteProtocolError: it took what was never sent.
        """
        if consumed > self.sent:
            raise RemoteProtocolError(
                "bad-grant", f"stream {self.id}: {consumed} taken, {self.sent} sent"
            )
        if consumed > self.acked:
            self.acked = consumed
            self.source.release(consumed)
        if limit > self.limit:  # never lowered: what was promised stays promised
            self.limit = max(self.limit, min(limit, consumed + MAX_WINDOW))

    def resume(self, have: int, consumed: int, limit: int) -> None:
        """A new link: the other side holds every byte below ``have``; go on from there.

        Raises:
            RemoteProtocolError: it claims bytes that do not exist, or lost bytes it had taken.
        """
        if not self.acked <= have <= self.source.end or consumed > have:
            raise RemoteProtocolError(
                "bad-resume", f"stream {self.id}: have {have}, taken {consumed}"
            )
        self.sent = have
        self.fin_sent = False  # whether it arrived is not said; twice does no harm
        self.on_grant(consumed, limit)

    def stop(self) -> None:
        self.stopped = True
        self.source.release(self.source.end)


class RecvStream:
    """The receiving side. Invariant: ``consumed <= have <= limit``; what is between the first two
    is with whoever owns this stream, not here."""

    __slots__ = ("consumed", "eof_at", "have", "id", "limit", "stop_wanted", "window")

    def __init__(self, id: int, window: int, start: int = 0) -> None:
        assert 0 < window <= MAX_WINDOW
        self.id = id
        self.window = window
        self.have = start  # everything below has arrived
        self.consumed = start  # everything below has been used up: safe to forget at the sender
        self.limit = start + window  # what the sender has been promised
        self.eof_at: int | None = None
        self.stop_wanted = False  # we said STOP

    @property
    def state(self) -> State:
        from gshell.wire.states import State  # only who looks at it pays for `enum`

        if self.consumed == self.eof_at:
            return State.CLOSED
        if self.stop_wanted:
            return State.STOPPED
        return State.OPEN if self.eof_at is None else State.EOF

    def on_data(self, offset: int, data: bytes, fin: bool) -> bytes:
        """Account for a piece; returns what of it is new (the rest arrived before a break).

        Raises:
            RemoteProtocolError: bytes are missing before it, or it exceeds the credit or the end.
        """
        have = self.have
        end = offset + len(data)
        if offset > have:
            raise RemoteProtocolError(
                "missing-bytes", f"stream {self.id}: at {offset}, have {have}"
            )
        if end > self.limit:
            raise RemoteProtocolError("over-limit", f"stream {self.id}: {end} > {self.limit}")
        eof_at = self.eof_at
        if eof_at is not None and (end > eof_at or (fin and end != eof_at)):
            raise RemoteProtocolError("after-end", f"stream {self.id}")
        if fin:
            if end < have:
                raise RemoteProtocolError("after-end", f"stream {self.id}")
            self.eof_at = end
        if end <= have:
            return b""
        self.have = end
        return data if offset == have else data[have - offset :]

    def on_gap(self, start: int, end: int) -> tuple[int, int] | None:
        """Bytes that will never come; returns the part of the gap that is news, if any.

        Raises:
            RemoteProtocolError: it does not join what has arrived, or there was an end before it.
        """
        have = self.have
        if start > have or end < start or end > MAX_OFFSET or self.eof_at is not None:
            raise RemoteProtocolError("bad-gap", f"stream {self.id}: {start}..{end}, have {have}")
        if end <= have:
            return None
        self.have = end
        self.limit = max(self.limit, end)
        return have, end

    def consume(self, count: int) -> None:
        """``count`` more bytes have been used up."""
        self.consumed += count
        assert self.consumed <= self.have

    def grant_due(self) -> bool:
        """Half a window has been used up since the last promise.

        One hop, so this cannot deadlock: a sender stands still only at ``limit``, and then a whole
        window is due as soon as it is consumed. Small remainders ride on the heartbeat.
        """
        return 2 * (self.consumed + self.window - self.limit) >= self.window

    def promise(self) -> tuple[int, int]:
        """The (consumed, limit) to send now."""
        limit = self.consumed + self.window
        if limit > self.limit:
            self.limit = limit
        return self.consumed, self.limit
