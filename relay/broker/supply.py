"""What a user's waiting jobs can count on: agents that are there, nodes of pilots that will be.
What a job needs of them. Looks at the books and changes nothing but what it has learnt.
"""

from __future__ import annotations

from dataclasses import dataclass

from relay.broker.books import Books
from relay.broker.matching import agrees
from relay.broker.model import Agent, Job
from relay.broker.sitemodel import RUNNING, Pilot, Site
from relay.broker.wants import size, span

MARGIN_S = 60.0
"""An agent must outlive a job's walltime by this; of a job without one, it must live so long."""
SOON_S = 60.0  # an agent whose jobs will be over by then needs no other one in its place
COMES_S = 300.0  # a node of a pilot that runs has an agent by then, or never will
AWAY_S = 60.0  # an agent that is away no longer than this is about to be back, for all we know
UNFIT_S = 3600.0  # a site whose agent did not suit a job is not asked for its like again so long
UNFIT_KEPT = 10_000


def fits_time(agent: Agent, job: Job, now: float) -> bool:
    """Will its batch system leave the agent there until this job is over?"""
    if agent.ends_at is None or job.weightless:
        return True
    return agent.ends_at >= now + job.wants.walltime + MARGIN_S


def at_site(agent: Agent, job: Job) -> bool:
    return not job.wants.site or job.weightless or agent.site in job.wants.site


@dataclass(slots=True, eq=False)
class Unit:
    """An agent, or a node of a pilot whose agent has not come."""

    site: str
    slots: int
    room: int
    memory: int
    """0: nobody knows."""
    agent: Agent | None = None
    pilot: Pilot | None = None
    """That it will come with."""
    walltime: float = 0.0
    """... for so long; 0: nobody knows."""
    free_at: float = 0.0
    taken: bool = False
    promised: bool = False
    """To a job that waits for others with it."""

    def suits(self, b: Books, job: Job, tasks: int, site: str, now: float) -> bool:
        wants = job.wants
        if self.room < tasks or (wants.whole and self.room < self.slots):
            return False
        if site != self.site if site else wants.site and self.site not in wants.site:
            return False
        if wants.memory > self.memory and (self.memory or self.agent is not None):
            return False
        if self.agent is not None:
            return agrees(b, job, self.agent) and fits_time(self.agent, job, max(now, self.free_at))
        return not self.walltime or self.walltime >= wants.walltime + MARGIN_S


def idle(b: Books, agent: Agent) -> bool:
    """Nothing runs there, and nobody is about to use it; openings ahead of use do not count."""
    return not agent.load and all(
        (job := b.jobs.get(key[0])) is not None and job.warm and not job.started
        for key in agent.here
    )


def _free_at(b: Books, agent: Agent) -> float | None:
    """When all that runs there is over, by what it said of its length; None: nobody knows."""
    latest = b.now
    for job_id, index in agent.load:
        job = b.jobs[job_id]
        began = job.members[index].started_at
        if began is None or not job.wants.walltime:
            return None
        latest = max(latest, began + job.wants.walltime)
    return latest


def pending(pilot: Pilot, now: float) -> int:
    """Its nodes whose agents are still to come."""
    if pilot.over or pilot.canceled:
        return 0
    late = pilot.running_at is not None and now - pilot.running_at > COMES_S
    return 0 if pilot.state == RUNNING and late else pilot.nodes - pilot.nodes_came


def node_slots(site: Site) -> int:
    """What a node of this site will have, as far as can be known before it is there."""
    return site.slots or site.gives or 1


def units_of(b: Books, user: str, now: float) -> list[Unit]:
    """In the order in which jobs take them: agents that are free, that will be, then pilots."""
    free: list[Unit] = []
    soon: list[Unit] = []
    coming: list[Unit] = []
    for agent in b.agents_of.get(user, {}).values():
        away = agent.conn is None
        if agent.draining or agent.pool or (away and now - agent.since > AWAY_S):
            continue
        unit = Unit(agent.site, agent.slots, max(0, agent.free), agent.memory_bytes, agent)
        if unit.room:
            (soon if away else free).append(unit)
            continue
        free_at = _free_at(b, agent)
        if free_at is not None and free_at <= now + SOON_S:
            unit.room, unit.free_at = agent.slots, free_at
            soon.append(unit)
    for pilot in b.pilots_of.get(user, {}).values():
        site = b.sites.get(user, {}).get(pilot.site)
        slots = pilot.slots or (node_slots(site) if site is not None else 1)
        coming += [
            Unit(pilot.site, slots, slots, pilot.memory, None, pilot, pilot.walltime)
            for _ in range(pending(pilot, now))
        ]
    free.sort(key=lambda unit: unit.site != "")  # a site's own are for those who ask for them
    return free + soon + coming


def could_run(b: Books, job: Job) -> bool:
    """Are there agents of its user's that would do, were they idle?"""
    able = [
        Unit(a.site, a.slots, a.slots, a.memory_bytes, a)
        for a in b.agents_of.get(job.user, {}).values()
        if a.conn is not None and not a.draining and not a.pool
    ]
    able.sort(key=lambda unit: -unit.slots)
    for index in sorted(range(job.size), key=lambda i: -job.members[i].tasks):
        tasks, site = job.members[index].tasks, site_of(job, index)
        fitting = (u for u in able if not u.taken and u.suits(b, job, tasks, site, b.now))
        unit = next(fitting, None)
        if unit is None:
            return False
        unit.taken = True
    return True


def counts(b: Books, job: Job) -> bool:
    """Is it one that more agents could help?"""
    if not job.complete or job.pool or job.weightless or job.warm:
        return False
    if any(m.pin for m in job.members):
        return False
    return all(not waits_for(b, other) for other in job.wants.after)


def waits_for(b: Books, job_id: int) -> bool:
    job = b.jobs.get(job_id)
    return job is not None and not job.state.final


def site_of(job: Job, index: int) -> str:
    """Where this member of a co-allocation is to run; empty: at any of those that are wanted."""
    named = job.wants.site
    return named[index * len(named) // job.size] if named and job.size > 1 else ""


def known(site: Site, name: str) -> int:
    value = site.ad.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def shape_of(job: Job) -> object:
    """Jobs of one shape find the same units."""
    w = job.wants
    tasks = tuple(m.tasks for m in job.members) if job.size > 1 else job.members[0].tasks
    return (tasks, w.site, w.walltime, w.memory, w.whole, w.req)


def too_much(site: Site, job: Job) -> str:
    """What this job wants that no pilot there can have; empty: nothing that we know of."""
    wants = job.wants
    tasks = max(
        (m.tasks for i, m in enumerate(job.members) if site_of(job, i) in ("", site.name)),
        default=0,
    )
    node = site.slots or known(site, "cpus_per_node")
    most, memory = known(site, "walltime"), known(site, "memory_bytes")
    if node and tasks > node:
        return f"it wants {tasks} slots on one node, a node has {node}"
    if most and wants.walltime and wants.walltime + MARGIN_S > most:
        return f"it wants {span(wants.walltime)}, its queue allows {span(most)}"
    if memory and wants.memory > memory:
        return f"it wants {size(wants.memory)} of memory, a node has {size(memory)}"
    return ""


def unfit(b: Books, site: Site, job: Job) -> float | None:
    """When an agent was made there for one like it, and did not suit; None: not lately."""
    since = b.unfit.get((site.key, shape_of(job)))
    return since if since is not None and b.now - since < UNFIT_S else None


def learn(b: Books, agent: Agent) -> None:
    """An agent has come: if it does not suit a job it was started for, no other one would."""
    pilot = b.pilots[agent.pilot]
    slots = agent.slots
    unit = Unit(agent.site, slots, slots, agent.memory_bytes, agent)
    for job_id in pilot.jobs:
        job = b.jobs.get(job_id)
        if job is None or job.placed or job.state.final:
            continue
        if not any(
            unit.suits(b, job, member.tasks, site_of(job, index), b.now)
            for index, member in enumerate(job.members) if site_of(job, index) in ("", agent.site)
        ):  # fmt: skip
            if len(b.unfit) >= UNFIT_KEPT:
                del b.unfit[next(iter(b.unfit))]
            b.unfit[f"{pilot.user}/{pilot.site}", shape_of(job)] = b.now
