"""2 x 4 tasks at two sites, one of them late: the start after the last agent was there for it, and
what ran in the slots that were kept meanwhile.

The sites are `local` ones with an agent each, and that of the late one is taken by a job that says
how long: the batch systems' own times are none of this row's (tests/site has the same over two
Slurms).
"""

from __future__ import annotations

import json
import subprocess
import time

from bench.gsh import Client
from bench.lab import Lab
from bench.measure import Failed, Samples
from bench.table import Line, alone, at_least, at_most

LATE_S, LATE_QUICK_S = 20.0, 3.0
PATIENCE_S = 60.0
BIG = ("run", "-N", "2", "-n", "4", "--site", "bench-a,bench-b", "--", "date", "+%s.%N")
SHORT = ("run", "-n", "4", "--site", "bench-a", "--walltime", "0:00:02", "--", "true")


def coallocation(lab: Lab) -> list[Line]:
    client = lab.gsh.new_client("sites")
    found = Samples("gshell")
    try:
        found.turns.append(_once(client, LATE_QUICK_S if lab.quick else LATE_S))
    except Failed as exc:
        found.failure = str(exc)
    finally:
        for site in "ab":
            subprocess.run(
                [*client.command, "site", "remove", f"bench-{site}", "--force"], env=client.env, capture_output=True,
                timeout=PATIENCE_S, check=False,
            )  # fmt: skip
    end = time.monotonic() + PATIENCE_S
    while '"bench-' in _gshell(client, "agents", "--json") and time.monotonic() < end:
        time.sleep(0.1)
    name, what = "coallocation", "2 x 4 tasks at two sites, one late"
    return [
        alone(name, f"{what}: start after the last agent", found, "ms", at_most(1000)),
        alone(name, f"{what}: short jobs meanwhile", found, "jobs", at_least(1)),
    ]


def _once(client: Client, late_s: float) -> dict[str, float]:
    for site in "ab":
        _gshell(client, "site", "add", f"bench-{site}", "--lrms", "local", "-t", "10", "--slots", "4",
                "--max-agents", "1")  # fmt: skip
    _gshell(client, *SHORT)  # bench-a has its agent
    late = ["sleep", str(late_s)]
    walltime = ["--walltime", f"0:00:{late_s + 1:02.0f}", "--name", "late"]
    _gshell(client, "run", "--detach", "-n", "4", "--site", "bench-b", *walltime, "--", *late)
    with subprocess.Popen(
        [*client.command, *BIG], env=client.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as big:  # fmt: skip
        try:
            done = 0
            while big.poll() is None and not _ended(client, "late"):
                _gshell(client, *SHORT)
                done += 1
            out, _ = big.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"no end {PATIENCE_S:.0f} s after its second site was there") from None
        finally:
            if big.poll() is None:
                big.kill()
    starts = sorted(map(float, out.split()))
    if big.returncode or len(starts) != 8:
        raise Failed(f"status {big.returncode}, {len(starts)} of 8 tasks")
    return {"ms": (starts[-1] - _ended(client, "late")) * 1000, "jobs": float(done)}


def _ended(client: Client, name: str) -> float:
    """When the job of this name ended; 0: it has not."""
    jobs = json.loads(_gshell(client, "jobs", "--all", "--json"))["jobs"]
    return next((float(job["ended_at"] or 0) for job in jobs if job["name"] == name), 0.0)


def _gshell(client: Client, *words: str) -> str:
    done = subprocess.run(
        [*client.command, *words], env=client.env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"gshell {words[0]}: {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout
