"""Output on its way to a descriptor, and whose it is: acknowledged is what was written. Knows no
protocol."""

from __future__ import annotations

from gshell.client.stdio import Sink

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any


SMALL_BYTES = 4096  # what waits in pieces smaller than this is one piece: each costs a list


class Outlet:
    """A Sink that remembers whose bytes wait in it, so that they are acknowledged when written."""

    __slots__ = ("_queue", "_surplus", "sink", "writing")

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.writing = False
        self._queue: list[list[Any]] = []  # [bytes left, seat or None, stream, raw bytes]
        self._surplus = 0

    @property
    def pending(self) -> int:
        return self.sink.pending

    @property
    def broken(self) -> bool:
        return bool(self.sink.broken)

    def write(self, data: bytes, seat: Any, stream: int, raw: int) -> None:
        last = self._queue[-1] if self._queue else None
        if last is not None and last[1] is seat and last[2] == stream and last[0] < SMALL_BYTES:
            last[0] += len(data)
            last[3] += raw
        else:
            self._queue.append([len(data), seat, stream, raw])
        self.writing = True
        self.sink.write(data)
        self.writing = False

    def written(self, count: int) -> list[tuple[Any, int, int]]:
        """``count`` bytes have reached the descriptor: which raw bytes does that settle?"""
        settled = []
        queue = self._queue
        while queue:
            head = queue[0]
            if head[0] > count:
                head[0] -= count
                break
            count -= head[0]
            queue.pop(0)
            if head[1] is not None:
                settled.append((head[1], head[2], head[3]))
        return settled

    def drop(self) -> list[tuple[Any, int, int]]:
        """Nothing will be written any more."""
        dropped = [(seat, stream, raw) for _, seat, stream, raw in self._queue if seat is not None]
        self._queue.clear()
        return dropped
