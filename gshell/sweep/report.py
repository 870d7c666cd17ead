"""How actions went, as a table for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gshell.model.sanitize import sanitize
from gshell.sweep.actions import COUNTS
from gshell.sweep.times import format_date, format_duration

NAME_WIDTH = 40
_SHORT = (
    "Name", "start", "end", "length", "startd", "ended", "error", "timout", "fkilld", "expfld",
    "wrterr", "ret!=0", "ok", "total",
)  # fmt: skip
_ORDER = (
    "num_started", "num_ended", "num_errors", "num_timeouts", "num_forced_kills",
    "num_expect_fail", "num_write_error", "num_non_zero_exit_codes", "num_ok", "num_processes",
)  # fmt: skip
assert set(_ORDER) < set(COUNTS)


class Report:
    """Over actions, and reports within: rows with their times and counts, and a total."""

    def __init__(
        self, stats_producers: Iterable[Any] | None = None, name: str | None = None
    ) -> None:
        self._of: list[Any] = list(stats_producers or ())
        self.name = name or "Report"

    def add(self, stats_producers: Iterable[Any]) -> None:
        """Actions, or whatever has ``stats()``."""
        self._of.extend(stats_producers)

    def stats(self) -> dict[str, Any]:
        """As an action's, of all of them together."""
        rows = [one.stats() for one in self._of]
        begins = [row["start_date"] for row in rows if row["start_date"] is not None]
        ends = [row["end_date"] for row in rows]
        return {
            "name": self.name,
            "start_date": min(begins, default=None),
            "end_date": max(ends) if ends and None not in ends else None,
            **{key: sum(row[key] for row in rows) for key in COUNTS},
            "sub_stats": rows,
        }

    def _rows(self, stats: dict[str, Any], depth: int, wide: bool) -> Iterator[list[str]]:
        for row in stats["sub_stats"]:
            yield _row(row, depth, wide)
            yield from self._rows(row, depth + 1, wide)

    def to_string(self, wide: bool = False, brief: bool = False) -> str:
        """Lines; ``wide``: names in full; ``brief``: the total alone."""
        stats = self.stats()
        rows = [] if brief else list(self._rows(stats, 0, wide))
        total = _row({**stats, "name": self.name}, 0, wide)
        widths = [max(map(len, column)) for column in zip(_SHORT, *rows, total, strict=True)]
        lines = [_line(_SHORT, widths), "-" * (sum(widths) + 2 * len(widths) - 2)]
        lines += [_line(row, widths) for row in rows]
        if rows:
            lines.append(lines[1])
        return "\n".join([*lines, _line(total, widths)]) + "\n"

    def __str__(self) -> str:
        return self.to_string()


def _row(stats: dict[str, Any], depth: int, wide: bool) -> list[str]:
    begin, end = stats["start_date"], stats["end_date"]
    length = "" if begin is None or end is None else format_duration(end - begin)
    name = "  " * depth + sanitize(" ".join(str(stats["name"]).split()))
    if not wide and len(name) > NAME_WIDTH:
        name = name[: NAME_WIDTH - 3] + "..."
    dates = [format_date(one)[:19] if one is not None else "" for one in (begin, end)]
    return [name, *dates, length, *[str(stats[key]) for key in _ORDER]]


def _line(cells: Iterable[str], widths: list[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join(
        [first[0].ljust(first[1]), *[cell.rjust(width) for cell, width in rest]]
    ).rstrip()
