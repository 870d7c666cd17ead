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


def about(one: str) -> list[Command]:
    if not common.known([one], slurm.ID):
        raise LrmsError("refused", f"{sanitize(one)!r} is no job of Slurm's: its number, please")
    return [Command(["scontrol", "-o", "show", "job", one], env=slurm.EPOCH)]


def told(one: str, done: Sequence[Done]) -> BatchJob | None:
    answer = done[0]
    if answer.code and "invalid job id" in (answer.err + answer.out).lower():
        return None
    if answer.code:
        raise common.failed("scontrol", answer, slurm.BUSY, otherwise="busy")
    line = next((text for text in answer.out.splitlines() if text.startswith("JobId=")), "")
    if not line:
        raise common.broken("scontrol", answer.out)
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
    values = {"j": one, "J": one, "A": one, "u": user, "x": name, "N": first, "n": "0", "%": "%"}
    paths = [
        under(folder, filled(_value(line, key), values.get)) for key in ("StdOut", "StdErr")
    ]  # newer ones have filled in some of it, not all
    return BatchJob(
        one,
        state,
        user,
        name,
        word if why in ("", "None") else f"{word}, {why}",
        tuple(hosts) if state is not State.QUEUED else (),
        outputs(*paths),
        _exit(_value(line, "ExitCode")) if state in (State.ENDED, State.ENDING) else None,
    )


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
    return [
        (
            Command(
                [
                    *("srun", "--jobid", one, "--overlap", "--mpi=none", "--cpu-bind=none"),
                    *("--mem=0", "--input=none", "--wait=0", "--kill-on-bad-exit=0"),
                    *("--nodelist", ",".join(hosts), "--nodes", count, "--ntasks", count),
                    *("--ntasks-per-node", "1", "--job-name", "gshell-adopt"),
                    *argv,
                ]
            ),
        )
    ]
