"""Sets of a job's ranks as people write them: "0-3,7", "all", "" for none. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MAX_RANK = 1 << 24
MAX_RANGES = 1 << 16


class RankSet:
    """Invariant: the ranges are sorted and do not touch; ``everything`` has none."""

    __slots__ = ("everything", "ranges")

    def __init__(self, ranges: Iterable[tuple[int, int]] = (), everything: bool = False) -> None:
        """``ranges``: (first, last), in any order."""
        self.everything = everything
        merged: list[tuple[int, int]] = []
        for low, high in sorted(() if everything else ranges):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        self.ranges = tuple(merged)

    @classmethod
    def parse(cls, text: str) -> RankSet:
        """
        Raises:
            ValueError: not a set of ranks; its words say what is wrong.

        >>> RankSet.parse("7, 0-2,3").text()
        '0-3,7'
        """
        if text.strip() == "all":
            return cls(everything=True)
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
        if len(parts) > MAX_RANGES:
            raise ValueError("too many ranges of ranks")
        return cls([_range(part) for part in parts])

    @classmethod
    def of(cls, ranks: Iterable[int]) -> RankSet:
        return cls([(rank, rank) for rank in ranks])

    def text(self) -> str:
        """As it is written; ``parse`` of it gives the same set."""
        if self.everything:
            return "all"
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.ranges)

    def ranks(self, size: int) -> Iterator[int]:
        """Those of a job with ``size`` ranks."""
        for low, high in ((0, size - 1),) if self.everything else self.ranges:
            yield from range(low, min(high, size - 1) + 1)

    def beyond(self, size: int) -> bool:
        """Does it name a rank that a job with ``size`` ranks does not have?"""
        return bool(self.ranges) and self.ranges[-1][1] >= size

    def __contains__(self, rank: object) -> bool:
        if self.everything:
            return True
        return isinstance(rank, int) and any(low <= rank <= high for low, high in self.ranges)

    def __bool__(self) -> bool:
        return self.everything or bool(self.ranges)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RankSet):
            return NotImplemented
        return (self.everything, self.ranges) == (other.everything, other.ranges)

    def __hash__(self) -> int:
        return hash((self.everything, self.ranges))

    def __repr__(self) -> str:
        return f"RankSet({self.text()!r})"


def _range(part: str) -> tuple[int, int]:
    low, dash, high = part.partition("-")
    low, high = low.strip(), high.strip() if dash else low.strip()
    if not all(_is_rank(number) for number in (low, high)):
        raise ValueError(f"{part!r} is no rank: ranks are written as 0-3,7 or all")
    if int(low) > int(high):
        raise ValueError(f"{part!r} is backwards")
    return int(low), int(high)


def _is_rank(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 8 and int(text) < MAX_RANK
