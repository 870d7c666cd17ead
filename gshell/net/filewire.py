"""What the service `files` and who uses it say to each other, as bytes: see FILES.md. Sans-IO;
knows no file and no session.
"""

from __future__ import annotations

import json
import struct

from gshell.errors import RemoteProtocolError

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any, Union

    Item = Union[dict[str, Any], bytes]

VERSION = 1
MAX_MESSAGE_BYTES = 1 << 18  # a thousand entries of a list fit, whatever their names
MAX_DATA_BYTES = 1 << 22  # in one frame; it is handed on in pieces, as it comes
READ_BYTES = 1 << 18  # of a file at a time: less costs calls, more gains nothing
_HEAD = struct.Struct("!IB")
_MESSAGE, _DATA = 0x4A, 0x44  # "J", "D"


def encode(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()  # ASCII: names keep what is no UTF-8
    return _HEAD.pack(len(body), _MESSAGE) + body


def data_head(size: int) -> bytes:
    """What goes before ``size`` bytes of a file."""
    assert 0 < size <= MAX_DATA_BYTES
    return _HEAD.pack(size, _DATA)


class Decoder:
    """Bytes in any pieces to messages and pieces of files. Holds at most one incomplete message."""

    __slots__ = ("_buffer", "_left")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0  # bytes of the present data frame that are still to come

    def feed(self, data: bytes) -> list[Item]:
        """
        Raises:
            RemoteProtocolError: it is neither, or longer than we take.
        """
        out: list[Item] = []
        if self._left and not self._buffer:  # most of a big file: no copy
            if self._left >= len(data):
                self._left -= len(data)
                return [data] if data else out
            out.append(data[: self._left])
            data = data[self._left :]
            self._left = 0
        buffer = self._buffer
        buffer += data
        at = 0
        while True:
            if self._left:
                with memoryview(buffer) as view:
                    piece = bytes(view[at : at + self._left])
                if not piece:
                    break
                self._left -= len(piece)
                at += len(piece)
                out.append(piece)
                continue
            if len(buffer) - at < _HEAD.size:
                break
            size, kind = _HEAD.unpack_from(buffer, at)
            if kind == _DATA and 0 < size <= MAX_DATA_BYTES:
                at += _HEAD.size
                self._left = size
            elif kind == _MESSAGE and size <= MAX_MESSAGE_BYTES:
                if len(buffer) - at - _HEAD.size < size:
                    break
                at += _HEAD.size
                out.append(_message(bytes(buffer[at : at + size])))
                at += size
            else:
                raise RemoteProtocolError("bad-frame", f"a frame {kind} of {size} bytes")
        del buffer[:at]
        return out


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise RemoteProtocolError("bad-json", "in the talk about files") from None
    if not isinstance(message, dict):
        raise RemoteProtocolError("bad-json", "in the talk about files")
    return message


# ------------------------------------------------------------------------- fields of what they say


def number(message: dict[str, Any], name: str, most: int = 1 << 62) -> int:
    """
    Raises:
        RemoteProtocolError: it is no whole number from 0 to ``most``.
    """
    value = message.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise RemoteProtocolError("bad-message", name)
    return value


def text(message: dict[str, Any], name: str, most: int = 4096) -> str:
    """
    Raises:
        RemoteProtocolError: it is no text that a path could be.
    """
    value = message.get(name, "")
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise RemoteProtocolError("bad-message", name)
    return value


class Entry:
    """A line of a list: what there is and where."""

    __slots__ = ("base", "kind", "mode", "mtime_ns", "path", "size")

    def __init__(
        self, base: str, path: str, kind: str, size: int, mode: int, mtime_ns: int
    ) -> None:
        self.base = base
        """What of the request it belongs to, as the far end calls it."""
        self.path = path
        """Below that; empty: it is that."""
        self.kind = kind
        """``f``: a file, ``d``: a directory."""
        self.size = size
        self.mode = mode
        self.mtime_ns = mtime_ns

    def row(self) -> list[Any]:
        return [self.base, self.path, self.kind, self.size, self.mode, self.mtime_ns]


def entries(message: dict[str, Any]) -> list[Entry]:
    """Of a message ``entries``.

    Raises:
        RemoteProtocolError: they make no sense.
    """
    rows = message.get("entries")
    out = []
    for row in rows if isinstance(rows, list) else [None]:
        if not isinstance(row, list) or len(row) != 6:
            raise RemoteProtocolError("bad-message", "entries")
        base, path, kind, size, mode, mtime = row
        texts = isinstance(base, str) and isinstance(path, str) and kind in ("f", "d")
        numbers = all(isinstance(n, int) and 0 <= n < 1 << 62 for n in (size, mode, mtime))
        if not texts or not numbers or len(base) > 4096 or len(path) > 4096:
            raise RemoteProtocolError("bad-message", "entries")
        if "\0" in base or "\0" in path:
            raise RemoteProtocolError("bad-message", "entries")
        out.append(Entry(base, path, kind, size, mode & 0o777, mtime))
    return out
