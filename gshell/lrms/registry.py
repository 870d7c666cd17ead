"""Which plug-ins there are, and which batch job we are in. Loads none that is not asked for."""

from __future__ import annotations

from gshell.errors import LrmsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gshell.lrms.base import Allocation, Plugin

# In the order in which they are looked for: those that imitate another's environment come first.
# (name, variables one of which every batch job of it has)
TRACES = (
    ("slurm", ("SLURM_JOB_ID", "SLURM_JOBID")),
    ("oar", ("OAR_JOB_ID", "OAR_JOBID")),
    ("lsf", ("LSB_JOBID",)),
    ("sge", ("SGE_TASK_ID", "PE_HOSTFILE")),
    ("pbs", ("PBS_JOBID",)),
    ("htcondor", ("_CONDOR_JOB_AD",)),
    ("local", ("GSHELL_LOCAL_JOB",)),
)
NAMES = tuple(name for name, _ in TRACES)


def built_in(name: str) -> Plugin | None:
    """One of ours; the others are not loaded."""
    if name == "local":
        from gshell.lrms import local

        return local
    if name == "slurm":
        from gshell.lrms import slurm

        return slurm
    if name == "oar":
        from gshell.lrms import oar

        return oar
    if name == "sge":
        from gshell.lrms import sge

        return sge
    if name == "pbs":
        from gshell.lrms import pbs

        return pbs
    if name == "lsf":
        from gshell.lrms import lsf

        return lsf
    if name == "htcondor":
        from gshell.lrms import htcondor

        return htcondor
    return None


def plugin(name: str, others: Mapping[str, Plugin | None] | None = None) -> Plugin:
    """By name; ``others`` are those of third parties (`gshell.plugins`).

    Raises:
        LrmsError: there is none of that name.
    """
    found = built_in(name) or (others or {}).get(name)
    if found is None:
        there = ", ".join([*NAMES, *sorted(others or ())])
        raise LrmsError("refused", f"no batch system {name!r} is known; there are {there}")
    return found


def detect(
    env: Mapping[str, str],
    read: Callable[[str], str],
    now: float,
    others: Iterable[Plugin] = (),
) -> Allocation | None:
    """The batch job that we are in; None: in none.

    Raises:
        LrmsError: we are in one, but its nodes cannot be read.
    """
    for other in others:  # who brings a plug-in along knows why
        found = other.allocation(env, read, now)
        if found is not None:
            return found
    for name, traces in TRACES:
        if any(trace in env for trace in traces):
            ours = built_in(name)
            found = ours.allocation(env, read, now) if ours else None
            if found is not None:
                return found
    return None
