"""From `site add` to a terminal on a node, on real batch systems: what a person types, and what they get.

gshell is copied into alice's home, which all hosts of the cluster share; the nodes have nothing but python3.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from kit.labhome import Hosts, Installed, Started
from kit.procs import until

pytestmark = [pytest.mark.site, pytest.mark.timeout(280)]

LAB = pathlib.Path(__file__).parent / "lab"
PATIENCE_S = 60.0


def installed(cluster):
    place = Installed(cluster)
    place.start()
    return place


KINDS = ("slurm", "oar", "sge")


class Stories:
    """What is to be seen on each system is done on all of them at once: they mostly wait."""

    def __init__(self, clusters, absent) -> None:
        self._absent = absent
        self._pool = concurrent.futures.ThreadPoolExecutor(len(KINDS))
        self.places = {kind: self._pool.submit(installed, one) for kind, one in clusters.items()}
        self._told: dict = {}

    def place(self, kind: str) -> Installed:
        if kind in self._absent:
            pytest.skip(self._absent[kind])
        return self.places[kind].result(PATIENCE_S)

    def tell(self, story, kind: str) -> None:
        """How it went there."""
        if story not in self._told:
            self._told[story] = {
                each: self._pool.submit(lambda each=each: story(self.place(each)))
                for each in self.places
            }
        self.place(kind)
        self._told[story][kind].result(3 * PATIENCE_S)

    def close(self) -> None:
        for ended in [
            self._pool.submit(lambda one=one: one.result().stop()) for one in self.places.values()
        ]:
            ended.exception(PATIENCE_S)
        self._pool.shutdown(wait=False, cancel_futures=True)


@pytest.fixture(scope="module")
def stories(request):
    clusters, absent = {}, {}
    for kind in KINDS:
        try:
            clusters[kind] = request.getfixturevalue(kind)
        except pytest.skip.Exception as why:
            absent[kind] = str(why)
    told = Stories(clusters, absent)
    yield told
    told.close()


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


@pytest.fixture(scope="module")
def on_sites():
    """Slurm behind an ssh front end; its nodes may dial the relay and nothing else. gshell is on two hosts: the
    relay's, and the one where alice sits."""
    name = f"gt-sites-{os.getpid()}"
    if os.geteuid():
        pytest.skip("needs root: virtual hosts are namespaces")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"
    missing = [
        tool
        for tool in ("sshd", "slurmctld", "nft", "unshare")
        if not shutil.which(tool, path=path)
    ]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)} (tests/site/lab/install.sh)")
    env = {**os.environ, "PATH": path}

    def lab(script, *words):
        return subprocess.run([LAB / script, *words], env=env, capture_output=True, text=True, timeout=55,
                              stdin=subprocess.DEVNULL)  # fmt: skip

    home = pathlib.Path(os.environ.get("LRMS_ROOT", "/srv/lrms")) / name / "home"
    try:
        up = lab("sites-up.sh", "-N", name, "-f", "-A", "slurm", "-p", "relay")
        assert up.returncode == 0, up.stdout + up.stderr
        cluster = Hosts(name)
        relay = Installed(cluster, "relay", home / "relay" / "alice")
        me = Installed(cluster, "home", home / "home" / "alice")
        relay.start()
        me.run("login", relay.invite())
        yield me
        me.stop()
        relay.stop()
    finally:
        lab("sites-down.sh", name)


@pytest.mark.parametrize("more", [[], ["--inline"]])
def test_a_site_behind_ssh_whose_nodes_only_dial_out(on_sites, more):
    said = on_sites.run("site", "add", "beta", "--ssh", "alice@a-fe", "-t", "10", *more).stdout
    assert "slurm alice@a-fe" in said
    assert ("inside the batch script" in said) == bool(more)
    job = on_sites.run("run", "--site", "beta", "--", "hostname")
    assert job.stdout.strip() in ("a-n1", "a-n2")
    on_sites.run("site", "remove", "beta", "--force")
    until(lambda: not on_sites.json("pilots"), "their end", PATIENCE_S, on_sites.logs)
    on_sites.cluster.run("a-fe", "sh", "-c", "! ls .cache/gshell | grep invite")
