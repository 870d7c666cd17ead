"""One session shown to one user of stock ssh: the client's own run, in a process of its own, on
the terminal (or the pipes) whose other ends are the SSH channel's.

It asks in the name of the user, by the credential that their SSH certificate hangs on: broker and
agent judge it as they judge that user's `gshell attach`, and its withdrawal ends it. The TLS
certificate for the agent is made for this one process and known to no journal: with anything but
that credential's preambles it opens nothing.
"""

from __future__ import annotations

import os
import time
from typing import Any

from gshell.client.asking import ASK_AGAIN_S, Asking
from gshell.client.conversation import Conversation, Dialler
from gshell.client.direct import drive
from gshell.client.plan import Plan
from gshell.client.run import Runner
from gshell.errors import AuthError, BrokerError
from gshell.model.ticket import Ticket
from gshell.net import rendezvous, sshline
from gshell.net.loop import Loop
from relay import auth

LASTS_S = 16 * 3600.0  # as the certificate of SSH does at most
_HERE = {
    "record": "recordings are made where gshell runs: gshell rec",
    "marker": "recordings are made where gshell runs: gshell rec",
    "suspend": "~^Z of ssh itself suspends",
}


def plan_of(order: dict[str, Any]) -> Plan:
    """What is to be shown, from the words of the process that speaks SSH."""
    types = order["pty"] and not order["watch"]
    return Plan(
        verb="attach" if order["pty"] else "logs",
        spec={},
        pty=order["pty"],
        job=order["job"],
        part=order["part"] or 0,
        whole=order["part"] is None,
        rank=order["rank"],
        rights="rw" if types else "r",
        since=None if order["pty"] else "start",
        escape="~" if order["pty"] else None,
        inside_ssh=True,
        via=f"ssh {order['from']}".strip(),
    )


def ticket_of(order: dict[str, Any], door: str) -> Ticket:
    """What proves to door and agent that it is this user. Our directory is the relay's."""
    user, serial = order["user"], order["serial"]
    issued = auth.issue(".", f"gshell:user:{user}", agent=False, until=time.time() + LASTS_S)
    key = rendezvous.client_key(auth.mac_secret("."), serial)
    return Ticket(
        kind="client", user=user, agent_id="", relays=[door], pin=auth.pin("."),
        ca=auth.ca_text("."), cert=issued.cert, key=issued.key, mac_id=serial, mac_key=key.hex(),
    )  # fmt: skip


class _Told(Asking):
    """Knows what a door says in clear, and asks nothing further."""

    _said = False

    def why_queued(self, talk: Conversation) -> None:
        if not self._said:
            self._said = True
            self._screen.say(f"[job {self._plan.job} has not started yet]")
        self._loop.later(ASK_AGAIN_S, talk.dial)

    def whose(self, talk: Conversation) -> None:
        talk.trusts = "*"  # of a pool; the relay that joined us is the one that we are part of
        talk.dial()

    def why(self, talk: Conversation, code: str) -> None:
        job = self._plan.job
        if code == "none":
            self._asker.fail(BrokerError(f"no job {job} of yours", hint="gshell jobs -a"))
        elif code == "gone":
            words = f"job {job} has ended, and its output is not kept any more"
            self._asker.fail(BrokerError(words, hint="gshell jobs -a    shows what is archived"))
        elif code == "denied":
            self._asker.fail(AuthError("these credentials were withdrawn"))
        elif code in ("silent", *sshline.AGAIN):
            self._again(talk, BrokerError("the relay does not answer"))
        else:
            self._asker.fail(BrokerError(sshline.REFUSED.get(code, f"refused: {code}")))

    def leave(self) -> None:
        pass


class _View(Runner):
    """Keeps its hands off this machine, which is not the user's."""

    asks = _Told

    def _command(self, action: str) -> bool:
        if action in _HERE:
            self.screen.say(f"[{_HERE[action]}]")
            return True
        return super()._command(action)


def show(order: dict[str, Any], door: str) -> int:
    """On descriptors 0, 1 and 2; the exit status. The terminal there controls this process."""
    plan, ticket = plan_of(order), ticket_of(order, door)
    os.chdir("/")
    loop = Loop()
    descriptors = (0 if plan.pty else -1, 1, 2)
    return drive(
        loop,
        plan,
        descriptors,
        lambda port, done: _View(Dialler(loop, ticket), plan, descriptors, port, done),
        guarded=False,
    )
