"""How strongly to demote the batch lane, from what both lanes got. Pure: times are arguments.

The share is of the processor time for which the two lanes competed: what the interactive one wanted
and the batch one had, out of that and what the interactive one had. With as many spinners as cores
that is simply the batch lane's part; a single spinner beside an idle core loses nothing to it.
"""

from __future__ import annotations

from typing import NamedTuple

from gshell.agent.proctree import Times

USUAL_LOSS = 10.0
LEAST, MOST = 0.005, 0.5  # shares: with less it would stand still, for more nothing is demoted
WINDOW_S = 0.4  # of competition, between two corrections
MEMORY = 0.75  # of the share that is told, from window to window
CALM = 0.45  # of an error is corrected at a time: a window is short and noisy
INERT_AFTER = 4  # windows at full strength without an effect
LEAST_RUN = 0.02  # of the time: 2 ms in a period, a timer goes no finer
CLOSE = 0.01  # of the target: not worth a correction


class Order(NamedTuple):
    """What to have now."""

    weight: float
    """Of the batch lane, where the interactive one has 1."""
    runs: float
    """The part of the time in which the batch lane is not stopped."""
    inert: bool
    """The weights do nothing here: try another way."""


def competed(batch: Times, interactive: Times, wall_s: float, cpus: int) -> tuple[float, float]:
    """(of the time both wanted: what batch had, what both had), in seconds."""
    wish = min(interactive.run + interactive.wait, cpus * wall_s)
    lost = min(max(0.0, wish - interactive.run), batch.run)
    return lost, lost + interactive.run


class Control:
    """Corrects toward one target by what is measured."""

    def __init__(self, target: float, least: float | None) -> None:
        """``least``: the smallest weight to be had; None: there is nothing but stopping."""
        self.target = min(MOST, max(LEAST, target))
        self._least = least
        self._weight = 1.0
        self._runs = 1.0
        if least is None:
            self._runs = min(1.0, 2 * self.target)
        else:
            self._weight = max(least, self.target / (1 - self.target))
        self._batch = self._both = self._wall = 0.0
        self._of_late = (0.0, 0.0)  # what batch had, and both: fading sums
        self._in_vain = 0
        self.share: float | None = None
        """As measured of late."""

    @property
    def order(self) -> Order:
        return Order(self._weight, self._runs, self._in_vain >= INERT_AFTER)

    def measured(
        self, batch: Times, interactive: Times, wall_s: float, cpus: int, stopped: float
    ) -> None:
        """What both had in the last ``wall_s``; ``stopped``: the part of it in which batch was."""
        wish = min(interactive.run + interactive.wait, cpus * wall_s)
        could = batch.run + batch.wait + stopped * cpus * wall_s
        if wish < 0.3 * wall_s or could < self.target * wish:
            return  # one of them wants next to nothing: nobody is robbed
        part, whole = competed(batch, interactive, wall_s, cpus)
        self._batch += part
        self._both += whole
        self._wall += wall_s
        if self._wall < WINDOW_S or not self._both:
            return
        share = self._batch / self._both
        # Of sums: a mean of shares would count windows in which others had nearly everything.
        kept, both = self._of_late
        self._of_late = kept, both = MEMORY * kept + self._batch, MEMORY * both + self._both
        self._batch = self._both = self._wall = 0.0
        self.share = kept / both
        self._correct(share)

    def _correct(self, share: float) -> None:
        target, least = self.target, self._least
        at_least = least is not None and self._weight <= least
        # While it is not stopped it has so much: does the smallest weight do nothing?
        in_vain = at_least and share / self._runs > target + (MOST - target) / 2
        self._in_vain = self._in_vain + 1 if in_vain else 0
        # Near the target what was remembered counts too, far from it the last window.
        near = self.share is not None and abs(share - target) < 0.1
        seen = (share + (self.share or share)) / 2 if near else share
        seen = min(0.95, max(LEAST / 2, seen))
        if abs(seen - target) < CLOSE:
            return
        factor = (target / (1 - target)) / (seen / (1 - seen))
        factor = min(3.0, max(1 / 3, factor)) ** CALM
        if least is None or (at_least and factor < 1) or self._runs < 1:
            self._runs = min(1.0, max(LEAST_RUN, self._runs * factor))
        else:
            self._weight = min(1.0, max(least, self._weight * factor))
