"""An MPI job over two agents whose relay loses messages: no relay, no client, real processes."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from component.agent.test_mpi_one import PATH, PATIENCE_S, RANK, Node

from gshell.agent import peers
from kit.uplink import Uplink

LAUNCHER = "mpirun.openmpi"


class Pair:
    """Two agents, members 0 and 1 of one job, and what is between them."""

    def __init__(self, folder: Path, lost: float) -> None:
        self.random = random.Random(7)
        self.lost = lost
        self.nodes: list[Node] = []
        for index in (0, 1):
            place = folder / str(index)
            place.mkdir()
            node = Node(place)
            node.name = f"5.{index}"
            self.nodes.append(node)

    def start(self, argv: list[str], layout: list[int], flavour: str, **more: Any) -> None:
        for index, node in enumerate(self.nodes):
            spec = {"argv": argv, "extra_env": PATH, "tasks": layout[index],
                    "first": sum(layout[:index]), "size": sum(layout),
                    "mpi": {"layout": layout, "flavour": flavour}, **more}  # fmt: skip
            message = {"job": "5", "index": index, "size": 2, "user": "alice", "attempt": 1}
            node.agent.on_control({"m": "start", **message, "spec": spec})

    def carry(self) -> None:
        """What was said between them, but for what is lost."""
        for node in self.nodes:
            uplink = node.agent._uplink
            said, uplink.said = uplink.said, [m for m in uplink.said if m["m"] != "peer"]
            for message in said:
                if message["m"] == "peer" and self.random.random() >= self.lost:
                    to = self.nodes[message["to"]]
                    handed = {**message, "index": message["to"], "from": message["index"]}
                    to.agent.on_control(handed)

    def until(self, done: Any) -> bool:
        first, second = (node.loop for node in self.nodes)
        end = first.clock() + PATIENCE_S
        while not done() and first.clock() < end:
            self.carry()
            first.once(0.002)
            second.once(0.002)
        return bool(done())

    def end(self) -> list[dict[str, Any]]:
        assert self.until(lambda: all(node.said("ended") for node in self.nodes)), self.words()
        return [node.said("ended")[0] for node in self.nodes]

    def words(self) -> list[str]:
        return [node.out(r.number) for node in self.nodes for r in node.session.ranks]


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr("gshell.agent.agent.Uplink", Uplink)
    pair = Pair(tmp_path, 0.0)
    yield pair
    for node in pair.nodes:
        node.agent.end_steps()
    assert pair.until(lambda: all(node.agent.idle for node in pair.nodes))
    for node in pair.nodes:
        node.agent.shut_down()
        node.loop.close()


BARRIERS = """
ask("cmd=init pmi_version=1 pmi_subversion=1")
for n in range(3):
    ask(f"cmd=put kvsname=k key={n}-{rank} value={n * 100 + rank}")
    ask("cmd=barrier_in")
    for other in range(size):
        assert ask(f"cmd=get kvsname=k key={n}-{other}")["value"] == str(n * 100 + other)
ask("cmd=finalize")
print("done")
"""


@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_barriers_meet_whatever_the_relay_loses(
    pair: Pair, lost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "REPEAT_S", 0.05)
    monkeypatch.setattr(peers, "REPEAT_MOST_S", 0.05)
    pair.lost = lost
    pair.start([sys.executable, "-c", RANK + BARRIERS], [2, 1], "mpich")
    assert [ended["code"] for ended in pair.end()] == [0, 0]
    assert pair.words() == ["done\n", "done\n", "", "done\n", ""]


@pytest.mark.skipif(not shutil.which(LAUNCHER), reason="no Open MPI")
def test_a_launcher_reaches_the_other_agent(pair: Pair) -> None:
    pair.start(["sh", "-c", "echo $GSHELL_RANK; sleep 0.2"], [2, 1], "openmpi")
    assert [ended["code"] for ended in pair.end()] == [0, 0]
    assert pair.words() == ["0\n", "1\n", "", "2\n", ""]


def running(mark: str) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = Path(f"/proc/{name}/cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in text:
            found.append(int(name))
    return found


@pytest.mark.skipif(not shutil.which(LAUNCHER), reason="no Open MPI")
def test_members_that_the_relay_kills_leave_no_launcher_no_daemon_and_no_rank(
    pair: Pair, tmp_path: Path
) -> None:
    mark = f"sleep 1{os.getpid()}"
    pair.start(["sh", "-c", f"echo up; exec {mark}"], [1, 1], "openmpi")
    assert pair.until(lambda: pair.words() == ["up\n", "", "up\n", ""]), pair.words()
    assert pair.until(lambda: len(running(mark.replace(" ", "\0"))) == 2)  # after its word
    for node in pair.nodes:
        node.agent.on_control({"m": "signal", "job": "5", "sig": 9})
    assert {ended["code"] for ended in pair.end()} == {137}
    assert pair.until(lambda: not running(mark.replace(" ", "\0")))
