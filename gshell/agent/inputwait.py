"""Tells who asked for it when a step's programs wait for input: the messages `wait`.

Nothing is looked at before somebody asks (`trace` with ``waits``), nor after the last one left.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gshell.net import inputwait
from gshell.net.inputwait import Reader, Watched
from gshell.net.ptyprobe import PtyProbe
from gshell.net.waitwatch import WaitWatch
from gshell.wire.constants import stderr_of, stdout_of

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.ranks import Rank
    from gshell.agent.session import Session


class InputWaits:
    """Of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asked: dict[Attachment, bool] = {}
        self._ranks: dict[int, _OneRank] = {}
        self.probe = PtyProbe(session.loop)

    def ask(self, attachment: Attachment, on: bool) -> None:
        """It wants to be told, from now on, or no more."""
        if not on:
            self._asked.pop(attachment, None)
        elif attachment not in self._asked:
            self._asked[attachment] = True
            for one in self._ranks.values():
                self.say(one.rank, one.watch.reader, attachment)
        if on:
            for rank in self._session.ranks:
                if rank.child is not None:
                    self.begun(rank)
        self._tidy()

    def begun(self, rank: Rank) -> None:
        """It has a process; if it reads anything at all it is looked at."""
        child = rank.child
        if child is None or child.stdin < 0 or not self._asked or rank.number in self._ranks:
            return
        one = self._ranks[rank.number] = _OneRank(self, self._session, rank)
        self.say(rank, None)
        one.watch.look()

    def printed(self, rank: Rank) -> None:
        """Output of it came."""
        self.begun(rank)
        if rank.number in self._ranks:
            self._ranks[rank.number].watch.printed()

    def typing(self, rank: Rank) -> None:
        """Input is about to be given to it."""
        if rank.number in self._ranks:
            self._ranks[rank.number].watch.typing()

    def typed(self, rank: Rank) -> None:
        """Input was given to it."""
        self.begun(rank)
        if rank.number in self._ranks:
            self._ranks[rank.number].watch.typed()

    def ended(self, rank: Rank) -> None:
        """It has no process any more."""
        one = self._ranks.pop(rank.number, None)
        if one is not None:
            one.watch.close()
        if not self._ranks:
            self.probe.close()

    def _tidy(self) -> None:
        here = self._session.attachments.values()
        for attachment in [each for each in self._asked if each not in here]:
            del self._asked[attachment]
        if not self._asked:
            for one in self._ranks.values():
                one.watch.close()
            self._ranks.clear()
            self.probe.close()

    def say(self, rank: Rank, reader: Reader | None, only: Attachment | None = None) -> None:
        """To all who asked, or to this one."""
        for attachment in [only] if only is not None else list(self._asked):
            if attachment.id not in self._session.attachments:
                self._asked.pop(attachment, None)
                continue
            if not attachment.sees(rank):
                continue
            message: dict[str, Any] = {
                "t": "wait",
                "rank": rank.number,
                "on": reader is not None,
                "out": rank.logs[stdout_of(rank.number)].end,
                "in": attachment.input_taken(rank.number),
                "from": reader.where if reader is not None else "tty",
                "at": round(time.time(), 6),
            }
            errors = rank.logs.get(stderr_of(rank.number))
            if errors is not None:
                message["err"] = errors.end
            if reader is not None:
                message["who"] = reader.name
                message["sure"] = reader.sure
            attachment.peer.say(message)
            attachment.pump()
        if not self._asked:
            self._session.loop.soon(self._tidy)


class _OneRank:
    """What is looked at."""

    def __init__(self, waits: InputWaits, session: Session, rank: Rank) -> None:
        self.rank = rank
        self._waits_of = waits
        self.watch = WaitWatch(session.loop, self, waits.probe)

    def look(self) -> Reader | None:
        rank = self.rank
        child = rank.child
        if child is None or child.stdin < 0 or rank.input:
            return None  # something typed has not even reached the kernel
        if child.pty:
            found = inputwait.looks(Watched(child.pid, child.stdout, child.held, -1))
        else:
            if any(fd >= 0 and inputwait.queued(fd) for fd in (child.stdout, child.stderr)):
                return None
            found = inputwait.looks(Watched(child.pid, -1, -1, child.stdin))
        return found

    def waits(self, reader: Reader | None) -> None:
        self._waits_of.say(self.rank, reader)


def ask(attachment: Attachment, on: bool) -> None:
    """A client's `trace`: whether it wants to be told."""
    session = attachment.session
    if attachment.share or attachment.user != session.user:
        return  # what others run is none of their business
    if session.taps.waits is None:
        if not on:
            return
        session.taps.waits = InputWaits(session)
    session.taps.waits.ask(attachment, on)
