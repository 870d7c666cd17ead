"""How far a step's program is, by the ends of its logs: read when somebody wants to know, and then
a few KiB at most. Knows no relay."""

from __future__ import annotations

from collections.abc import Iterable

from gshell.agent.sessionlog import StreamLog
from gshell.model.progress import Progress, Reader
from gshell.wire.streams import Missing

HEAD_BYTES = 4096  # of the output: a program says there how many steps it will make
TAIL_BYTES = 4096  # and here which one it is at


class Meter:
    """Of one program: its stdout, and if that says nothing, its stderr."""

    def __init__(self, logs: Iterable[StreamLog]) -> None:
        self._ends = [_End(log) for log in logs]

    def look(self) -> Progress | None:
        return next((found for end in self._ends if (found := end.look()) is not None), None)


class _End:
    __slots__ = ("_head", "_log", "_looked", "_reader", "_value")

    def __init__(self, log: StreamLog) -> None:
        self._log = log
        self._reader = Reader()
        self._head = 0  # the beginning has been read so far
        self._looked = 0
        self._value: Progress | None = None

    def look(self) -> Progress | None:
        end = self._log.end
        if end == self._looked:
            return self._value
        self._looked = end
        if self._head < HEAD_BYTES < end:  # else the tail is all of it
            self._reader.announced(_read(self._log, 0, HEAD_BYTES))
            self._head = HEAD_BYTES
        begin = max(0, end - TAIL_BYTES)
        text = _read(self._log, begin, end)
        if begin:  # the first line of these may be the rest of one
            text = text[min(at for at in (*_breaks(text), len(text))) :]
        self._value = self._reader.look(text, end)
        return self._value


def _breaks(text: bytes) -> list[int]:
    return [at for at in (text.find(b"\n"), text.find(b"\r")) if at >= 0]


def _read(log: StreamLog, begin: int, end: int) -> bytes:
    """What there is of ``[begin, end)``; nothing if that has been forgotten."""
    pieces: list[bytes] = []
    try:
        while begin < end:
            piece = log.read(begin, end - begin)
            if not piece:
                break
            pieces.append(piece)
            begin += len(piece)
    except Missing:
        pass
    return b"".join(pieces)
