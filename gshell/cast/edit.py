"""Recordings joined, cut, and made shorter. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gshell.cast.asciicast import size_of
from gshell.cast.format import Cast, Event, Header
from gshell.cast.redraw import redraw
from gshell.cast.screen import Screen
from gshell.model.vt import ModeTracker


def sizes(cast: Cast) -> Iterator[tuple[Event, tuple[int, int]]]:
    """Each event with the terminal's size when it was over."""
    size = (cast.header.columns, cast.header.rows)
    for event in cast.events:
        if event.code == "r":
            size = size_of(event.data) or size
        yield event, size


def last_size(cast: Cast) -> tuple[int, int]:
    size = (cast.header.columns, cast.header.rows)
    for event in reversed(cast.events):
        if event.code == "r" and (found := size_of(event.data)):
            return found
    return size


def screen_at(cast: Cast, at_s: float, history: int | None = 0) -> tuple[Screen, int]:
    """The screen when all up to ``at_s`` had happened, and how many events that were."""
    screen = Screen(cast.header.columns, cast.header.rows, history)
    for number, event in enumerate(cast.events):
        if event.at_s > at_s:
            return screen, number
        show(screen, event)
    return screen, len(cast.events)


def show(screen: Screen, event: Event) -> bool:
    """Whether it may have changed something."""
    if event.code == "o":
        screen.feed(event.data)
    elif event.code == "r" and (size := size_of(event.data)):
        screen.resize(*size)
    else:
        return False
    return True


def cut(cast: Cast, from_s: float = 0.0, to_s: float | None = None) -> Cast:
    """What happened from ``from_s`` until ``to_s``, both included. It begins with the screen as it
    was: all before is one event."""
    header, events = cast.header, cast.events
    start = 0
    first: list[Event] = []
    if from_s > 0:
        screen = Screen(header.columns, header.rows)
        for event in events:
            if event.at_s >= from_s:
                break
            show(screen, event)
            start += 1
        header = header._replace(columns=screen.columns, rows=screen.rows)
        if header.timestamp is not None:
            header = header._replace(timestamp=header.timestamp + int(from_s))
        drawn = redraw(screen)
        first = [Event(0.0, "o", drawn)] if drawn else []
        if start < len(events) and events[start].code == "b":
            start += 1  # belongs to an event that was left out
    end = len(events)
    if to_s is not None:
        while end > start and events[end - 1].at_s > to_s:
            end -= 1
    kept = [event._replace(at_s=round(event.at_s - from_s, 6)) for event in events[start:end]]
    return Cast(header._replace(duration_s=None), first + kept)


def joined(casts: list[Cast]) -> Cast:
    """One after the other. Each begins with its own size, and in a terminal that the one before
    did not leave in strange modes; of exit statuses the last is kept."""
    header = casts[0].header._replace(duration_s=None)
    events: list[Event] = []
    base = 0.0
    size = (header.columns, header.rows)
    for number, cast in enumerate(casts):
        if number:
            while events and events[-1].code == "x":
                events.pop()
            left = reset(casts[number - 1])
            if left:
                events.append(Event(base, "o", left))
            if (cast.header.columns, cast.header.rows) != size:
                events.append(Event(base, "r", f"{cast.header.columns}x{cast.header.rows}"))
        events += [event._replace(at_s=round(base + event.at_s, 6)) for event in cast.events]
        size = last_size(cast)
        base = round(base + max(cast.duration_s, cast.header.duration_s or 0.0), 6)
    return Cast(header, events)


def reset(cast: Cast) -> str:
    """What takes a terminal out of the modes that the recording left it in."""
    tracker = ModeTracker()
    tracker.resized(cast.header.rows)
    for event in cast.events:
        if event.code == "o":
            tracker.feed(event.data.encode("utf-8", "replace"))
        elif event.code == "r" and (size := size_of(event.data)):
            tracker.resized(size[1])
    return tracker.reset().decode("utf-8", "replace")


def paced(cast: Cast, idle_s: float | None = None, speed: float = 1.0) -> Cast:
    """No pause longer than ``idle_s``, and all ``speed`` times as fast."""
    if idle_s is None and speed == 1.0:
        return cast
    events: list[Event] = []
    now = before = 0.0
    for event in cast.events:
        pause = event.at_s - before
        now += (pause if idle_s is None else min(pause, idle_s)) / speed
        before = event.at_s
        events.append(event._replace(at_s=round(now, 6)))
    # Those who play it need not shorten what is short.
    header: Header = cast.header._replace(duration_s=None)
    return Cast(header._replace(idle_time_limit=None) if idle_s is not None else header, events)


def seen(cast: Cast) -> Iterable[str]:
    """The lines that a person saw on the main screen, each once; wrapped ones whole."""
    screen = Screen(cast.header.columns, cast.header.rows, history=None, keep_cleared=True)
    for event in cast.events:
        show(screen, event)
    if screen.main is not None:
        screen.feed(f"\x1b[?{screen.alternate_mode}l")
    rows = [*screen.history, *screen.lines]
    while rows and not rows[-1].text().strip():
        rows.pop()
    parts: list[str] = []
    for row in rows:
        parts.append(row.text())
        if not row.wrapped:
            yield "".join(parts).rstrip()
            parts = []
    if parts:
        yield "".join(parts).rstrip()
