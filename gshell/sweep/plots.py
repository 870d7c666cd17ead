"""Plots as PNG, SVG and PDF, with matplotlib: the one module that knows it. What is plotted was
decided by `textplot.layout`."""

from __future__ import annotations

import math
import os
from typing import Any

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep.space import slugify
from gshell.sweep.textplot import Figure, Layout, Panel

ENDINGS = (".png", ".svg", ".pdf")
# Told apart by most colour-blind people, in print too: after Okabe and Ito.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")
MARKERS = "osD^vP*X"
STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 8.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#e4e4e4", "grid.linewidth": 0.7, "axes.axisbelow": True,
    "svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "gshell",
    "axes.edgecolor": "#555555", "axes.titlelocation": "left",
}  # fmt: skip
PANEL = (4.3, 3.1)  # inches
DPI = 150
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
    written = []
    for number, figure in enumerate(made.figures):
        name = path
        if len(made.figures) > 1:
            name = f"{base}-{slugify(figure.title) or number}{ending}"
        # Nothing of the time of day in it: the same results are the same file.
        known = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        with matplotlib.rc_context(STYLE):
            sheet = Sheet(layout="constrained")
            FigureCanvasAgg(sheet)
            _sheet(sheet, made, figure, title)
            part = f"{name}.{os.getpid()}.part"
            sheet.savefig(part, dpi=DPI, format=ending[1:].lower(), metadata=known[ending.lower()])
            os.replace(part, name)
        written.append(name)
    return written


def _sheet(sheet: Any, made: Layout, figure: Figure, title: str) -> None:
    columns = 1 if len(figure.panels) == 1 else 2
    rows = math.ceil(len(figure.panels) / columns)
    sheet.set_size_inches(PANEL[0] * columns + 0.2, PANEL[1] * rows + 0.7)
    words = "  ·  ".join(part for part in (title, figure.title) if part)
    sheet.suptitle(words, x=0.012, ha="left", fontsize=12, fontweight="bold")
    known: dict[str, Any] = {}
    for number, panel in enumerate(figure.panels):
        axes = sheet.add_subplot(rows, columns, number + 1)
        known = {**_panel(axes, made, panel), **known}
    if known:
        order = sorted(known, key=lambda name: name in ("ideal", "not verified"))
        note = max(mark.y.runs for line in figure.panels[0].lines for mark in line.marks)
        sheet.legend(
            [known[name] for name in order], order, loc="outside lower left", frameon=False,
            ncols=min(6, len(order)),
            title=f"median of {note} runs; bars from the least to the most" if note > 1 else None,
            title_fontsize=8, alignment="left",
        )  # fmt: skip


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
        color = COLORS[number % len(COLORS)]
        # A little apart: bars of two lines would hide each other.
        aside = (number - (len(panel.lines) - 1) / 2) * ASIDE * min(1.0, 4 / len(panel.lines))
        x = [_aside(mark.x, places, panel.log_x, aside) for mark in one.marks]
        y = [mark.y.median for mark in one.marks]
        below = [mark.y.median - mark.y.least for mark in one.marks]
        above = [mark.y.most - mark.y.median for mark in one.marks]
        drawn = axes.errorbar(
            x, y, yerr=[below, above], color=color, marker=MARKERS[number % len(MARKERS)],
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


def _labels(axes: Any, made: Layout, panel: Panel, places: list[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_title(panel.title)
    axes.set_xlabel(made.x_title)
    if len(places) <= 12:
        axes.set_xticks(places, [made.x_labels[place] for place in places])
        axes.xaxis.set_minor_locator(NullLocator())
    if panel.log_y:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        low, high = axes.get_ylim()
        if panel.value != "speedup" and high / low < 1000:
            axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        if axes.get_ylim()[1] >= 10_000:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if len(places) > 1 and not panel.log_x:
        room = (places[-1] - places[0]) * 0.06
        axes.set_xlim(places[0] - room, places[-1] + room)
