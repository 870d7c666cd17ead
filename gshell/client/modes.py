"""Which terminal modes a session's output has set, and the bytes that undo them. Knows no terminal.

Printing every reset there is would do harm: leaving the alternate screen that nobody entered moves
the cursor. So the output is looked at as it passes: only chunks with an ESC, and of those only what
is found by searching for a few prefixes (colours, the bulk of all sequences, are never parsed).
"""

from __future__ import annotations

_ALTERNATE = (b"1049", b"1047", b"47")
# DEC private modes and what undoes each: said once seen, even if it was unset since. That does no
# harm, and spares the guardian a message each time an editor hides its cursor to draw.
_STICKY = {
    b"25": b"\x1b[?25h",  # the cursor, hidden
    b"7": b"\x1b[?7h",  # no wrapping
    b"1": b"\x1b[?1l",  # cursor keys
    b"5": b"\x1b[?5l",  # reverse video
    b"6": b"\x1b[?6l",  # origin
    b"66": b"\x1b>",  # keypad
    b"9": b"\x1b[?9l",  # mouse, and its further modes
    b"1000": b"\x1b[?1000l",
    b"1001": b"\x1b[?1001l",
    b"1002": b"\x1b[?1002l",
    b"1003": b"\x1b[?1003l",
    b"1005": b"\x1b[?1005l",
    b"1006": b"\x1b[?1006l",
    b"1015": b"\x1b[?1015l",
    b"1016": b"\x1b[?1016l",
    b"1004": b"\x1b[?1004l",  # focus
    b"1007": b"\x1b[?1007l",  # wheel as cursor keys
    b"2004": b"\x1b[?2004l",  # bracketed paste
    b"2026": b"\x1b[?2026l",  # held drawing
    b"2031": b"\x1b[?2031l",  # colour scheme reports
    b"2048": b"\x1b[?2048l",  # size reports
}
_ON_BY_DEFAULT = (b"25", b"7")
_FOUND = {  # what is found by its first bytes alone
    b"\x1b[>4": b"\x1b[>4m",  # xterm's modifyOtherKeys, to its initial value
    b"\x1b=": b"\x1b>",  # keypad
    b"\x1b(0": b"\x1b(B",  # line drawing
}
_CURSOR_SHAPE = b"\x1b[0 q"
_MARGINS = (
    b"\x1b7\x1b[r\x1b8"  # the whole screen scrolls; the cursor, which that moves, is put back
)
_SETS_MARGINS = tuple(b"%dr" % digit for digit in range(10))
_LONGEST = 40  # bytes of a sequence we care for; what is longer is nothing of ours


class SeenModes:
    """Invariant: `reset` undoes what the output fed so far has set, and touches nothing else."""

    __slots__ = ("_alternate", "_pushed", "_pushed_alternate", "_sticky", "_touched", "cut")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Everything has been undone."""
        self._sticky: set[bytes] = set()  # resets
        self._alternate = b""  # the mode that entered the other screen
        self._pushed = self._pushed_alternate = 0  # kitty's keyboard stack: each screen has one
        self._touched = False
        self.cut = b""
        """The beginning of a sequence, at the end of the last chunk."""

    def feed(self, chunk: bytes) -> bool:
        """Look at output; whether `reset` changed (colours don't count)."""
        if self.cut:
            chunk, self.cut = self.cut + chunk, b""
        last = chunk.rfind(b"\x1b")
        if last < 0:
            return False
        before = self._state()
        cut = b""
        if len(chunk) - last < _LONGEST and _incomplete(chunk, last + 1):
            chunk, cut = chunk[:last], chunk[last:]
        if chunk:
            self._look(chunk)
        self.cut = cut
        return self._state() != before

    def reset(self) -> bytes:
        """What to print; empty if nothing was ever set."""
        if not self._touched:
            return b""
        parts = []
        if self._alternate:
            if self._pushed_alternate:
                parts.append(b"\x1b[<%du" % self._pushed_alternate)
            # Its margins hold on the other screen too. This moves the cursor, but only of a screen
            # that is left.
            parts += [b"\x1b[r", b"\x1b[?%bl" % self._alternate]
        if self._pushed:
            parts.append(b"\x1b[<%du" % self._pushed)
        return b"".join([*parts, *sorted(self._sticky), b"\x1b[m"])

    def _state(self) -> tuple[object, ...]:
        return len(self._sticky), self._alternate, self._pushed, self._pushed_alternate

    def _look(self, chunk: bytes) -> None:
        at = chunk.rfind(b"\x1bc")
        if at >= 0:  # a full reset: what came before is gone
            self.clear()
            chunk = chunk[at:]
        self._touched = True
        for start, undo in _FOUND.items():
            if start in chunk:
                self._sticky.add(undo)
        found = _all(chunk, b"\x1b[>") + _all(chunk, b"\x1b[<")
        cursor = (b"25l", b"25h")  # apart: an editor that draws says them thousands of times
        if b"\x1b[?25l" in chunk:
            self._private(b"25", False)
        if chunk.count(b"\x1b[?") > sum(chunk.count(b"\x1b[?" + mode) for mode in cursor):
            private = _all(chunk, b"\x1b[?")
            found += [at for at in private if not chunk.startswith(cursor, at + 3)]
        # In the order in which they stand: each screen has a keyboard stack of its own.
        for at in sorted(found):
            self._sequence(*_parse(chunk, at + 2))
        for at in _all(chunk, b" q"):
            begun = chunk.rfind(b"\x1b[", max(0, at - 5), at)
            if begun >= 0 and chunk[begun + 2 : at].isdigit():
                self._sticky.add(_CURSOR_SHAPE)

        margins = -1
        for ending in _SETS_MARGINS:  # searched from its end: a digit before an r is rare in text
            for at in _all(chunk, ending):
                begun = chunk.rfind(b"\x1b[", max(0, at - 10), at)
                if begun >= 0 and not chunk[begun + 2 : at].strip(b"0123456789;"):
                    margins = max(margins, begun)
        if margins >= 0:
            self._sticky.add(_MARGINS)
        if chunk.rfind(b"\x1b[r") > margins:
            self._sticky.discard(_MARGINS)

    def _sequence(self, kind: bytes, parameters: bytes, final: bytes) -> None:
        if kind == b"?" and final in (b"h", b"l"):
            for mode in parameters.split(b";"):
                self._private(mode, final == b"h")
        elif final == b"u" and kind in (b">", b"<"):
            n = 1 if kind == b">" else -min(_number(parameters) or 1, 99)
            if self._alternate:
                self._pushed_alternate = max(0, self._pushed_alternate + n)
            else:
                self._pushed = max(0, self._pushed + n)

    def _private(self, mode: bytes, on: bool) -> None:
        if mode in _ALTERNATE:
            self._alternate = mode if on else b""
            self._pushed_alternate = 0
        elif mode in _STICKY and on != (mode in _ON_BY_DEFAULT):
            self._sticky.add(_STICKY[mode])


def _all(chunk: bytes, wanted: bytes) -> list[int]:
    places = []
    at = chunk.find(wanted)
    while at >= 0:
        places.append(at)
        at = chunk.find(wanted, at + 2)
    return places


def _parse(chunk: bytes, at: int) -> tuple[bytes, bytes, bytes]:
    """(``?``, parameters, final byte) of what stands after ``ESC [``; all empty if it is cut."""
    for end in range(at + 1, min(at + _LONGEST, len(chunk))):
        if chunk[end] not in b"0123456789;:":
            return chunk[at : at + 1], chunk[at + 1 : end], chunk[end : end + 1]
    return b"", b"", b""


def _incomplete(chunk: bytes, at: int) -> bool:
    """Whether the sequence after an ESC goes on in the next chunk."""
    rest = chunk[at:]
    if rest[:1] == b"[":
        return not rest[1:].strip(b"0123456789;:?<=>! ")
    return rest in (b"", b"(")


def _number(parameters: bytes) -> int:
    return int(parameters) if parameters.isdigit() and len(parameters) < 4 else 0
