"""Two lanes over one core: who is stopped, and that nobody stays so. What they get of the core is
measured in tests/system/test_lane_ways.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kit.spinners import Spinners, state


@pytest.fixture
def bench() -> Iterator[Spinners]:
    bench = Spinners(min(os.sched_getaffinity(0)))
    yield bench
    bench.close()


def test_stopped_by_turns_it_is_never_left_stopped(bench: Spinners) -> None:
    lanes = bench.lanes("stop")
    batch, interactive = bench.step("batch"), bench.step("interactive", 5)
    lanes.started(batch)
    lanes.started(interactive)
    bench.until(lambda: state(batch) == "T", "it is stopped")
    lanes.before_signal(batch)
    assert state(batch) != "T"
    bench.until(lambda: state(batch) == "T", "it is stopped again")
    lanes.close()
    assert state(batch) != "T"


def test_the_smallest_loss_counts(bench: Spinners) -> None:
    lanes = bench.lanes("autogroup")
    idle = "import time\ntime.sleep(1000)"
    lanes.started(bench.step("batch", code=idle))
    steps = [bench.step("interactive", loss, idle) for loss in (25, None, 5)]
    asked = []
    for step in steps:
        lanes.started(step)
        asked.append(lanes.report()["asked"])
    assert asked == [25, 10, 5]
