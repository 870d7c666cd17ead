"""Many sessions, or many agents, in one process. A script: ``crowd.py sessions TICKET COUNT PACE``
or ``crowd.py agents FOLDER``.

sessions  opens COUNT sessions of ``cat`` through pipes; when all of them have echoed it says
          ``ready``. PACE bytes a second go through each, and are checked. At the end of stdin it
          leaves, says how many bytes came back, and whether they were the right ones
agents    is every agent whose ticket is in FOLDER, without sessions: each line on stdin cuts all
          their connections, and it says the seconds until all were welcome again
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gshell.agent.uplink import Uplink
from gshell.client.conversation import Conversation, Dialler
from gshell.model.ticket import Ticket
from gshell.net.loop import IN, Loop
from gshell.net.machine import machine_id
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, PIPE_WINDOW, stderr_of, stdin_of, stdout_of
from gshell.wire.streams import SendBuffer

AT_ONCE = 20  # openings under way; more only wait for spares
TURN_S = 0.25  # each busy session sends so often, each at a moment of its own
PATTERN = bytes(range(251)) * 600  # what goes through, from any offset: a chunk is at most 64 KiB
WAIT_S = 300.0


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def pattern(offset: int, count: int) -> bytes:
    return PATTERN[offset % 251 : offset % 251 + count]


def ticket_of(path: str) -> Ticket:
    with open(path, encoding="utf-8") as file:
        return Ticket.load(file.read(), path)


class Cat:
    """One session of ``cat``."""

    def __init__(self, crowd: Crowd, dialler: Dialler) -> None:
        self.crowd = crowd
        self.talk = Conversation(
            dialler, self, {"op": "open", "tasks": 1, "index": 0, "size": 1}, {}
        )
        self.input = SendBuffer()
        self.sent = self.came = 0
        self.wrong = ""
        self.exited = False
        self.talk.peer.add_send(stdin_of(0), self.input, INPUT_WINDOW)
        for stream in (stdout_of(0), stderr_of(0)):
            self.talk.peer.add_recv(stream, PIPE_WINDOW)
        spec: dict[str, Any] = {"t": "open", "argv": ["cat"], "env": dict(os.environ), "where": machine_id(),
                "tasks": 1, "first": 0, "size": 1}  # fmt: skip
        self.talk.peer.say(spec)
        self.send(1)

    def send(self, count: int) -> None:
        self.input.append(pattern(self.sent, count))
        self.sent += count
        self.talk.pump()

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if isinstance(event, wire.StreamData):
            due = pattern(self.came, len(event.data))
            if event.data != due or event.offset != self.came:
                self.wrong = self.wrong or f"wrong at {self.came}"
            self.came += len(event.data)
            talk.peer.consume(event.stream, len(event.data))
            if self.came == len(event.data):
                self.crowd.alive(self)

        elif isinstance(event, wire.ControlReceived) and event.message.get("t") == "exit":
            self.exited = True

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        talk.pump()

    def on_flow(self, talk: Conversation) -> None:
        pass

    def on_lost(self, talk: Conversation, error: Exception) -> None:
        pass

    def on_queued(self, talk: Conversation) -> None:
        self.crowd.loop.later(0.3, talk.dial)

    def on_refused(self, talk: Conversation, code: str) -> None:
        self.crowd.loop.later(0.3, talk.dial)

    def on_failed(self, talk: Conversation, error: Exception) -> None:
        self.wrong = self.wrong or str(error)


class Crowd:
    def __init__(self, ticket: Ticket, count: int, pace: int) -> None:
        self.loop = Loop()
        self._dialler = Dialler(self.loop, ticket)
        self._count = count
        self._pace = pace
        self.cats: list[Cat] = []
        self._alive = 0
        self.leaving = False

    def open(self) -> bool:
        def enough() -> bool:
            while len(self.cats) < min(self._count, self._alive + AT_ONCE):
                cat = Cat(self, self._dialler)
                self.cats.append(cat)
                cat.talk.dial()
            return self._alive == self._count or any(cat.wrong for cat in self.cats)

        return self.loop.run_until(enough, WAIT_S) and not any(cat.wrong for cat in self.cats)

    def alive(self, cat: Cat) -> None:
        self._alive += 1

    def live(self) -> None:
        """Until stdin ends."""
        self.loop.add(0, IN, lambda _: self._heard())
        if self._pace:
            for number, cat in enumerate(self.cats):
                self.loop.later(TURN_S * number / len(self.cats), partial(self._turn, cat))
        while not self.leaving:
            self.loop.once(1.0)
        self.loop.run_until(lambda: all(cat.came == cat.sent for cat in self.cats), 20.0)

    def _heard(self) -> None:
        if not os.read(0, 100):
            self.leaving = True

    def _turn(self, cat: Cat) -> None:
        if not self.leaving:
            cat.send(int(self._pace * TURN_S))
            self.loop.later(TURN_S, partial(self._turn, cat))

    def leave(self) -> None:
        for cat in self.cats:
            cat.input.closed = True
            cat.talk.pump()
        self.loop.run_until(lambda: all(cat.exited or cat.wrong for cat in self.cats), 60.0)
        for cat in self.cats:
            cat.talk.close("done")


def sessions(path: str, count: int, pace: int) -> int:
    crowd = Crowd(ticket_of(path), count, pace)
    if not crowd.open():
        say(f"only {crowd._alive} of {count}: {[cat.wrong for cat in crowd.cats if cat.wrong][:3]}")
        return 1
    say("ready")
    crowd.live()
    wrong = [cat.wrong or f"{cat.came} of {cat.sent}" for cat in crowd.cats
             if cat.wrong or cat.came != cat.sent]  # fmt: skip
    say(f"wrong {wrong[:3]}" if wrong else f"good {sum(cat.came for cat in crowd.cats)}")
    crowd.leave()
    return 0


class Idler:
    """An agent that has nothing to do."""

    def __init__(self, loop: Loop, ticket: Ticket) -> None:
        self.ticket = ticket
        self.boot = os.urandom(16).hex()
        self.uplink = Uplink(loop, ticket, self)
        self.back_at = 0.0
        self.refused = ""

    def hello(self) -> dict[str, Any]:
        return {"m": "hello", "role": "agent", "v": 1, "agent_id": self.ticket.agent_id,
                "boot": self.boot, "host": "crowd", "cpus": 1, "memory_bytes": 1 << 30, "tags": ["idle"],
                "slots": 1, "pid": os.getpid(), "version": "0", "sessions": []}  # fmt: skip

    def on_control(self, message: dict[str, Any]) -> None:
        pass

    def on_welcome(self) -> None:
        self.back_at = time.monotonic()

    def on_away(self, error: Exception) -> None:
        pass

    def on_refused(self, error: Exception) -> None:
        self.refused = str(error)

    def data_owner(self, link_user: Any) -> Any:
        raise AssertionError("nobody has business here")


def agents(folder: str) -> int:
    loop = Loop()
    idlers = [Idler(loop, ticket_of(str(path))) for path in sorted(Path(folder).glob("*.ticket"))]
    for idler in idlers:
        idler.uplink.start()

    def all_back() -> bool:
        return all(idler.uplink.welcomed or idler.refused for idler in idlers)

    if not loop.run_until(all_back, WAIT_S):
        say(f"only {sum(idler.uplink.welcomed for idler in idlers)} of {len(idlers)}")
        return 1
    say("ready")
    asked: list[bytes] = []
    loop.add(0, IN, lambda _: asked.append(os.read(0, 100)))
    while True:
        loop.run_until(lambda: bool(asked), 1e9)
        if not asked.pop(0):
            break
        for idler in idlers:  # as if their network had gone: all in one instant
            link = idler.uplink._link
            if link is not None:
                link._lost("cut")
        begun = time.monotonic()
        if not loop.run_until(all_back, WAIT_S):
            say(f"only {sum(idler.uplink.welcomed for idler in idlers)} of {len(idlers)}")
            return 1
        back = sorted(idler.back_at - begun for idler in idlers)
        refused = [idler.refused for idler in idlers if idler.refused]
        say(f"refused {refused[:2]}" if refused else
            f"back {back[len(back) // 2]:.3f} {back[-1]:.3f}")  # fmt: skip
    for idler in idlers:
        idler.uplink.close()
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "agents":
        sys.exit(agents(sys.argv[2]))
    sys.exit(sessions(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
