"""How a job's parts end: what that means for the others, and its own end with the last one."""

from __future__ import annotations

from relay.broker import retry
from relay.broker.books import Books
from relay.broker.model import Job
from relay.broker.states import JobState


def over(b: Books, job: Job, index: int, error: str | None = None, at: float | None = None) -> None:
    """One part has ended, or never will start; the job is over with its last one."""
    member = job.members[index]
    b.release(job, index)
    if member.ended_at is None:
        member.ended_at = b.now if at is None else at
        member.error = error
        member.attached = member.watchers = 0
    if job.state.final:
        b.keep(job)  # given up before, it ran all the same: what is said has been said
    elif any(m.ended_at is None for m in job.members):
        retry.stop_others(b, job, index)
        b.keep(job)
        if job.wants.lead and index == 0:
            from relay.broker import lead  # it comes back to `over` for the others

            lead.on_over(b, job)
    elif not retry.conclude(b, job) and not _keeps_files(b, job):
        finish(b, job)


def _keeps_files(b: Books, job: Job) -> bool:
    if job.sandbox is None:
        return False
    from relay.broker import staging  # it comes back to `finish` when they are kept

    return staging.on_all_over(b, job)


def finish(b: Books, job: Job) -> None:
    """The end, as its parts ended."""
    clean = all(m.code == 0 and not m.signal and not m.error for m in job.deciding)
    if job.canceled:
        b.finish(job, JobState.CANCELED)
    else:
        why = next((m.error for m in job.deciding if m.error), None)
        if why and retry.counts(b, job):
            why = retry.said(b, job, why)
        b.finish(job, JobState.COMPLETED if clean else JobState.FAILED, why)
