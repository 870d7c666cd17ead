"""How the ranks of a run ended, in words. Pure."""

from __future__ import annotations

from gshell.client import joining
from gshell.client.seats import Seat

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Iterable

ENDED_BY = (9, 15)  # the signals by which the others are ended when a rank of MPI's dies
FEW = 8  # lines that name the agents; of more, what they have in common is the news


def complaints(seats: list[Seat], sent: Iterable[str]) -> list[str]:
    """Which ranks failed, where there are several; the same words for many at once.

    ``sent``: names of the signals that the user has sent."""
    if sum(seat.ranks for seat in seats) < 2:
        return []
    import _signal  # type: ignore[import-not-found]

    # Who ends by what its user sent has not failed; nor those of MPI that end with the first.
    meant = {getattr(_signal, f"SIG{name}", None) for name in sent}
    found: list[tuple[str, str, int]] = []
    for seat in seats:
        where = f" on {seat.talk.agent_id}" if len(seats) > 1 else ""
        for rank, message in seat.exits.items():
            signal = message.get("signal")
            ended = signal in meant or (seat.starter and signal in ENDED_BY)
            if message.get("error") or ended or rank >= seat.ranks:  # an error was said as it is
                continue
            if message.get("code"):
                found.append((where, joining.how(message, ""), seat.first + rank))
    if len({(where, how) for where, how, _ in found}) > FEW:
        found = [("", how, rank) for _, how, rank in found]
    groups: dict[str, list[int]] = {}
    for where, how, rank in found:
        groups.setdefault(where + how, []).append(rank)
    return [joining.all_of(ranks) + how for how, ranks in groups.items()]
