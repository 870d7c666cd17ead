"""What a job's place means while it has one, and what is said to who waits for one. Who gets which
is `queue`'s decision.
"""

from __future__ import annotations

from relay.broker import choose as choices
from relay.broker import parts, queue, retry, why
from relay.broker.books import Books
from relay.broker.events import Message
from relay.broker.markets import Line, rank_of, shape_of
from relay.broker.model import ARCHIVE, Agent, Job, Member
from relay.broker.states import JobState


def serves(agent: Agent, job: Job) -> bool:
    """Is it an agent that this job may have been placed on?"""
    if agent.user == ARCHIVE:
        return job.depot is not None
    return job.pool == agent.pool if agent.pool or job.pool else job.user == agent.user


def choose(b: Books, job: Job, idle: bool = False) -> list[Agent] | None:
    """Where it could run now; ``idle``: could it, if nothing ran? Then an empty list means yes."""
    line = job.line or Line(shape_of(job), job.user, rank_of(job), job)
    market = b.market_of(job)
    if idle:
        return [] if choices.possible(b, market, line, job) else None
    found = choices.choose(b, market, line, job)
    return None if found is None else [place.agent for place in found]


def place_all(b: Books, user: str) -> None:
    """Give places to those who wait, where something has changed."""
    b.dirty[user, ""] = None
    for pool in sorted(b.groups_of.get(user, ())):
        b.dirty["", pool] = None
    settle(b)


def place_for(b: Books, agent: Agent) -> None:
    """The agent may have room: for its user's jobs, or its pool's."""
    market = b.market_at(agent)
    if agent.shelved[2] >= 0:
        market.gained[agent.id] = agent
    b.dirty[("", agent.pool) if agent.pool else (agent.user, "")] = None
    settle(b)


def settle(b: Books) -> None:
    """Whatever has changed in this round: who waits may have a place now."""
    if not b.dirty:  # of most events, the second time
        return
    from relay.broker import joins

    queue.place_all(b, joins.on_placed)


def regroup(b: Books, user: str) -> None:
    """Its groups are others: so are the pools it may use."""
    for key, market in b.markets.items():
        if key[1]:
            for line in [x for x in market.asleep.values() if x.user == user]:
                market.wake(line)
            market.again()
            b.dirty[key] = None
    place_all(b, user)


def touch(b: Books, agent: Agent) -> None:
    """Why somebody waits may have changed with it."""
    b.changed.add(agent.user)
    if agent.pool:
        b.changed.update(user for user, queue in b.queues.items() if queue)


def hold_until(b: Books, job: Job, delay_s: float) -> None:
    """The place is lost unless something has happened by then."""
    job.held_until = when = b.now + delay_s

    def check() -> None:
        if job.held_until != when or b.jobs.get(job.id) is not job or job.state.final:
            return
        if job.state is JobState.STAGE_OUT:
            return
        waiting = [
            i for i, m in enumerate(job.members)
            if m.started_at is None and not m.ended_at and not m.phase
        ]  # fmt: skip
        if not waiting:  # its agent is the authority: it starts it, ends it, or is lost
            return
        agents = [b.agents.get(job.members[i].agent_id) for i in waiting]
        if any(a is not None and a.conn is None for a in agents):
            hold_until(b, job, delay_s)  # it may have started: its return decides, or its grace
        elif job.started:
            for i in waiting:
                _unexpect(b, job.members[i])
                parts.over(b, job, i, "it did not start")
        elif job.spec is not None:
            retry.fail(b, job, "its agent did not start it")
        else:
            give_up(b, job, "nobody came to use its place")
        place_all(b, job.user)

    b.at(when, check)


def give_up(b: Books, job: Job, why: str) -> None:
    """End a job that has not started: told to its agents, shown as canceled."""
    for member in job.members:
        _unexpect(b, member)
        if job.spec is not None:  # it may be at work on what comes before the program
            b.tell_agent(member.agent_id, {"m": "cancel", "job": str(job.id)})
    b.finish(job, JobState.CANCELED, why)
    place_all(b, job.user)


def _unexpect(b: Books, member: Member) -> None:
    if member.agent_id and member.att:
        b.tell_agent(member.agent_id, {"m": "unexpect", "att": member.att})


def displace(b: Books, job: Job, why: str = "") -> None:
    """A held job loses its places and waits again, in its turn."""
    assert job.state in (JobState.HELD, JobState.STAGE_IN)
    if job.state is JobState.STAGE_IN:
        b.unstage(job)
    if job.spec is not None:
        if job.tokens:  # its program may have begun
            retry.fail(b, job, why)
            return
        retry.stop(b, job)
        retry.later(job)
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


def tell_waiting(b: Books) -> None:
    """Say to waiting clients how far they are, where that has changed."""
    for user in b.changed:
        for ahead, job_id in enumerate(b.queues.get(user, ())):
            job = b.jobs[job_id]
            if job.awaits:
                tell_one(b, job, ahead)
    b.changed.clear()


def tell_one(b: Books, job: Job, ahead: int) -> None:
    news = (ahead, why.text(b, job))
    if news == job.told:
        return
    job.told = news
    for (conn, _), att in job.awaits.items():
        message: Message = {"m": "queue", "att": att, "ahead": ahead, "why": news[1]}
        b.send(conn, {**message, "job": str(job.id)})
