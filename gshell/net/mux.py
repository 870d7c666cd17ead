"""Many two-way channels over one pair of byte streams: frames, and a decoder that takes any pieces.

Specified in ``gshell/net/FORWARD.md``. A frame is ``type u8, channel u32, length u32`` and a
payload (network byte order). The streams below keep order and lose nothing; each channel has its
own credit. Knows no socket.
"""

from __future__ import annotations

import json
import struct

from gshell.wire.errors import RemoteProtocolError
from gshell.wire.frames import parse_json

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

OPEN, OPENED, REFUSED, DATA, CREDIT, EOF, RESET, LISTEN, LISTENING, UNLISTEN, KEEP = range(1, 12)

WINDOW = 1 << 19
"""Bytes of a channel that may be on their way, each way, from its opening on: what a channel that
nobody reads costs. 512 KiB carry 250 MB/s within a host and 10 MB/s over a 50 ms round trip."""
MAX_DATA = 1 << 16
MAX_JSON = 1 << 13
MAX_CHANNELS = 2048
MAX_LISTENERS = 64
KEEP_S = 60.0  # the client says something so often
SILENT_S = 900.0  # it has not for so long: it is gone, and with it the listeners

HEAD = struct.Struct("!BII")
_U32 = struct.Struct("!I")
_JSON = frozenset((OPEN, OPENED, REFUSED, LISTEN, LISTENING))
_EMPTY = frozenset((EOF, RESET, UNLISTEN, KEEP))


class Frame:
    """``data`` of DATA, ``number`` of CREDIT, ``message`` of those with JSON."""

    __slots__ = ("channel", "data", "kind", "message", "number")

    def __init__(
        self,
        kind: int,
        channel: int,
        data: bytes = b"",
        number: int = 0,
        message: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.channel = channel
        self.data = data
        self.number = number
        self.message = message or {}

    def __repr__(self) -> str:
        return f"Frame({self.kind}, {self.channel}, {len(self.data)} bytes, {self.number})"


def encode(kind: int, channel: int, message: dict[str, Any] | None = None) -> bytes:
    """A frame with JSON, or with nothing."""
    if kind in _EMPTY:
        return HEAD.pack(kind, channel, 0)
    body = json.dumps(message or {}, separators=(",", ":")).encode()
    assert kind in _JSON
    assert len(body) <= MAX_JSON, "checked where text comes in"
    return HEAD.pack(kind, channel, len(body)) + body


def data(channel: int, chunk: bytes) -> bytes:
    return HEAD.pack(DATA, channel, len(chunk)) + chunk


def credit(channel: int, count: int) -> bytes:
    """``count`` more bytes have been taken."""
    return HEAD.pack(CREDIT, channel, _U32.size) + _U32.pack(count)


class Decoder:
    """Bytes in any pieces to frames; DATA comes in the pieces in which it came. After an error it
    is dead."""

    __slots__ = ("_channel", "_hold", "_left")

    def __init__(self) -> None:
        self._hold = b""  # an incomplete head or small frame
        self._channel = 0
        self._left = 0  # bytes of the present DATA frame still to come

    def feed(self, chunk: bytes) -> list[Frame]:
        """
        Raises:
            RemoteProtocolError: these are no frames.
        """
        out: list[Frame] = []
        if self._hold:
            chunk = self._hold + chunk
            self._hold = b""
        at, size = 0, len(chunk)
        while at < size:
            if self._left:
                piece = chunk[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                out.append(Frame(DATA, self._channel, piece))
                continue
            if size - at < HEAD.size:
                break
            kind, channel, length = HEAD.unpack_from(chunk, at)
            most = MAX_DATA if kind == DATA else MAX_JSON
            if not OPEN <= kind <= KEEP or length > most:
                raise RemoteProtocolError("bad-mux", f"type {kind}, {length} bytes")
            if kind == DATA:
                at += HEAD.size
                self._channel, self._left = channel, length
                continue
            if size - at - HEAD.size < length:
                break
            at += HEAD.size
            out.append(_small(kind, channel, chunk[at : at + length]))
            at += length
        if at < size:
            self._hold = chunk[at:]
        return out


def _small(kind: int, channel: int, body: bytes) -> Frame:
    if kind in _JSON:
        return Frame(kind, channel, message=parse_json(body, "mux"))
    if kind == CREDIT:
        if len(body) != _U32.size:
            raise RemoteProtocolError("bad-mux", "CREDIT")
        return Frame(kind, channel, number=_U32.unpack(body)[0])
    if body:
        raise RemoteProtocolError("bad-mux", f"type {kind} with {len(body)} bytes")
    return Frame(kind, channel)
