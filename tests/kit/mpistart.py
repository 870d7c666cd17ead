"""mpi-start with launchers that print their words: what would be run, without any MPI."""

import os
import pathlib
import re
import subprocess
from typing import NamedTuple

import gshell

SCRIPT = pathlib.Path(gshell.__file__).parent / "mpi/mpi-start"
TOOLS = ("bash", "sh", "mkdir", "rm", "cat", "tar", "gzip", "chmod", "mktemp", "dirname", "basename",
         "sort", "mv", "rmdir", "env", "true", "cp", "uname", "sleep", "printf", "echo", "false",
         "tr", "sed", "find")  # fmt: skip

# Prints its name and its words; then the file of hosts that it was given.
LAUNCHER = """#!/bin/bash
case $1 in --version) echo "$FAKE_VERSION"; exit 0 ;; --mpi=list) echo "$FAKE_PMI"; exit 0 ;; esac
printf '%s' "${0##*/}"; printf ' <%s>' "$@"; echo
for name in $SHOW; do echo "$name=${!name}"; done
while [ $# -gt 0 ]; do
    case $1 in -machinefile | -f | -hostfile | -rf) { tr '\\n' ' ' | sed 's/ $//'; echo; } <"$2" ;; esac
    shift
done
exit ${FAKE_STATUS:-0}
"""


def tools(folder: pathlib.Path) -> pathlib.Path:
    """A folder for PATH with the usual tools, and no MPI or batch system of this machine."""
    for tool in TOOLS:
        (folder / tool).symlink_to(f"/usr/bin/{tool}")
    return folder


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class MpiStart:
    """A node of its own: PATH, HOME and the working directory have nothing but what a test puts there."""

    def __init__(self, folder: pathlib.Path, tools: pathlib.Path) -> None:
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.work = folder / "work"
        self.temporary = folder / "tmp"
        for one in (self.bin, self.home, self.work, self.temporary):
            one.mkdir()
        self.env = {
            "PATH": f"{self.bin}:{tools}", "HOME": str(self.home), "TMPDIR": str(self.temporary),
            "FAKE_VERSION": "HYDRA build details:", "FAKE_PMI": "pmi2 pmix", "MPI_USE_OMP": "0",
            "MPI_START_SHARED_FS": "1", "MPI_START_SOCKETS": "2", "MPI_START_COREPERSOCKET": "3",
        }  # fmt: skip
        self.launcher("mpiexec")

    def launcher(self, name: str) -> None:
        self.program(name, LAUNCHER)

    def program(self, name: str, text: str) -> pathlib.Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def file(self, name: str, text: str) -> pathlib.Path:
        """In the working directory."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *words: str, script: str = "", stdin: str = "", **env: str) -> Ran:
        """``script``: instead of a call of mpi-start, bash that may use $MPI_START."""
        argv = ["/bin/bash", "-c", script] if script else ["/bin/bash", str(SCRIPT), *words]
        ran = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, cwd=self.work, timeout=20,
            env={**self.env, "MPI_START": str(SCRIPT), **env},
        )  # fmt: skip
        place = re.compile(re.escape(str(self.temporary)) + r"/mpi-start\.[0-9.]+/tmp\.[0-9]+")
        out = place.sub("FILE", ran.stdout).replace(str(self.work), "WORK")
        return Ran(ran.returncode, out, ran.stderr)

    def left(self) -> list[str]:
        """What it has left in the place of temporary files."""
        return os.listdir(self.temporary)
