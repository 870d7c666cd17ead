"""The short form of every row of the fault table. GSHELL_FAULT_SEED makes other choices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault.lab import SEED
from fault.rows import Row, rows
from fault.run import SHORT_S
from fault.table import MISSING

RUN = Path(__file__).with_name("run.py")
ROWS = [
    pytest.param(row, marks=pytest.mark.timeout(2 * SHORT_S + 4 * row.short_s), id=row.name)
    for row in rows()
]


@pytest.mark.parametrize("row", ROWS)
def test_the_promise_of_the_row_holds(row: Row, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, str(RUN), "--only", row.name, "--seed", str(SEED), "--json", str(report)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1.5 * SHORT_S + 4 * row.short_s,
    )
    words = f"GSHELL_FAULT_SEED={SEED}\n{done.stdout}{done.stderr}"
    assert report.exists(), words
    found = json.loads(report.read_text())
    if [one["verdict"] for one in found["lines"]] == [MISSING]:
        pytest.skip(found["lines"][0]["result"])
    assert done.returncode == 0, words
