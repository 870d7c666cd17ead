"""Waiting for words in a process's output. Knows no process: text comes in, matches come out."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Hashable, Sequence

Match = tuple[int | None, "re.Match[str] | None"]
NOTHING: Match = (None, None)
REST_S = 0.005


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

    def __init__(self, most: int | None = None) -> None:
        """``most``: of its end at least so many characters are kept; None: all."""
        self._most = most
        self._pieces: list[str] = []
        self._length = 0
        self._gone = 0
        """Characters that are no more kept."""
        self._changed = threading.Condition()
        self.ended = False
        self._places = threading.local()

    def add(self, text: str) -> None:
        with self._changed:
            self._pieces.append(text)
            self._length += len(text)
            if self._most is not None and self._length > 2 * self._most:
                whole = "".join(self._pieces)
                self._pieces[:] = [whole[-self._most :]]
                self._gone += self._length - self._most
                self._length = self._most
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
            self._length = self._gone = 0
            self.ended = False
            self._places = threading.local()

    def find(self, regexes: Sequence[re.Pattern[str]], backtrack: bool = True) -> Match:
        """What is there of them by now, behind what this thread found last; its place is there
        then. The first of ``regexes`` that is there at all."""
        with self._changed:
            text, gone, at = self.whole(), self._gone, getattr(self._places, "at", None)
        if at is None:
            self._places.at = at = 0 if backtrack else gone + len(text)
        for index, regex in enumerate(regexes):  # nobody who adds to it waits for this
            if match := regex.search(text, max(0, at - gone)):
                self._places.at = gone + match.end()
                return index, match
        return NOTHING

    def expect(
        self,
        regexes: Sequence[re.Pattern[str]],
        timeout_s: float | None,
        backtrack: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> Match:
        """The first of ``regexes`` that is there or comes; `NOTHING` when the time is over, or the
        stream. ``backtrack``: from its beginning, the first time."""
        deadline = None if timeout_s is None else clock() + timeout_s
        while True:
            with self._changed:
                ended, seen = self.ended, self._gone + self._length
            begun = time.monotonic()
            found = self.find(regexes, backtrack)
            if found != NOTHING or ended or (deadline is not None and clock() >= deadline):
                return found
            # Looking through much of it takes its time: no more of that than of waiting for more.
            rest_s = time.monotonic() - begun
            with self._changed:
                if rest_s > REST_S and not self.ended:
                    self._changed.wait_for(lambda: self.ended, rest_s)
                while not self.ended and self._gone + self._length == seen:
                    left = None if deadline is None else deadline - clock()
                    if left is not None and left <= 0:
                        break
                    self._changed.wait(left)


class Texts:
    """Those of several streams, by what they are of: for who waits for something in any."""

    def __init__(self) -> None:
        self._of: dict[Hashable, Text] = {}
        self._changed = threading.Condition()

    def add(self, key: Hashable, text: str, last: bool) -> None:
        with self._changed:
            one = self._of.setdefault(key, Text())
            if one.ended:  # it was begun again
                one.clear()
            one.add(text)
            if last:
                one.end()
            self._changed.notify_all()

    def expect(
        self, regexes: Sequence[re.Pattern[str]], timeout_s: float | None
    ) -> dict[Hashable, Match]:
        """Where one of ``regexes`` is; empty when the time is over, or all streams."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while True:
                looked = {key: one.find(regexes) for key, one in self._of.items()}
                found = {key: match for key, match in looked.items() if match != NOTHING}
                left = None if deadline is None else deadline - time.monotonic()
                over = self._of and all(one.ended for one in self._of.values())
                if found or over or (left is not None and left <= 0):
                    return found
                self._changed.wait(left)
