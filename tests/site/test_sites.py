"""From `site add` to a terminal on a node, on real batch systems: what a person types, and what they get.

gshell is copied into alice's home, which all hosts of the cluster share; the nodes have nothing but python3.
"""

import os
import pathlib
import shutil
import subprocess
import time

import pytest

from kit.labhome import Hosts, Installed
from kit.procs import until

pytestmark = [pytest.mark.site, pytest.mark.timeout(280)]

LAB = pathlib.Path(__file__).parent / "lab"
PATIENCE_S = 60.0


def installed(cluster):
    place = Installed(cluster)
    place.start()
    return place


@pytest.fixture(scope="module")
def on_slurm(slurm):
    place = installed(slurm)
    yield place
    place.stop()


def test_a_job_without_an_agent_makes_its_place_and_the_next_one_starts_at_once(on_slurm):
    """`site add` says what it found; the first job has a pilot made, the wait is explained; then it is instant."""
    said = on_slurm.run("site", "add", "alpha", "--walltime", "10").stdout
    assert "slurm here" in said
    assert "nodes free" in said
    first = on_slurm.run("run", "--site", "alpha", "--", "hostname")
    assert first.stdout.strip() in ("n1", "n2", "n3", "n4")
    assert "waiting" in first.stderr
    began = time.monotonic()
    again = on_slurm.run("run", "--site", "alpha", "--", "hostname")
    took_s = time.monotonic() - began
    assert again.stdout == first.stdout
    assert took_s < 2.0  # most of it is the lab's own way into a host
    agents = on_slurm.json("agents")
    assert [(a["site"], a["node"]) for a in agents] == [("alpha", 0)]
    assert 0 < agents[0]["ends_at"] - time.time() < 660


def test_a_pilot_of_two_nodes_has_an_agent_on_each(on_slurm):
    on_slurm.run("agent", "start", "--site", "alpha", "-N", "2", "--slots", "2")
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
    on_slurm.run("agent", "start", "--site", "alpha", "--slots", "1")
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
    again = ("agent", "start", "--site", "alpha", "--slots", "1")  # starts another one, and asks it
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
        on_slurm.run("agent", "start", "--site", "alpha", "-N", "4", "-t", "10")
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
