"""Tells those who record a session what is typed, as far as it is their business. Made when the
first one asks.

What may be told is decided in `secrecy`. It is told before the output that answers it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from typing import TYPE_CHECKING, Any

from gshell.agent.secrecy import Modes, Secrecy, Told
from gshell.wire.constants import stdin_of

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.ranks import Rank
    from gshell.agent.session import Session
    from gshell.net.loop import Timer

PIECE_BYTES = 1 << 16  # told in one message: its hex fits in
AWAY_BYTES = 4 << 20  # told to somebody whose link is broken; then no more


class Trace:
    """Of one session. Invariant: only its owner is told what was typed, and no secret."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asking: dict[Attachment, bool] = {}  # who, and do they get the bytes
        self._away: dict[Attachment, int] = {}
        self._of: dict[int, Secrecy] = {}
        self._at: dict[tuple[int, str], int] = {}  # how far a writer's stdin was given
        self._timer: Timer | None = None

    def ask(self, attachment: Attachment, message: dict[str, Any]) -> None:
        """The control message ``trace``."""
        if attachment.share or attachment.user != self._session.user:
            return  # what others type is none of their business, not even when
        self._asking[attachment] = message.get("input") is True

    @property
    def on(self) -> bool:
        """Does anybody still want to know?"""
        here = self._session.attachments
        for gone in [who for who in self._asking if here.get(who.id) is not who]:
            del self._asking[gone]
            self._away.pop(gone, None)
        return bool(self._asking) or self._session.taps.tape is not None

    # -- what happens

    def given(
        self, rank: Rank, writer: Attachment | None, data: bytes, modes: Modes | None
    ) -> None:
        """The first of them was given to ``rank``; ``modes``: of its terminal just before."""
        if writer is None or not self.on or not data:
            return
        key = (rank.number, writer.id)
        receiving = writer.peer.receiving(stdin_of(rank.number))
        at = max(self._at.get(key, 0), receiving.consumed if receiving is not None else 0)
        self._at[key] = at + len(data)
        if modes is None:  # a pipe shows nothing
            self._tell(rank, [Told(writer, at, data, False)])
            return
        secrecy = self._of.setdefault(rank.number, Secrecy())
        alternate = rank.modes is not None and rank.modes.alternate_at is not None
        now = self._session.clock()
        self._tell(rank, secrecy.given(writer, at, data, modes, alternate, now))
        self._wait()

    def output(self, rank: Rank, data: bytes) -> None:
        """It has just been read, and nobody has it yet."""
        secrecy = self._of.get(rank.number)
        if secrecy is not None and secrecy.due is not None:
            modes = modes_of(rank)
            if modes is not None:
                self._tell(rank, secrecy.output(data, modes))

    def ended(self, rank: Rank) -> None:
        """Its program has; another one may take its place."""
        secrecy = self._of.get(rank.number)
        if secrecy is not None:
            self._tell(rank, secrecy.ended())

    def sized(self, rank: Rank, rows: int, columns: int) -> None:
        if self.on:
            message = {"t": "size", "rank": rank.number, "rows": rows, "cols": columns}
            for attachment in self._asking:
                if attachment is self._session.primary:  # the others are told anyway
                    self._say(attachment, message)

    # -- telling

    def _wait(self) -> None:
        due = [s.due for s in self._of.values() if s.due is not None]
        if due and self._timer is None:
            loop = self._session.loop
            self._timer = loop.later(max(0.001, min(due) - loop.clock()), self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._session.clock()
        for rank in self._session.ranks:
            secrecy = self._of.get(rank.number)
            if secrecy is not None and secrecy.due is not None:
                modes = modes_of(rank)
                if modes is None:
                    self._tell(rank, secrecy.ended())
                else:
                    self._tell(rank, secrecy.look(now, modes, unread(rank)))
        self._wait()

    def _tell(self, rank: Rank, found: list[Told]) -> None:
        if not found or not self.on:
            return
        tape = self._session.taps.tape
        if tape is not None and tape.rank is rank:
            tape.typed(found)
        now = round(time.time(), 3)
        for told in _joined(found):
            for at in range(0, len(told.data), PIECE_BYTES):
                piece = told.data[at : at + PIECE_BYTES]
                begin = told.begin + at
                message = {"t": "typed", "rank": rank.number, "from": begin,
                           "until": begin + len(piece), "secret": told.secret,
                           "at": now}  # fmt: skip
                for attachment, with_data in list(self._asking.items()):
                    if with_data and not told.secret:
                        self._say(attachment, {**message, "data": piece.hex()})
                    else:
                        self._say(attachment, message)

    def _say(self, attachment: Attachment, message: dict[str, Any]) -> None:
        if attachment.link is None:
            said = self._away.get(attachment, 0) + 200 + len(message.get("data", ""))
            if said > AWAY_BYTES:
                return
            self._away[attachment] = said
        else:
            self._away.pop(attachment, None)
        attachment.peer.say(message)
        attachment.pump()


def _joined(found: list[Told]) -> list[Told]:
    """What is of one kind and one writer is told in one piece."""
    out: list[Told] = []
    for told in found:
        last = out[-1] if out else None
        if (
            last is not None
            and last.whose is told.whose
            and last.secret == told.secret
            and last.begin + len(last.data) == told.begin
        ):
            out[-1] = last._replace(data=last.data + told.data)
        else:
            out.append(told)
    return out


def modes_of(rank: Rank) -> Modes | None:
    """Of its terminal; None: it has none."""
    child = rank.child
    if child is None or not child.pty or child.stdin < 0:
        return None
    try:
        flags = termios.tcgetattr(child.stdin)[3]
    except termios.error:
        return None
    return Modes(bool(flags & termios.ICANON), bool(flags & termios.ECHO))


def unread(rank: Rank) -> bool:
    """Is there something in its terminal that its program has not read?"""
    child = rank.child
    if child is None or not child.pty:
        return False
    try:
        waiting = fcntl.ioctl(child._held, termios.FIONREAD, bytes(4))
        return bool(struct.unpack("i", waiting)[0] > 0)
    except OSError:
        return False


def window(rank: Rank) -> list[int] | None:
    """Rows and columns of its terminal; None: it has none."""
    child = rank.child
    if child is None or not child.pty or child.stdout < 0:
        return None
    try:
        columns, rows = os.get_terminal_size(child.stdout)
    except OSError:
        return None
    return [rows, columns]
