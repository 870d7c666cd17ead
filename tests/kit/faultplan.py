"""Which connections break, where and how: a seeded plan. Pure; who carries it out is `faultproxy`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """What happens to a connection, once so many bytes have passed in both directions together."""

    after: int
    how: str = "fin"
    """"fin" or "rst" on both sides, "mixed": one each; "stall": nothing moves for ``stall_s``, then
    "fin"; "hole": nothing moves any more and nobody is told, for ``stall_s`` (0: for ever), then
    "rst"; "flip": one bit of the last byte until then is turned over, and all goes on."""
    within_head: bool = False
    """Wait for the next TLS record and cut inside its five bytes of head."""
    pieces: int = 0
    """Until then, hand on at most so many bytes at a time (for the first PIECES_BYTES)."""
    stall_s: float = 0.0
    bit: int = 0
    """Which one is turned over, 0 to 7."""


STALL_S, HOLE_S = 0.05, 1.0  # a plan's longest
PIECES_BYTES = 4096  # a greeting; bulk data in pieces of three bytes would only be slow

Plan = Callable[[int], "Fault | None"]  # number of the connection -> what happens to it


class Plans:
    """``count`` cuts, then peace. The same seed: the same faults, in order of the connections."""

    def __init__(
        self,
        seed: int,
        count: int,
        mean_bytes: float,
        joining: float = 0.25,
        first: int = 0,
        hows: Sequence[str] = ("fin", "rst", "mixed", "stall"),
    ) -> None:
        """``joining``: the share of faults within the first kilobytes, where two sides are still
        being brought together. The first ``first`` connections are left alone. ``hows``: which
        faults, each as often."""
        self._random = random.Random(seed)
        self._mean = mean_bytes
        self._joining = joining
        self._first = first
        self._hows = list(hows)
        self.left = count

    def __call__(self, number: int) -> Fault | None:
        if number < self._first:
            return None
        r = self._random
        early = r.random() < self._joining
        after = r.randrange(6000) if early else 6000 + int(r.expovariate(1 / self._mean))
        how = r.choice(self._hows)
        pieces = r.choice([0, 0, 0, r.randrange(1, 8)])
        stall_s = r.random() * (HOLE_S if how == "hole" else STALL_S)
        within_head = not early and r.random() < 0.3
        return Fault(after, how, within_head, pieces, stall_s, r.randrange(8))
