"""What users are shown of jobs and agents: the JOB and AGENT of gshell/net/CONTROL.md."""

from __future__ import annotations

from relay.broker.events import Message
from relay.broker.model import Agent, Job
from relay.broker.states import JobState


def job_view(job: Job) -> Message:
    members = job.members
    ran = [m for m in members if m.started_at is not None and not job.in_vain(m)]
    starts = [m.started_at for m in ran if m.started_at is not None]
    worst = max(
        job.deciding, key=lambda m: (m.code or 0, m.signal or 0)
    )  # srun's rule: the highest
    return {
        "id": str(job.id),
        "name": job.name,
        "user": job.user,
        "state": job.state.name,
        "agents": [m.agent_id for m in members if m.agent_id],
        "hosts": [m.host for m in members if m.host],
        "size": job.size,
        "tasks": sum(m.tasks for m in members),
        "layout": [m.ranks or m.tasks for m in members],
        "pty": job.pty,
        "argv0": job.argv0,
        "pool": job.pool,
        "created_at": job.created_at,
        "started_at": min(starts) if starts else None,
        "ended_at": job.ended_at,
        "code": worst.code if job.state.final else None,
        "signal": worst.signal if job.state.final else None,
        "error": job.error or next((m.error for m in job.deciding if m.error), None),
        "watchers": sum(m.watchers for m in members),
        "attached": sum(m.attached for m in members),
        "archived": job.state.final and all(m.archived is not None for m in ran) and bool(ran),
        "archived_bytes": sum(m.archived or 0 for m in members),
        "site": ",".join(job.wants.site),
        "lane": job.lane,
        "loss": job.wants.loss,
        "walltime": job.wants.walltime,
        "after": [str(i) for i in job.wants.after],
        "parent": str(job.wants.parent or ""),
        "outputs": _outputs(job),
        "attempt": job.attempt,
        "retries": job.deep + job.shallow,
        "phase": next((m.phase for m in members if m.phase), ""),
        "why": job.note,
        "eta": None,
        "progress": job.progress if job.state is JobState.ACTIVE else None,
    }


def _outputs(job: Job) -> list[Message | None]:
    """What came of each member's; of a program that uses all, of the first's."""
    if not job.sandbox or not job.sandbox["outputs"]:
        return []
    return [m.output for m in (job.members[:1] if job.sandbox.get("first") else job.members)]


def shared_job_view(job: Job) -> Message:
    """The same fields for somebody it is shared with: what it is called, whose, since when."""
    whole = job_view(job)
    kept = ("id", "name", "user", "state", "size", "tasks", "layout", "pty", "created_at",
            "started_at", "ended_at")  # fmt: skip
    blank = {"agents": [], "hosts": [], "argv0": "", "pool": "", "watchers": 0, "attached": 0,
             "site": "", "lane": "", "walltime": 0, "after": [], "parent": "", "attempt": 1,
             "retries": 0, "phase": "", "why": ""}  # fmt: skip
    return {key: value if key in kept else blank.get(key) for key, value in whole.items()}


def agent_view(agent: Agent) -> Message:
    if agent.conn is None:
        state = "away"
    elif agent.draining:
        state = "draining"
    else:
        state = "waiting" if agent.free > 0 else "busy"
    return {
        "id": agent.id,
        "host": agent.host,
        "user": agent.user,
        "pool": agent.pool,
        "cpus": agent.cpus,
        "memory_bytes": agent.memory_bytes,
        "tags": list(agent.tags),
        "slots": agent.slots,
        "free": max(0, agent.free),
        "state": state,
        "since": agent.since,
        "pid": agent.pid,
        "version": agent.version,
        "site": agent.site,
        "pilot": agent.pilot,
        "node": agent.node,
        "lrms": agent.lrms,
        "lrms_id": agent.lrms_id,
        "ad": agent.ad,
        "ends_at": agent.ends_at,
        "idle_since": agent.idle_since if not agent.load else None,
        "lanes": {"batch": agent.used - agent.interactive, "interactive": agent.interactive},
        "share": agent.share,
    }
