#!/usr/bin/env python3
"""Measures MPI programs through gshell beside their own launchers, and prints one table.

    tests/bench/mpi.py [--quick] [--json FILE] [--only ROW,...] [--gshell COMMAND]

The MPIs are those on PATH and beside this Python; BENCH_MPICH and BENCH_OPENMPI name a directory of
programs to use instead. As `run.py`: contestants take turns within one run, medians are compared,
what was printed is checked, and only ratios within one table mean something. `nodes` needs root and
tests/site/lab.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `bench` and `kit`

from bench.rows import Row, mpi, mpinodes
from bench.run import main

ROWS = (
    Row("mpi-hello", "MPICH hello, 4 ranks, first byte", mpi.hello),
    Row("mpi-hello-open", "Open MPI hello, 4 ranks, one node", mpi.hello_open),
    Row("mpi-lines", "4 ranks' lines, labelled", mpi.output),
    Row("mpi-stdin", "stdin of 40 ranks", mpi.stdin),
    Row("mpi-ranks", "128 ranks on one agent", mpi.ranks),
    Row("mpi-lu", "LU class W, wall", mpi.lu),
    Row("mpi-nodes", "Open MPI hello, 4 ranks on 2 nodes", mpinodes.nodes),
)

if __name__ == "__main__":
    sys.exit(main(rows=ROWS, text=__doc__ or ""))
