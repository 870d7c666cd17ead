#!/usr/bin/env python3
"""Response times at real batch systems: the tutorial's three start-up paths, beside what the site itself offers.

    tests/bench/response.py [--rounds N] [--only slurm,oar,sge,free,far,full] [--json FILE]

For each batch system, in one run: the site's own interactive command; `gshell run --site` with no agent (a pilot is made: free
machine); the same in two steps (glide-in, then the job); and on a waiting agent, through the background process and without it.
Then a site 25 ms away behind an ssh front end, and a cluster that is full. Times are to the first byte of output, medians; ratios mean
something within this table only.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `bench` and `kit`

from bench.measure import Failed, Missing
from bench.sitelab import Bed

OWN = {  # the site's own way to a command with a terminal on a node
    "slurm": ["srun", "--pty", "hostname"],
    "sge": ["qrsh", "-pty", "y", "hostname"],
    "oar": ["oarsub", "-I"],  # it has no command: the prompt is what comes
}
NODE = r"n\d"
TARGET = {"slurm": 1.3, "sge": 0.3, "oar": 0.05}
GSHELL = "/home/alice/gs/bin/gshell"


class Table:
    """Lines of (what, seconds, against, ratio, target)."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self, bed: str, what: str, seconds: float | None, ratio: float | None = None,
        target: float | None = None, limit_s: float | None = None, note: str = "",
    ) -> None:  # fmt: skip
        verdict = ""
        if target is not None and ratio is not None:
            verdict = "ok" if ratio <= target else "SHORT"
        if limit_s is not None and seconds is not None:
            verdict = "ok" if seconds <= limit_s else "SHORT"
        self.rows.append({"bed": bed, "what": what, "seconds": seconds, "ratio": ratio, "target": target,
                          "limit_s": limit_s, "verdict": verdict, "note": note})  # fmt: skip
        shown = "-" if seconds is None else f"{seconds * 1000:.0f} ms"
        against = "" if ratio is None else f"{ratio:.2f} x (target {target})"
        against += "" if limit_s is None else f"(limit {limit_s * 1000:.0f} ms)"
        print(f"{bed:<12} {what:<52} {shown:>10}  {against:<24} {verdict:<6} {note}", flush=True)


def median(times: dict[str, Any], name: str, which: str = "first") -> float:
    one = times[name]
    if one["wrong"]:
        raise Failed(f"{name}: {one['wrong'][0]}")
    return statistics.median(one[which])


def run(*words: str) -> list[str]:
    return [GSHELL, "run", *words]


DIRECT = {"GSHELL_BACKGROUND": "0"}


def begin(bed: Bed, relay: str, address: str, client: str, site: str = "all") -> None:
    """A relay and a client that knows it."""
    said = bed.checked(
        relay, GSHELL, "relay", "start", "--state", "rs", "--listen", f"{address}:7777"
    )
    invite = re.search(r"gshell login '([^']+)'", said)
    if invite is None:
        raise Failed(f"relay start said: {said[:300]}")
    bed.checked(client, GSHELL, "login", invite[1])


def waiting(bed: Bed, client: str, count: int, limit_s: float = 90) -> float:
    """Seconds until so many agents wait."""
    begun = time.monotonic()
    while time.monotonic() - begun < limit_s:
        said = bed.run(client, GSHELL, "agents", "--json").stdout
        agents = (
            json.loads(said or "{}").get("agents", [])
            if said.startswith("{")
            else json.loads(said or "[]")
        )
        if sum(a.get("state") == "waiting" for a in agents) >= count:
            return time.monotonic() - begun
        time.sleep(0.1)
    raise Failed(f"no {count} agents waited after {limit_s:.0f} s")


def near(table: Table, kind: str, rounds: int) -> None:
    """One batch system, client and relay on its front end."""
    fe_address = {"slurm": "10.66.0.1", "oar": "10.67.0.1", "sge": "10.68.0.1"}[kind]
    with Bed(kind, f"resp-{kind}", "-n", "2", "-f") as bed:
        bed.install()
        begin(bed, "fe", fe_address, "fe")
        bed.checked("fe", GSHELL, "site", "add", "here", "--lrms", kind, timeout=90)
        # free machine: nothing waits, a pilot is made for the job
        begun = time.monotonic()
        bed.checked("fe", *run("--site", "here", "--", "hostname"), timeout=120)
        free_s = time.monotonic() - begun
        table.add(kind, "free machine: run --site, no agent", free_s)
        ours = {"argv": run("--site", "here", "-t", "--", "hostname"), "expect": NODE}
        own = {"name": "own", "argv": OWN[kind], "expect": NODE, "limit": 90}
        if kind == "oar":
            own.update(expect=f"@{NODE}[^\n]*[$#] ", type="exit\n")
        contestants = [
            own, {"name": "background", **ours}, {"name": "direct", "env": DIRECT, **ours},
        ]  # fmt: skip
        waiting(bed, "fe", 1)
        times = bed.times("fe", rounds, contestants)
        base = median(times, "own")
        table.add(kind, " ".join(OWN[kind]), base)
        for name, what in (
            ("background", "waiting agent, background process"),
            ("direct", "waiting agent, direct"),
        ):
            seconds = median(times, name)
            table.add(kind, what, seconds, seconds / base, TARGET[kind])


def overhead(table: Table, rounds: int) -> None:
    """Our own part of the free-machine path: beside a bare sbatch that makes a file when it starts."""
    with Bed("slurm", "resp-free", "-n", "2", "-f") as bed:
        bed.install()
        begin(bed, "fe", "10.66.0.1", "fe")
        bed.checked("fe", GSHELL, "site", "add", "here", "--lrms", "slurm", timeout=90)
        bare, ours, glide = [], [], []
        script = "rm -f started; sbatch -o /dev/null --wrap 'touch started' >/dev/null; until [ -e started ]; do sleep 0.01; done"
        for number in range(rounds):
            # Slurm's controller starts batch jobs once a second: each gets the same moment of one.
            moment = (number + 0.5) / rounds
            at_moment(moment)
            begun = time.monotonic()
            bed.checked("fe", "sh", "-c", script)
            bare.append(time.monotonic() - begun)
            at_moment(moment)
            begun = time.monotonic()
            bed.checked("fe", *run("--site", "here", "--", "true"), timeout=60)
            ours.append(time.monotonic() - begun)
            clear(bed)
            at_moment(moment)
            begun = time.monotonic()
            bed.checked("fe", GSHELL, "agent", "start", "--site", "here", timeout=60)
            waiting(bed, "fe", 1)
            bed.checked("fe", *run("--site", "here", "--", "true"), timeout=60)
            glide.append(time.monotonic() - begun)
            clear(bed)
        b, o = statistics.median(bare), statistics.median(ours)
        table.add("slurm", "bare sbatch to its start", b)
        table.add("slurm", "free machine: run --site, no agent", o)
        table.add("slurm", "glide-in agent, then the job", statistics.median(glide))
        table.add("slurm", "our part of the free-machine path", o - b, limit_s=0.5)


def at_moment(fraction: float) -> None:
    """Wait for that part of a second, a second from now at least, so that what was before is over."""
    time.sleep(1 + (fraction - time.time()) % 1)


def clear(bed: Bed) -> None:
    """No agents, no batch jobs, and everybody knows. They are told to stop: pilots that are shot early are failures of their site."""
    ids = bed.checked("fe", GSHELL, "agents", "-q").split()
    if ids:
        bed.checked("fe", GSHELL, "agent", "stop", *ids)
    begun = time.monotonic()
    while time.monotonic() - begun < 30:
        agents = json.loads(bed.run("fe", GSHELL, "agents", "--json").stdout or "[]")
        agents = agents.get("agents", []) if isinstance(agents, dict) else agents
        pilots = json.loads(bed.run("fe", GSHELL, "pilots", "--json").stdout or "[]")
        pilots = pilots.get("pilots", []) if isinstance(pilots, dict) else pilots
        live = [p for p in pilots if p.get("state") not in ("ended", "failed")]
        if not live and not [a for a in agents if a.get("state") != "away"]:
            return
        time.sleep(0.1)
    raise Failed("agents or pilots stayed")


def far(table: Table, rounds: int) -> None:
    """A site with Slurm behind an ssh front end, 25 ms away one way; nodes can only dial the relay."""
    with Bed("sites", "resp-far", "-n", "2", "-A", "slurm", "-d", "home=25", "-f") as bed:
        for site in ("home", "relay"):
            bed.install(site)
        begin(bed, "relay", "10.70.0.50", "home")
        bed.checked(
            "home",
            GSHELL,
            "site",
            "add",
            "far",
            "--lrms",
            "slurm",
            "--ssh",
            "alice@a-fe",
            timeout=90,
        )
        begun = time.monotonic()
        bed.checked("home", *run("--site", "far", "--", "hostname"), timeout=120)
        table.add(
            "25 ms away", "free machine: run --site over ssh, no agent", time.monotonic() - begun
        )
        waiting(bed, "home", 1)
        times = bed.times("home", rounds, [
            {"name": "own", "argv": ["ssh", "-tt", "a-fe", "srun", "--pty", "hostname"]},
            {"name": "background", "argv": run("--site", "far", "-t", "--", "hostname")},
            {"name": "direct", "argv": run("--site", "far", "-t", "--", "hostname"), "env": DIRECT},
        ])  # fmt: skip
        base = median(times, "own")
        table.add("25 ms away", "ssh frontend srun --pty hostname", base)
        for name, what, limit_s in (
            ("background", "waiting agent, background process", 0.250),
            ("direct", "waiting agent, direct", 0.320),
        ):
            table.add(
                "25 ms away",
                what,
                median(times, name),
                limit_s=limit_s,
                note=f"{median(times, name) / base:.2f} x ssh srun",
            )


def full(table: Table, rounds: int) -> None:
    """Every core of the cluster is taken; an agent waits in a job that began before."""
    with Bed("slurm", "resp-full", "-n", "2", "-f") as bed:
        bed.install()
        begin(bed, "fe", "10.66.0.1", "fe")
        bed.checked("fe", GSHELL, "site", "add", "here", "--lrms", "slurm", timeout=90)
        bed.checked("fe", GSHELL, "agent", "start", "--site", "here", timeout=60)
        waiting(bed, "fe", 1)
        contestants = [
            {"name": "background", "argv": run("--site", "here", "-t", "--", "hostname")},
            {
                "name": "direct",
                "argv": run("--site", "here", "-t", "--", "hostname"),
                "env": DIRECT,
            },
        ]
        own = {"name": "own", "argv": OWN["slurm"]}
        idle = bed.times("fe", rounds, [own, *contestants])
        for _ in range(8):
            bed.checked("fe", "sbatch", "-n1", "-o", "/dev/null", "--wrap", "sleep 1000")
        begun = time.monotonic()
        while "idle" in bed.checked("fe", "sinfo", "-h", "-o", "%t") or "mix" in bed.checked(
            "fe", "sinfo", "-h", "-o", "%t"
        ):
            if time.monotonic() - begun > 20:
                raise Failed("the cluster did not fill")
            time.sleep(0.1)
        busy = bed.times("fe", rounds, contestants)
        waits = bed.run("fe", "timeout", "5", "srun", "hostname", timeout=20)
        table.add(
            "full slurm", "srun --pty hostname", None, note="waits" if waits.returncode else "ran?"
        )
        base = median(idle, "own")
        for name in ("background", "direct"):
            was, now = median(idle, name), median(busy, name)
            table.add(
                "full slurm",
                f"waiting agent, {name}",
                now,
                now / base,
                1.3,
                note=f"idle: {was * 1000:.0f} ms",
            )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="slurm,oar,sge,free,far,full")
    parser.add_argument("--json")
    options = parser.parse_args(argv)
    table = Table()
    status = 0
    for name in options.only.split(","):
        try:
            if name in OWN:
                near(table, name, options.rounds)
            elif name == "free":
                overhead(table, max(3, options.rounds // 2))
            elif name == "far":
                far(table, options.rounds)
            elif name == "full":
                full(table, options.rounds)
            else:
                parser.error(f"there is no row {name!r}")
        except Missing as missing:
            table.add(name, "missing", None, note=str(missing))
        except Failed as failed:
            status = 1
            table.add(name, "FAILED", None, note=str(failed))
    if options.json:
        Path(options.json).write_text(json.dumps(table.rows, indent=1) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
