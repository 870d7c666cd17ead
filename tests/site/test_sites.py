"""From `site add` to a terminal on a node, on real batch systems: what a person types, and what they get.

gshell is copied into alice's home, which all hosts of the cluster share; the nodes have nothing but python3.
"""

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


def installed(cluster):
    place = Installed(cluster)
    place.start()
    return place


KINDS = ("slurm", "oar", "sge")


@pytest.fixture(scope="module")
def stories(request):
    told = Stories(request, KINDS, installed)
    yield told
    told.close(lambda place: place.stop())


WHERE = r"""
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    char host[MPI_MAX_PROCESSOR_NAME];
    int length, rank, size, sum;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_processor_name(host, &length);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    printf("%d of %d, sum %d on %s\n", rank, size, sum, host);
    return MPI_Finalize();
}
"""


@pytest.fixture
def on_slurm(stories):
    return stories.place("slurm")


FILL = {  # every node, for five minutes
    "slurm": ["sbatch", "-N4", "--exclusive", "-t", "5", "-o", "/dev/null", "--wrap", "sleep 300"],
    "oar": ["sh", "-c", "oarsub -l nodes=4,walltime=0:05:00 'sleep 300'"],
    "sge": ["qsub", "-terse", "-b", "y", "-l", "h_rt=300", "-pe", "openmpi", "8", "sleep", "300"],
}
FULL = {
    "slurm": ["squeue", "-h", "-t", "R"],
    "oar": ["sh", "-c", "oarstat -J | grep Running"],
    "sge": ["qstat", "-s", "r"],
}
CANCEL = {"slurm": "scancel", "oar": "oardel", "sge": "qdel"}
TOLD = {  # what a job that waits is told; Grid Engine says nothing of when
    "slurm": r"pilot p\d+\w{3} is 1st in slurm's queue \(Resources\), expected [0-9:]+ UTC",
    "oar": r"pilot p\d+\w{3} is 1st in oar's queue.*, expected [0-9:]+ UTC",
    "sge": r"pilot p\d+\w{3} is 1st in sge's queue",
}
ENDED = {"slurm": "CANCELLED", "oar": r"deleted \(.+\)", "sge": r"its batch job \d+ is gone"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_without_an_agent_is_told_what_it_waits_for_and_the_next_one_starts_at_once(
    stories, kind
):
    stories.tell(with_and_without_an_agent, kind)


def with_and_without_an_agent(there):
    """The cluster is full: the pilot's place in its queue is told. When there is room the job runs; the next
    one has the agent that waits."""
    kind = there.cluster.kind
    said = there.run("site", "add", kind, "--walltime", "10").stdout
    assert f"{kind} here" in said
    assert "4 nodes free" in said
    filled = there.cluster.run("fe", *FILL[kind]).stdout
    filler = re.findall(r"\d+", filled)[-1]
    until(lambda: there.cluster.run("fe", *FULL[kind]).stdout, "a full cluster", PATIENCE_S)
    first = Started(there, "run", "--site", kind, "--", "hostname")
    try:
        until(lambda: re.search(TOLD[kind], first.said), "its place in the queue", PATIENCE_S,
              lambda: first.said + there.logs())  # fmt: skip
        there.cluster.run("fe", CANCEL[kind], filler)
        out = first.succeeds(PATIENCE_S)
    finally:
        first.end()
    assert out.strip() in ("n1", "n2", "n3", "n4")
    began = time.monotonic()
    again = there.run("run", "--site", kind, "--", "hostname")
    took_s = time.monotonic() - began
    assert again.stdout == out
    assert "waiting" not in again.stderr
    assert took_s < 2.0  # most of it is the lab's own way into a host
    agents = there.json("agents")
    assert [(a["site"], a["node"]) for a in agents] == [(kind, 0)]
    assert 0 < agents[0]["ends_at"] - time.time() < 660


@pytest.mark.parametrize("kind", KINDS)
def test_a_pilot_that_the_batch_system_kills_takes_its_jobs_along_or_they_run_again(stories, kind):
    stories.tell(pilots_are_killed, kind)


def pilots_are_killed(there):
    """A job that may is run again; else it has FAILED, and says of what."""
    kind, home = there.cluster.kind, there.home
    there.run("site", "add", kind, "--walltime", "10")
    (home / "twice").write_text("[ -e ran.$1 ] && exit\ntouch ran.$1\nexec sleep 1000\n")
    jobs = {}
    for name, more in (("again", "RetryCount = 2;"), ("never", "ShallowRetryCount = 0;")):
        (home / f"{name}.jdl").write_text(
            f'Executable = "/bin/sh"; Arguments = "-c \'cd; . ./twice\' sh {name}"; {more}\n'
        )
        said = there.run("submit", "-q", "-r", kind, "-J", name, f"{name}.jdl")
        jobs[name] = said.stdout.strip()
    until(lambda: all((home / f"ran.{name}").exists() for name in jobs), "both jobs", PATIENCE_S,
          there.logs)  # fmt: skip

    def job(name):
        return next(j for j in there.json("jobs", "-a") if j["id"] == jobs[name])

    under = {agent.partition(".")[0] for name in jobs for agent in job(name)["agents"]}
    ids = [p["lrms_id"] for p in there.json("pilots") if p["pilot"] in under]
    assert len(ids) == len(under) > 0
    there.cluster.run("fe", CANCEL[kind], *ids)

    why = rf"pilot p\d+\w{{3}} of {kind} ended: .*{ENDED[kind]}.*"
    until(lambda: re.fullmatch(why, job("never")["error"] or ""), "its reason", PATIENCE_S,
          lambda: str(job("never")) + there.logs())  # fmt: skip
    assert job("never")["state"] == "FAILED"
    there.run("site", "resume", kind)  # pilots that end so soon are failures: it would wait
    until(lambda: job("again")["state"] == "COMPLETED", "its second attempt", PATIENCE_S,
          lambda: str(job("again")) + there.logs())  # fmt: skip
    assert job("again")["attempt"] == 2


def test_a_pilot_of_two_nodes_has_an_agent_on_each(on_slurm):
    on_slurm.run("agent", "start", "--site", "slurm", "-N", "2", "--slots", "2")
    found = until(lambda: len({a["host"] for a in on_slurm.json("agents") if a["pilot"]}) >= 3, "agents", PATIENCE_S,
                  on_slurm.logs)  # fmt: skip
    assert found
    pilot = next(a["pilot"] for a in on_slurm.json("agents") if a["node"] == 1)
    on_slurm.run("pilot", "cancel", pilot)
    until(
        lambda: pilot not in [p["pilot"] for p in on_slurm.json("pilots")],
        "its end",
        PATIENCE_S,
        on_slurm.logs,
    )
    assert pilot not in on_slurm.cluster.run("fe", "squeue", "-h", "-o", "%j").stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_words_run_an_mpi_program_on_two_agents_of_each(stories, kind):
    stories.tell(one_mpi_program, kind)


def one_mpi_program(there):
    """Nothing waits: agents are made. The second time they wait, and nothing else is different."""
    cc, kind = shutil.which("mpicc.openmpi"), there.cluster.kind
    if cc is None:
        pytest.skip("no Open MPI of Debian's (tests/site/lab/install.sh mpi)")
    (there.home / "where.c").write_text(WHERE)
    subprocess.run([cc, "-o", there.home / "where", there.home / "where.c"], check=True, timeout=30)
    more = ["--", "-pe", "openmpi"] if kind == "sge" else []  # only its site knows that name
    there.run("site", "add", "mpi", "--lrms", kind, "--walltime", "10", *more)
    for _ in range(2):
        said = there.run("mpi", "-n", "4", "-N", "2", "-l", "--site", "mpi", "--", "./where").stdout
        ranks = sorted(said.splitlines())
        assert [line.partition(" on ")[0] for line in ranks] == [
            f"{rank}: {rank} of 4, sum 6" for rank in range(4)
        ], said
        assert {line.partition(" on ")[2] for line in ranks} <= {"n1", "n2", "n3", "n4"}, said


def test_a_pilot_that_the_batch_system_cancels_is_seen_to_end(on_slurm):
    before = {p["pilot"] for p in on_slurm.json("pilots")}
    on_slurm.run("agent", "start", "--site", "slurm", "--slots", "1")
    pilot = next(p for p in on_slurm.json("pilots") if p["pilot"] not in before)["pilot"]
    until(
        lambda: pilot in [a["pilot"] for a in on_slurm.agents()],
        "its agent",
        PATIENCE_S,
        on_slurm.logs,
    )
    job = next(p for p in on_slurm.json("pilots") if p["pilot"] == pilot)["lrms_id"]
    on_slurm.cluster.run("fe", "scancel", job)
    ended = until(
        lambda: [p for p in on_slurm.json("pilots", "-a") if p["pilot"] == pilot and p["state"] == "ended"],
        "the news of it", PATIENCE_S, on_slurm.logs,
    )  # fmt: skip
    assert ended[0]["reason"]
    assert pilot not in [a["pilot"] for a in on_slurm.json("agents")]


def test_the_submitter_comes_back_and_knows_its_pilots(on_slurm):
    pilots = {p["pilot"] for p in on_slurm.json("pilots")}
    pid = on_slurm.cluster.run(
        "fe", "pgrep", "-u", "alice", "-f", "front.py submitter"
    ).stdout.split()
    assert len(pid) == 1
    on_slurm.cluster.run("fe", "kill", "-9", *pid)
    again = ("agent", "start", "--site", "slurm", "--slots", "1")  # starts another one, and asks it
    until(
        lambda: on_slurm.run(*again, check=False).returncode == 0,
        "another",
        PATIENCE_S,
        on_slurm.logs,
    )
    assert pilots < {p["pilot"] for p in on_slurm.json("pilots")}


def test_nodes_without_a_way_out_go_through_the_head(on_slurm):
    """The relay's port is closed to three of the four nodes; where the batch job begins does not matter."""
    cluster = on_slurm.cluster
    for pilot in on_slurm.json("pilots"):
        on_slurm.run("pilot", "cancel", pilot["pilot"])
    until(lambda: not on_slurm.json("pilots"), "their end", PATIENCE_S, on_slurm.logs)
    closed = ("n2", "n3", "n4")
    rule = "add table ip t; add chain ip t o { type filter hook output priority 0; }; add rule ip t o tcp dport 4433 drop"
    try:
        for host in closed:
            done = cluster.run(host, "nft", rule, user="root")
            if done.returncode:
                pytest.skip(f"nothing can be blocked here: {done.stderr}")
        on_slurm.run("agent", "start", "--site", "slurm", "-N", "4", "-t", "10")
        until(lambda: len(on_slurm.agents()) == 4, "four agents", PATIENCE_S, on_slurm.logs)
        for agent in on_slurm.agents():
            said = on_slurm.run("run", "--agent", agent["id"], "--", "hostname").stdout
            assert said.strip() == agent["host"]
    finally:
        for host in closed:
            cluster.run(host, "nft", "delete table ip t", user="root")


@pytest.mark.parametrize("more", [[], ["--inline"]])
def test_a_site_behind_ssh_whose_nodes_only_dial_out(two_sites, more):
    said = two_sites.run("site", "add", "beta", "--ssh", "alice@a-fe", "-t", "10", *more).stdout
    assert "slurm alice@a-fe" in said
    assert ("inside the batch script" in said) == bool(more)
    job = two_sites.run("run", "--site", "beta", "--", "hostname")
    assert job.stdout.strip() in ("a-n1", "a-n2")
    two_sites.run("site", "remove", "beta", "--force")
    until(lambda: not two_sites.json("pilots"), "their end", PATIENCE_S, two_sites.logs)
    two_sites.cluster.run("a-fe", "sh", "-c", "! ls .cache/gshell | grep invite")


def test_a_job_that_was_begun_with_sbatch_behind_ssh_is_adopted_from_here(two_sites):
    """Nothing of ours is on the front end but what is staged there; the nodes only dial out."""
    there = two_sites.cluster
    two_sites.run("site", "add", "gamma", "--ssh", "alice@a-fe", "--inline")
    script = "echo begun on $(hostname); while [ ! -e go-on ]; do sleep 0.2; done; exit 3"
    submit = f"cd; sbatch --parsable -N2 -t 5 -o 'out-%N.txt' --wrap '{script}'"
    one = there.run("a-fe", "sh", "-c", submit).stdout.strip()
    running = lambda: there.run("a-fe", "squeue", "-h", "-t", "R", "-j", one).stdout
    until(running, "it to run", PATIENCE_S, two_sites.logs)
    inline = two_sites.run("adopt", f"slurm:{one}", check=False)
    assert "site gamma is one where nothing can be staged (--inline)" in inline.stderr
    two_sites.run("site", "remove", "gamma", "--force")
    two_sites.run("site", "add", "beta", "--ssh", "alice@a-fe")
    job = two_sites.run("adopt", f"slurm:{one}").stdout.strip()
    hosts = next(j for j in two_sites.json("jobs") if j["id"] == job)["hosts"]
    assert sorted(hosts) == ["a-fe", "a-n1", "a-n2"]
    following = Started(two_sites, "attach", job)
    try:
        until(lambda: "begun on a-n" in following.printed, "its first line", PATIENCE_S,
              two_sites.logs)  # fmt: skip
        there.run("a-fe", "touch", "go-on")
        assert following.wait(PATIENCE_S) == 3, following.said + two_sites.logs()
    finally:
        following.end()
    until(lambda: not two_sites.json("agents"), "its agents to leave", PATIENCE_S, two_sites.logs)
    two_sites.run("site", "remove", "beta", "--force")
