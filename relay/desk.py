"""Who may be whom: invites, enrolment, tickets, pilots' claims. The part of the broker process
that makes identities; `people` keeps the list of them.

Knows the state directory and the journal; decides nothing about jobs.
"""

from __future__ import annotations

import os
import secrets
from typing import Any, NamedTuple

from gshell.errors import GshellError, UsageError
from gshell.model.ticket import Ticket
from gshell.net.rendezvous import client_key
from relay import auth, state
from relay.broker import rights, shares
from relay.broker.events import Audit, ConnUp, Known, Revoked
from relay.broker.model import ARCHIVE
from relay.journal import Credential, Journal
from relay.sshca import Authority, relay_names

INVITE_HOURS = 24.0  # long enough to walk over to the other machine, short enough to be forgotten
INVITE_USES = 10
MAX_HOURS = 24.0 * 366
_RENEW_S = auth.ISSUED_DAYS * 86400 / 2  # the archive's own: made anew well before their end
ROLES = ("any", "client", "agent")
PILOT_NODES = 10_000
PILOT_RESTARTS = 10_000
KEYS_PER_USER = 20_000  # ten thousand nodes of a pilot, and their restarts
INVITES_PER_USER = 1000

Message = dict[str, Any]


class Outcome(NamedTuple):
    """What the desk says to a request, and what else is to happen."""

    answer: Message
    audits: tuple[Audit, ...] = ()
    events: tuple[Revoked | Known, ...] = ()
    """For the broker, after the answer."""


class Desk:
    def __init__(self, state: str, journal: Journal, relays: list[str]) -> None:
        self._state = state
        self.journal = journal
        self._relays = relays  # addresses that go into tickets
        self._secret = auth.mac_secret(state)
        self._ca = auth.ca_text(state)
        self.pin = auth.pin(state)
        self._ssh: Authority | None = None

    def mac_key(self, credential: str) -> str:
        return client_key(self._secret, credential).hex()

    def standing(self, user: str) -> str:
        """What a user may do beyond their own."""
        if user.startswith(rights.GUEST):
            return "guest"
        known = self.journal.user(user)
        return known.role if known is not None else "user"

    def ensure_user(self, name: str, now: float, role: str = "user") -> None:
        """Whoever is given an invite or a key is a user; ``role`` is at least theirs.

        Raises:
            UsageError: revoked; only an administrator adds that name again.
        """
        auth.check_name(name, "a user's name")
        if name.startswith(rights.GUEST):
            return  # they come and go with their share
        known = self.journal.user(name)
        gone = known is not None and known.revoked is not None
        if gone and role != "admin":  # who runs the relay is always welcome
            raise UsageError(f"the user {name} was revoked", hint=f"gshell relay user add {name}")
        if known is None or gone:
            self.journal.put_user(name, role, [], now)
        elif role == "admin" != known.role:
            self.journal.put_user(name, role, list(known.groups), now)

    # -------------------------------------------------------------------------------------- tickets

    def ticket(
        self, kind: str, user: str, agent_id: str, now: float, until: float | None = None
    ) -> Ticket:
        """A new identity of ``user``; an agent without a name gets one. ``until``: it ends then.

        Raises:
            UsageError: the name is not possible, or another user's agent has it; too many.
        """
        self.ensure_user(user, now)
        if kind == "agent":
            agent_id = agent_id or "a" + secrets.token_hex(4)
            auth.check_name(agent_id, "an agent's name")
            owner = self.journal.agent_owner(agent_id)
            if owner not in (None, user):
                raise UsageError(f"the agent name {agent_id} is taken", hint="choose another one")
        else:
            agent_id = ""
        if self.journal.key_count(user) >= KEYS_PER_USER:
            raise UsageError(f"{user} has {KEYS_PER_USER} keys", hint="gshell revoke SERIAL")
        return self._make(kind, user, agent_id, now, until)

    def _make(
        self, kind: str, user: str, agent_id: str, now: float, until: float | None = None
    ) -> Ticket:
        uri = f"gshell:agent:{user}:{agent_id}" if kind == "agent" else f"gshell:user:{user}"
        issued = auth.issue(self._state, uri, agent=kind == "agent", until=until)
        self.journal.add_credential(Credential(issued.serial, kind, user, agent_id), now)
        is_client = kind == "client"
        return Ticket(
            kind=kind,
            user=user,
            agent_id=agent_id,
            relays=list(self._relays),
            pin=self.pin,
            ca=self._ca,
            cert=issued.cert,
            key=issued.key,
            mac_id=issued.serial if is_client else "",
            mac_key=self.mac_key(issued.serial) if is_client else "",
        )

    def guest(self, user: str, until: float, now: float) -> Message:
        """What a stranger with a share's link is sent: a ticket that ends with the share."""
        self.journal.forget_guests(rights.GUEST, now - shares.MAX_SECONDS - 86400.0)
        ticket = self.ticket("client", user, "", now, until)
        return {"m": "ticket", "ticket": ticket._asdict()}

    # -------------------------------------------------------------------------------------- invites

    def invite(self, user: str, role: str, uses: int, hours: float, now: float) -> str:
        """The text of a new invite; an unknown user is one from now on.

        Raises:
            UsageError: numbers or names that cannot be.
        """
        check_invite(role, uses, hours)
        if user.startswith(rights.GUEST):
            raise UsageError(f"names that begin with {rights.GUEST} are guests'")
        self.ensure_user(user, now)
        return self._link(self._new_invite(user, role, uses, hours, now))

    def pilot(self, user: str, name: str, nodes: int, hours: float, now: float) -> tuple[str, str]:
        """(text of an invite that each node of a pilot claims once per restart, the pilot's name).

        Raises:
            UsageError: numbers or names that cannot be.
        """
        if not 1 <= nodes <= PILOT_NODES or not 0 < hours <= MAX_HOURS:
            raise UsageError(f"a pilot has 1 to {PILOT_NODES} nodes and lasts up to a year")
        name = name or "p" + secrets.token_hex(3)
        auth.check_name(f"{name}.{nodes - 1}", "the name of a pilot's agent")
        if self.journal.pilot_named(user, name, now):
            raise UsageError(f"there is a pilot {name} already", hint="choose another name")
        token = self._new_invite(user, "pilot", 1, hours, now)
        self.journal.add_pilot(auth.token_hash(token), name, nodes)
        return self._link(token), name

    def _new_invite(self, user: str, role: str, uses: int, hours: float, now: float) -> str:
        if self.journal.invites_of(user, now) >= INVITES_PER_USER:
            raise UsageError(f"{user} has {INVITES_PER_USER} invites", hint="use some of them")
        token = secrets.token_urlsafe(24)
        until = now + hours * 3600.0
        self.journal.add_invite(auth.token_hash(token), user, role, uses, until, now)
        return token

    def _link(self, token: str) -> str:
        return f"gshell://{self._relays[0]}/{self.pin}#{token}"

    # ------------------------------------------------------------------------------------ enrolment

    def enrol(self, message: Message, now: float, source: str = "") -> Outcome:
        """The answer to a stranger with an invite."""
        token, role, name = message.get("invite"), message.get("role"), message.get("name", "")
        if not isinstance(token, str) or role not in ("client", "agent"):
            return _refused("usage", "an enrolment needs an invite and a role", "", source)
        claim = message.get("claim")
        if claim is not None:
            return self._claim(token, role, claim, now, source)
        user = self.journal.use_invite(auth.token_hash(token), role, now)
        if user is None:
            what = "that invite is not valid, not for this, used up, or expired"
            return _refused("invite", what, "", source)
        if name not in ("", user):
            return _refused("denied", f"that invite is for the user {user}", user, source)
        return self._issue(role, user, "", now, source)

    def _claim(self, token: str, role: str, claim: object, now: float, source: str) -> Outcome:
        """A node of a pilot comes for its identity."""
        hashed = auth.token_hash(token)
        found = self.journal.pilot(hashed, now)
        fields = claim if isinstance(claim, dict) else {}
        node, restart = fields.get("node"), fields.get("restart", 0)
        if found is None or role != "agent":
            return _refused("invite", "that is not a pilot's invite, or it has expired", "", source)
        user, name, nodes = found
        if not _whole(node, nodes) or not _whole(restart, PILOT_RESTARTS):
            what = f"the pilot {name} has the nodes 0 to {nodes - 1}"
            return _refused("usage", what, user, source)
        agent_id = f"{name}.{node}"
        if not self.journal.claim(hashed, int(str(node)), int(str(restart)), agent_id, now):
            what = f"node {node} of the pilot {name} was claimed already (restart {restart})"
            return _refused("claimed", what, user, source, agent_id)
        older = self.journal.agent_keys(user, agent_id)
        for serial in older:  # of an earlier restart: it may still run, cut off somewhere
            self.journal.revoke(serial, now)
        outcome = self._issue("agent", user, agent_id, now, source, restart=restart)
        if not older:
            return outcome
        why = f"node {node} of the pilot {name} was started again"
        audits = tuple(
            Audit(user, "key-revoke", f"key {serial[:12]}", "ok", source, {"why": why})
            for serial in older
        )
        return Outcome(
            outcome.answer,
            (*outcome.audits, *audits),
            (Revoked(frozenset(older), user, why),),
        )

    def _issue(
        self, role: str, user: str, agent_id: str, now: float, source: str, **detail: Any
    ) -> Outcome:
        try:
            ticket = self.ticket(role, user, agent_id, now)
        except GshellError as error:
            return _refused("failed", error.message, user, source)
        object = f"agent {ticket.agent_id}" if role == "agent" else f"user {user}"
        audit = Audit(user, "enrol", object, "ok", source, {"role": role, **detail})
        return Outcome({"m": "ticket", "ticket": ticket._asdict()}, (audit,))

    # ------------------------------------------------------------------------------------- requests

    def on_request(self, up: ConnUp, message: Message, now: float) -> Outcome:
        """``invite``, ``pilot``, ``ticket`` and ``ssh-cert`` of a client, for nobody but itself; an
        administrator's invites may be for others. ``ssh-host`` of an agent.

        Raises:
            UsageError: it makes no sense.
        """
        user = up.user
        match message.get("m"):
            case "invite":
                for_whom = message.get("user") or user
                if for_whom != user and up.standing != "admin":
                    raise UsageError("invites for others are made by the relay's administrators")
                role = str(message.get("role") or "any")
                uses, hours = whole(message, "uses", INVITE_USES), hours_of(message)
                text = self.invite(str(for_whom), role, uses, hours, now)
                detail = {"role": role, "uses": uses, "hours": hours}
                audit = Audit(user, "invite", f"user {for_whom}", "ok", up.source, detail)
                return Outcome({"invite": text}, (audit,))
            case "pilot":
                name, nodes = message.get("name") or "", whole(message, "nodes", 1)
                if not isinstance(name, str):
                    raise UsageError("a pilot's name is a text")
                text, name = self.pilot(user, name, nodes, hours_of(message), now)
                detail = {"nodes": nodes, "hours": hours_of(message)}
                audit = Audit(user, "invite", f"pilot {name}", "ok", up.source, detail)
                return Outcome({"invite": text, "name": name}, (audit,))
            case "ssh-cert":
                return self._ssh_cert(up, message, now)
            case "ssh-host":
                return self._ssh_host(up, message, now)
            case _:
                agent_id = message.get("agent_id") or ""
                if message.get("role", "agent") != "agent" or not isinstance(agent_id, str):
                    raise UsageError("tickets are made for agents only")
                ticket = self.ticket("agent", user, agent_id, now)
                audit = Audit(user, "ticket", f"agent {ticket.agent_id}", "ok", up.source)
                return Outcome({"ticket": ticket._asdict()}, (audit,))

    # -------------------------------------------------------------------------------- stock SSH

    def ssh_authority(self) -> Authority:
        """Made when somebody first asks for it: most relays never need one."""
        if self._ssh is None:
            self._ssh = Authority(self._state)
        return self._ssh

    def _ssh_cert(self, up: ConnUp, message: Message, now: float) -> Outcome:
        """A user's public key gets a certificate that hangs on the key of this connection."""
        ca = self.ssh_authority()
        signed = ca.user(message.get("key"), up.user, up.credential, now, up.valid_until,
                         message.get("forward_agent") is True)  # fmt: skip
        names = relay_names(self._relays)
        audit = Audit(up.user, "ssh-cert", f"user {up.user}", "ok", up.source,
                      {"key": up.credential[:12], "until": round(signed.until)})  # fmt: skip
        answer = {"cert": signed.cert, "ca": ca.public, "names": names, "until": signed.until}
        return Outcome(answer, (audit,))

    def _ssh_host(self, up: ConnUp, message: Message, now: float) -> Outcome:
        """An agent's server is certified for the names that the broker has put down."""
        ca = self.ssh_authority()
        names = [str(name) for name in message["names"]]
        signed = ca.agent(message.get("key"), up.agent_id, names, now)
        return Outcome({"m": "ssh-host", "cert": signed.cert, "ca": ca.public, "names": names})

    def write_ticket(self, name: str, kind: str, user: str, agent_id: str, now: float) -> bool:
        """Put a ticket into the state directory, 0600, unless there is a good one; whether it
        had to."""
        path = os.path.join(self._state, name)
        try:
            with open(path, encoding="utf-8") as file:
                there = Ticket.load(file.read(), path)
            if there.user == user and there.relays == self._relays and there.pin == self.pin:
                return False
        except (OSError, UsageError):
            pass
        self._put(path, self.ticket(kind, user, agent_id, now))
        return True

    def archive_tickets(self, now: float) -> None:
        """The archive's two, in the state directory. Its name is nobody else's: it begins with a
        character that `check_name` refuses."""
        for name, kind in ((state.ARCHIVE_CLIENT, "client"), (state.ARCHIVE_AGENT, "agent")):
            path = os.path.join(self._state, name)
            try:
                with open(path, encoding="utf-8") as file:
                    there = Ticket.load(file.read(), path)
                    made_at = os.fstat(file.fileno()).st_mtime
                if there.pin == self.pin and abs(now - made_at) < _RENEW_S:
                    continue
            except (OSError, UsageError):
                pass
            agent_id = ARCHIVE if kind == "agent" else ""
            self._put(path, self._make(kind, ARCHIVE, agent_id, now))

    @staticmethod
    def _put(path: str, ticket: Ticket) -> None:
        text = ticket.dump()
        fresh = f"{path}.{os.getpid()}"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            out.write(text)
        os.rename(fresh, path)


def check_invite(role: str, uses: int, hours: float) -> None:
    """
    Raises:
        UsageError: there is no such invite.
    """
    if role not in ROLES or not 1 <= uses <= 10_000 or not 0 < hours <= MAX_HOURS:
        raise UsageError("an invite has 1 to 10000 uses and lasts up to a year")


def whole(message: Message, key: str, default: int) -> int:
    """
    Raises:
        UsageError: it is there, and no whole number.
    """
    value = message.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{key} is a whole number")
    return value


def hours_of(message: Message) -> float:
    """
    Raises:
        UsageError: no number.
    """
    hours = message.get("hours", INVITE_HOURS)
    if not isinstance(hours, int | float):
        raise UsageError("hours are a number")
    return float(min(max(hours, 0), 2 * MAX_HOURS))  # 10**400 is a number, too


def _whole(value: object, below: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below


def _refused(code: str, message: str, user: str, source: str, agent_id: str = "") -> Outcome:
    object = f"agent {agent_id}" if agent_id else ""
    return Outcome(
        {"m": "error", "code": code, "message": message},
        (Audit(user, "enrol", object, code, source),),
    )
