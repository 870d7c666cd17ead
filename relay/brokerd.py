"""The broker process: performs what the core decides. Journal first, then the bus; decides
nothing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any, assert_never

from gshell import __version__
from gshell.net.loop import IN, Loop
from gshell.net.rendezvous import SKEW_S
from relay.broker import events, rights
from relay.broker.core import Broker
from relay.broker.events import AskId, Conn
from relay.bus import BrokerBus
from relay.desk import Desk
from relay.journal import Journal

TICK_S = 1.0
_FORGET_NONCES_S = 60.0
_DRAWN_BYTES = 36  # 4 are a share's id, the rest its token
_GUEST_BYTES = 8  # a name that nobody meets by chance

Message = dict[str, Any]

_log = logging.getLogger("relay.broker")


class BrokerShell:
    """One broker on one loop. Takes over what the journal holds, then greets every door."""

    def __init__(
        self,
        loop: Loop,
        bus: BrokerBus,
        journal: Journal,
        desk: Desk,
        status: Callable[[], Message],
    ) -> None:
        self._loop = loop
        self._bus = bus
        self._journal = journal
        self._desk = desk
        self._status = status
        self._core = Broker()
        # The core's time: seconds since the epoch that never jump, whatever is done to the clock.
        self._epoch = time.time() - time.monotonic()
        self._started = self.now()
        self._boot = os.urandom(4).hex()
        self._greetings = 0
        self._doors: dict[str, str] = {}  # name -> greeting
        self._door_pids: dict[str, int] = {}
        self._clean_at = 0.0
        self._core.restore(
            journal.records("job"), journal.records("agent"), journal.next_id(), self.now(),
            journal.records("share"),
        )  # fmt: skip
        self.groups_changed()
        loop.add(bus.fd, IN, lambda _: self.drain())
        loop.soon(self.drain)
        self._tick()

    def now(self) -> float:
        return self._epoch + time.monotonic()

    # --------------------------------------------------------------------------------------- events

    def _tick(self) -> None:
        now = self.now()
        if now >= self._clean_at:
            self._clean_at = now + _FORGET_NONCES_S
            self._journal.forget_nonces(time.time())
            self.groups_changed()
        self._feed(events.Tick())
        self._loop.later(TICK_S, self._tick)

    def groups_changed(self) -> None:
        """Have the core know the users' groups as the journal has them now."""
        groups = self._journal.groups()
        for user in [*groups, *self._core.books.groups_of.keys() - groups.keys()]:
            self._feed(events.Groups(user, groups.get(user, frozenset())))

    def _feed(self, event: events.Event) -> None:
        self._perform(self._core.handle(event, self.now()))

    def drain(self) -> None:
        while batch := self._bus.drain():  # sends may swallow the descriptor's edge
            for door, messages in batch:
                if not messages:
                    self._greet(door)
                elif messages[0].get("greeting") == self._doors.get(door, ""):
                    for message in messages[1:]:
                        self._on_door(door, message)

    def _greet(self, door: str) -> None:
        if not door.startswith("door"):  # a command that wants to know how we are
            self._bus.send(door, [self.status()])
            return
        self._lose(door)
        self._greetings += 1
        self._doors[door] = greeting = f"{self._boot}.{self._greetings}"
        self._bus.send(door, [{"m": "broker", "greeting": greeting}])

    def _lose(self, door: str) -> None:
        if self._doors.pop(door, None) is not None:
            _log.info("door %s is gone", door)
            self._feed(events.DoorLost(door))

    def _on_door(self, door: str, m: Message) -> None:
        match m["m"]:
            case "in":
                self._on_said(Conn(door, m["c"]), m["msg"])
            case "ask":
                self._on_ask(door, m)
            case "up":
                self._on_up(door, m)
            case "down":
                self._feed(events.ConnDown(Conn(door, m["c"])))
            case "left":
                self._feed(events.AskGone(AskId(door, m["a"])))
            case "unjoined":
                self._feed(events.Unjoined(AskId(door, m["a"]), m["agent"], m["att"]))
            case "note":
                known = self._journal.credential(m["k"])
                if known is not None:
                    self._feed(events.Noted(known.user, m["att"], m["code"]))
            case "enrol" if m["msg"].get("role") == "guest":
                user = rights.GUEST + os.urandom(_GUEST_BYTES).hex()
                conn = Conn(door, m["c"])
                self._feed(events.GuestAsked(conn, user, m["msg"].get("invite"), m["from"]))
            case "enrol":
                answer = self._desk.enrol(m["msg"], self.now())
                _log.info("enrolment: %s", answer.get("message") or answer["m"])
                self._bus.send(
                    door,
                    [{"m": "send", "c": m["c"], "msg": answer}, {"m": "close", "c": m["c"]}],
                )
            case "door":
                self._door_pids[door] = m["pid"]

    def _on_up(self, door: str, m: Message) -> None:
        known = self._journal.credential(m["serial"])
        kind = "client" if m["role"] == "client" else "agent"
        if known is None or known[1:] != (kind, m["user"], m["agent"]):
            _log.warning("%s %s: unknown or withdrawn credential", m["role"], m["user"])
            why = {"m": "error", "code": "revoked", "message": "these credentials were withdrawn"}
            self._bus.send(
                door, [{"m": "send", "c": m["c"], "msg": why}, {"m": "close", "c": m["c"]}]
            )
            return
        conn = Conn(door, m["c"])
        if kind == "agent":  # it may say that it serves one of them
            self.groups_changed()
        self._feed(
            events.ConnUp(conn, m["role"], m["user"], m["agent"], m["serial"], m["key"],
                          source=m["from"])
        )  # fmt: skip

    def _on_said(self, conn: Conn, message: Message) -> None:
        up = self._core.books.conns.get(conn)
        if up is not None and up.role == "client":
            verb = message.get("m")
            if not rights.may_ask(up, verb):
                verb = None  # the core has the words for it
            if verb in ("invite", "ticket"):
                answer = self._desk.on_request(up.user, message, self.now())
                self._bus.send(conn.door, [{"m": "send", "c": conn.number, "msg": answer}])
                return
            if verb == "status":
                answer = {"re": message.get("id"), "ok": True, "relay": self.status()}
                self._bus.send(conn.door, [{"m": "send", "c": conn.number, "msg": answer}])
                return
        drawn = os.urandom(_DRAWN_BYTES).hex() if message.get("m") == "share" else ""
        self._feed(events.Said(conn, message, drawn))

    def _on_ask(self, door: str, m: Message) -> None:
        known = self._journal.credential(m["k"])
        body = m["body"]
        ask = AskId(door, m["a"])
        if known is None or known.kind != "client":
            self._perform([events.Refuse(ask, "denied", 0.0)])
            return
        actions: list[events.Action] = [events.Refuse(ask, "used", 0.0)]
        self._journal.begin()
        try:
            if self._journal.burn(m["n"], float(body["t"]) + 2 * SKEW_S):
                asked = events.Asked(ask, known.user, body, known.serial, m["from"])
                actions = self._core.handle(asked, self.now())
                self._write(actions)
        finally:
            self._journal.commit()
        self._send(actions)

    # -------------------------------------------------------------------------------------- actions

    def _perform(self, actions: list[events.Action]) -> None:
        if any(isinstance(action, events.Journal) for action in actions):
            self._journal.begin()
            try:
                self._write(actions)
            finally:
                self._journal.commit()
        self._send(actions)

    def _write(self, actions: list[events.Action]) -> None:
        for action in actions:
            if isinstance(action, events.Journal):
                self._journal.put(action.table, action.key, action.value)

    def _send(self, actions: list[events.Action]) -> None:
        out: dict[str, list[Message]] = {}
        for action in actions:
            match action:
                case events.Send(conn, message):
                    to, item = conn.door, {"m": "send", "c": conn.number, "msg": message}
                case events.Pair(ask, agent_id, att):
                    to, item = ask.door, {"m": "pair", "a": ask.number, "agent": agent_id,
                                          "att": att}  # fmt: skip
                case events.Refuse(ask, code, retry_s):
                    to, item = ask.door, {"m": "no", "a": ask.number, "code": code,
                                          "retry": retry_s}  # fmt: skip
                case events.ParkKey(conn, agent_id):
                    to, item = conn.door, {"m": "park", "c": conn.number, "agent": agent_id}
                case events.WelcomeClient():
                    to, item = action.conn.door, self._welcome(action)
                case events.EnrolGuest(conn, user, until):
                    ticket = self._desk.guest(user, until, self.now())
                    to, item = conn.door, {"m": "send", "c": conn.number, "msg": ticket}
                    out.setdefault(to, []).append(item)
                    item = {"m": "close", "c": conn.number}
                case events.Close(conn):
                    to, item = conn.door, {"m": "close", "c": conn.number}
                case events.Cut(att):
                    for door in self._doors:
                        out.setdefault(door, []).append({"m": "cut", "att": att})
                    continue
                case events.Log(text):
                    _log.info("%s", text)
                    continue
                case events.Audit():
                    _log.info("audit: %s %s %s: %s", action.who, action.verb, action.object,
                              action.result)  # fmt: skip
                    continue
                case events.Journal():
                    continue
                case _:
                    assert_never(action)
            out.setdefault(to, []).append(item)
        for door, messages in out.items():
            if not self._bus.send(door, messages):
                self._loop.soon(lambda door=door: self._lose(door))  # type: ignore[misc]
        if out:
            self._loop.soon(self.drain)

    def _welcome(self, action: events.WelcomeClient) -> Message:
        message = {
            "m": "welcome", "user": action.user, "now": time.time(),
            "mac_id": action.credential, "mac_key": self._desk.mac_key(action.credential),
            "version": __version__,
        }  # fmt: skip
        if action.re is not None:
            message["re"] = action.re
        return {"m": "send", "c": action.conn.number, "msg": message}

    def status(self) -> Message:
        books = self._core.books
        return {
            **self._status(),
            "version": __version__,
            "uptime_s": round(self.now() - self._started, 1),
            "broker_pid": os.getpid(),
            "agents": sum(1 for a in books.agents.values() if a.conn is not None),
            "jobs": sum(1 for j in books.jobs.values() if j.shown and not j.state.final),
        }
