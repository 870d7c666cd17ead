"""From what happens to the lines of a recording. Knows no clock, no file and no session.

One event, one line, one ``write``: who is killed loses the event that was being written, at most.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right

from gshell.cast.format import Event, Header
from gshell.cast.lines import Encoder

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable

_MARK = re.compile(rb"\x1b\]133;([A-D](?:;[^\x00-\x1f\x7f]{0,200})?)(?:\x07|\x1b\\)")
_MARK_BEGINS = b"\x1b]133;"
_MARK_BYTES = 256  # at most held back for the rest of one
TIMED_BYTES = 4096  # of what came in one span, in one event


def whole_characters(data: bytes) -> int:
    """How much of ``data`` does not end in the middle of a UTF-8 character.

    >>> whole_characters("aé".encode()), whole_characters("aé".encode()[:-1])
    (3, 1)
    """
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            needs = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            if byte in (0xC0, 0xC1) or byte > 0xF4 or needs <= back:
                break
            if back > 1 and not _may_begin(byte, data[-back + 1]):
                break
            return len(data) - back
    return len(data)


def _may_begin(first: int, second: int) -> bool:
    """Are there characters that begin so? Else no waiting helps."""
    if first == 0xE0:
        return second >= 0xA0
    if first == 0xED:
        return second < 0xA0
    if first == 0xF0:
        return second >= 0x90
    if first == 0xF4:
        return second < 0x90
    return True


class Recorder:
    """Invariant: each call makes whole lines, times never go back, a character is never split over
    two events, and what was no UTF-8 is there byte for byte in a `b` event."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        header: Header,
        marks: bool = False,
        pipes: bool = False,
        resumed_at: float | None = None,
    ) -> None:
        """``header.version`` is what is written. ``marks``: a shell's OSC 133 become events.
        ``pipes``: the program has no terminal, so lines end as one would have shown them (and as
        all players need it). ``resumed_at``: there are events already, the last of them then: no
        header is written."""
        self._write = write
        self._encoder = Encoder(header.version)
        self._marks = marks
        self._pipes = pipes
        self._held = {"o": b"", "e": b""}  # the beginning of a character, or of a mark
        self._last = 0.0
        self._size = (header.columns, header.rows)
        self._secrets = 0
        self._in_secret = False
        self.ended = False
        if resumed_at is None:
            self._write(self._encoder.header(header).encode())
        else:
            self._last = resumed_at
            self._encoder.begins_at(resumed_at)

    @property
    def last_s(self) -> float:
        """When the last event was."""
        return self._last

    def _event(self, at_s: float, code: str, data: str) -> None:
        if not self.ended:
            self._last = max(self._last, at_s)
            self._write(self._encoder.event(Event(self._last, code, data)).encode())

    # -- what the program says

    def output(self, at_s: float, data: bytes) -> None:
        """Of a terminal, or stdout."""
        data = self._held["o"] + data
        at = 0
        if self._marks:
            while (found := _MARK.search(data, at)) is not None:
                self._text(at_s, "o", data[at : found.end()], whole=True)
                self._event(at_s, "p", found.group(1).decode("ascii", "replace"))
                at = found.end()
            begun = self._mark_begun(data, at)
            if begun >= 0:
                self._text(at_s, "o", data[at:begun], whole=True)
                self._held["o"] = data[begun:]
                return
        self._text(at_s, "o", data[at:])

    def _mark_begun(self, data: bytes, at: int) -> int:
        """Where a mark begins that may go on in what is read next; -1: none does."""
        escape = data.rfind(b"\x1b", max(at, len(data) - _MARK_BYTES))
        if escape > at and data[escape:] == b"\x1b":  # maybe the end of its end
            before = data.rfind(_MARK_BEGINS, max(at, len(data) - _MARK_BYTES), escape)
            if before >= 0 and b"\x07" not in data[before:]:
                return before
        if escape < 0:
            return -1
        rest = data[escape:]
        if _MARK_BEGINS.startswith(rest) or (rest.startswith(_MARK_BEGINS) and b"\x07" not in rest):
            return escape
        return -1

    def error(self, at_s: float, data: bytes) -> None:
        """Of stderr, where the program has pipes."""
        self._text(at_s, "e", self._held["e"] + data)

    def _text(self, at_s: float, code: str, data: bytes, whole: bool = False) -> None:
        end = len(data) if whole else whole_characters(data)
        self._held[code] = data[end:]
        data = data[:end]
        if not data:
            return
        if self._pipes:
            data = data.replace(b"\n", b"\r\n")
        try:
            self._event(at_s, code, data.decode())
        except UnicodeDecodeError:
            self._event(at_s, code, data.decode("utf-8", "replace"))
            self._event(at_s, "b", base64.b64encode(data).decode())

    def _flush(self, at_s: float) -> None:
        """What waited for its rest gets none."""
        for code, held in self._held.items():
            if held:
                self._text(at_s, code, held, whole=True)

    # -- what is done to it

    def typed(self, at_s: float, data: bytes) -> None:
        self._in_secret = False
        if data:
            self._event(at_s, "i", data.decode("utf-8", "replace"))

    def secret(self, at_s: float) -> None:
        """Something was typed that is nobody's business; key by key it is still one secret."""
        if not self._in_secret:
            self._in_secret = True
            self._secrets += 1
            self._event(at_s, "s", str(self._secrets))

    def resized(self, at_s: float, columns: int, rows: int) -> None:
        if (columns, rows) != self._size and columns > 0 and rows > 0:
            self._size = (columns, rows)
            self._event(at_s, "r", f"{columns}x{rows}")

    def mark(self, at_s: float, label: str = "") -> None:
        self._event(at_s, "m", label)

    def waits(self, at_s: float, on: str) -> None:
        """The program began to wait for input; ``on``: ``tty``, ``pipe`` or ``?``."""
        self._event(at_s, "w", on if on in ("tty", "pipe") else "?")

    def shell(self, at_s: float, mark: str) -> None:
        """A shell's OSC 133 mark that was found elsewhere."""
        self._event(at_s, "p", mark)

    def exited(self, at_s: float, status: int) -> None:
        """The last event."""
        self._flush(at_s)
        self._event(at_s, "x", str(status))
        self.ended = True

    def close(self, at_s: float) -> None:
        """Nobody records any more; the program goes on."""
        self._flush(at_s)
        self.ended = True


def timed(marks: list[list[float]], offset: int, data: bytes) -> list[tuple[float, bytes]]:
    """``data`` of a stream at ``offset`` as pieces with the times when they came; what came in one
    span is spread over it."""
    found = []
    at, end = offset, offset + len(data)
    starts = [int(mark[2]) for mark in marks]
    while at < end:
        span = max(0, bisect_right(starts, at) - 1)
        until = min(end, starts[span + 1] if span + 1 < len(starts) else end, at + TIMED_BYTES)
        begun, last, first = marks[span]
        whole = (starts[span + 1] if span + 1 < len(starts) else end) - first
        when = begun + (last - begun) * max(0.0, min(1.0, (at - first) / max(1.0, whole)))
        found.append((when, data[at - offset : until - offset]))
        at = until
    return found
