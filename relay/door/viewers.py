"""Control connections that watch: they get their user's events, at the pace at which they read.

Who is slow gets the newest of each thing; who is slower than that a fresh snapshot from the broker.
Nothing here grows with time. Knows no event but by what it is about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gshell.net import control
from gshell.net.loop import Loop
from relay.door.control import Control

Message = dict[str, Any]

SLOW_BYTES = 1 << 16  # unsent: from here on events wait to be overtaken by newer ones
PENDING = 512  # things of which news wait; more is a snapshot
RESYNC_S = 1.0  # at least between two snapshots for one connection


class _Viewer:
    __slots__ = ("lost", "one", "pending", "resync_at", "seq", "user")

    def __init__(self, one: Control, user: str, seq: int) -> None:
        self.one = one
        self.user = user
        self.seq = seq
        self.lost = False  # asks for a snapshot, gets nothing until it comes
        self.pending: dict[tuple[str, str], Message] = {}
        self.resync_at = 0.0


class Viewers:
    """Invariant: what a viewer was sent, or has pending, is complete up to its ``seq``, or it is
    ``lost``."""

    def __init__(self, loop: Loop, tell: Callable[[Message], None]) -> None:
        self._loop = loop
        self._tell = tell
        self._viewers: dict[int, _Viewer] = {}
        self.of: dict[str, set[int]] = {}  # user -> connections
        self.resyncs = 0

    def __len__(self) -> int:
        return len(self._viewers)

    def feed(self, one: Control, user: str, seq: int) -> None:
        """From here on; a snapshot as of ``seq`` was sent just before. -1: no more."""
        if seq < 0:
            self.left(one.number)
            return
        viewer = self._viewers.get(one.number)
        if viewer is None:
            self._viewers[one.number] = viewer = _Viewer(one, user, seq)
            self.of.setdefault(user, set()).add(one.number)
        viewer.seq = seq
        viewer.lost = False
        viewer.pending.clear()

    def left(self, number: int) -> None:
        viewer = self._viewers.pop(number, None)
        if viewer is not None:
            others = self.of[viewer.user]
            others.discard(number)
            if not others:
                del self.of[viewer.user]

    def publish(self, user: str, seq: int, events: list[Message]) -> None:
        """The broker says: these, the last of them ``seq``."""
        before = seq - len(events)
        encoded: dict[int, bytes] = {}
        for number in list(self.of.get(user, ())):
            viewer = self._viewers.get(number)
            if viewer is None or viewer.lost or seq <= viewer.seq:
                continue
            if before > viewer.seq:
                self._lose(viewer)
                continue
            out: list[bytes] = []
            size = viewer.one.link.unsent
            for at in range(viewer.seq - before, len(events)):
                number_of = before + at + 1
                if not viewer.pending and size < SLOW_BYTES:
                    if number_of not in encoded:
                        message = {"m": "event", "seq": number_of, **events[at]}
                        encoded[number_of] = control.encode(message)
                    out.append(encoded[number_of])
                    size += len(out[-1])
                else:
                    if not self._keep(viewer, events[at], number_of):
                        break
            else:
                viewer.seq = seq
            if out:
                viewer.one.link.send(b"".join(out))

    def room(self, number: int) -> None:
        """All that was sent to it has left."""
        viewer = self._viewers.get(number)
        if viewer is None:
            return
        if viewer.lost:
            self._ask(viewer)
            return
        while viewer.pending and viewer.one.link.unsent < SLOW_BYTES:
            key = next(iter(viewer.pending))
            viewer.one.link.send(control.encode(viewer.pending.pop(key)))

    def _keep(self, viewer: _Viewer, event: Message, seq: int) -> bool:
        """For when it has read what is on its way; False: it is lost."""
        key = _about(event)
        viewer.pending.pop(key, None)  # the newest stands last
        viewer.pending[key] = {"m": "event", "seq": seq, **event}
        if len(viewer.pending) > PENDING:
            self._lose(viewer)
        return not viewer.lost

    def _lose(self, viewer: _Viewer) -> None:
        viewer.lost = True
        viewer.pending.clear()
        if not viewer.one.link.unsent:  # else when what it has to read has left us
            self._ask(viewer)

    def _ask(self, viewer: _Viewer) -> None:
        now = self._loop.clock()
        if now < viewer.resync_at:
            self._loop.later(viewer.resync_at - now, lambda: self.room(viewer.one.number))
            return
        viewer.resync_at = now + RESYNC_S
        self.resyncs += 1
        self._tell({"m": "resync", "c": viewer.one.number})


def _about(event: Message) -> tuple[str, str]:
    kind = event["kind"]
    if kind == "gone":
        return event["what"], event["id"]
    if kind in ("job", "agent"):
        return kind, event[kind]["id"]
    return kind, ""
