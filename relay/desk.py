"""Who may be whom: invites, enrolment, tickets. The part of the broker process that makes
identities.

Knows the state directory and the journal; decides nothing about jobs.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

from gshell.errors import GshellError, UsageError
from gshell.model.ticket import Ticket
from gshell.net.rendezvous import client_key
from relay import auth
from relay.broker import rights, shares
from relay.journal import Credential, Journal

INVITE_HOURS = 24.0  # long enough to walk over to the other machine, short enough to be forgotten
INVITE_USES = 10
MAX_HOURS = 24.0 * 366
ROLES = ("any", "client", "agent")

Message = dict[str, Any]


class Desk:
    def __init__(self, state: str, journal: Journal, relays: list[str]) -> None:
        self._state = state
        self._journal = journal
        self._relays = relays  # addresses that go into tickets
        self._secret = auth.mac_secret(state)
        self._ca = auth.ca_text(state)
        self.pin = auth.pin(state)

    def mac_key(self, credential: str) -> str:
        return client_key(self._secret, credential).hex()

    def ticket(
        self, kind: str, user: str, agent_id: str, now: float, until: float | None = None
    ) -> Ticket:
        """A new identity of ``user``; an agent without a name gets one. ``until``: it ends then.

        Raises:
            UsageError: the name is not possible, or another user's agent has it.
        """
        auth.check_name(user, "a user's name")
        if kind == "agent":
            agent_id = agent_id or "a" + secrets.token_hex(4)
            auth.check_name(agent_id, "an agent's name")
            owner = self._journal.agent_owner(agent_id)
            if owner not in (None, user):
                raise UsageError(f"the agent name {agent_id} is taken", hint="choose another one")
            uri = f"gshell:agent:{user}:{agent_id}"
        else:
            agent_id = ""
            uri = f"gshell:user:{user}"
        issued = auth.issue(self._state, uri, agent=kind == "agent", until=until)
        self._journal.add_credential(Credential(issued.serial, kind, user, agent_id), now)
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
        self._journal.forget_guests(rights.GUEST, now - shares.MAX_SECONDS - 86400.0)
        ticket = self.ticket("client", user, "", now, until)
        return {"m": "ticket", "ticket": ticket._asdict()}

    def invite(self, user: str, role: str, uses: int, hours: float, now: float) -> str:
        """The text of a new invite.

        Raises:
            UsageError: numbers or names that cannot be.
        """
        auth.check_name(user, "a user's name")
        if user.startswith(rights.GUEST):
            raise UsageError(f"names that begin with {rights.GUEST} are guests'")
        if role not in ROLES or not 1 <= uses <= 10_000 or not 0 < hours <= MAX_HOURS:
            raise UsageError("an invite has 1 to 10000 uses and lasts up to a year")
        token = secrets.token_urlsafe(24)
        self._journal.add_invite(
            auth.token_hash(token), user, role, uses, now + hours * 3600.0, now
        )
        return f"gshell://{self._relays[0]}/{self.pin}#{token}"

    def enrol(self, message: Message, now: float) -> Message:
        """The answer to a stranger with an invite."""
        token, role, name = message.get("invite"), message.get("role"), message.get("name", "")
        if not isinstance(token, str) or role not in ("client", "agent"):
            return _error("usage", "an enrolment needs an invite and a role")
        user = self._journal.use_invite(auth.token_hash(token), role, now)
        if user is None:
            return _error("invite", "that invite is not valid, not for this, used up, or expired")
        if name not in ("", user):
            return _error("denied", f"that invite is for the user {user}")
        try:
            return {"m": "ticket", "ticket": self.ticket(role, user, "", now)._asdict()}
        except GshellError as error:
            return _error("failed", error.message)

    def on_request(self, user: str, message: Message, now: float) -> Message:
        """``invite`` and ``ticket`` of a client: for nobody but itself."""
        re = message.get("id")
        try:
            if message.get("m") == "invite":
                uses, hours = message.get("uses", INVITE_USES), message.get("hours", INVITE_HOURS)
                if not isinstance(uses, int) or not isinstance(hours, int | float):
                    raise UsageError("uses and hours are numbers")
                hours = min(max(hours, 0), 2 * MAX_HOURS)  # 10**400 is a number, too
                role = message.get("role") or "any"
                text = self.invite(user, str(role), uses, float(hours), now)
                return {"re": re, "ok": True, "invite": text}
            agent_id = message.get("agent_id") or ""
            if message.get("role", "agent") != "agent" or not isinstance(agent_id, str):
                raise UsageError("tickets are made for agents only")
            ticket = self.ticket("agent", user, agent_id, now)
            return {"re": re, "ok": True, "ticket": ticket._asdict()}
        except GshellError as error:
            return {"re": re, "ok": False, "code": "usage", "message": error.message,
                    "hint": error.hint}  # fmt: skip

    def write_ticket(self, name: str, kind: str, user: str, agent_id: str, now: float) -> None:
        """Put a ticket into the state directory, 0600, unless there is a good one."""
        path = os.path.join(self._state, name)
        try:
            with open(path, encoding="utf-8") as file:
                there = Ticket.load(file.read(), path)
            if there.user == user and there.relays == self._relays and there.pin == self.pin:
                return
        except (OSError, UsageError):
            pass
        text = self.ticket(kind, user, agent_id, now).dump()
        fresh = f"{path}.{os.getpid()}"
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            out.write(text)
        os.rename(fresh, path)


def _error(code: str, message: str) -> Message:
    return {"m": "error", "code": code, "message": message}
