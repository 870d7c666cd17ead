"""Grid Engine's running jobs: qstat, qacct; qrsh -inherit. Proven on Son of Grid Engine 8.1.9.

``qrsh -inherit`` starts a task of a parallel job from anywhere, if it has the job's number and task
in its environment, the parallel environment has ``control_slaves``, and the node has a slot for one
more task (Open MPI's daemon has one, too). For the other jobs there is ssh, where a site lets its
users in.
"""

from __future__ import annotations

import re

from gshell.errors import LrmsError
from gshell.lrms import common, sge
from gshell.lrms.base import Command, State
from gshell.lrms.running_base import BatchJob, outputs, under
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gshell.lrms.base import Done


def about(one: str) -> list[Command]:
    if not common.known([one], sge.ID):
        what = f"{sanitize(one)!r} is no job of Grid Engine's: its number, please"
        raise LrmsError("refused", what)
    return [
        Command(["qstat", "-xml", "-j", one]),
        Command(["qstat", "-xml", "-g", "t", "-u", "*"], env=sge.UTC),
        Command(["qacct", "-j", one]),
    ]


def told(one: str, done: Sequence[Done]) -> BatchJob | None:
    answer = done[0]
    if "<JB_job_number>" not in answer.out:
        code = _accounted(done[2]) if len(done) > 2 else None
        if code is not None:
            return BatchJob(one, State.ENDED, word="ended", code=code)
        if "unknown_jobs" in answer.out or "do not exist" in answer.err + answer.out:
            return None
        if answer.code:
            raise common.failed("qstat", answer, sge.BUSY, otherwise="busy")
        raise common.broken("qstat", answer.out)
    status = sge.statuses([one], done[1:2])[one]
    state = State.STARTING if status.state is State.ENDED else status.state  # between two answers
    name, home = _field(answer.out, "JB_job_name"), _variable(answer.out, "O_HOME")
    folder = _field(answer.out, "JB_cwd") or home
    merged = _field(answer.out, "JB_merge_stderr") == "true"
    paths = [
        _path(_listed(answer.out, kind), letter, folder, one, name, home)
        for kind, letter in (("stdout", "o"), ("stderr", "e"))
    ]
    return BatchJob(
        one,
        state,
        _field(answer.out, "JB_owner"),
        name,
        status.reason or state.value,
        status.hosts,
        outputs(*paths[: 1 if merged else 2]),
    )


def _field(text: str, key: str) -> str:
    found = re.search(rf"<{key}>([^<>]*)</{key}>", text)
    return sge.unescaped(found[1]) if found else ""


def _variable(text: str, name: str) -> str:
    found = re.search(
        rf"<VA_variable>__SGE_PREFIX__{name}</VA_variable>\s*<VA_value>([^<>]*)</VA_value>", text
    )
    return sge.unescaped(found[1]) if found else ""


def _listed(text: str, kind: str) -> str:
    found = re.search(
        rf"<JB_{kind}_path_list>.*?<PN_path>([^<>]*)</PN_path>.*?</JB_{kind}_path_list>",
        text,
        re.DOTALL,
    )
    return sge.unescaped(found[1]) if found else ""


def _path(given: str, letter: str, folder: str, one: str, name: str, home: str) -> str:
    """A directory is told from a file by looking: both, then, and the first is the likelier."""
    for variable, value in (("JOB_ID", one), ("JOB_NAME", name), ("HOME", home)):
        given = given.replace("$" + variable, value)
    usual = f"{name}.{letter}{one}"
    if not given:
        return under(folder, usual)
    return under(folder, given + usual if given.endswith("/") else given)


def _accounted(done: Done) -> int | None:
    """The exit status of its last record, which is the job's own: those of its tasks on the nodes
    are written before. A signal's is as a shell says it."""
    found = re.findall(r"^exit_status +(\d{1,4})", done.out, re.MULTILINE)
    return int(found[-1]) if found and not done.code else None


def into(one: str, hosts: Sequence[str], argv: Sequence[str]) -> list[tuple[Command, ...]]:
    env = {"JOB_ID": one, "SGE_TASK_ID": "undefined"}
    tasks = common.by_ssh(hosts, argv, ("qrsh", "-inherit", "-nostdin"))
    return [
        (Command(task.argv, env=env), by_hand)
        for task, by_hand in zip(tasks, common.by_ssh(hosts, argv))
    ]
