"""Single bits are turned over at random in data and control connections, on both legs: in
preambles, in the heads and bodies of TLS records, in greetings and in bulk.

Held: a connection in which a bit was turned ends before a changed byte reaches screen or program;
the session goes on and ends right. What may live on is a record's version field in a greeting,
which nobody reads. Guards: TLS and the preamble's MAC, and that every break is mended: take the
MAC check away, or let a TLS error fail a session that was joined, and this fails.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import time

from fault.breaking import counted
from fault.lab import Lab, flow, two_legs, wait_all
from fault.rows import Finding, Form, Row

from kit.cuts import Cut
from kit.faultplan import Fault, Plans
from kit.faultproxy import FaultProxy

SHORT_FLIPS, FULL_FLIPS = 60, 1000
ROUND_BYTES = 6 << 20  # of one session, each way; then the next
ROUND_FLIPS = 16
JOINING = 0.3  # the share in greetings
ASKED = 5  # requests over a client's control connection, in each round; half get to its flip
LIVED_ON_BYTES = 16 << 20  # buffers on the way hold less: who passes more has not noticed
CONTROL_BYTES = 400  # a bit of a control connection within so many


def exchange(lab: Lab, seed: int, patience_s: float, luck: random.Random) -> str:
    """One session and a few requests under flips; what was wrong."""
    wrong: list[str] = []
    with contextlib.ExitStack() as stack:
        feeder = subprocess.Popen(flow("feed", ROUND_BYTES, seed), stdout=subprocess.PIPE)
        words = flow("copy", ROUND_BYTES, seed)
        client = lab.env.popen("run", "--", *words, background=False, stdin=feeder.stdout)
        checker = subprocess.Popen(
            flow("check", ROUND_BYTES, seed), stdin=client.stdout, stdout=subprocess.PIPE
        )
        processes = {"feeder": feeder, "client": client, "checker": checker}
        for process in processes.values():
            stack.callback(process.wait)
            stack.callback(process.kill)
        for pipe in (feeder.stdout, client.stdout):
            pipe.close()

        def meanwhile() -> None:
            lab.agents.arm(Fault(luck.randrange(1, CONTROL_BYTES), "flip", bit=luck.randrange(8)),
                           "control")  # fmt: skip
            time.sleep(0.05)  # faults so often, not as many as there is processor for

        statuses = wait_all(processes, patience_s, lab.env, meanwhile)
        said = [
            line for line in client.stderr.read().decode().splitlines() if not line.startswith("[")
        ]
        verdict = checker.stdout.read().decode().strip()
        client.stderr.close()
        checker.stdout.close()
    if not verdict.startswith(f"good {ROUND_BYTES} ") or said != [verdict]:
        wrong.append(f"here {verdict}, there {said}")
    if any(statuses.values()):
        wrong.append(f"statuses {statuses}")
    return "; ".join(wrong)


def ask(lab: Lab) -> str:
    """A request whose connection may have a bit turned: the right answer, or one clear error."""
    done = lab.env.gshell("jobs", "-a", "--json", background=False)
    if done.returncode:
        said = done.stderr.decode()
        clear = said.startswith(('{"schema": 1, "error"', "gshell: ")) and "Traceback" not in said
        return "" if clear else f"status {done.returncode}: {said}"
    try:
        return "" if isinstance(json.loads(done.stdout)["jobs"], list) else "no jobs"
    except ValueError:
        return f"garbled answer {done.stdout[:100]!r}"


def unnoticed(leg: FaultProxy) -> list[Cut]:
    """Flips whose connection lived on."""
    lives = {c.number: c for c in leg.connections}
    return [
        cut
        for cut in leg.cuts
        if not lives[cut.connection].ended_at
        or lives[cut.connection].passed - cut.passed > LIVED_ON_BYTES
    ]


def measure(form: Form) -> list[Finding]:
    target = form.pick(SHORT_FLIPS, FULL_FLIPS)
    luck = random.Random(form.seed)
    wrong: list[str] = []
    rounds = 0
    end = time.monotonic() + form.pick(90, 5400)
    with two_legs() as lab:
        while sum(len(leg.cuts) for leg in lab.legs) < target and time.monotonic() < end:
            lab.clients.begin(Plans(luck.getrandbits(32), ASKED, 1.0, 1.0, hows=["flip"]))
            for _ in range(ASKED):
                wrong += filter(None, [ask(lab)])
            for leg in lab.legs:
                leg.begin(Plans(luck.getrandbits(32), ROUND_FLIPS, ROUND_BYTES / ROUND_FLIPS,
                                JOINING, hows=["flip"]))  # fmt: skip
            wrong += filter(None, [exchange(lab, luck.getrandbits(16), 120.0, luck)])
            rounds += 1
        for leg in lab.legs:
            leg.calm()
        lived = [cut for leg in lab.legs for cut in unnoticed(leg)]
        flips = [cut for leg in lab.legs for cut in leg.cuts]
        # In a greeting's head it may be the version field, which nobody reads.
        bad = [cut for cut in lived if cut.carrying and cut.where != "head"]
    control = sum(cut.kind == "control" for cut in flips)
    return [
        Finding(
            f"single bit flips, data and control, both legs, {rounds} sessions",
            f"{len(flips)} flips ({control} in control)",
            "; ".join(wrong) or f"{len(flips) - len(bad)} ended the link, no wrong byte",
            "all detected, the session goes on to the right end",
            not wrong and not bad and len(flips) >= target,
            "\n".join([*wrong, *counted(flips), f"  lived on: {lived}"]),
        )
    ]


ROW = Row("flips", measure, short_s=20.0)
