"""Plans of faults for both legs, and what became of them. What the tests and rows on cuts share."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

from fault.lab import Lab

from kit.cuts import Cut, resume_times
from kit.faultplan import Plans
from kit.faultproxy import FaultProxy

RESUME_S = 1.0  # 95 of 100 links are carrying again within this
CUTS = ("fin", "rst", "mixed", "stall")
HOLES = (*CUTS, "hole")


def plans(
    seed: int, cuts: int, size: int, hows: Sequence[str] = CUTS, joining: float = 0.25
) -> tuple[Plans, Plans]:
    """One for each leg. Of a link's two connections the first to break counts: so half the mean."""
    mean = size / cuts
    return (
        Plans(seed, cuts // 2, mean, joining, hows=hows),
        Plans(seed + 1, cuts - cuts // 2, mean, joining, hows=hows),
    )


def control_cuts(lab: Lab) -> Callable[[], None]:
    """To be called often: every ten cuts one of the agent's control connection, with few bytes."""
    done = 0

    def meanwhile() -> None:
        nonlocal done
        if len(lab.clients.cuts) + len(lab.agents.cuts) >= 10 * (done + 1) + done:
            done += lab.agents.cut("rst", "control")

    return meanwhile


def report(lab: Lab, seed: int, more: Sequence[FaultProxy] = ()) -> str:
    cuts = [cut for leg in (*lab.legs, *more) for cut in leg.cuts]
    times = sorted(resume_times(cuts, lab.clients.connections))
    lines = [f"seed {seed}: {len(cuts)} cuts", *counted(cuts)]
    if times:
        lines.append(
            f"  resumed: p50 {times[len(times) // 2]:.3f} s,"
            f" p95 {times[len(times) * 95 // 100]:.3f} s, worst {times[-1]:.3f} s of {len(times)}"
        )
        if times[-1] > RESUME_S:
            lines += timeline(lab)
    return "\n".join(lines)


def counted(cuts: list[Cut]) -> list[str]:
    """How many of which sort."""
    lines = []
    for name in ("leg", "kind", "where", "how", "carrying"):
        by = Counter[object](getattr(cut, name) for cut in cuts)
        lines.append(
            f"  {name}: " + ", ".join(f"{value} {count}" for value, count in by.most_common())
        )
    return lines


def timeline(lab: Lab) -> list[str]:
    """Every connection's life, for who wants to know what took so long."""
    start = lab.agents.connections[0].opened_at
    lives = [
        f"  {c.opened_at - start:8.3f} .. {c.ended_at - start if c.ended_at else -1:8.3f}"
        f" {leg.leg} {c.number} {c.kind}: {c.passed} bytes"
        + (f", carrying at {c.carrying_at - start:.3f}" if c.carrying_at else "")
        + "".join(f", {cut.how} in {cut.where}" for cut in leg.cuts if cut.connection == c.number)
        for leg in lab.legs
        for c in leg.connections
    ]
    return sorted(lives)


def resumes(writer: FaultProxy, agents: FaultProxy) -> list[float]:
    """Of every time that the one client behind ``writer`` was carrying again: the seconds since its
    path was back, that is since its last connection, or one that was just being joined to it, had
    been broken. Sorted."""
    links = [c for c in writer.connections if c.kind == "data"]
    starts = sorted(c.carrying_at for c in links if c.carrying_at)
    broken = [c.ended_at for c in links if c.ended_at]
    broken += [cut.at for cut in agents.cuts if not cut.carrying]
    times = []
    for before, at in itertools.pairwise(starts):
        moments = [moment for moment in broken if before < moment < at]
        if moments:
            times.append(at - max(moments))
    return sorted(times)
