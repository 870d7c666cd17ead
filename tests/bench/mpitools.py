"""The MPIs that are here, each with its compiler and launcher, and the little programs that rows run.

Knows nothing of gshell.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Failed, Missing, tail

BUILD_DEADLINE_S = 120.0
ASK_S = 20.0
ENV = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}  # fmt: skip
CARRIED = tuple(f"--env={name}={value}" for name, value in ENV.items())

_BEGIN = """
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int rank, size;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
"""
_END = "    MPI_Finalize();\n    return 0;\n}\n"
SOURCES = {
    "hello": _BEGIN + '    printf("hello %d of %d\\n", rank, size); fflush(stdout);\n' + _END,
    # Each line by itself: stdio would write as it is buffered, which MPIs change. Who is
    # done rests until all are: ranks that spin in MPI_Finalize would take the cores from the rest.
    "lines": "#include <stdlib.h>\n" + _BEGIN + """
    int count = atoi(argv[1]);
    char line[64];
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 0; i < count; i++) {
        int length = snprintf(line, sizeof line, "line %06d of rank %03d\\n", i, rank);
        if (write(1, line, length) != length)
            MPI_Abort(MPI_COMM_WORLD, 1);
    }
    MPI_Request all;
    int done = 0;
    MPI_Ibarrier(MPI_COMM_WORLD, &all);
    while (MPI_Test(&all, &done, MPI_STATUS_IGNORE), !done)
        usleep(2000);
""" + _END,
    # Says who it is and stays, at rest, until it is told to end.
    "stay": _BEGIN + '    printf("hello %d of %d\\n", rank, size); fflush(stdout);\n'
    "    for (;;) pause();\n" + _END,
    "count": _BEGIN + """
    static unsigned char data[1 << 16];
    unsigned long bytes = 0, sum = 5381;
    for (ssize_t got; (got = read(0, data, sizeof data)) > 0; bytes += got)
        for (ssize_t i = 0; i < got; i++)
            sum = (sum * 33 + data[i]) & 0xffffffff;
    printf("%lu bytes %lu\\n", bytes, sum); fflush(stdout);
""" + _END,
}  # fmt: skip


def digest(data: bytes) -> int:
    """As "count" makes it."""
    sum_ = 5381
    for byte in data:
        sum_ = (sum_ * 33 + byte) & 0xFFFFFFFF
    return sum_


@dataclass
class Mpi:
    flavour: str
    """"mpich" or "openmpi"."""
    version: str
    mpicc: str
    launcher: str
    own: bool = True
    """It is the one that PATH names."""
    built: dict[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return "mpiexec.hydra" if self.flavour == "mpich" else "mpirun"

    def launch(self, ranks: int, *argv: str, options: tuple[str, ...] = ()) -> list[str]:
        more = () if self.flavour == "mpich" else ("--oversubscribe",)
        return [self.launcher, *more, *options, "-n", str(ranks), *argv]

    def build(self, name: str, directory: Path) -> str:
        """One of SOURCES, compiled; raises Failed."""
        if name not in self.built:
            source, program = directory / f"{name}.c", directory / f"{name}.{self.flavour}"
            source.write_text(SOURCES[name])
            argv = [self.mpicc, "-O2", "-o", str(program), str(source)]
            done = subprocess.run(argv, capture_output=True, timeout=BUILD_DEADLINE_S, check=False)
            if done.returncode:
                raise Failed(f"{self.mpicc} {name}.c: {tail(done.stderr or done.stdout)}")
            self.built[name] = program
        return str(self.built[name])

    def make(self, source: Path, target: str, build: Path, *words: str) -> Path:
        """A program of examples/; raises Failed."""
        argv = ["make", "-s", "-C", str(source), f"MPICC={self.mpicc}", f"BUILD={build}", *words]
        done = subprocess.run(argv, capture_output=True, timeout=BUILD_DEADLINE_S, check=False)
        program = build / "bin" / target
        if done.returncode or not program.exists():
            raise Failed(f"make {target}: {tail(done.stderr or done.stdout)}")
        return program


_NAMES = {
    "mpich": (("mpiexec.hydra", "mpicc.mpich"), ("mpiexec.hydra", "mpicc")),
    "openmpi": (("mpirun.openmpi", "mpicc.openmpi"), ("mpirun", "mpicc")),
}
_SAYS = {"mpich": "hydra", "openmpi": "open mpi"}
_PLACES = {"mpich": "BENCH_MPICH", "openmpi": "BENCH_OPENMPI"}  # a directory of programs, first


def find(flavour: str) -> Mpi:
    """The MPI of this flavour: BENCH_MPICH's or BENCH_OPENMPI's, PATH's, the one beside this Python.

    Raises:
        Missing: there is none that has both a compiler and a launcher.
    """
    named = os.environ.get(_PLACES[flavour], "")
    path = os.environ.get("PATH", "").split(os.pathsep)
    places = [named] if named else [*path, os.path.dirname(sys.executable)]
    for place in places:
        for launcher, mpicc in _NAMES[flavour]:
            found = [shutil.which(name, path=place) for name in (launcher, mpicc)]
            if not all(found):
                continue
            said = _version(str(found[0]))
            if _SAYS[flavour] in said.lower():
                return Mpi(flavour, said, str(found[1]), str(found[0]))
    raise Missing(f"no {flavour} with mpicc and launcher ({_PLACES[flavour]}=DIRECTORY)")


def _version(launcher: str) -> str:
    try:
        done = subprocess.run(
            [launcher, "--version"], env={**os.environ, **ENV}, capture_output=True, timeout=ASK_S,
            text=True, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    words = " ".join((done.stdout + done.stderr).split())
    return words[:120]
