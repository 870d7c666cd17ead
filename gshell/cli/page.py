"""A text that is shown anew again and again: in place on a terminal, one after the other elsewhere.

Only lines that have changed are written: nothing flickers, and a slow link has little to carry.
"""

from __future__ import annotations

import os
import sys


def changed_lines(before: list[str], lines: list[str]) -> str:
    """What a terminal must be told that shows ``before`` from its first line on."""
    parts = [
        f"\x1b[{number + 1};1H{line}\x1b[m\x1b[K"
        for number, line in enumerate(lines)
        if number >= len(before) or line != before[number]
    ]
    if len(lines) < len(before):
        parts.append(f"\x1b[{len(lines) + 1};1H\x1b[J")
    return "".join(parts)


class Page:
    """Owns the screen from the first `show` to `leave`, where there is a terminal that can."""

    def __init__(self, live: bool | None = None) -> None:
        """``live``: in place; else that is found out."""
        able = os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
        self.live = (sys.stdout.isatty() and able) if live is None else live and able
        self._lines: list[str] = []
        self._size = (0, 0)

    def show(self, text: str) -> None:
        if not self.live:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        lines = text.splitlines()
        try:
            size = os.get_terminal_size(1)
        except OSError:
            size = os.terminal_size((80, 24))
        rows = max(2, (size.lines or 24) - 1)  # the last one is for the cursor
        if len(lines) > rows:
            more = len(lines) - rows + 1
            lines = [*lines[: rows - 1], f"... {more} more"[: size.columns or 80]]
        out = ""
        if self._size != size:
            self._size, self._lines, out = size, [], "\x1b[2J"
        out += changed_lines(self._lines, lines)
        self._lines = lines
        if out:
            sys.stdout.write(f"{out}\x1b[{len(lines) + 1};1H")
            sys.stdout.flush()

    def leave(self) -> None:
        """The last picture stays; what is printed next comes below it."""
        self._lines = []
        self._size = (0, 0)
