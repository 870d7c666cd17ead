"""Plays a recording: what to show when, from where to where. Pure: the time is an argument.

Knows no terminal and no keys.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from gshell.cast.format import Cast
from gshell.cast.redraw import redraw
from gshell.cast.screen import Screen

SHOWN = "oe"  # of a program without a terminal both streams
KEY_CHARS = 1 << 16  # of output between two pictures that are kept
_UNSEEN = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*(?:\x1b\\)"
    r"|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f]"
)


def size_of(data: str) -> tuple[int, int] | None:
    """Columns and rows of an ``r`` event."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", data)
    return (int(match[1]), int(match[2])) if match else None


def text_of(data: str) -> str:
    """What a person reads of it.

    >>> text_of("\\x1b[1mbold\\x1b[m\\r\\n")
    'bold\\n'
    """
    return _UNSEEN.sub("", data)


class Pictures:
    """The screen at any event, soon. Pictures are kept as it is looked at, or `look_on` in idle
    times; nothing is fed twice but from the last picture on."""

    def __init__(self, cast: Cast) -> None:
        self._events = cast.events
        self._screen = Screen(cast.header.columns or 80, cast.header.rows or 24)
        self._fed = 0  # events that the screen has seen
        self._chars = 0  # since the last picture
        self._keys: list[tuple[int, tuple[int, int], str]] = [
            (0, (self._screen.columns, self._screen.rows), "")
        ]

    @property
    def complete(self) -> bool:
        return self._fed == len(self._events)

    def _feed(self, screen: Screen, index: int) -> int:
        event = self._events[index]
        if event.code in SHOWN:
            screen.feed(event.data)
            return len(event.data)
        if event.code == "r" and (size := size_of(event.data)) is not None:
            screen.resize(*size)
        return 0

    def look_on(self, chars: int = 4096) -> None:
        """Get about so much further."""
        while chars > 0 and not self.complete:
            fed = self._feed(self._screen, self._fed)
            self._fed += 1
            chars -= fed + 1
            self._chars += fed
            if self._chars >= KEY_CHARS:
                self._chars = 0
                screen = self._screen
                self._keys.append((self._fed, (screen.columns, screen.rows), redraw(screen)))

    def at(self, index: int) -> Screen:
        """After ``index`` events."""
        while self._fed < index:
            self.look_on(1)
        if self._fed == index:
            return self._screen
        number = bisect_right(self._keys, index, key=lambda kept: kept[0]) - 1
        start, size, picture = self._keys[number]
        screen = Screen(*size)
        screen.feed(picture)
        for at in range(start, index):
            self._feed(screen, at)
        return screen


class Player:
    """Invariant: ``at`` events have been shown; while it plays, those whose time has come."""

    def __init__(
        self, cast: Cast, speed: float = 1.0, idle_s: float | None = None, stops: bool = False
    ) -> None:
        """``idle_s``: no pause is longer. ``stops``: at each marker."""
        self.cast = cast
        self.speed = speed
        self.stops = stops
        limit = cast.header.idle_time_limit if idle_s is None else idle_s
        self.times = _times(cast, limit)
        self.pictures = Pictures(cast)
        self.at = 0
        self.paused = False
        self._head = 0.0  # seconds into the recording ...
        self._since = 0.0  # ... at that time of the clock
        self._texts: list[str] | None = None
        self._starts: list[int] = []

    def start(self, now: float) -> None:
        self._since = now

    @property
    def duration_s(self) -> float:
        return self.times[-1] if self.times else 0.0

    @property
    def ended(self) -> bool:
        return self.at >= len(self.times)

    def head(self, now: float) -> float:
        """How many seconds of it have been played."""
        if self.paused:
            return self._head
        return min(self._head + (now - self._since) * self.speed, max(self.duration_s, self._head))

    def due(self, now: float) -> float | None:
        """In how many seconds something is to be shown; None: nothing is, by itself."""
        if self.paused or self.ended:
            return None
        return max(0.0, (self.times[self.at] - self.head(now)) / self.speed)

    def play(self, now: float) -> str:
        """What is to be shown by now."""
        if self.paused:
            return ""
        until = bisect_right(self.times, self.head(now) + 1e-9)
        return self._show(until, now)

    def _show(self, until: int, now: float) -> str:
        parts = []
        while self.at < until:
            event = self.cast.events[self.at]
            self.at += 1
            if event.code in SHOWN:
                parts.append(event.data)
            elif event.code == "m" and self.stops and not self.paused:
                self._set(self.times[self.at - 1], now)
                self.paused = True
                break
        return "".join(parts)

    def _set(self, head: float, now: float) -> None:
        self._head, self._since = head, now

    # -- what a person does

    def pause(self, now: float) -> None:
        """Or go on."""
        if not self.paused:
            self._set(self.head(now), now)
            self.paused = True
        elif not self.ended:
            self._set(self._head, now)
            self.paused = False

    def hurry(self, factor: float, now: float) -> None:
        self._set(self.head(now), now)
        self.speed = min(64.0, max(1 / 16, self.speed * factor))

    def step(self, now: float) -> str:
        """The next thing that is shown; pauses."""
        if not self.paused:
            self.pause(now)
        until = self.at
        while until < len(self.times):
            until += 1
            if self.cast.events[until - 1].code in SHOWN:
                break
        if until == self.at:
            return ""
        self._set(self.times[until - 1], now)
        return self._show(until, now)

    def seek(self, to_s: float, now: float) -> Screen:
        """The screen there; it goes on from it as it did before."""
        to_s = max(0.0, min(to_s, self.duration_s))
        self.at = bisect_right(self.times, to_s + 1e-9)
        self._set(to_s, now)
        if self.ended:
            self.paused = True
        return self.pictures.at(self.at)

    def here(self) -> Screen:
        """The screen now."""
        return self.pictures.at(self.at)

    def marker(self, forward: bool, now: float) -> float | None:
        """When the next or previous one is; None: there is none."""
        head = self.head(now)
        found = [t for t, event in zip(self.times, self.cast.events) if event.code == "m"]
        if forward:
            later = [t for t in found if t > head + 0.05]
            return later[0] if later else None
        earlier = [t for t in found if t < head - 0.5]
        return earlier[-1] if earlier else None

    def find(self, words: str, now: float) -> float | None:
        """When that is next shown, seen from here on and then from the start; None: never."""
        if not words:
            return None
        if self._texts is None:
            self._texts, at = [], 0
            for event in self.cast.events:
                self._starts.append(at)
                text = text_of(event.data) if event.code in SHOWN else ""
                self._texts.append(text)
                at += len(text)
        whole = "".join(self._texts)
        seen = self._starts[self.at] if self.at < len(self._starts) else len(whole)
        spot = whole.find(words, max(0, seen))
        if spot < 0:
            spot = whole.find(words)
        if spot < 0:
            return None
        last = bisect_right(self._starts, spot + len(words) - 1) - 1
        while last > 0 and not self._texts[last]:
            last -= 1
        return self.times[last]


def _times(cast: Cast, limit: float | None) -> list[float]:
    """Of each event, pauses cut to ``limit``."""
    if limit is None:
        return [event.at_s for event in cast.events]
    found = []
    now = before = 0.0
    for event in cast.events:
        now += min(limit, max(0.0, event.at_s - before))
        before = event.at_s
        found.append(now)
    return found


def index_at(cast: Cast, at_s: float) -> int:
    """How many events there were by then."""
    return bisect_right([event.at_s for event in cast.events], at_s)


def lines_of(cast: Cast) -> list[tuple[float, str]]:
    """(when, line) as they were printed, for who reads and does not look; a line that was drawn
    over is what it was last."""
    found: list[tuple[float, str]] = []
    begun, line = 0.0, ""
    for event in cast.events:
        if event.code not in SHOWN:
            continue
        text = _CONTROLS.sub("", event.data.replace("\r\n", "\n"))
        for number, part in enumerate(text.split("\n")):
            if number:
                found.append((begun, _last_drawn(line)))
                line = ""
            if not line:
                begun = event.at_s
            line += part
    if line:
        found.append((begun, _last_drawn(line)))
    return found


_CONTROLS = re.compile(_UNSEEN.pattern.replace(r"\x0b-\x1f", r"\x0b\x0c\x0e-\x1f"))


def _last_drawn(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
