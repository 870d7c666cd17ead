"""A row of small bars: how a number went lately. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

BARS = "▁▂▃▄▅▆▇█"
EVERY_S = 5.0  # agents report that often
KEPT = 12  # bars: a minute


def sparkline(values: Iterable[float], width: int) -> str:
    """The last ``width`` of them, against the highest; where there was nothing is a blank."""
    found = list(values)[-width:]
    top = max(found, default=0.0)
    if top <= 0:
        return ""
    return "".join(
        " " if value <= 0 else BARS[min(7, int(8 * value / top))] for value in found
    ).rjust(width)


class History:
    """Rates of many things, a bar each `EVERY_S`. Invariant: no row is longer than `KEPT`."""

    def __init__(self) -> None:
        self._rows: dict[str, deque[float]] = {}
        self._last = float("-inf")

    def sample(self, rates: dict[str, float], now: float) -> bool:
        """If a new bar is due: that. What is not in ``rates`` is forgotten."""
        if 0 <= now - self._last < EVERY_S:
            return False
        self._last = now
        self._rows = {
            name: deque([*self._rows.get(name, ()), rate], KEPT) for name, rate in rates.items()
        }
        return True

    def of(self, name: str) -> Iterable[float]:
        return self._rows.get(name, ())
