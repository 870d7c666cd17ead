"""Lines that match a pattern, out of streams of bytes. Knows not where they come from."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from re import Pattern
    from typing import Any

MAX_LINE_BYTES = 1 << 20  # of a longer line, each such piece is looked at by itself


class Matching:
    """Bytes of several streams in any pieces, to whole lines that match. Invariant: at most
    MAX_LINE_BYTES of a stream wait for the end of their line."""

    def __init__(self, pattern: Pattern[bytes]) -> None:
        self._search = pattern.search
        self._begun: dict[Any, bytearray] = {}
        self.found = False
        """Did anything match so far?"""

    def feed(self, stream: Any, data: bytes) -> bytes:
        """Those lines that ``data`` completes and that match, with their ends."""
        begun = self._begun.get(stream)
        cut = data.rfind(b"\n") + 1
        if not cut:
            begun = self._begun.setdefault(stream, bytearray())
            begun += data
            if len(begun) < MAX_LINE_BYTES:
                return b""
            del self._begun[stream]
            return self._of([bytes(begun)])
        whole = data[:cut]
        if begun:
            whole = bytes(begun) + whole
            del self._begun[stream]
        if cut < len(data):
            self._begun[stream] = bytearray(data[cut:])
        # At line feeds only: a carriage return draws over its line, it does not end it.
        return self._of([line + b"\n" for line in whole.split(b"\n")[:-1]])

    def flush(self) -> Iterator[tuple[Any, bytes]]:
        """The last lines, without an end, as far as they match: (stream, line)."""
        for stream, begun in self._begun.items():
            line = self._of([bytes(begun)])
            if line:
                yield stream, line
        self._begun.clear()

    def _of(self, lines: list[bytes]) -> bytes:
        out = b"".join([line for line in lines if self._search(line.rstrip(b"\r\n"))])
        self.found = self.found or bool(out)
        return out
