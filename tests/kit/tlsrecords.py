"""Where in a connection's bytes one is: preamble, head or body of a TLS record. Knows no sockets, and
nothing of what is in them."""

from __future__ import annotations

import struct


class Records:
    """Where in the TLS records of one direction we are."""

    __slots__ = ("_head", "_left", "_preamble", "_type", "last")

    def __init__(self, preamble: bool) -> None:
        self._head = b""
        self._left = 0
        self._preamble = preamble
        self._type = 0
        self.last = "edge"  # what the last byte belonged to

    def feed(self, data: memoryview) -> None:
        at, size = 0, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                self.last = "preamble" if not self._type else "body"
                continue
            want = 13 if self._preamble else 5
            step = min(want - len(self._head), size - at)
            self._head += bytes(data[at : at + step])
            at += step
            self.last = "preamble" if self._preamble else "head"
            if len(self._head) == want:
                if self._preamble:
                    body, hello = struct.unpack_from("!HH", self._head, 9)
                    self._left = body + hello + 32
                    self._preamble = False
                else:
                    self._type = self._head[0]
                    self._left = int.from_bytes(self._head[3:], "big")
                self._head = b""

    @property
    def where(self) -> str:
        if self._preamble:
            return "preamble"
        return "head" if self._head else "body" if self._left else "edge"

    @property
    def to_edge(self) -> int:
        return self._left
