"""Grid Engine's running jobs: qstat, qacct; qrsh -inherit. Proven on Son of Grid Engine 8.1.9.

``qrsh -inherit`` starts a task of a parallel job from anywhere, if it has the job's number and task
in its environment, the parallel environment has ``control_slaves``, and the node has a slot for one
more task (Open MPI's daemon has one, too). For the other jobs there is ssh, where a site lets its
users in.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone

from gshell.errors import LrmsError
from gshell.lrms import common, sge
from gshell.lrms.base import Command, State
from gshell.lrms.running_base import BatchJob, outputs, under
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gshell.lrms.base import Done


ID = sge.ID + r"(?:\.\d{1,9})?"  # 7; task 3 of an array, 7.3


def about(one: str) -> list[Command]:
    if not common.known([one], ID):
        what = f"{sanitize(one)!r} is no job of Grid Engine's: its number, please"
        raise LrmsError("refused", what)
    number, _, task = one.partition(".")
    return [
        Command(["qstat", "-xml", "-j", number]),
        Command(["qstat", "-xml", "-g", "t", "-u", "*"], env=sge.UTC),
        Command(["qacct", "-j", number, *(["-t", task] if task else [])], env=sge.UTC),
    ]


def told(one: str, done: Sequence[Done]) -> BatchJob | None:
    answer = done[0]
    number, _, task = one.partition(".")
    rows = sge.jobs_listed(done[1]) if "<JB_job_number>" in answer.out and len(done) > 1 else []
    mine = [row for _, row in rows if row.get("JB_job_number") == number]
    tasks = [row["tasks"] for row in mine if row.get("tasks")]
    starts = [when for row in mine if (when := _started(row.get("JAT_start_time", ""))) is not None]
    if task and not any(_among(task, each) for each in tasks):  # others of the array may run yet
        return _accounted(one, done[2]) if len(done) > 2 else None
    if "<JB_job_number>" not in answer.out:
        ended = _accounted(one, done[2]) if len(done) > 2 else None
        if ended is not None:
            return ended
        if "unknown_jobs" in answer.out or "do not exist" in answer.err + answer.out:
            return None
        if answer.code:
            raise common.failed("qstat", answer, sge.BUSY, otherwise="busy")
        raise common.broken("qstat", answer.out)
    listed = [_alone(done[1], number, task)] if task else done[1:2]
    status = sge.statuses([number], listed)[number]
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
        several=() if task else tuple(dict.fromkeys(f"{number}.{each}" for each in tasks)),
        began=min(starts, default=None),
    )


def _among(task: str, text: str) -> bool:
    """Is it in ``1-9:2,12``?"""
    for item in text.split(","):
        found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?(?::(\d{1,9}))?", item)
        if found:
            first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
            if first <= int(task) <= last and not (int(task) - first) % max(1, step):
                return True
    return False


def _alone(listed: Done, number: str, task: str) -> Done:
    """That list without the array's other tasks."""

    def kept(found: re.Match[str]) -> str:
        fields = dict(sge.fields_of(found[0]))
        other = fields.get("JB_job_number") == number and not _among(task, fields.get("tasks", ""))
        return "" if other else found[0]

    out = re.sub(r"<job_list .*?</job_list>", kept, listed.out, flags=re.DOTALL)
    return listed._replace(out=out)


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
    number, _, task = one.partition(".")
    values = (("JOB_ID", number), ("JOB_NAME", name), ("HOME", home), ("TASK_ID", task))
    for variable, value in values:
        given = given.replace("$" + variable, value)
    usual = f"{name}.{letter}{one}"
    if not given:
        return under(folder, usual)
    return under(folder, given + usual if given.endswith("/") else given)


def _accounted(one: str, done: Done) -> BatchJob | None:
    """As its own record says: those of its tasks on the nodes (qrsh -inherit, Open MPI's daemons),
    which look the same, come before it or after it, but began later. A signal's status is as a
    shell says it."""
    best: tuple[tuple[str, int, str, str], int] | None = None
    for record in re.split(r"^={10,}$", "" if done.code else done.out, flags=re.MULTILINE):
        code = re.search(r"^exit_status +(\d{1,4})", record, re.MULTILINE)
        if code:
            began = _when(record)
            if best is None or began <= best[0]:  # of the same second, the last: it ended last
                best = began, int(code[1])
    if best is None:
        return None
    return BatchJob(one, State.ENDED, word="ended", code=best[1], began=_epoch(*best[0]))


def _started(text: str) -> float | None:
    """Of qstat's list, in UTC: "2026-11-22T13:36:02"."""
    try:
        return datetime.fromisoformat(text[:19]).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def _epoch(year: str, month: int, day: str, clock: str) -> float | None:
    """qacct is asked for UTC."""
    try:
        hour, minute, second = map(int, clock.split(":"))
        when = datetime(
            int(year), month // 3 + 1, int(day), hour, minute, second, tzinfo=timezone.utc
        )
    except ValueError:
        return None
    return when.timestamp()


MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


def _when(record: str) -> tuple[str, int, str, str]:
    """When it began, to be compared."""
    found = re.search(r"^start_time +\w+ (\w{3}) +(\d+) ([\d:]{8}) (\d{4})", record, re.MULTILINE)
    if not found:
        return "", 0, "", ""
    return found[4], MONTHS.find(found[1]), found[2].zfill(2), found[3]


def into(one: str, hosts: Sequence[str], argv: Sequence[str]) -> list[tuple[Command, ...]]:
    number, _, task = one.partition(".")
    env = {"JOB_ID": number, "SGE_TASK_ID": task or "undefined"}
    tasks = common.by_ssh(hosts, argv, ("qrsh", "-inherit", "-nostdin"))
    return [
        (Command(task.argv, env=env), by_hand)
        for task, by_hand in zip(tasks, common.by_ssh(hosts, argv))
    ]


def cancel(one: str) -> Command:
    return Command(["qdel", one])
