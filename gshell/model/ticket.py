"""The file with which an agent or a client proves who it is. Knows no file system."""

from __future__ import annotations

import json

from gshell.errors import UsageError
from gshell.model.record import Record

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

_STRINGS = ("kind", "user", "agent_id", "ca", "cert", "key", "mac_id", "mac_key", "pin")


class Ticket(Record):
    """Everything needed to dial a relay. Secret: its text belongs into 0600 files only."""

    kind: str
    """"client" or "agent"."""
    user: str
    agent_id: str
    """Of an agent's ticket, else empty."""
    relays: list[str]
    """Addresses, ``host:port`` or ``unix:/path``, tried in order."""
    pin: str
    """SHA-256 of the relay's certificate, hex."""
    ca: str
    """PEM of the relay's CA: agents' and clients' certificates chain to it."""
    cert: str
    key: str
    """PEM, both."""
    mac_id: str
    mac_key: str
    """Name and hex key of the MAC in client preambles."""

    def __repr__(self) -> str:
        return f"Ticket({self.kind}, {self.user}, {self.relays})"  # never the key

    def dump(self) -> str:
        return json.dumps({"gshell_ticket": 1, **self._asdict()}, indent=1) + "\n"

    @classmethod
    def load(cls, text: str, origin: str) -> Ticket:
        """
        Raises:
            UsageError: not a ticket; says where from.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            if fields.pop("gshell_ticket") != 1:
                raise ValueError
            relays = fields.pop("relays")
            good = isinstance(relays, list) and relays and all(isinstance(r, str) for r in relays)
            if not good or any(not isinstance(fields[name], str) for name in _STRINGS):
                raise ValueError
            return cls(relays=relays, **{name: fields[name] for name in _STRINGS})
        except (ValueError, KeyError, AttributeError, TypeError):
            raise UsageError(
                f"{origin} is not a gshell ticket", hint="get one with: gshell login INVITE"
            ) from None
