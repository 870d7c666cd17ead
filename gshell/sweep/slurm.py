"""Reservations at Slurm, on this host's or over SSH on a site's front end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from gshell.lrms import common, slurm
from gshell.lrms.base import Command, Plugin
from gshell.sweep import batch
from gshell.sweep.hosts import Host


class SlurmSubmission(batch.Submission):
    """What is asked of Slurm. ``resources``: ``"nodes=2,ntasks-per-node=4"``, or sbatch's own words
    as a list; ``job_type``: options without a value (``"exclusive"``); ``sql_properties``: a
    constraint; ``queue``: a partition; ``project``: an account; the others as for OAR."""


def _submit(asked: batch.Submission, name: str | None) -> Command:
    argv = ["sbatch", "--parsable", f"--job-name={name or 'gshell'}"]
    if isinstance(asked.resources, str):
        parts = asked.resources.replace(",", " ").split()
        argv += [part if part.startswith("-") else f"--{part}" for part in parts]
    else:
        argv += [str(one) for one in asked.resources or ()]
    if asked.seconds is not None:
        argv.append(f"--time={common.clock(asked.seconds)}")
    argv += [f"--{one}" for one in asked.types]
    begins = asked.begins()
    env = {} if begins is None else {"TZ": "UTC"}
    date = None if begins is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(begins))
    for option, value in (
        ("constraint", asked.sql_properties), ("partition", asked.queue),
        ("begin", date),
        ("chdir", asked.directory), ("account", asked.project),
    ):  # fmt: skip
        if value is not None:
            argv.append(f"--{option}={value}")
    if asked.command is None:
        argv.append("--output=/dev/null")
    wrapped = shlex.join(["sh", "-c", asked.command]) if asked.command else batch.SLEEPS
    return Command([*argv, *asked.options, "--wrap", wrapped], env=env)


SYSTEM = batch.System(cast(Plugin, slurm), "Slurm", _submit)


def slurmsub(
    job_specs: Iterable[tuple[SlurmSubmission, Any]],
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    abort_on_error: bool = False,
) -> list[tuple[int | None, Any]]:
    """As `oar.oarsub`."""
    return batch.submit(SYSTEM, job_specs, frontend_connection_params, timeout, abort_on_error)


def slurmdel(
    job_specs: Iterable[tuple[Any, Any]],
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
) -> None:
    """As `oar.oardel`."""
    batch.delete(SYSTEM, job_specs, frontend_connection_params, timeout)


def get_current_slurm_jobs(
    frontends: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
    abort_on_error: bool = False,
) -> list[tuple[int, Any]]:
    """As `oar.get_current_oar_jobs`."""
    return batch.current(SYSTEM, frontends, frontend_connection_params, timeout, abort_on_error)


def get_slurm_job_info(
    job_id: Any,
    frontend: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
) -> dict[str, Any]:
    """``state`` (`gshell.lrms.base.State`'s words), ``reason``, ``hosts``, ``start_date`` or
    ``scheduled_start``."""
    return batch.info(SYSTEM, job_id, frontend, frontend_connection_params, timeout)


def wait_slurm_job_start(
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


def get_slurm_job_nodes(
    job_id: Any,
    frontend: Any = None,
    frontend_connection_params: Mapping[str, Any] | None = None,
    timeout: Any = None,
) -> list[Host]:
    """As `oar.get_oar_job_nodes`."""
    return batch.nodes(SYSTEM, job_id, frontend, frontend_connection_params, timeout)
