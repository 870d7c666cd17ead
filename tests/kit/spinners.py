"""Steps of both lanes that are real processes on one processor. Knows no test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gshell.agent.lanes import Lanes
from gshell.agent.proctree import Tree, look
from gshell.net.loop import Loop

SPIN = "import os\nwhile True: pass"
PATIENCE_S = 20.0


class Step:
    """What `Lanes` sees of a session."""

    def __init__(self, process: subprocess.Popen[bytes], lane: str, loss: float | None) -> None:
        self.process, self.lane, self.loss = process, lane, loss

    def pids(self) -> list[int]:
        return [self.process.pid]


class Spinners:
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

    def sleeping(self, lane: str, loss: float | None = None, mark: str | Path = os.devnull) -> Step:
        """It makes the file ``mark``, and does no more."""
        return self.step(lane, loss, f"import time\nopen({str(mark)!r}, 'w')\ntime.sleep(1000)")

    def close(self) -> None:
        for process in self.started:
            for target in Tree().refresh([process.pid]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(target.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)
        self.loop.close()


def state(step: Step) -> str:
    process = look(step.process.pid)
    return process.state if process is not None else "gone"
