"""An event of the feed as a line for people, or as JSON of a stable form. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gshell.client.render import bytes_text, hosts_text, state_text
from gshell.model.sanitize import sanitize

JSON_SCHEMA = 1  # fields are added, never changed
_KEPT = ("seq", "kind", "job", "agent", "what", "id", "steps", "jobs", "agents")


def json_line(event: Mapping[str, Any], at: float) -> str:
    """``{"schema","at","seq","kind",...}`` and by kind ``job``, ``agent``, ``what`` and ``id``,
    ``steps``, or after a ``resync`` ``jobs`` and ``agents``: those of CONTROL.md."""
    fields = {key: event[key] for key in _KEPT if key in event}
    return json.dumps({"schema": JSON_SCHEMA, "at": round(at, 3), **fields}, separators=(",", ":"))


def text(event: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """What has changed, in a few words; empty if it is nothing worth a line."""
    kind = event.get("kind")
    if kind == "job":
        return _job(event["job"], before)
    if kind == "agent":
        return _agent(event["agent"], before)
    if kind == "gone":
        if event["what"] == "job" and before is not None and before.get("ended_at"):
            return ""  # too old to be remembered, no news
        return sanitize(f"{event['what']} {event['id']} is gone")
    if kind == "resync":
        jobs, agents = len(event.get("jobs", ())), len(event.get("agents", ()))
        return f"{jobs} job{_s(jobs)}, {agents} agent{_s(agents)}"
    if kind == "stats":
        total = sum(step["out"] for step in event["steps"])
        count = len(event["steps"])
        return f"{count} step{_s(count)} used something; {bytes_text(total)} written so far"
    return ""


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _job(job: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    name = sanitize(str(job.get("name") or job.get("argv0") or ""), 40)
    words = f"job {job['id']} {name}".rstrip()
    old = before or {}
    if job.get("state") != old.get("state"):
        where = hosts_text([str(host) for host in job.get("hosts") or ()])
        state = state_text(job)[0]
        news = f"{state} on {where}" if state == "active" and where else state
        if job.get("error"):
            news += f": {job['error']}"
        return sanitize(f"{words}: {news}")
    for key, came, left in (("attached", "somebody attached", "nobody attached"),
                            ("watchers", "somebody looks on", "one reader less")):  # fmt: skip
        now, then = job.get(key) or 0, old.get(key) or 0
        if now != then:
            return f"{words}: {came if now > then else left}"
    return ""


def _agent(agent: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    if before is not None and agent.get("state") == before.get("state"):
        return ""
    where = f" on {agent['host']}" if agent.get("host") else ""
    return sanitize(f"agent {agent['id']}{where}: {agent.get('state')}")
