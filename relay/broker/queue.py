"""Who is next: waiting jobs get places, in order, as agents have room.

Interactive jobs first; then who has had least; then first come, first served. One that could not
run even if everything were idle lets the others pass; for one that only has to wait, what suits it
is kept (see `backfill`), or a large one would starve.
"""

from __future__ import annotations

from collections.abc import Callable

from relay.broker import backfill, fairshare, holds
from relay.broker.books import Books
from relay.broker.choose import Place, choose, possible
from relay.broker.markets import BATCH, INTERACTIVE, WEIGHTLESS, Guard, Line, Market
from relay.broker.matching import suits
from relay.broker.model import Agent, Job
from relay.broker.states import JobState

Placed = Callable[[Books, Job], None]


def place_all(b: Books, placed: Placed) -> None:
    """Go through the markets in which something has changed."""
    while b.dirty:
        key = next(iter(b.dirty))
        del b.dirty[key]
        market = b.markets.get(key)
        if market is not None:
            place(b, market, placed)


def place(b: Books, market: Market, placed: Placed) -> None:
    """Give places to whom they belong now; ``placed`` is told of each."""
    if not (market.gained or market.untried or market.shrunk or market.arrived):
        return
    _look_around(b, market)
    gained, market.gained = market.gained, {}
    untried, market.untried = market.untried, False
    epoch = market.epoch
    guards: list[Line] = []
    near: list[Line] = []  # those of them that may mind who takes what was gained
    _settle(b)
    shares = fairshare.share if market.agents and _pooled(market) else _alike
    room = _has_room(market)
    for first, line in market.in_order(lambda user: shares(b, user)):
        if line.rank != WEIGHTLESS and not room:
            break
        if market.epoch != epoch:
            untried, epoch = True, market.epoch
        if not untried and not gained:
            break
        # Most lines are of no concern to the few agents with more room: they are only guards.
        concerned = line.tried != market.epoch or _suited(b, line, gained)
        job = b.jobs[first]
        places = _try(b, market, line, job, guards, near, gained) if concerned else None
        if places is not None:
            hold(b, job, places)
            _settle(b)
            placed(b, job)
            room = _has_room(market)
            if line.rank != WEIGHTLESS:  # else the next lines are found blocked, and that is dear
                gained = {name: agent for name, agent in gained.items() if _takes(agent)}
            continue
        if line.tried != market.epoch or line.guard is None:
            line.tried = market.epoch
            if not _guarded(b, market, line, job):
                continue
        elif line.guard.at is not None and line.guard.at < b.now:
            line.guard = Guard()
        if not guards and market.head != first:
            market.head = first  # those before it have started: what was found is of before that
            line.guard = Guard()
        guards.append(line)
        if len(guards) >= b.settings.depth:
            break
        if concerned:
            near.append(line)
            gained = {
                name: agent for name, agent in gained.items()
                if line.guard is None or line.guard.agents is not None
                or agent.held or agent.shared_room > 0
                or backfill.allows(b, line, agent, job, 1)
            }  # fmt: skip
    # Placing frees nothing: whoever was reached has been tried, and the others have to wait.


def _try(
    b: Books, market: Market, line: Line, job: Job, guards: list[Line], near: list[Line],
    gained: dict[str, Agent],
) -> list[Place] | None:  # fmt: skip
    if job.gathers:
        return holds.gather(b, market, line, job, guards)
    if line.tried != market.epoch or job.size > 1 or job.members[0].pin:
        return choose(b, market, line, job, guards)
    return choose(b, market, line, job, near, gained)


def _guarded(b: Books, market: Market, line: Line, job: Job) -> bool:
    """It is blocked: keep something for it. False: it will never run here as things are."""
    if line.rank == WEIGHTLESS or job.warm:
        return False
    if not job.gathers and not line.able:
        line.able = possible(b, market, line, job)
        if not line.able:
            market.sleep(line)
            return False
    if line.guard is None:
        line.guard = Guard()
    return True


def _look_around(b: Books, market: Market) -> None:
    """Agents have come, or left: who could run at all?"""
    arrived, market.arrived = market.arrived, {}
    for line in list(market.asleep.values()) if arrived else ():
        if any(suits(b, line, agent) for agent in arrived.values()):
            market.wake(line)
    if market.shrunk:
        market.shrunk = False
        for line in market.lines.values():
            line.able = False
            line.guard = None
        market.again()


def _suited(b: Books, line: Line, agents: dict[str, Agent]) -> bool:
    for agent in agents.values():  # noqa: SIM110  # asked for every line, at every end of a job
        if suits(b, line, agent):
            return True
    return False


def _takes(agent: Agent) -> bool:
    """Is there room for anybody who takes a slot?"""
    return agent.room > 0 or agent.held > 0 or agent.shared_room > 0


def _has_room(market: Market) -> bool:
    """For anybody; a co-allocation looks at more than that."""
    return (
        market.rooms.largest() > 0
        or bool(market.held or market.gathering)
        or market.shared.largest() > 0
    )


def _pooled(market: Market) -> bool:
    return any(len(rows) > 1 for rows in (market.rows[BATCH], market.rows[INTERACTIVE]))


def _alike(b: Books, user: str) -> float:
    return 0.0


def _settle(b: Books) -> None:
    """What runs on pools' agents has changed: so have the shares."""
    while b.uncounted:
        fairshare.recount(b, b.uncounted.popitem()[1])


def hold(b: Books, job: Job, places: list[Place]) -> None:
    """These are its places: nobody else gets them."""
    line = job.line
    if (
        line is not None
        and line.guard is not None
        and (line.guard.at is not None or line.guard.agents is not None or job.gathers)
    ):
        line.guard = None  # its next one is guarded anew
        b.market_of(job).again()
    b.unqueue(job)
    job.go(JobState.HELD)
    job.abandon_at = None
    job.note = ""
    for index, (member, place) in enumerate(zip(job.members, places, strict=True)):
        agent = place.agent
        b.choices += 1
        agent.chosen = b.choices
        member.agent_id = agent.id
        member.host = agent.host
        member.lane = place.lane if place.lane != job.lane else ""
        occupy(b, agent, job, index, 0 if job.warm else None)
    b.keep(job)


def occupy(b: Books, agent: Agent, job: Job, index: int, tasks: int | None = None) -> None:
    """The member takes its slots there; ``tasks``: so many, whatever it asked for."""
    member = job.members[index]
    whole = job.wants.whole and not job.weightless
    if tasks is None or (whole and tasks):
        tasks = agent.slots if whole else job.slots_of(member)
    agent.put((job.id, index), tasks, member.lane or job.lane, whole)
    b.touch(agent)
