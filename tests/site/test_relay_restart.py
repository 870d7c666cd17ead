"""The relay goes, and comes back, over pilots that a real Slurm has queued and runs: each is known again, none is
there twice, none is forgotten. What `squeue` says is the truth.
"""

import os
import time

import pytest

from kit.labhome import Installed
from kit.procs import until

pytestmark = [pytest.mark.site, pytest.mark.slow, pytest.mark.timeout(290)]

PILOTS = int(os.environ.get("GSHELL_SITE_PILOTS", "8"))
PATIENCE_S = 120.0
QUIET_S = 35.0  # what is owed is told again every 30 s: by then one that was doubled is seen
SLOTS = 4 if PILOTS <= 8 else 2  # a node has 8


@pytest.fixture(scope="module")
def place(bring):
    """Half of the pilots run, half have to wait."""
    with bring("slurm", "-f", "-n", "2" if PILOTS <= 8 else "4", "-c", "8") as cluster:
        place = Installed(cluster)
        place.start()
        place.run(
            "site",
            "add",
            "alpha",
            "-t",
            "15",
            "--slots",
            str(SLOTS),
            "--max-agents",
            str(PILOTS + 2),
        )
        place.run("agent", "start", "--site", "alpha", "-n", str(PILOTS))
        until(lambda: same(place), "all of them", PATIENCE_S, place.logs)
        yield place
        place.stop()


def squeue(place):
    """{pilot: (id, running)} as Slurm has it: one that is there twice fails here."""
    found = {}
    said = place.cluster.run("fe", "squeue", "-h", "-o", "%j %i %T").stdout
    for name, job, state in (line.split() for line in said.splitlines()):
        pilot = name.removeprefix("gshell-")
        assert pilot not in found, f"{pilot} is there twice:\n{said}"
        found[pilot] = (job, state == "RUNNING")
    return found


def same(place):
    """All of Slurm, of the relay's pilots and its agents, if they say the same; else nothing."""
    there = squeue(place)
    pilots = {p["pilot"]: (p["lrms_id"], p["state"] == "running") for p in place.json("pilots")}
    agents = {a["pilot"] for a in place.json("agents") if a["state"] in ("waiting", "busy")}
    running = {pilot for pilot, (_, runs) in there.items() if runs}
    if len(there) == PILOTS and there == pilots and agents == running:
        return there
    place.seen = f"squeue {there}\npilots {pilots}\nagents {agents}"
    return None


def processes(place, what):
    return place.cluster.run("fe", "pgrep", "-u", "alice", "-f", f"front.py {what}").stdout.split()


def kill(place, *pids):
    assert pids
    place.cluster.run("fe", "kill", "-9", *pids)


def adopted(place, before, what):
    began = time.monotonic()
    again = until(
        lambda: same(place), "the same ones", PATIENCE_S, lambda: place.seen + place.logs()
    )
    print(f"{what}: {len(again)} pilots, {sum(r for _, r in again.values())} run, adopted after "
          f"{time.monotonic() - began:.1f} s")  # fmt: skip
    assert again == before
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        assert squeue(place) == before
        time.sleep(2)
    assert same(place) == before, place.seen


def works(place):
    running = next(p for p, (_, runs) in squeue(place).items() if runs)
    assert place.run("run", "--agent", f"{running}.0", "--", "echo", "works").stdout == "works\n"


def test_a_relay_that_is_killed_knows_its_pilots_again(place):
    before = same(place)
    kill(place, *processes(place, "relay start"))
    place.start_relay()
    adopted(place, before, "relay killed")
    works(place)


def test_a_relay_and_a_submitter_that_are_killed_together_know_them_again(place):
    before = same(place)
    kill(place, *processes(place, "relay start"), *processes(place, "submitter"))
    place.start_relay()
    works(place)
    adopted(place, before, "relay and submitter killed")
    assert len(processes(place, "submitter")) == 1


def test_another_relay_takes_over_with_all_pilots(place):
    before = same(place)
    place.run("relay", "restart", "--state", "/home/alice/relay")
    adopted(place, before, "relay restart")
    works(place)


def test_the_pilots_that_were_adopted_are_canceled_as_any(place):
    place.run("pilot", "cancel", *(pilot["pilot"] for pilot in place.json("pilots")))
    until(lambda: not squeue(place), "their end", PATIENCE_S, place.logs)
    until(
        lambda: not place.json("pilots") and not place.json("agents"),
        "to be known",
        PATIENCE_S,
        place.logs,
    )
