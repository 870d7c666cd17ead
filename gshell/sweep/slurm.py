"""Reservations at Slurm, on this host's or over SSH on a site's front end."""

from __future__ import annotations

import shlex
import time
from typing import cast

from gshell.lrms import common, slurm
from gshell.lrms.base import Command, Plugin
from gshell.sweep import batch
from gshell.sweep.calls import Calls


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
_calls = Calls(SYSTEM)

slurmsub = _calls.submit
slurmdel = _calls.delete
get_current_slurm_jobs = _calls.current
get_slurm_job_info = _calls.info
wait_slurm_job_start = _calls.wait_start
get_slurm_job_nodes = _calls.nodes
