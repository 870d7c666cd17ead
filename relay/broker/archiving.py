"""What the archive is asked to fetch, to show and to forget, and what it says of that.

The archive is an agent to us, and a client that looks on: both as the user ``@archive``. Which
steps are for it, their agents say.
"""

from __future__ import annotations

from relay.broker.books import Books, job_number
from relay.broker.events import Message
from relay.broker.model import ARCHIVE, Agent, Job, Member
from relay.broker.said import index_of, number, text

_MOST_AT_ONCE = 10_000  # steps named in one message of the archive's


def wanted(b: Books, member: Member) -> bool:
    """Is its output to be fetched?"""
    return (
        b.settings.archive != "off"
        and member.archive
        and member.archived is None
        and not member.unarchived
        and member.started_at is not None
    )


def on_started(b: Books, job: Job, index: int) -> None:
    if b.settings.archive == "live" and wanted(b, job.members[index]):
        _order(b, job, index)


def on_ended(b: Books, job: Job, index: int) -> None:
    """Its agent has all of it and says so."""
    if wanted(b, job.members[index]):
        b.to_archive[job.id, index] = None
        b.shelve(job)
        _order(b, job, index)


def _order(b: Books, job: Job, index: int, hurry: bool = False) -> None:
    member = job.members[index]
    agent = b.agents.get(member.agent_id)
    if agent is not None and agent.conn is not None:  # else when it comes back
        b.tell_agent(ARCHIVE, {
            "m": "fetch", "job": str(job.id), "index": index, "agent": agent.id, "owner": job.user,
            "live": member.ended_at is None, "hurry": hurry, "at": b.now,
            "facts": {"argv0": job.argv0, "started_at": member.started_at,
                      "ended_at": member.ended_at},
        })  # fmt: skip


def on_agent_back(b: Books, agent: Agent, reborn: bool) -> None:
    """What waits there can be fetched; of a new life's predecessor nothing can."""
    for job, index in _of_agent(b, agent):
        if reborn:
            lost(b, job, index, "its agent died before it could be fetched")
        else:
            _order(b, job, index)
    if b.settings.archive == "live" and not reborn:
        for job_id, index in sorted(agent.here):
            live = b.jobs.get(job_id)
            if live is not None and wanted(b, live.members[index]):
                _order(b, live, index)


def on_leaving(b: Books, agent: Agent) -> None:
    """It waits for us, but not long."""
    for job, index in _of_agent(b, agent):
        _order(b, job, index, hurry=True)


def on_agent_gone(b: Books, agent: Agent) -> None:
    for job, index in _of_agent(b, agent):
        lost(b, job, index, "its agent ended before it could be fetched")


def _of_agent(b: Books, agent: Agent) -> list[tuple[Job, int]]:
    return [
        (b.jobs[job_id], index)
        for job_id, index in b.to_archive
        if job_id in b.jobs and b.jobs[job_id].members[index].agent_id == agent.id
    ]


def lost(b: Books, job: Job, index: int, why: str) -> None:
    """It will never be archived."""
    if (job.id, index) in b.to_archive:
        del b.to_archive[job.id, index]
        _drop(b, job.id, index)  # it need not try any more
    member = job.members[index]
    member.archived = None
    member.unarchived = why
    b.keep(job)
    b.shelve(job)


# --------------------------------------------------------------------------- what the archive says


def on_said(b: Books, archive: Agent, message: Message) -> None:
    if message.get("m") == "have":
        _have(b, message)
        return
    job_id, index = job_number(message.get("job")) or 0, index_of(message)
    job = b.jobs.get(job_id)
    if job is None or not 0 <= index < job.size:
        if message.get("m") == "archived":
            _drop(b, job_id, index)
        return
    match message.get("m"):
        case "archived":
            _archived(b, job, index, number(message, "bytes", 0))
        case "not-archived" | "expired":
            lost(b, job, index, text(message, "why") or "the archive has it no more")


def _archived(b: Books, job: Job, index: int, count: int) -> None:
    b.to_archive.pop((job.id, index), None)
    member = job.members[index]
    member.archived = count
    member.unarchived = ""
    b.keep(job)
    b.shelve(job)
    b.tell_agent(member.agent_id, {"m": "archived", "job": str(job.id), "index": index})


def _have(b: Books, message: Message) -> None:
    """Its list, in pieces: what we do not know goes, what it does not have is not there."""
    if message.get("first"):
        b.in_archive = set()
    steps = message.get("steps")
    for step in steps[:_MOST_AT_ONCE] if isinstance(steps, list) else ():
        job_id, index, count = step
        job = b.jobs.get(job_id)
        if job is None or not 0 <= index < job.size:
            _drop(b, job_id, index)
            continue
        b.in_archive.add((job_id, index))
        if job.members[index].archived is None:  # its word about it was lost
            _archived(b, job, index, count)
    if not message.get("last"):
        return
    for job in list(b.jobs.values()):
        for index, member in enumerate(job.members):
            if member.archived is not None and (job.id, index) not in b.in_archive:
                lost(b, job, index, "the archive has lost it")
            elif member.started_at is not None and member.ended_at is None:
                on_started(b, job, index)
    b.in_archive = set()
    for job_id, index in list(b.to_archive):
        _order(b, b.jobs[job_id], index)


def _drop(b: Books, job_id: int, index: int) -> None:
    b.tell_agent(ARCHIVE, {"m": "drop", "job": str(job_id), "index": index})


# ------------------------------------------------------------------------------------- for a person


def why_not_kept(b: Books, job: Job, member: Member) -> str:
    """Why there is nothing to show of a step that has ended, and its agent has it no more."""
    if member.unarchived:
        why = member.unarchived
    elif b.settings.archive == "off":
        why = "this relay archives nothing"
    elif member.started_at is None:
        why = "it never ran"
    elif not member.archive and job.pty:
        why = "it had a terminal, and was started without --keep"
    elif not member.archive:
        why = "it was started with --no-archive"
    else:
        why = "its agent is away, and what it printed has not been fetched yet"
    return f"the output of job {job.id} is not kept: {why}"
