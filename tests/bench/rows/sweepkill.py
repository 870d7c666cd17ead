"""The tutorial's sweep (LU S, W x 1, 2, 4 ranks) killed again and again, and gone on with."""

from __future__ import annotations

import time

from bench.gsh import repository
from bench.lab import Lab
from bench.measure import Failed, Missing, Samples
from bench.table import Line, alone, at_least, at_most
from kit import sweepkill as kit

KILLS, SEED = 20, 20261122
LONGEST_S = 2.5  # from a start to its kill; a point of class W takes about as long
SAME = ("size", "ranks", "repetition", "npb_class", "grid", "iterations", "processes", "verified")


def sweepkill(lab: Lab) -> list[Line]:
    source = repository() / "examples" / "lu_experiment" / "lu.toml"
    if not source.exists():
        raise Missing("examples/lu_experiment isn't there")
    for program in ("make", "mpicc", "mpirun"):
        lab.program(program)
    definition = lab.directory / "lu.toml"
    text = source.read_text().replace("../lu", str(repository() / "examples" / "lu"))
    if lab.quick:
        text = text.replace('["S", "W"]', '["S"]')
    definition.write_text(text)
    whole, broken = lab.directory / "whole", lab.directory / "broken"
    begun = time.monotonic()
    status, out = kit.to_end("run", "-o", str(whole), str(definition))
    alone_s = time.monotonic() - begun
    if status:
        raise Failed(f"uninterrupted: {out[-200:]}")
    begun = time.monotonic()
    kills = lab.rounds(KILLS, 5)
    hits, status, out = kit.killed_and_resumed(
        definition, broken, kills, 1.0 if lab.quick else LONGEST_S, SEED
    )
    spent_s = time.monotonic() - begun
    if status:
        raise Failed(f"after {hits} kills: {out[-200:]}")
    rows, wanted = kit.results(broken, SAME), kit.results(whole, SAME)
    differing = len(set(rows) ^ set(wanted)) + abs(len(rows) - len(wanted))
    differing += len(set(kit.outputs(broken)) ^ set(kit.outputs(whole)))
    left = len(kit.left_of(broken))

    def line(what: str, figure: float, unit: str, bound: object) -> Line:
        return alone("sweepkill", what, Samples("gshell", [{unit: figure}]), unit, bound)

    return [
        line("kills (-9) it lived until", hits, "kills", at_least(kills / 2)),
        line("  results other than an uninterrupted run's", differing, "results", at_most(0)),
        line("  processes left", left, "processes", at_most(0)),
        line("  uninterrupted", alone_s, "s", None),
        line("  with all kills", spent_s, "s", None),
    ]
