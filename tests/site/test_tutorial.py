"""The practical session of examples/lu_tutorial at a real OAR that is reached over SSH: its lines,
and its script, which is killed and goes on."""

import shutil

import pytest

from kit.tutorial import NEEDS, PATIENCE_S, Desk, outputs

pytestmark = pytest.mark.timeout(280)  # whole OAR jobs

POINTS = ["cluster-paravance-n_core-2-size-s.out", "cluster-stremi-n_core-2-size-s.out"]


@pytest.fixture(scope="module")
def desk(free_oar):
    missing = [one for one in NEEDS if not shutil.which(one)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    desk = Desk(free_oar, free_oar.home, 4)
    desk.env |= {"N_NODES": "2", "CLUSTERS": "paravance stremi", "SIZES": "S"}
    return desk


@pytest.mark.parametrize("page", ["README.md", "short.md"])
def test_the_session_s_lines_print_what_they_should(desk, page):
    flags = [word for flag in ("ELLIPSIS", "NORMALIZE_WHITESPACE", "FAIL_FAST")
             for word in ("-o", flag)]  # fmt: skip
    lines = desk.begin("-m", "doctest", *flags, page)
    assert lines.wait(PATIENCE_S) == 0, desk.said
    desk.nothing_left()


def test_the_session_s_script_that_is_killed_goes_on_to_the_same_end(desk):
    first = desk.begin("mpi_bench.py")
    desk.until(lambda: "comb ok" in desk.said, "one combination done")
    (results,) = desk.results()

    def in_the_next_one():
        """Or it is through already: a busy machine may show us nothing of it."""
        running = {str(job) for job, state in desk.jobs().items() if state == "Running"}
        over = desk.said.partition("comb ok")[2]
        return first.poll() is not None or (
            "Processing" in over and running & set(desk.reserved(results))
        )

    desk.until(in_the_next_one, "in its second combination's job")
    desk.kill()
    first.wait(PATIENCE_S)
    before, left = desk.said, desk.reserved(results)

    second = desk.begin("mpi_bench.py", "-c", results.name)
    assert second.wait(PATIENCE_S) == 0, desk.said
    for job in left:
        assert f"ending oar job {job} lyon: left by an earlier run" in desk.said
    desk.nothing_left()
    assert desk.reserved(results) == []
    assert f"combinations {len(POINTS) - before.count('comb ok')}\n" in desk.said
    assert before.count("comb ok") + desk.said.count("comb ok") == len(POINTS)
    printed = outputs(results)
    assert sorted(printed) == POINTS
    assert printed[POINTS[0]] == printed[POINTS[1]]  # the same program on other hosts
    assert any("SUCCESSFUL" in line for line in printed[POINTS[0]])
