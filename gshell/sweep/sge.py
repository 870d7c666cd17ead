"""Reservations at Grid Engine, on this host's or over SSH on a site's front end."""

from __future__ import annotations

import shlex
import time
from typing import cast

from gshell.lrms import common, sge
from gshell.lrms.base import Command, Plugin
from gshell.sweep import batch
from gshell.sweep.calls import Calls


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
_calls = Calls(SYSTEM)

sgesub = _calls.submit
sgedel = _calls.delete
get_current_sge_jobs = _calls.current
get_sge_job_info = _calls.info
wait_sge_job_start = _calls.wait_start
get_sge_job_nodes = _calls.nodes
