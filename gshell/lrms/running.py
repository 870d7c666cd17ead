"""A batch job that runs, and that we did not start: what it is called, where it runs, which files
its output is in, how it ended, and how a program is started on its nodes. As the plug-ins beside
it: argv out, text in.

`about` and `told` belong together as `Plugin.status` and `statuses` do; they ask after one job and
tell more of it.
"""

from __future__ import annotations

from gshell.errors import LrmsError
from gshell.lrms import registry, running_oar, running_sge, running_slurm
from gshell.lrms.base import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from gshell.lrms.base import Done
    from gshell.lrms.running_base import BatchJob

KNOWN: dict[str, ModuleType] = {
    "slurm": running_slurm,
    "oar": running_oar,
    "sge": running_sge,
}
# What is known of the others is not enough: nothing of it was ever seen to work.
ANEW = "or begin it with gshell:  gshell run --site NAME -- PROGRAM"
INSTEAD = {  # (why, what to do)
    "pbs": (
        "what starts programs on its nodes, pbsdsh, does so from inside the job only",
        f"qstat -n ID names its nodes; on each:  ssh NODE gshell agent start    {ANEW}",
    ),
    "lsf": (
        "what starts programs on its nodes, blaunch, does so from inside the job only",
        f"bjobs -w ID names its nodes; on each:  ssh NODE gshell agent start    {ANEW}",
    ),
    "htcondor": (
        "the way into its jobs, condor_ssh_to_job, is for a shell only",
        f"condor_ssh_to_job ID, and there:  gshell agent start    {ANEW}",
    ),
    "local": (
        "it has no nodes but this host, which needs no batch system's leave",
        "gshell run -- PROGRAM",
    ),
}
WHAT_TO_DO = f"on each of its nodes:  ssh NODE gshell agent start    {ANEW}"


def _of(lrms: str) -> ModuleType:
    found = KNOWN.get(lrms)
    if found is None:
        if lrms not in registry.NAMES:
            registry.plugin(lrms)  # says which there are
        why, hint = INSTEAD.get(lrms, ("how that is done there is not known", WHAT_TO_DO))
        raise LrmsError("refused", f"no running job of {lrms} can be adopted: {why}", hint)
    return found


def about(lrms: str, one: str) -> list[Command]:
    """To learn of this job; the first command is the answer.

    Raises:
        LrmsError: "refused": no job is called so there, or nothing can be adopted there.
    """
    found: list[Command] = _of(lrms).about(one)
    return found


def told(lrms: str, one: str, done: Sequence[Done]) -> BatchJob | None:
    """None: there is no such job, or not any more.

    Raises:
        LrmsError: it could not be asked, or said what is no answer.
    """
    found: BatchJob | None = _of(lrms).told(one, done)
    return found


def into(
    lrms: str, one: str, hosts: Sequence[str], argv: Sequence[str]
) -> list[tuple[Command, ...]]:
    """To start ``argv`` once on each of ``hosts``, from the submit host: commands that stay in the
    foreground while their processes live. Of each, the ways to do it: a later one is for when the
    ones before it fail at once."""
    found: list[tuple[Command, ...]] = _of(lrms).into(one, hosts, argv)
    return found


def cancel(lrms: str, one: str) -> Command:
    """To end this job."""
    module = _of(lrms)
    module.about(one)  # refuses what is no id
    found: Command = module.cancel(one)
    return found


def alone(env: Mapping[str, str]) -> dict[str, str]:
    """The environment for those commands, where we may be in a batch job ourselves, whose sizes
    and limits would be taken for ours."""
    foreign = ("SLURM_", "SBATCH_", "SRUN_", "OAR_", "PMI", "OMPI_", "PE_", "SGE_TASK_")
    return {
        name: value
        for name, value in env.items()
        if name in ("SLURM_CONF", "OAR_SSH_CONFIG") or not name.startswith(foreign)
    }
