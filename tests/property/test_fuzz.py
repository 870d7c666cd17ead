"""A short turn of every fuzz target; the long ones are `fuzz.py` and the fault table's row."""

import logging

import pytest
from property.fuzz import Find, Target, loop
from property.fuzz_targets import TARGETS

SECONDS = 0.4


@pytest.fixture(autouse=True)
def quiet():
    """Nobody wants to read what the agent says of each."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TARGETS)
def test_hostile_bytes_are_answered_as_promised(name):
    assert loop(TARGETS[name], seed=1, runs=3000, seconds=SECONDS) > 0


def test_the_loop_finds_what_is_wrong():
    def one(data):
        assert b"\x1b]" not in data

    with pytest.raises(Find, match=r"--input .*1b5d"):
        loop(Target("broken", one, [b"harmless"]), seed=1, runs=100_000, seconds=20)


def test_the_loop_finds_what_never_ends():
    def one(data):
        while len(data) == 3:
            pass

    with pytest.raises(Find, match="more than"):
        loop(Target("endless", one, [b"four"]), seed=1, runs=100_000, seconds=20)


def test_the_loop_finds_what_grows():
    kept = []
    with pytest.raises(Find, match="MiB more"):
        loop(
            Target("greedy", lambda data: kept.append(bytearray(200_000)), [b"x"]),
            seed=1, runs=100_000, seconds=20,
        )  # fmt: skip
