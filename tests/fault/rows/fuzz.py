"""Every parser under fuzz: 10^6 executions each in the full form, two seconds each in the short one.

What must hold: no exception but the promised ones, no input that takes a second, no growth of
100 MB. Guards each decoder's checks: with one taken out (a bound, an ``isinstance``), its target
finds the exception.
"""

from __future__ import annotations

import logging
import time

from fault.rows import Finding, Form, Row
from property.fuzz import Find, loop
from property.fuzz_targets import TARGETS

SHORT_S = 2.0
FULL_RUNS = 1_000_000


def measure(form: Form) -> list[Finding]:
    findings = []
    finds: list[str] = []
    total = 0
    counts = []
    began = time.monotonic()
    logging.disable(logging.CRITICAL)  # of what the agent would say of each input
    for name, target in TARGETS.items():
        try:
            if form.full:
                done = loop(target, form.seed, FULL_RUNS, 1e9)
            else:
                done = loop(target, form.seed, 1 << 62, SHORT_S)
            counts.append(f"{name} {done}")
            total += done
        except Find as find:
            finds.append(str(find))
    logging.disable(logging.NOTSET)
    took = time.monotonic() - began
    findings.append(
        Finding(
            f"parsers under fuzz: {len(TARGETS)} targets"
            + ("" if form.full else ", bounded to 2 s each"),
            f"{total:,} executions in {took:.0f} s, seed {form.seed}",
            f"{len(finds)} crashes, hangs or growth",
            "0",
            not finds and total > 1000 * len(TARGETS) // 10,
            "\n".join([*finds, "; ".join(counts)]),
        )
    )
    return findings


ROW = Row("fuzz", measure, short_s=35.0)
