"""What would start now instead of a job that waits, as command lines. Changes nothing."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from relay.broker import pilots
from relay.broker.books import Books
from relay.broker.choose import choose
from relay.broker.events import Message
from relay.broker.markets import Line, rank_of, shape_of
from relay.broker.model import Agent, Job
from relay.broker.supply import MARGIN_S, fits_time
from relay.broker.wants import size, span

TYPED_S = 60.0  # until a person has read and typed a command


class Variant(NamedTuple):
    """The same job, but for something; ``change`` says what."""

    change: str
    tasks: int
    size: int
    pin: str
    site: tuple[str, ...]
    lane: str
    memory: int
    req: str
    walltime: float


def alternatives(b: Books, job: Job) -> list[Message]:
    """The smallest changes that would let it start at once, and what would bring it an agent."""
    if job.pending or job.weightless:
        return []
    out = []
    if not (job.spec or {}).get("job", {}).get("inputs"):  # a command line has none
        found = [one for one in _variants(b, job) if _starts(b, job, one)]
        found = found or [one for one in _all_at_once(b, job) if _starts(b, job, one)]
        out = [{"change": one.change, "command": _command(job, one)} for one in found]
    return out + list(_for_agents(b, job))


def _for_agents(b: Books, job: Job) -> Iterator[Message]:
    """What its user can do about agents that do not come."""
    if job.pool or any(m.pin for m in job.members):
        return
    of = b.sites.get(job.user, {})
    for name in job.wants.site or sorted(of):
        refused = pilots.why_not(b, of[name]) if name in of else None
        if refused is not None:
            away = refused[0] == "away"
            where = "; typed there, this starts it" if away and of[name].host else ""
            yield {"change": f"{refused[1]}{where}", "command": refused[2]}
    if not of and not job.wants.site and not _up(b, job):
        yield {"change": "this host becomes an agent", "command": "gshell agent start"}


def _up(b: Books, job: Job) -> list[Agent]:
    agents = b.market_of(job).agents.values()
    return [a for a in agents if a.conn is not None and not a.draining]


def _same(job: Job) -> Variant:
    wants = job.wants
    tasks = max(m.tasks for m in job.members)
    return Variant(
        "", tasks, job.size, job.members[0].pin, wants.site, job.lane, wants.memory, wants.req,
        wants.walltime,
    )  # fmt: skip


def _variants(b: Books, job: Job) -> Iterator[Variant]:
    same, up = _same(job), _up(b, job)
    if job.lane == "batch":
        what = "in the interactive lane: a batch job beside it keeps a part of the cores"
        yield same._replace(change=what, lane="interactive")
    yield from _less(b, job, up)
    able = sum(1 for a in up if a.room >= same.tasks and fits_time(a, job, b.now))
    if 0 < able < job.size:
        what = f"{able} agent{'s' if able > 1 else ''} instead of {job.size}"
        yield same._replace(change=what, size=able)
    if job.wants.site:
        for site in sorted({a.site for a in up if a.site} - set(job.wants.site)):
            yield same._replace(change=f"at the site {site}", site=(site,))
    if same.pin:
        yield same._replace(change="on another agent", pin="")


def _less(b: Books, job: Job, up: list[Agent]) -> Iterator[Variant]:
    """One thing less, each time: as much as there is."""
    same = _same(job)
    there = [a for a in up if not same.site or a.site in same.site]
    room = max((a.room for a in there), default=0)
    if 0 < room < same.tasks:
        what = f"{room} slot{'s' if room > 1 else ''} instead of {same.tasks}"
        yield same._replace(change=what, tasks=room)
    roomy = [a for a in there if a.room >= min(same.tasks, room)]
    memory = max((a.memory_bytes for a in roomy), default=0) >> 20 << 20
    if 0 < memory < same.memory:
        what = f"{size(memory)} of memory instead of {size(same.memory)}"
        yield same._replace(change=what, memory=memory)
    left = max((a.ends_at or 0.0 for a in roomy), default=0.0)
    left = (left - b.now - MARGIN_S - TYPED_S) // 60 * 60
    if 0 < left < same.walltime:
        what = f"for {span(left)} instead of {span(same.walltime)}: its agents end then"
        yield same._replace(change=what, walltime=left)
    if same.req:
        yield same._replace(change=f"without the requirement {same.req}", req="")


def _all_at_once(b: Books, job: Job) -> Iterator[Variant]:
    """All that is too much, for one of which alone would not do; then on any site, too."""
    up = _up(b, job)
    for names in (job.wants.site, ()):
        one, changes = _same(job)._replace(site=names), []
        if names != job.wants.site:
            changes.append("at any site")
        for less in _less(b, job, [a for a in up if not names or a.site in names]):
            new = {k: v for k, v in less._asdict().items() if v != getattr(_same(job), k)}
            changes.append(str(new.pop("change")))
            one = one._replace(**new)
        if changes:
            yield one._replace(change=", ".join(changes))
        if not job.wants.site:
            return


def _starts(b: Books, job: Job, one: Variant) -> bool:
    """Would it, were it the next one in the queue?"""
    members = [dataclasses.replace(m, tasks=one.tasks, pin=one.pin) for m in job.members]
    other = dataclasses.replace(
        job, members=members[: one.size], lane=one.lane, line=None, held_at={}, avoid={},
        wants=dataclasses.replace(
            job.wants, site=one.site, memory=one.memory, req=one.req, walltime=one.walltime
        ),
    )  # fmt: skip
    market = b.market_of(job)
    line = Line(shape_of(other), other.user, rank_of(other), other)
    guards = [
        x for x in market.lines.values()
        if x.guard is not None and x.rank <= line.rank and x is not job.line
    ]  # fmt: skip
    return choose(b, market, line, other, guards) is not None


def _command(job: Job, one: Variant) -> str:
    words = ["gshell", "run"]
    words += ["-n", str(one.tasks)] if one.tasks > 1 else []
    words += ["-N", str(one.size)] if one.size > 1 else []
    words += ["--pool", job.pool] if job.pool else []
    words += ["--agent", one.pin] if one.pin else []
    words += ["--site", ",".join(one.site)] if one.site else []
    words += ["--lane", one.lane] if one.lane != job.lane else []
    words += ["--memory", f"{one.memory >> 20}M"] if one.memory else []
    words += ["--walltime", _typed(one.walltime)] if one.walltime else []
    words += ["--req", one.req] if one.req else []
    words += ["--prefer", job.wants.rank] if job.wants.rank else []
    words += ["--loss", str(job.wants.loss)] if job.wants.loss is not None else []
    argv = (job.spec or {}).get("argv")
    argv = [str(word) for word in argv] if isinstance(argv, list) else []
    shown = shlex.join(argv) if argv else (job.argv0 or "COMMAND")
    return f"{shlex.join(words)} -- {shown}"


def _typed(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
