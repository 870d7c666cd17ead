"""How long until something runs: a whole `run -- true`, also over a slow wire; a shell's prompt."""

from __future__ import annotations

import shlex
import time

from bench.gsh import Client
from bench.lab import ONE_WAY_S, Lab
from bench.measure import Sample, Samples, Turn, interleaved, whole_process
from bench.table import Line, against, alone, at_most
from bench.terminal import Terminal
from kit.sshd import TARGET

PROMPT = "bench-prompt> "
SHELL = ("env", "-u", "ENV", f"PS1={PROMPT}", "sh", "-i")  # no start-up file, a prompt we know


def _run_true(client: Client) -> Sample:
    return whole_process(client.run("true"), client.env)


def start(lab: Lab) -> list[Line]:
    turns: dict[str, Turn] = {
        "gshell direct": lambda: _run_true(lab.direct),
        "gshell": lambda: _run_true(lab.warm),
        "true": lambda: whole_process(["true"], lab.env),
        "ssh": lambda: whole_process(lab.sshd.ssh("true"), lab.env),
        "ssh -J": lambda: whole_process(lab.sshd.ssh("true", jump=True), lab.env),
        "ssh ControlMaster": lambda: whole_process(
            lab.sshd.ssh("true", options=lab.control_master), lab.env
        ),
    }
    got = interleaved(turns, lab.rounds(15, 5))
    direct, warm = got["gshell direct"], got["gshell"]
    what, through = "run true, direct", "run true, background"
    return [
        against("start", what, direct, got["ssh -J"], "ms", at_most(0.20)),
        against("start", what, direct, got["ssh"], "ms", at_most(0.35)),
        against("start", through, warm, got["ssh"], "ms", at_most(0.10)),
        against("start", through, warm, got["ssh ControlMaster"], "ms", at_most(1.7, 1.0)),
        against("start", through, warm, got["true"], "ms"),
    ]


def start_delayed(lab: Lab) -> list[Line]:
    turns: dict[str, Turn] = {
        "gshell direct": lambda: _run_true(lab.slow.without_background()),
        "gshell": lambda: _run_true(lab.slow),
        "near direct": lambda: _run_true(lab.direct),
        "near": lambda: _run_true(lab.warm),
        "ssh -J": lambda: whole_process(lab.sshd.ssh("true", jump=lab.slow_jump), lab.env),
    }
    got = interleaved(turns, lab.rounds(9, 3))
    direct, warm = got["gshell direct"], got["gshell"]
    what, through = "run true 25 ms away, direct", "run true 25 ms away, background"
    return [
        against("start-delayed", what, direct, got["ssh -J"], "ms", at_most(0.25, 0.17)),
        against("start-delayed", through, warm, got["ssh -J"], "ms", at_most(0.12)),
        _round_trips(what, direct, got["near direct"]),
        _round_trips(through, warm, got["near"], stretch=1.2),  # one, and its own noise
    ]


def _round_trips(what: str, far: Samples, near: Samples, stretch: float | None = None) -> Line:
    """What the distance costs, in round trips: no target but the stretch, so anything holds."""
    trips = Samples(
        far.name, failure=far.failure or near.failure, missing=far.missing or near.missing
    )
    if far.usable and near.usable:
        extra = far.median("ms") - near.median("ms")
        trips.turns = [{"round trips": extra / (2000 * ONE_WAY_S)}]
    bound = None if stretch is None else at_most(None, stretch)
    return alone("start-delayed", f"  {what[9:]}: cost of the way", trips, "round trips", bound)


def shell(lab: Lab) -> list[Line]:
    def to_prompt(argv: list[str], env: dict[str, str], status: int | None = 3) -> Sample:
        begun = time.perf_counter()
        with Terminal(argv, env) as terminal:
            seen = terminal.wait_for(PROMPT.encode())
            terminal.write(b"exit 3\r")
            terminal.wait(status)
        return {"ms": (seen - begun) * 1000}

    def gshell(client: Client) -> Sample:
        return to_prompt(client.run(*SHELL, options=["-t"]), client.env)

    def ssh(jump: bool) -> Sample:
        return to_prompt(
            lab.sshd.ssh("exec " + shlex.join(SHELL), jump=jump, options=("-tt",)), lab.env
        )

    def mosh() -> Sample:
        lab.program("mosh")
        lab.program("mosh-server")
        how = f"--ssh=ssh -F {lab.sshd.config}"
        argv = ["mosh", how, "--predict=never", TARGET, "--", *SHELL]
        return to_prompt(argv, lab.env, status=None)  # mosh doesn't hand the status on

    turns: dict[str, Turn] = {
        "gshell direct": lambda: gshell(lab.direct),
        "gshell": lambda: gshell(lab.warm),
        "sh": lambda: to_prompt(list(SHELL), lab.env),
        "ssh -tt": lambda: ssh(False),
        "ssh -J -tt": lambda: ssh(True),
        "mosh": mosh,
    }
    got = interleaved(turns, lab.rounds(7, 3))
    lines = []
    for name, how in (("gshell direct", "direct"), ("gshell", "background")):
        what = f"a shell's first byte, {how}"
        lines += [
            against("shell", what, got[name], got["ssh -J -tt"], "ms", at_most(0.20)),
            against("shell", what, got[name], got["mosh"], "ms", at_most(0.15)),
        ]
    return [
        *lines,
        against("shell", "a shell's first byte, background", got["gshell"], got["sh"], "ms"),
    ]
