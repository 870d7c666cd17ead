"""Plots as PNG, SVG and PDF, with matplotlib: the one module that knows it. What is plotted was
decided by `figures.layout`."""

from __future__ import annotations

import io
import math
import os
from typing import Any

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep.figures import Figure, Layout, Panel
from gshell.sweep.results import replace
from gshell.sweep.space import slugify

ENDINGS = (".png", ".svg", ".pdf")
# Told apart by most colour-blind people, in print too: after Okabe and Ito.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")
MARKERS = "osD^vP*X"
STROKES = ("-", "--", ":", "-.")
STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 8.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#e4e4e4", "grid.linewidth": 0.7, "axes.axisbelow": True,
    "svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "gshell",
    "axes.edgecolor": "#555555", "axes.titlelocation": "left",
}  # fmt: skip
PANEL = (4.3, 3.1)  # inches
DPI = 150
CHARACTER, SIGN = 0.068, 7  # inches of one in a legend; how many a line's sign takes
MOST_DIGITS = 1e12  # above, a value is said in powers of ten
MOST_LABELS, FITTING = 16, 48  # of an axis; characters on it without slanting
LABELLED = 0.045  # of the axis, at least, between two places with a label
ASIDE = 0.008  # of the axis, between two lines


def write(made: Layout, path: str, title: str) -> list[str]:
    """The files that were written: ``path``, or one for each figure with its name in it.

    Raises:
        UsageError: another ending, or there is no matplotlib.
    """
    base, ending = os.path.splitext(path)
    if ending.lower() not in ENDINGS:
        raise UsageError(
            f"{sanitize(path)}: a plot is written as {', '.join(ENDINGS)}", "-o plot.png"
        )
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as Sheet
    except ImportError:
        raise UsageError(
            "no PNG, SVG or PDF without matplotlib", "pip install 'gshell[plots]'"
        ) from None
    names = _names(made, base, ending)
    for name, figure in zip(names, made.figures, strict=True):
        # Nothing of the time of day in it: the same results are the same file.
        known = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        with matplotlib.rc_context(STYLE):
            sheet = Sheet(layout="constrained")
            FigureCanvasAgg(sheet)
            _sheet(sheet, made, figure, title)
            drawn = io.BytesIO()
            kind = ending.lower()
            sheet.savefig(drawn, dpi=DPI, format=kind[1:], metadata=known[kind])
            replace(name, drawn.getvalue())
    return names


def _names(made: Layout, base: str, ending: str) -> list[str]:
    """A file for each figure: two clusters called A and a have two."""
    if len(made.figures) == 1:
        return [base + ending]
    names: list[str] = []
    for number, figure in enumerate(made.figures, 1):
        name = f"{base}-{slugify(figure.title) or number}{ending}"
        names.append(name if name not in names else f"{name[: -len(ending)]}-{number}{ending}")
    return names


def _sheet(sheet: Any, made: Layout, figure: Figure, title: str) -> None:
    columns = 1 if len(figure.panels) == 1 else 2
    rows = math.ceil(len(figure.panels) / columns)
    wide = PANEL[0] * columns + 0.2
    sheet.set_size_inches(wide, PANEL[1] * rows + 0.7)
    words = "  ·  ".join(part for part in (title, figure.title) if part)
    sheet.suptitle(words, x=0.012, ha="left", fontsize=12, fontweight="bold")
    known: dict[str, Any] = {}
    for number, panel in enumerate(figure.panels):
        axes = sheet.add_subplot(rows, columns, number + 1)
        known = {**_panel(axes, made, panel), **known}
    below = 1
    if known:
        order = sorted(known, key=lambda name: name in ("ideal", "not verified"))
        note = max(mark.y.runs for line in figure.panels[0].lines for mark in line.marks)
        room = int(wide / (CHARACTER * (max(map(len, order)) + SIGN)))
        beside = max(1, min(6, len(order), room))
        below = math.ceil(len(order) / beside)
        sheet.legend(
            [known[name] for name in order], order, loc="outside lower left", frameon=False,
            ncols=beside,
            title=f"median of {note} runs; bars from the least to the most" if note > 1 else None,
            title_fontsize=8, alignment="left",
        )  # fmt: skip
    labels = list(made.x_labels.values())
    slanted = rows * CHARACTER * 0.5 * max(map(len, labels)) if _are_crowded(labels) else 0.0
    sheet.set_size_inches(wide, PANEL[1] * rows + 0.5 + 0.2 * below + slanted)


def _are_crowded(labels: list[str]) -> bool:
    return len(labels) <= MOST_LABELS and sum(map(len, labels)) + 2 * len(labels) > FITTING


def _panel(axes: Any, made: Layout, panel: Panel) -> dict[str, Any]:
    """Drawn; its lines by name, for the legend."""
    known: dict[str, Any] = {}
    places = sorted(made.x_labels)
    if panel.ideal:
        (line,) = axes.plot(
            places, [panel.ideal_at(x) for x in places], color="#888888", linewidth=1,
            linestyle=(0, (4, 3)), zorder=1,
        )  # fmt: skip
        known["ideal"] = line
    for number, one in enumerate(panel.lines):
        color = COLORS[one.number % len(COLORS)]
        again = one.number // len(COLORS)  # round: other signs, other strokes
        # A little apart: bars of two lines would hide each other.
        aside = (number - (len(panel.lines) - 1) / 2) * ASIDE * min(1.0, 4 / len(panel.lines))
        x = [_aside(mark.x, places, panel.log_x, aside) for mark in one.marks]
        y = [mark.y.median for mark in one.marks]
        below = [mark.y.median - mark.y.least for mark in one.marks]
        above = [mark.y.most - mark.y.median for mark in one.marks]
        drawn = axes.errorbar(
            x, y, yerr=[below, above], color=color,
            marker=MARKERS[(one.number + again) % len(MARKERS)],
            linestyle=STROKES[again % len(STROKES)],
            markersize=5, linewidth=1.5, elinewidth=1, capsize=3, zorder=3,
            markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
        if one.name:
            known[one.name] = drawn
        wrong = [mark for mark in one.marks if not mark.y.verified]
        if wrong:
            known["not verified"] = axes.scatter(
                [_aside(mark.x, places, panel.log_x, aside) for mark in wrong],
                [mark.y.median for mark in wrong],
                marker="x", s=70, linewidths=2, color="#c00000", zorder=4,
            )  # fmt: skip
    if panel.log_x:
        axes.set_xscale("log", base=2)
    if panel.log_y:
        axes.set_yscale("log", base=2 if panel.value == "speedup" else 10)
    _labels(axes, made, panel, places)
    return known


def _aside(x: float, places: list[float], log: bool, part: float) -> float:
    """``x``, moved by that part of the axis."""
    if log:
        return x * float((places[-1] / places[0]) ** part)
    return x + (places[-1] - places[0]) * part


def _apart(places: list[float], log: bool) -> list[float]:
    """Those whose labels do not stand on each other; the last one is always there."""
    at = {place: math.log(place) if log else place for place in places}
    least = (at[places[-1]] - at[places[0]]) * LABELLED
    shown = [places[-1]]
    for place in reversed(places[:-1]):
        if at[shown[-1]] - at[place] >= least:
            shown.append(place)
    return shown[::-1]


def _labels(axes: Any, made: Layout, panel: Panel, places: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_title(panel.title)
    axes.set_xlabel(made.x_title)
    shown = _apart(places, panel.log_x)
    if len(shown) <= MOST_LABELS:
        words = [made.x_labels[place] for place in shown]
        slanted: Any = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(shown, words, **(slanted if _are_crowded(words) else {}))
        axes.xaxis.set_minor_locator(NullLocator())
    if panel.log_y:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        low, high = axes.get_ylim()
        if panel.value != "speedup" and high / low < 1000:
            axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        least = min(mark.y.least for line in panel.lines for mark in line.marks)
        axes.set_ylim(bottom=0.0 if least >= 0 else axes.get_ylim()[0])
        if 10_000 <= axes.get_ylim()[1] < MOST_DIGITS:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if len(places) > 1 and not panel.log_x:
        room = (places[-1] - places[0]) * 0.06
        axes.set_xlim(places[0] - room, places[-1] + room)
