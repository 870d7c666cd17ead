"""Why a job waits, for a person: what is missing, what it waits for, what would start now.

Nothing is invented: what nobody said is not known. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relay.broker import backfill, choose, fairshare, holds, instead, matching, outlook
from relay.broker.books import Books
from relay.broker.events import Message
from relay.broker.markets import Line, rank_of, shape_of
from relay.broker.model import Agent, Job
from relay.broker.states import JobState
from relay.broker.supply import MARGIN_S, fits_time
from relay.broker.views import job_view
from relay.broker.wants import size, span

_NAMES = 4  # of agents or jobs in one sentence
_TEXTS = 100  # kinds of jobs that a list explains: nobody reads more


def text(b: Books, job: Job) -> str:
    """One line: the first thing that keeps it from starting."""
    if job.pending:
        return _after(b, job)
    for pin in (m.pin for m in job.members if m.pin):
        agent = b.agents.get(pin)
        if agent is None or not _serves(agent, job):
            return f"there is no agent {pin}"
        if agent.conn is None:
            return f"agent {pin} is away"
    said = _gathering(b, job) or _sites(b, job) or _here(b, job)
    return f"{job.note}; {said}" if job.note else said


def explain(b: Books, job: Job) -> Message:
    """The WHY of gshell/net/CONTROL.md."""
    waiting = job.state.value < JobState.HELD.value
    if not waiting:
        return {"job": str(job.id), "state": job.state.name, "text": _not_waiting(b, job),
                "missing": [], "waits": [], "now": [], "position": 0, "eta": None}  # fmt: skip
    missing = list(_missing(b, job))
    at = eta(b, job) if not missing else None
    queue = b.queues.get(job.user, {})
    position = sum(1 for i in queue if i < job.id) + 1
    return {
        "job": str(job.id), "state": job.state.name, "text": text(b, job), "missing": missing,
        "waits": list(_waits(b, job, missing, at)), "now": instead.alternatives(b, job),
        "position": position, "eta": at,
    }  # fmt: skip


def briefly(b: Books) -> Callable[[Job], Message]:
    """JOBs with the reason why each waits; found once for those that wait for the same."""
    texts: dict[int, str] = {}

    def view(job: Job) -> Message:
        out = job_view(job)
        if job.state.value < JobState.HELD.value:
            line = job.line
            if line is None or job.note:
                out["why"] = text(b, job)
            elif id(line) in texts or len(texts) < _TEXTS:
                out["why"] = texts.get(id(line)) or texts.setdefault(id(line), text(b, job))
            if line is not None and line.first == job.id and len(texts) < _TEXTS:
                out["eta"] = eta(b, job)
        return out

    return view


# ------------------------------------------------------------------------------------ single facts


def _serves(agent: Agent, job: Job) -> bool:
    return job.pool == agent.pool if agent.pool or job.pool else job.user == agent.user


def _up(b: Books, job: Job) -> list[Agent]:
    agents = b.market_of(job).agents.values()
    return [a for a in agents if a.conn is not None and not a.draining]


def _line(job: Job) -> Line:
    """Where it stands, or would."""
    return job.line if job.line is not None else Line(shape_of(job), job.user, rank_of(job), job)


def _after(b: Books, job: Job) -> str:
    names = [str(i) for i in job.pending[:_NAMES]]
    more = len(job.pending) - len(names)
    rest = f" and {more} more" if more > 0 else ""
    return f"it starts after job{'s' if len(job.pending) > 1 else ''} {', '.join(names)}{rest}"


def _here(b: Books, job: Job) -> str:
    return _nobody(b, job) or _unsuited(b, job) or _full(b, job)


def _sites(b: Books, job: Job) -> str:
    """What its sites do for it; and what it lacks on the agents that are there, if nothing is on
    its way and it is not just that."""
    coming = outlook.explain(b, job)
    if coming is None:
        return ""
    lacks = ""
    if not (outlook.coming(b, job) or outlook.lacking(b, job) or _nobody(b, job)):
        lacks = _unsuited(b, job)
    return f"{lacks}; {coming[0]}" if lacks and coming[0] else lacks or coming[0]


def _nobody(b: Books, job: Job) -> str:
    agents = b.market_of(job).agents
    if job.pool and job.pool not in b.groups_of.get(job.user, ()):
        return f"{job.user} is not in the group {job.pool} any more"
    if not agents:
        return f"no agent of {_whose(job, 'the pool', 'yours')} is connected"
    if not _up(b, job):
        whose = f"agents of the pool {job.pool}" if job.pool else "your agents"
        return f"all {whose} are away or draining"
    return ""


def _whose(job: Job, pool: str, own: str) -> str:
    return f"{pool} {job.pool}" if job.pool else own


def _unsuited(b: Books, job: Job) -> str:
    """No agent that is there would do, busy or not."""
    market, line = b.market_of(job), _line(job)
    if choose.possible(b, market, line, job):
        return ""
    up = _up(b, job)
    largest = max(a.slots for a in up)
    tasks = max(m.tasks for m in job.members)
    if tasks > largest and not job.weightless:
        return f"it needs {tasks} slots on one agent; the largest agent has {largest}"
    if lacks := _lacks(b, job):
        return lacks
    if job.size > 1:
        return f"it needs {job.size} agents with enough slots; {len(up)} are connected"
    return "no agent that is connected meets all that it asks for"


def _lacks(b: Books, job: Job) -> str:
    """The first requirement that nobody meets."""
    for one in _missing(b, job):
        if one["what"] != "agents":
            what = "" if one["what"] == "requirement" else f"{one['what']} "
            return f"nobody offers {what}{one['wanted']}; nearest: {one['best']}"
    return ""


def _gathering(b: Books, job: Job) -> str:
    """What it has, and what is known of the rest."""
    if not job.gathers:
        return ""
    have, missing = len(job.held_at), holds.lacking(job)
    for name in job.wants.site:
        if name not in b.sites.get(job.user, {}) and not _up_at(b, job, name):
            return f"there is no site {name} of yours; gshell sites"
    parts = [f"{n} at {site}" if site else f"{n} more" for site, n in missing.items()]
    rest = f"waits for {' and '.join(parts)}"
    if have:
        rest = f"{have} of its {job.size} agents {'is' if have == 1 else 'are'} kept for it; {rest}"
    elif any(missing):
        rest += f" of its {job.size} agents"
    else:
        rest = f"waits for {job.size} agents"
    known = outlook.explain(b, job, missing)
    more = "" if outlook.coming(b, job, missing) else _lacks(b, job)
    return ": ".join(filter(None, (rest, more or (known[0] if known else ""))))


def _up_at(b: Books, job: Job, site: str) -> bool:
    return any(agent.site == site for agent in _up(b, job))


def _full(b: Books, job: Job) -> str:
    first = _blocker(b, job)
    if first is not None:
        return f"what is free is kept for job {first.id}, which came before and needs more"
    return "all slots are in use"


def _blocker(b: Books, job: Job) -> Job | None:
    """Whom it would pass, if it started now."""
    market, line = b.market_of(job), _line(job)
    if job.line is None or choose.choose(b, market, line, job) is None:
        return None
    for other in market.lines.values():
        if other.guard is not None and other is not line:
            first = b.jobs[other.first]
            if choose.choose(b, market, line, job, [other]) is None:
                return first
    return None


def _not_waiting(b: Books, job: Job) -> str:
    if job.state.final:
        return f"it has ended: {job.state.name.lower()}" + (f", {job.error}" if job.error else "")
    agents = list(dict.fromkeys(m.agent_id for m in job.members if m.agent_id))
    where = f"agent{'s' if len(agents) > 1 else ''} {', '.join(agents[:_NAMES])}"
    attempt = f", attempt {job.attempt}" if job.attempt > 1 else ""
    phase = next((m.phase for m in job.members if m.phase), "")
    if phase in ("prologue", "epilogue"):
        return f"its {phase} runs on {where}{attempt}"
    if job.state is JobState.STAGE_IN and any(m.staged != "stage-in" for m in job.members):
        return f"its input files are being brought to {where}{attempt}"
    if job.state is JobState.STAGE_OUT:
        return f"its output files are being fetched from {where}"
    if not job.started:
        return f"its place is kept on {where}: it starts"
    return f"it runs on {where}{attempt}"


# --------------------------------------------------------------------------------------- the whole


def _missing(b: Books, job: Job) -> Iterator[Message]:
    """Requirements that no agent which is there meets, with the nearest offer: each of those that
    meet what is named before."""
    up, wants = _up(b, job), job.wants
    if not up:
        return
    for site in wants.site:
        if not any(a.site == site for a in up):
            if site in b.sites.get(job.user, {}):
                return  # its agents are still to come: of them nothing is known
            have = sorted({a.site for a in up if a.site})
            yield _lack("site", site, f"agents at {', '.join(have)}" if have else "agents at none")
    up = [a for a in up if not wants.site or a.site in wants.site] or up
    tasks, largest = max(m.tasks for m in job.members), max(up, key=lambda a: a.slots)
    if tasks > largest.slots and not job.weightless:
        yield _lack("slots on one agent", tasks, f"{largest.slots} (agent {largest.id})")
    up = [a for a in up if a.slots >= tasks] or up
    if wants.memory:
        biggest = max(up, key=lambda a: a.memory_bytes)
        if biggest.memory_bytes < wants.memory:
            yield _lack("memory", size(wants.memory),
                        f"{size(biggest.memory_bytes)} (agent {biggest.id})")  # fmt: skip
        up = [a for a in up if a.memory_bytes >= wants.memory] or up
    lacks = list(_untrue(b, job, up))
    yield from lacks
    if wants.req and not lacks and b.matcher is not None:
        up = [a for a in up if matching.agrees(b, job, a)] or up
    if not any(fits_time(a, job, b.now) for a in up):
        last = max(up, key=lambda a: a.ends_at or 0.0)
        left = max(0.0, (last.ends_at or 0.0) - b.now - MARGIN_S)
        yield _lack("walltime", span(wants.walltime), f"{span(left)} (agent {last.id})")
    if job.size > len(up):
        yield _lack("agents", job.size, f"{len(up)}")


def _untrue(b: Books, job: Job, up: list[Agent]) -> Iterator[Message]:
    """Parts of the requirements that are true nowhere, by the agent that meets most of them."""
    wants = job.wants
    if not wants.req:
        return
    if b.matcher is None:
        yield _lack("requirements", wants.req, "this relay cannot evaluate them")
        return
    found = [(b.matcher.explain(wants.job_ad, wants.req, matching.offer(a)), a) for a in up]
    if any(b.matcher.suits(wants.job_ad, wants.req, matching.offer(a)) for _, a in found):
        return
    parts, nearest = min(found, key=lambda pair: len(pair[0]))
    for part, value in parts:
        yield _lack("requirement", part, f"{value} (agent {nearest.id})")


def _lack(what: str, wanted: object, best: str) -> Message:
    return {"what": what, "wanted": str(wanted), "best": best}


def _waits(b: Books, job: Job, missing: list[Message], at: float | None) -> Iterator[Message]:
    if job.pending:
        yield {"for": "jobs", "text": _after(b, job), "eta": None}
    elif (none := _nobody(b, job)) or missing:
        yield {"for": "agent", "text": none or "an agent that offers what nobody does",
               "eta": _coming(b, job)}  # fmt: skip
    elif job.gathers:
        yield {"for": "agents", "text": _gathering(b, job), "eta": at}
    elif coming := outlook.explain(b, job):
        yield {"for": "agent", "text": coming[0] or "an agent", "eta": coming[1]}
    else:
        first = _blocker(b, job)
        what = "jobs that came before" if first is not None else "slots"
        yield {"for": what, "text": _full(b, job), "eta": at}


def _coming(b: Books, job: Job) -> float | None:
    """When an agent that is on its way is expected."""
    coming = outlook.explain(b, job)
    return coming[1] if coming else None


def eta(b: Books, job: Job) -> float | None:
    """When it starts at the latest, by what those before it said; None: nobody knows."""
    if job.pending or job.line is None:
        return None
    if job.gathers:
        return backfill.expected(b, job)
    market = b.market_of(job)
    ahead = market.in_order(lambda user: fairshare.share(b, user))
    number, line = next(ahead, (0, None))
    if line is None or line is not job.line or number != job.id:
        return None  # only of the first something is known
    at = backfill.estimate(b, line)
    return at if at is not None and at >= b.now else None
