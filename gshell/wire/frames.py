"""Frames: what one link carries. Encoding, and a decoder that takes bytes in any pieces.

A frame is ``type: u8, length: u32`` and a payload (network byte order). DATA payloads are passed
on as they arrive, in pieces with their offsets: nothing waits for the rest of a frame, nothing is
copied together. Knows no stream's state.
"""

from __future__ import annotations

import struct

from gshell.model import quickjson
from gshell.model.record import Record
from gshell.wire.constants import MAX_BYE_BYTES, MAX_FRAME_BYTES, MAX_GREETING_BYTES
from gshell.wire.errors import LocalProtocolError, RemoteProtocolError

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any, Union

DATA, GRANT, STOP, GAP, HELLO, WELCOME, PING, PONG, BYE = range(1, 10)
FIN = 1  # DATA flag: the stream ends where this frame ends

_HEAD = struct.Struct("!BI")
_DATA_HEAD = struct.Struct("!BIIQB")  # frame head, then stream, offset, flags
_DATA_BODY = struct.Struct("!IQB")
_GRANT = struct.Struct("!BIIQQ")
_GRANT_BODY = struct.Struct("!IQQ")
_STOP = struct.Struct("!BII")
_STOP_BODY = struct.Struct("!I")
_PING = struct.Struct("!BIQ")
_PING_BODY = struct.Struct("!Q")
DATA_OVERHEAD = _DATA_BODY.size  # bytes of a DATA payload that are not data
MAX_CODE, MAX_REASON = 64, 1024  # characters of a BYE that are kept


class Data(Record):
    """Bytes of ``stream`` at ``offset``; ``fin`` if the stream ends with them."""

    stream: int
    offset: int
    data: bytes
    fin: bool


class Grant(Record):
    """The receiver took everything below ``consumed`` and will take up to ``limit``."""

    stream: int
    consumed: int
    limit: int


class Stop(Record):
    """The reader of ``stream`` is gone; nothing more of it is wanted."""

    stream: int


class Gap(Record):
    """Bytes ``start <= offset < end`` of ``stream`` are not kept any more; counts as arrived."""

    stream: int
    start: int
    end: int


class Hello(Record):
    message: dict[str, Any]

    def __repr__(self) -> str:
        return "Hello(***)"  # a secret is in it


class Welcome(Record):
    message: dict[str, Any]


class Ping(Record):
    token: int


class Pong(Record):
    token: int


class Bye(Record):
    """The other side ends the conversation; ``code`` is one of the words in PROTOCOL.md."""

    code: str
    reason: str


if TYPE_CHECKING:
    Frame = Union[Data, Grant, Stop, Gap, Hello, Welcome, Ping, Pong, Bye]
else:
    Frame = tuple


def data_head(stream: int, offset: int, length: int, fin: bool) -> bytes:
    """The bytes that stand before ``length`` bytes of data."""
    return _DATA_HEAD.pack(DATA, DATA_OVERHEAD + length, stream, offset, FIN if fin else 0)


def encode(frame: Frame) -> bytes:
    """One frame as bytes.

    Raises:
        LocalProtocolError: its JSON is longer than the other side would take.
    """
    if isinstance(frame, Data):
        return data_head(frame.stream, frame.offset, len(frame.data), frame.fin) + bytes(frame.data)
    if isinstance(frame, Grant):
        return _GRANT.pack(GRANT, _GRANT_BODY.size, *frame)
    if isinstance(frame, Stop):
        return _STOP.pack(STOP, _STOP_BODY.size, frame.stream)
    if isinstance(frame, Gap):
        return _GRANT.pack(GAP, _GRANT_BODY.size, *frame)
    if isinstance(frame, Ping):
        return _PING.pack(PING, _PING_BODY.size, frame.token)
    if isinstance(frame, Pong):
        return _PING.pack(PONG, _PING_BODY.size, frame.token)
    if isinstance(frame, Hello):
        return _json_frame(HELLO, frame.message)
    if isinstance(frame, Welcome):
        return _json_frame(WELCOME, frame.message)
    return _json_frame(BYE, {"code": frame.code[:MAX_CODE], "reason": frame.reason[:MAX_REASON]})


def to_json(message: dict[str, Any], most: int) -> bytes:
    """A JSON object as ASCII without a line break, at most ``most`` bytes."""
    body = quickjson.dumps(message).encode()
    if len(body) > most:
        raise LocalProtocolError(f"a message of {len(body)} bytes; {most} are possible")
    return body


def _json_frame(kind: int, message: dict[str, Any]) -> bytes:
    body = to_json(message, _MAX_BODY[kind])
    return _HEAD.pack(kind, len(body)) + body


def parse_json(body: bytes, what: str) -> dict[str, Any]:
    """A JSON object out of hostile bytes.

    Raises:
        RemoteProtocolError: not UTF-8, not JSON, not an object, or nested absurdly.
    """
    try:
        message = quickjson.loads(body.decode())
    except (ValueError, RecursionError):
        raise RemoteProtocolError("bad-json", what) from None
    if not isinstance(message, dict):
        raise RemoteProtocolError("bad-json", what)
    return message


_MAX_BODY = {
    DATA: MAX_FRAME_BYTES + DATA_OVERHEAD,
    GRANT: _GRANT_BODY.size,
    STOP: _STOP_BODY.size,
    GAP: _GRANT_BODY.size,
    HELLO: MAX_GREETING_BYTES,
    WELCOME: MAX_GREETING_BYTES,
    PING: _PING_BODY.size,
    PONG: _PING_BODY.size,
    BYE: MAX_BYE_BYTES,
}


class Decoder:
    """Bytes in any pieces to frames. After an error it is dead: the link must end.

    Invariant: at most one incomplete head or small body is held; data is never held.
    """

    __slots__ = ("_fin", "_hold", "_left", "_need", "_offset", "_stream")

    def __init__(self) -> None:
        self._hold = bytearray()  # an incomplete head or small frame
        self._need = 0  # bytes there must be before looking at ``_hold`` again makes sense
        self._stream = 0
        self._offset = 0
        self._left = 0  # bytes of the current DATA frame still to come
        self._fin = False

    def feed(self, chunk: bytes) -> list[Frame]:
        """Frames and pieces of DATA frames in ``chunk``.

        Raises:
            RemoteProtocolError: the bytes are not our protocol.
        """
        out: list[Frame] = []
        at = 0
        size = len(chunk)
        left = self._left
        if left:
            if size < left:
                if size:
                    out.append(Data(self._stream, self._offset, chunk, False))
                    self._offset += size
                    self._left = left - size
                return out
            at = left
            piece = chunk if at == size else chunk[:at]
            out.append(Data(self._stream, self._offset, piece, self._fin))
            self._left = 0
        elif self._hold:
            if len(self._hold) + size < self._need:
                self._hold += chunk
                return out
            chunk = bytes(self._hold) + chunk
            size = len(chunk)
            self._hold = bytearray()
        need = _HEAD.size
        while size - at >= need:
            kind, length = _HEAD.unpack_from(chunk, at)
            most = _MAX_BODY.get(kind)
            if most is None:
                raise RemoteProtocolError("unknown-frame", f"type {kind}")
            if length > most:
                raise RemoteProtocolError("frame-too-long", f"type {kind}, {length} bytes")
            body = at + _HEAD.size
            if kind != DATA:
                if size - body < length:
                    need = _HEAD.size + length
                    break
                out.append(_decode(kind, chunk, body, length))
                at = body + length
                continue
            if length < DATA_OVERHEAD:
                raise RemoteProtocolError("short-frame", "DATA")
            if size - body < DATA_OVERHEAD:
                need = _DATA_HEAD.size
                break
            stream, offset, flags = _DATA_BODY.unpack_from(chunk, body)
            if flags & ~FIN:
                raise RemoteProtocolError("bad-flags", f"{flags}")
            at = body + DATA_OVERHEAD
            left = length - DATA_OVERHEAD
            come = size - at
            if come >= left:
                out.append(Data(stream, offset, chunk[at : at + left], flags == FIN))
                at += left
                continue
            if come:
                out.append(Data(stream, offset, chunk[at:], False))
            self._stream, self._offset, self._fin = stream, offset + come, flags == FIN
            self._left = left - come
            return out
        if at < size:
            self._hold += chunk[at:]
            self._need = need
        return out


def _decode(kind: int, chunk: bytes, at: int, length: int) -> Frame:
    if kind in (GRANT, GAP):
        if length != _GRANT_BODY.size:
            raise RemoteProtocolError("short-frame", f"type {kind}")
        stream, first, second = _GRANT_BODY.unpack_from(chunk, at)
        return Grant(stream, first, second) if kind == GRANT else Gap(stream, first, second)
    if kind == STOP:
        if length != _STOP_BODY.size:
            raise RemoteProtocolError("short-frame", "STOP")
        return Stop(_STOP_BODY.unpack_from(chunk, at)[0])
    if kind in (PING, PONG):
        if length != _PING_BODY.size:
            raise RemoteProtocolError("short-frame", "PING")
        token = _PING_BODY.unpack_from(chunk, at)[0]
        return Ping(token) if kind == PING else Pong(token)
    message = parse_json(chunk[at : at + length], "frame")
    if kind == HELLO:
        return Hello(message)
    if kind == WELCOME:
        return Welcome(message)
    return Bye(_text(message.get("code"), MAX_CODE), _text(message.get("reason"), MAX_REASON))


def _text(value: object, most: int) -> str:
    return value[:most] if isinstance(value, str) else ""
