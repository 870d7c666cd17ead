"""A busy agent and somebody who wants a terminal now: both run, the batch job keeps its share, and
has all of it back afterwards.

Processor time is really measured here, beside whatever else the machine does: the bounds are wide
(tests/bench/rows/lanes.py has the figures).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kit.procs import Env, until
from kit.pty import Pty

SLOTS = len(os.sched_getaffinity(0))
PROMPT = "ready$ "
AT_ONCE_S = 15.0  # on a machine that is full three times over; a queue would be for ever
SPINNERS = f"for i in $(seq {SLOTS}); do (while :; do :; done) & done; wait"
# On all slots; the first rank counts as it computes: what it printed must be without a gap.
COUNT = """
import os, sys
number = 0
while not os.path.exists(sys.argv[1]):
    for _ in range(300000): pass
    if os.environ["GSHELL_RANK"] == "0": print(number, flush=True)
    number += 1
if os.environ["GSHELL_RANK"] == "0": print("end", flush=True)
"""


class Batch:
    """A job on all slots that runs until it is told to end."""

    def __init__(self, env: Env, ident: str, told: Path) -> None:
        self.env, self.id, self._told = env, ident, told

    def end(self) -> None:
        """It ends well, and its output is right."""
        self._told.touch()
        becomes(self.env, self.id, "COMPLETED")
        *numbers, last = self.env.gshell("logs", self.id).stdout.split()
        assert last == b"end"
        assert [int(n) for n in numbers] == list(range(len(numbers)))
        assert numbers


def started(env: Env, folder: Path) -> Batch:
    told = folder / "end"
    program = [sys.executable, "-S", "-c", COUNT, str(told)]
    done = env.gshell("run", "--detach", "-n", str(SLOTS), "--", *program)
    assert done.returncode == 0, done.stderr
    return Batch(env, done.stdout.decode().strip(), told)


def job(env: Env, ident: str) -> dict[str, Any]:
    return next(j for j in env.jobs() if j["id"] == ident)


def state(env: Env, ident: str) -> str:
    return str(job(env, ident)["state"])


def becomes(env: Env, ident: str, wanted: str) -> None:
    until(lambda: state(env, ident) == wanted, f"job {ident} to be {wanted}", show=env.logs)


def live(env: Env, lane: str) -> list[str]:
    return [j["id"] for j in env.jobs() if j["state"] == "ACTIVE" and j["lane"] == lane]


def share(env: Env) -> dict[str, Any]:
    there = [agent for agent in env.agents() if agent["state"] != "away"]
    return dict(there[0]["share"] or {}) if there else {}


def settled(env: Env, asked: float, low: float, high: float) -> None:
    def seen() -> bool:
        now = share(env)
        return now.get("asked") == asked and low < (now.get("share") or 0) < high

    until(seen, f"the share of {asked} %", show=lambda: f"{share(env)}\n{env.logs()}")


def restored(env: Env) -> None:
    until(lambda: share(env).get("share") is None, "all to be as before")


def test_a_shell_comes_at_once_and_the_batch_job_keeps_its_share(node: Env, tmp_path: Path) -> None:
    batch = started(node, tmp_path)
    began = time.monotonic()
    with Pty(node.argv("sh"), node.client_env(), (24, 80)) as shell:
        shell.wait_for(PROMPT)
        assert time.monotonic() - began < AT_ONCE_S
        assert live(node, "interactive")
        shell.line(f"echo spin' 'ning; {SPINNERS}")
        shell.wait_for("spin ning")
        settled(node, 10, 0.03, 0.25)
        assert "(asked 10)" in node.gshell("agents").stdout.decode()
        shell.send(b"\x03")
        shell.wait_for(PROMPT)
        shell.line("kill $(jobs -p); exit 5")
        assert shell.wait() == 5
    restored(node)
    assert "asked" not in node.gshell("agents").stdout.decode()
    batch.end()


def test_the_smallest_loss_of_several_counts_until_it_ends(node: Env, tmp_path: Path) -> None:
    batch = started(node, tmp_path)
    clients = {}
    for loss in ("25", "5"):
        words = ["run", "--lane", "interactive", "--loss", loss, "--", "sh", "-c"]
        script = f"echo {loss}; {SPINNERS if loss == '25' else 'exec sleep 1000'}"
        clients[loss] = node.popen(*words, script)
        out = clients[loss].stdout
        assert out is not None
        assert out.readline() == f"{loss}\n".encode()
    many, few = sorted(live(node, "interactive"), key=int)
    until(lambda: share(node).get("asked") == 5, "the smaller one to count")
    node.gshell("kill", "-9", few)
    assert clients["5"].wait(20) == 137
    settled(node, 25, 0.12, 0.42)
    clients["25"].kill()  # its step lives on without it, as any
    clients["25"].wait(20)
    assert state(node, many) == "ACTIVE"
    assert share(node)["asked"] == 25
    node.gshell("cancel", many)
    restored(node)
    batch.end()
    for client in clients.values():
        client.communicate(timeout=20)


def test_who_says_nothing_waits_on_a_full_agent_and_is_told_why(node: Env, tmp_path: Path) -> None:
    batch = started(node, tmp_path)
    waits = node.popen("run", "--", "echo", "at last")
    (one,) = until(lambda: [j for j in node.jobs() if j["state"] == "QUEUED"], "it to wait")
    assert one["lane"] == "batch"
    told = node.gshell("why", one["id"]).stdout.decode()
    assert "all slots are in use" in told
    assert "--lane interactive" in told
    batch.end()
    assert waits.communicate(timeout=20)[0] == b"at last\n"


@pytest.mark.skipif(SLOTS < 2, reason="one processor: the second job would wait")
def test_an_opening_ahead_of_use_is_in_the_lane_of_what_it_starts(node: Env) -> None:
    with Pty(node.argv("sh"), node.client_env(), (24, 80)) as shell:
        shell.wait_for(PROMPT)
        with node.popen("run", "--", "sh", "-c", "echo up; read x") as plain:
            assert plain.stdout is not None
            assert plain.stdout.readline() == b"up\n"
            assert node.agents()[0]["lanes"] == {"batch": 1, "interactive": 1}
            plain.communicate(b"\n", 20)
        shell.line("exit")
        shell.wait()


def test_a_submitted_job_shares_with_a_terminal_until_the_agent_is_stopped(
    alone: Env, tmp_path: Path
) -> None:
    alone.start_agent("one", alone.start_relay(), "--slots", "1")
    described = tmp_path / "spin.jdl"
    described.write_text(
        'Executable = "/bin/sh"; Arguments = "-c \'while :; do :; done\'"; RetryCount = 0;'
    )
    submitted = alone.gshell("submit", str(described)).stdout.decode().split()[0]
    becomes(alone, submitted, "ACTIVE")
    words = alone.argv("run", "-t", "--loss", "20", "--", "sh", "-c", f"echo up; {SPINNERS}")
    with Pty(words, alone.client_env(), (24, 80)) as pty:
        pty.wait_for("up\r\n")
        until(lambda: share(alone).get("asked") == 20, "it to share", show=alone.logs)
        alone.processes["one"].terminate()
        assert pty.wait() == 143
