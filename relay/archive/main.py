"""The archive's process: fetches what the broker names, shows it, forgets what is too old or too
much. Decides nothing about who may see what.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from gshell import __version__
from gshell.agent.attachment import ARCHIVE, Attachment
from gshell.agent.entrance import EXPECT_KEPT_S
from gshell.agent.greeter import Greeter
from gshell.agent.uplink import Uplink
from gshell.client.conversation import Dialler
from gshell.errors import AuthError, GshellError, RemoteProtocolError
from gshell.model.ticket import Ticket
from gshell.net.link import Owner
from gshell.net.loop import Loop, Timer
from gshell.wire import peer as wire
from relay.archive.carry import Carrier
from relay.archive.depot import Boxes, Depot
from relay.archive.fetch import Fetch
from relay.archive.show import Shown
from relay.archive.store import Key, Store, victims

AT_ONCE = 8  # fetches of steps that have ended
AT_ONCE_BUSY = 2  # ... while steps end all the time: those who run them come first
LIVE_AT_ONCE = 200  # fetches that follow a step; others are fetched when they have ended
CALM_S = 0.7  # nothing has ended for so long: now is the time
LATEST_S = 10.0  # it never gets calm: what waits so long is fetched all the same
TRIES = 4  # with a disk that is full; the last one keeps what fits
RETRY_S = 5.0  # after the first failure, then twice as long each time
MOST_RETRY_S = 300.0
SWEEP_S = 5.0
EXPIRE_S = 60.0
LOST_READER_S = 600.0  # a reader that does not come back
ABANDONED_S = 600.0  # half a step that nobody names any more goes, after we have been here so long
HAVE_AT_ONCE = 2000  # steps named in one message

_log = logging.getLogger("relay.archive")


@dataclass(slots=True)
class _Order:
    """A fetch to be done."""

    message: dict[str, Any]
    since: float
    not_before: float = 0.0
    hurry: bool = False
    tries: int = 0
    fetch: Fetch | None = field(default=None)

    @property
    def live(self) -> bool:
        return bool(self.message.get("live"))


class Archive:
    """An `Uplinked`, and whom its greeters ask. Invariant: ``_orders`` are the steps named by the
    broker and neither archived nor given up."""

    def __init__(
        self,
        loop: Loop,
        store: Store,
        boxes: Boxes,
        client: Ticket,
        agent: Ticket,
        days: float,
        most: int,
    ) -> None:
        self.loop = loop
        self._store = store
        self._keep_s = days * 86400.0
        self._most = most
        self._boot = os.urandom(16).hex()
        self._dialler = Dialler(loop, client)
        self._uplink = Uplink(loop, agent, self)
        self._orders: dict[Key, _Order] = {}
        self._busy_at = -CALM_S
        self._waking: Timer | None = None
        self._expects: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, Greeter] = {}
        self._shown: dict[Key, Shown] = {}
        self._readers: dict[str, Shown] = {}
        self.boxes = boxes
        self._named: set[tuple[str, str]] = set()  # boxes of jobs, while the broker lists them
        self.depot = Depot(loop, boxes, self._uplink.say)
        self._carrier = Carrier(self._dialler, boxes, self._uplink.say)
        self._expired_at = -EXPIRE_S
        self._began_at = loop.clock()

    def start(self) -> None:
        self._uplink.start()
        self._sweep()

    def close(self) -> None:
        for order in self._orders.values():
            if order.fetch is not None:
                order.fetch.close()
        self._carrier.close()
        self.depot.close()
        for shown in list(self._shown.values()):
            for attachment in list(shown.attachments.values()):
                attachment.close()  # without a BYE: its client comes back to our successor
        self._uplink.close()

    # ---------------------------------------------------------------------------- with the broker

    def hello(self) -> dict[str, Any]:
        return {
            "m": "hello", "role": "agent", "v": 1, "agent_id": ARCHIVE, "boot": self._boot,
            "host": os.uname().nodename, "slots": 0, "pid": os.getpid(), "version": __version__,
            "sessions": self.depot.summaries(),
        }  # fmt: skip

    def on_welcome(self) -> None:
        """What we have, in pieces; then the broker says what it misses."""
        self._named.clear()
        keys = [[*key, kept.bytes] for key, kept in self._store.kept.items()]
        for at in range(0, len(keys) + 1, HAVE_AT_ONCE):
            last = at + HAVE_AT_ONCE > len(keys)
            steps = keys[at : at + HAVE_AT_ONCE]
            self._uplink.say({"m": "have", "first": not at, "steps": steps, "last": last})

    def on_away(self, error: GshellError) -> None:
        _log.info("broker away: %s", error)
        for waiting in list(self._waiting.values()):
            waiting.give_up()

    def on_refused(self, error: AuthError) -> None:
        _log.error("%s", error)
        self.loop.stop()  # the next one has new tickets, or as little luck

    def on_control(self, message: dict[str, Any]) -> None:
        kind = message.get("m")
        if kind == "fetch":
            self._fetch(message)
        elif kind == "expect":
            self._expect(message)
        elif kind == "unexpect":
            self._expects.pop(str(message.get("att")), None)
        elif kind == "drop":
            self._drop((int(message["job"]), int(message["index"])))
        elif kind in ("stage-in", "stage-out"):
            self._carrier.order(message)
        elif kind == "unstage":
            self._carrier.cancel(str(message["job"]))
        elif kind == "sandbox":
            user, key = str(message["user"]), str(message["key"])
            self._named.add((user, key))
            self.boxes.bind(user, key, str(message["job"]))
        elif kind == "sandboxes":
            self.boxes.sweep(self._named, time.time())
        elif kind == "sandbox-drop":
            self.boxes.drop(str(message["user"]), str(message["key"]))
        elif kind == "ended-ok":
            self.depot.ended_ok(message.get("job"), message.get("index"))
        elif kind == "revoke":
            for att in message.get("atts", ()):
                self.depot.revoke(str(att), str(message.get("why", "")))
                shown = self._readers.get(att)
                if shown is not None and att in shown.attachments:
                    shown.attachments[att].end("revoked", str(message.get("why", "")))
        elif kind == "error":
            _log.error("broker: %s", message.get("message"))

    # ----------------------------------------------------------------------------------- fetching

    def _fetch(self, message: dict[str, Any]) -> None:
        key = (int(message["job"]), int(message["index"]))
        kept = self._store.kept.get(key)
        if kept is not None:
            self._say_archived(key, kept.bytes)
            return
        now = self.loop.clock()
        order = self._orders.get(key)
        if order is None:
            order = self._orders[key] = _Order(message, now)
        order.message = message
        order.hurry = order.hurry or bool(message.get("hurry"))
        if order.hurry:
            order.not_before = 0.0
        if not order.live:
            self._busy_at = now
        self._wake(0.0)

    def _wake(self, delay_s: float) -> None:
        if self._waking is not None:
            self._waking.cancel()
        self._waking = self.loop.later(delay_s, self._look)

    def _look(self) -> None:
        """Start what may be started now; come back when that changes."""
        self._waking = None
        now = self.loop.clock()
        calm = now - self._busy_at >= CALM_S
        running = [order for order in self._orders.values() if order.fetch is not None]
        free = AT_ONCE if calm else AT_ONCE_BUSY
        free -= sum(not order.live for order in running)
        live = LIVE_AT_ONCE - (len(running) - sum(not order.live for order in running))
        next_at = self._busy_at + CALM_S if not calm else now + LATEST_S
        for key, order in list(self._orders.items()):
            if order.fetch is not None:
                continue
            if order.hurry:
                self._begin(key, order)
            elif order.not_before > now:
                next_at = min(next_at, order.not_before)
            elif order.live:
                if live > 0:
                    live -= 1
                    self._begin(key, order)
            elif free <= 0:
                break
            elif calm or now - order.since >= LATEST_S:
                free -= 1
                self._begin(key, order)
        if any(order.fetch is None for order in self._orders.values()) and self._waking is None:
            self._wake(max(0.02, next_at - now))

    def _begin(self, key: Key, order: _Order) -> None:
        order.tries += 1
        patient = order.tries < TRIES and not order.hurry
        now = self.loop.clock()
        try:
            order.fetch = Fetch(
                self._dialler, self._store, order.message, now, patient, self._on_end
            )
        except OSError as error:
            _log.error("job %d.%d: the archive's disk: %s", *key, error)
            self._again(key, order)
            return
        order.fetch.start()

    def _on_end(self, fetch: Fetch, count: int | None, why: str, final: bool) -> None:
        key = fetch.key
        order = self._orders.get(key)
        if order is None or order.fetch is not fetch:
            return
        order.fetch = None
        if fetch.unreached:  # until the broker says that it is no use
            order.tries = min(order.tries, TRIES - 1)
        if count is not None:
            del self._orders[key]
            self._say_archived(key, count)
            if self._store.total > self._most:
                self._expire()
        elif final or order.tries >= TRIES:
            _log.warning("job %d.%d is not archived: %s", *key, why)
            del self._orders[key]
            self._store.drop(key)
            self._say({"m": "not-archived", "why": why}, key)
        else:
            _log.warning("job %d.%d is not archived yet: %s", *key, why)
            self._again(key, order)
        self._wake(0.0)

    def _again(self, key: Key, order: _Order) -> None:
        if order.tries >= TRIES:
            del self._orders[key]
            self._say({"m": "not-archived", "why": "the archive's disk is full"}, key)
            return
        wait = min(MOST_RETRY_S, RETRY_S * 2 ** (order.tries - 1))
        order.not_before = self.loop.clock() + wait
        self._wake(0.0)

    def _say_archived(self, key: Key, count: int) -> None:
        self._say({"m": "archived", "bytes": count}, key)

    def _say(self, message: dict[str, Any], key: Key) -> None:
        self._uplink.say({**message, "job": str(key[0]), "index": key[1]})

    # ------------------------------------------------------------------------------------ showing

    def plain_owner(self, sock: socket.socket, data: bytes) -> None:
        sock.close()

    def data_owner(self, link_user: Any) -> Owner:
        return Greeter(self, link_user())

    def _expect(self, message: dict[str, Any]) -> None:
        att = str(message.get("att"))
        message["_at"] = self.loop.clock()
        self._expects[att] = message
        self._uplink.want_spares(1 + len(self._expects))
        waiting = self._waiting.pop(att, None)
        if waiting is not None:
            waiting.go_on()

    def welcome(self, greeter: Greeter, att: str, hello: dict[str, Any], probe: wire.Peer) -> None:
        """A reader named its attachment; show it what it was let in for."""
        link = greeter.link
        assert link is not None
        shown = self._readers.get(att)
        if shown is not None and att in shown.attachments:
            attachment = shown.attachments[att]
            if attachment.user != greeter.user:
                raise RemoteProtocolError("denied", "another user's attachment")
            self._expects.pop(att, None)
            attachment.join(link, hello, probe)
            return
        here = self.depot.find_att(att)
        if here is not None:
            if here.user != greeter.user:
                raise RemoteProtocolError("denied", "another user's attachment")
            self._expects.pop(att, None)
            here.join(link, hello, probe)
            return
        expect = self._expects.get(att)
        if expect is None:
            greeter.wait_for(att)
            return
        if expect["user"] == greeter.user and expect.get("op") == "open" and expect.get("depot"):
            del self._expects[att]
            self.depot.open(att, expect, probe).join(link, hello, probe)
            return
        if expect.get("depot") and expect["user"] == greeter.user:
            greeter.refuse("gone", "the relay's depot was started anew: begin again")
            return
        if expect["user"] != greeter.user or expect.get("op") not in ("attach", "resume"):
            raise RemoteProtocolError("denied", "another user's attachment")
        del self._expects[att]
        key = (int(expect["job"]), int(expect["index"]))
        try:
            shown = self._shown.get(key) or Shown(self._store, key, self._unshown)
        except LookupError:
            greeter.refuse("gone", "it is not in the archive any more")
            return
        self._shown[key] = self._readers[att] = shown
        attachment = Attachment(shown, att, greeter.user, "r", probe)  # type: ignore[arg-type]
        # Who resumes has seen a part, maybe of our predecessor's: positions say where it goes on.
        attachment.since = hello.get("since") if expect["op"] == "attach" else "start"
        attachment.wants_ranks(hello)
        shown.add(attachment)
        attachment.join(link, hello, probe)

    def _unshown(self, shown: Shown) -> None:
        if self._shown.get(shown.key) is shown:
            del self._shown[shown.key]

    def expect_later(self, att: str, greeter: Greeter) -> None:
        self._waiting[att] = greeter

    def expect_no_more(self, att: str, greeter: Greeter) -> None:
        if self._waiting.get(att) is greeter:
            del self._waiting[att]

    # ----------------------------------------------------------------------------------- forgetting

    def _drop(self, key: Key) -> None:
        order = self._orders.pop(key, None)
        if order is not None and order.fetch is not None:
            order.fetch.close()
        shown = self._shown.get(key)
        if shown is not None:
            for attachment in list(shown.attachments.values()):
                attachment.end("gone", "it was forgotten")
        self._store.drop(key)

    def _expire(self) -> None:
        self._expired_at = self.loop.clock()
        gone = victims(self._store.kept.values(), time.time(), self._keep_s, self._most)
        for key, why in gone:
            self._drop(key)
            self._say({"m": "expired", "why": why}, key)
        if self.loop.clock() - self._began_at > ABANDONED_S:
            for key in self._store.unfinished():
                if key not in self._orders:
                    self._store.drop(key)
        if gone:
            _log.info("%d steps went: %s", len(gone), gone[-1][1])

    def _sweep(self) -> None:
        now = self.loop.clock()
        for att in [a for a, e in self._expects.items() if now - e["_at"] > EXPECT_KEPT_S]:
            del self._expects[att]
        for order in list(self._orders.values()):
            if order.fetch is not None:
                order.fetch.tick(now)
        for att, shown in list(self._readers.items()):
            attachment = shown.attachments.get(att)
            if attachment is None:
                del self._readers[att]
            elif (
                attachment.lost_at is not None
                and shown.clock() - attachment.lost_at > LOST_READER_S  # not the loop's clock
            ):
                shown.remove(attachment)
        self.depot.sweep(now)
        if now - self._expired_at >= EXPIRE_S:
            self._expire()
            self.boxes.sweep(None, time.time())
        self.loop.later(SWEEP_S, self._sweep)


def begin(
    loop: Loop,
    path: str,
    client: Ticket,
    agent: Ticket,
    days: float,
    most: int,
    depot: str = "depot",
) -> Archive:
    """An archive at work on this loop.

    Raises:
        GshellError: its directory cannot be used.
    """
    try:
        store = Store(path)
        boxes = Boxes(depot)
    except OSError as error:
        raise GshellError(f"cannot use the archive {path}: {error.strerror}") from None
    archive = Archive(loop, store, boxes, client, agent, days, most)
    archive.start()
    return archive
