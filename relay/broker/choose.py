"""Which agents a job gets: room in a lane, what both sides ask for, preference, chance. Changes
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from relay.broker import backfill
from relay.broker.books import Books
from relay.broker.markets import INTERACTIVE, Line, Market, member_fits
from relay.broker.matching import drawn, liking, suits
from relay.broker.model import Agent, Job, Member
from relay.broker.supply import fits_time

Guards = Sequence[Line]  # lines that are blocked, whose guards later ones have to mind


class Place(NamedTuple):
    agent: Agent
    lane: str


def up(agent: Agent, job: Job) -> bool:
    return agent.conn is not None and (not agent.draining or bool(job.beside))


def choose(
    b: Books, market: Market, line: Line, job: Job, guards: Guards = (),
    only: dict[str, Agent] | None = None,
) -> list[Place] | None:  # fmt: skip
    """A place for every member, on different agents, or None. ``only``: of one member's agents,
    those that may have become free since this was asked last."""
    if job.size == 1:
        agents = _pinned(b, job.members[0]) if job.members[0].pin else None
        if agents is None and only is not None:
            agents = sorted(only.values(), key=lambda a: -a.room)
        place = _best(b, job, _places(b, market, line, job, 0, guards, agents))
        return None if place is None else [place]
    chosen: dict[int, Place] = {}
    taken: set[str] = set()
    for index in _order(job):
        member = job.members[index]
        agents = _pinned(b, member) if member.pin else None
        found = (p for p in _places(b, market, line, job, index, guards, agents)
                 if p.agent.id not in taken)  # fmt: skip
        place = _best(b, job, found)
        if place is None:
            return None
        chosen[index] = place
        taken.add(place.agent.id)
    return [chosen[index] for index in range(job.size)]


def possible(b: Books, market: Market, line: Line, job: Job) -> bool:
    """Could it run if everything were idle?"""
    found = (
        a for a in market.agents.values()
        if up(a, job) and suits(b, line, a) and fits_time(a, job, b.now)
    )  # fmt: skip
    if job.size == 1:
        return next(found, None) is not None
    able = sorted(found, key=lambda a: -a.slots)
    taken: set[str] = set()
    for index in _order(job):
        member = job.members[index]
        for agent in able:
            if agent.id not in taken and member_fits(job, member, index, agent):
                taken.add(agent.id)
                break
        else:
            return False
    return True


def lane_there(b: Books, agent: Agent, job: Job, member: Member, own: int = 0) -> str:
    """The lane in which it has the slots for this member now; empty: in none. ``own``: slots that
    are held for it."""
    need = job.slots_of(member)
    if job.weightless:
        return job.lane
    if job.wants.whole:
        return "" if agent.load or agent.held - own else job.lane
    if need <= agent.room + own:
        return job.lane
    if agent.held - own and need <= agent.slots - agent.used and backfill.lets(b, agent, job):
        return job.lane
    if (job.lane == "interactive" or job.warm or own) and need <= agent.shared_room:
        return "interactive"  # a warm one: good for a terminal, and its agent lets nothing else in
    return ""


def _order(job: Job) -> list[int]:
    """Who is hardest to place goes first."""
    return sorted(range(job.size), key=lambda i: (not job.members[i].pin, -job.members[i].tasks))


def _pinned(b: Books, member: Member) -> list[Agent]:
    agent = b.agents.get(member.pin)
    return [] if agent is None else [agent]


def _places(
    b: Books, market: Market, line: Line, job: Job, index: int, guards: Guards,
    agents: Iterable[Agent] | None,
) -> Iterator[Place]:  # fmt: skip
    """Those with the most room first, and who shares its cores after those who need not."""
    member = job.members[index]
    need = job.slots_of(member)
    if agents is None:
        agents = _all(market, job, need)
    later = []
    for agent in agents:
        lane = lane_there(b, agent, job, member) if agent.id in market.agents else ""
        blocked = guards
        if job.warm and lane == "interactive":  # it takes nothing from who waits for free slots
            blocked = [guard for guard in guards if guard.rank == INTERACTIVE]
        if (
            not lane
            or not up(agent, job)
            or not suits(b, line, agent)
            or (job.size > 1 and not member_fits(job, member, index, agent))
            or (job.avoid and job.avoid.get(agent.id, 0.0) > b.now)
            or not fits_time(agent, job, b.now)
            or (blocked and not all(backfill.allows(b, g, agent, job, need) for g in blocked))
        ):
            continue
        if need <= agent.room or not need:
            yield Place(agent, lane)
        else:
            later.append(Place(agent, lane))
    yield from later


def _all(market: Market, job: Job, need: int) -> Iterator[Agent]:
    if job.weightless:
        yield from market.agents.values()
        return
    yield from market.rooms.descending(need)
    if job.lane == "interactive" or job.warm:
        for agent in market.shared.descending(need):
            if agent.room < need:
                yield agent
    for agent in market.held.values():
        if agent.room < need:
            yield agent


def _best(b: Books, job: Job, places: Iterator[Place]) -> Place | None:
    """The first, or by preference; equals at random."""
    if not job.wants.rank:
        return next(places, None)
    found = list(places)
    free = [p for p in found if p.agent.room > 0] or found
    if not free:
        return None
    ranks = [liking(b, job, p.agent) for p in free]
    if job.wants.fuzzy:
        return free[drawn(b, fuzzy_weights(ranks, job.wants.fuzzy))]
    best = max(ranks)
    return free[drawn(b, [float(rank == best) for rank in ranks])]


def fuzzy_weights(ranks: list[float], factor: float) -> list[float]:
    """Who is ranked higher is likelier, nobody is out of it."""
    mean = sum(ranks) / len(ranks)
    return [math.atan((rank - mean) * factor) + math.pi / 2 for rank in ranks]
