"""A control connection to the relay for requests and their answers, and for enrolment. Knows no
sessions."""

from __future__ import annotations

from gshell.errors import AuthError, BrokerError, GshellError, LinkLost, UsageError
from gshell.model import quickjson
from gshell.model.sanitize import sanitize_all
from gshell.model.ticket import Ticket
from gshell.net import address, control
from gshell.net.link import Link
from gshell.net.loop import Loop
from gshell.net.relays import relays_of
from gshell.net.tls import Tls, client_context

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any, Callable

    from gshell.net.tls import Context

    Answer = Callable[[dict[str, Any]], None]

ANSWER_S = 20.0  # for requests that do not wait for something to happen


class RelayLink:
    """One connection; ends with the first error. Invariant: nothing is sent to a relay whose
    certificate is not the pinned one."""

    def __init__(
        self,
        loop: Loop,
        ticket: Ticket,
        on_lost: Callable[[GshellError], None],
        on_message: Callable[[dict[str, Any]], None] = lambda message: None,
    ) -> None:
        self._loop = loop
        self._ticket = ticket
        self._on_lost = on_lost
        self._on_message = on_message
        self._decoder = control.ControlDecoder(control.MAX_FROM_RELAY_BYTES)
        self._answers: dict[int, Answer] = {}
        self._waiting: list[dict[str, Any]] = []
        self._count = 0
        self.welcome: dict[str, Any] | None = None
        self._link: Link | None = None
        self._context: Context | None = None
        self._relays = relays_of(ticket.relays)
        self._dialled = ""
        self._untried = 0
        self._heard = False  # a message came
        self._was_slow = False

    def open(self) -> None:
        """Dial; if nobody answers there, the next address.

        Raises:
            LinkLost: at once impossible.
        """
        self._untried = len(self._ticket.relays)
        self._dial()

    def _dial(self) -> None:
        why = ""
        while self._untried:
            self._untried -= 1
            self._dialled = self._relays.address
            try:
                sock, connected = address.start_connect(self._dialled)
            except OSError as problem:
                why = why or str(problem.strerror or problem)
                self._relays.failed(self._dialled)
                continue
            if self._context is None:
                self._context = client_context(self._ticket if self._ticket.cert else None)
            tls = Tls(self._context, server_side=False)
            self._link = Link(self._loop, sock, self, tls)
            first = address.preface(self._dialled) + tls.start()
            self._link.begin(connected, first, self._relays.connect_s(ANSWER_S))
            if self._untried:
                self._watch(self._link)
            return
        raise unreachable(self._ticket, why)

    def _watch(self, link: Link) -> None:
        self._loop.later(self._relays.answer_s(ANSWER_S), lambda: self._too_slow(link))

    def _too_slow(self, link: Link) -> None:
        if link is self._link and not self._heard:
            link.close()
            self._next(LinkLost("it does not answer"))

    def _next(self, error: GshellError) -> None:
        """Another address, if there is one that we have not tried."""
        self._link = None
        self._relays.failed(self._dialled)
        if not self._untried:
            self._lost(error)
            return
        try:
            self._dial()
        except LinkLost as last:
            self._lost(last)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def request(self, message: dict[str, Any], answer: Answer) -> None:
        """Send it when registered; ``answer`` gets the reply, ok or not."""
        self._count += 1
        message["id"] = self._count
        self._answers[self._count] = answer
        if self.welcome is None:
            self._waiting.append(message)
        elif self._link is not None:
            self._link.send(control.encode(message))

    def send_first(self, message: dict[str, Any]) -> None:
        """Instead of a client's hello (enrolment)."""
        self._waiting = [message]

    def link_ready(self, link: Link) -> None:
        assert link.tls is not None
        if link.tls.peer_pin() != self._ticket.pin:
            link.close()
            self._next(
                AuthError(
                    "the relay's certificate is not the one we know", hint="gshell login INVITE"
                )
            )
            return
        if self._ticket.cert:
            link.send(control.encode({"m": "hello", "role": "client", "v": 1}))
        else:
            for message in self._waiting:
                link.send(control.encode(message))

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        for chunk in chunks:
            for message in self._decoder.feed(chunk):
                if not self._heard:
                    self._heard = True
                    self._relays.worked(self._dialled)
                self._message(link, message)
                if link.closed:
                    return

    def _message(self, link: Link, message: dict[str, Any]) -> None:
        # All that a relay says about jobs, hosts and errors comes from elsewhere: here, once. A
        # ticket is data, and checks its own fields.
        message = sanitize_all(message, but=("ticket",))
        if "re" in message:
            request = message["re"]
            answer = self._answers.pop(request, None) if isinstance(request, int) else None
            if answer is not None:
                answer(message)
        elif message.get("m") == "welcome":
            self.welcome = message
            waiting, self._waiting = self._waiting, []
            for request in waiting:
                link.send(control.encode(request))
        elif message.get("m") == "error" and self._ticket.cert and self.welcome is None:
            self._lost(
                AuthError(f"the relay: {message.get('message')}", hint="gshell login INVITE")
            )
        else:
            self._on_message(message)

    def link_room(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link, error: GshellError) -> None:
        if self.welcome is None and not isinstance(error, AuthError):  # who is refused is told so
            error = unreachable(self._ticket, error.message)
        if link.first is not None and link.first.startswith(b"SSH-") and not self._was_slow:
            # We were so slow that it took us for an ssh that waits for it.
            self._was_slow = True
            self._untried += 1
        if self._heard or isinstance(error, AuthError):
            self._lost(error)
        else:
            self._next(error)

    def _lost(self, error: GshellError) -> None:
        self.close()
        self._on_lost(error)


def unreachable(ticket: Ticket, why: str) -> LinkLost:
    names = ", ".join(ticket.relays)
    return LinkLost(f"cannot reach the relay {names}: {why}", hint="gshell doctor")


def said_no(answer: dict[str, Any]) -> BrokerError:
    """A relay's no, in its own words."""
    hint = answer.get("hint")
    why = str(answer.get("message") or answer.get("code") or "the relay said no")
    return BrokerError(why, hint=str(hint) if hint else None)


def items_of(answer: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The list of that name in a relay's answer: of objects, whatever they have.

    Raises:
        GshellError: there is none.
    """
    items = answer.get(name)
    if not isinstance(items, list):
        raise GshellError(f"the relay's answer has no list of {name}", hint="gshell doctor")
    return [item for item in items if isinstance(item, dict)]


def ask(ticket: Ticket, message: dict[str, Any], wait: bool = False) -> dict[str, Any]:
    """One request, one answer, and goodbye. ``wait``: the answer may take as long as it takes.

    Raises:
        BrokerError: the relay said no; its words.
        LinkLost, AuthError: it could not be asked.
    """
    loop = Loop()
    got: list[dict[str, Any]] = []
    errors: list[GshellError] = []
    link = RelayLink(loop, ticket, errors.append)
    try:
        link.open()
        link.request(message, got.append)
        loop.run_until(lambda: bool(got or errors), 1e6 if wait else ANSWER_S)
    finally:
        link.close()
        loop.close()
    if errors:
        raise errors[0]
    if not got:
        raise unreachable(ticket, "it does not answer")
    answer = got[0]
    if not answer.get("ok"):
        raise said_no(answer)
    return answer


SHARE = "share."  # how a share's token begins in a link


def parse_invite(text: str) -> tuple[Ticket, str]:
    """What an invite (``gshell://HOST:PORT/PIN#TOKEN``) says: a ticket with address and pin, the
    token.

    Raises:
        UsageError: it is none.
    """
    found = _parse_link(text)
    if found is None:
        raise UsageError(
            "that is not an invite",
            hint="gshell relay invite    prints one: gshell://HOST:PORT/PIN#TOKEN",
        )
    if found[1].startswith(SHARE):
        raise UsageError("that is the link of a share, not an invite", hint="gshell attach 'LINK'")
    return found


def parse_share(text: str) -> tuple[Ticket, str]:
    """The same for the link of a share (``gshell://HOST:PORT/PIN#share.TOKEN``); the token without
    its first word.

    Raises:
        UsageError: it is none.
    """
    found = _parse_link(text)
    if found is None:
        raise UsageError(
            "that is not the link of a share",
            hint="gshell share ID    prints one: gshell://HOST:PORT/PIN#share.TOKEN",
        )
    ticket, token = found
    if not token.startswith(SHARE):
        raise UsageError("that is an invite, not the link of a share", hint="gshell login 'INVITE'")
    return ticket, token[len(SHARE) :]


def share_link(ticket: Ticket, token: str) -> str:
    """What a colleague opens it with."""
    return f"gshell://{ticket.relays[0]}/{ticket.pin}#{SHARE}{token}"


def _parse_link(text: str) -> tuple[Ticket, str] | None:
    scheme, _, rest = text.strip().partition("://")
    where, hash_sign, token = rest.partition("#")
    relay, slash, pin = where.rpartition("/")
    if scheme != "gshell" or not hash_sign or not slash or not token or len(pin) != 64:
        return None
    address.split(relay)
    return Ticket("", "", "", [relay], pin, "", "", "", "", ""), token


def received_ticket(answer: dict[str, Any], relays: list[str]) -> Ticket:
    """The ticket in a relay's answer; ``relays``: how to reach it, if it does not say.

    Raises:
        UsageError: there is none.
    """
    given = answer.get("ticket")
    fields = dict(given) if isinstance(given, dict) else {}
    fields["gshell_ticket"] = 1
    if not fields.get("relays"):
        fields["relays"] = relays
    return Ticket.load(quickjson.dumps(fields), "what the relay sent")


def enrol(
    ticket: Ticket, invite: str, role: str, name: str, claim: dict[str, int] | None = None
) -> Ticket:
    """Turn an invite into a ticket; ``ticket`` has address and pin only. ``claim``: which node of
    a pilot, for the how many-th time.

    Raises:
        BrokerError, LinkLost, AuthError: as above.
    """
    loop = Loop()
    got: list[dict[str, Any]] = []
    errors: list[GshellError] = []
    link = RelayLink(loop, ticket, errors.append, got.append)
    try:
        message: dict[str, Any] = {"m": "enrol", "invite": invite, "role": role, "name": name}
        if claim is not None:
            message["claim"] = claim
        link.send_first(message)
        link.open()
        loop.run_until(lambda: bool(got or errors), ANSWER_S)
    finally:
        link.close()
        loop.close()
    if got and got[0].get("m") == "ticket":
        return received_ticket(got[0], ticket.relays)
    if got:
        hint = "ask for a new invite: gshell relay invite"
        if role == "guest":
            hint = "ask who shared it for a new link"
        raise BrokerError(str(got[0].get("message")), hint=hint)
    if errors:
        raise errors[0]
    raise unreachable(ticket, "it does not answer")
