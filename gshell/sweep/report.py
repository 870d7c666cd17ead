"""How actions went, as a table for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gshell.model.sanitize import sanitize
from gshell.sweep.processwords import COUNTS
from gshell.sweep.times import format_date, format_duration

_COLUMNS = (
    ("Name", "name", 32), ("start", "start_date", 20), ("end", "end_date", 20),
    ("length", "length", 15),
    *((word, key, 7) for word, key in (
        ("startd", "num_started"), ("ended", "num_ended"), ("error", "num_errors"),
        ("timout", "num_timeouts"), ("fkilld", "num_forced_kills"), ("expfld", "num_expect_fail"),
        ("wrterr", "num_write_error"), ("ret!=0", "num_non_zero_exit_codes"), ("ok", "num_ok"),
        ("total", "num_processes"),
    )),
)  # fmt: skip
_WIDTH = {key: width for _, key, width in _COLUMNS}
_WIDE = [[key for _, key, _ in _COLUMNS]]
_NARROW = [  # lines for each row: so that it fits a terminal
    ["name", "start_date", "end_date", "num_processes"],
    [key for _, key, _ in _COLUMNS[3:-1]],
]
assert {key for key in _WIDTH if key.startswith("num_")} < set(COUNTS)


class Report:
    """Over actions, and reports within: rows with their times and counts, and a total."""

    def __init__(self, stats_objects: Iterable[Any] | None = None, name: str | None = None) -> None:
        self._of: list[Any] = list(stats_objects or ())
        self.name = name or "Report"

    def add(self, stats_objects: Iterable[Any]) -> None:
        """Actions, processes, reports: whatever has ``stats()``."""
        self._of.extend(stats_objects)

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

    def _rows(self, stats: dict[str, Any], depth: int) -> Iterator[dict[str, str]]:
        for row in stats["sub_stats"]:
            yield _row(row, depth)
            yield from self._rows(row, depth + 1)

    def to_string(self, wide: bool = False, brief: bool = False) -> str:
        """A table: ``wide``, a line for each, or two narrow ones; ``brief``: the total alone."""
        stats = self.stats()
        of = _WIDE if wide else _NARROW
        rows = [] if brief else list(self._rows(stats, 0))
        dashes = "-" * (max(sum(_WIDTH[key] for key in line) for line in of) - 1)
        parts = [{key: word for word, key, _ in _COLUMNS}, None, *rows, None, _row(stats, 0)]
        if not rows:
            parts.pop(1)
        lines: list[str] = []
        for part in parts:
            lines += [dashes] if part is None else _lines(part, of, wide)
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        stats = self.stats()
        facts = {
            "name": repr(self.name), "start_date": repr(format_date(stats["start_date"])),
            "end_date": repr(format_date(stats["end_date"])),
            **{key: stats[key] for key in COUNTS},
        }  # fmt: skip
        words = ", ".join(f"{key}={value}" for key, value in facts.items())
        return f"<Report(<{len(self._of)} entries>, {words})>"

    def __repr__(self) -> str:
        return f"<Report(<{len(self._of)} entries>, name={self.name!r})>"


def _row(stats: dict[str, Any], depth: int) -> dict[str, str]:
    begin, end = stats["start_date"], stats["end_date"]
    length = None if begin is None or end is None else format_duration(end - begin, True)
    dates = {key: str(format_date(stats[key]))[:19] for key in ("start_date", "end_date")}
    return {
        "name": "  " * depth + sanitize(" ".join(str(stats["name"]).split())), **dates,
        "length": length or "", **{key: str(stats[key]) for key in COUNTS},
    }  # fmt: skip


def _lines(cells: dict[str, str], of: list[list[str]], wide: bool) -> Iterator[str]:
    for number, keys in enumerate(of):
        text = " " * bool(number)
        for key in keys:
            width = _WIDTH[key]
            text += cells[key][: width - 1].ljust(width)
        yield text.rstrip()
