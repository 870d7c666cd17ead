r"""How far a program is, by what it prints. Pure; knows neither logs nor jobs.

Programs say it in three ways: `20/250`, `step 20 of 250`, or `8%`, all in one line; or
`Iterations: 250` once and then `Time step   20`. The newest line that says anything counts.

>>> Reader().look(b" Iterations:  250\n\n Time step    1\n Time step   20\n")
Progress(done=20, of=250)
>>> Reader().look(b"\r 45%|####      | 45/100 [00:01<00:01]\r")
Progress(done=45, of=100)
"""

from __future__ import annotations

import re
from typing import NamedTuple

LINES = 32  # of the newest output; a program that says how far it is does so more often
_LINE_BYTES = 400  # of a line; what is longer is no message to people
_FORGET_BYTES = 1 << 16  # so much printed since without another word of it: it is about the past

_ESCAPE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-Z]|\x1b[=>78]")
# Lines come in lower case and with one blank where there were more: it is what makes this fast.
_NOT_IN = rb"(?<![\w./:%+-])"  # a number by itself: no date, version, address or fraction
_NUMBER = rb"(\d{1,12})"
_ENDS = rb"(?![\w/:%]|[.,]\d|-\d)"
_PAIR = re.compile(_NOT_IN + _NUMBER + rb"(?: ?/ ?| (?:out )?of )" + _NUMBER + _ENDS)
_PERCENT = re.compile(rb"(?<![\w.,:/+-])(\d{1,3})(?:\.\d+)? ?%(?!\w)")
# What is so many percent, but no progress: the words before and after it.
_SHARE_BEFORE = re.compile(
    rb"(?:cpu|mem(?:ory)?|load|acc(?:uracy)?|loss|usage|used|util\w*|rate|efficiency|error)"
    rb"[ :=(\[]*$"
)
_SHARE_AFTER = re.compile(rb" ?(?:of (?!\d)|cpu|mem|used|idle|free|acc|loss|faster|slower|packet)")
_UNIT = (
    rb"(?:(?:time|main|outer|md)[ _-]?)?"
    rb"(?:step|iteration|iter|epoch|cycle|sweep|generation|frame|batch|trial|sample|block)"
)
_COUNT = re.compile(
    rb"(?<![\w-])" + _UNIT + rb"(?: ?(?:no\.?|number|nr\.?|\#))? ?[:=\#]? ?" + _NUMBER + _ENDS
)
_TOTAL = re.compile(
    rb"(?<![\w-])(?:(?:number of|total|max(?:imum)?|no\.? of|nr\.? of|n)[ _-]?(?:of )?)?"
    rb"(?:" + _UNIT + rb"s|itmax|niter|nsteps?|max[ _-]?(?:iter|step|epoch)s?)"
    rb" ?[:=] ?" + _NUMBER + _ENDS
)


class Progress(NamedTuple):
    done: int
    of: int
    """At least 1, and no less than ``done``; 100 for a percentage."""


class Reader:
    """Goes through pieces of one program's output. Remembers how many steps it has announced."""

    __slots__ = ("_at", "_of", "_value")

    def __init__(self) -> None:
        self._of = 0
        self._value: Progress | None = None
        self._at = 0  # where in the output `_value` was found, about

    def announced(self, text: bytes) -> None:
        """The beginning of the output: how many steps there will be is often said only there."""
        for line in _lines(text)[:LINES]:
            self._total(line)

    def look(self, text: bytes, end: int = 0) -> Progress | None:
        """How far it is, by the newest output; None: nobody knows. ``end``: where in the whole
        output the text ends."""
        lines = _lines(text)[-LINES:]
        for line in lines:
            self._total(line)
        for line in reversed(lines):
            found = self._said(line)
            if found is not None:
                self._value, self._at = found, end
                break
        if self._value is not None and end - self._at > _FORGET_BYTES:
            self._value = None
        return self._value

    # A look at a byte costs a hundredth of a search, and most lines say nothing of the kind.

    def _total(self, line: bytes) -> None:
        match = _TOTAL.search(line) if b":" in line or b"=" in line else None
        if match is not None and int(match[1]):
            self._of = int(match[1])

    def _said(self, line: bytes) -> Progress | None:
        for match in _PAIR.finditer(line) if b"/" in line or b"of" in line else ():
            done, of = int(match[1]), int(match[2])
            if done <= of and of > 1:
                return Progress(done, of)
        for match in _PERCENT.finditer(line) if b"%" in line else ():
            if int(match[1]) > 100 or _SHARE_BEFORE.search(line[: match.start()]):
                continue
            if not _SHARE_AFTER.match(line, match.end()):
                return Progress(int(match[1]), 100)
        if self._of:
            count = _COUNT.search(line)
            if count is not None and int(count[1]) <= self._of:
                return Progress(int(count[1]), self._of)
        return None


def _lines(text: bytes) -> list[bytes]:
    """Complete ones, as a terminal would show them: a carriage return ends one, too."""
    lines = _ESCAPE.sub(b"", text).replace(b"\r", b"\n").split(b"\n")
    return [b" ".join(line[:_LINE_BYTES].split()).lower() for line in lines[:-1] if line]
