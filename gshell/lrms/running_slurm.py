"""Slurm's running jobs: scontrol, srun --overlap. Proven on Slurm 22.05."""

from __future__ import annotations

import re

from gshell.errors import LrmsError
from gshell.lrms import common, slurm
from gshell.lrms.base import Command, State
from gshell.lrms.running_base import BatchJob, filled, outputs, under
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from gshell.lrms.base import Done


ID = slurm.ID + r"(?:_\d{1,9}|\+\d{1,4})?"  # 7; task 3 of an array, 7_3; a component, 7+1


def about(one: str) -> list[Command]:
    if not common.known([one], ID):
        raise LrmsError("refused", f"{sanitize(one)!r} is no job of Slurm's: its number, please")
    return [Command(["scontrol", "-o", "show", "job", one], env=slurm.EPOCH)]


def told(one: str, done: Sequence[Done]) -> BatchJob | None:
    answer = done[0]
    if answer.code and "invalid job id" in (answer.err + answer.out).lower():
        return None
    if answer.code:
        raise common.failed("scontrol", answer, slurm.BUSY, otherwise="busy")
    lines = [text for text in answer.out.splitlines() if text.startswith("JobId=")]
    if not lines:
        raise common.broken("scontrol", answer.out)
    # An array's last task has the array's own number, so all of them are told; by their own
    # numbers that of each is the one that was asked for.
    line = next((text for text in lines if _value(text, "JobId") == one), lines[0])
    several = [_part(text) for text in lines if len(lines) > 1 or "-" in _part(text)]
    # Names and paths may have blanks in them: a value ends where the next known word begins.
    word = _value(line, "JobState")
    state = slurm.STATES.get(word, State.UNKNOWN)
    why = _value(line, "Reason")
    try:
        hosts = common.hostlist(_value(line, "NodeList"))
    except LrmsError:
        hosts = []
    first = _value(line, "BatchHost")
    if first in hosts:
        hosts.insert(0, hosts.pop(hosts.index(first)))
    user = _value(line, "UserId").partition("(")[0]
    name = _value(line, "JobName")
    folder = _value(line, "WorkDir")
    number, array, task = (_value(line, key) for key in ("JobId", "ArrayJobId", "ArrayTaskId"))
    values = {"j": number, "J": number, "A": array or number, "u": user, "x": name, "N": first,
              "n": "0", "%": "%"}  # fmt: skip
    if task.isdigit():
        values["a"] = task
    paths = [
        under(folder, filled(_value(line, key), values.get)) for key in ("StdOut", "StdErr")
    ]  # newer ones have filled in some of it, not all
    return BatchJob(
        number if array else _part(line),
        state,
        user,
        name,
        word if why in ("", "None") else f"{word}, {why}",
        tuple(hosts) if state is not State.QUEUED else (),
        outputs(*paths),
        _exit(_value(line, "ExitCode")) if state in (State.ENDED, State.ENDING) else None,
        tuple(several),
    )


def _part(line: str) -> str:
    """What this one is called by people, and by us: of a heterogeneous job there are no others."""
    for key, sign, index in (("ArrayJobId", "_", "ArrayTaskId"), ("HetJobId", "+", "HetJobOffset")):
        if whole := _value(line, key):
            return f"{whole}{sign}{_value(line, index)}"
    return _value(line, "JobId")


def _value(line: str, key: str) -> str:
    found = re.search(rf"(?:^| ){key}=(.*?)(?= [A-Za-z][\w/:]*=|\s*$)", line)
    value = sanitize(found[1]) if found else ""
    return "" if value == "(null)" else value


def _exit(text: str) -> int | None:
    code, _, signal = text.partition(":")
    first, second = common.number(code), common.number(signal)
    if first is None:
        return None
    return first or (128 + second if second else 0)


def into(one: str, hosts: Sequence[str], argv: Sequence[str]) -> list[tuple[Command, ...]]:
    count = str(len(hosts))
    leader, _, component = one.partition("+")
    which = ["--het-group", component] if component else []
    words = [
        *("--overlap", "--mpi=none", "--cpu-bind=none"),
        *("--mem=0", "--input=none", "--wait=0", "--kill-on-bad-exit=0"),
        *("--nodelist", ",".join(hosts), "--nodes", count, "--ntasks", count),
        *("--ntasks-per-node", "1", "--job-name", "gshell-adopt"),
        *argv,
    ]
    srun = ("srun", "--jobid", leader, *which)
    # Older ones do not share a job's GPUs between steps: one that wants them waits for ever.
    return [
        (Command([*srun, "--immediate=3", *words]), Command([*srun, "--gres=none", *words])),
    ]


def cancel(one: str) -> Command:
    return slurm.cancel([one.partition("+")[0]])  # components end together
