"""Which offset a stream had reached at what time, roughly, for ever, in bounded room. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

STEP_S = 1.0  # finer than that nobody asks
MOST = 4096  # marks; when there are more, every second one goes: an old past is known less exactly


class Timeline:
    """A mark is a span of arrivals: when it began, at which offset, when the last one came.

    Invariant: the marks cover all that came, in order, and the first is the first that was made."""

    __slots__ = ("_begun", "_last", "_offsets", "_step_s")

    def __init__(self) -> None:
        self._begun: list[float] = []
        self._last: list[float] = []
        self._offsets: list[int] = []
        self._step_s = STEP_S

    def mark(self, now: float, offset: int) -> None:
        """Something came at ``now``, before which the stream was ``offset`` bytes long."""
        if self._begun and now - self._begun[-1] < self._step_s:
            self._last[-1] = now
            return
        self._begun.append(now)
        self._last.append(now)
        self._offsets.append(offset)
        if len(self._begun) > MOST:
            if len(self._begun) % 2:
                self._last[:] = [*self._last[1::2], self._last[-1]]
            else:
                self._last[:] = self._last[1::2]
            del self._begun[1::2], self._offsets[1::2]
            self._step_s *= 2

    def marks(self, shift_s: float) -> list[list[float]]:
        """[begun, last, offset] of each, times moved by ``shift_s`` (to another clock), tenths."""
        return [
            [round(begun + shift_s, 1), round(last + shift_s, 1), offset]
            for begun, last, offset in zip(self._begun, self._last, self._offsets)
        ]

    @classmethod
    def of_marks(cls, marks: Iterable[Any]) -> Timeline:
        """What `marks` said."""
        line = cls()
        for begun, last, offset in marks:
            line._begun.append(float(begun))
            line._last.append(float(last))
            line._offsets.append(int(offset))
        return line

    def at(self, when: float, end: int) -> int:
        """Where to begin so that everything since ``when`` is there, and little more; ``end`` is
        how long the stream is now."""
        found = bisect_right(self._begun, when) - 1
        if found >= 0 and when > self._last[found]:
            found += 1  # all of that span came before
        found = max(found, 0)
        return self._offsets[found] if found < len(self._offsets) else end
