"""Reservations at Grid Engine, on this host's or over SSH on a site's front end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from gshell.lrms import common, sge
from gshell.lrms.base import Command, Plugin
from gshell.sweep import batch
from gshell.sweep.hosts import Host


class SgeSubmission(batch.Submission):
    """What is asked of Grid Engine. ``resources``: a parallel environment and its slots
    (``"openmpi 4"``), or qsub's own words as a list; ``job_type``: options without a value
    (``"now"``); ``sql_properties``: requests (``-l``); the others as for OAR."""


def _submit(asked: batch.Submission, name: str | None) -> Command:
    argv = ["qsub", "-terse", "-b", "y", "-N", name or "gshell"]
    if isinstance(asked.resources, str):
        argv += ["-pe", *asked.resources.replace("=", " ").split()]
    else:
        argv += [str(one) for one in asked.resources or ()]
    if asked.seconds is not None:
        argv += ["-l", f"h_rt={common.clock(asked.seconds)}"]
    argv += [f"-{one}" for one in asked.types]
    begins = asked.begins()
    env = {} if begins is None else {"TZ": "UTC"}
    date = None if begins is None else time.strftime("%Y%m%d%H%M.%S", time.gmtime(begins))
    for option, value in (
        ("-l", asked.sql_properties), ("-q", asked.queue),
        ("-a", date),
        ("-wd", asked.directory), ("-P", asked.project),
    ):  # fmt: skip
        if value is not None:
            argv += [option, value]
    if asked.command is None:
        argv += ["-j", "y", "-o", "/dev/null"]
    words = ["sh", "-c", shlex.quote(asked.command)] if asked.command else batch.SLEEPS.split()
    return Command([*argv, *asked.options, *words], env=env)


SYSTEM = batch.System(cast(Plugin, sge), "Grid Engine", _submit)


def sgesub(
    job_specs: Iterable[tuple[SgeSubmission, Any]],
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    abort_on_error: bool = False,
) -> list[tuple[int | None, Any]]:
    """As `oar.oarsub`."""
    return batch.submit(SYSTEM, job_specs, frontend_connection_params, timeout, abort_on_error)


def sgedel(
    job_specs: Iterable[tuple[Any, Any]],
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
) -> None:
    """As `oar.oardel`."""
    batch.delete(SYSTEM, job_specs, frontend_connection_params, timeout)


def get_current_sge_jobs(
    frontends: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    abort_on_error: bool = False,
) -> list[tuple[int, Any]]:
    """As `oar.get_current_oar_jobs`."""
    return batch.current(SYSTEM, frontends, frontend_connection_params, timeout, abort_on_error)


def get_sge_job_info(
    job_id: Any,
    frontend: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
) -> dict[str, Any]:
    """``state`` (`gshell.lrms.base.State`'s words), ``reason``, ``hosts``, ``start_date`` or
    ``scheduled_start``."""
    return batch.info(SYSTEM, job_id, frontend, frontend_connection_params, timeout)


def wait_sge_job_start(
    job_id: Any,
    frontend: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    prediction_callback: Callable[[float], Any] | None = None,
) -> bool:
    """As `oar.wait_oar_job_start`."""
    return batch.wait_start(
        SYSTEM, job_id, frontend, frontend_connection_params, timeout, prediction_callback
    )


def get_sge_job_nodes(
    job_id: Any,
    frontend: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
) -> list[Host]:
    """As `oar.get_oar_job_nodes`."""
    return batch.nodes(SYSTEM, job_id, frontend, frontend_connection_params, timeout)
