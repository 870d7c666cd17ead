"""Jobs that start after others: when all those have completed, or never."""

from __future__ import annotations

from relay.broker import places
from relay.broker.books import Books
from relay.broker.model import Job
from relay.broker.states import JobState


def complaint(b: Books, user: str, after: tuple[int, ...]) -> str:
    """What is wrong with these jobs as those to wait for; empty: nothing."""
    for number in after:
        job = b.jobs.get(number)
        if job is None or job.user != user or not job.shown:
            return f"there is no job {number} of yours"
    return ""


def begin(b: Books, job: Job) -> None:
    """A new job: what has it to wait for? Before it is queued."""
    for number in job.wants.after:
        if b.jobs[number].state is not JobState.COMPLETED:
            job.pending.append(number)
    follow(b, job)


def follow(b: Books, job: Job) -> None:
    for number in job.pending:
        b.followers.setdefault(number, {})[job.id] = None
        before = b.jobs.get(number)
        if before is None or before.state.final:
            b.over.append(number)  # settled when this round ends


def settle(b: Books) -> None:
    """Those that waited for what has ended in this round."""
    while b.over:
        number = b.over.pop()
        before = b.jobs.get(number)
        for follower in b.followers.pop(number, {}):
            job = b.jobs.get(follower)
            if job is None or job.state.final or number not in job.pending:
                continue
            if before is not None and before.state is JobState.COMPLETED:
                job.pending.remove(number)
                b.keep(job)
                b.offer(job)
                b.touched(job)
            else:
                places.give_up(b, job, _why(number, before))


def _why(number: int, before: Job | None) -> str:
    if before is None:
        return f"job {number}, after which it starts, is not known any more"
    end = "was canceled" if before.state is JobState.CANCELED else "failed"
    return f"job {number}, after which it starts, {end}"


def watch_deadline(b: Books, job: Job) -> None:
    """It is given up if it has not started by then."""
    when = job.wants.deadline
    if when is None:
        return

    def check() -> None:
        if b.jobs.get(job.id) is job and not job.started and not job.state.final:
            places.give_up(b, job, "it did not start by its deadline")

    b.at(when, check)
