"""Two lanes over one core, with real spinners: what the batch one keeps, and that it gets all back.

Processor time is really measured here, beside whatever else the machine does: the bounds are wide
(tests/bench/rows/lanes.py has the figures).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gshell.agent.demotion import Autogroup
from kit.spinners import Spinners, state

FORK = "import os, time\nif os.fork() == 0: os.setsid()\nwhile True: pass"


@pytest.fixture
def bench() -> Iterator[Spinners]:
    bench = Spinners(min(os.sched_getaffinity(0)))
    yield bench
    bench.close()


def settled(bench: Spinners, low: float, high: float) -> Callable[[], bool]:
    return lambda: any(m["share"] is not None and low < m["share"] < high for m in bench.said[-1:])


@pytest.mark.parametrize("way", ["autogroup", "stop"])
def test_batch_keeps_its_share_and_gets_all_back(bench: Spinners, way: str) -> None:
    if way == "autogroup" and not Autogroup.possible():
        pytest.skip("no autogroups here")
    lanes = bench.lanes(way)
    batch, interactive = bench.step("batch", code=FORK), bench.step("interactive", 10)
    lanes.started(batch)
    lanes.started(interactive)
    bench.until(settled(bench, 0.02, 0.2), "its share")
    assert bench.said[-1]["how"] == way
    assert bench.said[-1]["asked"] == 10
    lanes.ended(interactive)
    assert bench.said[-1] == {"m": "lane", "share": None, "how": "none", "asked": 10}
    assert bench.share(batch, interactive, 1.5) > 0.35
    assert not lanes.active


def test_what_its_user_stopped_stays_stopped(
    bench: Spinners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gshell.agent.lanes.LEFT_ALONE_S", 0.0)
    lanes = bench.lanes("stop")
    batch, other = bench.step("batch"), bench.step("batch")
    interactive = bench.step("interactive", 5)
    for step in (batch, other, interactive):
        lanes.started(step)
    bench.until(lambda: state(batch) == "T", "it is stopped")
    lanes.before_signal(batch)  # as the agent does
    os.kill(batch.process.pid, signal.SIGSTOP)
    for _ in range(2):
        bench.until(lambda: state(other) != "T", "the other one goes on")
        bench.until(lambda: state(other) == "T", "the other one is stopped")
    assert state(batch) == "T"
    lanes.ended(interactive)
    assert state(batch) == "T"


def test_beside_an_idle_shell_nobody_is_stopped(bench: Spinners, tmp_path: Path) -> None:
    lanes = bench.lanes("stop")
    batch = bench.step("batch")
    interactive = bench.sleeping("interactive", 5, tmp_path / "there")
    lanes.started(batch)
    lanes.started(interactive)
    bench.until((tmp_path / "there").exists, "python's own start to be over")
    bench.loop.run_until(lambda: False, 0.2)  # what it wanted meanwhile is forgotten
    assert bench.share(batch, interactive, 0.4) > 0.99
    assert not lanes._wants


def test_a_way_that_does_nothing_is_left_for_one_that_does(
    bench: Spinners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Autogroup, "apply", lambda *_: True)  # written, and inert
    monkeypatch.setattr("gshell.agent.share.INERT_AFTER", 1)
    monkeypatch.setattr(Autogroup, "least", 0.2)
    lanes = bench.lanes("autogroup")
    batch, interactive = bench.step("batch"), bench.step("interactive", 10)
    lanes.started(batch)
    lanes.started(interactive)
    bench.until(lambda: not lanes._ways, "another way")
    bench.until(lambda: state(batch) == "T", "it is stopped by turns")
    lanes.ended(interactive)
