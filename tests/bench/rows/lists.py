"""Lists and completion: a whole process, against the imports that it cannot do without."""

from __future__ import annotations

import subprocess
import sys

from bench.gsh import repository
from bench.lab import Lab
from bench.measure import Turn, interleaved, whole_process
from bench.table import Line, against, alone, at_most

TAB_MS = 150.0  # what a person takes for at once


def _bare(lab: Lab, *words: str) -> list[str]:
    """A process that imports what such a command line does, and does nothing."""
    entry = str(repository() / "gshell" / "front.py")
    python = [sys.executable, "-I", "-S"]
    ran = subprocess.run([*python, "-X", "importtime", entry, *words], env=lab.warm.env,
                         capture_output=True, text=True, check=True)  # fmt: skip
    times = [line for line in ran.stderr.splitlines() if line.startswith("import time:")]
    # In that list parts come before their whole; ours bring theirs in the right order.
    names = [line.rpartition("|")[2].strip() for line in times[1:]]
    names = [name for name in names if name.startswith("gshell") or "." not in name]
    names.sort(key=lambda name: not name.startswith("gshell"))
    path = f"import sys, importlib; sys.path.append({str(repository())!r})"
    return [*python, "-c", f"{path}\nfor name in {names!r}: importlib.import_module(name)"]


def _silent(argv: list[str]) -> list[str]:
    return ["sh", "-c", 'exec "$@" > /dev/null', "sh", *argv]


def lists(lab: Lab) -> list[Line]:
    jobs = [*lab.warm.command, "jobs"]
    tab = [*lab.warm.command, "complete", "bash", "gshell attach "]
    bare, bare_json = _bare(lab, "jobs"), _bare(lab, "jobs", "--json")
    turns: dict[str, Turn] = {
        "gshell jobs": lambda: whole_process(_silent(jobs), lab.warm.env),
        "gshell jobs --json": lambda: whole_process(_silent([*jobs, "--json"]), lab.warm.env),
        "imports": lambda: whole_process(_silent(bare), lab.warm.env),
        "imports of --json": lambda: whole_process(_silent(bare_json), lab.warm.env),
        "a Tab": lambda: whole_process(_silent(tab), lab.warm.env),
    }
    got = interleaved(turns, lab.rounds(15, 5))
    return [
        against("lists", "jobs", got["gshell jobs"], got["imports"], "ms", at_most(1.5)),
        against("lists", "jobs --json", got["gshell jobs --json"], got["imports of --json"], "ms",
                at_most(1.5)),
        alone("lists", "live ids for a shell", got["a Tab"], "ms", at_most(TAB_MS)),
    ]  # fmt: skip
