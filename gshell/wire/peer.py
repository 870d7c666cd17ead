"""One party of a conversation: its streams over as many links as it takes.

``receive`` turns bytes into events, ``pull`` gives the bytes to send; neither does I/O. After a
link is lost the same Peer goes on over the next one, from the positions that HELLO and WELCOME
exchange.
Invariant: whatever arrives, ``receive`` and ``adopt`` raise RemoteProtocolError or nothing.
"""

from __future__ import annotations

from gshell.model.record import Record
from gshell.wire import frames
from gshell.wire.constants import (
    CONTROL_WINDOW,
    EARLY_BYTES,
    MAX_FRAME_BYTES,
    MAX_JSON_BYTES,
    MAX_STREAMS,
    MAX_TASKS,
    SESSION_CONTROL,
    VERSION,
    stdin_of,
)
from gshell.wire.errors import RemoteProtocolError
from gshell.wire.streams import MAX_OFFSET, Missing, RecvStream, SendBuffer, SendStream, Source

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any, Union


class StreamData(Record):
    """New bytes of a stream, in order, never twice."""

    stream: int
    offset: int
    data: bytes


class StreamEnded(Record):
    """Everything of the stream has arrived; it is ``at`` bytes long."""

    stream: int
    at: int


class StreamGap(Record):
    """Bytes of the stream that will never come; ``consume`` them too."""

    stream: int
    start: int
    end: int


class StreamStopped(Record):
    """The reader of one of our streams is gone."""

    stream: int


class ControlReceived(Record):
    message: dict[str, Any]


class Greeted(Record):
    """HELLO (at the agent) or WELCOME (at the client) arrived; ``adopt`` its message when the
    streams it speaks of are open. What follows it on the link waits until then."""

    message: dict[str, Any]

    def __repr__(self) -> str:
        return "Greeted(***)"  # a HELLO has a secret


class PongReceived(Record):
    token: int


class Ended(Record):
    """The other side said BYE."""

    code: str
    reason: str


if TYPE_CHECKING:
    Event = Union[
        StreamData,
        StreamEnded,
        StreamGap,
        StreamStopped,
        ControlReceived,
        Greeted,
        PongReceived,
        Ended,
    ]
else:
    Event = tuple

_MAX_HELD_BYTES = 2 * EARLY_BYTES  # behind a greeting not yet adopted; a client sends half of that
_MAX_STREAM = 4 * MAX_STREAMS  # the highest number a STOP is remembered of
_OF_STREAMS = (frames.Data, frames.Grant, frames.Stop, frames.Gap)


class Peer:
    """A party. ``client`` says HELLO, the other answers WELCOME; all else is symmetric.

    A link's life, at the client: ``link_up``, then pull and receive until ``Greeted``, ``adopt``.
    At the agent: receive until ``Greeted``, open the streams, ``link_up``, ``adopt``. Then both
    pull and receive until ``link_lost``.
    """

    def __init__(self, client: bool) -> None:
        self._client = client
        self._send: dict[int, SendStream] = {}
        self._recv: dict[int, RecvStream] = {}
        self._urgent: list[bytes] = []  # frames that wait for no credit
        self._pong: int | None = None  # to the newest PING; a flood of them must pile up nothing
        self._granting: dict[int, None] = {}  # receive streams that owe a grant
        self._decoder = frames.Decoder()
        self._held: list[frames.Frame] | None = None  # behind a greeting not yet adopted
        self._held_bytes = 0
        self._failed: RemoteProtocolError | None = None  # this link is dead
        self._too_soon: set[int] = set()  # stopped before we have opened them
        self._late: list[Event] = []  # of these, for the next ``receive``
        self.early_input = 0
        """Window of stdins that their first byte opens, for it may be read in one piece with the
        message that says which there are. 0: there are no others than those that are open."""
        self._control_in = bytearray()  # the beginning of a control message
        self._turn = 0
        self.greeted = False  # the other side's HELLO/WELCOME arrived on this link
        self._linked = False  # our greeting is on its way
        self._open = False  # data may be sent on this link
        self._optimistic = False  # we send data before its WELCOME
        self._early = 0  # bytes of that still allowed
        self.control = SendBuffer()
        self.add_send(SESSION_CONTROL, self.control, CONTROL_WINDOW)
        self.add_recv(SESSION_CONTROL, CONTROL_WINDOW)

    # -- streams

    def add_send(self, id: int, source: Source, limit: int, start: int = 0) -> SendStream:
        """Open a stream that we send, from ``start``, at first up to the offset ``limit``.

        If its reader is gone already it is ``stopped``, and ``StreamStopped`` comes with the next
        ``receive``.
        """
        stream = self._send[id] = SendStream(id, source, limit, start)
        if id in self._too_soon:
            self._too_soon.remove(id)
            self._on_stop(id, self._late)
        return stream

    def add_recv(self, id: int, window: int, start: int = 0) -> RecvStream:
        """Open a stream that we receive; the other side knows ``window`` from PROTOCOL.md."""
        stream = self._recv[id] = RecvStream(id, window, start)
        return stream

    def sending(self, id: int) -> SendStream | None:
        return self._send.get(id)

    def receiving(self, id: int) -> RecvStream | None:
        return self._recv.get(id)

    def consume(self, id: int, count: int) -> None:
        """The owner of a received stream has used up ``count`` more bytes (or crossed a gap)."""
        stream = self._recv[id]
        stream.consume(count)
        if stream.grant_due() and self._linked:  # else our next greeting says it
            self._granting[id] = None

    def widen(self, id: int, most: int) -> None:
        """Promise twice as much of a received stream from now on, up to ``most`` bytes in flight:
        its sender stands still although everything here is used up, so the way is the
        bottleneck."""
        stream = self._recv[id]
        stream.window = max(stream.window, min(2 * stream.window, most))
        self._granting[id] = None

    def stop(self, id: int) -> None:
        """Nobody reads this received stream any more."""
        stream = self._recv[id]
        if not stream.stop_wanted:
            stream.stop_wanted = True
            if self._linked:
                self._urgent.append(frames.encode(frames.Stop(id)))

    def say(self, message: dict[str, Any]) -> None:
        """Queue a control message; data does not delay it, breaks do not lose it.

        Raises:
            LocalProtocolError: it is longer than MAX_JSON_BYTES.
        """
        self.control.append(frames.to_json(message, MAX_JSON_BYTES) + b"\n")

    def elsewhere(self) -> None:
        """Another party answers from now on: it has the streams that we receive, and knows nothing
        of what was said until now. Nobody reads what we send. Between two links."""
        self._control_in = bytearray()
        self.control = SendBuffer()
        for stream in self._send.values():
            stream.stop()
        self.add_send(SESSION_CONTROL, self.control, CONTROL_WINDOW)
        self.add_recv(SESSION_CONTROL, CONTROL_WINDOW)

    def ping(self, token: int) -> None:
        """Ask for a sign of life, and settle all small accounts on the way."""
        self._urgent.append(frames.encode(frames.Ping(token)))
        self._settle()

    def bye(self, code: str, reason: str = "") -> None:
        """End the conversation. It overtakes data: say it when all that matters has been taken."""
        self._urgent.append(frames.encode(frames.Bye(code, reason)))

    def _settle(self) -> None:
        for id, stream in self._recv.items():
            if stream.consumed + stream.window > stream.limit and self._linked:
                self._granting[id] = None

    # -- links

    def link_up(
        self, message: dict[str, Any], early_data: bool = False, inherit: Peer | None = None
    ) -> None:
        """A new link: forget what the last one left half done, greet with ``message`` and our
        positions. Data flows after ``adopt``.

        ``early_data``: the client sends at once, from the last acknowledged byte, instead of
        waiting for the answer (the start of a conversation: what arrives twice is dropped there).
        ``inherit``: the Peer that read the HELLO on this link before it was known whose it is.

        Raises:
            LocalProtocolError: ``message`` is longer than a greeting may be.
        """
        self._forget_link(inherit is None and self._client)
        self._linked = True
        if inherit is not None:
            self._decoder, self._failed = inherit._decoder, inherit._failed
            self._held, self._held_bytes = inherit._held, inherit._held_bytes
            self.greeted = True
        if early_data:
            for sending in self._send.values():
                sending.rewind()
            self._open = self._optimistic = True
            self._early = EARLY_BYTES
        have = {}
        for id, receiving in self._recv.items():
            consumed, limit = receiving.promise()
            have[str(id)] = [receiving.have, consumed, limit]
        stopped = [id for id, receiving in self._recv.items() if receiving.stop_wanted]
        greeting = {**message, "v": VERSION, "have": have, "stopped": stopped}
        kind = frames.Hello if self._client else frames.Welcome
        self._urgent.append(frames.encode(kind(greeting)))

    def link_lost(self) -> None:
        """The link is gone: nothing more may be expected of it."""
        self._forget_link(True)

    def _forget_link(self, reading: bool) -> None:
        self._urgent.clear()
        self._pong = None
        self._granting.clear()
        self._linked = self._open = self._optimistic = False
        if reading:
            self._decoder = frames.Decoder()
            self._held = None
            self._failed = None
            self.greeted = False

    @property
    def failed(self) -> RemoteProtocolError | None:
        """Why this link is dead; to wait for its next byte would be to wait for a heartbeat."""
        return self._failed

    @property
    def idle(self) -> bool:
        """Nothing to send now."""
        if self._urgent or self._granting or self._pong is not None:
            return False
        if not self._open or (self._optimistic and self._early <= 0):
            return True
        return not any(stream.ready() for stream in self._send.values())

    def pull(self, at_most: int) -> list[bytes]:
        """Bytes to send, in pieces, about ``at_most`` in all: what is urgent, control, then the
        data streams in turn."""
        out = self._urgent
        self._urgent = []
        if self._pong is not None:
            out.append(frames.encode(frames.Pong(self._pong)))
            self._pong = None
            self._settle()
        if self._granting:
            for id in self._granting:
                out.append(frames.encode(frames.Grant(id, *self._recv[id].promise())))
            self._granting.clear()
        if self._optimistic:
            early = min(self._early, at_most)
            self._early -= early - self._fill(out, early)
        elif self._open:
            self._fill(out, at_most)
        return out

    def _fill(self, out: list[bytes], left: int) -> int:
        """Frames of the streams, about ``left`` bytes; returns what is left of that."""
        streams = self._send
        control = streams[SESSION_CONTROL]
        while left > 0 and control.ready():
            left -= self._frame(control, left, out)
        ready = [s for s in streams.values() if s is not control and s.ready()]
        if len(ready) == 1:
            stream = ready[0]
            while left > 0 and stream.ready():
                left -= self._frame(stream, left, out)
            return left
        if ready:
            self._turn = turn = (self._turn + 1) % len(ready)
            ready = ready[turn:] + ready[:turn]
        while left > 0 and ready:
            for stream in ready:
                left -= self._frame(stream, left, out)
                if left <= 0:
                    break
            ready = [stream for stream in ready if stream.ready()]
        return left

    def _frame(self, stream: SendStream, left: int, out: list[bytes]) -> int:
        try:
            offset, data, fin = stream.take(left if left < MAX_FRAME_BYTES else MAX_FRAME_BYTES)
        except Missing as gone:
            start, end = stream.skip(gone.start)
            out.append(frames.encode(frames.Gap(stream.id, start, end)))
            return len(out[-1])
        size = len(data)
        head = frames.data_head(stream.id, offset, size, fin)
        out.append(head)
        if size:
            out.append(data)
        return size + len(head)

    # -- receiving

    def receive(self, chunk: bytes) -> list[Event]:
        """Events in ``chunk``.

        What was right before the first wrong byte counts: if that made events they are returned,
        and ``failed`` is what is to be raised after them, as the next call does.

        Raises:
            RemoteProtocolError: end this link; the session and its positions are unharmed.
        """
        if self._failed is not None:
            raise self._failed
        events, self._late = self._late, []
        try:
            got = self._decoder.feed(chunk)
            if self._held is None:
                self._handle(got, events)
            else:
                self._held_bytes += len(chunk)
                if self._held_bytes > _MAX_HELD_BYTES:
                    raise RemoteProtocolError("too-early", f"{self._held_bytes} bytes")
                self._held += got
        except RemoteProtocolError as error:
            self._fail(error, events)
        return events

    def adopt(self, message: dict[str, Any]) -> list[Event]:
        """Take over the positions of the greeting that ``Greeted`` carried (its streams must be
        open by now, and ``link_up`` called), open this link for data, and return the events of what
        came behind the greeting.

        Raises:
            RemoteProtocolError: the positions cannot be.
        """
        assert self._linked
        events, self._late = self._late, []
        held, self._held = self._held or [], None
        try:
            self._take_positions(message, events)
            self._open = True
            self._optimistic = False
            self._handle(held, events)
        except RemoteProtocolError as error:
            self._fail(error, events)
        return events

    def _fail(self, error: RemoteProtocolError, events: list[Event]) -> None:
        self._failed = error
        if not events:
            raise error

    def _handle(self, got: list[frames.Frame], events: list[Event]) -> None:
        for index, frame in enumerate(got):
            if not self.greeted and isinstance(frame, _OF_STREAMS):
                raise RemoteProtocolError("before-greeting", type(frame).__name__)
            if isinstance(frame, frames.Data):
                self._on_data(frame, events)
            elif isinstance(frame, frames.Grant):
                stream = self._send.get(frame.stream)
                if stream is None:
                    raise RemoteProtocolError("no-stream", f"GRANT {frame.stream}")
                stream.on_grant(frame.consumed, frame.limit)
            elif isinstance(frame, frames.Ping):
                self._pong = frame.token
            elif isinstance(frame, frames.Pong):
                events.append(PongReceived(frame.token))
            elif isinstance(frame, frames.Stop):
                self._on_stop(frame.stream, events)
            elif isinstance(frame, frames.Gap):
                self._on_gap(frame, events)
            elif isinstance(frame, frames.Bye):
                events.append(Ended(frame.code, frame.reason))
            elif isinstance(frame, frames.Hello) != self._client:
                self._on_greeting(frame.message, events)
                self._held = got[index + 1 :]  # may be of streams that the greeting announces
                self._held_bytes = 0
                break
            else:
                raise RemoteProtocolError("unexpected-greeting", type(frame).__name__)

    def _on_data(self, frame: frames.Data, events: list[Event]) -> None:
        id, offset, data, fin = frame
        stream = self._recv.get(id)
        if stream is None and self.early_input and id % 4 == 2 and id <= stdin_of(MAX_TASKS - 1):
            stream = self.add_recv(id, self.early_input)
        if stream is None:
            raise RemoteProtocolError("no-stream", f"DATA {id}")
        before = stream.have
        ended = stream.eof_at is not None
        new = stream.on_data(offset, data, fin)
        if id == SESSION_CONTROL:
            self.consume(id, len(new))
            self._on_control(new, events)
            return
        if new:
            events.append(StreamData(id, before, new))
        if fin and not ended:
            events.append(StreamEnded(id, stream.have))

    def _on_control(self, data: bytes, events: list[Event]) -> None:
        if len(self._control_in) + len(data) > MAX_JSON_BYTES + MAX_FRAME_BYTES:
            raise RemoteProtocolError("frame-too-long", "control message")
        if b"\n" not in data:
            self._control_in += data
            return
        lines = data.split(b"\n")
        lines[0] = bytes(self._control_in) + lines[0]
        self._control_in = bytearray(lines.pop())
        for line in lines:
            message = frames.parse_json(line, "control message")
            events.append(ControlReceived(message))  # those before a bad one count

    def _on_stop(self, id: int, events: list[Event]) -> None:
        if id == SESSION_CONTROL or id > _MAX_STREAM:
            raise RemoteProtocolError("no-stream", f"STOP {id}")
        stream = self._send.get(id)
        if stream is None:  # it may overtake the message that opens the stream
            self._too_soon.add(id)
        elif not stream.stopped:
            stream.stop()
            events.append(StreamStopped(id))

    def _on_gap(self, frame: frames.Gap, events: list[Event]) -> None:
        stream = self._recv.get(frame.stream)
        if stream is None or frame.stream == SESSION_CONTROL:
            raise RemoteProtocolError("no-stream", f"GAP {frame.stream}")
        news = stream.on_gap(frame.start, frame.end)
        if news:
            events.append(StreamGap(frame.stream, *news))

    def _on_greeting(self, message: dict[str, Any], events: list[Event]) -> None:
        if self.greeted:
            raise RemoteProtocolError("unexpected-greeting", "second on this link")
        if message.get("v") != VERSION:
            raise RemoteProtocolError("version", f"we speak {VERSION}")
        self.greeted = True
        events.append(Greeted(message))

    def _take_positions(self, message: dict[str, Any], events: list[Event]) -> None:
        have = message.get("have")
        stopped = message.get("stopped", [])
        if not isinstance(have, dict) or len(have) > MAX_STREAMS or not isinstance(stopped, list):
            raise RemoteProtocolError("bad-greeting", "positions")
        positions = {_stream_id(key): _position(value) for key, value in have.items()}
        for id, stream in self._send.items():
            position = positions.get(id)
            if stream.stopped:  # whatever they have of it: nothing more is sent
                continue
            if self._optimistic and (position is None or position[0] < stream.sent):
                if position is not None:  # what we sent early is on its way on this very link
                    stream.on_grant(position[1], position[2])
            elif position is not None:
                stream.resume(*position)
            else:  # they have not heard of it: a WELCOME was lost that announced it
                stream.rewind()
        for id in stopped[:MAX_STREAMS]:
            if type(id) is int and SESSION_CONTROL < id <= _MAX_STREAM:
                self._on_stop(id, events)


def _stream_id(key: str) -> int:
    if not (key.isascii() and key.isdigit()) or len(key) > 9:
        raise RemoteProtocolError("bad-greeting", "stream number")
    return int(key)


def _position(value: object) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise RemoteProtocolError("bad-greeting", "position")
    for number in value:
        if type(number) is not int or not 0 <= number < MAX_OFFSET:
            raise RemoteProtocolError("bad-greeting", "position")
    have, consumed, limit = value
    if consumed > have:
        raise RemoteProtocolError("bad-greeting", "position")
    return have, consumed, limit
