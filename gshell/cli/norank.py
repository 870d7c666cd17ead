"""Why a job's rank has no streams of its own: it was not gshell that started it. Pure."""

from __future__ import annotations

from typing import Any

from gshell.client import joining
from gshell.errors import GshellError, UsageError
from gshell.model.rankset import RankSet

ADOPTED = "adopt"
LAUNCHERS = frozenset(
    ("mpirun", "mpiexec", "mpiexec.hydra", "orterun", "prterun", "srun", "mpirun.openmpi",
     "mpirun.mpich", "mpiexec.openmpi", "mpiexec.mpich")
)  # fmt: skip


def complaint(job: dict[str, Any], wanted: str) -> GshellError | None:
    """What is wrong with these ranks of this JOB; None: nothing that is known here."""
    name = str(job.get("id"))
    program = str(job.get("argv0") or "").rpartition("/")[2]
    if program == ADOPTED:
        return GshellError(
            f"job {name} ({job.get('name')}) was begun without gshell: its launcher put what all "
            "ranks print into the job's own files, so no rank has a stream to attach to",
            hint=f"gshell sh {name} --rank {wanted}    gshell ranks {name}    and to begin it "
            "anew, with ranks that have streams:  gshell mpi -n N -- PROGRAM",
        )
    layout = job.get("layout")
    counts = [n for n in layout if isinstance(n, int)] if isinstance(layout, list) else []
    size = sum(counts) or int(job.get("tasks") or 1)
    if not RankSet.parse(wanted).beyond(size):
        return None
    if program in LAUNCHERS:
        return GshellError(
            f"job {name} is {program}: it starts its ranks itself and mixes what they print into "
            "one stream, so no rank has one of its own",
            hint=f"gshell sh {name} --rank {wanted}    gshell ranks {name}    and to begin it "
            "anew, with ranks that have streams:  gshell mpi -n N -- PROGRAM",
        )
    what, hint = joining.beyond(name, wanted, size)
    return UsageError(what, hint=hint)
