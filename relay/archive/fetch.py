"""One step's output on its way into the archive: looks on like any watcher, writes down what it
sees. Knows no broker.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from gshell.client.conversation import Conversation, Dialler
from gshell.errors import AuthError, GshellError, RemoteProtocolError
from gshell.wire import peer as wire
from gshell.wire.constants import (
    INTERACTIVE_WINDOW,
    PIPE_WINDOW,
    rank_of,
    stderr_of,
    stdout_of,
)
from relay.archive.store import STEP_BYTES, STREAM_BYTES, Key, Shelf, Store

MAX_RANKS = 4096  # as many as an agent starts
MAX_MARKS = 5000  # of a stream's times; an agent keeps 4096
NEWS_S = 60.0  # without a link, or refused, for this long: another time
AGAIN_S = 0.3  # between two tries to be let in

_log = logging.getLogger("relay.archive")


class Fetch:
    """A `Talker`. Ends with one call of ``on_end``: the bytes that are archived now, or None, why
    not, and whether that is final."""

    def __init__(
        self,
        dialler: Dialler,
        store: Store,
        order: dict[str, Any],
        now: float,
        patient: bool,
        on_end: Callable[[Fetch, int | None, str, bool], None],
    ) -> None:
        """``order``: the broker's ``fetch``. ``patient``: a full disk ends this try, and another
        one comes; else what does not fit is missing.

        Raises:
            OSError: there is no place to write to.
        """
        self.order = order
        self.key: Key = (int(order["job"]), int(order["index"]))
        self.over = False
        self.unreached = False
        """It ended because the agent is away: no fault of ours, and another try may help."""
        self._dialler = dialler
        self._store = store
        self._shelf: Shelf = store.shelf(self.key)
        self._patient = patient
        self._on_end = on_end
        self._news_at = now
        self._tasks = 0
        self._about: dict[str, Any] = {}
        self._exits: dict[int, dict[str, Any]] = {}
        self._finals: dict[int, int] = {}
        self._times: dict[int, list[list[float]]] = {}
        self._trouble = ""
        request = {"op": "attach", "job": str(self.key[0]), "index": self.key[1], "rights": "r"}
        self._talk = Conversation(
            dialler, self, request, {"since": "start"}, agents_of=str(order["owner"])
        )

    def start(self) -> None:
        self._talk.dial()

    def close(self) -> None:
        """Give it up without a word to anybody; what is here stays for another try."""
        self.over = True
        self._talk.close("detach")

    def tick(self, now: float) -> None:
        if self._talk.up:
            self._news_at = now
        elif now - self._news_at > NEWS_S:
            self.unreached = True
            self._end(None, "the agent cannot be reached", False)

    def _end(self, count: int | None, why: str, final: bool) -> None:
        if not self.over:
            self.over = True
            self._talk.close("done" if count is not None else "detach")
            self._on_end(self, count, why, final)

    # -- the conversation

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        if self._tasks:
            return
        tasks = int(welcome["tasks"])
        if not 1 <= tasks <= MAX_RANKS:
            raise ValueError
        starter = welcome.get("starter") is True  # one rank more, which starts the others
        self._tasks = tasks + starter
        pty = bool(welcome.get("pty"))
        self._about = {"pty": pty, "tasks": tasks, "size": int(welcome.get("size", 1)),
                       "starter": starter, "first": int(welcome.get("first", 0)),
                       "ranks": int(welcome.get("ranks", tasks)),
                       "layout": [int(n) for n in welcome.get("layout", ())[:MAX_RANKS]],
                       "name": str(welcome.get("name", ""))[:200]}  # fmt: skip
        for key, start in welcome["start"].items():
            stream = int(key)
            rank = rank_of(stream)
            if not 0 <= rank < self._tasks or stream not in (stdout_of(rank), stderr_of(rank)):
                raise ValueError
            if type(start) is not int or start < 0:
                raise ValueError
            talk.peer.add_recv(stream, INTERACTIVE_WINDOW if pty else PIPE_WINDOW, start)

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if self.over:
            return
        if isinstance(event, wire.StreamData):
            if self._write(event):
                talk.peer.consume(event.stream, len(event.data))
        elif isinstance(event, wire.StreamGap):
            talk.peer.consume(event.stream, event.end - event.start)
        elif isinstance(event, wire.ControlReceived):
            self._control(event.message)
        self._check()

    def _write(self, event: wire.StreamData) -> bool:
        most = min(STEP_BYTES, 2 * STREAM_BYTES * self._tasks)
        stream, offset, data = event
        return self._on_disk(lambda: self._shelf.append(stream, offset, data, most))

    def _on_disk(self, act: Callable[[], object]) -> bool:
        """Do it; False: not now, this try has ended. In the last try older output makes room, and
        what does not fit even so is missing."""
        while True:
            try:
                act()
            except OSError as error:
                if self._patient:
                    self._end(None, f"the archive's disk: {error.strerror}", False)
                    return False
                if not self._trouble:
                    self._trouble = error.strerror or str(error)
                    _log.error("job %d.%d: what does not fit is missing: %s", *self.key, error)
                if not self._shelf.make_room():
                    return True
            else:
                return True

    def _control(self, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if kind == "exit":
            rank = int(message["rank"])
            if not 0 <= rank < self._tasks:
                raise ValueError
            finals = {}
            for key, end in message["final"].items():
                if rank_of(int(key)) != rank or type(end) is not int:
                    raise ValueError
                finals[int(key)] = end
            self._finals.update(finals)
            self._exits[rank] = _exit(rank, message, finals)
        elif kind == "times":
            marks = message["marks"]
            if not isinstance(marks, list) or len(marks) > MAX_MARKS:
                raise ValueError
            self._times[int(message["stream"])] = [
                [float(a), float(b), int(c)] for a, b, c in marks
            ]

    def _check(self) -> None:
        """Is everything here?"""
        if self.over or not self._tasks or len(self._exits) < self._tasks:
            return
        for stream, end in self._finals.items():
            receiving = self._talk.peer.receiving(stream)
            if receiving is not None and receiving.consumed < end:
                return
        facts = self.order.get("facts")
        facts = facts if isinstance(facts, dict) else {}
        meta = {
            **self._about, "job": self.key[0], "index": self.key[1],
            "owner": self.order["owner"], "argv0": facts.get("argv0", ""),
            "started_at": facts.get("started_at"),
            "ended_at": facts.get("ended_at") or self.order["at"],
            "exits": [self._exits[rank] for rank in sorted(self._exits)],
            "times": {str(stream): marks for stream, marks in self._times.items()},
            "trouble": self._trouble,
        }  # fmt: skip
        done: list[int] = []
        if self._on_disk(lambda: done.append(self._store.put(self.key, self._shelf, meta))):
            self._end(done[0] if done else None, f"the archive's disk: {self._trouble}", True)

    def on_flow(self, talk: Conversation) -> None:
        pass

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        pass  # it is being mended; ``tick`` knows how long that may take

    def on_queued(self, talk: Conversation) -> None:
        self._later()

    def on_refused(self, talk: Conversation, code: str) -> None:
        self._later()  # never final: the broker says itself what need not be fetched any more

    def _later(self) -> None:
        self._dialler.loop.later(AGAIN_S * (0.5 + os.urandom(1)[0] / 255.0), self._talk.dial)

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        final = talk.ended == "gone" or isinstance(error, AuthError)
        if isinstance(error, RemoteProtocolError) or talk.ended == "":
            final = final or "protocol error" in error.message
        self._end(None, error.message, final)


def _exit(rank: int, message: dict[str, Any], finals: dict[int, int]) -> dict[str, Any]:
    """The agent's word about a rank's end, only what we know and of the right kind."""
    signal = message.get("signal")
    out: dict[str, Any] = {
        "t": "exit", "rank": rank, "code": int(message["code"]),
        "signal": int(signal) if signal is not None else None, "core": bool(message.get("core")),
        "final": {str(stream): end for stream, end in finals.items()},
    }  # fmt: skip
    if message.get("timed_out"):
        out["timed_out"] = True
    if message.get("error"):
        out["error"] = str(message["error"])[:1000]
    return out
