"""How many pilots a user's sites should have: what waits, against what is there or on its way.

`plan` looks at the books and says what should be done now; it changes nothing, and the same books
give the same answer. `run` does it, at most once a second for each user.

Every waiting job is counted once: it takes its places out of what is free or will be; what is left
over at the end is waiting, or not needed.
"""

from __future__ import annotations

from typing import NamedTuple

from relay.broker import pilots, places
from relay.broker.books import Books
from relay.broker.model import Agent, Job
from relay.broker.sitemodel import RUNNING, Site
from relay.broker.supply import (
    COMES_S,
    MARGIN_S,
    Unit,
    could_run,
    counts,
    idle,
    node_slots,
    pending,
    shape_of,
    site_of,
    too_much,
    unfit,
    units_of,
)

OWN_S = 120.0  # of a pilot's walltime, for its own beginning and end
LINGER_S = 15.0  # nobody has waited for a queued pilot so long: it goes. Else it would come and go
EVERY_S = 1.0  # between two plans for one user, ...
SOONER_S = 0.05  # ... if a job has come,
SHORT = 200  # ... and no more wait than this
IDLE_S = 600.0  # of agents whose site is not there any more
LOOKED = 2000  # waiting jobs that are looked at in one plan, ...
LOOKS = 100_000  # ... at so many agents and nodes
AT_ONCE = 64  # pilots that one plan starts


class Start(NamedTuple):
    site: str
    nodes: int
    slots: int
    walltime: float
    memory: int
    jobs: tuple[int, ...]
    """For which."""


class Cancel(NamedTuple):
    pilot: str
    why: str


class StopAgent(NamedTuple):
    agent: str
    why: str


class Spare(NamedTuple):
    """Nobody waits for this pilot: if it stays so, it is canceled."""

    pilot: str


Step = Start | Cancel | StopAgent | Spare


# -------------------------------------------------------------------------------------- the plan


def plan(b: Books, user: str, now: float) -> list[Step]:
    """What should be done for this user's sites now."""
    return _Plan(b, user, now).steps()


class _Plan:
    def __init__(self, b: Books, user: str, now: float) -> None:
        self.b, self.user, self.now = b, user, now
        self.sites = b.sites.get(user, {})
        self.units = units_of(b, user, now)
        self.left = sum(1 for unit in self.units if unit.room > 0)
        self.by_site: dict[str, list[Unit]] = {}
        for unit in self.units:
            self.by_site.setdefault(unit.site, []).append(unit)
        self.seen: dict[object, int] = {}
        self.full: dict[str, int] = {}  # so many at the front are taken: of a site, of all
        self.looks = 0
        self.cut_short = False
        """There were too many to look at all: what nobody has taken may be wanted."""
        self.live = b.pilots_of.get(user, {})
        self.starts: list[Start] = []
        self.able = {name for name, site in self.sites.items() if not pilots.why_not(b, site)}
        self.there = {name: self._there(name) for name in self.sites}
        self.coming = dict.fromkeys(self.sites, 0)
        for unit in self.units:
            if unit.pilot is not None and unit.site in self.coming:
                self.coming[unit.site] += 1
        self.room = {name: self._room(site) for name, site in self.sites.items()}
        self.hopeless: set[object] = set()
        self.runnable: dict[object, bool] = {}

    def _there(self, name: str) -> int:
        """A site's agents: those there, and those to come."""
        bound = sum(
            1 for a in self.b.agents_of.get(self.user, {}).values() if a.pilot and a.site == name
        )
        return bound + sum(p.nodes - p.nodes_came for p in self.live.values() if p.site == name)

    def _room(self, site: Site) -> int:
        """How many more agents it may have."""
        most = pilots.room(self.b, site) * site.nodes
        return max(0, min(site.max_agents - self.there[site.name], most))

    def steps(self) -> list[Step]:
        self._cover()
        for name in sorted(self.able):
            self._keep_waiting(self.sites[name])
        return [*self.starts[:AT_ONCE], *self._stops()]

    # ------------------------------------------------------------------------------------- demand

    def _cover(self) -> None:
        for looked, job_id in enumerate(self.b.queues.get(self.user, ())):
            if self.left == 0 and not any(self.room[name] for name in self.able):
                return
            if looked >= LOOKED or self.looks >= LOOKS or len(self.starts) >= AT_ONCE:
                self.cut_short = True
                return
            job = self.b.jobs[job_id]
            if not counts(self.b, job):
                continue
            asks = self._may_ask(job)
            key = (shape_of(job), asks)
            if key not in self.hopeless and not self._cover_one(job, asks):
                self.hopeless.add(key)

    def _may_ask(self, job: Job) -> bool:
        """May a site be asked for it already?"""
        if job.wants.site or self.now - job.created_at >= self.b.settings.autoscale_after_s:
            return True
        shape = shape_of(job)
        if shape not in self.runnable:
            self.runnable[shape] = could_run(self.b, job)
        return not self.runnable[shape]

    def _cover_one(self, job: Job, asks: bool) -> bool:
        """Give its members places; False: there are none, and none can be had."""
        order = sorted(range(job.size), key=lambda i: -job.members[i].tasks)
        found: dict[int, Unit] = {}
        for index in order:
            unit = self._find(job, index)
            if unit is not None:
                unit.taken = True
                found[index] = unit
        missing = [index for index in order if index not in found]
        for unit in found.values():
            unit.taken = False
        if missing and not (asks and self._ask(job, missing)):
            if asks and job.size > 1:  # no more for it now; what is on its way to it may come
                for unit in found.values():
                    if unit.pilot is not None:
                        self._take(unit, job, unit.room)
            return False
        later = bool(missing) or any(unit.agent is None for unit in found.values())
        for index, unit in found.items():
            unit.promised = unit.promised or later
            self._take(unit, job, job.members[index].tasks)
        return True

    def _find(self, job: Job, index: int) -> Unit | None:
        tasks, site = job.members[index].tasks, site_of(job, index)
        # Room only shrinks: where one of this shape has looked in vain, no other one finds any.
        key = (shape_of(job), site) if job.size == 1 else None
        named = site or (job.wants.site[0] if len(job.wants.site) == 1 else "")
        units = self.by_site.get(named, []) if named else self.units
        full = self.full.get(named, 0)
        while full < len(units) and units[full].room == 0:
            full += 1
        self.full[named] = full
        first = max(full, self.seen.get(key, 0) if key else 0)
        for at in range(first, len(units)):
            unit = units[at]
            if not unit.taken and unit.room > 0 and unit.suits(self.b, job, tasks, site, self.now):
                break
        else:
            at, unit = len(units), None
        self.looks += at - first
        if key:
            self.seen[key] = at
        return unit

    def _take(self, unit: Unit, job: Job, tasks: int) -> None:
        unit.room = 0 if job.wants.whole else max(0, unit.room - tasks)
        self.left -= unit.room == 0

    def _ask(self, job: Job, missing: list[int]) -> bool:
        """Start pilots for these members; False: it cannot be, or not now."""
        by_site: dict[str, list[int]] = {}
        for index in missing:
            by_site.setdefault(site_of(job, index), []).append(index)
        chosen = []
        for name, indices in by_site.items():
            site = self._site_for(job, name, indices)
            if site is None:
                return False
            chosen.append((site, indices))
        for site, indices in chosen:
            self._start(site, job, indices)
        return True

    def _site_for(self, job: Job, name: str, indices: list[int]) -> Site | None:
        """Of those that could have it, who has the fewest on their way."""
        named = [name] if name else job.wants.site or sorted(self.sites)
        able = [
            name for name in named
            if name in self.able and self._could(self.sites[name], job, indices)
        ]  # fmt: skip
        best = min(able, key=lambda name: self.coming[name], default=None)
        return self.sites[best] if best is not None else None

    def _could(self, site: Site, job: Job, indices: list[int]) -> bool:
        if len(indices) > self.room[site.name] or too_much(site, job):
            return False
        return unfit(self.b, site, job) is None

    def _start(self, site: Site, job: Job, indices: list[int]) -> None:
        wants = job.wants
        left = list(indices)
        while left:
            nodes = min(max(site.nodes, 1), self.room[site.name])
            members = [job.members[i].tasks for i in left[:nodes]]
            slots = site.slots or (max(members) if max(members) > 1 else 0)
            walltime = shape_walltime(site, wants.walltime)
            memory = max(site.memory, wants.memory)
            self.starts.append(Start(site.name, nodes, slots, walltime, memory, (job.id,)))
            self.room[site.name] -= nodes
            self.coming[site.name] += nodes
            has = slots or node_slots(site)
            for i in range(nodes):
                unit = Unit(site.name, has, has, memory, walltime=walltime)
                self.units.append(unit)
                self.by_site.setdefault(site.name, []).append(unit)
                self.left += 1
                if i < len(members):
                    self._take(unit, job, members[i])
                if unit.room > 0:
                    self.hopeless.clear()  # others like those before may find room in it
            del left[:nodes]

    # --------------------------------------------------------------------------- what is left over

    def _waiting(self, name: str) -> list[Unit]:
        """Of a site: whole units that nobody has taken."""
        return [
            unit for unit in self.units
            if unit.site == name and unit.room == unit.slots and not unit.free_at
            and (unit.agent is None or self._waits(unit.agent))
        ]  # fmt: skip

    def _waits(self, agent: Agent) -> bool:
        lasts = agent.ends_at is None or agent.ends_at >= self.now + MARGIN_S
        return bool(agent.pilot) and lasts and idle(self.b, agent)

    def _keep_waiting(self, site: Site) -> None:
        lacks = site.min_waiting - len(self._waiting(site.name))
        while lacks > 0 and self.room[site.name] > 0:
            nodes = min(max(site.nodes, 1), self.room[site.name])
            walltime = shape_walltime(site, 0.0)
            self.starts.append(Start(site.name, nodes, site.slots, walltime, site.memory, ()))
            self.room[site.name] -= nodes
            lacks -= nodes

    def _stops(self) -> list[Step]:
        steps: list[Step] = []
        waiting = {name: self._waiting(name) for name in self.sites}
        extra = {name: len(units) - self.sites[name].min_waiting for name, units in waiting.items()}
        unused: dict[str, int] = {}  # pilot -> nodes to come that nobody has taken
        for unit in self.units:
            if unit.pilot is not None and unit.room == unit.slots:
                unused[unit.pilot.id] = unused.get(unit.pilot.id, 0) + 1
        for pilot in reversed(self.live.values()):
            late = pilot.running_at is not None and self.now - pilot.running_at > COMES_S
            if late and not pilot.nodes_came and not pilot.canceled and pilot.state == RUNNING:
                steps.append(Cancel(pilot.id, pilots.NO_AGENT))
            if pilot.by_hand or pilot.canceled or pilot.state == RUNNING or pilot.nodes_came:
                continue
            if self.cut_short:
                continue
            nodes = pilot.nodes
            if unused.get(pilot.id, 0) < nodes or extra.get(pilot.site, nodes) < nodes:
                continue
            extra[pilot.site] = extra.get(pilot.site, nodes) - nodes
            since = pilot.unneeded_at
            if since is not None and self.now - since >= LINGER_S:
                steps.append(Cancel(pilot.id, "nobody waits for it any more"))
            else:
                steps.append(Spare(pilot.id))
        return [*steps, *self._idle_ends(extra)]

    def _idle_ends(self, extra: dict[str, int]) -> list[Step]:
        """Agents that have waited too long; of a pilot all or none, for one may be the others'
        way out."""
        # Taken by a job that is not placed there, though it is free: that job does not want it.
        vain = {u.agent.id for u in self.units if u.agent and u.room < u.slots and not u.promised}
        steps: list[Step] = []
        rows: dict[str, list[Agent]] = {}
        for agent in self.b.agents_of.get(self.user, {}).values():
            if agent.pilot:
                rows.setdefault(agent.pilot, []).append(agent)
        for agents in sorted(rows.values(), key=lambda row: max(a.idle_since for a in row)):
            site = self.sites.get(agents[0].site)
            limit = self.now - (site.idle if site is not None else IDLE_S)
            pilot = self.live.get(agents[0].pilot)
            if pilot is not None and pending(pilot, self.now):
                continue
            if not all(
                a.conn is not None and idle(self.b, a) and a.idle_since <= limit
                and not a.stopping
                for a in agents
            ):  # fmt: skip
                continue
            name = agents[0].site
            counted = sum(
                1 for a in agents if not a.draining and self._waits(a) and a.id not in vain
            )
            if site is not None and extra[name] < counted:
                continue
            if site is not None:
                extra[name] -= counted
            why = f"it had nothing to do for {self.now - agents[0].idle_since:.0f} s"
            steps += [StopAgent(a.id, why) for a in agents]
        return steps


def shape_walltime(site: Site, wanted: float) -> float:
    """Of a pilot that is to hold a job of this walltime; 0: as the site has it."""
    return max(site.walltime, wanted + MARGIN_S + OWN_S) if wanted else site.walltime


# --------------------------------------------------------------------------------------- doing it


def on_tick(b: Books) -> None:
    """Who waits longer may ask for more, and what waits for work may have waited too long."""
    b.scale.update(b.sites)


def run(b: Books) -> None:
    """At the end of a round; each user at most once a second, but soon for who has just asked."""
    if not b.sites:
        b.scale.clear()
        b.joined_queue.clear()
        return
    for user in [user for user in b.scale if user not in b.sites]:
        b.scale.discard(user)
    for user in sorted(b.scale):
        soon = user in b.joined_queue and len(b.queues.get(user, ())) <= SHORT
        if b.now - b.scaled_at.get(user, 0.0) >= (SOONER_S if soon else EVERY_S):
            b.scaled_at[user] = b.now
            b.scale.discard(user)
            b.joined_queue.discard(user)
            perform(b, user, plan(b, user, b.now))


def perform(b: Books, user: str, steps: list[Step]) -> None:
    spare = set()
    for step in steps:
        match step:
            case Start(name, nodes, slots, walltime, memory, jobs):
                site = b.sites[user][name]
                if pilots.room(b, site) > 0:
                    pilots.start(b, site, nodes, slots, walltime, memory, jobs=jobs)
            case Cancel(pilot, why):
                pilots.cancel(b, b.pilots[pilot], why)
            case StopAgent(agent, why):
                _stop(b, b.agents[agent], why)
            case Spare(pilot):
                spare.add(pilot)
    for live in b.pilots_of.get(user, {}).values():
        if live.id not in spare:
            live.unneeded_at = None
        elif live.unneeded_at is None:
            live.unneeded_at = b.now


def _stop(b: Books, agent: Agent, why: str) -> None:
    agent.stopping = agent.draining = True
    pilots.release(b, agent)
    b.audit(agent.user, "stop-agent", f"agent {agent.id}", why=why)
    b.touch(agent)
    b.tell_agent(agent.id, {"m": "stop"})
    places.touch(b, agent)
