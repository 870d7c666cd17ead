"""What the relay tells of jobs and agents, beside the prompt: a thread with a loop of its own.

It sleeps until something comes. Who asks it something gets a future; nobody waits for it who does
not want to.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from gshell.cli import launch
from gshell.client.conversation import Dialler
from gshell.client.feed import Live, Message
from gshell.errors import GshellError
from gshell.model.ticket import Ticket
from gshell.net.loop import IN, Loop
from gshell.repl import news
from gshell.repl.facts import Facts
from gshell.repl.places import Place

LIST_S = 5.0  # for a directory that nobody waits for any more
CLOCK_S = 1.0  # elapsed times go on by themselves


class Watcher:
    """Invariant: only its thread touches the loop and what hangs on it."""

    def __init__(self, changed: Callable[[], None], said: Callable[[news.News], None]) -> None:
        """Both are called by its thread: when `facts` has changed, and with what is worth a
        word."""
        self._changed = changed
        self._said = said
        self._calls: deque[Callable[[], None]] = deque()
        self._reads, self._writes = socket.socketpair()
        self._writes.setblocking(False)
        self._reads.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._live: Live | None = None
        self._ticket: Ticket | None = None
        self._dialler: Dialler | None = None
        self._folders: set[Any] = set()
        self._ticks = False
        self._ticking = False
        self._wrong = ""
        self.facts = Facts()

    # -- for other threads

    def start(self) -> None:
        self._thread.start()

    def look(self) -> None:
        """Perhaps there is a relay now, or another one."""
        self._soon(self._look)

    def close(self) -> None:
        """Say goodbye, but do not wait long for it."""
        if self._thread.is_alive():
            self._soon(self._end)
            self._thread.join(0.5)

    def tick(self, on: bool) -> None:
        """Say each second that something has changed: somebody looks at elapsed times."""
        self._ticks = on
        if on:
            self._soon(self._tick)

    def ask(self, message: Message) -> Future[Message]:
        """A question to the relay; its answer, or nothing for ever."""
        future: Future[Message] = Future()

        def begin() -> None:
            if self._live is None or not self._live.up:
                future.set_result({})
            else:
                self._live.request(message, lambda answer: _give(future, answer))

        self._soon(begin)
        return future

    def folder(self, place: Place) -> Future[list[tuple[str, str]]]:
        """(name, kind) of all that is in a directory; empty if that cannot be said."""
        future: Future[list[tuple[str, str]]] = Future()
        self._soon(lambda: self._list(place, future))
        return future

    def _soon(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        try:
            self._writes.send(b"x")
        except (BlockingIOError, OSError):
            pass  # it has enough to wake up for; or has ended

    # -- its own

    def _run(self) -> None:
        self._loop = Loop()
        self._running = True
        self._loop.add(self._reads.fileno(), IN, self._called)
        self._look()
        while self._running:
            self._loop.once()
        self._loop.close()

    def _called(self, _: int) -> None:
        try:
            self._reads.recv(4096)
        except BlockingIOError:
            pass
        while self._calls:
            self._calls.popleft()()

    def _end(self) -> None:
        self._running = False
        if self._live is not None:
            self._live.close()

    def _look(self) -> None:
        try:
            ticket = launch.ticket_or_none()
            self._wrong = ""
        except GshellError as error:
            ticket, self._wrong = None, error.message
        if ticket != self._ticket:
            if self._live is not None:
                self._live.close()
            self._live, self._dialler, self._ticket = None, None, ticket
            if ticket is not None:
                self._live = Live(self._loop, ticket, self._heard, self._publish)
                self._live.open()
        self._publish()

    def _heard(self, message: Message, before: Message | None) -> None:
        live = self._live
        if live is None:
            return
        for one in news.of(message, before, self.facts, live.skew_s):
            self._said(one)
        self._publish()

    def _publish(self) -> None:
        live = self._live
        if live is None:
            self.facts = Facts(trouble=self._wrong)
        else:
            mirror = live.mirror
            trouble = live.trouble
            if live.fatal is not None:
                trouble = live.fatal.message
            self.facts = Facts(
                relay=self._ticket.relays[0] if self._ticket else "",
                up=live.up and live.fatal is None,
                known=mirror.seq >= 0,
                trouble=trouble,
                latency_s=live.latency_s,
                skew_s=live.skew_s,
                jobs=tuple(mirror.jobs.values()),
                agents=tuple(mirror.agents.values()),
            )
        self._changed()

    def _tick(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.later(CLOCK_S, self._ticked)

    def _ticked(self) -> None:
        self._ticking = False
        if self._ticks:
            self._changed()
            self._tick()

    def _list(self, place: Place, future: Future[list[tuple[str, str]]]) -> None:
        from gshell.repl.far import Folder, patterns_of

        if self._ticket is None:
            future.set_result([])
            return
        if self._dialler is None:
            self._dialler = Dialler(self._loop, self._ticket)

        def over(error: GshellError | None) -> None:
            self._folders.discard(folder)
            timer.cancel()
            found = [(e.base.rstrip("/").rpartition("/")[2], e.kind) for e in folder.found]
            _give(future, found)

        def give_up() -> None:
            folder.close()
            over(None)

        folder = Folder(self._dialler, dict(place.request()), over, patience_s=LIST_S)
        timer = self._loop.later(LIST_S, give_up)
        self._folders.add(folder)
        folder.look(patterns_of(place.path))


def _give(future: Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)
