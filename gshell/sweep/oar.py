"""Reservations at OAR, on this host's or over SSH on a site's front end."""

from __future__ import annotations

import calendar
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from gshell.errors import LrmsError, UsageError
from gshell.lrms import oar
from gshell.lrms.base import Command, Done, Plugin, State, Status
from gshell.model.sanitize import sanitize
from gshell.sweep import batch, frontends
from gshell.sweep.hosts import Host
from gshell.sweep.times import get_seconds

OVER = {State.ENDING, State.ENDED}
TAGGED = re.compile(r"-?gshell-[0-9a-f]{12}$")


class OarSubmission(batch.Submission):
    """What is asked of OAR: ``resources`` (``-l``; several of them as a list), ``walltime``,
    ``job_type`` (``-t``, one or several), ``sql_properties`` (``-p``), ``queue``,
    ``reservation_date``, ``directory``, ``project``, ``name``, ``additional_options`` (a line, or
    words), ``command``."""


def _submit(asked: batch.Submission, name: str | None) -> Command:
    argv = ["oarsub"]
    resources = "+".join(batch.several(asked.resources))
    if asked.seconds is not None:
        clock = f"walltime={asked.seconds // 3600}:{asked.seconds // 60 % 60}:{asked.seconds % 60}"
        resources = f"{resources},{clock}" if resources else clock
    if resources:
        argv += ["-l", resources]
    for one in asked.types:
        argv += ["-t", one]
    env: dict[str, str] = {}
    begins = asked.begins()
    if begins is not None:
        env["TZ"] = "UTC"  # else it would be the front end's time, wherever that is
    date = None if begins is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(begins))
    for what, word in (("name", name), ("project", asked.project), ("queue", asked.queue)):
        if word is not None and not re.fullmatch(r"[^'\"\\\x00-\x1f-][^'\"\\\x00-\x1f]*", word):
            # OAR 2.5 puts it into its SQL as it is
            raise UsageError(f"OAR cannot have the {what} {word!r}: quotes or signs of control")
    for option, value in (
        ("-p", asked.sql_properties), ("-q", asked.queue), ("-r", date), ("-d", asked.directory),
        ("--project", asked.project), ("-n", name),
    ):  # fmt: skip
        if value is not None:
            argv += [option, value]
    if asked.command is None and name is not None and TAGGED.search(name):
        argv += ["-O", "/dev/null", "-E", "/dev/null"]  # sweeps would leave two files for each job
    return Command([*argv, *asked.options, asked.command or batch.SLEEPS], env=env)


# Of `oarstat -f`, in words: for front ends without Perl's JSON.
FIELDS = {
    "state": r"state", "name": r"(?:job_)?name", "walltime": r"walltime",
    "startTime": r"start_?[tT]ime", "scheduledStart": r"scheduled_?[sS]tart",
    "assigned_hostnames": r"assigned_hostnames",
}  # fmt: skip


def read_text(text: str) -> dict[str, Any]:
    """What ``oarstat -f`` prints of one job, with the fields of its JSON."""
    job: dict[str, Any] = {}
    for field, pattern in FIELDS.items():
        found = re.search(rf"^ *{pattern} *[=:] *(.*?) *$", text, re.MULTILINE)
        if found and found[1] not in ("", "N/A", "no prediction"):
            job[field] = found[1]
    for field in ("startTime", "scheduledStart"):
        job[field] = _instant(job.get(field, ""))
    if "walltime" in job:
        job["walltime"] = int(get_seconds(job["walltime"]) or 0)
    if "assigned_hostnames" in job:
        job["assigned_network_address"] = job["assigned_hostnames"].split("+")
    return job


def _instant(text: str) -> int:
    found = re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text)
    if found:
        return calendar.timegm(time.strptime(found[0], "%Y-%m-%d %H:%M:%S"))
    return int(text) if text.isdigit() else 0


def _ask(job: str, site: Any, params: Any, timeout: Any) -> dict[str, Any]:
    """Its fields; {} if there is no such job.

    Raises:
        LrmsError: OAR could not be asked.
    """
    done = frontends.ask(oar.status([job])[:1], site, params, timeout)[0]
    if frontends.lost(done):
        raise LrmsError("busy", batch.unreached(SYSTEM, done, site))
    try:
        return oar.jobs_of("oarstat", done).get(job, {})
    except LrmsError as error:
        plain = Command(["oarstat", "-fj", job], env={"TZ": "UTC"})
        again: Done = frontends.ask([plain], site, params, timeout)[0]
        known = read_text(again.out)
        if again.code or "state" not in known:
            raise error from None
        return known


def _status(job: str, site: Any, params: Any, timeout: Any) -> Status:
    known = _ask(job, site, params, timeout)
    if not known:
        return Status(job, State.ENDED, "OAR knows no such job")
    now = oar.statuses([job], [Done(0, json.dumps({job: known}))])[job]
    if _deleted(known) and now.state is not State.ENDED:  # OAR says Running for some seconds more
        return now._replace(state=State.ENDING, reason="deleted")
    return now


def _deleted(known: Mapping[str, Any]) -> bool:
    events = known.get("events")
    return isinstance(events, list) and any(
        isinstance(one, dict) and one.get("type") == "FRAG_JOB_REQUEST" for one in events
    )


def _details(job: str, site: Any, params: Any, timeout: Any) -> dict[str, Any]:
    known = _ask(job, site, params, timeout)
    found: dict[str, Any] = {}
    for name, field in (("start_date", "startTime"), ("scheduled_start", "scheduledStart")):
        value = known.get(field)
        if isinstance(value, int) and value > 0:
            found[name] = value
    if known.get("walltime") is not None:
        found["walltime"] = int(get_seconds(known["walltime"]) or 0)
    for field in ("state", "name"):
        if isinstance(known.get(field), str):
            found[field] = sanitize(known[field])
    if name := TAGGED.sub("", found.pop("name", "")):
        found["name"] = name
    return found


SYSTEM = batch.System(cast(Plugin, oar), "OAR", _submit, _status, _details)


def oarsub(
    job_specs: Iterable[tuple[OarSubmission, Any]],
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    abort_on_error: bool = False,
) -> list[tuple[int | None, Any]]:
    """Submit ``[(OarSubmission, site), ...]``, all at once; ``[(job id, site), ...]`` in the same
    order, id None where nothing was reserved. Site None: this host's OAR."""
    return batch.submit(SYSTEM, job_specs, frontend_connection_params, timeout, abort_on_error)


def oardel(
    job_specs: Iterable[tuple[Any, Any]],
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
) -> None:
    """Delete ``[(job id, site), ...]``. Ids that are None, and jobs that have ended, do no harm."""
    batch.delete(SYSTEM, job_specs, frontend_connection_params, timeout)


def get_current_oar_jobs(
    frontends: Sequence[Any] | str | Host | None = None,
    start_between: tuple[Any, Any] | None = None,
    end_between: tuple[Any, Any] | None = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    abort_on_error: bool = False,
) -> list[tuple[int, Any]]:
    """``(job id, site)`` of this user's jobs that wait or run; of those that start, or end, between
    two dates."""
    jobs = [
        (job, site)
        for job, site in batch.current(
            SYSTEM, frontends, frontend_connection_params, timeout, abort_on_error
        )
        if _status(str(job), site, frontend_connection_params, timeout).state not in OVER
    ]
    if start_between is None and end_between is None:
        return jobs
    chosen = []
    for job, site in jobs:
        known = get_oar_job_info(job, site, frontend_connection_params, timeout)
        start = known.get("start_date") or known.get("scheduled_start")
        end = None if start is None else start + known.get("walltime", 0)
        if batch.between(start, start_between) and batch.between(end, end_between):
            chosen.append((job, site))
    return chosen


def _this(oar_job_id: Any) -> Any:
    """None: the job that we are in."""
    if oar_job_id is None:
        oar_job_id = os.environ.get("OAR_JOB_ID") or os.environ.get("OAR_JOBID")
        if not oar_job_id:
            raise UsageError(
                "no job of OAR's: its id is None, and this process is not in one",
                hint="oarsub returns None as the id, and says why, where it reserves nothing",
            )
    return oar_job_id


def get_oar_job_info(
    oar_job_id: Any = None,
    frontend: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    **nolog: bool,
) -> dict[str, Any]:
    """``state`` in OAR's word, ``walltime`` (seconds), and where they are known ``start_date``,
    ``scheduled_start`` (since the epoch) and ``name``. {} if OAR cannot be asked."""
    return batch.info(SYSTEM, _this(oar_job_id), frontend, frontend_connection_params, timeout)


def wait_oar_job_start(
    oar_job_id: Any = None,
    frontend: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    prediction_callback: Callable[[float], Any] | None = None,
) -> bool:
    """Until it runs: True; False if it has ended, or is still waiting after ``timeout``.
    ``prediction_callback`` is told whenever OAR changes its mind about when (since the epoch)."""
    return batch.wait_start(
        SYSTEM, _this(oar_job_id), frontend, frontend_connection_params, timeout,
        prediction_callback,
    )  # fmt: skip


def get_oar_job_nodes(
    oar_job_id: Any = None,
    frontend: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
) -> list[Host]:
    """Its hosts, once it runs.

    Raises:
        ProcessesFailed: it has ended; or it does not run within ``timeout``.
    """
    return batch.nodes(SYSTEM, _this(oar_job_id), frontend, frontend_connection_params, timeout)
