"""Programs compiled with the Open MPIs that there are, and what they do."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import pytest

# What it does is its first word. It prints "ring SIZE" at rank 0 when it comes to its end.
RING = r"""
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int rank, size, x = 0;
    const char *what = argc > 1 ? argv[1] : "";
    int who = argc > 2 ? atoi(argv[2]) : -1, how = argc > 3 ? atoi(argv[3]) : 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (!strcmp(what, "die") && rank == who) { signal(how, SIG_DFL); raise(how); }
    if (!strcmp(what, "exit") && rank == who) exit(how);
    if (!strcmp(what, "lines")) for (int i = 0; i < who; i++) printf("rank %d line %d\n", rank, i);
    if (!strcmp(what, "hang")) { printf("up %d\n", rank); fflush(stdout); pause(); }
    if (!strcmp(what, "stdin") && rank == 0) {
        long n = 0; unsigned sum = 0; int c;
        while ((c = getchar()) != EOF) { n++; sum = sum * 31 + c; }
        printf("read %ld %u\n", n, sum);
    }
    if (!strcmp(what, "where")) {
        char dir[4096];
        printf("%s %s %d\n", getcwd(dir, sizeof dir), getenv("GSHELL_RANK"), isatty(0));
    }
    if (rank) MPI_Recv(&x, 1, MPI_INT, rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    x++;
    if (size > 1) MPI_Send(&x, 1, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD);
    if (rank) fprintf(stderr, "passed %d\n", rank);
    else if (size > 1) MPI_Recv(&x, 1, MPI_INT, size - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (!rank) printf("ring %d\n", x);
    MPI_Finalize();
    return 0;
}
"""


@lru_cache(maxsize=1)
def compilers() -> list[str]:
    """Of Open MPI: $GSHELL_OPENMPI's (directories, by colons), and the one on PATH."""
    folders = os.environ.get("GSHELL_OPENMPI", "").split(":")
    found = [os.path.join(folder, "bin", "mpicc") for folder in folders if folder]
    for name in ("mpicc.openmpi", "mpicc"):
        path = shutil.which(name)
        if path:
            found.append(path)
            break
    return [path for path in found if os.access(path, os.X_OK) and _is_open_mpi(path)]


def _is_open_mpi(path: str) -> bool:
    done = subprocess.run([path, "--showme:version"], capture_output=True, timeout=20, check=False)
    return done.returncode == 0 and b"Open MPI" in done.stdout + done.stderr


def ring(folder: Path, compiler: str) -> str:
    """The program's file."""
    source = folder / "ring.c"
    source.write_text(RING)
    program = str(folder / "ring")
    done = subprocess.run(
        [compiler, "-o", program, str(source)], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return program


each = pytest.mark.parametrize(
    "compiler",
    compilers() or [pytest.param("", marks=pytest.mark.skip("no Open MPI"))],
    ids=[f"openmpi{number}" for number in range(len(compilers()))] or None,
)
