"""MPI ranks among processes that we did not start: those of the user in one batch job, or below one
of our steps, that have a launcher's rank in their environment. Looked for in /proc when somebody
asks, never otherwise.

A rank's children have its environment, too: the rank is the topmost of them. What a launcher runs
on each node (orted, hydra_pmi_proxy) may itself have been given a number by srun: it is none.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# In this order: who has the first is an MPI program's, the last is any task of srun's.
SRUN = "SLURM_PROCID"
VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", SRUN)
JOBS = {  # batch system -> the variables that have its job's id
    "slurm": ("SLURM_JOB_ID", "SLURM_JOBID"),
    "oar": ("OAR_JOB_ID", "OAR_JOBID"),
    "sge": ("JOB_ID",),
}
TASK = "SGE_TASK_ID"
CGROUPS = {  # ... and what its job's cgroups are called
    "slurm": r"/job_{}(?:/|$)",
    "oar": r"/oar(?:\.slice)?/.*_{}(?:/|$)|/oar/[\w.-]+_{}(?:/|$)",
    "sge": r"/(?:sge|gridengine)/.*?{}\.\d+(?:/|$)",
}
LAUNCHERS = frozenset((
    "hydra_bstrap_pr", "hydra_pmi_proxy", "mpiexec", "mpiexec.hydra", "mpirun", "oarsh", "orted",
    "orterun", "prte", "prted", "prterun", "prun", "qrsh", "sge_shepherd", "slurmstepd", "srun",
    "ssh", "sshd",
))  # fmt: skip  # as the kernel has it: 15 characters
PROCESSES = 20_000  # looked at
ENVIRON_BYTES = 1 << 18
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Found(NamedTuple):
    """A process that may be a rank, or a rank's child."""

    pid: int
    parent: int
    started: int
    state: str
    name: str
    cpu_s: float
    rss_bytes: int
    ranks: dict[str, int]
    """By variable."""


def scan(lrms: str, one: str, spared: int = 0, proc: str = "/proc") -> list[dict[str, Any]]:
    """The rows of an answer to `ranks` (gshell/mpi/MPI.md), by rank, then the youngest first.
    ``spared``: the process whose descendants are ours, not the job's."""
    there = _processes(lambda env, base: _belongs(lrms, one, env, base), proc)
    ours = _descendants((spared,), proc) if spared else set()
    return _rows([process for process in there if process.pid not in ours], VARIABLES)


def below(tops: Iterable[int], proc: str = "/proc") -> list[dict[str, Any]]:
    """Such rows for what was started by these processes of ours, mpirun and the like. Variables
    that we have ourselves are everybody's here and mean nothing; srun's tasks are not below it."""
    able = tuple(v for v in VARIABLES if v not in os.environ and v != SRUN)
    if not able:
        return []
    tree = _descendants(tuple(tops), proc)
    there = _processes(lambda env, base: int(base.rpartition("/")[2]) in tree, proc)
    return _rows(there, able)


def _rows(found: list[Found], variables: tuple[str, ...]) -> list[dict[str, Any]]:
    there = {each.pid: each for each in found}
    able = [each for each in found if each.name not in LAUNCHERS]
    variable = next((v for v in variables if any(v in p.ranks for p in able)), "")
    rows = []
    for each in able:
        if variable not in each.ranks:
            continue
        above = there.get(each.parent)
        number = each.ranks[variable]
        same = above is not None and above.ranks.get(variable) == number
        if same and above is not None and above.name not in LAUNCHERS:
            continue
        rows.append((number, -each.started, each))
    return [_row(number, each) for number, _, each in sorted(rows, key=lambda row: row[:2])]


def _row(number: int, each: Found) -> dict[str, Any]:
    return {
        "rank": number, "pid": each.pid, "state": each.state, "cpu_s": round(each.cpu_s, 2),
        "rss_bytes": each.rss_bytes, "argv0": each.name, "out": None, "in": None, "line": "",
        "code": None, "signal": None, "input": False, "pty": False, "foreign": True,
    }  # fmt: skip


def _processes(wanted: Callable[[dict[str, str], str], bool], proc: str) -> list[Found]:
    """``wanted``: by the environment, and the directory in /proc."""
    found: list[Found] = []
    mine = os.getuid()
    for name in _pids(proc)[:PROCESSES]:
        base = f"{proc}/{name}"
        try:
            if os.stat(base).st_uid != mine:
                continue
            with open(f"{base}/environ", "rb") as file:
                data = file.read(ENVIRON_BYTES)
        except OSError:  # gone, or one that may not be looked at
            continue
        if not any(variable.encode() + b"=" in data for variable in VARIABLES):
            continue
        env = _variables(data)
        ranks = {v: int(env[v]) for v in VARIABLES if env.get(v, "").isdigit()}
        if SRUN in ranks and not env.get("SLURM_STEP_ID", "").isdigit():
            del ranks[SRUN]  # the batch script's own
        if not ranks or not wanted(env, base):
            continue
        each = _stat(int(name), base, ranks)
        if each is not None:
            found.append(each)
    return found


def _pids(proc: str) -> list[str]:
    try:
        return [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return []


def _variables(data: bytes) -> dict[str, str]:
    wanted = {
        *VARIABLES,
        TASK,
        "SLURM_STEP_ID",
        *(name for names in JOBS.values() for name in names),
    }
    found = {}
    for item in data.split(b"\0"):
        name, _, value = item.partition(b"=")
        text = name.decode("ascii", "replace")
        if text in wanted:
            found[text] = value.decode("ascii", "replace")
    return found


def _belongs(lrms: str, one: str, env: dict[str, str], base: str) -> bool:
    number, _, task = one.partition("." if lrms == "sge" else "+")
    named = [env[name] for name in JOBS.get(lrms, ()) if name in env]
    if named:
        tasks = lrms == "sge" and task  # of an array; Slurm's have numbers of their own
        return number in named and (not tasks or env.get(TASK) == task)
    pattern = CGROUPS.get(lrms)
    if pattern is None:
        return False
    try:
        with open(f"{base}/cgroup", encoding="utf-8", errors="replace") as file:
            return (
                re.search(pattern.replace("{}", re.escape(number)), file.read(), re.MULTILINE)
                is not None
            )
    except OSError:
        return False


def _stat(pid: int, base: str, ranks: dict[str, int]) -> Found | None:
    try:
        with open(f"{base}/stat", "rb") as file:
            head, _, rest = file.read(4096).rpartition(b")")
        words = rest.split()
        name = head.partition(b"(")[2].decode("utf-8", "replace")
        cpu_s = sum(map(int, words[11:15])) * _TICK_S
        rss = max(0, int(words[21])) * _PAGE_BYTES
        return Found(pid, int(words[1]), int(words[19]), words[0].decode(), name, cpu_s, rss, ranks)
    except (OSError, ValueError, IndexError):
        return None


def _descendants(tops: tuple[int, ...], proc: str) -> set[int]:
    """They themselves, too."""
    above: dict[int, list[int]] = {}
    for name in _pids(proc):
        try:
            with open(f"{proc}/{name}/stat", "rb") as file:
                parent = int(file.read(4096).rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        above.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    waiting = list(tops)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += above.get(pid, ())
    return found
