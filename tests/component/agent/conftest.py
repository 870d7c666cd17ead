"""What tests of several agents in one process share."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.mpinode import PATIENCE_S, Pair
from kit.uplink import Uplink


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
