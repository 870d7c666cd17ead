"""Watchers that are stopped, or that nobody reads, at an application that writes 50 MB/s.

The application with its primary reading must not be slower than without them, the agent must not
grow, the primary's bytes must be right, and a watcher that goes on is told what it missed. A second
line: nobody there at all.

Guards: the cursors of ``gshell/agent/sessionlog.py`` (made needed for watchers too, the application
stops) and the bound of what a link may hold in ``gshell/net/link.py`` (without it the agent grows).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fault.lab import descendants_of
from fault.rows import Finding, Form, Row

from kit.procs import Env, until

RATE_MB = 50
PACED = str(Path(__file__).parents[1] / "paced.py")
ROUNDS = 3
SLOWED_PERCENT = (25, 5)  # in the short form others may use the machine, too
GROWN_MOST_MIB = 8.0


class Run(NamedTuple):
    """What one run of the application was like."""

    s_per_mb: float
    stood_s: float
    peak_kib: int
    """Of the agent."""
    whole: bool
    """Its primary had exactly what was written."""
    gaps: int
    """Watchers that were told of one, of two."""


class Bench:
    def __init__(self, env: Env) -> None:
        self.env = env
        keeper = env.start_agent("agent", env.start_relay())
        self.agent = descendants_of(keeper.pid)[0]
        env.env["GSHELL_BACKGROUND"] = "0"
        self._due: dict[tuple[int, int], str] = {}

    def argv(self, size: int, seed: int) -> list[str]:
        return [sys.executable, "-I", "-S", PACED, str(RATE_MB), str(size), str(seed)]

    def due(self, size: int, seed: int) -> str:
        from fault.flow import blocks

        if (size, seed) not in self._due:
            digest = hashlib.sha256()
            for block in blocks(size, seed):
                digest.update(block)
            self._due[size, seed] = digest.hexdigest()
        return self._due[size, seed]

    def forget_peak(self) -> None:
        Path(f"/proc/{self.agent}/clear_refs").write_text("5")

    def memory(self, name: str) -> int:
        status = Path(f"/proc/{self.agent}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
        assert found
        return int(found[1])

    def run(self, seconds: int, seed: int, watched: bool) -> Run:
        """One run of the application with its primary reading, with or without two watchers."""
        env, size = self.env, seconds * RATE_MB * 1_000_000
        due = self.due(size, seed)
        name = f"paced{seed}{watched}"
        self.forget_peak()
        primary = env.popen(
            "run", "-J", name, "--", *self.argv(size, seed), stdin=subprocess.DEVNULL
        )
        hashing = subprocess.Popen(["sha256sum"], stdin=primary.stdout, stdout=subprocess.PIPE)
        assert primary.stdout is not None
        assert primary.stderr is not None
        assert hashing.stdout is not None
        primary.stdout.close()
        with contextlib.ExitStack() as stack:
            watchers = [stack.enter_context(Watcher(env, self._job(name), stop)) for stop in
                        (True, False)] if watched else []  # fmt: skip
            sum_of_it = hashing.stdout.read().split()[0].decode()
            assert primary.wait(60) == 0, env.logs()
            peak = self.memory("VmHWM")
            gaps = sum(watcher.goes_on() for watcher in watchers)
        said = primary.stderr.read().decode()
        for process in (primary, hashing):
            process.wait(20)
        primary.stderr.close()
        hashing.stdout.close()
        took = re.search(r"took ([0-9.]+) stood ([0-9.]+)", said)
        assert took, said
        return Run(float(took[1]) * 1e6 / size, float(took[2]), peak, sum_of_it == due, gaps)

    def _job(self, name: str) -> str:
        def running() -> str | None:
            found = [job["id"] for job in self.env.jobs() if job["name"] == name
                     and job["state"] == "ACTIVE"]  # fmt: skip
            return str(found[0]) if found else None

        return str(until(running, "the application to run", show=self.env.logs))

    def detached(self, seconds: int, seed: int) -> tuple[float, float]:
        """Nobody is there: how long the application took to what it should, how many MiB more the
        agent had than before."""
        size = seconds * RATE_MB * 1_000_000
        self.forget_peak()
        before = self.memory("VmHWM")
        done = self.env.gshell("run", "--detach", "--", *self.argv(size, seed))
        job = done.stdout.decode().strip()
        assert done.returncode == 0, done.stderr.decode()
        until(
            lambda: any(j["id"] == job and j["state"] == "COMPLETED" for j in self.env.jobs()),
            "the end", 3.0 * seconds + 20,
        )  # fmt: skip
        peak = self.memory("VmHWM")
        said = self.env.gshell("logs", job).stderr.decode()
        took = re.search(r"took ([0-9.]+)", said)
        assert took, said
        return float(took[1]) / seconds, (peak - before) / 1024


class Watcher:
    """Stopped, or with a pipe that nobody reads, from when it has seen something."""

    def __init__(self, env: Env, job: str, stop: bool) -> None:
        self._stop = stop
        self._reads, writes = os.pipe()
        self._process = env.popen(
            "attach", "--read-only", job, stdin=subprocess.DEVNULL, stdout=writes
        )
        os.close(writes)
        assert os.read(self._reads, 1000)
        if stop:
            self._process.send_signal(signal.SIGSTOP)

    def goes_on(self) -> bool:
        """Let it go on to the end; was it told of a gap?"""
        self._process.send_signal(signal.SIGCONT)
        while os.read(self._reads, 1 << 20):
            pass
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode()
        assert self._process.wait(20) == 0, said
        return "[gap: " in said

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        os.close(self._reads)


def measure(form: Form) -> list[Finding]:
    percent = form.pick(*SLOWED_PERCENT)
    slowed_most = 1 + percent / 100
    with environment() as bench:
        bench.run(1, form.seed, watched=True)  # what is allocated once is
        without, watched = [], []
        for number in range(ROUNDS):
            seed = form.seed + number
            without.append(bench.run(form.pick(3, 60), seed, watched=False))
            seconds = form.pick(6, 600) if number == 1 else form.pick(3, 60)
            watched.append(bench.run(seconds, seed, watched=True))
        slowed = statistics.median(run.s_per_mb for run in watched) / statistics.median(
            run.s_per_mb for run in without
        )
        most = max(run.peak_kib for run in watched) - max(run.peak_kib for run in without)
        whole = all(run.whole for run in (*without, *watched))
        told = sum(run.gaps for run in watched)
        seconds = form.pick(6, 600)
        details = "\n".join(map(str, [*without, *watched]))
        beside = Finding(
            f"2 watchers stopped for {seconds} s beside an application writing {RATE_MB} MB/s",
            f"{ROUNDS} and {ROUNDS} runs",
            f"slowed {100 * (slowed - 1):+.1f} %, agent {most / 1024:+.1f} MiB, "
            f"{told} of {2 * ROUNDS} told of a gap, primary's bytes {'right' if whole else 'WRONG'}",
            f"slowed < {percent} %, agent <= +{GROWN_MOST_MIB:.0f} MiB, GAP shown, bytes right",
            slowed < slowed_most and most / 1024 <= GROWN_MOST_MIB and whole
            and told == 2 * ROUNDS,
            details,
        )  # fmt: skip
        seconds = form.pick(4, 120)
        ratio, grown = bench.detached(seconds, form.seed)
        alone = Finding(
            f"nobody attached to an application writing {RATE_MB} MB/s for {seconds} s",
            "1 run",
            f"took {ratio:.2f} of its time, agent {grown:+.1f} MiB",
            f"took < {slowed_most:.2f}, agent <= +{GROWN_MOST_MIB:.0f} MiB",
            ratio < slowed_most and grown <= GROWN_MOST_MIB,
        )
    return [beside, alone]


@contextlib.contextmanager
def environment() -> Iterator[Bench]:
    env = Env()
    try:
        yield Bench(env)
    finally:
        env.close()


ROW = Row("watcher", measure, needs="sha256sum", short_s=45.0)
