"""The report's lines: what was compared, the ratio, the target, the verdict. Measures nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from bench.measure import Samples

OK, SHORT, FAILED, MISSING, INFO = "ok", "SHORT", "FAILED", "missing", "-"


@dataclass(frozen=True)
class Bound:
    """A figure's limit: at most ``value``, or at least (None: none), and what we would like."""

    value: float | None
    stretch: float | None = None
    at_least: bool = False

    def holds(self, figure: float) -> bool:
        if self.value is None:
            return True
        return figure >= self.value if self.at_least else figure <= self.value

    def stretched(self, figure: float) -> bool:
        if self.stretch is None:
            return False
        return figure >= self.stretch if self.at_least else figure <= self.stretch

    def text(self, value: float | None, unit: str = "") -> str:
        if value is None:
            return ""
        return f"{'>=' if self.at_least else '<='} {value:g} {unit}".rstrip()


def at_most(value: float | None, stretch: float | None = None) -> Bound:
    return Bound(value, stretch)


def at_least(value: float | None, stretch: float | None = None) -> Bound:
    return Bound(value, stretch, at_least=True)


@dataclass
class Line:
    """One comparison. ``figure`` is what the bound is on: a ratio, or our figure itself."""

    row: str
    what: str
    ours: str = ""
    peer: str = ""
    theirs: str = ""
    figure: float | None = None
    bound: Bound | None = None
    unit: str = ""
    verdict: str = INFO
    note: str = ""
    raw: dict[str, list[float]] = field(default_factory=dict)

    def judge(self) -> Line:
        if self.figure is not None and self.bound is not None and self.verdict == INFO:
            self.verdict = OK if self.bound.holds(self.figure) else SHORT
        return self

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def against(
    row: str, what: str, ours: Samples, peer: Samples, quantity: str, bound: Bound | None = None
) -> Line:
    """Our median divided by a peer's, held against ``bound``."""
    line = Line(row, what, peer=peer.name, bound=bound)
    if peer.usable and peer.all(quantity):
        line.theirs = _show(peer.median(quantity), quantity)
        line.raw[peer.name] = peer.all(quantity)
    else:
        line.verdict, line.note = _why_not(peer)
    if _take_ours(line, ours, quantity) and line.theirs:
        line.figure = ours.median(quantity) / peer.median(quantity)
    return line.judge()


def alone(row: str, what: str, ours: Samples, quantity: str, bound: Bound | None = None) -> Line:
    """Our median itself, held against ``bound`` (in the quantity's unit)."""
    line = Line(row, what, bound=bound, unit=_unit(quantity))
    if _take_ours(line, ours, quantity):
        line.figure = ours.median(quantity)
    return line.judge()


def failed(row: str, what: str, why: str, *, missing: bool = False) -> Line:
    return Line(row, what, verdict=MISSING if missing else FAILED, note=why)


def _take_ours(line: Line, ours: Samples, quantity: str) -> bool:
    if not ours.usable or not ours.all(quantity):
        line.verdict, line.note = _why_not(ours)
        return False
    line.ours = _show(ours.median(quantity), quantity)
    line.raw[ours.name] = ours.all(quantity)
    return True


def _why_not(samples: Samples) -> tuple[str, str]:
    """The verdict and the note for a contestant without figures."""
    why = samples.missing or samples.failure or "no figure"
    named = why if why.startswith(samples.name.split()[0]) else f"{samples.name}: {why}"
    return (MISSING if samples.missing else FAILED), named


def _unit(quantity: str) -> str:
    return quantity.rpartition(":")[2]


def _show(figure: float, quantity: str) -> str:
    digits = 0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 2
    return f"{figure:.{digits}f} {_unit(quantity)}"


COLUMNS = ("what", "gshell", "beside", "its figure", "ratio", "target", "stretch", "")


def _cells(line: Line) -> tuple[str, ...]:
    ratio = target = stretch = ""
    if line.figure is not None and not line.unit:
        ratio = f"{line.figure:.3f}"
    if line.bound is not None:
        target = line.bound.text(line.bound.value, line.unit)
        if line.bound.stretch is not None:
            stretch = line.bound.text(line.bound.stretch, line.unit)
            if line.figure is not None:
                stretch += " yes" if line.bound.stretched(line.figure) else " no"
    return (line.what, line.ours, line.peer, line.theirs, ratio, target, stretch, line.verdict)


def render(lines: Iterable[Line]) -> str:
    """The table in ASCII; notes (why something failed or is missing) stand below it, numbered."""
    lines = list(lines)
    rows = [_cells(line) for line in lines]
    widths = [max(len(row[i]) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    right = {1, 3, 4}
    notes: list[str] = []

    def shown(row: tuple[str, ...]) -> str:
        cells = [
            c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths))
        ]
        return "  ".join(cells).rstrip()

    text = [shown(COLUMNS), shown(tuple("-" * width for width in widths))]
    for line, row in zip(lines, rows):
        mark = ""
        if line.note:
            if line.note not in notes:
                notes.append(line.note)
            mark = f" ({notes.index(line.note) + 1})"
        text.append(shown(row) + mark)
    text += ["", *(f"({number}) {note}" for number, note in enumerate(notes, 1))]
    counts = {
        verdict: sum(line.verdict == verdict for line in lines)
        for verdict in (OK, SHORT, FAILED, MISSING)
    }
    text += [", ".join(f"{count} {verdict}" for verdict, count in counts.items())]
    return "\n".join(text)
