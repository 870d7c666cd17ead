"""Experiments at each real batch system: a reservation from asking to giving back, and after a
death; a file's points, which are gone on with after one."""

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

from gshell.sweep.ledger import Ledger
from kit.labhome import Installed, Started
from kit.procs import until
from kit.stories import Stories

pytestmark = pytest.mark.timeout(280)  # whole jobs

KINDS = ("oar", "slurm", "sge")
LU = Path(__file__).parents[2] / "examples" / "lu"
PATIENCE_S = 100.0


@pytest.fixture(scope="module")
def stories(request):
    told = Stories(request, [f"free_{kind}" for kind in KINDS], Installed)
    yield told
    told.close(lambda place: None)


# ------------------------------------------------------------------------------- reservations

WANTED = {"oar": "nodes=2", "slurm": "nodes=2", "sge": "openmpi 4"}
GIVEN = {"oar": (2, "2"), "slurm": (2, "4"), "sge": (4, None)}  # hosts, and cores of each

LIFE = """
import sys, time
from gshell import sweep
from gshell.sweep import ProcessesFailed, batch, get_cluster_hosts, get_g5k_clusters, ledger
from gshell.sweep import get_host_attributes
from gshell.sweep.reservations import end
kind, resources = sys.argv[1:]
sub, delete = getattr(sweep, kind + "sub"), getattr(sweep, kind + "del")
Submission = getattr(sweep, kind.capitalize() + "Submission")
wait = getattr(sweep, f"wait_{kind}_job_start")
info, nodes = getattr(sweep, f"get_{kind}_job_info"), getattr(sweep, f"get_{kind}_job_nodes")
current = getattr(sweep, f"get_current_{kind}_jobs")

def until(what, good):
    for _ in range(600):
        if good(seen := what()):
            return seen
        time.sleep(0.1)
    raise SystemExit(f"still {seen}")

jobs = sub([(Submission(resources, "0:10:00", name="mine"), None),
            (Submission(resources, queue="nosuchqueue"), None)])
assert jobs[1] == (None, None), jobs
job = jobs[0]
assert wait(*job, timeout=100)
hosts = [host.address for host in nodes(*job)]
assert info(*job)["state"].lower() == "running", info(*job)
assert current() == [job], current()
print("hosts", *hosts)
if kind != "sge":
    found = [host for cluster in get_g5k_clusters() for host in get_cluster_hosts(cluster)]
    assert sorted(found) == ["n1", "n2", "n3", "n4"], found
    print("cores", get_host_attributes(hosts[0])["architecture"]["nb_cores"])
delete(jobs)
assert not wait(*job)
try:
    print("nodes of a dead job", nodes(*job))
except ProcessesFailed:
    pass
until(current, lambda jobs: not jobs)
delete(jobs)

book = ledger.Ledger("book." + kind)
ledger.use(book)
sub([(Submission(resources, name="left"), None)])
ledger.use(None)
(left,) = book.open()
assert current() == [(int(left.job), None)]
assert end(left._replace(job=""))  # we died before we heard
until(current, lambda jobs: not jobs)
assert end(left)  # and by its id, when it is gone
print("ok")
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_reservation_s_whole_life(stories, kind):
    stories.tell(whole_life, f"free_{kind}")


def whole_life(there):
    kind = there.cluster.kind
    (there.home / "life.py").write_text(LIFE)
    done = there.cluster.run(
        "fe", "/usr/bin/python3", "life.py", kind, WANTED[kind], env=there.env, timeout=PATIENCE_S
    )
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert done.stdout.endswith("ok\n"), done.stdout + done.stderr
    assert (len(said["hosts"].split()), said.get("cores")) == GIVEN[kind]


# -------------------------------------------------------------------------- experiments as files

# The second point waits to be killed, once.
FILE = """
[factors]
ranks = [1, 2]

[where]
{where}

[run]
command = "[ {{ranks}} = 1 ] || [ {{attempt}} != {stays} ] || (echo waits; exec sleep 4321); mpirun -H {{hosts}} -n {{ranks}} ./lu.S.{{ranks}}"
attempts = 1

[run.environment]
OMPI_MCA_mpi_yield_when_idle = "1"
OMPI_MCA_rmaps_base_oversubscribe = "1"
OMPI_MCA_hwloc_base_binding_policy = "none"

[results]
format = "npb"
verify = "verified and processes == ranks"
"""
WHERE = {
    "oar": 'resources = "nodes=2"\njob_type = "allow_classic_ssh"',
    "slurm": 'resources = "nodes=2,exclusive"',
    "sge": 'resources = "openmpi 4"',
}
TIMES = ("seconds", "mops", "mops_per_process")
ASK = {"oar": ["oarstat"], "slurm": ["squeue", "-h"], "sge": ["qstat"]}


@pytest.fixture(scope="module")
def lu(tmp_path_factory):
    """LU of class S for one rank and for two, compiled once."""
    missing = [one for one in ("mpicc.openmpi", "mpirun.openmpi", "make") if not shutil.which(one)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    build = tmp_path_factory.mktemp("lu")
    for ranks in (1, 2):
        subprocess.run(
            ["make", "-s", "-C", LU, "lu", "CLASS=S", f"NPROCS={ranks}", f"BUILD={build}",
             "MPICC=mpicc.openmpi"],  # that of the hosts, whose mpirun starts it
            check=True, timeout=100, capture_output=True,
        )  # fmt: skip
    return build / "bin"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_s_points_killed_and_resumed_end_as_they_would_have(stories, lu, kind):
    for there in stories.everywhere():
        for program in lu.iterdir():
            shutil.copy(program, there.home)
    stories.tell(killed_and_resumed, f"free_{kind}")


def killed_and_resumed(there):
    """On nodes that are reserved; and uninterrupted on the front end, for comparison."""
    kind, home = there.cluster.kind, there.home
    where = f'kind = "{kind}"\nwalltime = "0:10:00"\n{WHERE[kind]}'
    (home / "whole.toml").write_text(FILE.format(where='kind = "here"', stays=0))
    (home / "broken.toml").write_text(FILE.format(where=where, stays=1))
    there.run("sweep", "run", "-o", "whole", "whole.toml")
    broken = home / "broken"
    first = Started(there, "sweep", "run", "-o", "broken", "broken.toml")
    try:
        until(lambda: printed(broken / "ranks-2.out.part"), "the second point to run", PATIENCE_S,
              lambda: first.printed + first.said)  # fmt: skip
        assert len(Ledger(broken / "reservations").open()) == 1
        there.cluster.run("fe", "pkill", "-KILL", "-u", "alice", "-f", "sweep run -o broken")
        first.wait(PATIENCE_S)
    finally:
        first.end()
    said = there.run("sweep", "resume", "broken").stdout
    assert results(broken) == results(home / "whole"), said
    assert Ledger(broken / "reservations").open() == []

    def left():
        hosts = ("n1", "n2", "n3", "n4")
        asked = [("fe", *ASK[kind])] + [
            (n, "pgrep", "-u", "alice", "-f", "sleep 4321") for n in hosts
        ]
        done = [there.cluster.run(*argv) for argv in asked]
        assert done[0].returncode == 0, done[0]
        return [one.stdout for one in done if one.stdout.strip()]

    until(lambda: not left(), "everything to end", PATIENCE_S, lambda: str(left()))


def printed(path):
    return path.exists() and path.read_text()


def results(folder):
    """The table, but for what it took."""
    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        return [
            {name: one for name, one in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]
