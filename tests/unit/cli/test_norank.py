"""What is said to who wants a rank's streams and cannot have them."""

import pytest

from gshell.cli.norank import complaint


def job(argv0, layout=(1,)):
    return {"id": "42", "name": "lu", "argv0": argv0, "layout": list(layout)}


def test_an_adopted_jobs_ranks_have_no_streams_and_what_there_is_instead_is_named():
    found = complaint(job("adopt", (1, 1, 1)), "0")
    assert "was begun without gshell" in found.message
    assert "gshell sh 42 --rank 0" in found.hint
    assert "gshell mpi" in found.hint


@pytest.mark.parametrize("argv0", ["mpirun", "/usr/bin/mpiexec.hydra", "srun"])
def test_a_bare_launchers_ranks_have_none_either(argv0):
    found = complaint(job(argv0), "2")
    assert "mixes what they print into one stream" in found.message
    assert "gshell mpi" in found.hint


def test_what_is_there_can_be_attached_to():
    assert complaint(job("lu", (2, 2)), "0-3") is None
    assert complaint(job("mpirun"), "0") is None
    assert complaint(job("lu"), "all") is None


def test_ranks_that_there_are_not_are_told_from_those_that_there_are():
    found = complaint(job("lu", (2, 2)), "4")
    assert "has ranks 0 to 3, and no rank 4" in found.message
    assert found.exit_code == 2
