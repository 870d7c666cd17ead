"""What became of connections that a `faultproxy` had: their lives, how they were broken, and how
long until others carried again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Cut:
    """One connection that was broken."""

    leg: str
    connection: int
    how: str
    kind: str  # of the connection: "data" or "control"
    where: str  # "preamble", "head" or "body" of a TLS record, "edge" between two
    passed: int  # bytes until then
    at: float
    carrying: bool  # it was past its greetings


@dataclass(slots=True)
class Connection:
    """One connection's life."""

    number: int
    opened_at: float
    kind: str = ""
    passed: int = 0
    down: int = 0  # of these, towards the client
    carrying_at: float = 0.0  # when both directions were past their greetings; 0.0: they never were
    ended_at: float = 0.0
    recorded: dict[str, bytearray] = field(default_factory=dict)


def resume_times(cuts: Sequence[Cut], clients: Sequence[Connection]) -> Iterator[float]:
    """For each data connection that was cut while it carried: the seconds until one between client
    and door carried again, since the last of the cuts before that. Cuts before the first one did
    don't count."""
    starts = sorted(c.carrying_at for c in clients if c.carrying_at and c.kind == "data")
    moments = sorted(cut.at for cut in cuts)
    for cut in cuts:
        counts = cut.carrying and cut.kind == "data" and cut.how != "flip"
        if counts and starts and cut.at > starts[0]:
            after = [at for at in starts if at > cut.at]
            if after:
                yield after[0] - max(at for at in moments if at < after[0])
