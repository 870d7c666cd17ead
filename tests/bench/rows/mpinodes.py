"""Open MPI on two hosts in namespaces: through our agents' remote shell, and with mpirun over ssh."""

from __future__ import annotations

import re
import shutil
import statistics
import time
from typing import Any

from bench import mpitools
from bench.lab import Lab
from bench.measure import Failed, Missing, Samples
from bench.mpitools import SOURCES
from bench.sitelab import Bed
from bench.table import Line, against, at_most

GSHELL = "/home/alice/gs/bin/gshell"
RANKS = 4
NODES = ("a-n1", "a-n2")
HELLO = "hello 3 of 4"
SYSTEM = ("/usr/bin/mpirun.openmpi", "/usr/bin/mpirun")  # users of the hosts see the system's


def nodes(lab: Lab) -> list[Line]:
    mpirun = next((name for name in SYSTEM if shutil.which(name)), None)
    if mpirun is None:
        raise Missing("no Open MPI of the system's, which hosts in namespaces see")
    mpi = mpitools.find("openmpi")
    with Bed("sites", "bench-mpi", "-n", "2", "-p", "relay") as bed:
        bed.install("A")
        bed.install("relay")
        home = bed.home("A")
        (home / "hello.c").write_text(SOURCES["hello"])
        bed.checked("a-fe", mpi.mpicc, "-O2", "-o", "hello", "hello.c")
        _installation(bed)
        slots = RANKS // len(NODES)
        ssh = [mpirun, "--host", ",".join(f"{node}:{slots}" for node in NODES), "-n", str(RANKS)]
        ours = [GSHELL, "mpi", "-n", str(RANKS), "-N", str(len(NODES)), "--", "./hello"]
        rounds = lab.rounds(9, 1)
        # mpirun on the first node, as a batch job would call it; our client is where a user is
        times = _together(bed, rounds, ours, [*ssh, "./hello"])
    what = f"Open MPI hello, {RANKS} ranks, 2 nodes"
    one, two = _samples("gshell", times["ours"]), _samples("mpirun over ssh", times["ssh"])
    return [
        against("mpi-nodes", f"{what}, first byte", one, two, "ms", at_most(1.2)),
        against("mpi-nodes", f"{what}, whole", one, two, "end:ms"),
    ]


def _installation(bed: Bed) -> None:
    """A relay, a client on the front end and an agent on each node."""
    said = bed.checked(
        "relay", GSHELL, "relay", "start", "--state", "rs", "--listen", "10.70.0.50:7777"
    )
    invite = re.search(r"gshell login '([^']+)'", said)
    if invite is None:
        raise Failed(f"relay start said: {said[:300]}")
    more = bed.checked("relay", GSHELL, "relay", "invite", "--state", "rs", "--uses", "9")
    bed.checked("a-fe", GSHELL, "login", invite[1])
    token = re.search(r"gshell://\S+?(?=['\s]|$)", more)
    for node in NODES:
        words = ["agent", "start", "--invite", token[0] if token else "", "--slots", "2"]
        # /home is shared inside a site: what an agent keeps must not be
        bed.checked(node, "env", f"GSHELL_HOME=/tmp/gs-{node}", GSHELL, *words)
    until = time.monotonic() + 30
    while bed.run("a-fe", GSHELL, "agents", "-q").stdout.split() == [] or (
        len(bed.run("a-fe", GSHELL, "agents", "-q").stdout.split()) < len(NODES)
    ):
        if time.monotonic() > until:
            raise Failed("the agents on the two nodes did not come")
        time.sleep(0.1)


def _together(bed: Bed, rounds: int, ours: list[str], ssh: list[str]) -> dict[str, Any]:
    """By turns, a round of each: they run on different hosts, so in calls of their own."""
    found: dict[str, Any] = {}
    plans = (
        ("ours", "a-fe", {"name": "ours", "argv": ours, "tty": False, "expect": HELLO}),
        ("ssh", NODES[0], {"name": "ssh", "argv": ssh, "tty": False, "expect": HELLO}),
    )
    for number in range(rounds + 1):  # the first warms up
        for name, host, plan in plans:
            times = bed.times(host, 1, [plan])[name]
            if times["wrong"]:
                raise Failed(f"{name}: {times['wrong'][0]}")
            if number:
                kept = found.setdefault(name, {"first": [], "end": []})
                for which in kept:
                    kept[which] += times[which]
    return found


def _samples(name: str, times: dict[str, list[float]]) -> Samples:
    turns = [
        {"ms": first * 1000, "end:ms": end * 1000}
        for first, end in zip(times["first"], times["end"])
    ]
    assert statistics.median(turn["ms"] for turn in turns) > 0
    return Samples(name, turns)
