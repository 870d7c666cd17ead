"""Bytes flow both ways while both legs are cut, reset, stalled and swallowed at random, and two
watchers look on.

Held: what the program gets and what the writer gets is every byte once, in order; a watcher gets
the same but for gaps, which it is told of; a writer's link carries again soon after its path is
back. Guards: resume by offset (with ``have`` taken from the wrong side, or one byte kept less, the
checkers see it), the redial's back-off, and the log's gaps.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import NamedTuple

from fault.breaking import HOLES, RESUME_S, control_cuts, counted, plans, resumes
from fault.lab import Lab, flow, two_legs, wait_all, warm
from fault.rows import Finding, Form, Row

from kit.faultproxy import FaultProxy
from kit.procs import until

SHORT_MIB, FULL_MIB = 48, 256
SHORT_CUTS, FULL_CUTS = 60, 1000
SLOW_BYTES_S = 3 << 20  # of the slow watcher: it is behind most of the time
WATCHER_SHARE = 4  # one cut in so many is for the watchers' legs


class Outcome(NamedTuple):
    """Of one session under faults."""

    program: str
    """What the program says of its input."""
    writer: str
    """What came back, checked."""
    watchers: dict[str, tuple[str, int]]
    """Of each: what it got, checked; how many gaps it was told of."""
    statuses: dict[str, int]

    def faults(self, size: int) -> list[str]:
        """What is not as promised; empty if all is."""
        wrong = []
        if not self.writer.startswith(f"good {size} "):
            wrong.append(f"writer: {self.writer}")
        if self.program != self.writer:
            wrong.append(f"program: {self.program}")
        for name, (verdict, told) in self.watchers.items():
            words = verdict.split()
            if words[:1] != ["good"]:
                wrong.append(f"{name} watcher: {verdict}")
            elif int(words[3]) > told or (told and words[3] == "0"):
                wrong.append(f"{name} watcher: {verdict}, told of {told}")
        wrong += [f"status of {name}: {code}" for name, code in self.statuses.items() if code]
        return wrong


def session(
    lab: Lab, watching: FaultProxy, size: int, seed: int, patience_s: float, begin, meanwhile
) -> Outcome:
    """A writer through pipes and two watchers from the start; ``begin`` is called when all are
    attached and nothing has flowed."""
    env = lab.env
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
            processes[name] = process
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        reads, writes = os.pipe()
        writer = start(
            "writer",
            env.popen("run", "--", *flow("copy", size, seed), background=False, stdin=reads),
        )
        os.close(reads)
        checker = start(
            "checker",
            subprocess.Popen(
                flow("check", size, seed), stdin=writer.stdout, stdout=subprocess.PIPE
            ),
        )
        until(lambda: any(j["state"] == "ACTIVE" for j in lab.jobs()), "the job", show=env.logs)
        job = lab.newest_job()
        watchers = {}
        for name, verb in (("slow", f"watch={SLOW_BYTES_S}"), ("background", "watch")):
            through = {"GSHELL_RELAY": watching.address} if name == "slow" else {}
            client = start(
                f"{name} watcher",
                env.popen(
                    "attach", job, "--read-only", "--since", "start",
                    background=name == "background", stdin=subprocess.DEVNULL,
                    stderr=stack.enter_context(open(env.root / f"{name}.said", "wb")),
                    env=through,
                ),
            )  # fmt: skip
            reader = subprocess.Popen(
                flow(verb, size, seed), stdin=client.stdout, stdout=subprocess.PIPE
            )
            watchers[name] = start(f"{name} watcher's reader", reader)
            client.stdout.close()
        writer.stdout.close()
        until(lambda: lab.job(job)["watchers"] == 2, "two watchers", show=env.logs)
        begin()
        start("feeder", subprocess.Popen(flow("feed", size, seed), stdout=writes))
        os.close(writes)
        statuses = wait_all(processes, patience_s, env, meanwhile)
        said = [
            line for line in writer.stderr.read().decode().splitlines() if not line.startswith("[")
        ]
        writer.stderr.close()
        got = {}
        for name, reader in watchers.items():
            told = (env.root / f"{name}.said").read_text(errors="replace").count("[gap: ")
            got[name] = (reader.stdout.read().decode().strip(), told)
            reader.stdout.close()
        verdict = checker.stdout.read().decode().strip()
        checker.stdout.close()
        return Outcome("\n".join(said), verdict, got, statuses)


def measure(form: Form) -> list[Finding]:
    cuts, mib = form.pick(SHORT_CUTS, FULL_CUTS), form.pick(SHORT_MIB, FULL_MIB)
    size = mib << 20
    # Bytes that pass while all is well, both ways; what a link carries before it is cut is less.
    one, other = plans(form.seed, cuts - cuts // WATCHER_SHARE, size, HOLES)
    third, _ = plans(form.seed + 2, 2 * (cuts // WATCHER_SHARE), size // 2, HOLES)
    with two_legs() as lab, FaultProxy(lab.env.address, "watcher-door") as watching:
        warm(lab.env)

        def begin() -> None:
            lab.clients.begin(one)
            lab.agents.begin(other)
            watching.begin(third)

        patience_s = form.pick(100, 3000)
        outcome = session(lab, watching, size, form.seed, patience_s, begin, control_cuts(lab))
        happened = [cut for leg in (*lab.legs, watching) for cut in leg.cuts]
        times = resumes(lab.clients, lab.agents)
    wrong = outcome.faults(size)
    p95 = times[len(times) * 95 // 100] if times else 0.0
    middle = times[len(times) // 2] if times else 0.0
    most, of = (p95, "p95") if form.full else (middle, "p50")  # others may use the machine, too
    holes = sum(cut.how == "hole" for cut in happened)
    gaps = ", ".join(f"{name} {said.split()[3]}" for name, (said, _) in outcome.watchers.items()
                     if said.startswith("good"))  # fmt: skip
    details = "\n".join([
        *wrong, *counted(happened), f"  left in the plans: {one.left} {other.left} {third.left}",
        f"  resumed: {len(times)} times, worst {max(times, default=0.0):.3f} s",
    ])  # fmt: skip
    what = f"cuts, RST, stalls, black holes in {mib} MiB each way, both legs, 3 viewers"
    return [
        Finding(
            what,
            f"{len(happened)} cuts ({holes} holes)",
            "; ".join(wrong) or f"0 lost, 0 doubled, 0 reordered; gaps said: {gaps}",
            "0 lost, 0 doubled, 0 reordered; gaps only where said",
            not wrong and len(happened) >= cuts * 3 // 4,
            details,
        ),
        Finding(
            "  its writer's link carries again once the path is back",
            f"{len(times)} times",
            f"p50 {middle:.2f} s, p95 {p95:.2f} s" if times else "never seen",
            f"{of} < {RESUME_S:.0f} s",
            bool(times) and most < RESUME_S,
            details,
        ),
    ]


ROW = Row("cuts", measure, short_s=15.0)
