#!/usr/bin/env python3
"""Breaks things on purpose and prints one table: what was broken, how often, whether the promise held.

    tests/fault/run.py [--full] [--seed N] [--only ROW,...] [--json FILE]

Without --full: the short form, a few minutes in all, which the tests run too. With it: the counts that
are published, hours on two cores. The seed decides every random choice; a failure says it, and with it
the same choices are made again.

Each row is a process of its own, and everything that it started and did not end is named and ended. The
exit status is 1 if anything FAILED; what is missing a program says which.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `fault`, `bench` and `kit`

from bench.processes import become_subreaper, end_leftovers
from fault.rows import Finding, Form, Row, rows
from fault.table import FAILED, MISSING, Line, line, render, stopped

FULL_S = 3 * 3600.0  # no row takes as long
SHORT_S = 60.0  # nor as long as this and four times what it says


def main(argv: list[str] | None = None) -> int:
    known = rows()
    options = _options(argv, known)
    form = Form(options.full, options.seed)
    chosen = [row for row in known if not options.only or row.name in options.only]
    if options.into:
        (row,) = chosen
        return _be(row, form, Path(options.into))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    become_subreaper()
    begun = time.monotonic()
    machine = _machine()
    lines: list[Line] = []
    left: list[str] = []
    try:
        for row in chosen:
            print(f"{row.name} ...", end="", file=sys.stderr, flush=True)
            since = time.monotonic()
            lines += _measure(row, form)
            left += [f"{name} ({row.name})" for name in end_leftovers()]
            print(f" {time.monotonic() - since:.1f} s", file=sys.stderr, flush=True)
    finally:
        end_leftovers()
    seconds = time.monotonic() - begun
    print(
        f"{machine}\n{'full' if form.full else 'short'} form, seed {form.seed}, {seconds:.0f} s\n"
    )
    print(render(lines))
    if left:
        counts = sorted(Counter(left).items())
        named = ", ".join(f"{n} x {name}" if n > 1 else name for name, n in counts)
        print(f"left over, and ended: {named}")
    if options.json:
        report = {"machine": machine, "full": form.full, "seed": form.seed, "seconds": seconds}
        report |= {"left": left, "lines": [one.as_json() for one in lines]}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return 1 if any(one.verdict == FAILED for one in lines) else 0


def _measure(row: Row, form: Form) -> list[Line]:
    """In a process of its own; meanwhile wait for what that leaves behind."""
    if row.needs and shutil.which(row.needs) is None:
        return [stopped(row.name, MISSING, f"{row.needs} is not installed")]
    with tempfile.TemporaryDirectory(prefix="gsh-fault-") as folder:
        into = Path(folder) / "findings"
        argv = [sys.executable, __file__, "--only", row.name, "--seed", str(form.seed)]
        argv += ["--into", str(into), *(["--full"] if form.full else [])]
        status = _wait(subprocess.Popen(argv), FULL_S if form.full else SHORT_S + 4 * row.short_s)
        if status is None:
            return [stopped(row.name, FAILED, "still running when its time was up")]
        try:
            found = json.loads(into.read_text())
        except (OSError, ValueError):
            return [stopped(row.name, FAILED, f"its process ended with {status}")]
    if isinstance(found, str):
        return [stopped(row.name, FAILED, found)]
    return [line(row.name, Finding(*one)) for one in found]


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    """The row's status, or None when it took too long. Orphans of its are ours, and are reaped: or
    who waits for one of them to be gone would wait for ever."""
    end = time.monotonic() + limit_s
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode
        if pid == 0:
            if time.monotonic() > end:
                process.terminate()
                process.wait()
                return None
            time.sleep(0.02)  # no wait for any child has a time-out


def _be(row: Row, form: Form, into: Path) -> int:
    """One row's process: its findings, or the words it failed with, go into a file."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found: object = [tuple(finding) for finding in row.measure(form)]
    except AssertionError as error:
        found = f"{error or 'an assertion failed'}\n{traceback.format_exc()}"
    except Exception as error:  # a fault of ours in one row: the others still have their say
        found = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    into.write_text(json.dumps(found))
    return 0


def _options(argv: list[str] | None, known: list[Row]) -> argparse.Namespace:
    def names(text: str) -> set[str]:
        chosen = set(text.split(","))
        unknown = chosen - {row.name for row in known}
        if unknown:
            raise argparse.ArgumentTypeError(f"no such row: {', '.join(sorted(unknown))}")
        return chosen

    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=f"rows: {', '.join(row.name for row in known)}",
    )
    seed = random.SystemRandom().randrange(1 << 32)
    parser.add_argument("--full", action="store_true", help="the counts that are published")
    parser.add_argument("--seed", type=int, default=seed, metavar="N", help="repeat these choices")
    parser.add_argument("--only", metavar="ROW,...", type=names, help="these rows alone")
    parser.add_argument("--json", metavar="FILE", help="also write every line as JSON")
    parser.add_argument("--into", help=argparse.SUPPRESS)  # be one row's process
    return parser.parse_args(argv)


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = ""
    with contextlib.suppress(OSError):
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                model = f" ({text.partition(':')[2].strip()})"
                break
    return (
        f"{os.cpu_count()} cores{model}, {memory:.0f} GiB, Linux {platform.release()},"
        f" Python {platform.python_version()}"
    )


if __name__ == "__main__":
    sys.exit(main())
