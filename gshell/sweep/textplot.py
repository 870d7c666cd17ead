"""Plots drawn with characters: braille, or plain ASCII. What is plotted was decided by
`figures.layout`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from gshell.model.sanitize import sanitize
from gshell.sweep.figures import Figure, Layout, Panel

HEIGHT = 12  # lines of a panel, where nobody says how high a screen is
LEAST_HEIGHT, MOST_HEIGHT = 6, 20
AROUND = 5  # lines of a panel: its title, its axis, labels and name, and one that is empty
MARKS, PLAIN_MARKS = "●▲■◆▼★○△□◇", "oxv*#@%&=~"
WRONG, PLAIN_WRONG = "✗", "!"
COLORS = ("36", "33", "32", "35", "34", "31", "96", "93", "92", "95")
NARROW = 76  # columns: with so many and more, two plots are side by side
GUTTER = 3
LEAST_SPAN = 1e-300  # of values: below, what it is divided into is nothing


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
        if high - low < LEAST_SPAN:
            high = low + (abs(low) or 1.0)
        self._y = _scale(low, high, panel.log_y)
        places = list(made.x_labels)
        first, last = min(places), max(places)
        margin = 0.06
        self._x = _scale(
            first, last if last - first > LEAST_SPAN else first + 1, panel.log_x, margin
        )
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
