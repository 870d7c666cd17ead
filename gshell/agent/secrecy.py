"""Which of what was typed may be told to somebody who records it. Pure: knows no terminal.

A secret is what

* was given to a terminal that edits lines and does not echo: ``stty -echo``, getpass, ssh, sudo;
* or was given while the terminal does not echo itself (readline, prompts of all kinds), is text,
  and the program did not show it in turn, outside the alternate screen: ``read -s -n``, prompts
  that show stars;
* or was to be echoed by the terminal, which had ceased to by the time it was read.

In doubt it is a secret. Not secrets: Enter and the other keys that are no text, what is typed to a
program on the alternate screen (its keys are commands and are not shown either), and what the
terminal has echoed: that is in the output for everybody to read. What comes of a paste counts line
by line.
"""

from __future__ import annotations

import re
from typing import Any, List, NamedTuple  # noqa: UP035 - 3.9 looks at them at run time

ECHO_S = 1.0  # a program that has read a key shows it sooner
KERNEL_S = 0.05  # and a terminal at once
MOST_ECHO_BYTES = 8192  # of output looked at for one key
PASTED_BYTES = 4  # in one piece: no key
LINE_BYTES = 400  # of the line typed so far, to be found again where it is drawn anew

_TOKENS = re.compile(
    rb"(?P<key>\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?)"
    rb"|(?P<end>[\r\n\x03\x04\x1a\x1c])"
    rb"|(?P<control>[\x00-\x1f\x7f])"
    rb"|(?P<text>[^\x00-\x1f\x7f]+)",
    re.DOTALL,
)
_UNSEEN = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[P^_X][^\x1b]*(?:\x1b\\)?"
    rb"|\x1b[ -/]*[0-~]|\x07"
)
_MASKS = re.compile(rb"(?:[*#.]|\xe2\x80\xa2|\xe2\x97\x8f|\xe2\x9d\x8b)+\Z")


class Modes(NamedTuple):
    """What the terminal does with what is typed."""

    edits: bool = True
    """Lines (ICANON)."""
    echoes: bool = True
    """ECHO."""


class Told(NamedTuple):
    """Something typed, judged."""

    whose: Any
    begin: int
    """Offset in the writer's stdin."""
    data: bytes
    secret: bool


class _Piece:
    """Not judged yet. What is no text waits only for what was typed before it."""

    __slots__ = ("at", "by_terminal", "data", "due", "end", "text", "whose")

    def __init__(self, whose: Any, at: int, data: bytes, due: float) -> None:
        self.whose = whose
        self.at = at
        self.data = data
        self.due = due
        self.text = False
        self.end = False
        self.by_terminal = False


Found = List[Told]  # noqa: UP006


class Secrecy:
    """Of one terminal. Invariant: what goes in comes out once, in order."""

    def __init__(self) -> None:
        self._pending: list[_Piece] = []
        self._shown = b""  # output since the first of them was given
        self._line = b""  # text of this line that the program has shown

    @property
    def due(self) -> float | None:
        """When to ``look``, if nothing happens before."""
        return self._pending[0].due if self._pending else None

    def given(
        self, whose: Any, at: int, data: bytes, modes: Modes, alternate: bool, now: float
    ) -> Found:
        """``data`` was given to the terminal, which was in ``modes`` just before."""
        found: Found = []
        for match in _TOKENS.finditer(data):
            piece = _Piece(whose, at + match.start(), match.group(), now + ECHO_S)
            kind = match.lastgroup
            piece.end = kind == "end"
            if modes.edits and not modes.echoes:
                if piece.end and not self._pending:
                    found.append(self._told(piece, False))
                elif piece.end:
                    self._pending.append(piece)
                else:
                    found += self._all()  # whatever waits was typed before
                    found.append(Told(whose, piece.at, piece.data, True))
                continue
            piece.text = kind == "text" and (modes.edits or not alternate)
            if piece.text or self._pending:
                if piece.text and modes.echoes:
                    piece.by_terminal = True
                    piece.due = now + KERNEL_S
                self._pending.append(piece)
            else:
                found.append(self._told(piece, False))
        return found

    def output(self, data: bytes, modes: Modes) -> Found:
        """The program, or the terminal, says this: is it an echo?"""
        if not self._pending:
            return []
        self._shown += data[: MOST_ECHO_BYTES - len(self._shown)]
        seen = _UNSEEN.sub(b"", self._shown)
        found: Found = []
        while self._pending:
            head = self._pending[0]
            if not head.text:
                found.append(self._told(self._pending.pop(0), False))
            elif head.by_terminal:
                found.append(self._told(self._pending.pop(0), not modes.echoes))
            else:
                hidden, open_ = self._judge(seen)
                if not hidden + open_:
                    break
                for number in range(hidden + open_):
                    found.append(self._told(self._pending.pop(0), number < hidden))
                self._shown = seen = b""
        if not self._pending:
            self._shown = b""
        return found

    def _judge(self, seen: bytes) -> tuple[int, int]:
        """How many of the pieces of text at the head turn out to be secret, and how many after
        them not."""
        pieces = []
        ended = False
        for piece in self._pending:
            if not piece.text or piece.by_terminal:
                ended = piece.end
                break
            pieces.append(piece)
        run = b"".join(piece.data for piece in pieces)
        if seen.startswith(run):
            return 0, len(pieces)
        for number in range(1, len(pieces)):  # keys that nothing shows, then a line in one piece
            if len(pieces[number].data) >= PASTED_BYTES:
                rest = b"".join(piece.data for piece in pieces[number:])
                if rest in seen:
                    return number, len(pieces) - number
        if ended:
            first = seen.partition(b"\n")[0].rstrip(b"\r")
            if first.endswith(run) or (len(run) >= PASTED_BYTES and run in first):
                return 0, len(pieces)  # behind a prompt that was drawn anew
            # The line is over, and was answered with something else.
            return (len(pieces) if b"\n" in seen else 0), 0
        if _MASKS.match(seen):
            return len(pieces), 0
        line = self._line + run
        if (len(line) > 2 and line in seen) or seen.rstrip(b" ").endswith(run):
            return 0, len(pieces)  # drawn anew
        taken = count = 0
        for piece in pieces:
            if not seen.startswith(piece.data, taken):
                break
            taken += len(piece.data)
            count += 1
        return 0, count

    def look(self, now: float, modes: Modes, unread: bool) -> Found:
        """Time has passed. ``unread``: the program has not taken all of it yet."""
        found: Found = []
        while self._pending and self._pending[0].due <= now:
            head = self._pending[0]
            if head.by_terminal:
                found.append(self._told(self._pending.pop(0), not modes.echoes))
            elif unread and head.text:
                head.due = now + ECHO_S
                break
            else:
                found.append(self._told(self._pending.pop(0), head.text))
        while self._pending and not self._pending[0].text:
            found.append(self._told(self._pending.pop(0), False))
        if not self._pending:
            self._shown = b""
        return found

    def ended(self) -> Found:
        """The program has: nothing more will be shown."""
        return self._all()

    def _all(self) -> Found:
        found = [self._told(piece, piece.text) for piece in self._pending]
        self._pending = []
        self._shown = b""
        return found

    def _told(self, piece: _Piece, secret: bool) -> Told:
        if piece.end:
            self._line = b""
        elif piece.text and not secret:
            self._line = (self._line + piece.data)[-LINE_BYTES:]
        return Told(piece.whose, piece.at, piece.data, secret)
