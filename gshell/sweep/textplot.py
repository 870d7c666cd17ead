"""Which plots a table of results makes, and these drawn with characters. Knows no other drawing.

`layout` decides what is on which axis; `draw` draws it in braille, or plain ASCII.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep.experiment import REPETITION
from gshell.sweep.results import Spread, Table, is_number, spread
from gshell.sweep.toml import meant

X_NAMES = ("n_core", "n_cores", "cores", "ranks", "n_ranks", "np", "procs", "processes", "threads",
           "nodes", "n")  # fmt: skip
FIGURE_NAMES = ("cluster", "site", "machine", "host")
DERIVED = ("speedup", "efficiency")
VALUES = ("seconds", "mops", *DERIVED)
TITLES = {
    "seconds": "time (s)", "mops": "Mop/s", "speedup": "speed-up", "efficiency": "efficiency",
    "n_core": "cores", "n_cores": "cores", "ranks": "MPI ranks", "mops_per_process": "Mop/s each",
}  # fmt: skip
UNITS = {
    **{unit: unit for unit in ("s", "ms", "us", "ns", "min", "h", "bytes", "percent")},
    "kb": "kB", "mb": "MB", "gb": "GB", "kib": "KiB", "mib": "MiB", "gib": "GiB", "mhz": "MHz",
    "ghz": "GHz", "mbps": "Mbit/s", "gbps": "Gbit/s", "w": "W", "j": "J", "kj": "kJ",
}  # fmt: skip
LOG_FROM = 20.0  # a range of values of so much and more is drawn in powers


class Mark(NamedTuple):
    """A point of a plot."""

    x: float
    y: Spread


@dataclass
class Line:
    name: str
    marks: list[Mark]
    number: int = 0
    """By which it has its colour and its sign: the same in all figures."""


@dataclass
class Panel:
    """One value against x."""

    value: str
    title: str
    lines: list[Line]
    log_x: bool
    log_y: bool
    ideal: bool = False
    """There is a best that can be hoped for: x, or 1."""

    def ideal_at(self, x: float) -> float:
        return x if self.value == "speedup" else 1.0


@dataclass
class Figure:
    title: str
    panels: list[Panel]


@dataclass
class Layout:
    """All plots of a table."""

    x: str
    x_title: str
    x_labels: dict[float, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)


def title_of(name: str) -> str:
    """``latency_us`` is ``latency (us)``."""
    words, _, unit = name.rpartition("_")
    if words and unit in UNITS and name not in TITLES:
        return f"{words.replace('_', ' ')} ({UNITS[unit]})"
    return TITLES.get(name, name.replace("_", " "))


# ------------------------------------------------------------------------------ what is plotted


def layout(table: Table, x: Any, lines: Any, figures: Any, values: Any) -> Layout:
    """What is None is guessed: x is a number of cores or the factor with the most levels, values
    are times, Mop/s, speed-up and efficiency if there are times.

    Raises:
        UsageError: a name that is no column's, or nothing to be plotted.
    """
    factors = [name for name in table.factors if name != REPETITION]
    if not factors:
        factors = _guess_factors(table)
    numeric = [name for name in table.columns if _is_numeric(table, name)]
    for name in [x, *_several(lines), *_several(figures)]:
        if name:
            _known(name, table.columns)
    for name in _several(values):
        _known(name, [*table.columns, *DERIVED])
    x = x or _guess_x(table, factors, numeric)
    others = [name for name in factors if name != x and len(_levels(table, name)) > 1]
    apart = _several(figures) or [
        name for name in others if name in FIGURE_NAMES and name not in _several(lines)
    ]
    along = _several(lines) or [name for name in others if name not in apart]
    if lines and not figures:
        apart = [name for name in others if name not in along]
    wanted = _several(values) or _guess_values(table, numeric, [x, *factors])
    places = _places(table, x)
    made = Layout(x, title_of(x), {at: _label(level) for level, at in places.items()})
    numbers: dict[Any, int] = {}
    for key in _groups(table.rows, along):
        numbers[key] = len(numbers)
    log_x = _is_geometric(list(places)) and x in numeric
    for key, rows in _groups(table.rows, apart).items():
        title = ", ".join(f"{name} {level}" for name, level in zip(apart, key, strict=True))
        panels = [_panel(rows, x, places, along, name, log_x, numbers) for name in wanted]
        figure = Figure(sanitize(title), [panel for panel in panels if panel.lines])
        if figure.panels:
            made.figures.append(figure)
    if not made.figures:
        raise UsageError(
            f"nothing to plot: no numbers in {', '.join(wanted) or 'the results'}",
            "gshell sweep show --all",
        )
    return made


def _guess_factors(table: Table) -> list[str]:
    """Of a table that does not say: what has such a name, and words that say more than those
    before them (a class's grid does not)."""
    found: list[str] = []
    for name in table.columns:
        words = all(isinstance(row.get(name), str | None) for row in table.rows)
        able = name in (*X_NAMES, *FIGURE_NAMES) or (words and name != REPETITION)
        first = name in X_NAMES and not set(X_NAMES) & set(found)
        more = len(_groups(table.rows, [*found, name])) > len(_groups(table.rows, found))
        if first or (able and more):
            found.append(name)
    return found


def _several(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


def _known(name: str, columns: Sequence[str]) -> None:
    if name not in columns:
        near = meant(name, columns)
        also = f"; did you mean {near!r}?" if near else ""
        raise UsageError(f"there is no column {name!r}{also}", "one of " + ", ".join(columns))


def _is_numeric(table: Table, name: str) -> bool:
    found = [row[name] for row in table.rows if row.get(name) is not None]
    return any(map(is_number, found)) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in found
    )


def _levels(table: Table, name: str) -> list[Any]:
    return list(dict.fromkeys(row.get(name) for row in table.rows))


def _guess_x(table: Table, factors: Sequence[str], numeric: Sequence[str]) -> str:
    for name in X_NAMES:
        if name in factors and name in numeric:
            return name
    able = [name for name in factors if name in numeric] or list(factors)
    if not able:
        raise UsageError("nothing was varied: what is to be on the horizontal axis?", "-x NAME")
    return max(able, key=lambda name: len(_levels(table, name)))


def _guess_values(table: Table, numeric: Sequence[str], taken: Sequence[str]) -> list[str]:
    if "seconds" in numeric:
        return [name for name in VALUES if name in numeric or name in DERIVED]
    free = [name for name in numeric if name not in taken and name != REPETITION]
    return free[:4]


def _places(table: Table, x: str) -> dict[Any, float]:
    """Level -> where on the axis: numbers are where they are, words one beside the other."""
    levels = [level for level in _levels(table, x) if level is not None and level == level]
    if _is_numeric(table, x):
        return {level: float(level) for level in sorted(levels)}
    return {level: float(number) for number, level in enumerate(levels)}


def _label(level: Any) -> str:
    return f"{level:.6g}" if isinstance(level, float) else sanitize(str(level))


def _is_geometric(levels: Sequence[Any]) -> bool:
    numbers = [one for one in levels if isinstance(one, int | float)]
    if len(numbers) < 3 or len(numbers) < len(levels) or min(numbers) <= 0:
        return False
    return max(numbers) / min(numbers) >= 4 and numbers[-1] - numbers[-2] > 1.4 * (
        numbers[1] - numbers[0]
    )


def _groups(rows: Iterable[dict[str, Any]], keys: Sequence[str]) -> dict[Any, list[dict[str, Any]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return groups


def _panel(
    rows: list[dict[str, Any]], x: str, places: dict[Any, float], along: list[str], name: str,
    log_x: bool, numbers: dict[Any, int],
) -> Panel:  # fmt: skip
    lines = []
    for key, ours in _groups(rows, along).items():
        of = spread(ours, [x], "seconds" if name in DERIVED and not _has(ours, name) else name)
        marks = sorted(Mark(places[level], one) for (level,), one in of.items() if level in places)
        if name in DERIVED and not _has(ours, name):
            marks = _relative(marks, name)
        words = ", ".join(
            f"{title_of(part)} {level}" for part, level in zip(along, key, strict=True)
        )
        if marks:
            lines.append(Line(sanitize(words), marks, numbers[key]))
    figures = [mark.y for line in lines for mark in line.marks]
    least = min((one.least for one in figures), default=0.0)
    most = max((one.most for one in figures), default=0.0)
    log_y = name not in DERIVED and least > 0 and most / least >= LOG_FROM
    title = title_of(name)
    return Panel(
        name, title, lines, log_x, log_y or (name == "speedup" and log_x and least > 0),
        name in DERIVED,
    )  # fmt: skip


def _has(rows: Iterable[dict[str, Any]], name: str) -> bool:
    return any(row.get(name) is not None for row in rows)


def _relative(marks: list[Mark], name: str) -> list[Mark]:
    """Against the smallest x of the line, which is taken to be as good as can be."""
    if not marks or marks[0].x <= 0 or marks[0].y.median <= 0:
        return []
    base = marks[0].x * marks[0].y.median
    made = []
    for mark in marks:
        if mark.y.least <= 0:
            continue
        by = base if name == "speedup" else base / mark.x
        one = mark.y._replace(
            median=by / mark.y.median, least=by / mark.y.most, most=by / mark.y.least
        )
        made.append(Mark(mark.x, one))
    return made


# ------------------------------------------------------------------------------------ drawing it

HEIGHT = 12  # lines of a panel, where nobody says how high a screen is
LEAST_HEIGHT, MOST_HEIGHT = 6, 20
AROUND = 5  # lines of a panel: its title, its axis, labels and name, and one that is empty
MARKS, PLAIN_MARKS = "●▲■◆▼★○△□◇", "oxv*#@%&=~"
WRONG, PLAIN_WRONG = "✗", "!"
COLORS = ("36", "33", "32", "35", "34", "31", "96", "93", "92", "95")
NARROW = 76  # columns: with so many and more, two plots are side by side
GUTTER = 3


def draw(made: Layout, width: int, color: bool, plain: bool, height: int | None = None) -> str:
    """Lines of text, at most ``width`` columns. ``plain``: nothing but ASCII. ``height``: of the
    screen that a figure should fit on."""
    blocks = []
    for figure in made.figures:
        beside = 2 if width >= NARROW and len(figure.panels) > 1 else 1
        room = (width - GUTTER * (beside - 1)) // beside
        high = HEIGHT
        if height is not None:
            rows = math.ceil(len(figure.panels) / beside)
            others = 2 + bool(figure.title) - (rows == 1)  # legend, prompt
            high = (height - others) // rows - AROUND
            high = max(LEAST_HEIGHT, min(MOST_HEIGHT, high))
        drawn = [_Canvas(made, panel, room, high, color, plain).lines() for panel in figure.panels]
        lines = [f"{figure.title}"] if figure.title else []
        for at in range(0, len(drawn), beside):
            row = drawn[at : at + beside]
            lines += [(" " * GUTTER).join(parts).rstrip() for parts in zip(*row, strict=True)]
            lines.append("")
        lines += _legend(figure, width, color, plain)
        blocks.append("\n".join(lines).rstrip())
    return "\n\n".join(blocks)


def _legend(figure: Figure, width: int, color: bool, plain: bool) -> list[str]:
    lines = figure.panels[0].lines
    parts = [
        _paint(_mark(line.number, plain), line.number, color) + " " + line.name
        for line in lines
        if line.name
    ]
    if any(not mark.y.verified for panel in figure.panels for line in panel.lines
           for mark in line.marks):  # fmt: skip
        parts.append((PLAIN_WRONG if plain else WRONG) + " not verified")
    if any(panel.ideal for panel in figure.panels):
        parts.append((". " if plain else "⠒ ") + "ideal")
    most = max(mark.y.runs for line in lines for mark in line.marks)
    if most > 1:
        parts.append(f"median of {most}, least to most")
    rows: list[str] = []
    used = 0
    for part in parts:  # escapes take no room
        long = len(re.sub("\x1b\\[[0-9;]*m", "", part))
        if rows and used + 3 + long <= width:
            rows[-1] += "   " + part
            used += 3 + long
        else:
            rows.append(part)
            used = long
    return rows


def _mark(number: int, plain: bool) -> str:
    marks = PLAIN_MARKS if plain else MARKS
    return marks[number % len(marks)]


def _paint(text: str, number: int | None, color: bool) -> str:
    if not color or number is None:
        return text
    return f"\x1b[{COLORS[number % len(COLORS)]}m{text}\x1b[0m"


class _Canvas:
    """One panel. A cell has 2 x 4 dots of braille, and on top of them perhaps a mark."""

    def __init__(
        self, made: Layout, panel: Panel, width: int, height: int, color: bool, plain: bool
    ) -> None:
        self._height = height
        self._made, self._panel, self._color, self._plain = made, panel, color, plain
        values = [mark.y for line in panel.lines for mark in line.marks]
        low = min(one.least for one in values)
        high = max(one.most for one in values)
        if not panel.log_y:
            low = min(0.0, low)
        if panel.ideal and not panel.log_y:
            high = max(high, 1.0)
        if panel.ideal and panel.log_y:
            high = max(high, *(mark.x for line in panel.lines for mark in line.marks))
        if high <= low:
            high = low + (abs(low) or 1.0)
        self._y = _scale(low, high, panel.log_y)
        places = list(made.x_labels)
        first, last = min(places), max(places)
        margin = 0.06
        self._x = _scale(first, last if last > first else first + 1, panel.log_x, margin)
        powers = _ticks_of_two(low, high) if panel.log_y and panel.value == "speedup" else []
        self._ticks = powers or _ticks(low, high, panel.log_y)
        self._labels = [_number(one) for one in self._ticks]
        self._left = max(map(len, self._labels)) + 1
        self._columns = max(8, width - self._left - 1)
        self._width = self._left + 1 + self._columns
        self._dots: dict[tuple[int, int], int] = {}
        self._owner: dict[tuple[int, int], int | None] = {}
        self._marks: dict[tuple[int, int], tuple[str, int | None]] = {}

    def lines(self) -> list[str]:
        panel = self._panel
        if panel.ideal:
            first, last = min(self._made.x_labels), max(self._made.x_labels)
            begin, end = (first, panel.ideal_at(first)), (last, panel.ideal_at(last))
            self._segment(begin, end, None, 3)
        for line in panel.lines:
            for before, after in zip(line.marks, line.marks[1:], strict=False):
                begin, end = (before.x, before.y.median), (after.x, after.y.median)
                self._segment(begin, end, line.number, 1)
            for mark in line.marks:
                if mark.y.most > mark.y.least:
                    self._segment((mark.x, mark.y.least), (mark.x, mark.y.most), line.number, 1)
        for line in panel.lines:
            for mark in line.marks:
                sign = _mark(line.number, self._plain)
                if not mark.y.verified:
                    sign = PLAIN_WRONG if self._plain else WRONG
                column, row = self._dot(mark.x, mark.y.median)
                self._marks[column // 2, row // 4] = (sign, line.number)
        title = f"{' ' * self._left} {panel.title}"
        return [title[: self._width].ljust(self._width), *self._body(), *self._foot()]

    def _dot(self, x: float, y: float) -> tuple[int, int]:
        column = round(self._x(x) * (self._columns * 2 - 1))
        row = round((1 - self._y(y)) * (self._height * 4 - 1))
        return min(max(column, 0), self._columns * 2 - 1), min(max(row, 0), self._height * 4 - 1)

    def _segment(
        self, begin: tuple[float, float], end: tuple[float, float], number: int | None, every: int
    ) -> None:
        (left, top), (right, bottom) = self._dot(*begin), self._dot(*end)
        steps = max(abs(right - left), abs(bottom - top), 1)
        for step in range(0, steps + 1, every):
            column = left + round((right - left) * step / steps)
            row = top + round((bottom - top) * step / steps)
            cell = (column // 2, row // 4)
            bit = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))[row % 4][column % 2]
            self._dots[cell] = self._dots.get(cell, 0) | bit
            if number is not None or cell not in self._owner:
                self._owner[cell] = number

    def _body(self) -> list[str]:
        labels = {}
        for tick, label in zip(self._ticks, self._labels, strict=True):
            labels[self._dot(1.0, tick)[1] // 4] = label
        lines = []
        for row in range(self._height):
            edge = ("+" if row in labels else "|") if self._plain else "┤" if row in labels else "│"
            cells = [self._cell(column, row) for column in range(self._columns)]
            lines.append(labels.get(row, "").rjust(self._left) + edge + "".join(cells))
        return lines

    def _cell(self, column: int, row: int) -> str:
        mark = self._marks.get((column, row))
        if mark is not None:
            return _paint(mark[0], mark[1], self._color)
        dots = self._dots.get((column, row))
        if not dots:
            return " "
        text = "." if self._plain else chr(0x2800 + dots)
        return _paint(text, self._owner.get((column, row)), self._color)

    def _foot(self) -> list[str]:
        axis = ["-" if self._plain else "─"] * self._columns
        words = [" "] * (self._columns + self._left + 1)
        free = 0
        for place, label in self._made.x_labels.items():
            column = self._dot(place, 1.0)[0] // 2
            axis[column] = "+" if self._plain else "┬"
            label = sanitize(label, 12)
            begin = column + self._left + 1 - len(label) // 2
            if begin >= free and begin + len(label) <= len(words):  # else on its neighbour
                words[begin : begin + len(label)] = label
                free = begin + len(label) + 1
        corner = "+" if self._plain else "└"
        name = self._made.x_title
        return [
            " " * self._left + corner + "".join(axis),
            "".join(words),
            name.rjust(self._width)[-self._width :],
        ]


def _scale(low: float, high: float, log: bool, margin: float = 0.0) -> Callable[[float], float]:
    """A function to 0 ... 1."""
    if log:
        low, high = math.log(low), math.log(high)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        value = math.log(value) if log else value
        return margin + (1 - 2 * margin) * (value - low) / span

    return at


def _ticks(low: float, high: float, log: bool) -> list[float]:
    """A handful of round numbers within."""
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        for steps in ((1,), (1, 3), (1, 2, 5)):
            found = [
                step * 10.0**power for power in range(first, last + 1) for step in steps
                if low <= step * 10.0**power <= high
            ]  # fmt: skip
            if len(found) >= 3:
                return found
        return [low, high]
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    for times in (1, 2, 5, 10):
        if (high - low) / (step * times) <= 5:
            step *= times
            break
    count = math.floor(high / step + 1e-9)
    return [step * number for number in range(math.ceil(low / step - 1e-9), count + 1)]


def _ticks_of_two(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    step = 1 + (last - first) // 5
    found = [2.0**power for power in range(first, last + 1) if power % step == 0]
    return found if len(found) >= 3 else []


def _number(value: float) -> str:
    if value and not 0.001 <= abs(value) < 1_000_000:
        return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:.6g}"
