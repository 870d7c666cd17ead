"""How long until the prompt can be typed at, a list is there, or a Tab is answered; the first two
against what they need: a process started in the same way that only imports it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time

from bench.gsh import repository
from bench.lab import Lab
from bench.measure import Sample, Turn, interleaved, run_checked, whole_process
from bench.table import Line, against, alone, at_most
from bench.terminal import Terminal

TAB_MS = 150.0  # what a person takes for at once
PYTHON = (sys.executable, "-I", "-S")  # as the launcher starts it


def _importing(names: list[str], *folders: str) -> list[str]:
    code = f"import sys, importlib; sys.path += {folders!r}\n"
    return [*PYTHON, "-c", f"{code}for name in {names!r}: importlib.import_module(name)"]


def _imports_of(lab: Lab, *words: str) -> list[str]:
    """A process that imports every module that such a command line does, and does nothing."""
    entry = str(repository() / "gshell" / "front.py")
    ran = subprocess.run([*PYTHON, "-X", "importtime", entry, *words], env=lab.warm.env,
                         capture_output=True, text=True, check=True)  # fmt: skip
    times = [line for line in ran.stderr.splitlines() if line.startswith("import time:")]
    # In that list parts come before their whole; ours bring theirs in the right order.
    names = [line.rpartition("|")[2].strip() for line in times[1:]]
    names = [name for name in names if name.startswith("gshell") or "." not in name]
    names.sort(key=lambda name: not name.startswith("gshell"))
    return _importing(names, str(repository()))


def prompt(lab: Lab) -> list[Line]:
    def ready() -> Sample:
        begun = time.perf_counter()
        env = {**lab.warm.env, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        with Terminal([*lab.warm.command, "repl", "--no-rc"], env) as terminal:
            seen = terminal.wait_for(b"gshell>")
            terminal.write(b"\x04")
            terminal.wait(0)
        return {"ms": (seen - begun) * 1000}

    def prints(*words: str) -> Sample:
        elapsed, _ = run_checked([*lab.warm.command, *words], lab.warm.env, stdout=None)
        return {"ms": elapsed * 1000}

    bare = _importing(["prompt_toolkit"], sysconfig.get_path("purelib"))
    bare_jobs, bare_json = _imports_of(lab, "jobs"), _imports_of(lab, "jobs", "--json")
    turns: dict[str, Turn] = {
        "gshell": ready,
        "gshell jobs": lambda: prints("jobs"),
        "gshell jobs --json": lambda: prints("jobs", "--json"),
        "import prompt_toolkit": lambda: whole_process(bare, lab.env),
        "imports of jobs": lambda: whole_process(bare_jobs, lab.env),
        "imports of jobs --json": lambda: whole_process(bare_json, lab.env),
        "a Tab": lambda: prints("complete", "bash", "gshell attach "),
    }
    got = interleaved(turns, lab.rounds(15, 5))
    needs, needs_json = got["imports of jobs"], got["imports of jobs --json"]
    return [
        against("prompt", "the prompt is ready", got["gshell"], got["import prompt_toolkit"], "ms",
                at_most(3.0)),
        against("prompt", "jobs", got["gshell jobs"], needs, "ms", at_most(1.5)),
        against("prompt", "jobs --json", got["gshell jobs --json"], needs_json, "ms", at_most(1.5)),
        alone("prompt", "live ids for a shell", got["a Tab"], "ms", at_most(TAB_MS)),
    ]  # fmt: skip
