"""Does an agent suit a job, and the job the agent? Expressions are a `Matcher`'s, which the shell
brings; what one said of an agent is remembered until that agent says something else of itself.
"""

from __future__ import annotations

from typing import Any, Protocol

from relay.broker.books import Books
from relay.broker.events import Message
from relay.broker.markets import Line, member_fits
from relay.broker.model import Agent, Job
from relay.broker.wants import Wants


class Matcher(Protocol):
    """Of expressions over two ads (ClassAds): a job's, and what is offered."""

    def check(self, text: str) -> str:
        """What is wrong with it; empty: nothing."""
        ...

    def suits(self, job_ad: Message, req: str, ad: Message) -> bool:
        """Is ``req``, said by who has ``job_ad``, true of ``ad``?"""
        ...

    def rank(self, job_ad: Message, rank: str, ad: Message) -> float: ...

    def explain(self, job_ad: Message, req: str, ad: Message) -> list[tuple[str, Any]]:
        """The parts of ``req`` that are not true, each with what it is instead."""
        ...


class Luck(Protocol):
    """Where chance comes from."""

    def random(self) -> float:
        """At least 0, below 1."""
        ...


def drawn(b: Books, weights: list[float]) -> int:
    """One of them, each as likely as it weighs."""
    left = sum(weights) * (b.luck.random() if b.luck else 0.0)
    for index, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return index
    return len(weights) - 1


def complaint(b: Books, wants: Wants) -> str:
    """What is wrong with its expressions; empty: nothing."""
    for name, text in (("req", wants.req), ("rank", wants.rank)):
        if text:
            wrong = b.matcher.check(text) if b.matcher else "this relay evaluates no expressions"
            if wrong:
                return f"{name}: {wrong}"
    return ""


def offer(agent: Agent, idle: bool = True) -> Message:
    """An agent's ad: what it said, and what we know; ``idle``: as if nothing ran there."""
    return {
        **agent.ad, "id": agent.id, "host": agent.host, "user": agent.user, "pool": agent.pool,
        "site": agent.site, "cpus": agent.cpus, "memory_bytes": agent.memory_bytes,
        "tags": list(agent.tags), "slots": agent.slots, "lrms": agent.lrms, "lanes": agent.lanes,
        "free": agent.slots if idle else max(0, agent.room),
    }  # fmt: skip


def wanted(job: Job) -> Message:
    """A job's ad, as an agent's requirements see it."""
    return {
        **job.wants.job_ad, "user": job.user, "name": job.name, "lane": job.lane, "size": job.size,
        "tasks": max(m.tasks for m in job.members), "walltime": job.wants.walltime,
    }  # fmt: skip


def agrees(b: Books, job: Job, agent: Agent) -> bool:
    """Do both sides' expressions, the memory and the sites agree?"""
    wants = job.wants
    if agent.guest and all(member.pin != agent.id for member in job.members):
        return False  # it is in an allocation that somebody else's program has
    if wants.site and agent.site not in wants.site:
        return False
    if wants.memory > agent.memory_bytes:
        return False
    if wants.req and not (b.matcher and b.matcher.suits(wants.job_ad, wants.req, offer(agent))):
        return False
    own = agent.ad.get("requirements")
    if not own or not isinstance(own, str):
        return True
    return bool(b.matcher and b.matcher.suits(offer(agent), own, wanted(job)))


def suits(b: Books, line: Line, agent: Agent) -> bool:
    """Could a job of this line run there, were it idle? Some member of it, if it has several."""
    job = line.model
    sites = job.wants.site
    if sites and agent.site not in sites and not job.weightless:
        return False  # mostly it is this: told faster than remembered
    known = line.facts.get(agent.id)
    if known is not None and known[0] == agent.facts:
        return known[1]
    good = member_fits(job, job.members[0], 0, agent) or (
        job.size > 1 and any(member_fits(job, m, i, agent) for i, m in enumerate(job.members[:64]))
    )
    good = good and (job.weightless or agrees(b, job, agent))
    line.facts[agent.id] = (agent.facts, good)
    return good


def liking(b: Books, job: Job, agent: Agent) -> float:
    """What the job's `rank` says of it, as it is now."""
    if not job.wants.rank or b.matcher is None:
        return 0.0
    return b.matcher.rank(job.wants.job_ad, job.wants.rank, offer(agent, idle=False))
