"""Who waits and who gets the slots: queue, choice of agents, groups, deadlines.

First come, first served per user (an agent belongs to one user, or serves a pool: then who has
waited longest for it). A job that could not run even if everything were idle lets the next one
pass; one that only has to wait does not, or a group would starve.
"""

from __future__ import annotations

from relay.broker import outlook, supply
from relay.broker.books import Books
from relay.broker.events import Message
from relay.broker.model import ARCHIVE, Agent, Job, Member
from relay.broker.states import JobState


def candidates(b: Books, job: Job) -> list[Agent]:
    """The agents that serve it: its user's own, or those of the pool it asks for."""
    if not job.pool:
        return [a for a in b.agents_of.get(job.user, {}).values() if not a.pool]
    if job.pool not in b.groups_of.get(job.user, ()):
        return []  # its user has left the group
    return list(b.pools.get(job.pool, {}).values())


def serves(agent: Agent, job: Job) -> bool:
    """Is it an agent that this job may have been placed on?"""
    if agent.user == ARCHIVE:
        return job.depot is not None
    return job.pool == agent.pool if agent.pool or job.pool else job.user == agent.user


def choose(b: Books, job: Job, idle: bool = False) -> list[Agent] | None:
    """An agent for every member, all different, or None.

    ``idle``: pretend that nothing runs, to know whether waiting can help.
    """
    able = [
        a for a in candidates(b, job)
        if a.conn is not None and (not a.draining or job.beside)
        and (idle or job.avoid.get(a.id, 0.0) <= b.now)
        and supply.fits_time(a, job, b.now) and supply.at_site(a, job)
    ]  # fmt: skip

    def room(agent: Agent) -> int:
        return agent.slots if idle else agent.free

    able.sort(key=lambda a: (-room(a), a.chosen))
    chosen: dict[int, Agent] = {}
    taken: set[str] = set()
    order = sorted(range(job.size), key=lambda i: (not job.members[i].pin, -job.members[i].tasks))
    for index in order:
        member = job.members[index]
        for agent in able:
            if agent.id in taken or room(agent) < job.slots_of(member):
                continue
            if member.pin and agent.id != member.pin:
                continue
            chosen[index] = agent
            taken.add(agent.id)
            break
        else:
            return None
    return [chosen[index] for index in range(job.size)]


def place_all(b: Books, user: str) -> None:
    """Give places to those at the head of the user's queue."""
    from relay.broker import joins

    full: set[str] = set()  # pools where somebody waits for room; "" are the user's own agents
    for job_id in list(b.queues.get(user, ())):
        job = b.jobs.get(job_id)
        if job is None or not job.complete or job.pool in full:
            continue
        agents = choose(b, job)
        if agents is not None:
            _hold(b, job, agents)
            joins.on_placed(b, job)
        elif not any(m.pin for m in job.members) and choose(b, job, idle=True) is not None:
            full.add(job.pool)
            if full == {""} and not any(b.pools.values()):
                break


def place_for(b: Books, agent: Agent) -> None:
    """The agent may have room: for its user's jobs, or its pool's, the oldest first."""
    if not agent.pool:
        place_all(b, agent.user)
        return
    first: dict[str, int] = {}  # user -> oldest job that asks for this pool
    for user, queue in b.queues.items():
        for job_id in queue:
            if b.jobs[job_id].pool == agent.pool:
                first[user] = job_id
                break
    for user in sorted(first, key=first.__getitem__):
        place_all(b, user)


def touch(b: Books, agent: Agent) -> None:
    """Why somebody waits may have changed with it."""
    b.changed.add(agent.user)
    if agent.pool:
        b.changed.update(user for user, queue in b.queues.items() if queue)


def _hold(b: Books, job: Job, agents: list[Agent]) -> None:
    b.unqueue(job)
    job.go(JobState.HELD)
    job.abandon_at = None
    for index, (member, agent) in enumerate(zip(job.members, agents, strict=True)):
        b.choices += 1
        agent.chosen = b.choices
        member.agent_id = agent.id
        member.host = agent.host
        agent.put((job.id, index), 0 if job.warm else job.slots_of(member))
        b.touch(agent)
    b.keep(job)


def hold_until(b: Books, job: Job, delay_s: float) -> None:
    """The place is lost unless something has happened by then."""
    job.held_until = when = b.now + delay_s

    def check() -> None:
        if job.held_until != when or b.jobs.get(job.id) is not job or job.state.final:
            return
        if job.state is JobState.STAGE_OUT:
            return
        waiting = [i for i, m in enumerate(job.members) if m.started_at is None and not m.ended_at]
        agents = [b.agents.get(job.members[i].agent_id) for i in waiting]
        if any(a is not None and a.conn is None for a in agents):
            hold_until(b, job, delay_s)  # it may have started: its return decides, or its grace
        elif job.started:
            for i in waiting:
                _unexpect(b, job.members[i])
                b.member_over(job, i, "it did not start")
        elif job.spec is not None:
            b.finish(job, JobState.FAILED, "its agent did not start it")
        else:
            give_up(b, job, "nobody came to use its place")
        place_all(b, job.user)

    b.at(when, check)


def give_up(b: Books, job: Job, why: str) -> None:
    """End a job that has not started: told to its agents, shown as canceled."""
    for member in job.members:
        _unexpect(b, member)
    b.finish(job, JobState.CANCELED, why)
    place_all(b, job.user)


def _unexpect(b: Books, member: Member) -> None:
    if member.agent_id and member.att:
        b.tell_agent(member.agent_id, {"m": "unexpect", "att": member.att})


def displace(b: Books, job: Job) -> None:
    """A held job loses its places and waits again, in its turn."""
    assert job.state in (JobState.HELD, JobState.STAGE_IN)
    if job.state is JobState.STAGE_IN:
        b.unstage(job)
    for index, member in enumerate(job.members):
        b.release(job, index)
        _unexpect(b, member)
        member.agent_id = member.host = ""
    job.joined = False
    job.held_until = None
    if job.warm or job.stage or job.depot:
        b.forget(job)
        return
    job.go(JobState.QUEUED)
    b.queue(job)
    b.keep(job)
    if job.spec is None:
        abandon_later(b, job)


def abandon_later(b: Books, job: Job) -> None:
    """A queued opening that nobody asks or waits for is given up after a while."""
    job.abandon_at = when = b.now + b.settings.abandoned_s

    def check() -> None:
        if job.abandon_at != when or b.jobs.get(job.id) is not job:
            return
        if job.state in (JobState.NEW, JobState.QUEUED) and not job.awaits and not job.asks:
            give_up(b, job, "its client left before it started")

    b.at(when, check)


def why_waiting(b: Books, job: Job) -> str:
    """What is missing, for a person."""
    agents = candidates(b, job)
    for pin in (m.pin for m in job.members if m.pin):
        agent = b.agents.get(pin)
        if agent is None or not serves(agent, job):
            return f"there is no agent {pin}"
        if agent.conn is None:
            return f"agent {pin} is away"
    if (said := outlook.explain(b, job)) is not None:
        return said[0]
    if not agents and job.pool:
        return f"no agent of the pool {job.pool} is connected"
    if not agents:
        return "no agent of yours is connected"
    up = [a for a in agents if a.conn is not None and not a.draining]
    if not up:
        whose = f"agents of the pool {job.pool}" if job.pool else "your agents"
        return f"all {whose} are away or draining"
    if choose(b, job, idle=True) is None:
        largest = max(a.slots for a in up)
        wanted = max(m.tasks for m in job.members)
        if wanted > largest:
            return f"it needs {wanted} slots on one agent; the largest agent has {largest}"
        return f"it needs {job.size} agents with enough slots; {len(up)} are connected"
    return "all slots are in use"


def tell_waiting(b: Books) -> None:
    """Say to waiting clients how far they are, where that has changed."""
    for user in b.changed:
        for ahead, job_id in enumerate(b.queues.get(user, ())):
            job = b.jobs[job_id]
            if job.awaits:
                tell_one(b, job, ahead)
    b.changed.clear()


def tell_one(b: Books, job: Job, ahead: int) -> None:
    news = (ahead, why_waiting(b, job))
    if news == job.told:
        return
    job.told = news
    for (conn, _), att in job.awaits.items():
        message: Message = {"m": "queue", "att": att, "ahead": ahead, "why": news[1]}
        b.send(conn, {**message, "job": str(job.id)})
