"""Control messages: a length and a JSON object. Sans-IO; the TLS around it is somebody else's."""

from __future__ import annotations

import struct

from gshell.errors import RemoteProtocolError
from gshell.model import quickjson

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

_HEAD = struct.Struct("!I")
MAX_FROM_PEER_BYTES = 1 << 18  # what a relay accepts: an argv and an environment fit
MAX_FROM_RELAY_BYTES = 1 << 24  # what a client accepts: ten thousand jobs fit


def encode(message: dict[str, Any]) -> bytes:
    body = quickjson.dumps(message).encode()
    return _HEAD.pack(len(body)) + body


class ControlDecoder:
    """Bytes in any pieces to messages. Holds at most one incomplete message."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """
        Raises:
            RemoteProtocolError: not a message, or a longer one than we take.
        """
        buffer = self._buffer
        buffer += data
        out: list[dict[str, Any]] = []
        at = 0
        while len(buffer) - at >= _HEAD.size:
            (size,) = _HEAD.unpack_from(buffer, at)
            if size > self._limit:
                raise RemoteProtocolError("frame-too-long", f"control message of {size} bytes")
            if len(buffer) - at - _HEAD.size < size:
                break
            at += _HEAD.size
            try:
                message = quickjson.loads(buffer[at : at + size].decode())
            except (ValueError, RecursionError):
                raise RemoteProtocolError("bad-json", "control message") from None
            if not isinstance(message, dict):
                raise RemoteProtocolError("bad-json", "control message")
            out.append(message)
            at += size
        del buffer[:at]
        return out
