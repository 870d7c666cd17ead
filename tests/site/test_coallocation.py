"""One job at two real sites: all its agents or none, and what becomes of the others meanwhile.

Two Slurm clusters behind ssh, whose nodes dial the relay and nothing else. What is late is so because other
people's batch jobs have the nodes.
"""

import contextlib
import subprocess

import pytest

from kit.labhome import LAB, Started
from kit.procs import until

pytestmark = [pytest.mark.site, pytest.mark.timeout(280)]

PATIENCE_S = 60.0
LATE_S = 20
STARTS_WITHIN_S = 1.0  # of the last agent's arrival
TWO_TIMES_FOUR = ("-N", "2", "-n", "4", "--site", "a,b")


@pytest.fixture(scope="module")
def lab(two_sites):
    for site in "ab":
        two_sites.run("site", "add", site, "--ssh", f"alice@{site}-fe", "-t", "10", "--slots", "4",
                  "--max-agents", "1")  # fmt: skip
    yield two_sites
    for site in "ab":
        two_sites.run("site", "remove", site, "--force")


@pytest.fixture
def place(lab):
    """No pilots, and nothing of others in the queues."""
    yield lab
    for pilot in lab.json("pilots"):
        lab.run("pilot", "cancel", pilot["pilot"], check=False)
    for site in "ab":
        lab.cluster.run(f"{site}-fe", "scancel", "-u", "bob", user="root")
    until(lambda: not lab.json("pilots"), "the pilots' end", PATIENCE_S, lab.logs)
    assert not lab.json("jobs")


@pytest.fixture
def start(lab):
    with contextlib.ExitStack() as stack:

        def start(*words):
            started = Started(lab, *words)
            stack.callback(started.end)
            return started

        yield start


def occupy(place, site, seconds):
    """Somebody else's jobs have all of a site's nodes for so long."""
    script = f"#!/bin/sh\nsleep {seconds}\n"
    for _ in range(2):
        done = subprocess.run(
            [LAB / "hx", place.cluster.name, f"{site}-fe:bob", "sbatch", "--exclusive", "-o", "/dev/null",
             "-t", f"0:{seconds + 1}"],
            input=script, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    running = lambda: place.cluster.run(f"{site}-fe", "squeue", "-h", "-t", "R", "-u", "bob").stdout
    until(lambda: len(running().splitlines()) == 2, "them to run", 20.0)


def held(place):
    return [a["site"] for a in place.json("agents") if a["state"] == "waiting"]


def pilots(place, *sites):
    """{site: its newest pilot that lives}"""
    return {p["site"]: p for p in place.json("pilots") if p["site"] in sites}


def test_it_starts_with_its_last_agent_and_short_jobs_use_what_is_kept_for_it_meanwhile(
    place, start
):
    occupy(place, "b", LATE_S)
    big = start("run", *TWO_TIMES_FOUR, "-l", "--", "sh", "-c", "echo $(hostname) $(date +%s.%N)")
    until(lambda: "a" in held(place), "its agent at a", PATIENCE_S, place.logs)
    short = [
        start("run", "--site", "a", "-n", "4", "--walltime", "0:05", "--", "hostname")
        for _ in range(3)
    ]
    for one in short:
        assert one.succeeds() in ("a-n1\n" * 4, "a-n2\n" * 4)
    assert big.process.poll() is None
    assert not big.printed
    lines = sorted(line.split() for line in big.succeeds().splitlines())
    assert [(line[0], line[1][0]) for line in lines] == [
        (f"{rank}:", "ab"[rank // 4]) for rank in range(8)
    ]
    last = max(agent["since"] for agent in place.json("agents"))
    first_task = min(float(line[2]) for line in lines)
    print(f"started {first_task - last:.3f} s after the last agent")
    print(big.said)
    assert first_task - last < STARTS_WITHIN_S


@pytest.mark.slow
def test_it_is_given_up_with_ctrl_c_and_nothing_stays_behind(place, start):
    """Its hold ends at once, and so, soon, does the pilot that nobody waits for now."""
    occupy(place, "b", 120)
    big = start("run", *TWO_TIMES_FOUR, "--", "true")
    until(
        lambda: "1 of its 2 agents" in big.said,
        "its agent at a",
        PATIENCE_S,
        lambda: big.said + place.logs(),
    )
    big.interrupt()
    assert big.wait() == 130, big.said
    assert not place.json("jobs")
    assert place.run("run", "--site", "a", "-n", "4", "--", "hostname").stdout.startswith(
        "a-n"
    )  # no hold, no wait
    until(
        lambda: [p["site"] for p in place.json("pilots")] == ["a"],
        "b's pilot to go",
        PATIENCE_S,
        place.logs,
    )
    assert "gshell" not in place.cluster.run("b-fe", "squeue", "-h", "-o", "%j").stdout


@pytest.mark.slow
def test_the_death_of_a_partner_before_the_start_has_another_one_looked_for(place, start):
    occupy(place, "b", LATE_S)
    big = start("run", *TWO_TIMES_FOUR, "--", "hostname")
    until(
        lambda: "1 of its 2 agents" in big.said,
        "its agent at a",
        PATIENCE_S,
        lambda: big.said + place.logs(),
    )
    dead = pilots(place, "a")["a"]
    place.cluster.run("a-fe", "scancel", dead["lrms_id"])
    until(
        lambda: "another one is looked for" in big.said,
        "the news",
        PATIENCE_S,
        lambda: big.said + place.logs(),
    )
    hosts = big.succeeds().split()
    print(big.said)
    assert sorted(host[0] for host in hosts) == [*"aaaabbbb"]
    assert pilots(place, "a")["a"]["pilot"] != dead["pilot"]
    assert dead["pilot"] in big.said


def test_the_death_of_a_partner_after_the_start_fails_the_job_with_the_reason(place, start):
    big = start("run", *TWO_TIMES_FOUR, "-l", "--", "sh", "-c", "echo up; exec sleep 1000")
    until(
        lambda: big.printed.count("up") == 8,
        "it to run",
        PATIENCE_S,
        lambda: big.said + place.logs(),
    )
    dead = pilots(place, "b")["b"]
    place.cluster.run("b-fe", "scancel", dead["lrms_id"])
    assert big.wait() not in (0, None)
    print(big.said)
    job = until(lambda: [j for j in place.json("jobs", "-a") if j["state"] == "FAILED"], "it to fail", PATIENCE_S,
                place.logs)[-1]  # fmt: skip
    print(job["error"], big.process.returncode)
    assert dead["pilot"] in job["error"]
    assert "agent" in big.said
    why = place.run("why", job["id"]).stdout
    assert dead["pilot"] in why
    print(why)
    until(lambda: not place.cluster.run("a-n1", "pgrep", "-u", "alice", "sleep").stdout
          and not place.cluster.run("a-n2", "pgrep", "-u", "alice", "sleep").stdout, "the other half's end")  # fmt: skip
