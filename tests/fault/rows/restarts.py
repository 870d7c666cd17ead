"""Broker and door are killed, stopped, and replaced by `gshell relay restart`, under sessions in full flow.

Every session writes numbered blocks as fast as it is told to; each byte that arrives is compared.

Fails when: a resumed link says wrong offsets.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from fault.pace import base, block
from fault.rows import Finding, Form, Row
from fault.runners import Crowd
from fault.talks import Known, kill

from gshell.wire.constants import PIPE_WINDOW
from kit.procs import Env, alive, until

PACE = str(Path(__file__).parents[1] / "pace.py")
WAYS = ("kill -9 broker", "kill -9 door", "kill -9 both", "stop and start", "relay restart")
BACK_S = 15.0
UNDER_WAY = PIPE_WINDOW + (1 << 18)  # bytes at most: what comes after is of a new connection
BETWEEN_S = 1.0  # of flow, after all are back


class Flow:
    """One session: what has come of it is right so far, or ``wrong`` says where it is not."""

    def __init__(self, crowd: Crowd, number: int, rate: int) -> None:
        self.count = 0
        self.wrong = ""
        self.status: int | None = None
        self._pattern = base(number)
        self._left = b""
        self._number = 0
        reads, self._stdin = os.pipe2(os.O_CLOEXEC)
        argv = [sys.executable, "-I", "-S", PACE, str(rate), str(number)]
        crowd.run(argv, f"flow{number}", self._ended, self._came, stdin=reads)
        self._reads = reads

    def _came(self, data: bytes) -> None:
        while len(self._left) < len(data):
            self._left += block(self._pattern, self._number)
            self._number += 1
        if not self.wrong and not self._left.startswith(data):
            self.wrong = f"differs after byte {self.count}"
        self._left = self._left[len(data) :]
        self.count += len(data)

    def _ended(self, status: int) -> None:
        self.status = status
        os.close(self._reads)

    def finish(self) -> None:
        os.close(self._stdin)


def restart(env: Env, way: str) -> list[list[str]]:
    """The commands that are left to be run, one after the other."""
    facts = env.relay_facts()
    state = ["--state", str(env.state)]
    if way == "relay restart":
        return [["relay", "restart", *state]]
    if way == "stop and start":
        start = ["relay", "start", "--listen", env.address, "--user", "tester", *state]
        return [["relay", "stop", *state], start]
    for who in ("broker", "door"):
        if way in (f"kill -9 {who}", "kill -9 both"):
            kill(facts[f"{who}_pid"])
    return []


def measure(form: Form) -> list[Finding]:
    rng = random.Random(form.seed)
    sessions, restarts = form.pick(8, 50), form.pick(5, 20)
    ways = [WAYS[n % len(WAYS)] for n in range(restarts)]
    rng.shuffle(ways)
    env, back, faults = Env(), list[float](), list[str]()
    try:
        env.start_agent("agent", env.start_relay())
        with Crowd(env) as crowd:
            flows = [Flow(crowd, number, 1 << 20) for number in range(sessions)]

            def carry(done, what: str, patience_s: float = 60.0) -> float:
                began = time.monotonic()
                while not done():
                    crowd.loop.once(0.05)
                    took = time.monotonic() - began
                    counts = [flow.count for flow in flows]
                    assert took < patience_s, f"{what}: {counts}\n{env.logs()}"
                return time.monotonic() - began

            def all_flow(more: int, patience_s: float = 60.0) -> float:
                marks = [flow.count + more for flow in flows]
                return carry(
                    lambda: all(f.count >= m or f.wrong for f, m in zip(flows, marks)),
                    "all to flow", patience_s,
                )  # fmt: skip

            all_flow(1)
            began, carried = time.monotonic(), -sum(flow.count for flow in flows)
            for way in ways:
                end = time.monotonic() + rng.uniform(0.3, BETWEEN_S)
                carry(lambda end=end: time.monotonic() >= end, "a while")
                since = time.monotonic()
                doors = env.relay_facts()["door_pid"]
                for words in restart(env, way):
                    process = env.popen(*words, stdin=subprocess.DEVNULL)
                    carry(lambda process=process: process.poll() is not None, f"gshell {words}")
                    said = process.communicate()
                    if process.returncode:
                        faults.append(f"gshell {' '.join(words)}: {said}")
                if way != "kill -9 broker":
                    carry(lambda doors=doors: not alive(doors), "the door's end")
                all_flow(UNDER_WAY)
                back.append(time.monotonic() - since)
            carried += sum(flow.count for flow in flows)
            took = time.monotonic() - began
            for flow in flows:
                flow.finish()
            carry(lambda: all(flow.status is not None for flow in flows), "all to end")
        said = (env.root / "crowd.err.log").read_text().split("\n")
        wrote = sorted(int(line) for line in said if line.isdigit())
        if wrote != sorted(flow.count for flow in flows):
            faults.append(f"written {wrote}, came {sorted(flow.count for flow in flows)}")
        known = Known(env)
        jobs = until(lambda: (found := known.look()) and all(
            job["state"] != "ACTIVE" for job in found.values()) and found, "the ends to be known",
            show=env.logs)  # fmt: skip
        told = [(job["state"], job["code"]) for job in jobs.values()]
        if told != [("FAILED", 4)] * sessions:
            faults.append(f"the broker says {told}")
        faults += [flow.wrong for flow in flows if flow.wrong]
        faults += [f"status {flow.status}" for flow in flows if flow.status != 4]
    finally:
        env.close()
    slow = max(back)
    return [
        Finding(
            f"restarts of broker and door under {sessions} sessions", f"{restarts} restarts",
            (f"{len(faults)} wrong: {faults[0][:100]}" if faults else "0 lost, 0 doubled")
            + f"; {carried / took / sessions / 1e6:.2f} MB/s each over all,"
            f" all flowed again after {slow:.1f} s at most",
            "0 bytes lost", not faults, "\n".join([f"seed {form.seed}", *faults]),
        )
    ]  # fmt: skip


ROW = Row("restarts", measure, short_s=35.0)
