"""Control connections: TLS ends here, JSON messages go to the broker and back. Understands none of
them.

Whoever shows no certificate may send one short message (an enrolment), and not for long.
"""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from gshell.errors import GshellError, ProtocolError, RemoteProtocolError
from gshell.net import control
from gshell.net.address import peer_name
from gshell.net.link import Link
from gshell.net.loop import Loop
from gshell.net.tls import Tls
from relay.auth import serial_text
from relay.door import limits
from relay.door.sane import shallow
from relay.door.splice import Farewells

Message = dict[str, Any]

STRANGER_BYTES = 4096  # an enrolment fits
UNANSWERED = 256  # requests of one client under way: waiting ones count, too
SILENT_S = 45.0  # nothing heard of an agent for so long (it pings every 10): half-open
UNSENT_BYTES = 1 << 25  # two of the largest answers; who takes nothing more is cut off

_log = logging.getLogger("relay.door")


class Control:
    """One control connection, known to the broker from ``up`` to ``down``."""

    __slots__ = ("_decoder", "agent_id", "hub", "link", "number", "out", "pings", "quiet", "role",
                 "spent", "unanswered", "user", "wasted")  # fmt: skip

    def __init__(self, hub: Controls, number: int, sock: socket.socket) -> None:
        self.hub = hub
        self.number = number
        self.role = ""  # until the certificate is known
        self.user = self.agent_id = ""
        self.spent = False  # a stranger has one message
        self.wasted = limits.GARBAGE  # what its source owes, should it end as a stranger
        self.pings = False  # it promises to be heard
        self.quiet = 0  # sweeps since it was
        self.unanswered = 0
        self.out: list[bytes] = []  # for it, until the end of this round
        self._decoder = control.ControlDecoder(STRANGER_BYTES)
        self.link = Link(hub.loop, sock, self, Tls(hub.context, server_side=True))

    def link_ready(self, link: Link) -> None:
        assert link.tls is not None
        serial = ""
        for uri in link.tls.peer_uris():
            words = uri.split(":")
            if words[:2] == ["gshell", "user"] and len(words) == 3:
                self.role, self.user = "client", words[2]
            elif words[:2] == ["gshell", "agent"] and len(words) == 4:
                self.role, self.user, self.agent_id = "agent", words[2], words[3]
        if self.role:
            serial = serial_text(link.tls.peer_serial())
            self._decoder = control.ControlDecoder(control.MAX_FROM_PEER_BYTES)
            self.hub.authenticated(self, serial)

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        self.quiet = 0
        try:
            for chunk in chunks:
                for message in self._decoder.feed(chunk):
                    if not shallow(message):
                        raise RemoteProtocolError("bad-json", "nested too deep")
                    self.hub.said(self, message)
                    if link.closed:
                        return
        except ProtocolError as error:
            _log.info("control %d (%s): %s", self.number, self.user or "stranger", error)
            self.hub.close(self)

    def link_room(self, link: Link) -> None:
        self.hub.room(self.number)

    def link_closed(self, link: Link, error: GshellError) -> None:
        _log.debug("control %d (%s): %s", self.number, self.user or "stranger", error)
        self.hub.closed(self)


class Controls:
    """All control connections of a door.

    ``tell`` takes messages for the broker; ``left`` is called for one that has gone, ``known``
    for one whose certificate is verified, with the park key made for it.
    """

    def __init__(
        self,
        loop: Loop,
        context: ssl.SSLContext,
        tell: Callable[[Message], None],
        known: Callable[[Control, str], None],
        left: Callable[[Control], None],
        farewells: Farewells,
    ) -> None:
        self.loop = loop
        self.context = context
        self._tell = tell
        self._known = known
        self._left = left
        self._farewells = farewells
        self.room: Callable[[int], None] = lambda number: None  # all that was sent to it has left
        self._numbers = 0
        self.by_number: dict[int, Control] = {}
        self._unsent: dict[int, Control] = {}  # those to whom something was said in this round
        self._sweep()

    def _sweep(self) -> None:
        for one in list(self.by_number.values()):
            one.quiet += one.pings
            if one.quiet > 3:
                _log.info("control %d (%s) has been silent: closed", one.number, one.user)
                self.close(one)
        self.loop.later(SILENT_S / 4, self._sweep)

    def take(self, sock: socket.socket) -> Control:
        self._numbers += 1
        one = Control(self, self._numbers, sock)
        self.by_number[one.number] = one
        one.link.begin()
        return one

    def authenticated(self, one: Control, serial: str) -> None:
        assert one.link.tls is not None
        park_key = secrets.token_hex(32) if one.role == "agent" else ""
        self._known(one, park_key)
        self._tell({
            "m": "up", "c": one.number, "role": one.role, "user": one.user,
            "agent": one.agent_id, "serial": serial, "key": park_key,
            "from": peer_name(one.link.sock), "until": one.link.tls.peer_until(),
        })  # fmt: skip

    def said(self, one: Control, message: Message) -> None:
        if one.role and message.get("m") == "ping":
            one.pings = True
            one.link.send(control.encode({"m": "pong", "now": time.time()}))
        elif one.role == "client" and one.unanswered >= UNANSWERED:
            one.link.send(control.encode({
                "re": message.get("id"), "ok": False, "code": "full", "hint": None,
                "message": f"{UNANSWERED} requests on this connection are not answered yet",
            }))  # fmt: skip
            self._check_taken(one)
        elif one.role:
            one.unanswered += 1
            self._tell({"m": "in", "c": one.number, "msg": message})
        elif message.get("m") == "enrol" and not one.spent:
            one.spent = True
            one.wasted = 0.0
            source = peer_name(one.link.sock)
            self._tell({"m": "enrol", "c": one.number, "msg": message, "from": source})
        else:
            self.close(one)

    def send(self, number: int, message: Message) -> None:
        one = self.by_number.get(number)
        if one is None:
            return
        if not one.role and message.get("m") == "error":
            one.wasted = limits.REFUSED
        if "re" in message or message.get("m") == "welcome":
            one.unanswered -= 1
        one.out.append(control.encode(message))
        self._unsent[one.number] = one

    def flush(self) -> None:
        """What the broker said in this round goes out, to each in one piece."""
        unsent, self._unsent = self._unsent, {}
        for one in unsent.values():
            self._flush(one)

    def _flush(self, one: Control) -> None:
        if one.out:
            out, one.out = one.out, []
            one.link.send(b"".join(out))
            self._check_taken(one)

    def _check_taken(self, one: Control) -> None:
        if one.link.unsent > UNSENT_BYTES:
            _log.warning("control %d (%s) takes nothing: cut off", one.number, one.user)
            self.close(one)

    def close_number(self, number: int) -> None:
        """So that what was sent before arrives."""
        one = self.by_number.get(number)
        if one is not None:
            self._flush(one)
        if one is not None and not one.link.closed:
            one.link.closed = True  # its socket is ours now
            self.loop.remove(one.link.sock.fileno())
            self._farewells.take(one.link.sock)
            self.closed(one)

    def close(self, one: Control) -> None:
        one.link.close()
        self.closed(one)

    def closed(self, one: Control) -> None:
        if self.by_number.pop(one.number, None) is not None:
            one.link.tls = None  # the big part of it, in a cycle: not left to the collector
            if one.role:
                self._tell({"m": "down", "c": one.number})
            self._left(one)

    def close_all(self) -> None:
        for one in list(self.by_number.values()):
            self.close(one)
