"""Time-sharing: what an MPI job keeps beside as many interactive spinners as there are cores.

An agent of its own, whose relay is the row, so that nobody places anything. The figures are read
from /proc by the row; what the agent reports is shown beside them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.lab import Lab
from bench.measure import Failed, tail
from bench.table import Line, at_most
from gshell.agent.cpugroup import CpuGroup
from gshell.agent.demotion import Autogroup
from gshell.agent.proctree import Process, Tree, look
from kit.oneagent import OneAgent, start_message

LOSSES = (5, 10, 25)
POINTS = 3.0  # of the asked share
BACK_S = 1.0
SETTLE_S, WINDOW_S = 5.0, 10.0  # until the shares are as they will be; what is measured
START_DEADLINE_S = 30.0
# Ranks that spin in the library most of the time, as MPI programs do.
RING = """
#include <mpi.h>
int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    for (double x = 1, sum;;) {
        for (int i = 0; i < 100000; i++) x = x * 0.999 + 1;
        MPI_Allreduce(&x, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    }
}
"""
SPINNERS = "import os\nfor _ in range(%d):\n    if not os.fork(): break\nwhile True: pass"
MPI_ENV = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def lanes(lab: Lab) -> list[Line]:
    cores = len(os.sched_getaffinity(0))
    ring = _build(lab)
    mpirun = [lab.program("mpirun.openmpi"), "--oversubscribe", "-n", str(cores), ring]
    lines: list[Line] = []
    for way in [""] if lab.quick else _ways():
        folder = Path(tempfile.mkdtemp(prefix="lanes-", dir=lab.directory))
        with OneAgent(folder, "--slots", str(cores), GSHELL_LANE=way) as node:
            _until(lambda: node.pid, "the agent")
            for number, loss in enumerate(LOSSES[:: 2 if lab.quick else 1]):
                lines += _one(lab, node, 10 * number + 1, mpirun, cores, loss)
    return lines


def _ways() -> list[str]:
    """All that this machine has, each forced; stopping by turns always works."""
    group = CpuGroup.find(root_too=True)
    if group is not None:
        group.restore()
    found = {"cgroup": group is not None, "autogroup": Autogroup.possible(), "stop": True}
    return [way for way, there in found.items() if there]


def _one(
    lab: Lab, node: OneAgent, job: int, mpirun: list[str], cores: int, loss: int
) -> list[Line]:
    spin = [sys.executable, "-S", "-c", SPINNERS % (cores - 1)]
    node.say(start_message(job, mpirun, env=MPI_ENV))
    batch = _pid(node, job, cores)
    node.say(start_message(job + 1, spin, lane="interactive", loss=loss))
    interactive = _pid(node, job + 1, cores - 1)
    time.sleep(2.0 if lab.quick else SETTLE_S)
    trees = [_tree(pid) for pid in (batch, interactive)]
    time.sleep(3.0 if lab.quick else WINDOW_S)
    kept, taken = (tree.spent().run for tree in trees)
    share = 100 * kept / (kept + taken)
    told = next(m for m in reversed(node.said("lane")))
    node.say({"m": "signal", "job": str(job + 1), "sig": 9})
    _until(lambda: look(interactive) is None, "the interactive step's end")
    ended = time.monotonic()
    _until(lambda: not _demoted(trees[0].refresh([batch])), "all back")
    back_s = time.monotonic() - ended
    node.say({"m": "signal", "job": str(job), "sig": 9})
    _until(lambda: look(batch) is None, "the batch step's end")
    note = f"the agent says {100 * (told['share'] or 0):.1f} %"
    what = f"{told['how']}, PerformanceLoss {loss}"
    off = Line("lanes", f"batch share, {what}: points off", f"{share:.1f} %",
               figure=abs(share - loss), bound=at_most(POINTS), unit="points", note=note)  # fmt: skip
    back = Line("lanes", f"all back, {what}", f"{1000 * back_s:.0f} ms",
                figure=back_s, bound=at_most(BACK_S), unit="s")  # fmt: skip
    return [off.judge(), back.judge()]


def _pid(node: OneAgent, job: int, children: int) -> int:
    """The step's process, once it has its descendants."""

    def found() -> int:
        before = {m["job"] for m in node.said("ended")}
        if str(job) in before:
            raise Failed(f"step {job} ended: {node.said('ended')[-1]}")
        for pid in map(int, Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()):
            tree = Tree()
            tree.refresh([pid])
            if pid not in _seen and len(tree.members) > children:
                _seen.add(pid)
                return pid
        return 0

    return int(_until(found, f"step {job}"))


_seen: set[int] = set()


def _tree(pid: int) -> Tree:
    tree = Tree()
    tree.refresh([pid])
    tree.spent()
    return tree


def _demoted(processes: list[Process]) -> bool:
    for process in processes:
        try:
            words = Path(f"/proc/{process.pid}/autogroup").read_text().split()
            if process.state == "T" or (words and int(words[-1])):
                return True
            if os.getpriority(os.PRIO_PROCESS, process.pid):
                return True
            if "gshell-batch-" in Path(f"/proc/{process.pid}/cgroup").read_text():
                return True
        except OSError:  # it has ended; or there are no autogroups
            continue
    return False


def _until(done: Callable[[], object], what: str) -> int:
    end = time.monotonic() + START_DEADLINE_S
    while True:
        got = done()
        if got:
            return int(got)  # type: ignore[call-overload,no-any-return]
        if time.monotonic() > end:
            raise Failed(f"waited for {what}")
        time.sleep(0.005)


def _build(lab: Lab) -> str:
    source, binary = lab.directory / "ring.c", lab.directory / "ring"
    source.write_text(RING)
    built = subprocess.run(
        [lab.program("mpicc.openmpi"), "-O1", "-o", str(binary), str(source)],
        env=lab.env,
        capture_output=True,
        timeout=60,
    )
    if built.returncode != 0:
        raise Failed(f"it doesn't compile: {tail(built.stderr)}")
    return str(binary)
