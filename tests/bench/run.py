#!/usr/bin/env python3
"""Measures gshell beside OpenSSH, mosh, pdsh and the bare command, and prints one table.

    tests/bench/run.py [--quick] [--json FILE] [--only ROW,...] [--gshell COMMAND]

All contestants of a row take turns within one run; medians are compared. A ratio means something
within its table only: absolute figures move with the machine. Every measured run's output and
status are checked; a row whose runs go wrong says FAILED, one whose peer isn't installed says
missing. The exit status is 1 if anything FAILED; SHORT (a target not met) is news, not an error.

The sshd, the relay, the agents and the background process are private to the run; they, and only
they, are ended with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `bench` and `kit`

from bench.gsh import find_command
from bench.lab import Lab
from bench.measure import Failed, Missing
from bench.processes import become_subreaper, end_leftovers, reap_adopted
from bench.rows import ROWS, Row
from bench.table import FAILED, Line, failed, render


def main(
    argv: list[str] | None = None, rows: Sequence[Row] = ROWS, text: str = __doc__ or ""
) -> int:
    options = _options(argv, rows, text)
    rows = [row for row in rows if not options.only or row.name in options.only]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended
    become_subreaper()
    begun = time.monotonic()
    machine = _machine()
    lines: list[Line] = []
    try:
        with Lab(find_command(options.gshell), quick=options.quick) as lab:
            for row in rows:
                lines += _measure(row, lab)
                reap_adopted()
    finally:
        left = end_leftovers()
    seconds = time.monotonic() - begun
    print(f"{machine}\n{'quick, ' if options.quick else ''}{seconds:.0f} s, load {_load()}\n")
    print(render(lines))
    print("direct: GSHELL_BACKGROUND=0; background: through the per-user process, the default")
    if left:
        print(f"still running at the close, and ended: {_counted(left)}")
    if options.json:
        report = {"machine": machine, "quick": options.quick, "seconds": seconds, "left": left}
        report["lines"] = [line.as_json() for line in lines]
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n")
    return 1 if any(line.verdict == FAILED for line in lines) else 0


def _measure(row: Row, lab: Lab) -> list[Line]:
    begun = time.monotonic()
    print(f"{row.name} ...", end="", file=sys.stderr, flush=True)
    try:
        lines = row.measure(lab)
    except Missing as exc:
        lines = [failed(row.name, row.what, str(exc), missing=True)]
    except (Failed, OSError, subprocess.SubprocessError) as exc:
        lines = [failed(row.name, row.what, str(exc))]
    except Exception as exc:  # a fault of ours in one row: the others still have their say
        traceback.print_exc()
        lines = [failed(row.name, row.what, f"{type(exc).__name__}: {exc}")]
    print(f" {time.monotonic() - begun:.1f} s", file=sys.stderr, flush=True)
    return lines


def _options(argv: list[str] | None, rows: Sequence[Row], text: str) -> argparse.Namespace:
    known = [row.name for row in rows]
    parser = argparse.ArgumentParser(
        description=text.partition("\n")[0], epilog=f"rows: {', '.join(known)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller transfers")
    parser.add_argument("--json", metavar="FILE", help="also write every figure as JSON")
    parser.add_argument(
        "--only", metavar="ROW,...", type=_row_names(known), help="these rows alone"
    )
    parser.add_argument("--gshell", metavar="COMMAND", help="another gshell than the one installed")
    return parser.parse_args(argv)


def _row_names(known: list[str]) -> Callable[[str], set[str]]:
    def names_in(text: str) -> set[str]:
        names = set(text.split(","))
        unknown = names - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"no such row: {', '.join(sorted(unknown))}")
        return names

    return names_in


def _machine() -> str:
    """What the figures were taken on, in one line."""
    parts = [
        f"{os.cpu_count()} cores",
        f"Linux {platform.release()}",
        f"Python {platform.python_version()}",
    ]
    with contextlib.suppress(OSError):
        ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True)
        parts.append(ssh.stderr.split(",")[0].strip())
    return ", ".join(parts)


def _counted(names: list[str]) -> str:
    counts = Counter(names)
    parts = [f"{n} x {name}" if n > 1 else name for name, n in sorted(counts.items())]
    return ", ".join(parts)


def _load() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main())
