"""The demo's pure parts: reading results, choosing an MPI, the table."""

import os
import stat
import sys
from pathlib import Path

import pytest

from gshell.cli import demo
from gshell.cli.demo import Comparison, LuResult, MpiToolchain, Timing
from gshell.errors import NoMpi

NPB_RESULT = """
 LU Benchmark Completed.
 Class           =                        S
 Size            =             12x  12x  12
 Iterations      =                       50
 Time in seconds =                     0.02
 Total processes =                        1
 Compiled procs  =                        1
 Mop/s total     =                  4172.49
 Mop/s/process   =                  4172.49
 Operation type  =           floating point
 Verification    =               SUCCESSFUL
 Version         =                    3.3.1
 Compile date    =              21 Nov 2026

 Compile options:
    MPIF77       = mpif77
    FFLAGS       = -O3 -DX=1
"""
VERIFIED = LuResult("S", 50, 1, 0.02, 4172.49, True)

OPEN_MPI_MACROS = """\
#define OMPI_MAJOR_VERSION 4
#define OMPI_MINOR_VERSION 1
#define OMPI_RELEASE_VERSION 4
#define MPI_VERSION 3
"""
MPICH_MACROS = '#define MPI_VERSION 5\n#define MPICH_VERSION "5.0.2"\n'
OPEN_MPI_SAYS = "mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/"
HYDRA_SAYS = "HYDRA build details:\n    Version:                                 5.0.2\n"


# -------------------------------------------------------------------------------- what LU prints


def test_npbs_own_result_is_read():
    assert demo.parse_npb(NPB_RESULT) == VERIFIED


def test_six_decimals_are_preferred_to_two():
    ours = NPB_RESULT.replace(" Total proc", " Elapsed seconds =      0.019876\n Total proc")
    assert demo.parse_npb(ours).seconds == 0.019876


@pytest.mark.parametrize("word", ["UNSUCCESSFUL", "NOT PERFORMED"])
def test_only_successful_is_verified(word):
    assert not demo.parse_npb(NPB_RESULT.replace("SUCCESSFUL", word)).verified


def test_a_run_that_was_cut_short_has_no_result():
    with pytest.raises(ValueError, match="Mop/s total"):
        demo.parse_npb(NPB_RESULT[: NPB_RESULT.index(" Mop/s total")])


# -------------------------------------------------------------------------------- which MPI


def install(directory: Path, macros: str, version: str, suffix: str = "") -> str:
    """A fake MPI in ``directory``; what to put on PATH for it."""
    directory.mkdir(exist_ok=True)
    for name, says in (("mpicc", macros), ("mpirun", version)):
        program = directory / (name + suffix)
        program.write_text(f"#!/bin/sh\n/bin/cat <<'END'\n{says}\nEND\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(directory)


@pytest.fixture(autouse=True)
def _no_mpi_beside_python(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))


def test_open_mpi_is_started_so_that_it_runs_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = demo.find_mpi({"PATH": install(tmp_path / "a", OPEN_MPI_MACROS, OPEN_MPI_SAYS)})
    assert (found.flavour, found.version) == ("Open MPI", "4.1.4")
    assert found.mpirun[1:] == ["--oversubscribe", "--bind-to", "none", "--allow-run-as-root"]


def test_root_is_only_mentioned_to_root():
    assert "--allow-run-as-root" not in demo.launch_options("Open MPI", as_root=False)[0]


def test_mpich_needs_no_options(tmp_path):
    found = demo.find_mpi({"PATH": install(tmp_path / "a", MPICH_MACROS, HYDRA_SAYS)})
    assert (found.flavour, found.version) == ("MPICH", "5.0.2")
    assert found.launch(2, Path("/lu")) == [str(tmp_path / "a" / "mpirun"), "-n", "2", "/lu"]


def test_what_the_environment_needs_is_part_of_the_command():
    mpi = MpiToolchain(["mpicc"], ["mpirun"], "Open MPI", "4.1.4", {"A": "b"})
    assert mpi.launch(1, Path("/lu")) == ["env", "A=b", "mpirun", "-n", "1", "/lu"]


def test_the_first_on_path_wins(tmp_path):
    first = install(tmp_path / "a", MPICH_MACROS, HYDRA_SAYS)
    second = install(tmp_path / "b", OPEN_MPI_MACROS, OPEN_MPI_SAYS)
    assert demo.find_mpi({"PATH": f"{first}:{second}"}).mpicc == [first + "/mpicc"]


def test_the_wheel_beside_python_is_found_without_path(tmp_path):
    wheel = install(tmp_path / "venv", MPICH_MACROS, HYDRA_SAYS)
    assert demo.find_mpi({"PATH": "/nowhere"}).mpicc == [wheel + "/mpicc"]


def test_the_systems_mpi_comes_before_the_wheel(tmp_path):
    install(tmp_path / "venv", MPICH_MACROS, HYDRA_SAYS)
    system = install(tmp_path / "a", OPEN_MPI_MACROS, OPEN_MPI_SAYS)
    assert demo.find_mpi({"PATH": system}).mpicc == [system + "/mpicc"]


def test_a_compiler_and_a_launcher_of_different_mpis_are_not_mixed(tmp_path):
    mixed = install(tmp_path / "a", MPICH_MACROS, OPEN_MPI_SAYS)
    with pytest.raises(NoMpi, match=r"is MPICH but .* is Open MPI"):
        demo.find_mpi({"PATH": mixed})


def test_debians_suffixed_names_help_where_the_plain_ones_are_mixed(tmp_path):
    mixed = install(tmp_path / "a", MPICH_MACROS, OPEN_MPI_SAYS)
    install(tmp_path / "a", OPEN_MPI_MACROS, OPEN_MPI_SAYS, ".openmpi")
    assert demo.find_mpi({"PATH": mixed}).mpirun[0] == mixed + "/mpirun.openmpi"


def test_an_mpicc_without_a_c_compiler_is_said_to_be_that(tmp_path):
    broken = install(tmp_path / "a", "", HYDRA_SAYS)
    with pytest.raises(NoMpi, match="is there a C compiler"):
        demo.find_mpi({"PATH": broken})


def test_without_any_mpi_the_error_says_what_to_type():
    with pytest.raises(NoMpi) as caught:
        demo.find_mpi({"PATH": "/nowhere"})
    assert "pip install 'gshell[mpi]'" in caught.value.explained()
    assert "apt-get install" in caught.value.explained()


# -------------------------------------------------------------------------------- building, judging


def test_another_compiler_or_another_source_is_another_build(tmp_path):
    source = tmp_path / "main.c"
    keys = set()
    for version, text in (("1", "a"), ("2", "a"), ("2", "b")):
        source.write_text(text)
        keys.add(demo.build_key(MpiToolchain(["mpicc"], [], "MPICH", version), [source]))
    assert len(keys) == 3


def test_the_cache_follows_xdg():
    assert demo.default_cache_dir({"XDG_CACHE_HOME": "/c"}) == Path("/c/gshell/lu")


@pytest.mark.parametrize(
    ("timing", "words"),
    [
        (Timing(1.0, 0, VERIFIED), "verified, 1.00 s"),
        (Timing(1.0, 1, LuResult("S", 50, 1, 1.0, 1.0, False)), "NOT verified, exit 1"),
        (Timing(1.0, 0, LuResult("U", 50, 1, 1.0, 1.0, False)), "NOT verified, exit 0"),
        (Timing(1.0, 125, None), "failed, exit 125"),
        (Timing(1.0, 139, VERIFIED), "failed, exit 139"),
    ],
)
def test_a_run_is_good_only_if_it_verified_and_ended_well(timing, words):
    assert demo.verdict(timing) == words
    assert timing.good == words.startswith("verified")


def test_the_table_shows_both_times_and_their_ratio():
    slower = LuResult("S", 50, 1, 0.03, 2781.66, True)
    row = Comparison("S", 1, Timing(0.2, 0, VERIFIED), Timing(0.25, 0, slower))
    last = demo.comparison_table([row]).splitlines()[-1].split()
    assert last == ["S", "1", "0.020", "0.030", "1.50", "0.200", "0.250", "1.25", "yes"]


def test_the_table_shows_a_run_without_a_result_as_such():
    row = Comparison("W", 4, Timing(0.2, 0, VERIFIED), Timing(0.1, 125, None))
    last = demo.comparison_table([row]).splitlines()[-1].split()
    assert last == ["W", "4", "0.020", "-", "-", "0.200", "0.100", "0.50", "NO"]


@pytest.mark.parametrize("argv", [["-n", "0"], ["-n", "x"], ["--class", "Q"], ["more"]])
def test_a_wrong_command_line_is_a_usage_error(argv, capsys):
    assert demo.run_demo(argv) == 2
    assert "usage: gshell demo" in capsys.readouterr().err


def test_no_mpi_ends_the_demo_with_the_hint(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert demo.run_demo([]) == 125
    assert "try:  pip install" in capsys.readouterr().err
