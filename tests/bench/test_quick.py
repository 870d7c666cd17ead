"""The quick form of the benchmark runs, and every row gives a figure; targets aren't judged. Rows
that take minutes are left to who asks for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.rows import ROWS

pytestmark = pytest.mark.bench

RUN = Path(__file__).with_name("run.py")
DEADLINE_S = 420  # about 100 s on two idle cores
LONG = (
    "replay",
    "screens",
    "sweepkill",
    "tutorial",
    "sweeper",
    "processes",
    "sshhosts",
)  # minutes, or an install
MPI = Path(__file__).with_name("mpi.py")
MPI_DEADLINE_S = 120  # about 25 s on two idle cores


@pytest.mark.timeout(DEADLINE_S + 60)
def test_every_row_gives_a_figure_or_names_the_peer_that_is_missing(tmp_path):
    report = tmp_path / "report.json"
    names = [row.name for row in ROWS if row.name not in LONG]
    argv = [sys.executable, str(RUN), "--quick", "--only", ",".join(names), "--json", str(report)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S)
    lines = json.loads(report.read_text())["lines"]
    without = [
        line
        for line in lines
        if line["verdict"] != "missing" and (line["verdict"] == "FAILED" or not line["ours"])
    ]
    assert not without, done.stdout
    assert {line["row"] for line in lines} == set(names)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(MPI_DEADLINE_S + 30)
def test_every_mpi_row_gives_a_figure_or_names_what_is_missing(tmp_path):
    """All but the hosts in namespaces."""
    report = tmp_path / "report.json"
    rows = "mpi-hello,mpi-hello-open,mpi-lines,mpi-stdin,mpi-ranks,mpi-lu"
    argv = [sys.executable, str(MPI), "--quick", "--only", rows, "--json", str(report)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=MPI_DEADLINE_S)
    lines = json.loads(report.read_text())["lines"]
    bad = [
        line
        for line in lines
        if line["verdict"] != "missing" and (line["verdict"] == "FAILED" or not line["ours"])
    ]
    assert not bad, done.stdout
    assert {line["row"] for line in lines} >= {"mpi-hello", "mpi-lines", "mpi-stdin", "mpi-lu"}
