"""What would start now instead of a job that waits, as command lines. Changes nothing."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from relay.broker.books import Books
from relay.broker.choose import choose
from relay.broker.events import Message
from relay.broker.markets import Line, rank_of, shape_of
from relay.broker.model import Job


class Variant(NamedTuple):
    """The same job, but for something; ``change`` says what."""

    change: str
    tasks: int
    size: int
    pin: str
    site: tuple[str, ...]
    lane: str


def alternatives(b: Books, job: Job) -> list[Message]:
    """The smallest changes that would let it start at once."""
    if job.pending or job.weightless:
        return []
    return [
        {"change": one.change, "command": _command(job, one)}
        for one in _variants(b, job)
        if _starts(b, job, one)
    ]


def _variants(b: Books, job: Job) -> Iterator[Variant]:
    tasks = max(m.tasks for m in job.members)
    same = Variant("", tasks, job.size, job.members[0].pin, job.wants.site, job.lane)
    up = [a for a in b.market_of(job).agents.values() if a.conn is not None and not a.draining]
    if job.lane == "batch":
        what = "in the interactive lane: a batch job beside it keeps a part of the cores"
        yield same._replace(change=what, lane="interactive")
    room = max((a.room for a in up), default=0)
    if 0 < room < tasks:
        what = f"{room} slot{'s' if room > 1 else ''} instead of {tasks}"
        yield same._replace(change=what, tasks=room)
    able = sum(1 for a in up if a.room >= tasks)
    if 0 < able < job.size:
        what = f"{able} agent{'s' if able > 1 else ''} instead of {job.size}"
        yield same._replace(change=what, size=able)
    if job.wants.site:
        for site in sorted({a.site for a in up if a.site} - set(job.wants.site)):
            yield same._replace(change=f"at the site {site}", site=(site,))
    if same.pin:
        yield same._replace(change="on another agent", pin="")


def _starts(b: Books, job: Job, one: Variant) -> bool:
    """Would it, were it the next one in the queue?"""
    members = [dataclasses.replace(m, tasks=one.tasks, pin=one.pin) for m in job.members]
    other = dataclasses.replace(
        job, members=members[: one.size], lane=one.lane, line=None, held_at={}, avoid={},
        wants=dataclasses.replace(job.wants, site=one.site),
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
    words += ["--req", job.wants.req] if job.wants.req else []
    argv = (job.spec or {}).get("argv")
    argv = [str(word) for word in argv] if isinstance(argv, list) else []
    shown = shlex.join(argv) if argv else (job.argv0 or "COMMAND")
    return f"{shlex.join(words)} -- {shown}"
