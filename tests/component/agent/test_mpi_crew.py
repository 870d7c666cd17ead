"""A program at the first of two agents that uses both nodes by GSHELL_PEERS, as mpi-start does."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.mpinode import PATIENCE_S, MpiNode, Uplink


class Pair:
    """Two agents that know each other through a relay that loses nothing."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [MpiNode(folder / "a")]
        self.nodes.append(MpiNode(folder / "b", self.nodes[0].loop))
        self.loop = self.nodes[0].loop
        for node in self.nodes:
            node.agent._uplink.carry = self.carry

    def carry(self, message: dict[str, Any]) -> None:
        if message["m"] == "peer":
            more = {"index": message["to"], "from": message["index"]}
            said = {key: value for key, value in message.items() if key != "to"}
            self.loop.soon(lambda: self.nodes[message["to"]].agent.on_control({**said, **more}))

    def start(self, script: str, **more: Any) -> None:
        for index, node in enumerate(self.nodes):
            node.start({"argv": ["bash", "-c", script], "extra_env": {"PATH": "/usr/bin:/bin"},
                        "crew": [2, 1], **more}, index, 2)  # fmt: skip

    def end(self) -> list[int]:
        done = self.loop.run_until(lambda: all(n.said("ended") for n in self.nodes), PATIENCE_S)
        print([(n.out(0), n.err(0)) for n in self.nodes])
        assert done
        return [node.said("ended")[0]["code"] for node in self.nodes]


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr("gshell.agent.agent.Uplink", Uplink)
    count = itertools.count()
    monkeypatch.setattr("gshell.agent.hosts.machine", lambda host: f"{next(count)}")
    for name in "ab":
        (tmp_path / name).mkdir()
    pair = Pair(tmp_path)
    yield pair
    for node in pair.nodes:
        node.agent.end_steps()
    assert pair.loop.run_until(lambda: all(node.agent.idle for node in pair.nodes), PATIENCE_S)
    for node in pair.nodes:
        node.agent.shut_down()
    pair.loop.close()


def test_it_runs_once_knows_all_hosts_and_reaches_them(pair: Pair) -> None:
    pair.start("echo \"$GSHELL_HOSTS\"; $GSHELL_PEERS gshell-1 'echo here; echo there >&2; exit 4'")
    assert pair.end() == [4, 0]
    first, second = pair.nodes
    assert first.out(0) == ".:2 gshell-1:1\nhere\n"
    assert first.err(0) == "there\n"
    assert (second.out(0), second.err(0)) == ("", "")
    assert second.said("started")


def test_megabytes_pass_both_ways_unharmed(pair: Pair) -> None:
    """More than is under way at once, and than all pipes between hold."""
    pair.start(
        "d=$(mktemp); head -c 9000000 /dev/urandom >$d; $GSHELL_PEERS gshell-1 cat <$d | cmp - $d"
        " && echo same; rm $d"
    )
    assert pair.end() == [0, 0]
    assert pair.nodes[0].out(0) == "same\n"


def test_a_command_that_reads_slowly_makes_who_feeds_it_wait(pair: Pair) -> None:
    pair.start("head -c 5000000 /dev/zero | $GSHELL_PEERS gshell-1 'sleep 0.3; wc -c'")
    assert pair.end() == [0, 0]
    assert pair.nodes[0].out(0) == "5000000\n"


def test_a_host_that_is_none_of_the_jobs_is_named(pair: Pair) -> None:
    pair.start("$GSHELL_PEERS elsewhere true")
    assert pair.end() == [255, 0]
    assert pair.nodes[0].err(0) == "gshell: no member of this job is at elsewhere\n"


def test_what_runs_on_the_other_node_ends_with_the_job(pair: Pair, tmp_path: Path) -> None:
    pair.start(f"$GSHELL_PEERS gshell-1 'echo $$ >{tmp_path}/pid; exec sleep 600' & sleep 600")
    pid = tmp_path / "pid"
    assert pair.loop.run_until(lambda: pid.exists() and pid.read_text().strip(), PATIENCE_S)
    pair.nodes[0].session.cancel()
    assert pair.end() == [128 + signal.SIGTERM, 0]
    assert pair.loop.run_until(
        lambda: not os.path.exists(f"/proc/{int(pid.read_text())}"), PATIENCE_S
    )


def test_a_program_that_cannot_be_started_ends_the_others(pair: Pair) -> None:
    pair.start("", argv=["/nowhere/at/all"])
    assert pair.end() == [127, 0]
