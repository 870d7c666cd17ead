"""Whatever the link does: every byte once, in order, and nothing stands still."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.pair import OPERATIONS, STDOUT, Setting, Step, play, random_plan

steps = st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 999), st.integers(0, 300))
plans = st.lists(steps, max_size=150)
windows = st.integers(1, 64)
setups = st.builds(
    Setting,
    windows=st.tuples(st.integers(1, 200), windows, windows, windows),
    early=st.booleans(),
    attach=st.booleans(),
    late=st.booleans(),
    probe=st.booleans(),
    patient=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(setups, plans)
def test_each_byte_arrives_once_and_in_order_and_nothing_stands_still(
    setting: Setting, plan: list[Step]
) -> None:
    play(setting, plan)


@settings(max_examples=200, deadline=None)
@given(setups, st.integers(0, 40), plans)
def test_a_log_that_loses_old_bytes_leaves_gaps_and_nothing_else_is_missing(
    setting: Setting, keep: int, plan: list[Step]
) -> None:
    pair = play(Setting(**{**setting.__dict__, "keep": keep}), plan)
    reader = pair.client.readers[STDOUT]
    assert reader.missed <= pair.sources[STDOUT].end


@pytest.mark.parametrize("seed", range(64))
def test_long_random_plans(seed: int) -> None:
    bits = [bool(seed >> bit & 1) for bit in range(6)]
    keep = 100 if bits[4] else 1 << 30
    sizes = (1 << 20, 64, 64, 64) if seed % 3 else (70, 1000, 3, 20000)
    setting = Setting(sizes, keep, bits[0], bits[1], bits[5], bits[2], bits[3])
    play(setting, random_plan(seed, 200))
