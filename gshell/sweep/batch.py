"""What reservations have in common, whatever the batch system: asked for, awaited, given back.

Each is written into the running engine's ledger before it is asked for, under a tag that is in the
job's name: so nothing is left at a batch system by an experiment that died. A `System` is argv out,
text in; `oar`, `slurm` and `sge` have one each.
"""

from __future__ import annotations

import datetime
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from gshell.errors import GshellError, LrmsError, UsageError
from gshell.lrms.base import Command, Done, Plugin, State, Status
from gshell.sweep import frontends, ledger
from gshell.sweep.actions import ProcessesFailed
from gshell.sweep.hosts import Host
from gshell.sweep.log import logger
from gshell.sweep.times import format_date, get_seconds, get_unixts

SLEEPS = "sleep 31536000"  # what a job does that only holds hosts: a year
FIRST_S, LONGEST_S = 0.3, 10.0  # between two questions after a job that waits
PATIENCE = 30  # questions that may go wrong, one after the other
FLIGHT_S = 20.0  # how long a submission whose submitter died may still be under way

LIVE = {State.RUNNING, State.ENDING}


class Submission:
    """What is asked of a batch system. The arguments are OAR's, in its order; each kind says what
    they mean there. ``walltime``: seconds, ``"h:m:s"`` or a timedelta. ``command`` None: the job
    only holds its hosts."""

    def __init__(
        self,
        resources: Any = None,
        walltime: Any = None,
        job_type: str | Iterable[str] | None = None,
        sql_properties: str | None = None,
        queue: str | None = None,
        reservation_date: Any = None,
        directory: str | None = None,
        project: str | None = None,
        name: str | None = None,
        additional_options: str | Sequence[str] | None = None,
        command: str | None = None,
    ) -> None:
        self.resources = resources
        self.walltime = walltime
        self.job_type = job_type
        self.sql_properties = sql_properties
        self.queue = queue
        self.reservation_date = reservation_date
        self.directory = directory
        self.project = project
        self.name = name
        self.additional_options = additional_options
        self.command = command

    def __repr__(self) -> str:
        said = ", ".join(
            f"{name}={value!r}" for name, value in vars(self).items() if value is not None
        )
        return f"{type(self).__name__}({said})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        raise TypeError(f"{type(self).__name__} may be changed: it has no hash")

    @property
    def types(self) -> list[str]:
        return several(self.job_type)

    @property
    def options(self) -> list[str]:
        more = self.additional_options
        return shlex.split(more) if isinstance(more, str) else [str(one) for one in more or ()]

    @property
    def seconds(self) -> int | None:
        asked = get_seconds(self.walltime)
        return None if asked is None else int(asked)

    def begins(self) -> float | None:
        """``reservation_date``, which is a datetime, seconds since the epoch, or
        ``"YYYY-MM-DD hh:mm:ss"`` of this place."""
        if isinstance(self.reservation_date, str):
            try:
                return datetime.datetime.fromisoformat(self.reservation_date).timestamp()
            except ValueError:
                raise UsageError(
                    f"{self.reservation_date!r} is no date", hint="YYYY-MM-DD hh:mm:ss"
                ) from None
        return get_unixts(self.reservation_date)


def several(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(one) for one in value]


class System(NamedTuple):
    """A batch system as `gshell.lrms` knows it, and how it is asked to reserve."""

    plugin: Plugin
    name: str
    """As people call it."""
    submit: Callable[[Submission, str | None], Command]
    """Of what is asked for, and the job's name, None: as it likes."""
    status: Callable[[str, Any, Any, Any], Status] | None = None
    """How a job at a site is, where that is more than one question."""
    details: Callable[[str, Any, Any, Any], dict[str, Any]] | None = None
    """More that is known of a job."""


class NoAnswer(GshellError):
    """A batch system that cannot be asked now."""


# --------------------------------------------------------------------------------- asked for


def _pairs(job_specs: Any) -> list[tuple[Submission, Any]]:
    specs: list[Any] = [job_specs] if isinstance(job_specs, Submission) else list(job_specs)
    for one in specs:
        if not (isinstance(one, tuple | list) and len(one) == 2 and isinstance(one[0], Submission)):
            raise UsageError(
                f"no pair of a submission and a site: {one!r}",
                hint="[(OarSubmission('nodes=2'), 'lyon')]; the site None: this host's",
            )
    return [(submission, site) for submission, site in specs]


def submit(
    system: System,
    job_specs: Iterable[tuple[Submission, Any]],
    params: Mapping[str, Any] | None,
    timeout: Any,
    abort_on_error: bool,
) -> list[tuple[int | None, Any]]:
    """All of them side by side: ``(job id, site)`` of each, id None where nothing was reserved.

    Raises:
        ProcessesFailed: with ``abort_on_error``, one could not be got; the others are given back.
        UsageError: these are no pairs; nothing was asked for.
    """
    book = ledger.current()
    asked = []
    for submission, site in _pairs(job_specs):
        tag = book.asked(system.plugin.name, frontends.site_name(site)) if book else None
        named = submission.name
        if tag:
            named = f"{named}-{tag}" if named else tag
        try:
            command = system.submit(submission, named)
            process = frontends.asking(command, site, params, timeout).start()
        except GshellError:
            if book and tag:
                book.ended(tag)
            raise
        asked.append((process, site, tag))
    got: list[tuple[int | None, Any]] = []
    failed = []
    for process, site, tag in asked:
        done = frontends.heard(process.wait())
        job = None
        try:
            job = int(system.plugin.submitted(done))
        except LrmsError as error:
            failed.append(process)
            where = f" at {frontends.site_name(site)}" if site else ""
            if done.err.startswith("ssh: ") and not error.hint:
                error.hint = f"ssh {frontends.front_end(site).address} true"
            logger.error("%s reserves nothing%s: %s", system.name, where, error.explained())
        if book and tag:
            if job is not None:
                book.got(tag, job)
            elif not frontends.lost(done) and not process.timeouted:
                book.ended(tag)  # it was refused; else it may have been heard
        got.append((job, site))
    if failed and abort_on_error:
        delete(system, got, params, timeout)
        raise ProcessesFailed(failed, f"{len(failed)} of {len(asked)} reservations failed")
    return got


# --------------------------------------------------------------------------------- asked after


def _job(one: Any) -> str:
    if one is None:
        raise UsageError("no job: its reservation failed", hint="look whether the id is None")
    return str(int(one))


def status(system: System, one: Any, site: Any, params: Any, timeout: Any) -> Status:
    """Raises: LrmsError: it could not be asked."""
    job = _job(one)
    if system.status is not None:
        return system.status(job, site, params, timeout)
    commands = system.plugin.status([job])[:1]
    answers = frontends.ask(commands, site, params, timeout)
    if frontends.lost(answers[0]):
        raise LrmsError("busy", unreached(system, answers[0], site))
    return system.plugin.statuses([job], answers)[job]


def unreached(system: System, done: Done, site: Any) -> str:
    words = done.err.strip().splitlines()
    where = frontends.site_name(site) or "this host"
    return f"{system.name} at {where}: {words[-1] if words else 'no answer'}"


def wait_start(
    system: System,
    one: Any,
    site: Any,
    params: Any,
    timeout: Any,
    prediction_callback: Callable[[float], Any] | None,
) -> bool:
    """Until it runs: True; it has ended, or ``timeout`` is over: False.

    Raises:
        LrmsError: the batch system could not be asked, again and again.
    """
    limit = get_seconds(timeout) if timeout else None
    ends = None if limit is None else time.monotonic() + limit
    pause, wrong, told = FIRST_S, 0, None
    job = _job(one)
    while True:
        try:
            now = status(system, job, site, params, None)
        except LrmsError as error:
            wrong += 1
            if error.code != "busy" or wrong >= PATIENCE:
                raise
            logger.warning("%s job %s: %s", system.name, job, error)
        else:
            wrong = 0
            if now.state is State.RUNNING:
                return True
            if now.state in (State.ENDED, State.ENDING):
                logger.warning("%s job %s has ended: %s", system.name, job, now.reason)
                return False
            if now.start_at and now.start_at != told:
                told = now.start_at
                logger.detail("%s job %s starts at %s", system.name, job, format_date(told))
                if prediction_callback is not None:
                    prediction_callback(told)
        left = pause
        if ends is not None:
            left = min(left, ends - time.monotonic())
            if left <= 0:
                return False
        time.sleep(left)  # a batch system tells nobody
        pause = min(pause * 1.4, LONGEST_S)


def nodes(system: System, one: Any, site: Any, params: Any, timeout: Any) -> list[Host]:
    """The hosts of a job that runs, waited for; each once, in the order of their names.

    Raises:
        ProcessesFailed: it has ended: what it had is somebody else's.
    """
    limit = get_seconds(timeout) if timeout else None
    where = frontends.site_name(site)
    at = f" at {where}" if where else ""
    ended = ProcessesFailed([], f"{system.name} job {one}{at} does not run: it has no hosts")
    if not wait_start(system, one, site, params, limit, None):
        raise ended
    now = status(system, one, site, params, limit)
    if now.state not in LIVE:
        raise ended
    return [Host(name) for name in in_order(now.hosts)]


def in_order(names: Iterable[str]) -> list[str]:
    """Each once; n2 before n10."""
    return sorted(
        dict.fromkeys(names),
        key=lambda name: [
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in re.split(r"(\d+)", name)
        ],
    )


def info(system: System, one: Any, site: Any, params: Any, timeout: Any) -> dict[str, Any]:
    """What is known of a job: ``state`` at least; {} if it cannot be asked."""
    try:
        if system.details is not None:
            return system.details(_job(one), site, params, timeout)
        now = status(system, one, site, params, timeout)
    except LrmsError as error:
        logger.warning("%s job %s: %s", system.name, one, error)
        return {}
    known: dict[str, Any] = {"state": now.state.value}
    if now.start_at:
        ran = now.state in LIVE
        known["start_date" if ran else "scheduled_start"] = now.start_at
    if now.reason:
        known["reason"] = now.reason
    if now.hosts:
        known["hosts"] = in_order(now.hosts)
    return known


def own(system: System, site: Any, params: Any, timeout: Any) -> dict[str, str]:
    """Job id -> name, of all that this user has there.

    Raises:
        LrmsError: it could not be asked.
    """
    user = frontends.ask([Command(["id", "-un"])], site, params, timeout)[0]
    if user.code:
        raise LrmsError("busy", unreached(system, user, site))
    done = frontends.ask([system.plugin.find("", user.out.strip())], site, params, timeout)[0]
    if frontends.lost(done):
        raise LrmsError("busy", unreached(system, done, site))
    return system.plugin.found(done)


def current(
    system: System, sites: Any, params: Any, timeout: Any, abort_on_error: bool
) -> list[tuple[int, Any]]:
    """``(job id, site)`` of all that this user has at ``sites``; None: here."""
    if sites is None or isinstance(sites, str | Host):
        sites = [sites]
    jobs = []
    for site in sites:
        try:
            jobs += [(int(one), site) for one in own(system, site, params, timeout)]
        except LrmsError as error:
            if abort_on_error:
                raise
            logger.warning("%s", error)
    return jobs


# --------------------------------------------------------------------------------- given back


def delete(system: System, job_specs: Iterable[tuple[Any, Any]], params: Any, timeout: Any) -> None:
    """End them; those without an id, or that have ended before, are passed over."""
    specs = [(str(int(job)), site) for job, site in job_specs if job is not None]
    running = [
        frontends.asking(system.plugin.cancel([job]), site, params, timeout).start()
        for job, site in specs
    ]
    book = ledger.current()
    for process, (job, site) in zip(running, specs, strict=True):
        done = frontends.heard(process.wait())
        if done.code and not _is_over(system, job, site, params, timeout):
            logger.warning("%s", unreached(system, done, site))
        elif book:
            book.ended_job(system.plugin.name, frontends.site_name(site), job)


def _is_over(system: System, job: str, site: Any, params: Any, timeout: Any) -> bool:
    try:
        now = status(system, job, site, params, timeout)
    except LrmsError:
        return False
    return now.state in (State.ENDED, State.ENDING)


def end(system: System, one: ledger.Reservation, now: float) -> bool:
    """Whether it is known to be over, or never came: by its id, or by its tag in a job's name."""
    site = one.site or None
    jobs = [one.job]
    try:
        if not one.job:
            jobs = _tagged(system, one, site, now)
        for job in jobs:
            done = frontends.ask([system.plugin.cancel([job])], site)[0]
            if done.code and not _is_over(system, job, site, None, None):
                logger.warning("%s job %s: %s", system.name, job, unreached(system, done, site))
                return False
    except GshellError as error:
        logger.warning("%s job %s: %s", system.name, one.job or one.tag, error)
        return False
    return True


def _tagged(system: System, one: ledger.Reservation, site: Any, now: float) -> list[str]:
    """Its jobs; a submission that had just begun is given the time to arrive."""
    given_up = time.monotonic() + max(0.0, min(FLIGHT_S, one.asked_at + FLIGHT_S - now))
    while True:
        jobs = [job for job, name in own(system, site, None, None).items() if one.tag in name]
        if jobs or time.monotonic() >= given_up:
            return jobs
        time.sleep(0.5)  # a batch system tells nobody


def between(date: float | None, limits: tuple[Any, Any] | None) -> bool:
    if limits is None:
        return True
    low, high = (get_unixts(one) for one in limits)
    return date is not None and (low is None or low <= date) and (high is None or date <= high)
