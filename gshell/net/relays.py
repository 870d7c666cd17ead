"""The addresses of one relay, and which of them to dial. Knows no sockets.

What worked last most likely works again, so one cut does not send anybody to another address; but
an address that does not answer soon is left for the next, and only when none does is each given
the time that a slow relay needs.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Callable

CONNECT_S = 1.5  # to be connected; the slowest way round the world and one lost SYN
ANSWER_S = 3.0  # from dialling to the first answer: a door that has to wait says so after five


class Relays:
    """Invariant: ``address`` is one of the list, and changes only when it failed."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._turn = 0
        self._failures = 0  # since one worked
        self._noted = addresses[0]

    @property
    def address(self) -> str:
        return self._addresses[self._turn]

    @property
    def several(self) -> bool:
        return len(self._addresses) > 1

    @property
    def hurried(self) -> bool:
        """Is it worth while to look at the next one soon? Not when all have been tried."""
        return self.several and self._failures < len(self._addresses)

    def connect_s(self, whole_s: float) -> float:
        """How long to wait for a connection, of the ``whole_s`` there are."""
        return min(whole_s, CONNECT_S) if self.several else whole_s

    def answer_s(self, whole_s: float) -> float:
        """How long to wait for an answer, counted from dialling."""
        return min(whole_s, ANSWER_S) if self.hurried else whole_s

    def worked(self, address: str) -> None:
        """It answered, whatever it said."""
        if address in self._addresses:
            self._turn = self._addresses.index(address)
            self._failures = 0
            if address != self._noted:
                self._noted = address
                remember(address)

    def failed(self, address: str) -> None:
        """It could not be reached, or fell silent. Many may say so of the same one: it counts
        once."""
        if address == self.address:
            self._turn = (self._turn + 1) % len(self._addresses)
            self._failures += 1


_all: dict[tuple[str, ...], Relays] = {}


def relays_of(addresses: list[str]) -> Relays:
    """Those of a ticket; whoever asks in this process shares what was found out."""
    return _all.setdefault(tuple(addresses), Relays(list(addresses)))


def _forget(address: str) -> None:
    pass


remember: Callable[[str], None] = _forget  # a client keeps it for the next process
