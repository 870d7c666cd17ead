"""Replay: are inputs placed right when the program and its line are slow, are clean runs green, and
is what was changed seen?"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

from bench.lab import Lab
from bench.table import FAILED, OK, Line, at_most
from kit import conversations

FACTORS = (1, 4, 10)
CLEAN_RUNS = 100
MUTANTS = 100
SEED = 20261122


def replay(lab: Lab) -> list[Line]:
    place = Path(lab.directory) / "conversations"
    place.mkdir()
    every = [one for one in conversations.all_of_them(place) if not one.missing]
    if lab.quick:
        every = every[:10]
    lines = [_placed(every, factor) for factor in FACTORS]
    lines.append(_clean(every, CLEAN_RUNS if not lab.quick else 20))
    lines.append(_mutants(every, MUTANTS if not lab.quick else 20))
    lines.append(_overhead(every))
    return lines


def _placed(every: list[conversations.Conversation], factor: int) -> Line:
    line = Line("replay", f"inputs placed right, program and line {factor} x slower")
    wrong: list[str] = []
    with conversations.slow_group(factor) as group:
        if group is None and factor > 1:
            line.note = "no control group: its line is slow only"
        for one in every:
            wrong += conversations.wrong(one, factor, group)[:1]
    line.ours = f"{len(every) - len(wrong)} of {len(every)} conversations"
    line.verdict = FAILED if wrong else OK
    line.note = wrong[0] if wrong else line.note
    return line


def _clean(every: list[conversations.Conversation], runs: int) -> Line:
    line = Line("replay", "false alarms")
    wrong: list[str] = []
    for number in range(runs):
        wrong += conversations.wrong(every[number % len(every)], 1, None)[:1]
    line.ours = f"{len(wrong)} in {runs} clean runs"
    line.verdict = FAILED if wrong else OK
    line.note = wrong[0] if wrong else ""
    return line


def _mutants(every: list[conversations.Conversation], count: int) -> Line:
    """Each has one digit, line, order or status that is not as expected."""
    line = Line("replay", "mutants caught")
    missed = []
    luck = random.Random(SEED)
    for number in range(count):
        one = every[number % len(every)]
        what, script = conversations.mutated(one.script, luck)
        verdicts, _ = conversations.play(script)
        if all(verdict.ok for verdict in verdicts):
            missed.append(f"{one.name}: {what}")
    line.ours = f"{count - len(missed)} of {count}"
    line.verdict = FAILED if len(missed) > count // 100 else OK
    line.note = ", ".join(missed)
    return line


def _overhead(every: list[conversations.Conversation]) -> Line:
    """Processor time and pauses of ours, against the time that the programs took."""
    ours = []
    for one in every:
        begun = time.perf_counter()
        _, outcome = conversations.play(one.script)
        took = time.perf_counter() - begun
        ours.append((took - outcome.waited_s) / took * 100)
    line = Line("replay", "time beside the program's own", bound=at_most(5.0), unit="%")
    line.figure = statistics.median(ours)
    line.ours = f"{line.figure:.1f} % (p90 {sorted(ours)[int(len(ours) * 0.9)]:.1f} %)"
    return line.judge()
