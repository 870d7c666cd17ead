"""Batch jobs that were begun with sbatch, oarsub and qsub, looked after by gshell, on the real systems."""

import json
import re
import shutil
import subprocess
import time

import pytest

from kit.labhome import Installed, Started
from kit.procs import until
from kit.stories import Stories

pytestmark = [pytest.mark.site, pytest.mark.timeout(280)]

PATIENCE_S = 60.0
KINDS = ("slurm", "oar", "sge")
SCRIPT = """#!/bin/sh
echo begun on $(hostname)
echo oops >&2
while [ ! -e "$HOME/go-on" ]; do sleep 0.2; done
mv out.txt out.old; echo "from $(cat out.old)" > out.txt
sleep 1
exit 3
"""
SUBMIT = {
    "slurm": "sbatch --parsable -N2 -J myjob -o out.txt -e err.txt -t 5 job.sh",
    "oar": "oarsub -n myjob -O out.txt -E err.txt -l nodes=2,walltime=0:05:00 ./job.sh",
    "sge": "qsub -terse -N myjob -cwd -o out.txt -e err.txt -pe openmpi 4 job.sh",
}
FULL = {  # what waits behind it
    "slurm": "sbatch --parsable -N1 --hold --wrap 'sleep 1'",
    "oar": "oarsub --hold -l nodes=1 'sleep 1'",
    "sge": "qsub -terse -h -b y sleep 1",
}
CANCEL = {"slurm": "scancel", "oar": "oardel", "sge": "qdel"}


class There:
    """gshell in alice's home on a cluster's front end, and what she does there without it."""

    def __init__(self, cluster) -> None:
        self.cluster, self.kind = cluster, cluster.kind
        self.gshell = Installed(cluster)
        self.gshell.start()

    def sh(self, line, host="fe"):
        done = self.cluster.run(host, "sh", "-c", f"cd; PWD=$HOME; export PWD; {line}")
        return done.stdout + done.stderr

    def submit(self, line=None, script=SCRIPT):
        (self.cluster.home / "go-on").unlink(missing_ok=True)
        for name in ("out.txt", "err.txt", "out.old"):
            (self.cluster.home / name).unlink(missing_ok=True)
        path = self.cluster.home / "job.sh"
        path.write_text(script)
        path.chmod(0o755)
        said = re.findall(r"\d+", self.sh(line or SUBMIT[self.kind]))
        return said[0 if self.kind == "sge" else -1]

    def adopt(self, one, *more):
        """Once it runs; the job that stands for it."""

        def adopted():
            done = self.gshell.run("adopt", f"{self.kind}:{one}", *more, check=False)
            assert done.returncode == 0 or "does not run yet" in done.stderr, done.stderr
            return done if done.returncode == 0 else None

        return until(adopted, "it to run", PATIENCE_S, self.gshell.logs).stdout.strip()

    def agents_on_nodes(self):
        """Processes of an adoption, where only the batch job was."""
        hosts = {f"n{i}" for i in range(1, 5)}
        found = {host: self.sh("pgrep -af 'agent.pyz|adopt-'", host) for host in sorted(hosts)}
        return {host: lines for host, lines in found.items()
                if [line for line in lines.splitlines() if "pgrep" not in line]}  # fmt: skip

    def go_on(self):
        (self.cluster.home / "go-on").touch()

    def job(self, job):
        return next(j for j in self.gshell.json("jobs", "--all") if j["id"] == job)


@pytest.fixture(scope="module")
def stories(request):
    told = Stories(request, KINDS, There)
    yield told
    told.close(lambda there: there.gshell.stop())


@pytest.fixture
def on_slurm(stories):
    return stories.place("slurm")


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_job_is_followed_from_its_first_line_to_its_end_as_it_ended(stories, kind):
    stories.tell(followed, kind)


def followed(there):
    one = there.submit()
    job = there.adopt(one)
    shown = there.job(job)
    assert (shown["name"], shown["state"]) == ("myjob", "ACTIVE")
    assert shown["hosts"][0] == "fe"
    assert len(shown["hosts"]) >= 3
    agents = there.gshell.json("agents")
    assert {(a["lrms_id"], "adopted" in a["tags"], a["free"]) for a in agents} == {(one, True, 0)}

    again = there.gshell.run("adopt", f"{there.kind}:{one}", check=False)
    assert f"{there.kind}:{one} is adopted already: it is job {job}" in again.stderr

    following = Started(there.gshell, "attach", job)
    try:
        until(lambda: "begun on n" in following.printed, "its first line", PATIENCE_S,
              there.gshell.logs)  # fmt: skip
        there.go_on()  # its output file is another one from now on
        assert following.wait(PATIENCE_S) == 3, following.said + there.gshell.logs()
        printed, said = following.printed, following.said
    finally:
        following.end()
    assert re.fullmatch(r"(begun on n\d\n)from \1", printed)
    assert "oops" in said
    ended = there.job(job)
    assert (ended["state"], ended["code"], ended["error"]) == ("FAILED", 3, None)
    until(lambda: not there.gshell.json("agents"), "its agents to leave", PATIENCE_S,
          there.gshell.logs)  # fmt: skip
    until(lambda: there.job(job)["archived"], "its output to be kept", PATIENCE_S)
    assert there.gshell.run("logs", job, "-q").stdout == printed
    left = there.sh("ls .cache/gshell gsh/cache 2>/dev/null | grep adopt | grep -v out$")
    assert left == ""


@pytest.mark.parametrize("kind", KINDS)
def test_canceling_it_leaves_the_batch_job_alone_unless_that_is_meant(stories, kind):
    stories.tell(canceled, kind)


def canceled(there):
    one = there.submit()
    job = there.adopt(one)
    there.gshell.run("cancel", job)
    until(lambda: there.job(job)["state"] == "CANCELED", "it to be canceled", PATIENCE_S)
    until(lambda: not there.gshell.json("agents"), "its agents to leave", PATIENCE_S,
          there.gshell.logs)  # fmt: skip
    second = there.adopt(one)  # it runs, as ever
    assert second != job
    there.gshell.run("cancel", "--cancel-job", second)
    until(lambda: there.job(second)["state"] in ("FAILED", "CANCELED"), "its end", PATIENCE_S,
          lambda: f"{there.job(second)}\n{there.gshell.logs()}")  # fmt: skip
    until(lambda: not there.agents_on_nodes(), "no process of ours on the nodes", PATIENCE_S,
          lambda: str(there.agents_on_nodes()) + there.gshell.logs())  # fmt: skip
    gone = there.gshell.run("adopt", f"{there.kind}:{one}", check=False)
    assert re.search(rf"{one} is over|knows no job {one}", gone.stderr), gone.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_adopted_is_refused_in_a_line(stories, kind):
    stories.tell(refused, kind)


def refused(there):
    kind = there.kind
    nobody = there.gshell.run("adopt", f"{kind}:999999", check=False)
    assert (nobody.returncode, f"{kind} knows no job 999999" in nobody.stderr) == (125, True)
    waits = there.submit(FULL[kind])
    try:
        early = there.gshell.run("adopt", f"{kind}:{waits}", check=False)
        assert f"{kind}:{waits} does not run yet" in early.stderr
    finally:
        there.sh(f"{CANCEL[kind]} {waits}")
    assert there.gshell.json("agents") == []


ARRAY = {
    "slurm": "sbatch --parsable --array=1-2 -o out-%A_%a.txt -t 5 job.sh",
    "sge": "qsub -terse -t 1-2 -pe openmpi 2 -cwd -o 'out-$TASK_ID.txt' -j y job.sh",
}


@pytest.mark.parametrize("kind", sorted(ARRAY))
def test_one_task_of_an_array_is_adopted_by_its_name(stories, kind):
    stories.tell(a_task, kind)


def a_task(there):
    if there.kind not in ARRAY:
        return  # its tasks are jobs, with numbers of their own
    sign = {"slurm": "_", "sge": "."}[there.kind]
    script = "\n".join([*SCRIPT.splitlines()[:4], "exit 3", ""])
    array = there.submit(ARRAY[there.kind], script)
    job = there.adopt(f"{array}{sign}2")
    whole = there.gshell.run("adopt", f"{there.kind}:{array}", check=False)
    assert f"{there.kind}:{array} is several jobs: " in whole.stderr
    assert f"{there.kind}:{array}{sign}1" in whole.stderr
    again = there.gshell.run("adopt", f"{there.kind}:{array}{sign}2", check=False)
    assert f"is adopted already: it is job {job}" in again.stderr
    there.go_on()
    until(lambda: there.job(job)["code"] == 3, "its end", PATIENCE_S, there.gshell.logs)
    assert there.gshell.run("logs", job, "-q").stdout.startswith("begun on n")


SLEEPER = """#include <mpi.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    printf("rank %d is there\\n", rank);
    fflush(stdout);
    while (access("go-on", F_OK)) usleep(100000);
    MPI_Finalize();
}
"""
MPIRUN = {  # four ranks on two nodes, by Debian's Open MPI
    "slurm": "mpirun --oversubscribe -np 4 -npernode 2 ./sleeper",
    "oar": "mpirun --oversubscribe -np 4 -npernode 2 --mca plm_rsh_agent oarsh "
    "-machinefile $OAR_NODEFILE ./sleeper",
    "sge": "mpirun -np 4 ./sleeper",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_ranks_of_mpirun_are_found_on_their_nodes_with_a_shell_beside_each(stories, kind):
    stories.tell(shells_beside_ranks, kind)


def test_the_ranks_of_srun_are_found_too(on_slurm):
    shells_beside_ranks(on_slurm, "srun")


def shells_beside_ranks(there, launcher="mpirun"):
    cc = shutil.which("mpicc.openmpi")
    if cc is None:
        pytest.skip("no Open MPI of Debian's (tests/site/lab/install.sh mpi)")
    home = there.cluster.home
    (home / "sleeper.c").write_text(SLEEPER)
    subprocess.run([cc, "-o", home / "sleeper", home / "sleeper.c"], check=True, timeout=30)
    line = MPIRUN[there.kind] if launcher == "mpirun" else "srun --mpi=pmix -n4 ./sleeper"
    submit = SUBMIT[there.kind].replace("-N2", "-N2 -n4")
    job = there.adopt(there.submit(submit, f"#!/bin/sh\nPATH=/usr/bin:$PATH\n{line}\n"))

    def shell(rank, line):
        argv = ["/usr/bin/python3", "/home/alice/gshell-src/gshell/front.py", "sh", job]
        return there.cluster.run("fe", *argv, "--rank", str(rank), stdin=line,
                                 env=there.gshell.env)  # fmt: skip

    def ranks():
        done = there.gshell.run("ranks", job, "--json", check=False)
        rows = json.loads(done.stdout)["ranks"] if done.returncode == 0 else []
        return [row for row in rows if row["argv0"] == "sleeper"]

    rows = until(lambda: len(found := ranks()) == 4 and found, "four ranks", PATIENCE_S,
                 lambda: there.sh("cat out.txt err.txt") + there.gshell.logs())  # fmt: skip
    assert [row["rank"] for row in rows] == [0, 1, 2, 3]
    assert len({row["host"] for row in rows}) >= 2
    assert all(row["state"] in "RS" and row["rss_bytes"] > 1 << 20 for row in rows)
    for row in rows[::3]:
        done = shell(row["rank"], "echo ${OMPI_COMM_WORLD_RANK:-$SLURM_PROCID} $GSHELL_BESIDE_PID\n"
                     "hostname; pwd; readlink /proc/$GSHELL_BESIDE_PID/exe\n")  # fmt: skip
        assert done.stdout.split() == [
            str(row["rank"]), str(row["pid"]), row["host"], "/home/alice", "/home/alice/sleeper",
        ]  # fmt: skip
    assert f"job {job} has no rank 7" in shell(7, "").stderr
    refused = there.gshell.run("attach", job, "--rank", "1", check=False)
    assert (refused.returncode, "gshell mpi -n N" in refused.stderr) == (125, True)
    there.go_on()
    until(lambda: there.job(job)["state"] == "COMPLETED", "its end", PATIENCE_S, there.gshell.logs)
    until(lambda: not there.gshell.json("agents"), "its agents to leave", PATIENCE_S,
          there.gshell.logs)  # fmt: skip
    until(lambda: there.job(job)["archived"], "its output to be kept", PATIENCE_S)
    out = there.gshell.run("logs", job, "-q").stdout
    assert sorted(out.split("\n"))[1:] == [f"rank {n} is there" for n in range(4)]


def test_an_output_file_that_only_its_node_sees_is_followed_there(on_slurm):
    there = on_slurm
    script = "\n".join([*SCRIPT.splitlines()[:4], "exit 3", ""])
    job = there.adopt(there.submit("sbatch --parsable -N2 -o /tmp/out.txt -t 5 job.sh", script))
    following = Started(there.gshell, "attach", f"{job}.1")
    try:
        until(lambda: "begun on n" in following.printed, "its first line", PATIENCE_S,
              there.gshell.logs)  # fmt: skip
    finally:
        following.end()
    there.go_on()
    until(lambda: there.job(job)["code"] == 3, "its end", PATIENCE_S, there.gshell.logs)


def test_the_relay_may_be_started_anew_meanwhile(on_slurm):
    there = on_slurm
    job = there.adopt(there.submit())
    there.gshell.run("relay", "stop", "--state", "/home/alice/relay")
    address = there.sh("hostname -I").split()[0]
    there.gshell.run(
        "relay", "start", "--listen", f"{address}:4433", "--state", "/home/alice/relay",
        "--user", "alice",
    )  # fmt: skip
    there.go_on()
    until(lambda: there.job(job)["state"] == "FAILED", "its end", PATIENCE_S, there.gshell.logs)
    assert there.job(job)["code"] == 3
    began = time.monotonic()
    until(lambda: not there.gshell.json("agents"), "its agents to leave", PATIENCE_S,
          there.gshell.logs)  # fmt: skip
    assert time.monotonic() - began < 30


def test_two_that_adopt_it_at_the_same_moment_make_one_job_of_it(on_slurm):
    there = on_slurm
    one = there.submit()
    until(lambda: there.sh(f"squeue -h -t R -j {one}"), "it to run", PATIENCE_S)
    both = [Started(there.gshell, "adopt", f"slurm:{one}") for _ in range(2)]
    try:
        codes = sorted(each.wait(PATIENCE_S) for each in both)
        said = "".join(each.said for each in both)
    finally:
        for each in both:
            each.end()
    assert codes == [0, 125], said
    assert re.search(r"is being adopted by another|is adopted already", said), said
    assert len(there.gshell.json("jobs")) == 1
    there.gshell.run("cancel", "--cancel-job", there.gshell.json("jobs")[0]["id"])
    until(lambda: not there.gshell.json("jobs"), "its end", PATIENCE_S, there.gshell.logs)


@pytest.mark.slow
def test_ctrl_c_while_the_agents_come_leaves_nothing_behind(on_slurm):
    there = on_slurm
    one = there.submit()
    until(lambda: there.sh(f"squeue -h -t R -j {one}"), "it to run", PATIENCE_S)
    adopting = Started(there.gshell, "adopt", f"slurm:{one}")
    try:
        until(lambda: there.sh("pgrep -f 'adopte[r] --invite'"), "the adopter", PATIENCE_S)
        there.sh("pkill -INT -f 'front[.]py adopt'")
        assert adopting.wait(PATIENCE_S) == 130, adopting.said
    finally:
        adopting.end()
    until(lambda: not there.sh("pgrep -f 'adopte[r] --invite|gshell-adop[t]'").strip(),
          "the adopter's end", PATIENCE_S, there.gshell.logs)  # fmt: skip
    until(lambda: not there.agents_on_nodes(), "the agents' end", PATIENCE_S,
          lambda: str(there.agents_on_nodes()) + there.gshell.logs())  # fmt: skip
    assert there.gshell.json("jobs") == []
    there.sh(f"scancel {one}")


@pytest.mark.slow
def test_a_component_of_a_heterogeneous_job_and_bobs_job(on_slurm):
    there = on_slurm
    bobs = there.cluster.run("fe", "sbatch", "--parsable", "-o", "/dev/null", "--wrap", "sleep 60",
                             user="bob").stdout.strip()  # fmt: skip
    script = "\n".join([*SCRIPT.splitlines()[:4], "exit 3", ""])
    one = there.submit("sbatch --parsable -o out.txt -N1 -n1 -t 5 : -N1 -n1 -t 5 job.sh", script)
    job = there.adopt(f"{one}+1")
    assert [len(there.job(job)["hosts"]), there.job(job)["state"]] == [2, "ACTIVE"]
    whole = there.gshell.run("adopt", f"slurm:{one}", check=False)
    assert f"slurm:{one} is several jobs: slurm:{one}+0, slurm:{one}+1" in whole.stderr
    foreign = there.gshell.run("adopt", f"slurm:{bobs}", check=False)
    assert f"slurm:{bobs} is bob's, not alice's" in foreign.stderr
    there.cluster.run("fe", "scancel", bobs, user="bob")
    there.gshell.run("cancel", "--cancel-job", job)
    until(lambda: not there.gshell.json("agents"), "its agents to leave", PATIENCE_S,
          there.gshell.logs)  # fmt: skip
