"""What a terminal would show: output in, rows of characters with their styles out. Pure.

A subset of xterm: cursor, erasing, insertion and deletion, colours, scroll region, alternate
screen, tabs, wide characters, line drawing. It never raises, whatever it is fed, and how output was
cut into pieces changes nothing. It answers no questions: nobody asks a recording.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections import deque
from typing import NamedTuple

from gshell.cast.cells import DEFAULT, PLAIN, Row, Style, number_of, select
from gshell.cast.width import char_width

MAX_COLUMNS, MAX_ROWS = 1000, 500  # larger ones are a mistake, and memory
_TAIL_CHARS = 4096  # of a sequence that is cut; of a longer one the rest is passed over
_TITLE_CHARS = 256
_TOKEN = re.compile(
    "(?P<text>[ -~\xa0-\U0010ffff]+)"
    "|(?P<csi>(?:\x1b\\[|\x9b)[^@-~\x18\x1a\x1b]*(?:[@-~]|[\x18\x1a]|(?=\x1b)))"
    "|(?P<osc>(?:\x1b\\]|\x9d)[^\x07\x18\x1a\x1b\x9c]*(?:\x07|\x1b\\\\|[\x18\x1a\x9c]|(?=\x1b.)))"
    "|(?P<string>(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])"
    "[^\x18\x1a\x1b\x9c]*(?:\x1b\\\\|[\x18\x1a\x9c]|(?=\x1b.)))"
    "|(?P<esc>\x1b[ -/]*[0-OQ-WYZ\\\\`-~])"
    "|(?P<broken>\x1b(?=[^ -/0-~])|\x1b[ -/]+(?=[^ -~]))"
    "|(?P<control>[\0-\x1a\x1c-\x1f\x7f-\x8f\x91-\x97\x99\x9a\x9c])",
    re.DOTALL,
)
_STRING_START = re.compile("\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f]")
_STRING_END = re.compile("[\x07\x18\x1a\x1b\x9c]")
_LINES = str.maketrans(
    "`abcdefghijklmnopqrstuvwxyz{|}~_",
    "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£· ",
)
TABS = frozenset(range(8, MAX_COLUMNS, 8))
_ALTERNATE = (47, 1047, 1049)


class Cursor(NamedTuple):
    """What ESC 7 keeps."""

    x: int = 0
    y: int = 0
    style: Style = PLAIN
    origin: bool = False
    shifted: bool = False
    charsets: tuple[str, str] = ("B", "B")
    pending: bool = False
    is_set: bool = False


class Screen:
    """A terminal's screen. Invariant: the cursor is inside, every row has ``columns`` cells."""

    def __init__(
        self, columns: int, rows: int, history: int | None = 0, keep_cleared: bool = False
    ) -> None:
        """``history``: how many rows that left at the top are kept (None: all). ``keep_cleared``:
        those that were cleared as a whole are, too: somebody has read them."""
        self.columns, self.rows = _inside(columns, MAX_COLUMNS, 80), _inside(rows, MAX_ROWS, 24)
        self.history: deque[Row] = deque(maxlen=history)
        self._keep_cleared = keep_cleared
        self._tail = ""
        self._in_string = False  # of one that is too long to be kept
        self._utf8 = getincrementaldecoder("utf-8")("replace")
        self.title = ""
        self.shape = ""
        """Of the cursor, as DECSCUSR says it."""
        self._reset()

    def _reset(self) -> None:
        self.lines = [Row(self.columns) for _ in range(self.rows)]
        self.main: list[Row] | None = None  # the main screen, while the alternate one is shown
        self.alternate_mode = 0  # the mode that entered it
        self._saved = [Cursor(), Cursor()]  # main, alternate
        self.modes: dict[int, bool] = {}
        """DEC private modes that were set or reset, but the alternate screens and 6."""
        self.tabs = set(TABS)
        self.keypad = self.newline = False
        self._last = ""
        self.x = self.y = 0
        self._soft_reset()

    def _soft_reset(self) -> None:
        self.style = PLAIN
        self.pending = False  # the cursor is behind the last column: the next character wraps
        self.charsets = ("B", "B")
        self.shifted = False
        self.insert = self.origin = False
        self._wraps = self.cursor_visible = True
        for mode in (7, 25):
            self.modes.pop(mode, None)
        self.top, self.bottom = 0, self.rows - 1
        self._saved[self.alternate] = Cursor()

    @property
    def alternate(self) -> bool:
        """The alternate screen is shown."""
        return self.main is not None

    # ------------------------------------------------------------------------------------ feeding

    def feed_bytes(self, data: bytes) -> None:
        self.feed(self._utf8.decode(data))

    def feed(self, text: str) -> None:
        """Show the next output."""
        if self._tail:
            text, self._tail = self._tail + text, ""
        if self._in_string:
            end = _STRING_END.search(text)
            if end is None:
                return
            self._in_string = False
            text = text[end.start() + (end.group() != "\x1b") :]
        end_of_last = 0
        for match in _TOKEN.finditer(text):
            if match.start() != end_of_last:
                break  # what matches nothing is a sequence that is cut
            end_of_last = match.end()
            kind = match.lastgroup
            if kind == "text":
                self._print(match.group())
                continue
            if match.group()[-1] != "b":
                self._last = ""  # only what was printed just before can be repeated
            if kind == "control":
                self._control(match.group())
            elif kind == "csi":
                self._csi(match.group())
            elif kind == "esc":
                self._escape(match.group())
            elif kind == "osc":
                self._osc(match.group())
        tail = text[end_of_last:]
        if len(tail) > _TAIL_CHARS:
            self._in_string = _STRING_START.match(tail) is not None
            tail = "\x1b" if self._in_string and tail[-1] == "\x1b" else ""
        self._tail = tail

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has this size from here on. Rows are cut, not wrapped anew: the program
        that draws whole screens draws them again, and others have gone on."""
        columns, rows = _inside(columns, MAX_COLUMNS, 80), _inside(rows, MAX_ROWS, 24)
        for lines in filter(None, (self.lines, self.main)):
            for row in lines:
                row.fit(columns)
            shown = lines is self.lines
            gone = max(0, min(len(lines) - rows, (self.y if shown else len(lines) - 1) - rows + 1))
            if gone:
                if lines is not self.lines or not self.alternate:
                    self.history.extend(lines[:gone])
                del lines[:gone]
                if shown:
                    self.y -= gone
            del lines[rows:]
            lines += [Row(columns) for _ in range(rows - len(lines))]
        self.columns, self.rows = columns, rows
        self.top, self.bottom = 0, rows - 1
        self.x, self.y = min(self.x, columns - 1), min(self.y, rows - 1)
        self.pending = False

    # ----------------------------------------------------------------------------------- printing

    def _print(self, text: str) -> None:
        if self.charsets[self.shifted] == "0":
            text = text.translate(_LINES)
        before, self._last = self._last, text[-1]
        if not text.isascii():
            widths = [char_width(char) for char in text]
            if min(widths) != 1 or max(widths) != 1:
                self._last = next(
                    (c for c, w in zip(reversed(text), reversed(widths)) if w), before
                )
                for char, width in zip(text, widths):
                    self._put(char, width)
                return
        at, size, columns = 0, len(text), self.columns
        while at < size:
            if self.pending:
                self._wrap()
            row, x = self.lines[self.y], self.x
            part = text[at : at + columns - x]
            count = len(part)
            if self.insert:
                self._insert_cells(row, x, count)
            elif not row.chars[x] or (x + count < columns and not row.chars[x + count]):
                row.clear(x, x + count, self.style)
            row.chars[x : x + count] = part
            row.styles[x : x + count] = [self.style] * count
            at += count
            self.x = x + count
            if self.x == columns:
                self.x = columns - 1
                self.pending = self._wraps
                if not self._wraps and at < size:
                    # All the rest overwrites the last cell.
                    row.chars[-1] = text[-1]
                    return

    def _put(self, char: str, width: int) -> None:
        row = self.lines[self.y]
        if width == 0:
            at = self.x if self.pending else self.x - 1
            if at > 0 and not row.chars[at]:
                at -= 1
            if at >= 0 and 0 < len(row.chars[at]) < 8:
                row.chars[at] += char
            return
        if self.pending or (self._wraps and self.x + width > self.columns > 1):
            self._wrap()
            row = self.lines[self.y]
        width = min(width, self.columns)
        self.x = min(self.x, self.columns - width)
        if self.insert:
            self._insert_cells(row, self.x, width)
        row.clear(self.x, self.x + width, self.style)
        row.chars[self.x] = char
        if width == 2:
            row.chars[self.x + 1] = ""
        self.x += width
        if self.x >= self.columns:
            self.x = self.columns - 1
            self.pending = self._wraps

    def _insert_cells(self, row: Row, x: int, count: int) -> None:
        count = min(count, self.columns - x)
        row.clear(self.columns - count, self.columns, self.style)
        if not row.chars[x]:
            row.clear(x, x + 1, row.styles[x])
        del row.chars[self.columns - count :], row.styles[self.columns - count :]
        row.chars[x:x] = [" "] * count
        row.styles[x:x] = [self.style] * count

    def _delete_cells(self, row: Row, x: int, count: int) -> None:
        count = min(count, self.columns - x)
        row.clear(x, x + count, self.style)
        del row.chars[x : x + count], row.styles[x : x + count]
        row.chars += [" "] * count
        row.styles += [self._blank()] * count

    def _wrap(self) -> None:
        self.lines[self.y].wrapped = True
        self.pending = False
        self.x = 0
        self._line_feed()

    def _blank(self) -> Style:
        """What erased cells are: the background stays."""
        return PLAIN if self.style.bg == DEFAULT else Style(bg=self.style.bg)

    # ------------------------------------------------------------------------------------ scrolling

    def _line_feed(self) -> None:
        if self.y == self.bottom:
            self._scroll_up(self.top, 1)
        elif self.y < self.rows - 1:
            self.y += 1

    def _scroll_up(self, top: int, count: int) -> None:
        count = min(count, self.bottom + 1 - top)
        if top == 0 and not self.alternate:
            self.history.extend(self.lines[:count])
        del self.lines[top : top + count]
        blank = self._blank()
        self.lines[self.bottom + 1 - count : self.bottom + 1 - count] = [
            Row(self.columns, blank) for _ in range(count)
        ]

    def _scroll_down(self, top: int, count: int) -> None:
        count = min(count, self.bottom + 1 - top)
        del self.lines[self.bottom + 1 - count : self.bottom + 1]
        blank = self._blank()
        self.lines[top:top] = [Row(self.columns, blank) for _ in range(count)]

    # ------------------------------------------------------------------------------------- controls

    def _control(self, char: str) -> None:
        if char in "\n\x0b\x0c\x84":
            self._line_feed()
            self.pending = False
            if self.newline:
                self.x = 0
        elif char == "\r":
            self.x, self.pending = 0, False
        elif char == "\b":
            self.x, self.pending = max(0, self.x - 1), False
        elif char == "\t":
            self._tab(1)
        elif char == "\x0e":
            self.shifted = True
        elif char == "\x0f":
            self.shifted = False
        elif char == "\x85":
            self._control("\n")
            self.x = 0
        elif char == "\x88":
            self.tabs.add(self.x)
        elif char == "\x8d":
            self._escape("\x1bM")

    def _tab(self, count: int) -> None:
        for _ in range(min(count, self.columns)):
            self.x = min((t for t in self.tabs if t > self.x), default=self.columns - 1)
        self.x, self.pending = min(self.x, self.columns - 1), False

    def _back_tab(self, count: int) -> None:
        for _ in range(min(count, self.columns)):
            self.x = max((t for t in self.tabs if t < self.x), default=0)
        self.pending = False

    def _escape(self, whole: str) -> None:
        body = whole[1:]
        if body == "7":
            self._save()
        elif body == "8":
            self._restore()
        elif body == "D":
            self._line_feed()
        elif body == "E":
            self._line_feed()
            self.x, self.pending = 0, False
        elif body == "H":
            self.tabs.add(self.x)
        elif body == "M":
            if self.y == self.top:
                self._scroll_down(self.top, 1)
            elif self.y:
                self.y -= 1
        elif body == "c":
            if self._keep_cleared and not self.alternate:
                self._keep(self.lines)
            self._reset()
        elif body in "=>":
            self.keypad = body == "="
        elif body == "#8":
            for row in self.lines:
                row.chars, row.styles = ["E"] * self.columns, [PLAIN] * self.columns
            self.top, self.bottom, self.origin = 0, self.rows - 1, False
            self._go_to(0, 0)
        elif body[0] in "()" and len(body) == 2:
            self.charsets = (
                (body[1], self.charsets[1]) if body[0] == "(" else (self.charsets[0], body[1])
            )

    def _save(self) -> None:
        self._saved[self.alternate] = Cursor(
            self.x, self.y, self.style, self.origin, self.shifted, self.charsets, self.pending, True
        )

    def _restore(self) -> None:
        saved = self.saved(self.alternate)
        self.x, self.y = saved.x, saved.y
        self.style, self.origin, self.shifted = saved.style, saved.origin, saved.shifted
        self.charsets = saved.charsets
        self.pending = saved.pending

    def _osc(self, whole: str) -> None:
        body = whole[1:] if whole[0] == "\x9d" else whole[2:]
        number, _, text = body.rstrip("\x07\x18\x1a\x9c").removesuffix("\x1b\\").partition(";")
        if number in ("0", "2"):
            self.title = "".join(filter(str.isprintable, text[:_TITLE_CHARS]))

    # ------------------------------------------------------------------------------------------ CSI

    def _csi(self, whole: str) -> None:
        body, final = (whole[1:-1] if whole[0] == "\x9b" else whole[2:-1]), whole[-1]
        if final < "@" or final > "~":
            return
        if not body.isprintable() or not body.isascii():
            for char in body:  # a control in the middle is obeyed
                if char < " ":
                    self._control(char)
            body = "".join(char for char in body if " " <= char <= "~")
        if final == "m":
            if not body or body[0] not in "<=>?":
                self.style = select(self.style, body)
            return
        private = body[:1] if body[:1] in tuple("<=>?") else ""
        numbers = [number_of(part) for part in body[len(private) :].split(";")[:32]]
        if private:
            if private == "?" and final in "hl":
                for number in numbers:
                    self._private(number, final == "h")
            elif private == "?" and final in "JK":
                self._erase(final, numbers[0])
            return
        if body.endswith(" "):
            if final == "q":
                self.shape = body[:-1][:3]
            return
        if body.endswith("!"):
            if final == "p":
                self._soft_reset()
            return
        if body and not body[-1].isdigit() and body[-1] not in ";:":
            return
        first = numbers[0]
        if final in _MOVES:
            self._move(final, max(1, first))
        elif final in "Hf":
            second = numbers[1] if len(numbers) > 1 else 1
            self._go_to(max(1, second) - 1, max(1, first) - 1)
        elif final in "JK":
            self._erase(final, first)
        elif final in "@PXLMSTb":
            self._edit(final, max(1, first))
        elif final == "r":
            bottom = numbers[1] if len(numbers) > 1 and numbers[1] else self.rows
            top = max(1, first) - 1
            bottom = min(bottom, self.rows) - 1
            if top < bottom:
                self.top, self.bottom = top, bottom
                self._go_to(0, 0)
        elif final in "hl":
            if 4 in numbers:
                self.insert = final == "h"
            if 20 in numbers:
                self.newline = final == "h"
        elif final == "g":
            if first == 3:
                self.tabs.clear()
            elif first == 0:
                self.tabs.discard(self.x)
        elif final == "s":
            self._save()
        elif final == "u":
            self._restore()

    def _move(self, final: str, count: int) -> None:
        self.pending = False
        if final in "AF":
            self.y = max(self.top if self.y >= self.top else 0, self.y - count)
        elif final in "BEe":
            last = self.bottom if self.y <= self.bottom else self.rows - 1
            self.y = min(last, self.y + count)
        elif final in "Ca":
            self.x = min(self.columns - 1, self.x + count)
        elif final == "D":
            self.x = max(0, self.x - count)
        elif final in "G`":
            self.x = min(self.columns, count) - 1
        elif final == "d":
            self._go_to(self.x, count - 1)
        elif final == "I":
            self._tab(count)
        elif final == "Z":
            self._back_tab(count)
        if final in "EF":
            self.x = 0

    def _go_to(self, x: int, y: int) -> None:
        low, high = (self.top, self.bottom) if self.origin else (0, self.rows - 1)
        self.x, self.y = min(x, self.columns - 1), min(low + y, high)
        self.pending = False

    def _erase(self, final: str, what: int) -> None:
        blank, row = self._blank(), self.lines[self.y]
        self.pending = False
        if final == "K" or what < 2:
            start, end = (self.x, self.columns) if what == 0 else (0, self.x + 1)
            if final == "K" and what == 2:
                start, end = 0, self.columns
            elif what > 2:
                return
            if final == "J" and what == 0 and self._keep_cleared and not (self.x or self.y):
                self._cleared()
            row.clear(start, end, blank)
            if end == self.columns:
                row.wrapped = False
        if final == "J":
            if what in (2, 3) and self._keep_cleared:
                self._cleared()
            if what == 3:
                return
            start, end = {0: (self.y + 1, self.rows), 1: (0, self.y), 2: (0, self.rows)}.get(
                what, (0, 0)
            )
            for y in range(start, end):
                self.lines[y] = Row(self.columns, blank)

    def _cleared(self) -> None:
        if not self.alternate:
            self._keep(self.lines)

    def _keep(self, rows: list[Row]) -> None:
        last = max((y for y, row in enumerate(rows) if row.text().strip()), default=-1)
        for row in rows[: last + 1]:
            kept = Row(0)
            kept.chars, kept.styles, kept.wrapped = row.chars[:], row.styles[:], row.wrapped
            self.history.append(kept)

    def _edit(self, final: str, count: int) -> None:
        row, y = self.lines[self.y], self.y
        if final == "@":
            self._insert_cells(row, self.x, count)
        elif final == "P":
            self._delete_cells(row, self.x, count)
        elif final == "X":
            row.clear(self.x, min(self.columns, self.x + count), self._blank())
        elif final == "b":
            if self._last:
                self._print(self._last * min(count, self.columns * self.rows))
            return
        elif final == "S":
            self._scroll_up(self.top, count)
        elif final == "T":
            self._scroll_down(self.top, count)
        elif self.top <= y <= self.bottom:
            if final == "L":
                self._scroll_down(y, count)
            else:
                self._drop_lines(y, count)
            self.x = 0
        self.pending = False

    def _drop_lines(self, y: int, count: int) -> None:
        kept, self.history = self.history, deque(maxlen=0)  # deleted, not scrolled off
        self._scroll_up(y, count)
        self.history = kept

    def _private(self, mode: int, on: bool) -> None:
        if mode in _ALTERNATE:
            self._switch(mode, on)
            return
        if mode == 1048:
            if on:
                self._save()
            else:
                self._restore()
            return
        if mode > 9999:
            return
        if mode == 6:  # not kept with the others: ESC 8 restores it
            self.origin = on
            self._go_to(0, 0)
            return
        self.modes.pop(mode, None)
        self.modes[mode] = on
        if mode == 7:
            self._wraps = on
            self.pending = self.pending and on
        elif mode == 25:
            self.cursor_visible = on
        elif mode == 66:
            self.keypad = on

    def _switch(self, mode: int, on: bool) -> None:
        if on and self.main is None:
            if mode == 1049:
                self._save()
            self.main = self.lines
            self.lines = [Row(self.columns) for _ in range(self.rows)]
            self.alternate_mode = mode
            self._saved[1] = self._saved[0]
        elif not on and self.main is not None:
            self.lines, self.main = self.main, None
            self.alternate_mode = 0
            if mode == 1049:
                self._restore()
        self.pending = False

    # ------------------------------------------------------------------------------------- answers

    def saved(self, which: int) -> Cursor:
        """What ESC 7 kept of the main (0) or alternate (1) screen, inside this size."""
        saved = self._saved[which]
        x = min(saved.x, self.columns - 1)
        pending = saved.pending and x == self.columns - 1
        return saved._replace(x=x, y=min(saved.y, self.rows - 1), pending=pending)

    def text(self) -> list[str]:
        """What each row shows, without blanks at its end."""
        return [row.text().rstrip(" ") for row in self.lines]

    def shown(self) -> tuple[tuple[tuple[str, Style], ...], ...]:
        """A picture: of each row its runs. Equal if it looks the same, the cursor apart."""
        return tuple(tuple(row.runs()) for row in self.lines)


_MOVES = frozenset("ABCDEFGIZ`ade")


def _inside(size: int, most: int, otherwise: int) -> int:
    return min(size, most) if size > 0 else otherwise
