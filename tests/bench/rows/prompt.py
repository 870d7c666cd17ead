"""How long until the prompt can be typed at, and a list of jobs; against what their imports cost."""

from __future__ import annotations

import sys
import time

from bench.lab import Lab
from bench.measure import Sample, Turn, interleaved, run_checked, whole_process
from bench.table import Line, against, alone, at_most
from bench.terminal import Terminal
from gshell import sitepath

NEEDS = (
    "gshell.cli.main, gshell.cli.commands, gshell.cli.verbs, gshell.client.glance, "
    "gshell.client.render, gshell.net.relaylink, json"
)


def _importing(what: str, *options: str) -> list[str]:
    code = f"import sys; sys.path.append({sitepath.root()!r}); import {what}"
    return [sys.executable, "-I", *options, "-c", code]


def prompt(lab: Lab) -> list[Line]:
    def ready() -> Sample:
        begun = time.perf_counter()
        env = {**lab.warm.env, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        with Terminal([*lab.warm.command, "repl", "--no-rc"], env) as terminal:
            seen = terminal.wait_for(b"gshell>")
            terminal.write(b"\x04")
            terminal.wait(0)
        return {"ms": (seen - begun) * 1000}

    def jobs(*words: str) -> Sample:
        elapsed, _ = run_checked([*lab.warm.command, "jobs", *words], lab.warm.env, stdout=None)
        return {"ms": elapsed * 1000}

    turns: dict[str, Turn] = {
        "gshell": ready,
        "gshell jobs": jobs,
        "gshell jobs --json": lambda: jobs("--json"),
        "import prompt_toolkit": lambda: whole_process(_importing("prompt_toolkit"), lab.env),
        "import of its modules": lambda: whole_process(_importing(NEEDS, "-S"), lab.env),
    }
    got = interleaved(turns, lab.rounds(11, 3))
    bare, needs = got["import prompt_toolkit"], got["import of its modules"]
    return [
        against("prompt", "the prompt is ready", got["gshell"], bare, "ms", at_most(3.0)),
        against("prompt", "jobs", got["gshell jobs"], needs, "ms", at_most(1.5)),
        against("prompt", "jobs --json", got["gshell jobs --json"], needs, "ms", at_most(1.5)),
        alone("prompt", "  the prompt is ready, whole", got["gshell"], "ms"),
    ]
