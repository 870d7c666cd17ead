"""LU compiled and run by the MPI that is here: it verifies, and says no where it should."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from gshell.cli import demo
from gshell.errors import NoMpi

LU = Path(__file__).parents[2] / "examples" / "lu"
NOT_THROUGH_GSHELL = [
    sys.executable, "-c", "import os, sys; argv = sys.argv[3:]; os.execvp(argv[0], argv)",
]  # fmt: skip


@pytest.fixture(scope="module")
def mpi():
    try:
        return demo.find_mpi(os.environ)
    except NoMpi as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def programs(mpi, tmp_path_factory):
    """Class S for 1, 4 and 5 ranks, by ``make suite`` into another directory; compiled quickly:
    the usual flags are the tarball's test."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    build = tmp_path_factory.mktemp("lu")
    (build / "suite.def").write_text("# three programs\n\nlu\tS\t1\nlu s 4\nlu S 5")
    where = [f"BUILD={build}", f"SUITE={build / 'suite.def'}"]
    make(mpi, "-j2", "suite", *where, "CFLAGS=-O1 -std=c99 -Wall -Wextra")
    return build / "bin"


@pytest.fixture(scope="module")
def cache_home(tmp_path_factory):
    """Where the tests of the demo keep what they compile, once for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "CFLAGS", ("-O1", "-std=c99"))  # it is compiled in a third of the time
        yield tmp_path_factory.mktemp("cache")


def make(mpi, *arguments, directory=LU):
    argv = ["make", "-C", str(directory), f"MPICC={mpi.mpicc[0]}", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    return done


def run(mpi, ranks, program, *arguments):
    argv = [*mpi.launch(ranks, program), *arguments]
    # Else Open MPI waits for two seconds after a rank that failed, even if there is no other.
    env = {**os.environ, "OMPI_MCA_odls_base_sigkill_timeout": "0"}
    return subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("ranks", [1, 4])
def test_class_s_verifies(mpi, programs, ranks):
    done = run(mpi, ranks, programs / f"lu.S.{ranks}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " Verification Successful\n" in done.stdout
    result = demo.parse_npb(done.stdout)
    assert (result.cls, result.processes, result.verified) == ("S", ranks, True)
    assert 0 < result.seconds < 30


def test_the_lines_that_parsers_know_have_npbs_form(mpi, programs):
    lines = run(mpi, 1, programs / "lu.S.1").stdout.splitlines()
    assert " Size:   12x  12x  12" in lines
    assert " Time step   20" in lines
    assert " Class           =                        S" in lines
    assert " Size            =             12x  12x  12" in lines
    assert " Verification    =               SUCCESSFUL" in lines
    # " Time in seconds =" + a number, once, in 43 columns as all the result's lines
    (seconds,) = (line for line in lines if line.startswith(" Time in seconds ="))
    assert len(seconds) == 43
    norms = lines[lines.index(" Comparison of RMS-norms of residual") + 1]
    assert norms.startswith("           1   0.1619634321098E-01 0.1619634321098E-01 0.")


def test_a_wrong_time_step_fails_verification(mpi, programs):
    done = run(mpi, 1, programs / "lu.S.1", "12", "50", "0.25")
    assert done.returncode == 1
    assert " FAILURE:  1   0.1" in done.stdout
    assert not demo.parse_npb(done.stdout).verified


def test_a_diverging_run_fails_verification(mpi, programs):
    done = run(mpi, 1, programs / "lu.S.1", "12", "50", "1e300")
    assert done.returncode == 1
    assert " Verification failed\n" in done.stdout


def test_a_size_of_no_class_is_not_verified_and_no_failure(mpi, programs):
    done = run(mpi, 4, programs / "lu.S.4", "9", "5")
    assert done.returncode == 0
    result = demo.parse_npb(done.stdout)
    assert (result.cls, result.verified) == ("U", False)
    assert " No verification performed\n" in done.stdout


def test_another_number_of_ranks_than_compiled_is_refused(mpi, programs):
    done = run(mpi, 1, programs / "lu.S.4")
    assert done.returncode == 2
    assert "compiled for 4 ranks, started with 1" in done.stderr


@pytest.mark.parametrize("arguments", [["5"], ["12", "50x"]])
def test_a_size_that_makes_no_sense_is_refused(mpi, programs, arguments):
    done = run(mpi, 1, programs / "lu.S.1", *arguments)
    assert done.returncode == 2
    assert "usage: lu.S.1" in done.stderr


def test_blocks_that_would_be_too_small_are_refused(mpi, programs):
    done = run(mpi, 5, programs / "lu.S.5")
    assert done.returncode == 2
    assert "12 points cut for 5x1 ranks" in done.stderr


def test_a_built_program_is_used_again(mpi, cache_home):
    cache = demo.default_cache_dir({"XDG_CACHE_HOME": str(cache_home)})
    first = demo.build_lu(mpi, "S", 1, cache)
    built = first.stat().st_mtime_ns
    assert demo.build_lu(mpi, "S", 1, cache) == first
    assert first.stat().st_mtime_ns == built
    assert [path.name for path in first.parent.iterdir()] == ["lu.S.1"]


def test_the_tarball_builds_where_it_is_unpacked(mpi, programs, tmp_path):
    make(mpi, "tarball", f"BUILD={tmp_path}")
    with tarfile.open(tmp_path / "NPB3.3-MPI.tar.gz") as archive:
        names = archive.getnames()
    subprocess.run(["tar", "xf", "NPB3.3-MPI.tar.gz"], cwd=tmp_path, check=True)
    unpacked = tmp_path / "NPB3.3-MPI"
    assert all(name.split("/")[0] == "NPB3.3-MPI" for name in names)
    (unpacked / "config" / "suite.def").write_text("lu\tS\t2\n")
    make(mpi, "clean", directory=unpacked)
    make(mpi, "-j2", "suite", directory=unpacked)
    done = run(mpi, 2, unpacked / "bin" / "lu.S.2")
    assert " Verification Successful\n" in done.stdout, done.stdout + done.stderr


def test_the_demo_compares_and_verifies(mpi, cache_home, monkeypatch, capfd):
    monkeypatch.setattr(demo, "gshell_command", lambda: NOT_THROUGH_GSHELL)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    assert demo.run_demo(["--class", "s"]) == 0
    out = capfd.readouterr().out
    lines = out.splitlines()
    assert lines.count(" Verification Successful") == 1  # live: the run through gshell
    assert lines[-3].split()[-1] == "yes"
    assert lines[-1] == "LU class S on a waiting agent: Verification Successful"


def test_the_demo_says_why_when_gshell_does_not_work(mpi, cache_home, monkeypatch, capfd):
    monkeypatch.setattr(demo, "gshell_command", lambda: ["sh", "-c", "echo no agent >&2; exit 125"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    assert demo.run_demo(["--class", "S"]) == 125
    assert "no agent" in capfd.readouterr().err
