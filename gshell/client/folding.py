"""Lines that several ranks have in common, shown once: ``[0-63] text``. Pure.

A line waits a moment for the other ranks to say the same; what has waited, and all before it, goes
out in the order in which it was first said. Each rank's own lines stay in their order.
"""

from __future__ import annotations

from gshell.client.labels import LONGEST_BYTES, STARTER
from gshell.model.rankset import RankSet

PATIENCE_S = 0.3  # for other ranks: as long as nobody minds
MOST_LINES = 2000  # that wait at a time; more is no longer said by all at once
MOST_BYTES = 1 << 20


class _Line:
    """A line and who has said it."""

    __slots__ = ("err", "number", "ranks", "since", "text")

    def __init__(self, number: int, text: bytes, err: bool, since: float) -> None:
        self.number = number
        self.text = text
        self.err = err
        self.since = since
        self.ranks: set[int] = set()


class Folding:
    """Invariant: the lines that wait are in order of their numbers, and each rank's in order of
    what it said."""

    def __init__(self, size: int) -> None:
        """``size``: ranks of the job; what all have said does not wait."""
        self._size = size
        self._lines: dict[int, _Line] = {}  # by number, oldest first
        self._newest: dict[tuple[bytes, bool], _Line] = {}  # which others may join
        self._last: dict[int, int] = {}  # rank -> number of its last line
        self._begun: dict[tuple[int, bool], tuple[bytes, float]] = {}
        self._number = 0
        self._bytes = 0

    def feed(self, rank: int, err: bool, data: bytes, now: float) -> list[tuple[bool, bytes]]:
        """(is stderr, text) of what needs to wait no more."""
        key = (rank, err)
        begun = self._begun.pop(key, None)
        if begun is not None:
            data = begun[0] + data
        *lines, rest = data.split(b"\n")
        if len(rest) > LONGEST_BYTES:
            lines.append(rest)
            rest = b""
        if rest:
            self._begun[key] = rest, begun[1] if begun is not None and not lines else now
        done = -1
        for text in lines:
            line = self._newest.get((text, err))
            if line is None or line.number <= self._last.get(rank, -1):
                line = self._new(text, err, now)
            line.ranks.add(rank)
            self._last[rank] = line.number
            if len(line.ranks) >= self._size or rank == STARTER:
                done = line.number
        if len(self._lines) > MOST_LINES or self._bytes > MOST_BYTES:
            done = self._number
        return self._out(done)

    def _new(self, text: bytes, err: bool, now: float) -> _Line:
        self._number += 1
        line = self._lines[self._number] = _Line(self._number, text, err, now)
        self._newest[(text, err)] = line
        self._bytes += len(text)
        return line

    def _out(self, last: int) -> list[tuple[bool, bytes]]:
        """All lines up to the number ``last``."""
        found: list[tuple[bool, bytes]] = []
        while self._lines:
            number = next(iter(self._lines))
            if number > last:
                break
            line = self._lines.pop(number)
            self._bytes -= len(line.text)
            if self._newest.get((line.text, line.err)) is line:
                del self._newest[(line.text, line.err)]
            who = RankSet.of(line.ranks - {STARTER}).text() if line.ranks != {STARTER} else "mpi"
            found.append((line.err, b"[%s] %s\n" % (who.encode(), line.text)))
        return found

    @property
    def due(self) -> float | None:
        """When the oldest of what waits came."""
        times = [since for _, since in self._begun.values()]
        if self._lines:
            times.append(next(iter(self._lines.values())).since)
        return min(times, default=None)

    def overdue(self, before: float) -> list[tuple[bool, bytes]]:
        """(is stderr, text) of all that waits since ``before``."""
        for (rank, err), (_, since) in list(self._begun.items()):
            if since <= before:
                rest, _ = self._begun.pop((rank, err))
                self._new(rest, err, since).ranks.add(rank)
        old = [line.number for line in self._lines.values() if line.since <= before]
        return self._out(max(old, default=-1))

    def flush(self) -> list[tuple[bool, bytes]]:
        """Nothing more will come."""
        return self.overdue(float("inf"))
