"""Names of files in columns. Pure, but for the width of the screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gshell.client.render import bytes_text, display_width
from gshell.model.sanitize import sanitize

if TYPE_CHECKING:
    from gshell.net.filewire import Entry


def names(entries: Sequence[Entry], long: bool, one_a_line: bool) -> str:
    """As `ls` does: directories with a slash."""
    shown = sorted(((_shown(e), e) for e in entries), key=lambda pair: pair[0])
    if long:
        return "".join(f"{_facts(entry)}  {name}\n" for name, entry in shown)
    if one_a_line or not sys.stdout.isatty():
        return "".join(f"{name}\n" for name, _ in shown)
    import os

    try:
        width = os.get_terminal_size(1).columns or 80
    except OSError:
        width = 80
    return columns([name for name, _ in shown], width)


def columns(shown: Sequence[str], width: int) -> str:
    """
    >>> columns(["a", "bb", "c"], 7)
    'a   c\\nbb\\n'
    """
    if not shown:
        return ""
    widest = max(map(display_width, shown)) + 2
    count = max(1, (width + 1) // widest)
    rows = -(-len(shown) // count)
    lines = []
    for row in range(rows):
        cells = shown[row::rows]
        line = "".join(cell + " " * (widest - display_width(cell)) for cell in cells)
        lines.append(line.rstrip() + "\n")
    return "".join(lines)


def _shown(entry: Entry) -> str:
    return sanitize(entry.base.rstrip("/").rpartition("/")[2]) + ("/" if entry.kind == "d" else "")


def _facts(entry: Entry) -> str:
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(entry.mtime_ns / 1e9, 1e11)))
    return f"{entry.mode & 0o777:03o} {bytes_text(entry.size):>9}  {at}"
