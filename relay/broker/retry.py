"""Submitted jobs that are run again when an attempt of theirs fails, not when their program does.

A deep retry is for an attempt whose program may have begun; a shallow one for an attempt whose
program surely has not: its agent said so, or never took the token, which each attempt gets once
and no attempt after a later one has begun.
"""

from __future__ import annotations

from relay.broker.books import Books
from relay.broker.events import Message
from relay.broker.model import Agent, Job, Member
from relay.broker.said import index_of, number, text
from relay.broker.states import JobState

_KILL = 9


def limit(b: Books, asked: int) -> int:
    return max(0, min(asked, b.settings.retries))


def counts(b: Books, job: Job) -> bool:
    """May it be run again? Then its agents ask for tokens, and it is kept until it has ended."""
    return limit(b, job.wants.retry) + limit(b, job.wants.shallow) > 0


def on_token(b: Books, agent: Agent, message: Message) -> None:
    """An agent is about to start a program: may it?"""
    job = b.shown_job(text(message, "job"))
    index, attempt = index_of(message), number(message, "attempt")
    good = (
        job is not None and 0 <= index < job.size
        and job.members[index].agent_id == agent.id and job.members[index].ended_at is None
        and attempt == job.attempt and index not in job.tokens
        and not job.state.final and not job.canceled
    )  # fmt: skip
    if good and job is not None:
        job.tokens.append(index)
        if job.members[index].phase:
            from relay.broker import places

            # what comes before is over: from now on it counts again
            job.members[index].phase = ""
            places.hold_until(b, job, b.settings.start_s)
        b.keep(job)
    answer = "token-ok" if good else "token-no"
    b.send(agent.conn, {"m": answer, "job": message.get("job"), "index": index,
                        "attempt": attempt})  # fmt: skip


def is_stale(job: Job, message: Message) -> bool:
    """Is this said of an attempt that is over?"""
    attempt = message.get("attempt")
    return isinstance(attempt, int) and attempt != job.attempt and not job.state.final


def conclude(b: Books, job: Job) -> bool:
    """Every part of it is over. True: it waits for another attempt."""
    failed = [m for m in job.members if m.error]
    if not failed:
        return False
    not_begun = all(_not_begun(job, i, m) for i, m in enumerate(job.members))
    return _again(b, job, failed[0].error or "", not_begun)


def fail(b: Books, job: Job, why: str) -> None:
    """It was to start, and did not: again, or that was it."""
    stop(b, job)
    not_begun = counts(b, job) and not job.tokens
    if not _again(b, job, why, not_begun):
        b.finish(job, JobState.FAILED, said(b, job, why))


def said(b: Books, job: Job, why: str) -> str:
    """A failure, with how often it was tried."""
    most = 1 + limit(b, job.wants.retry) + limit(b, job.wants.shallow)
    return why if most == 1 else f"attempt {1 + job.deep + job.shallow} of {most}: {why}"


def stop(b: Books, job: Job) -> None:
    """End what other parts of this attempt are still doing."""
    for agent_id in dict.fromkeys(m.agent_id for m in job.members if m.ended_at is None):
        b.tell_agent(agent_id, {"m": "signal", "job": str(job.id), "sig": _KILL})


def stop_others(b: Books, job: Job, index: int) -> None:
    """A part has failed: the others are in vain, if it is run again, or was all or nothing, or is
    one program."""
    if not job.members[index].error or job.canceled:
        return
    if _left(b, job):
        stop(b, job)
    elif (job.gathers or job.together) and job.kill_at is None:
        from relay.broker import verbs

        verbs.end_members(b, job)


def _left(b: Books, job: Job) -> bool:
    return job.spec is not None and (
        job.deep < limit(b, job.wants.retry) or job.shallow < limit(b, job.wants.shallow)
    )


def _not_begun(job: Job, index: int, member: Member) -> bool:
    return member.began is False or (member.started_at is None and index not in job.tokens)


def _again(b: Books, job: Job, why: str, not_begun: bool) -> bool:
    if job.spec is None or job.canceled or job.state.final:
        return False
    note = said(b, job, why)
    if not_begun and job.shallow < limit(b, job.wants.shallow):
        job.shallow += 1
    elif job.deep < limit(b, job.wants.retry):
        job.deep += 1
    else:
        return False
    for index, member in enumerate(job.members):
        b.release(job, index)
        if member.agent_id:
            job.avoid[member.agent_id] = b.now + b.settings.avoid_s
            b.tell_agent(member.agent_id, {"m": "forget", "job": str(job.id)})
        if b.settings.archive != "off":
            b.unarchive(job, index)
    job.members = [Member(m.tasks, cred=m.cred, pin=m.pin) for m in job.members]
    later(job)
    job.held_until = job.kill_at = None
    job.joined = False
    job.note = note
    job.go(JobState.QUEUED)
    b.log(f"job {job.id}: {note}: it waits for another attempt")
    b.queue(job)
    b.keep(job)
    market = b.market_of(job)
    b.at(b.now + b.settings.avoid_s, lambda: b.retry(market))
    return True


def later(job: Job) -> None:
    """What was told to start is so no more: nobody gets a token for it."""
    job.attempt += 1
    job.tokens = []
