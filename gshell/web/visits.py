"""Who is here by which share, from the first redemption to the last page that shows it. No sockets.

A visit outlives its WebSockets: who comes back names its secret, and needs no second redemption.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gshell.net import rendezvous

if TYPE_CHECKING:
    from gshell.model.ticket import Ticket

KEPT_S = 86_400.0  # after its last page has gone: a laptop that sleeps over night
VISITS = 1000  # remembered at once


@dataclass
class Visit:
    """Invariant: ``secret`` is known to the agent, this process and the visitor's browser only."""

    ticket: Ticket
    """The guest's; lives in memory only."""
    job: str
    owner: str
    rights: str
    share: str
    until: float | None
    """Seconds since the epoch."""
    trusts: str = ""
    """Whose agents may answer; ``*``: anybody's (a pool's)."""
    secret: bytes = field(default_factory=lambda: os.urandom(32), repr=False)
    pages: int = 0
    """That show it now."""
    left_at: float = 0.0
    asked_whose: bool = False
    skew_s: float = 0.0
    """The relay's clock against ours."""

    @property
    def att(self) -> str:
        return rendezvous.public_id(self.secret)

    def again(self) -> Visit:
        """The same visitor with a page that remembers nothing: another attachment."""
        return Visit(
            self.ticket, self.job, self.owner, self.rights, self.share, self.until, self.trusts,
            asked_whose=self.asked_whose, skew_s=self.skew_s,
        )  # fmt: skip

    def preamble(self, hello: bytes, op: str, now: float) -> bytes:
        """What a door is told, with a ClientHello: this attachment wants to be joined."""
        body: dict[str, Any] = {
            "k": self.ticket.mac_id,
            "t": now + self.skew_s,
            "n": os.urandom(16).hex(),
            "att": self.att,
            "op": op,
            "job": self.job,
            "index": 0,
        }
        if op == "attach":
            body.update(rights=self.rights, share=self.share)
        return rendezvous.encode(rendezvous.CLIENT, body, hello, bytes.fromhex(self.ticket.mac_key))

    def believes(self, uris: list[str]) -> bool:
        """Is this the certificate of an agent that may have what the visitor types?"""
        for uri in uris:
            words = uri.split(":")
            if words[:2] == ["gshell", "agent"] and len(words) == 4:
                return words[2] in (self.owner, self.trusts, "@archive") or self.trusts == "*"
        return False


class Visits:
    """Invariant: at most ``VISITS``, of which those without a page for ``KEPT_S`` are gone."""

    def __init__(self) -> None:
        self._all: dict[str, Visit] = {}

    def add(self, visit: Visit, now: float) -> None:
        self._sweep(now)
        self._all[visit.att] = visit

    def find(self, secret: str) -> Visit | None:
        """By what the browser says it is."""
        try:
            return self._all.get(rendezvous.public_id(bytes.fromhex(secret)))
        except ValueError:
            return None

    def forget(self, visit: Visit) -> None:
        self._all.pop(visit.att, None)

    def _sweep(self, now: float) -> None:
        for att, visit in list(self._all.items()):
            if not visit.pages and now - visit.left_at > KEPT_S:
                del self._all[att]
        idle = sorted((v.left_at, att) for att, v in self._all.items() if not v.pages)
        for _, att in idle[: max(0, len(self._all) + 1 - VISITS)]:
            del self._all[att]
