"""Reservations at each real batch system, from asking to giving back, and after a death."""

import pytest

from kit.labhome import Installed

pytestmark = [pytest.mark.timeout(150), pytest.mark.slow]  # a whole OAR job each

SCRIPT = """
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
    for _ in range(300):
        if good(seen := what()):
            return seen
        time.sleep(0.1)
    raise SystemExit(f"still {seen}")

jobs = sub([(Submission(resources, "0:10:00", name="mine"), None),
            (Submission(resources, queue="nosuchqueue"), None)])
assert jobs[1] == (None, None), jobs
job = jobs[0]
assert wait(*job, timeout=40)
hosts = [host.address for host in nodes(*job)]
assert info(*job)["state"].lower() == "running", info(*job)
assert current() == [job], current()
print("hosts", *hosts)
if kind != "sge":
    (cluster,) = get_g5k_clusters()
    assert get_cluster_hosts(cluster) == ["n1", "n2", "n3", "n4"]
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


@pytest.mark.parametrize(
    ("kind", "resources", "hosts", "cores"),
    [("oar", "nodes=2", 2, 2), ("slurm", "nodes=2", 2, 4), ("sge", "openmpi 4", 4, None)],
)
def test_a_reservation_s_whole_life(kind, resources, hosts, cores, request):
    cluster = request.getfixturevalue(kind)
    desk = Installed(cluster)
    (cluster.home / "life.py").write_text(SCRIPT)
    done = cluster.run(
        "fe", "/usr/bin/python3", "life.py", kind, resources, env=desk.env, timeout=100
    )
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert done.stdout.endswith("ok\n"), done.stdout + done.stderr
    assert len(said["hosts"].split()) == hosts
    if cores:
        assert said["cores"] == str(cores)
