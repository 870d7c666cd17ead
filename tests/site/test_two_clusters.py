"""examples/lu_tutorial/two_clusters.py on OAR at one site and Slurm at the other, from a third."""

import pathlib
import shutil
import subprocess
import time

import pytest

pytestmark = pytest.mark.timeout(280)  # whole OAR jobs

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "lu_tutorial"
SLOW_S = 120


@pytest.fixture
def home(apart):
    pytest.importorskip("gshell.sweep.clusters")
    missing = [one for one in ("mpicc", "mpirun", "make", "bzip2") if not shutil.which(one)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    return apart


def test_one_script_runs_on_oar_and_slurm_at_the_same_time(home):
    subprocess.run([EXAMPLE / "npb.sh", home.home], check=True, timeout=30)
    shutil.copy(EXAMPLE / "two_clusters.py", home.home)
    run = home.cluster.run(
        "home", "/usr/bin/python3", "two_clusters.py",
        env={**home.env, "CLUSTERS": "one.a-fe:oar two.b-fe:slurm", "SIZES": "S", "N_CORES": "2"},
        timeout=SLOW_S,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    (results,) = home.home.glob("TwoClusters_*")
    outputs = [path.read_text() for path in results.glob("*.out")]
    assert ["SUCCESSFUL" in text for text in outputs] == [True, True], run.stdout
    for host, ask in (("a-fe", "oarstat"), ("b-fe", "squeue -h")):
        deadline = time.monotonic() + SLOW_S
        while (left := home.cluster.run(host, *ask.split())).stdout.strip() or left.returncode:
            assert time.monotonic() < deadline, f"{left}\n{run.stdout}"
            time.sleep(0.2)
    for host in ("a-n", "b-n"):
        assert f"done on {host}" in run.stdout
