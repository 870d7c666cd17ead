"""The fault table in ASCII: one line for each Finding, or for a row that has none. Runs nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from fault.rows import Finding

HOLDS, FAILED, MISSING = "holds", "FAILED", "missing"
COLUMNS = ("fault", "count", "must hold", "seen", "")
WIDTHS = (40, 18, 36, 44, 7)  # a longer text is wrapped


class Line(NamedTuple):
    row: str
    verdict: str
    finding: Finding
    """Of a row that has not come so far: its name and what stopped it."""

    def as_json(self) -> dict[str, object]:
        return {"row": self.row, "verdict": self.verdict, **self.finding._asdict()}


def line(row: str, finding: Finding) -> Line:
    return Line(row, HOLDS if finding.holds else FAILED, finding)


def stopped(row: str, verdict: str, why: str) -> Line:
    """A row without findings; ``why`` says in its first line what the others explain."""
    first, _, rest = why.strip().partition("\n")
    return Line(row, verdict, Finding(f"({row})", "", first, "", verdict == HOLDS, rest))


def render(lines: Iterable[Line]) -> str:
    """The table; why something failed stands below it."""
    lines = list(lines)
    text = [*_cells(COLUMNS), "  ".join("-" * width for width in WIDTHS)]
    notes: list[str] = []
    for one in lines:
        found = one.finding
        text += _cells((found.what, found.count, found.must, found.result, one.verdict))
        if one.verdict == FAILED and found.details:
            notes.append(f"\n{one.row}: {found.what}\n{textwrap.indent(found.details, '  ')}")
    counts = {v: sum(one.verdict == v for one in lines) for v in (HOLDS, FAILED, MISSING)}
    said = ", ".join(
        f"{count} {'hold' if v == HOLDS and count != 1 else v}" for v, count in counts.items()
    )
    return "\n".join([*text, *notes, "", said])


def _cells(cells: tuple[str, ...]) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, WIDTHS)]
    height = max(len(cell) for cell in wrapped)
    return [
        "  ".join(
            (cell[at] if at < len(cell) else "").ljust(width)
            for cell, width in zip(wrapped, WIDTHS)
        ).rstrip()
        for at in range(height)
    ]
