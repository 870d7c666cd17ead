"""What members of one job say to each other through the relay: once, whole and in order.

The relay keeps nothing and may lose anything while a connection of somebody's is down, so a sender
says again what was not confirmed. Knows no sockets; time is its owner's. See gshell/mpi/MPI.md.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Callable, NamedTuple

PIECE = 28_000  # characters of a body in one message: twice that, escaped again, is below 64 KiB
WINDOW = 1 << 19  # characters said to one member and not confirmed
MAX_BODY = 1 << 26  # characters of a body in pieces
MAX_HELD = 1 << 20  # characters held for a step whose client has yet to say what to start
OK_AFTER_S = 0.2  # what goes the other way soon confirms as well
OK_AFTER_PIECES = 8
REPEAT_S = 1.0  # at first; a message crosses the relay in milliseconds
REPEAT_MOST_S = 8.0

Message = dict[str, Any]


class Lane:
    """Both directions between two members. Pure.

    Invariant: ``said`` holds, in order, what was said and is not confirmed; the rest waits.
    """

    __slots__ = ("_had", "_in_flight", "_part", "_part_size", "_waiting", "next", "owes", "said")

    def __init__(self) -> None:
        self.next = 1  # number of what is said next
        self.said: deque[tuple[int, Message, int]] = deque()  # number, body, characters
        self._waiting: deque[tuple[Message, int]] = deque()
        self._in_flight = 0
        self._had = 0  # number of what came last
        self.owes = 0  # came since we confirmed something
        self._part: list[str] = []
        self._part_size = 0

    @property
    def had(self) -> int:
        return self._had

    def push(self, body: Message) -> None:
        text = json.dumps(body, separators=(",", ":"))
        if len(text) <= PIECE:
            self._waiting.append((body, len(text)))
            return
        for at in range(0, len(text), PIECE):
            piece = {"t": "piece", "text": text[at : at + PIECE], "last": at + PIECE >= len(text)}
            self._waiting.append((piece, PIECE))

    def take(self) -> list[tuple[int, Message]]:
        """What is to be said now: as much as the window has room for."""
        out = []
        while self._waiting and (not self.said or self._in_flight < WINDOW):
            body, size = self._waiting.popleft()
            self.said.append((self.next, body, size))
            self._in_flight += size
            out.append((self.next, body))
            self.next += 1
        return out

    def confirmed(self, number: int) -> bool:
        """The other side has all up to ``number``; was that news?"""
        news = False
        while self.said and self.said[0][0] <= number < self.next:
            self._in_flight -= self.said.popleft()[2]
            news = True
        return news

    def receive(self, number: int, body: Message) -> Message | None:
        """A body that is whole with this message, if that was the next one."""
        self.owes += 1  # also for what we had: its confirmation may be lost
        if number != self._had + 1:
            return None
        self._had = number
        if body.get("t") != "piece":
            return body
        self._part.append(str(body.get("text", "")))
        self._part_size += len(self._part[-1])
        if self._part_size > MAX_BODY:
            self._part, self._part_size = [], 0
        if not body.get("last"):
            return None
        text, self._part, self._part_size = "".join(self._part), [], 0
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return whole if isinstance(whole, dict) else None


class Me(NamedTuple):
    """A member, in one attempt of its job."""

    job: str
    member: int
    attempt: int


class Peers:
    """One member's lanes to all others.

    Invariant: while something is said and not confirmed, or had and not confirmed, a timer runs.
    """

    def __init__(
        self,
        me: Me,
        say: Callable[[Message], None],
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.me = me
        self._say = say
        self._later = later
        self._lanes: dict[int, Lane] = {}
        self._on_body: Callable[[int, Message], None] | None = None
        self._held: list[tuple[int, Message]] = []
        self._held_size = 0
        self._repeat: Any = None
        self._repeat_s = REPEAT_S
        self._oks: Any = None
        self._closed = False

    def attach(self, on_body: Callable[[int, Message], None]) -> None:
        """Bodies go there from now on; those that came earlier first, in this round."""
        self._on_body = on_body
        held, self._held, self._held_size = self._held, [], 0
        for index, body in held:
            on_body(index, body)

    @property
    def attached(self) -> bool:
        return self._on_body is not None

    def close(self) -> None:
        self._closed = True
        for timer in (self._repeat, self._oks):
            if timer is not None:
                timer.cancel()
        self._repeat = self._oks = None

    # -- out

    def tell(self, index: int, body: Message) -> None:
        if not self._closed:
            lane = self._lanes.setdefault(index, Lane())
            lane.push(body)
            self._go_on(index, lane)

    def _go_on(self, index: int, lane: Lane) -> None:
        for number, body in lane.take():
            self._send(index, lane, number, body)
        self._watch()

    def _send(self, index: int, lane: Lane, number: int, body: Message) -> None:
        message = {**self._head(index), "seq": number, "body": body}
        if lane.had:
            message["ok"] = lane.had
            lane.owes = 0
        self._say(message)

    def _head(self, index: int) -> Message:
        me = self.me
        return {"m": "peer", "job": me.job, "index": me.member, "to": index, "attempt": me.attempt}

    def _watch(self) -> None:
        if self._repeat is None and any(lane.said for lane in self._lanes.values()):
            self._repeat = self._later(self._repeat_s, self._on_repeat)

    def _on_repeat(self) -> None:
        self._repeat = None
        self._repeat_s = min(2 * self._repeat_s, REPEAT_MOST_S)
        self.repeat()

    def repeat(self) -> None:
        """Say again what was not confirmed: it may have been lost."""
        for index, lane in self._lanes.items():
            for number, body, _ in list(lane.said):
                self._send(index, lane, number, body)
        self._watch()

    # -- in

    def on_message(self, message: Message) -> None:
        """A ``peer`` message of the relay's, for us.

        Raises:
            ValueError, TypeError, KeyError: it makes no sense.
        """
        if self._closed:
            return
        index = _whole(message["from"])
        lane = self._lanes.setdefault(index, Lane())
        if "ok" in message and lane.confirmed(_whole(message["ok"])):
            self._confirmed()
            self._go_on(index, lane)
        if "seq" not in message:
            return
        body = message["body"]
        if not isinstance(body, dict):
            raise TypeError("body")
        if self._on_body is None and self._held_size > MAX_HELD:
            return  # it is said again
        whole = lane.receive(_whole(message["seq"]), body)
        if lane.owes >= OK_AFTER_PIECES:
            self._confirm(index, lane)
        elif self._oks is None:
            self._oks = self._later(OK_AFTER_S, self._confirm_all)
        if whole is None:
            return
        if self._on_body is not None:
            self._on_body(index, whole)
        else:
            self._held.append((index, whole))
            self._held_size += len(json.dumps(whole))

    def on_nobody(self) -> None:
        """The relay knows no such member of this job: not yet, perhaps, after it was started
        again. Without an answer all is said again, with what was said before it."""
        self._repeat_s = REPEAT_MOST_S

    def _confirmed(self) -> None:
        self._repeat_s = REPEAT_S
        if self._repeat is not None:
            self._repeat.cancel()
            self._repeat = None
        self._watch()

    def _confirm_all(self) -> None:
        self._oks = None
        for index, lane in self._lanes.items():
            if lane.owes:
                self._confirm(index, lane)

    def _confirm(self, index: int, lane: Lane) -> None:
        lane.owes = 0
        self._say({**self._head(index), "ok": lane.had})


class Book:
    """An agent's `Peers`: for its sessions, and for those that are about to be here."""

    MAX = 4096

    def __init__(
        self,
        say: Callable[[Message], None],
        later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._say = say
        self._later = later
        self._all: dict[Me, Peers] = {}

    def of(self, job: str, index: int, attempt: int) -> Peers:
        me = Me(job, index, attempt)
        found = self._all.get(me)
        if found is None:
            if len(self._all) >= self.MAX:  # the oldest that nobody has come for
                unused = (other for other, peers in self._all.items() if not peers.attached)
                self.drop(next(unused, me))
            found = self._all[me] = Peers(me, self._say, self._later)
        return found

    def drop(self, me: Me) -> None:
        found = self._all.pop(me, None)
        if found is not None:
            found.close()

    def on_welcome(self) -> None:
        for peers in list(self._all.values()):
            peers.repeat()

    def on_control(self, message: Message) -> None:
        """``peer`` or ``peer-no``, of the relay.

        Raises:
            ValueError, TypeError, KeyError: it makes no sense.
        """
        job, index = str(message["job"]), _whole(message["index"])
        me = Me(job, index, _whole(message.get("attempt", 1)))
        if message["m"] == "peer":
            self.of(*me).on_message(message)
        elif me in self._all:
            self._all[me].on_nobody()


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise ValueError("no number")
    return value
