"""How far an upload is, on a terminal. Knows no job."""

from __future__ import annotations

import sys
import time
from typing import Any

DRAW_S = 0.3


class Progress:
    """A line on the terminal, of an upload that takes longer than a moment."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._seen: list[tuple[float, int]] = []
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def watch(self, tally: Any) -> None:
        if not self._shows:
            return
        from gshell.cli.files import RATE_OVER_S, progress_line  # only who looks needs it

        now = time.monotonic()
        self._seen = [seen for seen in self._seen if now - seen[0] < RATE_OVER_S]
        if self._seen and now - self._seen[-1][0] < DRAW_S:
            return
        self._seen.append((now, tally.bytes))
        if len(self._seen) > 1:
            done = tally.bytes + tally.kept
            line = progress_line(self._seen, done, tally.total, tally.listed, tally.files, None)
            sys.stderr.write(f"\rinput files: {line}\x1b[K")
            sys.stderr.flush()
            self._shown = True

    def __exit__(self, *_: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
