"""Who may pass somebody that waits: only who cannot make the wait longer (EASY).

When running jobs said how long they take, it is known when and where the blocked one starts at the
latest, and shorter ones may run there until then. Else everything that suits it is kept for it.
"""

from __future__ import annotations

from relay.broker.books import Books
from relay.broker.markets import Guard, Line, Market, member_fits, sites_of
from relay.broker.matching import suits
from relay.broker.model import Agent, Job


def ends_of(b: Books, agent: Agent) -> list[tuple[float, int]]:
    """(when, slots) of what runs there, as far as it was said; the earliest first."""
    out = []
    for (job_id, index), tasks in agent.load.items():
        job = b.jobs.get(job_id)
        started = job.members[index].started_at if job is not None else None
        if job is None or not job.wants.walltime:
            continue
        at = (b.now if started is None else started) + job.wants.walltime
        if at >= b.now:  # who is late already may be so for long
            out.append((at, tasks))
    return sorted(out)


def opens_at(b: Books, agent: Agent, need: int) -> float | None:
    """When the agent has so much room at the latest; None: nobody knows."""
    room = agent.room
    if room >= need:
        return b.now
    for at, tasks in ends_of(b, agent):
        room += tasks
        if room >= need:
            return at
    return None


def find_out(b: Books, line: Line) -> Guard:
    """What is to be kept for the first of a line that cannot start now."""
    if line.guard is None or not line.guard.known:
        job = b.jobs[line.first]
        line.guard = _guard_of(b, b.market_of(job), line, job)
        line.guard.known = True
    return line.guard


def estimate(b: Books, line: Line) -> float | None:
    """When the first of a line starts at the latest; None: nobody knows."""
    if line.guard is not None and line.guard.known:
        return line.guard.at
    return _guard_of(b, b.market_of(line.model), line, b.jobs[line.first]).at


def _guard_of(b: Books, market: Market, line: Line, job: Job) -> Guard:
    if job.gathers:
        return Guard()
    at, agents = b.now, {}
    times = {
        a.id: opens_at(b, a, max(1, min(job.slots_of(m) for m in job.members)))
        for a in market.agents.values()
        if a.conn is not None and not a.draining and suits(b, line, a)
    }
    for index, member in enumerate(job.members):
        need = job.slots_of(member)
        able = [
            (when, name) for name, known in times.items()
            if name not in agents and known is not None
            and member_fits(job, member, index, b.agents[name])
            and (when := opens_at(b, b.agents[name], need)) is not None
        ]  # fmt: skip
        if not able or job.wants.whole:
            return Guard()
        when, name = min(able)
        at, agents[name] = max(at, when), need
    return Guard(True, at, agents)


def allows(b: Books, line: Line, agent: Agent, job: Job, need: int) -> bool:
    """May this later job take ``need`` slots there, without making the line's first wait longer?"""
    if line.guard is None or job.weightless or not suits(b, line, agent):
        return True
    first = b.jobs[line.first]
    if first.gathers:
        return not _missing_there(b, line, first, agent)
    guard = find_out(b, line)
    if guard.agents is None:
        return False
    if agent.id not in guard.agents:
        return True
    assert guard.at is not None
    if job.wants.walltime and b.now + job.wants.walltime <= guard.at:
        return True
    still = sum(tasks for key, tasks in agent.load.items() if not _over_by(b, key, guard.at))
    return agent.slots - still - agent.held - guard.agents[agent.id] >= need


def _over_by(b: Books, key: tuple[int, int], when: float) -> bool:
    job = b.jobs.get(key[0])
    if job is None or not job.wants.walltime:
        return False
    started = job.members[key[1]].started_at
    return b.now <= (b.now if started is None else started) + job.wants.walltime <= when


def _missing_there(b: Books, line: Line, job: Job, agent: Agent) -> bool:
    """Would a part of this co-allocation that has no place yet take it?"""
    if job.no_hold_until > b.now:
        return False
    have = set(job.held_at.values())
    return (
        agent.id not in job.held_at
        and suits(b, line, agent)
        and any(member_fits(job, m, i, agent) for i, m in enumerate(job.members) if i not in have)
    )


def lets(b: Books, agent: Agent, job: Job) -> bool:
    """May this job run meanwhile in what others hold there?"""
    if job.wants.whole or job.gathers:
        return False
    if agent.lanes and job.lane == "batch":
        return True  # it yields: who holds it starts beside it, in the other lane
    if not job.wants.walltime:
        return False
    for job_id, _ in agent.holds:
        holder = b.jobs[job_id]
        at = None if holder is job else expected(b, holder)
        if holder is not job and (at is None or b.now + job.wants.walltime > at):
            return False
    return True


def expected(b: Books, job: Job) -> float | None:
    """When the last part of it will be there; None: nobody knows."""
    line, last = job.line, b.now
    if line is None:
        return None
    for index, member in enumerate(job.members):
        if index in job.held_at.values():
            continue
        times = [
            at for a in b.market_of(job).agents.values()
            if a.conn is not None and not a.draining and a.id not in job.held_at
            and suits(b, line, a) and member_fits(job, member, index, a)
            and (at := opens_at(b, a, job.slots_of(member))) is not None
        ]  # fmt: skip
        site = sites_of(job, index)
        times += [
            p.start_at for p in b.pilots_of.get(job.user, {}).values()
            if p.site == site and p.start_at is not None and p.start_at > b.now
        ]  # fmt: skip
        if not times:
            return None
        last = max(last, min(times))
    return last
