"""How an MPI program's ranks are started: which way, and the launcher's words. Starts nothing.

Members that share a machine share the launcher's daemon, that of the first of them: two daemons of
one name on one machine would take each other's shared memory.
"""

from __future__ import annotations

import shlex
from typing import NamedTuple

from gshell.mpi.flavour import (
    GENERIC,
    INTEL,
    MPICH,
    MPICH_FAMILY,
    MVAPICH2,
    OPENMPI,
    Launcher,
)

# Each node has its own program that asks for a rank's streams; one that has none runs as it is.
RANK = ("/bin/sh", "-c", 'eval "exec $GSHELL_RANK_EXEC \\"\\$@\\""', "rank")

_ALLOCATORS = "^slurm,tm,pbs,lsf,gridengine,alps,loadleveler,flux,simulator"
_HOST_SLOTS_SINCE = (2,)  # Open MPI before has no host:slots


class Member(NamedTuple):
    """Of the job, as it said that it is here."""

    host: str
    tasks: int
    machine: str
    """Equal for those that run as one user on one machine."""
    cpus: int


class Plan(NamedTuple):
    """What the head is to do."""

    way: str
    """"pmi", or "launch", for which the rest is."""
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    """In addition, for the launcher and its daemons."""
    names: tuple[str, ...] = ()
    """By which the launcher knows the members."""
    daemons: tuple[int, ...] = ()
    """The member whose daemon starts a member's ranks: itself, or the first on its machine."""
    error: str = ""


class Settings(NamedTuple):
    """Of the node where the launcher runs, and of the user."""

    flavour: str
    """That of the program, or what the user named."""
    launcher: Launcher | None
    """None: there is none for that flavour."""
    path: str
    """The launcher's."""
    shell: tuple[str, ...]
    """Our remote shell's first words."""
    root: bool
    options: tuple[str, ...]


def plan(members: list[Member], program: list[str], settings: Settings) -> Plan:
    """``members`` by their index; the first is where the launcher would run."""
    if settings.flavour in MPICH_FAMILY and not settings.options:
        return Plan("pmi")
    if settings.launcher is None:
        return Plan("", error=_no_launcher(settings.flavour, members[0].host))
    daemons = _daemons(members)
    names = _names(members, daemons)
    hosts = [
        (name, sum(m.tasks for m, d in zip(members, daemons) if d == index))
        for index, name in enumerate(names)
        if daemons[index] == index
    ]
    crowded = any(slots > members[names.index(name)].cpus for name, slots in hosts)
    size = sum(member.tasks for member in members)
    if not _in_order(daemons):
        return Plan("", error="members that share a machine must follow each other")
    if settings.launcher.flavour == OPENMPI:
        argv, env = _open_mpi(hosts, size, settings, crowded)
    elif settings.launcher.flavour in MPICH_FAMILY:
        argv, env = _hydra(hosts, size, settings)
    else:
        if len(hosts) > 1:
            return Plan(
                "", error=f"{settings.path}: a launcher that is not known starts on one node only"
            )
        argv, env = [settings.path, "-n", str(size)], {}
    argv += [*settings.options, *RANK, *program]
    return Plan("launch", tuple(argv), tuple(sorted(env.items())), tuple(names), tuple(daemons))


def _no_launcher(flavour: str, host: str) -> str:
    """
    >>> _no_launcher("elan", "n1")
    'elan is no MPI that gshell knows: mpich, openmpi, intel, mvapich2, generic'
    """
    known = (MPICH, OPENMPI, INTEL, MVAPICH2, GENERIC)
    if flavour and flavour not in known:
        return f"{flavour} is no MPI that gshell knows: {', '.join(known)}"
    what = "any MPI" if flavour in ("", GENERIC) else flavour
    return (
        f"no mpirun of {what} on PATH at {host} (the program is linked with it, or --flavour says"
        " so): start the agent where that MPI is loaded, or say where it is: --env PATH=DIR:..."
    )


def _daemons(members: list[Member]) -> list[int]:
    first: dict[str, int] = {}
    return [first.setdefault(member.machine, index) for index, member in enumerate(members)]


def _in_order(daemons: list[int]) -> bool:
    """Launchers number ranks host by host, as members are numbered."""
    return daemons == sorted(daemons)


def names(members: list[Member]) -> list[str]:
    """The hosts of the members, as launchers and hooks know them."""
    daemons = _daemons(members)
    found = _names(members, daemons)
    return [found[daemon] for daemon in daemons]


def _names(members: list[Member], daemons: list[int]) -> list[str]:
    """Hosts' own names, which launchers may print; others where two machines have the same."""
    hosts = [member.host for index, member in enumerate(members) if daemons[index] == index]
    return [
        member.host if index == 0 or hosts.count(member.host) == 1 else f"gshell-{index}"
        for index, member in enumerate(members)
    ]


def _open_mpi(
    hosts: list[tuple[str, int]], size: int, settings: Settings, crowded: bool
) -> tuple[list[str], dict[str, str]]:
    assert settings.launcher is not None
    version = settings.launcher.version
    if version and version < _HOST_SLOTS_SINCE:
        words = ",".join(",".join([name] * slots) for name, slots in hosts)
    else:
        words = ",".join(f"{name}:{slots}" for name, slots in hosts)
    # Its parameters as variables, which what the user says in options is stronger than.
    argv = [settings.path, "--host", words, "-n", str(size), "--wdir", "/"]
    shell = " ".join(settings.shell)
    if version[:1] >= (5,):
        env = {
            "PRTE_MCA_plm": "ssh",
            "PRTE_MCA_ras": _ALLOCATORS,
            "PRTE_MCA_plm_ssh_agent": shell,
            "PRTE_MCA_plm_ssh_no_tree_spawn": "1",  # the head's agent knows the way, others do not
            "PRTE_MCA_prte_leave_session_attached": "1",
            "PRTE_MCA_rmaps_default_mapping_policy": "slot",
            "PRTE_MCA_hwloc_default_binding_policy": "none",
        }
        if settings.root:
            argv.insert(1, "--allow-run-as-root")
    else:
        env = {
            "OMPI_MCA_plm": "rsh",
            "OMPI_MCA_ras": _ALLOCATORS,
            "OMPI_MCA_plm_rsh_agent": shell,
            "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
            "OMPI_MCA_orte_leave_session_attached": "1",
            "OMPI_MCA_rmaps_base_mapping_policy": "slot",
            # Of a node's cores others may have some; bound ranks of two jobs would share the first.
            "OMPI_MCA_hwloc_base_binding_policy": "none",
        }
        if settings.root:
            env["OMPI_ALLOW_RUN_AS_ROOT"] = env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    if crowded:
        env["OMPI_MCA_mpi_yield_when_idle"] = "1"
    return argv, env


def _hydra(
    hosts: list[tuple[str, int]], size: int, settings: Settings
) -> tuple[list[str], dict[str, str]]:
    words = ",".join(f"{name}:{slots}" for name, slots in hosts)
    argv = [settings.path, "-hosts", words, "-n", str(size), "-wdir", "/"]
    env = {
        "HYDRA_LAUNCHER": "ssh",
        "HYDRA_LAUNCHER_EXEC": settings.shell[0],
        "HYDRA_LAUNCHER_EXTRA_ARGS": shlex.join(settings.shell[1:]),
        "HYDRA_RMK": "user",  # no batch system's hosts
        "I_MPI_HYDRA_BOOTSTRAP": "ssh",
        "I_MPI_HYDRA_BOOTSTRAP_EXEC": settings.shell[0],
        "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS": shlex.join(settings.shell[1:]),
    }
    return argv, env
