"""The last deed of a keeper: it tells the relay that its agent died. Knows no sessions.

Without it the relay gives an agent that is away the time of a network outage before what it ran
counts as lost, and whoever is attached waits as long.
"""

from __future__ import annotations

import os
from typing import Any

from gshell.errors import AuthError, GshellError
from gshell.model.ticket import Ticket
from gshell.net import address, control
from gshell.net.link import Link
from gshell.net.loop import Loop
from gshell.net.relays import relays_of
from gshell.net.tls import Tls, client_context

PATIENCE_S = 20.0  # a relay that is away longer finds out by itself
RETRY_S = 0.3
ANSWER_S = 5.0


def report(ticket: Ticket, was: str = "", patience_s: float = PATIENCE_S) -> bool:
    """Whether the relay heard it. ``was``: the dead process; of another one nothing is said."""
    loop = Loop()
    try:
        end = loop.clock() + patience_s
        relays = relays_of(ticket.relays)
        while loop.clock() < end:
            told = _Telling(loop, ticket, relays.address, was)
            wait_s = relays.answer_s(ANSWER_S)
            if loop.run_until(lambda told=told: told.over, wait_s) and told.heard:  # type: ignore[misc]
                return True
            relays.failed(relays.address)
            told.close()
            if told.refused:
                return False
            loop.run_until(lambda: False, RETRY_S)  # the old connection may not be forgotten yet
        return False
    finally:
        loop.close()


class _Telling:
    """One attempt: the agent was born anew, with nothing that it ran before, and leaves."""

    def __init__(self, loop: Loop, ticket: Ticket, relay: str, was: str) -> None:
        self.over = self.heard = self.refused = False
        self._ticket = ticket
        self._was = was
        self._decoder = control.ControlDecoder(control.MAX_FROM_RELAY_BYTES)
        self._link: Link | None = None
        try:
            sock, connected = address.start_connect(relay)
        except (OSError, GshellError):
            self.over = True
            return
        tls = Tls(client_context(ticket), server_side=False)
        self._link = Link(loop, sock, self, tls)
        self._link.begin(connected, tls.start())

    def close(self) -> None:
        self.over = True
        if self._link is not None:
            self._link.close()

    def link_ready(self, link: Link) -> None:
        assert link.tls is not None
        if link.tls.peer_pin() != self._ticket.pin:
            self.refused = True
            self.close()
            return
        link.send(
            control.encode(
                {"m": "hello", "role": "agent", "v": 1, "agent_id": self._ticket.agent_id,
                 "boot": os.urandom(16).hex(), "was": self._was,
                 "host": os.uname().nodename, "slots": 0, "draining": True, "sessions": []}
            )
        )  # fmt: skip
        link.send(control.encode({"m": "bye"}))

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        for chunk in chunks:
            for message in self._decoder.feed(chunk):
                self._message(message)

    def _message(self, message: dict[str, Any]) -> None:
        if message.get("m") == "welcome":
            self.heard = True
            self.close()
        elif message.get("m") == "error":  # "duplicate": it still believes in the dead one
            self.refused = message.get("code") in ("revoked", "superseded")
            self.close()

    def link_room(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link, error: GshellError) -> None:
        self.refused = isinstance(error, AuthError)
        self.over = True
