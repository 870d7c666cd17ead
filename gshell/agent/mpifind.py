"""Looks which MPI a program wants and which launcher starts it, on this node. What the bytes and
texts mean is gshell/mpi/flavour.py's. Answers are kept: the same file is looked at once.
"""

from __future__ import annotations

import glob
import mmap
import os
from typing import NamedTuple

from gshell.agent.spawn import find
from gshell.errors import SpawnFailed
from gshell.mpi import flavour
from gshell.mpi.flavour import Launcher

USUAL_PATH = "/usr/bin:/bin"
MOST_KEPT = 256
# Programs that run other programs, so that what they are linked with says nothing.
INTERPRETERS = ("sh", "bash", "dash", "ksh", "zsh", "csh", "tcsh", "fish", "env", "python", "perl",
                "ruby", "R", "Rscript", "julia", "java", "octave", "lua", "tclsh", "node", "time",
                "timeout", "nice", "taskset", "numactl", "strace", "ltrace", "gdb", "valgrind",
                "xterm", "stdbuf", "setarch")  # fmt: skip
NAMES = {
    flavour.OPENMPI: ("mpirun.openmpi", "mpirun", "mpiexec.openmpi", "mpiexec", "orterun"),
    flavour.MPICH: ("mpiexec.hydra", "mpirun.mpich", "mpiexec.mpich", "mpirun", "mpiexec"),
    flavour.INTEL: ("mpiexec.hydra", "mpirun", "mpiexec"),
    flavour.MVAPICH2: ("mpiexec.hydra", "mpirun", "mpiexec"),
}
ANY_NAMES = ("mpirun", "mpiexec", "mpiexec.hydra")
SYSTEM_LIBRARIES = ("/lib/*-linux-gnu", "/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/lib64")

_versions: dict[tuple[str, int, int], Launcher] = {}
_linked: dict[tuple[str, int, int], flavour.Linked | None] = {}


class NotAsked(Exception):
    """What ``file --version`` says has to be known first: see `remember`."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.file = file


class Found(NamedTuple):
    """What to start a program with."""

    flavour: str
    """Of the program, or "" where any will do: see gshell/mpi/plan.py."""
    launcher: Launcher | None
    path: str
    """The launcher's: a name where the node's own PATH leads there."""


def needs_launcher(
    named: str, argv: list[str], env: dict[str, str], cwd: str, options: bool
) -> bool:
    """False: the agents start its ranks themselves."""
    return not _direct(_wanted(named, argv, env, cwd)[0], options)


def hydra_of(named: str, argv: list[str], env: dict[str, str], cwd: str) -> str:
    """The process manager that came with the program's MPICH; "": none is beside its library."""
    wanted, folders = _wanted(named, argv, env, cwd)
    for folder in folders if wanted in flavour.MPICH_FAMILY else ():
        prefix = os.path.dirname(os.path.realpath(folder))
        for place in (prefix, os.path.dirname(prefix)):  # lib; lib/x86_64-linux-gnu
            file = os.path.join(place, "bin", "mpiexec.hydra")
            if os.access(file, os.X_OK):
                return file
    return ""


def look(named: str, argv: list[str], env: dict[str, str], cwd: str, options: bool) -> Found:
    """``named``: the flavour its user named, "auto" if none; ``options``: there are words for a
    launcher.

    Raises:
        NotAsked: a launcher must be asked what it is.
    """
    path = env.get("PATH") or USUAL_PATH
    wanted, folders = _wanted(named, argv, env, cwd)
    if _direct(wanted, options):
        return Found(flavour.MPICH, None, "")
    wanted = "" if wanted == NONE else wanted
    for folder in folders:
        prefix = os.path.join(os.path.dirname(os.path.normpath(folder)), "bin")
        found = _among(NAMES.get(wanted, ANY_NAMES), prefix, wanted)
        if found is not None:
            return _shortened(found, path)
    found = _among(NAMES.get(wanted, ANY_NAMES), path, wanted)
    if found is None:
        return Found(wanted or flavour.GENERIC, None, "")
    return _shortened(found, path)


def _direct(wanted: str, options: bool) -> bool:
    return not options and (wanted in flavour.MPICH_FAMILY or wanted == NONE)


def _wanted(named: str, argv: list[str], env: dict[str, str], cwd: str) -> tuple[str, list[str]]:
    path = env.get("PATH") or USUAL_PATH
    kind, folders = _of_program(argv[0], path, env, cwd)
    return (kind, folders) if named == "auto" or named == kind else (named, [])


def linked_with(argv: list[str], env: dict[str, str], cwd: str) -> str:
    """The MPI of this program; "" if it has none, or there is no such program yet."""
    kind = _wanted("auto", argv, env, cwd)[0]
    return "" if kind == NONE else kind


NONE = "none"  # it uses no MPI that we could see


def _of_program(name: str, path: str, env: dict[str, str], cwd: str) -> tuple[str, list[str]]:
    """(flavour, NONE, or "" for any; where its MPI library may be, the likeliest first)"""
    try:
        file = find(name, path) if "/" not in name else os.path.join(cwd, name)
    except SpawnFailed:
        return NONE, []  # that is said when it is started
    file = os.path.realpath(os.path.join(cwd, file))
    says = _says(file)
    if says is None or _is_interpreter(os.path.basename(file)):
        wanted = "" if _any_launcher(path) else NONE
        return wanted, []
    library = flavour.library(says)
    if library is None:
        return (NONE if says.needed else ""), []  # a static one may have any in it
    kind, soname = library
    folders = flavour.folders(says, file)
    folders += (env.get("LD_LIBRARY_PATH") or "").split(":")
    folders = [folder for folder in folders if folder] + _system_folders()
    return kind, [folder for folder in folders if os.path.exists(os.path.join(folder, soname))]


def _is_interpreter(name: str) -> bool:
    return name.rstrip("0123456789.") in INTERPRETERS


def _system_folders() -> list[str]:
    return [folder for pattern in SYSTEM_LIBRARIES for folder in glob.glob(pattern)]


def _mark(path: str) -> tuple[str, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return path, status.st_mtime_ns, status.st_size


def _says(file: str) -> flavour.Linked | None:
    mark = _mark(file)
    if mark is None or not mark[2]:
        return None
    if mark not in _linked:
        try:
            with open(file, "rb") as opened:
                data = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            return None
        with data:
            _keep(_linked, mark, flavour.linked(data))  # type: ignore[arg-type]
    return _linked[mark]


def _any_launcher(path: str) -> bool:
    return any(os.access(os.path.join(f, n), os.X_OK) for f in path.split(":") for n in ANY_NAMES)


def _among(names: tuple[str, ...], path: str, wanted: str) -> Found | None:
    """The first of these that is of the flavour that is wanted."""
    for name in names:
        try:
            file = find(name, path)
        except SpawnFailed:
            continue
        launcher = _version(file)
        if not wanted or launcher.flavour == wanted or wanted == flavour.GENERIC:
            return Found(launcher.flavour, launcher, os.path.abspath(file))
    return None


def _version(file: str) -> Launcher:
    mark = _mark(file)
    if mark is None:
        return Launcher(flavour.GENERIC, ())
    if mark not in _versions:
        raise NotAsked(file)
    return _versions[mark]


def remember(file: str, text: str) -> None:
    """What this launcher says to ``--version``."""
    mark = _mark(file)
    if mark is not None:
        _keep(_versions, mark, flavour.launcher(text))


def _keep(kept: dict, mark: tuple[str, int, int], value: object) -> None:  # type: ignore[type-arg]
    if len(kept) >= MOST_KEPT:
        kept.clear()
    kept[mark] = value


def _shortened(found: Found, path: str) -> Found:
    """Open MPI started by a path prepends its directories to those of all ranks."""
    name = os.path.basename(found.path)
    try:
        first = os.path.abspath(find(name, path))
    except SpawnFailed:
        return found
    return found._replace(path=name) if first == found.path else found
