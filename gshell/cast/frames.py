"""A recording as pictures: what was on the screen from when to when. Pure."""

from __future__ import annotations

from typing import NamedTuple

from gshell.cast.cells import Row, Style
from gshell.cast.edit import show
from gshell.cast.format import Cast
from gshell.cast.screen import Screen

Runs = tuple[tuple[str, Style], ...]
FRAME_S = 1 / 25  # what changes faster than this nobody sees


class Frame(NamedTuple):
    """From ``at_s`` on the screen shows these rows; the cursor is (column, row), or hidden."""

    at_s: float
    rows: tuple[Runs, ...]
    cursor: tuple[int, int] | None


class Film(NamedTuple):
    columns: int
    """Of the widest frame."""
    rows: int
    duration_s: float
    frames: list[Frame]


def film(cast: Cast, frame_s: float = FRAME_S) -> Film:
    """All that was to be seen, no frame shorter than ``frame_s``."""
    camera = _Camera(Screen(cast.header.columns, cast.header.rows))
    columns, rows = camera.screen.columns, camera.screen.rows
    frames: list[Frame] = []
    due: float | None = None  # when the frame that is being collected is shown
    for event in cast.events:
        if due is not None and event.at_s >= due + frame_s:
            _add(frames, camera.frame(due))
            due = None
        if show(camera.screen, event):
            columns = max(columns, camera.screen.columns)
            rows = max(rows, camera.screen.rows)
            if due is None:
                due = event.at_s
    if due is not None or not frames:
        _add(frames, camera.frame(due or 0.0))
    return Film(columns, rows, max(cast.duration_s, frames[-1].at_s), frames)


def still(cast: Cast, at_s: float) -> Film:
    """The one frame that was to be seen then."""
    screen = Screen(cast.header.columns, cast.header.rows)
    for event in cast.events:
        if event.at_s > at_s:
            break
        show(screen, event)
    return Film(screen.columns, screen.rows, 0.0, [_Camera(screen).frame(0.0)])


def _add(frames: list[Frame], frame: Frame) -> None:
    if not frames or frames[-1][1:] != frame[1:]:
        frames.append(frame)


class _Camera:
    """Takes pictures of a screen; what has not changed since the last one is not looked at."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._known: list[tuple[list[str], list[Style], Runs]] = []

    def frame(self, at_s: float) -> Frame:
        screen, known = self.screen, self._known
        by_row = [
            old[2] if y < len(known) and _same(old := known[y], row) else tuple(row.runs())
            for y, row in enumerate(screen.lines)
        ]
        self._known = [
            (row.chars[:], row.styles[:], runs) for row, runs in zip(screen.lines, by_row)
        ]
        cursor = (screen.x, screen.y) if screen.cursor_visible else None
        return Frame(at_s, tuple(by_row), cursor)


def _same(old: tuple[list[str], list[Style], Runs], row: Row) -> bool:
    return old[0] == row.chars and old[1] == row.styles
