"""The practical session's script at a real OAR (LU S, W x 1, 2, 4 ranks), killed at random moments
and gone on with by ``-c``, beside one that nobody interrupts."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

from bench import sitelab
from bench.lab import Lab
from bench.measure import Failed, Samples
from bench.table import Line, alone, at_least, at_most
from kit.labhome import Hosts
from kit.tutorial import NEEDS, Desk, outputs

KILLS, SEED = 20, 20261122
SHARE = 0.6  # of an uninterrupted run: the longest life until a kill
RUN_S = 600.0


def tutorial(lab: Lab) -> list[Line]:
    for program in NEEDS:
        lab.program(program)
    with sitelab.Bed("oar", f"gt-oar-{os.getpid()}", "-f", "-n", "2", "-c", "8") as bed:
        desk = Desk(Hosts(bed.name), bed.home(), 2)
        sizes = "S" if lab.quick else "S W"
        desk.env |= {"N_NODES": "1", "CLUSTERS": "paravance", "SIZES": sizes}
        return _measure(desk, lab.rounds(KILLS, 3))


def _measure(desk: Desk, kills: int) -> list[Line]:
    whole_s = _to_end(desk)
    wanted = outputs(desk.results()[-1])
    if not wanted or any(_unverified(text) for text in wanted.values()):
        raise Failed(f"uninterrupted: {sorted(wanted)}: {desk.said[-200:]}")
    luck = random.Random(SEED)
    hits = series = differing = strays = 0
    begun = time.monotonic()
    while hits < kills:  # again from nothing, as often as it comes to its end between kills
        known = len(desk.results())
        through = False
        while hits < kills and not through:
            through = not _killed(desk, luck.uniform(0.2, SHARE * whole_s), known)
            hits += not through
            print(f" {hits}", end="", file=sys.stderr, flush=True)
        if not through:
            _to_end(desk, known)
        series += 1
        results = desk.results()[-1]
        differing += _differing(outputs(results), wanted)
        desk.nothing_left()
        strays += len(desk.reserved(results)) + _running(desk)
    spent_s = time.monotonic() - begun

    def line(what: str, figure: float, unit: str, bound: object) -> Line:
        return alone("tutorial", what, Samples("gshell", [{unit: figure}]), unit, bound)

    return [
        line("the session's script at OAR, kills (-9)", hits, "kills", at_least(kills)),
        line("  runs that came to their end", series, "runs", at_least(1)),
        line("  results other than an uninterrupted run's", differing, "results", at_most(0)),
        line("  jobs, reservations and processes left", strays, "left", at_most(0)),
        line("  uninterrupted", whole_s, "s", None),
        line("  with all kills", spent_s, "s", None),
    ]


def _start(desk: Desk, known: int) -> subprocess.Popen[bytes]:
    """The script, in the directory that was begun after ``known`` others, if there is one."""
    begun = desk.results()[known:]
    return desk.begin("mpi_bench.py", *(["-c", begun[-1].name] if begun else []))


def _to_end(desk: Desk, known: int | None = None) -> float:
    """Seconds."""
    begun = time.monotonic()
    script = _start(desk, len(desk.results()) if known is None else known)
    try:
        status = script.wait(RUN_S)
    except subprocess.TimeoutExpired:
        desk.kill()
        raise Failed(f"no end after {RUN_S:.0f} s: {desk.said[-200:]}") from None
    if status:
        raise Failed(f"status {status}: {desk.said[-200:]}")
    return time.monotonic() - begun


def _killed(desk: Desk, after_s: float, known: int) -> bool:
    """Whether it lived as long; else it came to its end."""
    script = _start(desk, known)
    try:
        status = script.wait(after_s)
    except subprocess.TimeoutExpired:
        desk.kill()
        script.wait(RUN_S)
        return True
    if status:
        raise Failed(f"status {status}: {desk.said[-200:]}")
    return False


def _unverified(text: list[str]) -> bool:
    return " Verification    =               SUCCESSFUL" not in text


def _differing(found: dict[str, list[str]], wanted: dict[str, list[str]]) -> int:
    return sum(found.get(name) != wanted.get(name) for name in found.keys() | wanted.keys())


def _running(desk: Desk) -> int:
    """Processes of LU's on the nodes."""
    count = 0
    for host in ("n1", "n2"):
        done = desk.cluster.run(host, "pgrep", "-u", "alice", "-f", "NPB3.3-MPI/bin/lu")
        count += len(done.stdout.split())
    return count
