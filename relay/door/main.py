"""The door process: listener, control connections and meeting place on one loop, tied to the
bus.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from gshell.net.loop import IN, Loop
from relay.bus import DoorBus, FeedIn
from relay.door.control import Control, Controls
from relay.door.listener import Listener, source_of
from relay.door.meet import Meeting
from relay.door.sshdoor import hand_over
from relay.door.viewers import Viewers
from relay.vitals import Vitals

Message = dict[str, Any]

STATS_S = 5.0  # between two reports to the broker; a scraper asks every 15 s or so

_log = logging.getLogger("relay.door")


class Door:
    """Runs on ``loop`` until ``close``. Listens once it has heard from the broker."""

    def __init__(
        self,
        loop: Loop,
        socks: Sequence[socket.socket],
        context: ssl.SSLContext,
        secret: bytes,
        bus: DoorBus,
        only_uid: int | None = None,
        ready: Callable[[], None] = lambda: None,
        feed: FeedIn | None = None,
        ssh: str = "",
    ) -> None:
        """``ssh``: the socket of the process that speaks SSH; empty: none does."""
        self._loop = loop
        self._bus = bus
        self._feed = feed
        self._vitals = Vitals(loop)
        self._ready = ready
        self._greeting = ""
        self._out: list[Message] = []
        self._scheduled = False
        self._strangers: dict[int, int] = {}  # control connection -> key at the listener
        self._park_keys: dict[int, str] = {}  # control connection -> what its agent will be given
        self.meeting = Meeting(loop, secret, self._tell)
        farewells = self.meeting.farewells
        self.controls = Controls(loop, context, self._tell, self._known, self._left, farewells)
        self.listener = Listener(
            loop, socks, self._control, self.meeting.arrive, farewells, only_uid,
            self.meeting.tally, self._to_ssh if ssh else None,
        )  # fmt: skip
        self._ssh = ssh
        self.meeting.vouch, self.meeting.blame = self.listener.vouch, self.listener.blame
        self.viewers = Viewers(loop, self._tell)
        self.controls.room = self.viewers.room
        loop.add(bus.fd, IN, lambda _: self._drain())
        if feed is not None:
            loop.add(feed.fd, IN, lambda _: self._drain_feed())
        self._soon()
        loop.later(STATS_S, self._report)

    def close(self) -> None:
        self.listener.close()
        self.listener.expire_all()
        self.controls.close_all()
        self.meeting.close()
        self._loop.remove(self._bus.fd)
        self._bus.close()
        if self._feed is not None:
            self._loop.remove(self._feed.fd)
            self._feed.close()

    # ------------------------------------------------------------------------------------ strangers

    def _control(self, sock: socket.socket) -> _Expiring:
        one = self.controls.take(sock)
        stranger = _Expiring(self.controls, one)
        if one.number in self.controls.by_number:
            self._strangers[one.number] = self.listener.admit(stranger, source_of(sock))
        return stranger

    def _to_ssh(self, sock: socket.socket, source: str) -> None:
        hand_over(self._loop, self.listener, self._ssh, sock, source)

    def _known(self, one: Control, park_key: str) -> None:
        self.listener.leave(self._strangers.pop(one.number, 0))
        self.listener.vouch(one.link.sock)
        if park_key:
            self._park_keys[one.number] = park_key

    def _left(self, one: Control) -> None:
        self.viewers.left(one.number)
        self.listener.leave(self._strangers.pop(one.number, 0), one.wasted)
        if one.agent_id:
            self._park_keys.pop(one.number, None)
            self.meeting.drop_key(one.agent_id, one.number)

    # ------------------------------------------------------------------------------------------ bus

    def _tell(self, message: Message) -> None:
        """To the broker, at the end of this round: what happens together travels together."""
        self._out.append(message)
        self._soon()

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.soon(self._exchange)

    def _exchange(self) -> None:
        self._scheduled = False
        if self._out:
            out, self._out = self._out, []
            if self._greeting:  # else there is nobody who knows what this is about
                self._bus.send([{"greeting": self._greeting}, *out])
        self._drain()

    def _drain(self) -> None:
        for message in self._bus.drain():
            self._obey(message)
        self.controls.flush()
        if self._out:
            self._soon()

    def _drain_feed(self) -> None:
        assert self._feed is not None
        for message in self._feed.drain():
            self.viewers.publish(message["u"], message["s"], message["e"])

    def _report(self) -> None:
        self._tell(self.stats())
        self._loop.later(STATS_S, self._report)

    def stats(self) -> Message:
        """What was counted and what is here now. ``at``: the machine's own clock, for the lag."""
        roles = [one.role for one in self.controls.by_number.values()]
        return {
            "m": "stats", "at": self._loop.clock(), **self.meeting.stats(), **self._vitals.take(),
            "control": {"client": roles.count("client"), "agent": roles.count("agent")},
            "strangers": len(self.listener.strangers), "viewers": len(self.viewers),
            "resyncs": self.viewers.resyncs,
        }  # fmt: skip

    def _obey(self, message: Message) -> None:
        match message["m"]:
            case "send":
                self.controls.send(message["c"], message["msg"])
            case "pair":
                self.meeting.pair(message["a"], message["agent"], message["att"])
            case "no":
                self.meeting.refuse(message["a"], message["code"], message["retry"])
            case "park":
                key = self._park_keys.get(message["c"])
                if key is not None:
                    self.meeting.set_key(message["agent"], message["c"], bytes.fromhex(key))
            case "close":
                self.controls.close_number(message["c"])
            case "cut":
                self.meeting.cut(message["att"])
            case "feed":
                one = self.controls.by_number.get(message["c"])
                if one is not None:
                    self.viewers.feed(one, message["user"], message["seq"])
            case "broker":
                self._on_broker(message["greeting"])

    def _on_broker(self, greeting: str) -> None:
        """A broker greets us, which knows nothing of the connections there are: they dial again."""
        if self._greeting:
            _log.info("the broker has restarted: closing %d control connections",
                      len(self.controls.by_number))  # fmt: skip
        self._greeting = ""
        self.meeting.broker_lost()
        self.controls.close_all()
        self._out.clear()
        self._greeting = greeting
        self.meeting.connected = True
        self._tell({"m": "door", "pid": os.getpid()})
        self._tell(self.stats())
        self.listener.open()
        self._ready()


class _Expiring:
    """A control connection that has not said who it is; closed when its time is up."""

    __slots__ = ("_controls", "_one")

    def __init__(self, controls: Controls, one: Control) -> None:
        self._controls = controls
        self._one = one

    def expire(self) -> None:
        self._controls.close(self._one)


def raise_descriptor_limit() -> None:
    """Two descriptors a session: take as many as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
