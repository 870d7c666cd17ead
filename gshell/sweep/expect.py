"""Waiting for words in a process's output. Knows no process: text comes in, matches come out."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence

Match = tuple[int | None, "re.Match[str] | None"]
NOTHING: Match = (None, None)


def compiled(
    regexes: str | re.Pattern[str] | Sequence[str | re.Pattern[str]],
) -> list[re.Pattern[str]]:
    """One or several; strings are compiled so that ``^`` and ``$`` mean lines."""
    if isinstance(regexes, str | re.Pattern):
        regexes = [regexes]
    return [re.compile(one, re.MULTILINE) if isinstance(one, str) else one for one in regexes]


class Text:
    """A stream's text so far, for those who wait for something in it. Each thread has its own
    place in it, behind what it found last."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._changed = threading.Condition()
        self.ended = False
        self._places = threading.local()
        self._forgotten = 0

    def add(self, text: str) -> None:
        with self._changed:
            self._pieces.append(text)
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def whole(self) -> str:
        with self._changed:
            if len(self._pieces) > 1:
                self._pieces[:] = ["".join(self._pieces)]
            return self._pieces[0] if self._pieces else ""

    def clear(self) -> None:
        with self._changed:
            self._pieces.clear()
            self.ended = False
            self._places = threading.local()

    def expect(
        self,
        regexes: Sequence[re.Pattern[str]],
        timeout_s: float | None,
        backtrack: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> Match:
        """The first of ``regexes`` that is found first, in what is there or comes; `NOTHING` when
        the time is over, or the stream. ``backtrack``: from its beginning, the first time."""
        at = getattr(self._places, "at", None)
        if at is None:
            at = 0 if backtrack else len(self.whole())
        deadline = None if timeout_s is None else clock() + timeout_s
        with self._changed:
            while True:
                ended = self.ended
                text = self.whole()
                found = [
                    (match.start(), index, match)
                    for index, regex in enumerate(regexes)
                    if (match := regex.search(text, at))
                ]
                if found:
                    _, index, match = min(found, key=lambda one: one[:2])
                    self._places.at = match.end()
                    return index, match
                if ended or (deadline is not None and clock() >= deadline):
                    self._places.at = at
                    return NOTHING
                self._changed.wait(None if deadline is None else max(0.0, deadline - clock()))
