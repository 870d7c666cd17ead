"""Who could run where: agents by the room they have, waiting jobs by what they need.

One market for each user's own agents, and one for each pool. Tables, kept as things change;
decides nothing.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from relay.broker.model import Agent, Job, Member

_FACTS = 512  # kinds of jobs of which it is remembered who suits them
WEIGHTLESS, INTERACTIVE, BATCH = range(3)  # in this order they are served


def key_of(job: Job) -> tuple[str, str]:
    """The market that a job is in."""
    return ("", job.pool) if job.pool else (job.user, "")


def shape_of(job: Job) -> tuple[Any, ...]:
    """What decides where a job can run: of jobs that are equal in this, one is tried for all."""
    one = job.members[0]
    members: tuple[Any, ...] = (one.tasks, one.pin)
    if job.size > 1:
        members = tuple((m.tasks, m.pin) for m in job.members)
    own = job.id if job.avoid or job.gathers else 0
    shape = (job.user, rank_of(job), members, job.warm, job.beside, own)
    return shape + job.wants.kind


def rank_of(job: Job) -> int:
    if job.weightless:
        return WEIGHTLESS
    return INTERACTIVE if job.lane == "interactive" else BATCH


@dataclass(slots=True)
class Guard:
    """What is kept free of later jobs, for one that could not start yet."""

    known: bool = False
    """It was found out: that is dear, and often nobody asks."""

    at: float | None = None
    """When it will start at the latest, by what running jobs said of their length; None: nobody
    knows."""
    agents: dict[str, int] | None = None
    """agent -> slots it gets there then; None: every agent that suits it."""


@dataclass(slots=True, eq=False)
class Line:
    """Waiting jobs of one user that need the same, the oldest first."""

    shape: tuple[Any, ...]
    user: str
    rank: int
    model: Job
    """Any of them: they are all alike."""
    jobs: OrderedDict[int, None] = field(default_factory=OrderedDict)
    tried: int = -1
    """The market's ``epoch`` in which no agent was found for it."""
    asleep: bool = False
    """It could not run even if everything were idle."""
    able: bool = False
    """It could, when that was looked at last; until an agent leaves."""
    guard: Guard | None = None
    """While it is blocked, and could run if others ended."""
    facts: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """agent -> (its ``facts``, does it suit): what a requirement said."""

    @property
    def first(self) -> int:
        return next(iter(self.jobs))


class Rooms:
    """Agents by a number of slots; of equals who was chosen the longest time ago first."""

    def __init__(self) -> None:
        self.of: dict[int, list[tuple[int, str, Agent]]] = {}

    def add(self, room: int, chosen: int, agent: Agent) -> None:
        insort(self.of.setdefault(room, []), (chosen, agent.id, agent))

    def remove(self, room: int, chosen: int, agent: Agent) -> None:
        shelf = self.of[room]
        del shelf[bisect_left(shelf, (chosen, agent.id))]
        if not shelf:
            del self.of[room]

    def largest(self) -> int:
        return max(self.of, default=0)

    def descending(self, least: int) -> Iterator[Agent]:
        """Those with the most room first; nothing may be moved meanwhile."""
        for room in sorted(self.of, reverse=True):
            if room < least:
                return
            for _, _, agent in self.of[room]:
                yield agent


class Market:
    """Invariant: every agent of it that is up is in ``rooms`` by its ``room``; every line has a
    job, and stands in ``rows`` by its first, unless it is asleep."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.rooms = Rooms()
        self.shared = Rooms()
        """Of agents that share their cores: room in the interactive lane, beside what runs."""
        self.held: dict[str, Agent] = {}
        """Agents on which a co-allocation waits for the rest of it."""
        self.lines: dict[tuple[Any, ...], Line] = {}
        self.rows: tuple[dict[str, list[tuple[int, Line]]], ...] = ({}, {}, {})
        self.asleep: dict[tuple[Any, ...], Line] = {}
        self.gathering: dict[int, Job] = {}
        """Co-allocations that wait, by their numbers."""
        self.facts: dict[tuple[Any, ...], dict[str, tuple[int, bool]]] = {}
        """What lines of late found of agents, those that are gone too."""
        self.head = 0
        """The first job in order that is blocked: only of its start something is known."""
        self.epoch = 0
        """Grows when lines that were tried before may find something on any agent."""
        self.untried = False
        """There is a line that was not tried in this epoch."""
        self.gained: dict[str, Agent] = {}
        """Agents with more room than when the lines were tried last."""
        self.arrived: dict[str, Agent] = {}
        """... that were not there then, or were something else."""
        self.shrunk = False
        """An agent has left since: who could run may not be able to now."""

    # --------------------------------------------------------------------------------------- agents

    def index(self, agent: Agent) -> None:
        """Something about it may have changed."""
        up = agent.conn is not None and not agent.draining
        room, shared = (max(0, agent.room), agent.shared_room) if up else (-1, -1)
        facts = agent.facts if up else -1
        was_room, was_shared, was_facts, was_chosen = agent.shelved
        if facts != was_facts:
            if facts >= 0:
                self.arrived[agent.id] = self.gained[agent.id] = agent
            self.shrunk = self.shrunk or was_facts >= 0
        if agent.held and up:
            self.held[agent.id] = agent
        elif self.held:
            self.held.pop(agent.id, None)
        chosen = agent.chosen
        if (room, shared, facts, chosen) == agent.shelved:
            return
        agent.shelved = (room, shared, facts, chosen)
        for rooms, was, new in ((self.rooms, was_room, room), (self.shared, was_shared, shared)):
            if was >= 0:
                rooms.remove(was, was_chosen, agent)
            if new >= 0:
                rooms.add(new, chosen, agent)
        if room > was_room or shared > was_shared:
            self.gained[agent.id] = agent

    def add(self, agent: Agent) -> None:
        self.agents[agent.id] = agent
        self.index(agent)

    def remove(self, agent: Agent) -> None:
        if self.agents.pop(agent.id, None) is None:
            return
        room, shared, facts, chosen = agent.shelved
        for rooms, was in ((self.rooms, room), (self.shared, shared)):
            if was >= 0:
                rooms.remove(was, chosen, agent)
        self.shrunk = self.shrunk or facts >= 0
        agent.shelved = (-1, -1, -1, 0)
        for table in (self.gained, self.arrived, self.held):
            table.pop(agent.id, None)

    # ---------------------------------------------------------------------------------------- lines

    def enter(self, job: Job) -> Line:
        """It waits for a place from now on."""
        shape = shape_of(job)
        line = self.lines.get(shape)
        if line is None:
            line = self.lines[shape] = Line(shape, job.user, rank_of(job), job)
            line.facts = self.facts.pop(shape, line.facts)
            self.facts[shape] = line.facts
            if len(self.facts) > _FACTS:
                del self.facts[next(iter(self.facts))]
            self.untried = True
        if not line.jobs:
            line.jobs[job.id] = None
            self._step_in(line)
        elif job.id > next(reversed(line.jobs)):
            line.jobs[job.id] = None
        else:  # it comes back, and keeps its turn
            self._step_out(line)
            line.jobs[job.id] = None
            for other in sorted(i for i in line.jobs if i > job.id):
                line.jobs.move_to_end(other)
            self._step_in(line)
        if job.gathers:
            self.gathering[job.id] = job
        return line

    def leave(self, job: Job, line: Line) -> None:
        self.gathering.pop(job.id, None)
        if line.first != job.id:
            del line.jobs[job.id]
            return
        self._step_out(line)
        del line.jobs[job.id]
        if line.jobs:
            self._step_in(line)
            return
        del self.lines[line.shape]
        self.asleep.pop(line.shape, None)
        if line.guard is not None:
            self.again()

    def again(self) -> None:
        """What was kept for somebody is so no longer: everybody may try everything."""
        self.epoch += 1
        self.untried = True

    def sleep(self, line: Line) -> None:
        self._step_out(line)
        if line.guard is not None:
            line.guard = None
            self.again()
        line.asleep = True
        self.asleep[line.shape] = line

    def wake(self, line: Line) -> None:
        del self.asleep[line.shape]
        line.asleep = False
        line.tried = -1
        self.untried = True
        self._step_in(line)

    def _step_in(self, line: Line) -> None:
        if not line.asleep:
            insort(
                self.rows[line.rank].setdefault(line.user, []),
                (line.first, line),
                key=_number,
            )

    def _step_out(self, line: Line) -> None:
        if not line.asleep and line.jobs:
            row = self.rows[line.rank][line.user]
            del row[bisect_left(row, line.first, key=_number)]
            if not row:
                del self.rows[line.rank][line.user]

    def in_order(self, share: Callable[[str], float]) -> Iterator[tuple[int, Line]]:
        """(first job, line) as they are to be tried: interactive before batch, of users who has had
        least first (``share``), of a user's the oldest. Who takes a line's first job away, or puts
        it to sleep, is given what is next then."""
        for rows in self.rows:
            if not rows:
                continue
            if len(rows) == 1:
                user, at = next(iter(rows)), 0
                row = rows[user]
                while at < len(row):
                    place = row[at]
                    yield place
                    row = rows.get(user, [])
                    at += at < len(row) and row[at] is place
                continue
            heap = [(share(user), row[0][0], user, 0) for user, row in rows.items()]
            heapq.heapify(heap)
            while heap:
                _, _, user, at = heapq.heappop(heap)
                row = rows.get(user, [])
                if at < len(row):
                    place = row[at]
                    yield place
                    row = rows.get(user, [])
                    at += at < len(row) and row[at] is place
                if at < len(row):
                    heapq.heappush(heap, (share(user), row[at][0], user, at))


def _number(place: tuple[int, Line]) -> int:
    return place[0]


def sites_of(job: Job, index: int) -> str:
    """The site where this member of a co-allocation runs; empty: any of those that are wanted."""
    sites = job.wants.site
    return sites[index * len(sites) // job.size] if job.gathers and sites else ""


def member_fits(job: Job, member: Member, index: int, agent: Agent) -> bool:
    """Were it idle: has the agent the slots, the name, the site?"""
    if member.pin and member.pin != agent.id:
        return False
    if job.slots_of(member) > agent.slots:
        return False
    site = sites_of(job, index) if job.size > 1 else ""
    return not site or site == agent.site
