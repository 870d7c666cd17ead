"""Co-allocations: several agents, at several sites, all or none.

What is there is kept for a while, until all is. No two of them can wait for each other: an earlier
one (by number) takes what a later one only holds, never the other way round. Meanwhile what is
held runs jobs that are over in time, or that yield.
"""

from __future__ import annotations

from relay.broker import backfill
from relay.broker.books import Books
from relay.broker.choose import Guards, Place, lane_there, up
from relay.broker.markets import Line, Market, member_fits, sites_of
from relay.broker.matching import suits
from relay.broker.model import Agent, Job
from relay.broker.supply import fits_time


def gather(b: Books, market: Market, line: Line, job: Job, guards: Guards) -> list[Place] | None:
    """Hold what can be had; the places of all members as soon as they are there."""
    _check(b, line, job)
    if job.no_hold_until <= b.now:
        for index in range(job.size):
            if index not in job.held_at.values():
                _take(b, market, line, job, index, guards)
    at = {index: b.agents[name] for name, index in job.held_at.items()}
    places = []
    for index, member in enumerate(job.members):
        agent = at.get(index)
        own = agent.holds[job.id, index] if agent is not None else 0
        lane = lane_there(b, agent, job, member, own) if agent is not None else ""
        if agent is None or not lane:
            return None
        places.append(Place(agent, lane))
    release(b, job)
    return places


def lacking(job: Job) -> dict[str, int]:
    """Of how many members the place is still missing, by the site where it has to be."""
    found: dict[str, int] = {}
    have = set(job.held_at.values())
    for index in range(job.size):
        if index not in have:
            site = sites_of(job, index)
            found[site] = found.get(site, 0) + 1
    return found


def release(b: Books, job: Job, why: str = "") -> None:
    """It holds nothing any more."""
    for name in list(job.held_at):
        b.let_go(job, name)
    job.hold_until = None
    if why:
        job.note = why


def on_agent_gone(b: Books, agent: Agent, why: str) -> None:
    """Whoever waits for the rest waits for this part too, again."""
    for job_id, _ in list(agent.holds):
        job = b.jobs.get(job_id)
        if job is not None:
            b.let_go(job, agent.id)
            _another(b, job, agent.id, agent.site, why)


def _check(b: Books, line: Line, job: Job) -> None:
    for name in list(job.held_at):
        agent = b.agents.get(name)
        why = ""
        if agent is None or not up(agent, job):
            why = "is about to end"
        elif not suits(b, line, agent):
            why = "is not what it was"
        elif not fits_time(agent, job, b.now):  # held for so long that it would end too soon now
            why = "has too little time left by now"
        if why:
            b.let_go(job, name)
            _another(b, job, name, agent.site if agent is not None else "", why)


def _another(b: Books, job: Job, name: str, site: str, why: str) -> None:
    where = f" at {site}" if site else ""
    job.note = f"agent {name}{where} {why}; another one is looked for"
    b.changed.add(job.user)


def _take(b: Books, market: Market, line: Line, job: Job, index: int, guards: Guards) -> None:
    member = job.members[index]
    need = job.slots_of(member)
    free = list(market.rooms.descending(need))
    seen = {agent.id for agent in free}
    for agent in [*free, *(a for a in market.held.values() if a.id not in seen)]:
        later = [key for key in agent.holds if key[0] > job.id]
        room = agent.room + sum(agent.holds[key] for key in later)
        if (
            room < need
            or agent.id in job.held_at
            or not up(agent, job)
            or not suits(b, line, agent)
            or not member_fits(job, member, index, agent)
            or job.avoid.get(agent.id, 0.0) > b.now
            or not fits_time(agent, job, b.now)
            or (job.wants.whole and agent.load)
            or not all(backfill.allows(b, guard, agent, job, need) for guard in guards)
        ):
            continue
        for job_id, _ in later:
            if agent.room >= need:
                break
            b.let_go(b.jobs[job_id], agent.id)
            b.jobs[job_id].note = f"job {job.id}, which came before, takes agent {agent.id}"
            market.again()
        agent.hold((job.id, index), agent.slots if job.wants.whole else need)
        job.held_at[agent.id] = index
        job.note = ""
        b.touch(agent)
        if job.hold_until is None:
            _until(b, market, job)
        return


def _until(b: Books, market: Market, job: Job) -> None:
    """Nobody's slots stand idle for ever for a partner that never comes."""
    job.hold_until = when = b.now + (job.wants.hold or b.settings.hold_s)

    def check() -> None:
        if job.hold_until != when or b.jobs.get(job.id) is not job or job.line is None:
            return
        missing = job.size - len(job.held_at)
        length = job.wants.hold or b.settings.hold_s
        release(b, job, f"{missing} of its {job.size} agents did not come within {length:g} s: "
                        "what it held runs others, it tries again")  # fmt: skip
        job.no_hold_until = b.now + b.settings.hold_pause_s
        b.changed.add(job.user)
        b.retry(market)
        b.at(job.no_hold_until, lambda: b.retry(market))

    b.at(when, check)
