"""Jobs that are over with their first member (WANTS `lead`): what becomes of the others."""

from __future__ import annotations

from relay.broker import parts
from relay.broker.books import Books
from relay.broker.model import Agent, Job

WITH_IT = "ended with the first"
PATIENCE_S = 2.0  # for the last word of who was killed
RETURN_S = 15.0  # for agents to come back to a relay that was started anew


def on_over(b: Books, job: Job) -> None:
    """The first has ended: the others get TERM, then KILL. Who is away is not waited for, as what
    ended the first may have ended its whole node."""
    from relay.broker import verbs

    if job.kill_at is None:
        verbs.end_members(b, job)
        b.at(b.now + b.settings.kill_after_s + PATIENCE_S, lambda: _over(b, job, everyone=True))
    _over(b, job, everyone=False)


def on_restored(b: Books, job: Job) -> None:
    """Told by the journal alone: its others may have ended, may be away for ever, or may never
    have heard that the first is over."""
    if job.wants.lead and job.members[0].ended_at is not None:
        b.at(b.now + RETURN_S, lambda: None if job.state.final else on_over(b, job))


def on_away(b: Books, agent: Agent) -> None:
    """It may be one of those others."""
    for job_id, _ in sorted(agent.here):
        job = b.jobs.get(job_id)
        if job is not None and job.wants.lead and job.members[0].ended_at is not None:
            _over(b, job, everyone=False)
    _drop(b, agent)


def _drop(b: Books, agent: Agent) -> None:
    """One that is in another's allocation goes with it, and does not come back."""
    if agent.guest and agent.conn is None and not agent.here and agent.id in b.agents:
        from relay.broker import reports

        reports.lose_agent(b, agent, WITH_IT)


def _over(b: Books, job: Job, everyone: bool) -> None:
    for index, member in enumerate(job.members):
        agent = b.agents.get(member.agent_id)
        away = agent is None or agent.conn is None
        if member.ended_at is None and not job.state.final and (everyone or away):
            parts.over(b, job, index, error=WITH_IT)
            if agent is not None:
                _drop(b, agent)
