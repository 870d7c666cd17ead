"""That no event's work grows with the jobs that wait; tests/bench/core.py has the figures."""

import pytest
from bench.core import Load, rate


@pytest.mark.parametrize("kinds", [1, 20])
def test_eight_times_the_jobs_make_an_event_hardly_dearer(kinds):
    few, many = Load(500, 50, kinds), Load(4000, 50, kinds)
    few_s, many_s = (max(rate(load, 60) for _ in range(4)) for load in (few, many))
    assert many_s > 0.3 * few_s, (few_s, many_s)
