"""The agent's connections to its relay: one for control, a few spares parked for data.

Reconnects for ever with jittered back-off. Knows no sessions; whoever owns it gets the messages
and the data links.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any, Callable, Protocol

from gshell.errors import AuthError, GshellError, RemoteProtocolError
from gshell.model.sanitize import sanitize_all
from gshell.model.ticket import Ticket
from gshell.net import address, control, rendezvous
from gshell.net.link import Link, Owner
from gshell.net.loop import Loop, Timer
from gshell.net.relays import relays_of
from gshell.net.tls import Tls, client_context, server_context

MAX_SPARES = 16  # parked data connections; a door takes no more of one agent
BACKOFF_FIRST_S = 0.05
BACKOFF_MOST_S = 5.0
SPARE_RETRY_S = 0.1
CONTROL_PING_S = 10.0
CONTROL_DEAD_S = 35.0  # and looked at every CONTROL_PING_S: noticed within 45 s
WELCOME_S = 20.0  # from dialling to being registered: five hundred may come back at once


def jitter() -> float:
    """0.5 to 1.5, so that a thousand agents do not return in the same instant."""
    return 0.5 + os.urandom(1)[0] / 255.0


class Uplinked(Protocol):
    """Who owns an Uplink."""

    def hello(self) -> dict[str, Any]:
        """What to register with."""

    def on_control(self, message: dict[str, Any]) -> None:
        """A message from the broker (but for ``welcome``)."""

    def on_welcome(self) -> None:
        """Registered (again)."""

    def on_away(self, error: GshellError) -> None:
        """The control connection is lost; it will come back by itself."""

    def on_refused(self, error: AuthError) -> None:
        """Our certificate is not accepted: it never will be."""

    def data_owner(self, link_user: Callable[[], str]) -> Owner:
        """Whose a new data link shall be."""

    def plain_owner(self, sock: socket.socket, data: bytes) -> None:
        """A data connection begins with ``data``, which is not TLS: what it is, is the owner's
        to see, and the socket is the owner's."""


class Uplink:
    """Owns the control link and the parked spares. Invariant: spares exist only under the
    ``park_key`` of the present control connection."""

    def __init__(self, loop: Loop, ticket: Ticket, owner: Uplinked) -> None:
        self._loop = loop
        self._ticket = ticket
        self._owner = owner
        self._client_context = client_context(ticket)
        self._server_context = server_context(ticket)
        self._link: Link | None = None
        self._decoder = control.ControlDecoder(control.MAX_FROM_RELAY_BYTES)
        self._retry: Timer | None = None
        self._failures = 0
        self._relays = relays_of(ticket.relays)
        self._dialled = ""
        self._joined: set[Link] = set()  # data links: whoever owns them does not look at the clock
        self._park_key = b""
        self._spares: dict[Link, _Spare] = {}
        self._said: list[bytes] = []  # in this round, or since our hello
        self._greeted = False  # our hello is on its way
        self._wanted = 2
        self._heard_at = 0.0
        self._closed = False
        self._ever_welcomed = False
        self._relay_epoch: float | None = None  # the relay's clock against ours that never jumps
        self._spares_lost = 0  # in a row, none of them used
        self.welcomed = False
        self.archive = "off"
        """What the relay keeps of steps that have ended: "off", "on-exit" or "live"."""

    def start(self) -> None:
        self._dial()
        self._loop.later(CONTROL_PING_S, self._heartbeat)

    def close(self) -> None:
        self._closed = True
        self._drop_spares()
        if self._link is not None:
            self._tell()
            self._link.close()
            self._link = None

    def say(self, message: dict[str, Any]) -> None:
        """Send to the broker when this round of the loop ends. What is said before our hello is
        dropped: what matters is in that. What is said after it waits for the welcome. An end goes
        out at once, before those who wait for it hear of it: what they ask the relay next, it
        knows."""
        if self._link is not None and self._greeted:
            if not self._said:
                self._loop.soon(self._tell)
            self._said.append(control.encode(message))
            if message["m"] == "ended":
                self._tell()

    def _tell(self) -> None:
        """What was said in one round goes out in one piece."""
        if self._said and self._link is not None and self.welcomed:
            said, self._said = self._said, []
            self._link.send(b"".join(said))

    def relay_time(self) -> float:
        """Seconds since the epoch, by the relay's clock as far as we know it."""
        return self._relay_time()

    def want_spares(self, count: int) -> None:
        """Keep at least so many data connections parked."""
        count = max(2, min(count, MAX_SPARES))
        if count > self._wanted:
            self._wanted = count
        self._top_up()

    # -- control

    def _dial(self) -> None:
        self._retry = None
        if self._closed:
            return
        self._decoder = control.ControlDecoder(control.MAX_FROM_RELAY_BYTES)
        self._dialled = self._relays.address
        try:
            sock, connected = address.start_connect(self._dialled)
        except (OSError, GshellError) as error:
            self._lost(GshellError(f"cannot reach the relay: {error}"))
            return
        tls = Tls(self._client_context, server_side=False)
        link = self._link = Link(self._loop, sock, self, tls)
        self._heard_at = self._loop.clock()
        first = address.preface(self._dialled) + tls.start()
        link.begin(connected, first, self._relays.connect_s(WELCOME_S))
        self._loop.later(self._relays.answer_s(WELCOME_S), lambda: self._too_slow(link))

    def _too_slow(self, link: Link) -> None:
        if link is self._link and not self.welcomed and not link.closed:
            link.close()
            self._lost(GshellError(f"the relay at {self._dialled} does not answer"))

    def _lost(self, error: GshellError) -> None:
        self._link = None
        self._said.clear()
        self._greeted = False
        was_welcomed, self.welcomed = self.welcomed, False
        if self._closed:
            return
        self._drop_spares()
        if was_welcomed:
            self._failures = 0
        else:
            self._relays.failed(self._dialled)
        self._failures += 1
        delay = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(self._failures - 1, 10)) * jitter()
        self._retry = self._loop.later(delay, self._dial)
        self._owner.on_away(error)

    def link_ready(self, link: Link) -> None:
        assert link.tls is not None
        if link.tls.peer_pin() != self._ticket.pin:
            link.close()
            self._lost(AuthError("the relay's certificate is not the one in our ticket"))
            return
        link.send(control.encode(self._owner.hello()))
        self._greeted = True

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        self._heard_at = self._loop.clock()
        for chunk in chunks:
            for message in self._decoder.feed(chunk):
                try:
                    self._message(message)
                except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                    # A relay's words: they end the connection, not us and what we run.
                    raise RemoteProtocolError("bad-message", type(error).__name__) from error
                if link.closed:
                    return

    def _message(self, message: dict[str, Any]) -> None:
        # Errors and names come from elsewhere: made safe here, once. What to start, and what
        # members of a job say to each other, is data.
        message = sanitize_all(message, but=("spec", "body"))
        if message.get("m") == "welcome":
            self._welcome(message)
        elif message.get("m") == "pong":
            self._learn_time(message)
        else:
            self._owner.on_control(message)

    def link_room(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link, error: GshellError) -> None:
        if link is self._link:
            verified = link.tls is not None and link.tls.ready
            # Who merely holds the relay's port for a moment must not end us: that passes.
            if isinstance(error, AuthError) and (verified or not self._ever_welcomed):
                self._closed = True
                self._link = None
                self._drop_spares()
                self._owner.on_refused(error)
            else:
                self._lost(error)

    def _welcome(self, message: dict[str, Any]) -> None:
        self._drop_spares()
        self._park_key = bytes.fromhex(str(message["park_key"]))
        self._wanted = max(2, min(int(message.get("spares", 2)), MAX_SPARES))
        self.welcomed = self._ever_welcomed = True
        self.archive = str(message.get("archive", "off"))
        self._relays.worked(self._dialled)
        self._learn_time(message)
        self._tell()
        self._owner.on_welcome()
        self._top_up()

    def _learn_time(self, message: dict[str, Any]) -> None:
        """Whoever's clock is set anew, ours or theirs: our spares must not be too old for them."""
        now = message.get("now")
        if isinstance(now, (int, float)):
            self._relay_epoch = now - self._loop.clock()

    def _relay_time(self) -> float:
        epoch = self._relay_epoch
        return time.time() if epoch is None else epoch + self._loop.clock()

    def _heartbeat(self) -> None:
        if self._closed:
            return
        self._joined = {one for one in self._joined if not one.closed}
        for one in list(self._joined):
            one.check()
        link = self._link
        if link is not None:
            if self._loop.clock() - self._heard_at > CONTROL_DEAD_S:
                link.close()
                self._relays.failed(self._dialled)
                self._lost(GshellError("the relay has been silent"))
            elif self.welcomed:
                link.send(control.encode({"m": "ping"}))
        self._loop.later(CONTROL_PING_S, self._heartbeat)

    # -- spares

    def _top_up(self) -> None:
        while self.welcomed and len(self._spares) < self._wanted:
            if not self._park():
                self._loop.later(SPARE_RETRY_S, self._top_up)
                return

    def _park(self) -> bool:
        try:
            sock, connected = address.start_connect(self._dialled)  # where our control is
        except (OSError, GshellError):
            return False
        body = {
            "a": self._ticket.agent_id,
            "t": self._relay_time(),
            "n": os.urandom(16).hex(),
        }
        preamble = rendezvous.encode(rendezvous.AGENT, body, b"", self._park_key)
        tls = Tls(self._server_context, server_side=True)
        spare = _Spare(self)
        link = Link(self._loop, sock, spare, tls)
        self._spares[link] = spare
        link.begin(connected, address.preface(self._dialled) + preamble, WELCOME_S)
        return True

    def _drop_spares(self) -> None:
        for link in list(self._spares):
            link.close()
        self._spares.clear()

    def _spare_paired(self, link: Link) -> None:
        """The client's first bytes are here: this one is taken, park another."""
        if self._spares.pop(link, None) is not None:
            self._spares_lost = 0
            self._wanted = max(2, self._wanted - 1)
            self._loop.soon(self._top_up)

    def _spare_plain(self, link: Link, data: bytes) -> None:
        self._spare_paired(link)
        self._owner.plain_owner(link.release(), data)

    def _spare_lost(self, link: Link) -> None:
        if self._spares.pop(link, None) is not None:
            self._spares_lost += 1
            delay = min(BACKOFF_MOST_S, SPARE_RETRY_S * 1.2 ** min(self._spares_lost, 30))
            self._loop.later(delay * jitter(), self._top_up)

    def _spare_joined(self, link: Link) -> None:
        self._spare_paired(link)
        uris = link.tls.peer_uris() if link.tls is not None else []
        user = next(
            (uri[len("gshell:user:") :] for uri in uris if uri.startswith("gshell:user:")), ""
        )
        self._joined.add(link)
        link.owner = self._owner.data_owner(lambda: user)
        link.owner.link_ready(link)


class _Spare:
    """A parked data connection until its inner TLS stands; then the session layer takes it over."""

    __slots__ = ("_uplink",)

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink

    def link_ready(self, link: Link) -> None:
        self._uplink._spare_joined(link)

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        link.owner.link_data(link, chunks)  # ours no more: link_ready came first

    def link_first(self, link: Link) -> None:
        self._uplink._spare_paired(link)

    def link_plain(self, link: Link, data: bytes) -> None:
        self._uplink._spare_plain(link, data)

    def link_room(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link, error: GshellError) -> None:
        self._uplink._spare_lost(link)
