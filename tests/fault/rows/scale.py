"""A thousand idle sessions and fifty busy ones on one relay, and one at which somebody types.

Busy is 20 kB/s each way: a log that scrolls. Held: what the door keeps for a session, its
descriptors afterwards, and the echo beside all that (the short form's by the median: others may use
the machine, too). Guards: what the door allocates per pair
(give each its own copy buffer and this fails), and that ends are noticed on both sides.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

from bench.processes import memory_of
from fault.lab import Console
from fault.rows import Finding, Form, Row

from kit.procs import Env, until

CROWD = str(Path(__file__).resolve().parents[1] / "crowd.py")
SHORT, FULL = (100, 5), (1000, 50)  # idle, busy
PACE_BYTES_S = 20_000
SLOTS = 300  # of one agent
IN_ONE_PROCESS = 250
KEYS = 300
KEY_S = 0.02  # between two keys
DOOR_KIB, ECHO_S = 16.0, 0.020


class Crowd:
    """A process with many sessions."""

    def __init__(self, env: Env, verb: str, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, CROWD, verb, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env.env,
        )  # fmt: skip

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def leave(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.close()
        said = self.says()
        self.process.wait(120)
        return said

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def echoes(console: Console, count: int) -> list[float]:
    """Seconds from a key to its echo, by a raw ``cat`` over there. Sorted."""
    times = []
    for number in range(count):
        key = bytes([97 + number % 26])
        before = len(console.seen)
        since = time.perf_counter()
        console.type(key)
        end = since + 5.0
        while len(console.seen) == before and time.perf_counter() < end:
            select.select([console.master], [], [], 0.1)  # not by looking: there are two cores
            console.read()
        times.append(time.perf_counter() - since)
        assert bytes(console.seen[before:]) == key, bytes(console.seen[-50:])
        time.sleep(KEY_S)
    return sorted(times)


def measure(form: Form) -> list[Finding]:
    idle, busy = FULL if form.full else SHORT
    env = Env()
    with contextlib.ExitStack() as stack:
        stack.callback(env.close)
        invite = env.start_relay()
        for number in range(-(-(idle + busy + 10) // SLOTS)):
            env.start_agent(f"agent{number}", invite, "--slots", str(SLOTS))
        door = int(env.relay_facts()["door_pid"])
        ticket = str(env.home / "config" / "client.ticket")

        def crowd(count: int, pace: int) -> Crowd:
            one = Crowd(env, "sessions", ticket, str(count), str(pace))
            stack.callback(one.close)
            said = one.says()
            assert said == "ready", f"{said}\n{env.logs()}"
            return one

        crowd(5, 0).leave()  # what is allocated once is not of a session
        until(lambda: not any(j["state"] == "ACTIVE" for j in env.jobs()), "an end", show=env.logs)
        flat = descriptors(door)
        before = memory_of([door])
        console = stack.enter_context(
            Console(env, "run", "-t", "-q", "-e", "none", "--", "sh", "-c",
                    "stty raw -echo; echo ready; cat", background=False)
        )  # fmt: skip
        console.until(b"ready")
        console.read()
        parts = [min(IN_ONE_PROCESS, idle - at) for at in range(0, idle, IN_ONE_PROCESS)]
        crowds = [crowd(part, 0) for part in parts] + [crowd(busy, PACE_BYTES_S)]
        per_session = (memory_of([door]) - before) / 1024 / (idle + busy + 1)
        times = echoes(console, KEYS)
        said = [one.leave() for one in crowds]
        console.process.terminate()
        console.process.wait(20)
        env.gshell("cancel", *(j["id"] for j in env.jobs() if j["state"] == "ACTIVE"))
        left = flat

        def settled() -> bool:
            nonlocal left
            left = descriptors(door)
            return left <= flat + 2 * 16  # spares parked after a burst are no leak

        with contextlib.suppress(AssertionError):
            until(settled, "the door's descriptors", 30.0)
    p99 = times[len(times) * 99 // 100]
    middle = times[len(times) // 2]
    who = f"{idle} idle, {busy} busy sessions"
    wrong = [line for line in said if not line.startswith("good")]
    return [
        Finding(who, f"{idle + busy + 1} sessions", f"{per_session:.1f} KiB of door each",
                f"<= {DOOR_KIB:.0f} KiB each", per_session <= DOOR_KIB),
        Finding("  their bytes", f"{PACE_BYTES_S // 1000} kB/s each way, busy",
                "; ".join(wrong) or "all right", "every byte, once", not wrong),
        Finding("  descriptors of the door afterwards", f"{flat} before", f"{left}",
                "flat", left <= flat + 2 * 16),
        Finding("  echo at a session beside", f"{KEYS} keys",
                f"p50 {middle * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms",
                f"{'p99' if form.full else 'p50'} < {ECHO_S * 1e3:.0f} ms",
                (p99 if form.full else middle) < ECHO_S),
    ]  # fmt: skip


ROW = Row("scale", measure, short_s=25.0)
