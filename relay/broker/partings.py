"""Agents that go because their pilots end: what the jobs that they take along say of it."""

from __future__ import annotations

from collections.abc import Iterable

from relay.broker import sites
from relay.broker.books import Books
from relay.broker.model import Agent
from relay.broker.sitemodel import Pilot


def over_why(b: Books, agent: Agent) -> str:
    """Why this agent will not come back, if it is known; it is its pilot's end."""
    pilot = b.pilots.get(agent.pilot)
    return _words(pilot) if pilot is not None and pilot.over else ""


def _words(pilot: Pilot) -> str:
    ended = f"pilot {pilot.id} of {pilot.site} {pilot.state}"
    return f"{ended}: {pilot.reason}" if pilot.reason else ended


def stopped_why(b: Books, agent: Agent, jobs: Iterable[int]) -> str:
    """Why what runs there is over: the agent was told to end. If not by us, its batch system will
    have more to say of it, and then these jobs do."""
    pilot = b.pilots.get(agent.pilot)
    if pilot is None or pilot.released:
        return "the agent was stopped"
    if pilot.over:
        return _words(pilot)
    pilot.parting.update(jobs)
    return _provisional(pilot)


def _provisional(pilot: Pilot) -> str:
    why = pilot.canceled or "its agent was told to stop"
    return f"pilot {pilot.id} of {pilot.site} ended: {why}"


def explain(b: Books, pilot: Pilot) -> None:
    """It is over: what its jobs said in its stead is replaced by its own words."""
    before = _provisional(pilot)
    for job_id in sorted(pilot.parting):
        job = b.jobs.get(job_id)
        if job is None or before not in f"{job.error} {job.note}":
            continue
        job.note = job.note.replace(before, _words(pilot))
        job.error = job.error and job.error.replace(before, _words(pilot))
        b.keep(job)
    pilot.parting.clear()


def on_away(b: Books, agent: Agent) -> None:
    """Its pilot may be over, too: who can see that is to look now."""
    pilot = b.pilots.get(agent.pilot)
    if pilot is None or pilot.over:
        return
    here = sites.find_submitter(b, pilot.user, pilot.submitter, pilot.host)
    if here is not None:
        b.send(here.conn, {"m": "pilot-look", "pilot": pilot.id})
