"""The broker process: performs what the core decides. Journal first, then the bus; decides
nothing.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, assert_never

from gshell import __version__
from gshell.net.loop import IN, Loop
from gshell.net.rendezvous import SKEW_S
from relay.audit import NAME as AUDIT
from relay.audit import AuditLog, Entry, Mark
from relay.broker import events, rights
from relay.broker.core import Broker
from relay.broker.events import AskId, Conn
from relay.broker.model import ARCHIVE, Settings
from relay.bus import BrokerBus, FeedOut
from relay.desk import Desk
from relay.journal import Journal
from relay.matchmaker import LazyMatcher
from relay.people import People
from relay.telemetry import Telemetry
from relay.vitals import Vitals

TICK_S = 1.0
LOCAL = "(local)"  # who asks over the bus: the one who runs the relay, or root
_FORGET_NONCES_S = 60.0
_SEEN_S = 60.0  # how exactly it is remembered when a key was last used
_REFUSED_S = 600.0  # between two entries about one withdrawn key that comes again and again
_COMMANDS = ("users", "user-add", "user-revoke", "keys", "revoke", "invite")
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
        feed: FeedOut | None = None,
        settings: Settings | None = None,
        notes: Iterable[events.Audit] = (),
    ) -> None:
        """``notes``: what happened before there was a broker to write it down."""
        self._loop = loop
        self._bus = bus
        self._journal = journal
        self._desk = desk
        self._status = status
        self._core = Broker(settings, LazyMatcher(), random.Random())
        self._events = feed
        self.telemetry = Telemetry()
        self._vitals = Vitals(loop)
        # The core's time: seconds since the epoch that never jump, whatever is done to the clock.
        self._epoch = time.time() - time.monotonic()
        self._started = self.now()
        self._boot = os.urandom(4).hex()
        self._greetings = 0
        self._doors: dict[str, str] = {}  # name -> greeting
        self._door_pids: dict[str, int] = {}
        self._clean_at = 0.0
        self._people = People(desk)
        self._seen: dict[str, float] = {}  # serial -> when that was last written down
        self._batch: list[events.Action] | None = None
        """Decided, not yet done; None: whatever is decided is done at once."""
        self._open = False  # there is a round that was not concluded
        self._refused: dict[str, float] = {}  # serial -> when that was last written down
        path = os.path.join(os.path.dirname(journal.path), AUDIT)
        mark = journal.meta("audit")
        self._audit = AuditLog(path, Mark(**mark) if mark else None, self.now())
        jobs = journal.records("job")
        self.telemetry.restored(jobs)
        self._core.restore(
            jobs, journal.records("agent"), journal.next_id(), self.now(),
            journal.records("boots"), journal.withdrawn(),
            [(user.name, frozenset(user.groups)) for user in journal.users()],
            journal.records("share"), journal.records("site"), journal.records("batch"),
            int(journal.meta("next_pilot").get("value", 1)), journal.meta("usage"),
        )  # fmt: skip
        self._perform(list(notes))
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
        self._feed(events.Tick())
        self._loop.later(TICK_S, self._tick)

    def _feed(self, event: events.Event) -> None:
        if self._batch is None:
            self._perform(self._core.handle(event, self.now()))
        else:
            self._batch += self._core.decide(event, self.now())
            self._open = True

    def _flush(self) -> None:
        """Do what was decided since: in one transaction, for one costs as much as a hundred."""
        while self._open:  # what is done may lead to more
            self._open = False
            assert self._batch is not None
            actions, self._batch = self._batch + self._core.conclude(), []
            self._perform(actions)

    def drain(self) -> None:
        while batch := self._bus.drain():  # sends may swallow the descriptor's edge
            self._batch = []
            try:
                self._take(batch)
                self._flush()
            finally:
                self._batch = None

    def _take(self, batch: list[tuple[str, list[Message]]]) -> None:
        self.telemetry.batch(sum(len(messages) for _, messages in batch))
        for door, messages in batch:
            if not messages:
                self._greet(door)
            elif not door.startswith("door"):
                self._on_command(door, messages[0])
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

    def _on_command(self, door: str, message: Message) -> None:
        """Of a command on this host: only who may read the relay's directory reaches the bus."""
        self._flush()
        up = events.ConnUp(Conn(door, 0), "client", LOCAL, "", "", "", "admin", "this host")
        if message.get("m") not in _COMMANDS:
            self._bus.send(door, [{"ok": False, "message": "this relay does not know that"}])
            return
        outcome = self._people.on_request(up, message, self.now())
        self._perform(list(outcome.audits))
        self._bus.send(door, [outcome.answer])
        for event in outcome.events:
            self._feed(event)

    def _lose(self, door: str) -> None:
        if self._doors.pop(door, None) is not None:
            _log.info("door %s is gone", door)
            self.telemetry.door_lost(door)
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
                    self._feed(events.Noted(known.user, m["att"], m["code"], m["from"]))
            case "enrol" if m["msg"].get("role") == "guest":
                user = rights.GUEST + os.urandom(_GUEST_BYTES).hex()
                conn = Conn(door, m["c"])
                self._feed(events.GuestAsked(conn, user, m["msg"].get("invite"), m["from"]))
            case "enrol":
                self._flush()
                outcome = self._desk.enrol(m["msg"], self.now(), m["from"])
                answer = outcome.answer
                _log.info("enrolment: %s", answer.get("message") or answer["m"])
                self._perform(list(outcome.audits))
                for event in outcome.events:  # before there are two of one name
                    self._feed(event)
                self._bus.send(
                    door,
                    [{"m": "send", "c": m["c"], "msg": answer}, {"m": "close", "c": m["c"]}],
                )
            case "door":
                self._door_pids[door] = m["pid"]
            case "resync":
                self._feed(events.Lagging(Conn(door, m["c"])))
            case "stats":
                self.telemetry.on_door(door, m, self._loop.clock())
            case "parted":
                _log.debug("parted: %d bytes up, %d down, %.0f s", m["up"], m["down"], m["seconds"],
                           extra={"att": m["att"]})  # fmt: skip

    def _on_up(self, door: str, m: Message) -> None:
        known = self._journal.credential(m["serial"])
        kind = "client" if m["role"] == "client" else "agent"
        if known is None or known[1:] != (kind, m["user"], m["agent"]):
            _log.warning("%s %s: unknown or withdrawn credential", m["role"], m["user"])
            why = {"m": "error", "code": "revoked", "message": "these credentials were withdrawn"}
            self._note_withdrawn(m["serial"], m["user"], m["from"])
            self._bus.send(
                door, [{"m": "send", "c": m["c"], "msg": why}, {"m": "close", "c": m["c"]}]
            )
            return
        now = self.now()
        if now - self._seen.get(known.serial, 0.0) > _SEEN_S:
            self._seen.pop(known.serial, None)
            self._seen[known.serial] = now
            self._journal.mark_seen(known.serial, now)
            if len(self._seen) > 10_000:
                del self._seen[next(iter(self._seen))]
        self._feed(
            events.ConnUp(
                Conn(door, m["c"]), m["role"], m["user"], m["agent"], m["serial"], m["key"],
                self._desk.standing(m["user"]), m["from"], float(m.get("until") or 0.0),
            )
        )  # fmt: skip

    def _note_withdrawn(self, serial: str, user: str, source: str) -> None:
        """Somebody came with a key that counts no more; who tries on and on is news once."""
        now = self.now()
        if now - self._refused.get(serial, 0.0) > _REFUSED_S:
            self._refused.pop(serial, None)
            self._refused[serial] = now
            if len(self._refused) > 10_000:
                del self._refused[next(iter(self._refused))]
            key = f"key {serial[:12]}"
            self._perform([events.Audit(user, "connect", key, "revoked", source)])

    def _on_said(self, conn: Conn, message: Message) -> None:
        up = self._core.books.conns.get(conn)
        status = message.get("m") == "status"
        if up is not None and up.role == "client" and status and rights.may_ask(up, "status"):
            answer = {"re": message.get("id"), "ok": True, "relay": self.status()}
            self._bus.send(conn.door, [{"m": "send", "c": conn.number, "msg": answer}])
            return
        drawn = os.urandom(_DRAWN_BYTES).hex() if message.get("m") == "share" else ""
        self._feed(events.Said(conn, message, drawn))

    def _on_ask(self, door: str, m: Message) -> None:
        self._flush()
        known = self._journal.credential(m["k"])
        body = m["body"]
        ask = AskId(door, m["a"])
        if known is None or known.kind != "client":
            self._perform([events.Refuse(ask, "denied", 0.0)])
            self._note_withdrawn(m["k"], "", m["from"])
            return
        replayed = events.Audit(
            known.user, "preamble", str(body.get("att"))[:64], "used", m["from"]
        )
        actions: list[events.Action] = [replayed, events.Refuse(ask, "used", 0.0)]
        self._journal.begin()
        try:
            if self._journal.burn(m["n"], float(body["t"]) + 2 * SKEW_S):
                asked = events.Asked(ask, known.user, body, known.serial, m["from"])
                actions = self._core.handle(asked, self.now())
            self._write(actions)
        finally:
            self._commit()
        self.telemetry.on_actions(actions, self.now())
        if body.get("op") == "resume" and any(isinstance(a, events.Pair) for a in actions):
            self.telemetry.resumed()
        self._send(actions)

    # -------------------------------------------------------------------------------------- actions

    def _perform(self, actions: list[events.Action]) -> None:
        if any(isinstance(action, events.Journal | events.Audit) for action in actions):
            self._journal.begin()
            try:
                self._write(actions)
            finally:
                self._commit()
        self.telemetry.on_actions(actions, self.now())
        self._send(actions)
        for action in actions:
            if isinstance(action, events.AtDesk):
                self._at_desk(action)

    def _at_desk(self, action: events.AtDesk) -> None:
        up = action.up
        outcome = self._people.on_request(up, action.message, self.now())
        answer = {**outcome.answer, "re": action.re}
        self._perform([*outcome.audits, events.Send(up.conn, answer)])
        for event in outcome.events:
            self._feed(event)

    def _commit(self) -> None:
        begun = time.perf_counter()
        self._journal.commit()
        self.telemetry.committed(time.perf_counter() - begun)

    def _write(self, actions: list[events.Action]) -> None:
        entries = []
        records: dict[tuple[str, str], Message | None] = {}
        for action in actions:
            if isinstance(action, events.Journal):
                records[action.table, action.key] = action.value  # the last one counts
            elif isinstance(action, events.Audit):
                who, verb, object, result, source, detail = action
                entry = Entry(time.time(), who, source, verb, object, result, detail)
                entries += self._audit.admit(entry)
        if entries:
            # The file first: after a crash it may know more than the journal, never less.
            records["meta", "audit"] = self._audit.append(entries)._asdict()
        self._journal.put_all(records)

    def _send(self, actions: list[events.Action]) -> None:
        out: dict[str, list[Message]] = {}
        news: dict[str, tuple[int, list[Message]]] = {}
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
                case events.Feed(conn, user, seq):
                    to, item = conn.door, {"m": "feed", "c": conn.number, "user": user,
                                           "seq": seq}  # fmt: skip
                case events.Publish(user, seq, told):
                    news[user] = (seq, news[user][1] + told if user in news else told)
                    continue
                case events.Cut(att):
                    for door in self._doors:
                        out.setdefault(door, []).append({"m": "cut", "att": att})
                    continue
                case events.Log(text):
                    _log.info("%s", text)
                    continue
                case events.Journal() | events.Audit() | events.AtDesk():
                    continue
                case _:
                    assert_never(action)
            out.setdefault(to, []).append(item)
        if self._events is not None:
            for user, (seq, told) in news.items():
                self._events.publish({"u": user, "s": seq, "e": told})
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

    def page(self) -> str:
        """The figures, for a scraper."""
        uptime = self.now() - self._started
        return self.telemetry.page(self._core.books, uptime, self._vitals.take())

    def healthy(self) -> str:
        """What is wrong; empty if nothing is."""
        return "" if self._doors else "no door is connected"

    def status(self) -> Message:
        books = self._core.books
        return {
            **self._status(),
            "version": __version__,
            "uptime_s": round(self.now() - self._started, 1),
            "broker_pid": os.getpid(),
            **self.telemetry.descriptors(),
            "agents": sum(
                1 for a in books.agents.values() if a.conn is not None and a.user != ARCHIVE
            ),
            "archive": books.settings.archive,
            "to_archive": len(books.to_archive),
            "jobs": sum(1 for j in books.jobs.values() if j.shown and not j.state.final),
        }
