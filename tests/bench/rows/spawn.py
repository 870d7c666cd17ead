"""The agent's own start of a program under a pty, beside the standard library's, at two sizes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.lab import Lab
from bench.measure import Failed, Samples, run_checked
from bench.table import Line, against, alone, at_most

SIZES_MB = (20, 500)  # the agent's resident memory
GROWTH = 1.5  # "independent of the size": fork's own factor between these two is about ten
PROBE = Path(__file__).parent.parent / "spawn_probe.py"


def spawn(lab: Lab) -> list[Line]:
    count = 200 if not lab.quick else 50
    lines, ours_at = [], {}
    for size in SIZES_MB:
        ours, peer = _probe(lab, size, count)
        ours_at[size] = ours
        what = f"agent of {size} MB: true in a pty, to exit seen"
        lines.append(against("spawn", what, ours, peer, "us", at_most(0.6)))
    small, big = (ours_at[size] for size in SIZES_MB)
    growth = Samples("gshell", failure=small.failure or big.failure)
    if small.usable and big.usable:
        growth.turns = [{"x": big.median("us") / small.median("us")}]
    what = f"  at {SIZES_MB[1]} MB / at {SIZES_MB[0]} MB"
    return [*lines, alone("spawn", what, growth, "x", at_most(GROWTH))]


def _probe(lab: Lab, size_mb: int, count: int) -> tuple[Samples, Samples]:
    argv = [sys.executable, str(PROBE), str(size_mb), str(count)]
    _, out = run_checked(argv, lab.env, stdout=None)
    try:
        report = json.loads(out)
    except ValueError:
        raise Failed(f"spawn probe: {out[:100]!r}") from None
    ours = Samples("gshell", failure=report["failure"])
    ours.turns = [{"us": value} for value in report["gshell"]]
    return ours, Samples("pty.fork", [{"us": value} for value in report["pty.fork"]])
