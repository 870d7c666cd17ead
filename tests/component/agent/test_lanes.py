"""Two lanes over one core, with real spinners: what the batch one keeps, and that it gets all back.

Processor time is really measured here, beside whatever else the machine does: the bounds are wide
(tests/bench/rows/lanes.py has the figures).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gshell.agent.demotion import Autogroup
from gshell.agent.lanes import Lanes
from gshell.agent.proctree import Tree, look
from gshell.net.loop import Loop

SPIN = "import os\nwhile True: pass"
FORK = "import os, time\nif os.fork() == 0: os.setsid()\nwhile True: pass"
PATIENCE_S = 20.0


class Step:
    def __init__(self, process: subprocess.Popen[bytes], lane: str, loss: float | None) -> None:
        self.process, self.lane, self.loss = process, lane, loss

    def pids(self) -> list[int]:
        return [self.process.pid]


class Bench:
    def __init__(self, cpu: int) -> None:
        self.loop = Loop()
        self.cpu = cpu
        self.said: list[dict[str, Any]] = []
        self.started: list[subprocess.Popen[bytes]] = []

    def lanes(self, way: str) -> Lanes:
        return Lanes(self.loop, self.said.append, {"GSHELL_LANE": way}, cpus=1)

    def step(self, lane: str, loss: float | None = None, code: str = SPIN) -> Step:
        argv = ["taskset", "-c", str(self.cpu), sys.executable, "-S", "-c", code]
        process = subprocess.Popen(argv, start_new_session=True)
        self.started.append(process)
        return Step(process, lane, loss)

    def share(self, batch: Step, interactive: Step, seconds: float) -> float:
        """What the batch step has of the time of both."""
        trees = []
        for step in (batch, interactive):
            tree = Tree()
            tree.refresh(step.pids())
            tree.spent()
            trees.append(tree)
        self.loop.run_until(lambda: False, seconds)
        first, second = (tree.spent().run for tree in trees)
        return first / (first + second)

    def until(self, done: Callable[[], Any], what: str) -> None:
        end = self.loop.clock() + PATIENCE_S
        while not self.loop.run_until(lambda: bool(done()), 0.01):  # no state tells the loop
            assert self.loop.clock() < end, f"{what}: {self.said[-3:]}"


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(min(os.sched_getaffinity(0)))
    yield bench
    for process in bench.started:
        for target in Tree().refresh([process.pid]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(target.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
    bench.loop.close()


def settled(bench: Bench, low: float, high: float) -> Callable[[], bool]:
    return lambda: any(m["share"] is not None and low < m["share"] < high for m in bench.said[-1:])


@pytest.mark.parametrize("way", ["autogroup", "stop"])
def test_batch_keeps_its_share_and_gets_all_back(bench: Bench, way: str) -> None:
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
    assert bench.share(batch, interactive, 0.6) > 0.35
    assert not lanes.active


def sleeping(bench: Bench, lane: str, loss: float | None = None) -> Step:
    return bench.step(lane, loss, code="import time\ntime.sleep(1000)")


def state(step: Step) -> str:
    process = look(step.process.pid)
    return process.state if process is not None else "gone"


def test_stopped_by_turns_it_is_never_left_stopped(bench: Bench) -> None:
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


def test_what_its_user_stopped_stays_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_beside_an_idle_shell_nobody_is_stopped(bench: Bench) -> None:
    lanes = bench.lanes("stop")
    batch, interactive = bench.step("batch"), sleeping(bench, "interactive", 5)
    lanes.started(batch)
    lanes.started(interactive)
    bench.loop.run_until(lambda: False, 0.5)  # python's own start is over
    assert bench.share(batch, interactive, 0.4) > 0.99
    assert not lanes._wants


def test_a_way_that_does_nothing_is_left_for_one_that_does(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
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


def test_the_smallest_loss_counts(bench: Bench) -> None:
    lanes = bench.lanes("autogroup")
    lanes.started(sleeping(bench, "batch"))
    steps = [sleeping(bench, "interactive", loss) for loss in (25, None, 5)]
    asked = []
    for step in steps:
        lanes.started(step)
        asked.append(lanes.report()["asked"])
    assert asked == [25, 10, 5]
