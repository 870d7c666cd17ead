"""A recording as one HTML file with a player in it: nothing is fetched, nothing else can run. Pure.

The screen is drawn here, not there: the page only shows rows that are ready. All text is set as
text, and the page's own policy lets no script run but its one, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from gshell.cast.cells import BOLD, ITALIC, STRIKE, UNDERLINE, Style
from gshell.cast.format import Cast
from gshell.cast.frames import Film, Runs, film
from gshell.cast.palette import Palette
from gshell.cast.player import SCRIPT, STYLE
from gshell.cast.svg import escaped


def write(cast: Cast) -> str:
    """The whole page."""
    palette = Palette(cast.header)
    title = escaped(cast.header.title or cast.header.command or "Recording")
    style = (
        f":root{{--fg:{palette.foreground};--bg:{palette.background}}}"
        + STYLE
        + (f"#screen{{--columns:{cast.header.columns}}}")
    )
    data = _data(film(cast), palette, _markers(cast))
    # "<" could end the element that it stands in.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    text = text.encode("utf-8", "replace").decode()
    policy = (
        f"default-src 'none'; script-src {_hash(SCRIPT)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n"
        '<div id="frame"><pre id="screen" tabindex="0"></pre></div>\n'
        '<div id="bar"><button id="play" title="space">▶</button>'
        '<input id="seek" type="range" min="0" value="0" step="any" aria-label="time">'
        '<output id="time"></output>'
        '<select id="speed" aria-label="speed"><option value="0.5">0.5×</option>'
        '<option value="1" selected>1×</option><option value="2">2×</option>'
        '<option value="4">4×</option><option value="16">16×</option></select>'
        '<label><input id="idle" type="checkbox" checked> no pause over 2 s</label></div>\n'
        '<p id="markers"></p>\n<noscript>This player needs JavaScript.</noscript>\n'
        f'<script type="application/json" id="data">{text}</script>\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _markers(cast: Cast) -> list[tuple[float, str]]:
    return [(event.at_s, event.data[:200]) for event in cast.events if event.code == "m"]


def _data(reel: Film, palette: Palette, markers: list[tuple[float, str]]) -> dict[str, Any]:
    """Each different row once; each frame as the rows that changed, now and then all of them."""
    styles: dict[tuple[str, str, int], int] = {}
    rows: dict[Runs, int] = {}
    drawn: list[list[Any]] = []

    def number(runs: Runs) -> int:
        if runs not in rows:
            rows[runs] = len(rows)
            drawn.append([part for text, style in runs for part in (text, style_of(style))])
        return rows[runs]

    def style_of(style: Style) -> int:
        look = (*palette.of(style), style.flags & (BOLD | ITALIC | UNDERLINE | STRIKE))
        return styles.setdefault(look, len(styles))

    frames: list[Any] = []
    before: list[int] = []
    for frame in reel.frames:
        now = [number(runs) for runs in frame.rows] + [number(())] * (reel.rows - len(frame.rows))
        changes = [[y, row] for y, row in enumerate(now) if y >= len(before) or row != before[y]]
        x, y = frame.cursor or (-1, -1)
        frames.append([round(frame.at_s, 3), [part for pair in changes for part in pair], x, y])
        before = now
    looks = [
        [fg, bg, bool(flags & BOLD), bool(flags & ITALIC), _lined(flags)]
        for fg, bg, flags in styles
    ]
    return {
        "columns": reel.columns, "height": reel.rows, "duration": round(reel.duration_s, 3),
        "styles": looks, "rows": drawn, "frames": frames,
        "markers": [[round(at, 3), label] for at, label in markers],
    }  # fmt: skip


def _lined(flags: int) -> str:
    lines = (("underline", UNDERLINE), ("line-through", STRIKE))
    return " ".join(name for name, flag in lines if flags & flag)
