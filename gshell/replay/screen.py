"""What a person saw of a step's output: its bytes to lines. Knows no program; never raises.

A small screen: carriage returns, backspaces, erasing, cursor addressing, scrolling, the alternate
screen. Colours, titles and modes are dropped; OSC 133 marks are reported apart. Lines that the
terminal wrapped are one line again, so nothing depends on its width but programs that address it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple


class Mark(NamedTuple):
    """A shell's OSC 133 mark."""

    letter: str
    """``A`` prompt begins, ``B`` it ends, ``C`` the command runs, ``D`` it ended."""
    status: int | None
    """Of ``D``."""
    at: int
    """The offset in the bytes behind it."""
    line: int
    """How many lines were there before."""


class View(NamedTuple):
    """A step's output, seen."""

    lines: list[str]
    """No blanks at their ends, no empty lines at the end."""
    marks: list[Mark]
    last: str
    """What stands before the cursor on its line, blanks at its end kept: a prompt."""


def lines(data: bytes, columns: int = 80, rows: int = 24) -> list[str]:
    """What a person saw of ``data``."""
    return view(data, columns, rows).lines


def view(data: bytes, columns: int = 80, rows: int = 24) -> View:
    """The same, with marks and what stands last."""
    screen = _Screen(min(max(columns, 1), 10_000), min(max(rows, 1), 1000))
    marks: list[Mark] = []
    start = 0
    for mark in _MARK.finditer(data):
        screen.feed(_text(data[start : mark.start()]))
        status = re.match(rb"[^;]*;(-?\d{1,9})", mark[2])
        letter = mark[1].decode()
        number = int(status[1]) if status and letter == "D" else None
        marks.append(Mark(letter, number, mark.end(), screen.count()))
        start = mark.end()
    screen.feed(_text(data[start:]))
    done = screen.all()
    while done and not done[-1]:
        done.pop()
    return View(done, marks, screen.before_cursor())


def marks(data: bytes) -> list[Mark]:
    """Only the marks; ``line`` is not counted."""
    return [mark._replace(line=0) for mark in view(data).marks] if b"\x1b]133" in data else []


_MARK = re.compile(rb"\x1b\]133;([A-Z])([^\x07\x1b\n]{0,200})(?:\x07|\x1b\\)")
_TORN = re.compile(rb"[\xc0-\xfd][\x80-\xbf]{0,3}\Z")


def _text(data: bytes) -> str:
    """UTF-8; a character that was torn at either end is none."""
    begin = 0
    while begin < min(3, len(data)) and 0x80 <= data[begin] < 0xC0:
        begin += 1
    text = data[begin:].decode("utf-8", "replace") if begin else data.decode("utf-8", "replace")
    if text.endswith("\ufffd") and _TORN.search(data[-4:]):
        text = text[:-1]
    return text


# A control sequence, one of its neighbours, or a control character; what is torn at the end is one.
_CONTROL = re.compile(
    r"(\n)|(\r)|(\x08)|(\t)"
    r"|\x1b\[([0-9;:?<=>!]*)[ -/]*([@-~])"
    r"|\x1b[\]PX^_](?:[^\x07\x1b\x18\x1a]|\x1b(?!\\))*?(?:\x07|\x1b\\|[\x18\x1a]|\Z)"
    r"|\x1b[ -/]+(?:[0-~]|\Z)"
    r"|\x1b([0-Z\\`-~])"
    r"|\x1b\[[0-9;:?<=>! -/]*\Z"
    r"|\x1b|[\x00-\x1f\x7f-\x9f]"
)
_PLAIN_LINES = re.compile(r"(?:[^\x00-\x1f\x7f-\x9f]*\r*\n)+")


class _Screen:
    """Rows that a cursor can still reach, and above them lines that are done.

    Invariant: 0 <= row < len(rows) <= height. ``wrapped`` has whether a row goes on in the next.
    """

    def __init__(self, columns: int, height: int) -> None:
        self.columns = columns
        self.height = height
        self.done: list[str] = []
        self.part = ""  # of a wrapped line whose beginning has scrolled off
        self.rows: list[list[str]] = [[]]
        self.wrapped: list[bool] = [False]
        self.row = self.column = 0
        self.top, self.bottom = 0, height - 1
        self.saved = (0, 0)
        self.addressed = False  # the cursor was put where it is, since the line began
        self.main: tuple[list[list[str]], list[bool], int, int] | None = None

    # -- reading

    def all(self) -> list[str]:
        kept = [*self.done, *self._joined(self.part, self.rows, self.wrapped)]
        if self.main is None:
            return kept
        rows, wrapped, _, _ = self.main
        before = [*self.done, *self._joined(self.part, rows, wrapped)]
        while before and not before[-1]:
            before.pop()
        return before + self._joined("", self.rows, self.wrapped)

    @staticmethod
    def _joined(part: str, rows: list[list[str]], wrapped: list[bool]) -> list[str]:
        done = []
        for row, goes_on in zip(rows, wrapped):
            part += "".join(row)
            if not goes_on:
                done.append(part.rstrip())
                part = ""
        if part:
            done.append(part.rstrip())
        return done

    def count(self) -> int:
        return len(self.done) + self.row - sum(self.wrapped[: self.row])

    def before_cursor(self) -> str:
        first = self.row
        while first and self.wrapped[first - 1]:
            first -= 1
        text = self.part if not first else ""
        for row in self.rows[first : self.row]:
            text += "".join(row)
        here = self.rows[self.row]
        return text + "".join(here[: self.column]).ljust(min(self.column, len(here)))

    # -- feeding

    def feed(self, text: str) -> None:
        at, end = 0, len(text)
        while at < end:
            if not self.column and self.row == len(self.rows) - 1 and self.main is None:
                at = self._plain_lines(text, at)
                if at >= end:
                    return
            found = _CONTROL.search(text, at)
            if found is None:
                self._put(text[at:])
                return
            if found.start() > at:
                self._put(text[at : found.start()])
            at = found.end()
            kind = found.lastindex
            if kind == 1:
                if not self.addressed and self.main is None:
                    self.column = 0  # a pipe's line end; raw programs say where they go
                self.addressed = False
                self._down()
            elif kind == 2:
                self.column = 0
            elif kind == 3:
                self.column = max(self.column - 1, 0)
            elif kind == 4:
                self._reach(min((self.column // 8 + 1) * 8, self.columns - 1))
            elif kind == 6:
                self._csi(found[5], found[6])
            elif kind == 7:
                self._escape(found[7])

    def _plain_lines(self, text: str, at: int) -> int:
        """Whole lines without controls, at once: nearly all output is that."""
        found = _PLAIN_LINES.match(text, at)
        if found is None or self.rows[self.row]:
            return at
        if self.bottom != self.height - 1 or self.top:
            return at
        block = found[0]
        if not block.isascii() or "\t" in block:
            return at
        whole = block.split("\n")[:-1]
        # The last ones stay where the cursor can reach them; all others are done.
        keep = self.height
        if len(whole) <= keep:
            return at
        narrow = [line.rstrip("\r ") for line in whole[:-keep]]
        self._scroll(len(self.rows) - 1)
        self.done += narrow
        self.rows, self.wrapped, self.row, self.part = [[]], [False], 0, ""
        return at + sum(map(len, whole[:-keep])) + len(narrow)

    def _scroll(self, count: int) -> None:
        """The first rows can't be reached any more."""
        for row, goes_on in zip(self.rows[:count], self.wrapped[:count]):
            self.part += "".join(row)
            if not goes_on or len(self.part) > 1_000_000:
                self.done.append(self.part.rstrip())
                self.part = ""
        del self.rows[:count]
        del self.wrapped[:count]

    def _put(self, text: str) -> None:
        if text.isascii():
            at = 0
            while at < len(text):
                if self.column >= self.columns:
                    self._wrap()
                piece = text[at : at + self.columns - self.column]
                self._write(list(piece))
                at += len(piece)
            return
        for char in text:
            if char.isascii():
                width = 1
            elif unicodedata.category(char) in ("Mn", "Me", "Cf"):
                row = self.rows[self.row]
                if 0 < self.column <= len(row):
                    row[self.column - 1] += char
                continue
            else:
                width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
            if self.column + width > self.columns:
                self._wrap()
            self._write([char, ""][:width])

    def _write(self, cells: list[str]) -> None:
        row = self.rows[self.row]
        if self.column > len(row):
            row += [" "] * (self.column - len(row))
        row[self.column : self.column + len(cells)] = cells
        self.column += len(cells)

    def _wrap(self) -> None:
        self.wrapped[self.row] = True
        self._down()
        self.wrapped[self.row - 1] = True
        self.column = 0

    def _reach(self, column: int) -> None:
        row = self.rows[self.row]
        if column > len(row):
            row += [" "] * (column - len(row))
        self.column = column

    def _down(self) -> None:
        if self.row == self.bottom and self.top:
            self._shift(self.top, self.bottom, 1)
            return
        if self.row == self.bottom < self.height - 1:
            self._shift(self.top, self.bottom, 1)
            return
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([])
            self.wrapped.append(False)
        if len(self.rows) > self.height:
            if self.main is None:
                self._scroll(1)
            else:
                del self.rows[0], self.wrapped[0]
            self.row = min(self.row, len(self.rows)) - 1

    def _shift(self, top: int, bottom: int, count: int) -> None:
        """Lines top..bottom up by ``count``, or down if negative."""
        self._fill(bottom)
        count = max(min(count, bottom - top + 1), top - bottom - 1)
        fresh: list[list[str]] = [[] for _ in range(abs(count))]
        part = self.rows[top : bottom + 1]
        part = [*part[count:], *fresh] if count > 0 else [*fresh, *part[:count]]
        self.rows[top : bottom + 1] = part
        self.wrapped[top : bottom + 1] = [False] * len(part)

    def _fill(self, row: int) -> None:
        while len(self.rows) <= row:
            self.rows.append([])
            self.wrapped.append(False)

    # -- controls

    def _escape(self, letter: str) -> None:
        if letter == "M":  # up, scrolling
            if self.row == self.top:
                self._shift(self.top, min(self.bottom, self.height - 1), -1)
            else:
                self.row = max(self.row - 1, 0)
        elif letter == "D":
            self._down()
        elif letter == "E":
            self._down()
            self.column = 0
        elif letter == "7":
            self.saved = (self.row, self.column)
        elif letter == "8":
            self._goto(*self.saved)
        elif letter == "c":
            self._goto(0, 0)
            self._erase(0, len(self.rows))

    def _csi(self, args: str, letter: str) -> None:
        if args[:1] in ("?", "<", "=", ">"):
            if args[:1] == "?" and letter in "hl":
                self._modes(args[1:], letter == "h")
            return
        numbers = [int(word[:5]) if word.isdigit() else 0 for word in args.split(";")]
        first = numbers[0]
        count = max(first, 1)
        if letter == "A":
            self._goto(self.row - count, self.column)
        elif letter in "Be":
            self._goto(self.row + count, self.column)
        elif letter in "Ca":
            self._goto(self.row, self.column + count)
        elif letter == "D":
            self._goto(self.row, self.column - count)
        elif letter == "E":
            self._goto(self.row + count, 0)
        elif letter == "F":
            self._goto(self.row - count, 0)
        elif letter in "G`":
            self._goto(self.row, count - 1)
        elif letter in "Hf":
            second = numbers[1] if len(numbers) > 1 else 1
            self._goto(count - 1, max(second, 1) - 1)
        elif letter == "d":
            self._goto(count - 1, self.column)
        elif letter == "J":
            self._erase_display(first)
        elif letter == "K":
            self._erase_line(first)
        elif letter in "LM" and self.top <= self.row <= self.bottom:
            self._shift(self.row, self.bottom, count if letter == "M" else -count)
        elif letter == "S":
            self._shift(self.top, self.bottom, count)
        elif letter == "T":
            self._shift(self.top, self.bottom, -count)
        elif letter == "P":
            del self.rows[self.row][self.column : self.column + count]
        elif letter == "@":
            row = self.rows[self.row]
            if self.column < len(row):
                row[self.column : self.column] = [" "] * min(count, self.columns)
                del row[self.columns :]
        elif letter == "X":
            row = self.rows[self.row]
            end = min(self.column + count, len(row))
            row[self.column : end] = [" "] * max(end - self.column, 0)
        elif letter == "s":
            self.saved = (self.row, self.column)
        elif letter == "u":
            self._goto(*self.saved)
        elif letter == "r":
            bottom = numbers[1] if len(numbers) > 1 and numbers[1] else self.height
            if count < bottom <= self.height:
                self.top, self.bottom = count - 1, bottom - 1
            else:
                self.top, self.bottom = 0, self.height - 1
            if args:
                self._goto(0, 0)

    def _modes(self, args: str, on: bool) -> None:
        for word in args.split(";"):
            if word not in ("47", "1047", "1049"):
                continue
            if on and self.main is None:
                self.main = (self.rows, self.wrapped, self.row, self.column)
                self.rows, self.wrapped, self.row, self.column = [[]], [False], 0, 0
            elif not on and self.main is not None:
                self.rows, self.wrapped, self.row, self.column = self.main
                self.main = None
            self.top, self.bottom = 0, self.height - 1

    def _goto(self, row: int, column: int) -> None:
        self.addressed = True
        self.row = max(min(row, self.height - 1), 0)
        self._fill(self.row)
        self.column = max(min(column, self.columns - 1), 0)

    def _erase(self, first: int, until: int) -> None:
        for at in range(first, min(until, len(self.rows))):
            self.rows[at] = []
            self.wrapped[at] = False

    def _erase_line(self, how: int) -> None:
        row = self.rows[self.row]
        if how == 0:
            del row[self.column :]
            self.wrapped[self.row] = False
        elif how == 1:
            end = min(self.column + 1, len(row))
            row[:end] = [" "] * end
        elif how == 2:
            self.rows[self.row] = []
            self.wrapped[self.row] = False

    def _erase_display(self, how: int) -> None:
        if how == 0:
            self._erase_line(0)
            self._erase(self.row + 1, len(self.rows))
        elif how == 1:
            self._erase(0, self.row)
            self._erase_line(1)
        else:
            self._erase(0, len(self.rows))


def stands_last(begin: str, line: str) -> bool:
    """Is ``line`` nothing but a prompt, and what was typed? Far to the right there may be more:
    zsh and fish have prompts there."""
    begin = begin.rstrip()
    rest = line[len(begin) :]
    return bool(begin) and line.startswith(begin) and (not rest or rest.startswith("   "))


def glued(last: str, prompt: str) -> str:
    """What stands before the same prompt as before on its line: output without a line end."""
    output = last.removesuffix(prompt)
    if output == last or not prompt.strip() or output[-1:] in ">.$#%":
        return ""
    return output


def answer(data: bytes, before: str, typed: str | None, columns: int = 80, rows: int = 24) -> View:
    """What a program answered to a line: ``data`` is all that came since ``before`` stood last.

    The echo of what was typed is taken away, and the prompt that stands last, if there is one; the
    view's ``last`` has that. ``typed`` None: not known (edited, or a secret); the line of the
    echo goes, whatever stands there.
    """
    seen = view(before.encode() + data, columns, rows)
    answered = seen.lines
    prompt = seen.last
    if answered and stands_last(prompt, answered[-1]):
        answered = answered[:-1]
    if answered:
        first, begin = answered[0], before.rstrip()
        whole = before + (typed or "")
        if typed is None or first == whole.rstrip() or stands_last(whole, first):
            answered = answered[1:]
        elif begin and first.startswith(begin):
            rest = first[len(before) :]
            answered = [rest, *answered[1:]] if rest.strip() else answered[1:]
    while answered and not answered[-1]:
        answered = answered[:-1]
    return seen._replace(lines=answered)
