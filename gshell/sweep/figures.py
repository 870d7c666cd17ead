"""Which plots a table of results makes: what is on which axis, in which line. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
MOST_LABEL, MOST_NAME = 40, 80  # columns of a level at an axis, of a line's or a figure's name
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
        figure = Figure(sanitize(title, MOST_NAME), [panel for panel in panels if panel.lines])
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
        is_number(one) or isinstance(one, float) for one in found
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
        return {level: float(level) for level in sorted(filter(is_number, levels))}
    return {level: float(number) for number, level in enumerate(levels)}


def _label(level: Any) -> str:
    return f"{level:.6g}" if isinstance(level, float) else sanitize(str(level), MOST_LABEL)


def _is_geometric(levels: Sequence[Any]) -> bool:
    numbers = [one for one in levels if is_number(one)]
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
            lines.append(Line(sanitize(words, MOST_NAME), marks, numbers[key]))
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
        if is_number(one.most) and one.least > 0:
            made.append(Mark(mark.x, one))
    return made
