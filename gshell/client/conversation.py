"""One attachment's conversation with an agent, over as many connections as it takes.

Dials through the relay's door, greets, resumes after breaks with back-off. Knows no terminal and no
descriptors: its owner gets the events.
"""

from __future__ import annotations

import os
import time

from gshell import config
from gshell.errors import AuthError, GshellError, LinkLost, RemoteProtocolError
from gshell.model.sanitize import sanitize, sanitize_all
from gshell.model.ticket import Ticket
from gshell.net import address, relays, rendezvous
from gshell.net.link import Link
from gshell.net.loop import Loop, Timer
from gshell.net.tls import Tls
from gshell.wire import peer as wire
from gshell.wire.constants import DEAD_AFTER_S, HEARTBEAT_S

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any, Protocol
else:
    Protocol = object

PULL_BYTES = 1 << 18
BACKOFF_FIRST_S = 0.03
BACKOFF_MOST_S = 5.0
BACKOFF_GROWTH = 1.6  # five breaks in a row cost 0.2 s, not 0.5: somebody waits for the next byte
REACH_S = 10.0  # of being cut off before we were ever joined: no passing thing
QUEUED_S = 600.0  # who has a turn in the queue waits as long for a relay that is away
UNREACHED = 6  # dials that nobody took, within a second: no relay there
JOIN_S = 15.0  # from dialling to the agent's greeting: longer than a door waits for a spare
TYPED_DEAD_S = (
    10.0  # a key was typed, and since then not a byte came: no need to wait for DEAD_AFTER_S
)
WRONG_MOST = 5  # links in a row that an agent ended by breaking a rule: it will not learn them
WRONG_FORGOTTEN_S = 60.0  # since the last of them; one now and then is a bad cable
STOPPED = "the agent was stopped"
ARCHIVE_S = 30.0  # for the relay to show what an agent that has left was showing
SILENT_CLOSES = 4  # a door that closes without a word before we ever joined: ask who we are


class Talker(Protocol):
    """Who owns a Conversation."""

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        """WELCOME arrived, the first or after a break; open streams now."""

    def on_event(self, talk: Conversation, event: wire.Event) -> None: ...

    def on_flow(self, talk: Conversation) -> None:
        """Credit or room may have come."""

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        """The link broke; it is being mended."""

    def on_queued(self, talk: Conversation) -> None:
        """No room at present: call ``dial()`` when there is."""

    def on_refused(self, talk: Conversation, code: str) -> None:
        """A door refused in clear; not final, but ``dial()`` again is up to the owner."""

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        """It is over."""


class Dialler:
    """What all conversations of a process share: the ticket and the TLS context."""

    def __init__(self, loop: Loop, ticket: Ticket) -> None:
        from gshell.net.tls import client_context

        self.loop = loop
        self.ticket = ticket
        self.context = client_context(ticket)
        self.mac_key = bytes.fromhex(ticket.mac_key)
        self.skew_s = 0.0  # the relay's clock against ours, once it had to be asked
        self.relays = relays.relays_of(ticket.relays)
        if self.relays.several:
            relays.remember = config.remember_relay


class Conversation:
    """Invariant: at most one link; ``secret`` leaves this process only inside end-to-end TLS."""

    def __init__(
        self,
        dialler: Dialler,
        owner: Talker,
        request: dict[str, Any],
        hello: dict[str, Any],
        agents_of: str = "",
    ) -> None:
        """``agents_of``: the user whose agents may answer, if it is not ours."""
        self.peer = wire.Peer(client=True)
        self.ended = ""  # the code of the BYE that ended it
        self.trusts = agents_of or dialler.ticket.user
        """Whose agents it may be that answer; ``*``: anybody's (a pool's)."""
        self.joined = False  # ever
        self.moves = False
        """Whether it may go on with the relay's archive when its agent has left: that has the same
        streams, and the end."""
        self.job = str(request.get("job", ""))
        self.index = int(request.get("index", 0))
        self.over = False
        self.agent_id = ""
        self._left_at: float | None = None  # the agent said that it ends
        self._dialler = dialler
        self._loop = dialler.loop
        self._owner = owner
        self._secret = os.urandom(32)
        self.att = rendezvous.public_id(self._secret)
        self._request = request
        self._hello = hello
        self._link: Link | None = None
        self._timer: Timer | None = None
        self._heard_at = 0.0
        self._beat_at = 0.0
        self._asking: Timer | None = None
        self._began_at = 0.0
        self._attempts = 0
        self._silent = 0
        self._queued = False
        self._wrong = 0
        self._wrong_at = 0.0
        self._beating = False
        self._dialled = ""  # the address of the link there is, or was last
        self._asked_whose = False

    def hand_over(self, owner: Talker) -> None:
        """Somebody else is called back from now on (a warm conversation is put to use)."""
        self._owner = owner

    @property
    def up(self) -> bool:
        return self._link is not None and self.peer.greeted

    # -- links

    def dial(self) -> None:
        """Connect and ask to be joined; everything else follows by itself."""
        self._timer = None
        if self.over or self._link is not None:
            return
        self._began_at = self._began_at or self._loop.clock()
        dialler = self._dialler
        self._dialled = dialler.relays.address
        try:
            sock, connected = address.start_connect(self._dialled)
        except OSError as error:
            self._broken(LinkLost(f"cannot connect: {error.strerror or error}"), taken=False)
            return
        tls = Tls(dialler.context, server_side=False)
        hello = tls.start()
        link = self._link = Link(self._loop, sock, self, tls)
        self._heard_at = self._loop.clock()
        preamble = rendezvous.encode(rendezvous.CLIENT, self._body(), hello, dialler.mac_key)
        link.begin(connected, preamble, dialler.relays.connect_s(JOIN_S))
        if dialler.relays.hurried:
            self._loop.later(dialler.relays.answer_s(JOIN_S), lambda: self._too_slow(link))
        if not self._beating:
            self._beating = True
            self._loop.later(HEARTBEAT_S / 3, self._beat)

    def _too_slow(self, link: Link) -> None:
        """Another address may be better than this one that says nothing."""
        if link is self._link and link.first is None:
            self._drop()
            self._broken(LinkLost(f"{self._dialled} does not answer"), taken=False, dead=True)

    def _body(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "k": self._dialler.ticket.mac_id,
            "t": time.time() + self._dialler.skew_s,
            "n": os.urandom(16).hex(),
            "att": self.att,
        }
        body.update(self._request)
        if self.joined:
            body["op"] = "resume"
            body["job"] = self.job
            body["index"] = self.index
        return body

    def link_first(self, link: Link) -> None:
        self._dialler.relays.worked(self._dialled)

    def link_ready(self, link: Link) -> None:
        assert link.tls is not None
        agent = self._agent_of(link.tls.peer_uris())
        if not agent and self._request.get("op") == "attach" and not self._asked_whose:
            self._asked_whose = True  # by a share, or in a pool: the relay knows
            self._drop()
            self._owner.on_refused(self, "foreign")
            return
        if not agent:
            self._fail(AuthError("what answered is not an agent of yours"))
            return
        if self.joined and agent != self.agent_id:
            self.peer.elsewhere()
        self.agent_id = agent
        hello = dict(self._hello)
        hello["op"] = "resume" if self.joined else self._request.get("op", "open")
        hello["secret"] = self._secret.hex()
        first = (
            not self.joined and not self._attempts
        )  # a link that breaks would waste it each time
        self.peer.link_up(hello, early_data=first and hello["op"] == "open")
        self.pump()

    def _agent_of(self, uris: list[str]) -> str:
        """The id of the agent with this certificate; empty if it must not have what we send."""
        users = [self.trusts]
        if self._request.get("op", "open") != "open" or (self.joined and self.moves):
            users.append("@archive")  # the relay's own: shows what has ended, and runs nothing
        for uri in uris:
            words = uri.split(":")
            known = words[2:3] and (words[2] in users or self.trusts == "*")
            if words[:2] == ["gshell", "agent"] and len(words) == 4 and known:
                return sanitize(words[3])
        return ""

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        self._heard_at = self._loop.clock()
        receive = self.peer.receive
        for chunk in chunks:
            for event in receive(chunk):
                if link.closed and (self.over or isinstance(event, wire.Greeted)):
                    return
                # What came counts as arrived and is not sent again: all of it is handed on, though
                # the link broke over our answer to the first part.
                try:
                    self._event(event)
                except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                    if isinstance(event, (wire.Greeted, wire.ControlReceived)):  # an agent's words
                        raise RemoteProtocolError("bad-message", type(error).__name__) from error
                    raise
            if link.closed:
                return
            if self.peer.failed is not None:
                raise self.peer.failed
        self._owner.on_flow(self)
        self.pump()

    def _event(self, event: wire.Event) -> None:
        # What an agent says about its step comes from elsewhere: made safe here, once.
        if isinstance(event, wire.Greeted):
            message = sanitize_all(event.message)
            self.job = str(message.get("job", self.job))
            self.index = int(message.get("index", self.index))
            self.joined = True
            self._left_at = None
            self._attempts = self._silent = 0
            self._owner.on_greeted(self, message)
            for more in self.peer.adopt(message):
                self._event(more)
        elif isinstance(event, wire.Ended):
            self._ended(wire.Ended(sanitize(event.code), sanitize(event.reason)))
        elif isinstance(event, wire.ControlReceived):
            self._owner.on_event(self, wire.ControlReceived(sanitize_all(event.message)))
        elif not isinstance(event, wire.PongReceived):
            self._owner.on_event(self, event)

    def _ended(self, event: wire.Ended) -> None:
        code = self.ended = event.code
        if code in ("busy", "draining") and not self.over:
            self._drop()  # the relay did not know yet: ask again, it looks elsewhere
            self.joined = False
            self._owner.on_refused(self, "again")
            return
        if code == "again":  # the relay's word about us was lost on its way: it is said anew
            self._drop()
            self._broken(LinkLost("the agent was not told of us"))
            return
        if code == "shutdown" and self.moves:
            self._left_at = self._loop.clock()
            self._drop()
            self._broken(LinkLost(STOPPED))
            return
        reasons = {
            "gone": LinkLost("the session is not there any more", transient=False),
            "denied": AuthError(f"the agent refused: {event.reason}"),
            "shutdown": LinkLost(STOPPED, transient=False),
            "revoked": AuthError(event.reason or "your right to be here was withdrawn"),
        }
        self._fail(
            reasons.get(code)
            or LinkLost(f"the agent ended the session: {event.reason or code}", transient=False)
        )

    def link_room(self, link: Link) -> None:
        self._owner.on_flow(self)
        self.pump()

    def link_closed(self, link: Link, error: GshellError) -> None:
        if link is not self._link:
            return
        self._link = None
        self.peer.link_lost()
        if link.first is not None and link.first.startswith(rendezvous.MAGIC):
            code, retry_s = rendezvous.parse_refusal(link.first)
            self._refused(code, retry_s)
        elif isinstance(error, RemoteProtocolError):
            self._broke_a_rule(error)
        elif isinstance(error, AuthError) and not self.joined:
            # Once joined, a certificate that does not fit is somebody else on the way: it passes.
            self._fail(error)
        else:
            if link.first is None and not self.joined:
                self._silent += 1
            self._broken(error, taken=link.connected, dead=link.first is None)

    def _broke_a_rule(self, error: RemoteProtocolError) -> None:
        """That ends the link, never the session, unless it happens on each link."""
        now = self._loop.clock()
        self._wrong = self._wrong + 1 if now - self._wrong_at < WRONG_FORGOTTEN_S else 1
        self._wrong_at = now
        if self._wrong >= WRONG_MOST:
            whom = f"the agent {self.agent_id}" if self.agent_id else "what answers"
            self._fail(
                LinkLost(
                    f"{whom} keeps breaking the protocol ({sanitize(error.message)})",
                    hint="gshell agents    shows its version",
                    transient=False,
                )
            )
        else:
            self._broken(LinkLost(f"protocol error: {sanitize(error.message)}"))

    def _refused(self, code: str, retry_s: float) -> None:
        if code in ("again", "queued"):
            self._began_at = self._loop.clock()  # a relay is there: be patient with it
        if code in ("again", "used", "garbled"):  # garbled: cut, or not whole in one read
            if self._gives_up():
                return
            self._later(max(retry_s, self._backoff()))
            self._owner.on_lost(self, LinkLost("the agent is away for the moment"))
        elif code == "queued":
            self._queued = True
            self._owner.on_queued(self)
        else:
            self._owner.on_refused(self, code)

    @property
    def patient(self) -> bool:
        """Is trying again still worth it? Once joined it always is."""
        reach_s = QUEUED_S if self._queued else REACH_S
        return self.joined or self._loop.clock() - self._began_at < reach_s

    def was_answered(self) -> None:
        """The relay was there until now: patience with it begins anew."""
        self._began_at = self._loop.clock()

    def _broken(self, error: GshellError, taken: bool = True, dead: bool = False) -> None:
        """The link is no more; ``taken``: somebody had accepted it; ``dead``: not a word came."""
        if self._gives_up():
            return
        every = self._dialler.relays
        if dead or not taken:
            every.failed(self._dialled)
        if not self.joined and not (every.hurried and self._attempts < UNREACHED):
            unreached = not taken and not self._queued and self._attempts >= UNREACHED
            if not self.patient or unreached:
                names = ", ".join(self._dialler.ticket.relays)
                self._fail(LinkLost(f"cannot reach the relay {names}: {error}"))
                return
            if self._silent >= SILENT_CLOSES:
                self._silent = 0
                self._owner.on_refused(self, "silent")
                return
        self._later(self._backoff())
        self._owner.on_lost(self, error)

    def _gives_up(self) -> bool:
        """The agent has left for good, and the relay has not shown anything in its stead."""
        if self._left_at is None or self._loop.clock() - self._left_at < ARCHIVE_S:
            return False
        self._fail(LinkLost(STOPPED, transient=False))
        return True

    def _backoff(self) -> float:
        self._attempts += 1
        jitter = 0.5 + os.urandom(1)[0] / 255.0
        delay = BACKOFF_FIRST_S * BACKOFF_GROWTH ** min(self._attempts - 1, 20)
        return min(BACKOFF_MOST_S, delay) * jitter

    def _later(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.later(delay_s, self.dial)

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
            self.peer.link_lost()

    def _fail(self, error: GshellError) -> None:
        self.close()
        self._owner.on_failed(self, error)

    def close(self, code: str = "", reason: str = "") -> None:
        """Leave; with ``code``, say BYE. Nothing is called back any more."""
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        link = self._link
        if link is not None:
            if code and not link.closed and link.tls is not None and link.tls.ready:
                self.peer.bye(code, reason)
                link.send(b"".join(self.peer.pull(PULL_BYTES)))
            self._drop()

    # -- time

    def _beat(self) -> None:
        if self.over:
            return
        now = self._loop.clock()
        link = self._link
        if link is not None:
            silent = now - self._heard_at
            patience = DEAD_AFTER_S - HEARTBEAT_S / 3  # noticed within DEAD_AFTER_S
            if silent > (patience if self.peer.greeted else JOIN_S):
                self._drop()
                self._broken(LinkLost("the connection has been silent"), dead=True)
            elif (
                self.peer.greeted and silent > HEARTBEAT_S and now - self._beat_at > HEARTBEAT_S / 2
            ):
                self._beat_at = now
                self.peer.ping(int(now))
                self.pump()
        self._loop.later(HEARTBEAT_S / 3, self._beat)

    def check_now(self, heard_s: float = 3.0) -> None:
        """Somebody waits for an answer (a key was typed): find out soon whether the link lives,
        unless it was heard within ``heard_s``."""
        now = self._loop.clock()
        if self.up and now - self._heard_at >= heard_s and self._asking is None:
            self.peer.ping(0)
            self._asking = self._loop.later(TYPED_DEAD_S, lambda: self._unanswered(now))

    def _unanswered(self, since: float) -> None:
        self._asking = None
        if self._link is not None and self._heard_at < since and not self.over:
            self._drop()
            self._broken(LinkLost("the connection does not answer"), dead=True)

    # -- sending

    @property
    def room(self) -> bool:
        return self._link is not None and self._link.room

    def pump(self) -> None:
        """Send what may be sent, while the link has room."""
        link = self._link
        if link is None or link.closed or link.tls is None or not link.tls.ready:
            return
        peer = self.peer
        while link.room:
            out = peer.pull(PULL_BYTES)
            if not out:
                return
            link.send(out[0] if len(out) == 1 else b"".join(out))
