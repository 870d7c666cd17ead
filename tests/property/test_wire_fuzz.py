"""A short run of the fuzz target beside this file."""

import pathlib
import runpy

import pytest

run = runpy.run_path(str(pathlib.Path(__file__).with_name("fuzz_wire.py")))["run"]


@pytest.mark.parametrize("block", range(8))
def test_hostile_bytes_make_events_or_remote_protocol_errors_and_nothing_else(block: int) -> None:
    for seed in range(block * 250, block * 250 + 250):
        try:
            run(seed)
        except BaseException as error:
            raise AssertionError(f"fuzz_wire.py --seed {seed} --runs 1") from error
