"""The quick form of the benchmark runs, and every row gives a figure; targets aren't judged."""

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


@pytest.mark.timeout(DEADLINE_S + 60)
def test_every_row_gives_a_figure_or_names_the_peer_that_is_missing(tmp_path):
    report = tmp_path / "report.json"
    argv = [sys.executable, str(RUN), "--quick", "--json", str(report)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S)
    lines = json.loads(report.read_text())["lines"]
    without = [
        line
        for line in lines
        if line["verdict"] != "missing" and (line["verdict"] == "FAILED" or not line["ours"])
    ]
    assert not without, done.stdout
    assert {line["row"] for line in lines} == {row.name for row in ROWS}
    assert done.returncode == 0, done.stdout + done.stderr
