"""The file with which an agent or a client proves who it is. Knows no file system."""

from __future__ import annotations

from gshell.errors import UsageError
from gshell.model import quickjson
from gshell.model.record import Record
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

MAX_RELAYS = 64
_NAMES = ("kind", "user", "agent_id", "mac_id", "pin")  # they are shown
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
        return f"Ticket({self.kind}, {self.user}, {self.relays}, ***)"  # never the key

    def dump(self) -> str:
        import json  # only who gets one writes it

        return json.dumps({"gshell_ticket": 1, **self._asdict()}, indent=1) + "\n"

    @classmethod
    def load(cls, text: str, origin: str) -> Ticket:
        """
        Raises:
            UsageError: not a ticket; says where from.
        """
        try:
            fields: dict[str, Any] = quickjson.loads(text)
            if fields.pop("gshell_ticket") != 1:
                raise ValueError
            relays = fields.pop("relays")
            if not isinstance(relays, list) or not 0 < len(relays) <= MAX_RELAYS:
                raise ValueError
            if any(not isinstance(fields[name], str) for name in _STRINGS):
                raise ValueError
            shown = [*relays, *(fields[name] for name in _NAMES)]
            if any(not isinstance(text, str) or sanitize(text, 256) != text for text in shown):
                raise ValueError
            bytes.fromhex(fields["mac_key"])
            return cls(relays=relays, **{name: fields[name] for name in _STRINGS})
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise UsageError(
                f"{origin} is not a gshell ticket", hint="get one with: gshell login INVITE"
            ) from None
