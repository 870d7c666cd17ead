"""`gshell sweep run` killed (-9) at random moments and gone on with, until it is through: what the
component test does three times with a stand-in program, and the bench row twenty times with LU."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import gshell
from kit.procs import until

MARK = "GSHELL_SWEEP_DIR="
DEADLINE_S = 200.0
THREE = """
[factors]
n = [1, 2, 3]
[results]
format = "none"
capture.value = 'value = (\\d+)'
best = "max value"
"""
"""An experiment with three points, but for what it runs."""


COMMAND = [sys.executable, str(Path(gshell.__file__).parent / "front.py")]


def sweep(*words: str) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [*COMMAND, "sweep", *words], env=env, stdin=subprocess.DEVNULL, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def to_end(*words: str) -> tuple[int, str]:
    process = sweep(*words)
    out, _ = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out


def killed(after_s: float, *words: str) -> bool:
    """Started, and after a while killed, itself alone: nobody in it can do anything about it.
    Whether it lived as long."""
    process = sweep(*words)
    try:
        process.communicate(timeout=after_s)
        return False
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        return True


def left_of(folder: Path) -> list[int]:
    """Processes that still run for the result directory."""
    found = []
    for name in os.listdir("/proc"):
        try:
            environ = Path("/proc", name, "environ").read_bytes() if name.isdigit() else b""
        except OSError:
            continue
        if os.fsencode(f"{MARK}{folder}") in environ.split(b"\0"):
            found.append(int(name))
    return found


def wait_none_left(folder: Path) -> None:
    """The guardian needs a moment: for who does not end at TERM, 3 s."""
    until(lambda: not left_of(folder), "nothing to be left", 60.0, lambda: str(left_of(folder)))


def results(folder: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The columns of the table that do not depend on the time of day."""
    with open(folder / "results.csv", encoding="utf-8", newline="") as file:
        return [tuple(row[name] for name in names) for row in csv.DictReader(file)]


def killed_and_resumed(
    definition: Path, folder: Path, kills: int, longest_s: float, seed: int
) -> tuple[int, int, str]:
    """Run, killed ``kills`` times, each after up to ``longest_s``; then to its end. Returns how
    often it could be killed, the last status and what was printed last."""
    luck = random.Random(seed)
    hits = 0
    first = ["run", "-o", str(folder), str(definition)]
    for _ in range(kills):
        begun = (folder / "origin.json").exists()
        hits += killed(
            luck.uniform(0.05, longest_s), *(["resume", str(folder)] if begun else first)
        )
        wait_none_left(folder)
    begun = (folder / "origin.json").exists()
    status, out = to_end(*(["resume", str(folder)] if begun else first))
    return hits, status, out


def outputs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.out*"))
