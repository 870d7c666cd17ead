"""CG compiled and run by the MPI that is here: any number of ranks verifies, a wrong result does not."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gshell.cli import demo
from gshell.errors import NoMpi
from gshell.model.progress import Reader

CG = Path(__file__).parents[2] / "examples" / "cg"
SMALL = ("5", "9")  # rows per edge, iterations


@pytest.fixture(scope="module")
def mpi():
    try:
        return demo.find_mpi(os.environ)
    except NoMpi as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def program(mpi, tmp_path_factory):
    if shutil.which("make") is None:
        pytest.skip("no make")
    build = tmp_path_factory.mktemp("cg")
    argv = ["make", "-C", str(CG), f"MPICC={mpi.mpicc[0]}", f"BUILD={build}", "cg", "CLASS=S"]
    done = subprocess.run(
        [*argv, "NPROCS=4", "CFLAGS=-O1 -std=c99 -Wall -Wextra"], capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    return build / "bin" / "cg.S.4"


def run(mpi, ranks, program, *arguments):
    env = {**os.environ, "OMPI_MCA_odls_base_sigkill_timeout": "0"}
    return subprocess.run(
        [*mpi.launch(ranks, program), *arguments], env=env, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def eigenvalue(done):
    return float(re.findall(r"eigenvalue ([0-9.]+)", done.stdout)[-1])


def test_the_class_verifies_and_its_lines_are_those_parsers_know(mpi, program):
    done = run(mpi, 1, program)
    assert done.returncode == 0, done.stdout + done.stderr
    result = demo.parse_npb(done.stdout)
    assert (result.cls, result.processes, result.verified) == ("S", 1, True)


def test_a_number_of_ranks_that_divides_nothing_gives_the_same(mpi, program):
    one, three = (run(mpi, ranks, program, *SMALL) for ranks in (1, 3))
    assert (one.returncode, three.returncode) == (0, 0), one.stdout + three.stdout + three.stderr
    assert " Verification Successful\n" in three.stdout
    assert eigenvalue(one) == pytest.approx(eigenvalue(three), rel=1e-12)


def test_too_few_iterations_fail_verification(mpi, program):
    done = run(mpi, 1, program, "12", "2")
    assert done.returncode == 1
    assert " Verification failed\n" in done.stdout


def test_more_ranks_than_rows_are_refused(mpi, program):
    done = run(mpi, 9, program, "2")
    assert done.returncode == 2
    assert "8 rows cannot be cut for 9 ranks" in done.stderr


@pytest.mark.parametrize("arguments", [["1"], ["5", "0"], ["5x"], ["5", "6", "7"]])
def test_a_size_that_makes_no_sense_is_refused(mpi, program, arguments):
    done = run(mpi, 1, program, *arguments)
    assert done.returncode == 2
    assert "usage: cg.S" in done.stderr


def test_what_it_prints_says_how_far_it_is(mpi, program):
    out = run(mpi, 1, program, *SMALL).stdout.encode()
    begun = out[: out.index(b" Iteration    4")]
    assert Reader().look(begun) == (3, 9)
