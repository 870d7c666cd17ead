"""Offsets by time: nothing since then is left out, little else comes, and the marks are bounded."""

import random

from gshell.agent.timeline import MOST, Timeline


def test_everything_since_a_time_is_there_and_little_more():
    line = Timeline()
    for second in range(100):
        line.mark(1000.0 + second, second * 10)
    assert line.at(999.0, 1000) == 0
    assert line.at(1050.0, 1000) == 500
    assert line.at(1050.5, 1000) == 510
    assert line.at(5000.0, 1000) == 1000
    assert Timeline().at(1.0, 7) == 7


def test_a_burst_of_long_ago_does_not_come_along():
    line = Timeline()
    for hundredth in range(30):
        line.mark(hundredth / 100, hundredth * 100)
    line.mark(3.0, 3000)
    assert line.at(2.0, 3005) == 3000
    assert line.at(0.2, 3005) == 0


def test_a_long_past_is_bounded_and_nothing_since_is_left_out():
    line, luck, arrivals, now = Timeline(), random.Random(3), [], 0.0
    for number in range(6 * MOST):
        now += luck.choice((0.01, 0.5, 1.0, 1.5, 40.0))
        line.mark(now, number)
        arrivals.append(now)
    assert len(line._begun) == len(line._last) == len(line._offsets) <= MOST
    for when in (0.0, arrivals[5], arrivals[9999] + 0.005, arrivals[-1] - 0.001, arrivals[-1] + 1):
        first = next((n for n, came in enumerate(arrivals) if came > when), len(arrivals))
        assert first - 64 <= line.at(when, len(arrivals)) <= first


def test_marks_make_the_same_line_on_another_clock():
    line = Timeline()
    for second in range(100):
        line.mark(second * 2.0, second * 10)
    other = Timeline.of_marks(line.marks(1e9))
    assert [other.at(1e9 + t, 1000) for t in range(210)] == [line.at(t, 1000) for t in range(210)]
