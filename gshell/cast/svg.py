"""A recording as one SVG file: a still, or moving by itself. No script, no font, nothing fetched;
its text can be selected. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gshell.cast.cells import BLINK, BOLD, ITALIC, STRIKE, UNDERLINE, Style
from gshell.cast.format import Cast
from gshell.cast.frames import Film, Runs, film, still
from gshell.cast.palette import Palette
from gshell.cast.width import text_width

CELL_W, CELL_H, FONT_PX = 8.4, 18, 14  # a monospace font is 0.6 as wide as high
MARGIN, BAR_H = 12, 30
HOLD_S = 2.0  # the last picture, before it begins anew
# XML has no place for these, not even escaped.
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f]")
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


def escaped(text: str) -> str:
    """As text or attribute of XML or HTML."""
    return _NO_XML.sub("\ufffd", text).translate(_TABLE)


_TABLE = str.maketrans(_MARKUP)


def write(cast: Cast, at_s: float | None = None) -> str:
    """``at_s``: the still of that moment; else it moves, for ever anew."""
    reel = film(cast) if at_s is None else still(cast, at_s)
    return _Drawing(reel, Palette(cast.header), cast.header.title or "").text()


class _Drawing:
    def __init__(self, reel: Film, palette: Palette, title: str) -> None:
        self._reel, self._palette, self._title = reel, palette, title
        self._total = max(reel.frames[-1].at_s, reel.duration_s) + HOLD_S
        self._moves = len(reel.frames) > 1
        self._classes: dict[Style, str] = {}

    def text(self) -> str:
        reel, palette = self._reel, self._palette
        width = reel.columns * CELL_W + 2 * MARGIN
        height = reel.rows * CELL_H + MARGIN + BAR_H
        body = [*self._rows(), *self._cursors()]
        title = escaped(self._title)
        lights = "".join(
            f'<circle cx="{x}" cy="15" r="5" fill="{palette.foreground}" opacity=".25"/>'
            for x in (18, 35, 52)
        )
        bar = f'<text class="t" x="{_n(width / 2)}" y="19">{title}</text>' if title else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}" '
            f'viewBox="0 0 {_n(width)} {_n(height)}">\n<title>{title}</title>\n'
            f"<style>{self._style()}</style>\n"
            f'<rect width="100%" height="100%" rx="6" fill="{palette.background}"/>{lights}{bar}\n'
            f'<g transform="translate({MARGIN} {BAR_H})" xml:space="preserve">\n'
            + "\n".join(body)
            + "\n</g>\n</svg>\n"
        )

    def _style(self) -> str:
        palette = self._palette
        rules = [
            f"text{{font:{FONT_PX}px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;"
            f"white-space:pre;fill:{palette.foreground}}}",
            f".t{{text-anchor:middle;font-size:12px;opacity:.6}}.c{{fill:{palette.foreground};"
            "opacity:.55}",
        ]
        for style, name in self._classes.items():
            front, flags = palette.of(style)[0], style.flags
            said = [f"fill:{front}"] if front else []
            said += ["font-weight:bold"] if flags & BOLD else []
            said += ["font-style:italic"] if flags & ITALIC else []
            lines = (
                "underline" if flags & UNDERLINE else "",
                "line-through" * (flags & STRIKE > 0),
            )
            said += [f"text-decoration:{' '.join(lines).strip()}"] if any(lines) else []
            rules.append(f".{name}{{{';'.join(said)}}}")
        return "".join(rules)

    def _rows(self) -> Iterable[str]:
        """Each version of each row once; those that come and go together are one group."""
        frames = self._reel.frames
        together: dict[tuple[tuple[float, float], ...], list[str]] = {}
        for y in range(self._reel.rows):
            spans: dict[Runs, list[tuple[float, float]]] = {}
            start = 0
            for at in range(1, len(frames) + 1):
                now = _row(frames[start].rows, y)
                if at == len(frames) or _row(frames[at].rows, y) != now:
                    end = frames[at].at_s if at < len(frames) else self._total
                    spans.setdefault(now, []).append((frames[start].at_s, end))
                    start = at
            for runs, times in spans.items():
                if runs:
                    together.setdefault(tuple(times), []).append(self._drawn(runs, y))
        for shown, drawn in together.items():
            yield self._shown("".join(drawn), list(shown))

    def _drawn(self, runs: Runs, y: int) -> str:
        backs, texts = [], []
        x = 0
        for text, style in runs:
            width = text_width(text)
            back = self._palette.of(style)[1]
            if back:
                backs.append(
                    f'<rect x="{_n(x * CELL_W)}" y="{y * CELL_H}" width="{_n(width * CELL_W)}" '
                    f'height="{CELL_H}" fill="{back}"/>'
                )
            if text.strip():
                texts.append(self._run(text, style, x, y, width))
            x += width
        return "".join(backs + texts)

    def _run(self, text: str, style: Style, x: int, y: int, width: int) -> str:
        kept = text.lstrip(" ")
        x += len(text) - len(kept)
        width -= len(text) - len(kept)
        if not style.flags & (UNDERLINE | STRIKE):
            width -= len(kept) - len(kept.rstrip(" "))
            kept = kept.rstrip(" ")
        name = ""
        if style._replace(bg=-1, flags=style.flags & ~BLINK) != Style():
            known = self._classes.setdefault(style, f"s{len(self._classes)}")
            name = f' class="{known}"'
        # The length keeps columns in line, whatever font there is.
        return (
            f'<text{name} x="{_n(x * CELL_W)}" y="{y * CELL_H + 14}" '
            f'textLength="{_n(width * CELL_W)}">{escaped(kept)}</text>'
        )

    def _cursors(self) -> Iterable[str]:
        frames = self._reel.frames
        spans: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for at, frame in enumerate(frames):
            end = frames[at + 1].at_s if at + 1 < len(frames) else self._total
            if frame.cursor is not None:
                times = spans.setdefault(frame.cursor, [])
                if times and times[-1][1] == frame.at_s:
                    times[-1] = (times[-1][0], end)
                else:
                    times.append((frame.at_s, end))
        for (x, y), times in spans.items():
            box = (
                f'<rect class="c" x="{_n(x * CELL_W)}" y="{y * CELL_H}" '
                f'width="{CELL_W}" height="{CELL_H}"/>'
            )
            yield self._shown(box, times)

    def _shown(self, drawn: str, times: list[tuple[float, float]]) -> str:
        if not self._moves or times == [(0.0, self._total)]:
            return f"<g>{drawn}</g>"
        steps = [] if times[0][0] <= 0 else [("hidden", 0.0)]
        for start, end in times:
            steps.append(("visible", start))
            if end < self._total:
                steps.append(("hidden", end))
        values = [value for value, _ in steps]
        moments = ";".join(
            f"{at / self._total:.6f}".rstrip("0").rstrip(".") or "0" for _, at in steps
        )
        return (
            f'<g visibility="{values[0]}">{drawn}<animate attributeName="visibility" '
            f'calcMode="discrete" dur="{_n(self._total)}s" repeatCount="indefinite" '
            f'values="{";".join(values)}" keyTimes="{moments}"/></g>'
        )


def _row(rows: tuple[Runs, ...], y: int) -> Runs:
    return rows[y] if y < len(rows) else ()


def _n(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".")
