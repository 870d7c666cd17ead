"""Which events of the feed are worth a line above the prompt. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from gshell.client import events
from gshell.client.render import duration_text, stamp
from gshell.model.sanitize import sanitize
from gshell.repl.facts import Facts

Message = dict[str, Any]
LINE_COLUMNS = 200


class News(NamedTuple):
    """One line, and the job that has ended if that is what it says."""

    text: str
    ended: Message | None = None
    skew_s: float = 0.0


def of(message: Message, before: Message | None, known: Facts, skew_s: float) -> Iterator[News]:
    """``known``: before the event."""
    kind = message.get("kind")
    if kind == "job":
        yield from _job(message["job"], before, skew_s)
    elif kind == "agent":
        agent = message["agent"]
        old = before.get("state") if before is not None else None
        if before is None or (agent.get("state") == "away") != (old == "away"):
            yield _line(events.text(message, before))
    elif kind == "gone" and message["what"] == "agent" and before is not None:
        if before.get("state") != "away":  # that was said already
            yield _line(f"agent {message['id']} has gone")
    elif kind == "resync" and known.known:
        yield from _missed(message, known)


def _line(text: str, ended: Message | None = None, skew_s: float = 0.0) -> News:
    return News(sanitize(text, LINE_COLUMNS), ended, skew_s)


def _job(job: Message, before: Message | None, skew_s: float) -> Iterator[News]:
    ended = job.get("ended_at") is not None
    was = before is not None and before.get("ended_at") is not None
    if ended and not was:
        text = events.text({"kind": "job", "job": job}, before)
        began, end = stamp(job, "started_at"), stamp(job, "ended_at")
        if began is not None and end is not None:
            text += f", {duration_text(end - began)}"
        yield _line(text, job, skew_s)
    elif before and before.get("why") and before.get("state") != "ACTIVE" == job.get("state"):
        # It waited, and said what for.
        yield _line(events.text({"kind": "job", "job": job}, before))


def _missed(message: Message, known: Facts) -> Iterator[News]:
    """The relay was away: what has ended meanwhile is not in the new snapshot."""
    there = {str(job.get("id")): job for job in message.get("jobs", ())}
    for job in known.live:
        now = there.get(str(job["id"]))
        if now is None or now.get("ended_at") is not None:
            name = job.get("name") or job.get("argv0") or ""
            yield _line(f"job {job['id']} {name}".rstrip() + " has ended meanwhile", now or None)
