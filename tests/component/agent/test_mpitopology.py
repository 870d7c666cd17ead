"""The machine's topology, asked of hydra once and given to all ranks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gshell.agent.claims import Claims
from gshell.agent.mpitopology import KEY, Topology
from gshell.net.loop import Loop

PATIENCE_S = 10.0  # less than a hydra has
XML = '<?xml version="1.0"?>\n<topology version="2.0"></topology>'


class Place:
    """An agent's loop and private directory, with a hydra that says what the test wants."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.claims = Claims(self.loop, str(folder))
        self.topology = self.claims.topology = Topology(self.loop, self.claims)
        self.count = folder / "asked"
        self.hydra = str(folder / "mpiexec.hydra")

    def says(self, script: str) -> None:
        Path(self.hydra).write_text(f"#!/bin/sh\necho x >>{self.count}\n{script}\n")
        os.chmod(self.hydra, 0o755)

    def find(self) -> None:
        self.topology.find(self.hydra, "")
        self.until(lambda: self.topology._asking is None)

    def until(self, condition: Callable[[], bool]) -> None:
        assert self.loop.run_until(condition, PATIENCE_S)

    @property
    def path(self) -> str:
        return self.topology.facts(self.hydra).get(KEY, "")

    @property
    def asked(self) -> int:
        return self.count.read_text().count("x") if self.count.exists() else 0


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.claims.close()
    place.loop.close()


def test_hydra_is_asked_once_and_ranks_get_a_file_with_what_it_said(place: Place) -> None:
    place.says(f"echo '{XML}'")
    assert place.path == ""
    place.find()
    assert Path(place.path).read_text() == XML + "\n"
    place.find()
    assert place.asked == 1


@pytest.mark.parametrize(
    "script",
    ["", "echo nonsense", f"echo '{XML}'; exit 1", f"echo '{XML[:-5]}'", "kill -9 $$"],
)
def test_a_hydra_that_knows_none_is_not_asked_again(place: Place, script: str) -> None:
    place.says(script)
    place.find()
    place.find()
    assert (place.path, place.asked) == ("", 1)


def test_one_that_cannot_be_started_is_no_error(place: Place) -> None:
    place.find()
    assert place.path == ""


def test_when_somebody_has_removed_the_file_ranks_are_not_told_and_it_is_made_anew(
    place: Place,
) -> None:
    place.says(f"echo '{XML}'")
    place.find()
    os.unlink(place.path)
    assert place.path == ""
    place.find()
    assert place.path
    assert place.asked == 2


def test_another_hydra_in_its_place_is_asked(place: Place) -> None:
    place.says("exit 1")
    place.find()
    place.says(f"echo '{XML}'")
    os.utime(place.hydra, (1, 1))
    assert place.path == ""
    place.find()
    assert place.path


def test_the_file_goes_with_the_agent(place: Place) -> None:
    place.says(f"echo '{XML}'")
    place.find()
    path = place.path
    place.claims.close()
    assert not os.path.exists(path)


def test_a_hydra_that_hangs_does_not_outlive_the_agent(place: Place) -> None:
    place.says("exec sleep 600")
    place.topology.find(place.hydra, "")
    place.until(lambda: place.asked == 1)
    place.claims.close()
    place.until(lambda: place.topology._asking is None)
    assert place.path == ""
