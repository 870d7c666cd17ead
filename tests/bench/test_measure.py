"""The benchmark's own arithmetic and honesty, without measuring anything."""

from __future__ import annotations

import sys

import pytest

from bench.measure import Failed, Missing, Sample, Samples, interleaved, percentile, run_checked
from bench.table import against, alone, at_least, at_most, render


def samples(name: str, *figures: float) -> Samples:
    return Samples(name, [{"ms": figure} for figure in figures])


def test_contestants_take_turns_and_the_first_one_changes():
    order: list[str] = []

    def turn(name: str) -> Sample:
        order.append(name)
        return {"ms": 1.0}

    got = interleaved({"a": lambda: turn("a"), "b": lambda: turn("b")}, 2)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert len(got["a"].turns) == 2  # the warm-up round isn't counted


def test_a_contestant_that_goes_wrong_once_has_no_figures_and_the_others_go_on():
    turns = iter([{"ms": 1.0}, {"ms": 1.0}])

    def goes_wrong() -> Sample:
        for sample in turns:
            return sample
        raise Failed("status 1")

    got = interleaved({"bad": goes_wrong, "good": lambda: {"ms": 2.0}}, 5)
    line = against("row", "what", got["bad"], got["good"], "ms", at_most(9))
    assert (line.verdict, line.figure, line.note) == ("FAILED", None, "bad: status 1")
    assert len(got["good"].turns) == 5


def test_a_peer_that_is_not_installed_is_named():
    def absent() -> Sample:
        raise Missing("mosh not installed")

    got = interleaved({"mosh": absent}, 2)
    line = against("row", "what", samples("gshell", 5), got["mosh"], "ms", at_most(1))
    assert line.verdict == "missing"
    assert "mosh not installed" in render([line])


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        (at_most(0.5), "ok"),
        (at_most(0.49), "SHORT"),
        (at_least(0.5), "ok"),
        (at_least(0.6), "SHORT"),
    ],
)
def test_the_ratio_of_medians_is_held_against_the_target(bound, verdict):
    line = against(
        "row", "what", samples("gshell", 1, 5, 99), samples("ssh", 10, 1, 12), "ms", bound
    )
    assert (line.figure, line.verdict) == (0.5, verdict)


def test_a_figure_without_a_target_judges_nothing():
    assert alone("row", "what", samples("gshell", 3), "ms").verdict == "-"
    assert (
        alone("row", "what", samples("gshell", 3), "ms", at_most(None, stretch=1)).verdict == "ok"
    )


def test_the_stretch_says_whether_it_was_reached():
    line = against("row", "what", samples("gshell", 1), samples("ssh", 1), "ms", at_most(1.5, 0.9))
    assert "<= 0.9 no" in render([line])


def test_percentiles_are_figures_that_were_measured():
    assert percentile(range(100), 0.99) == 99
    assert percentile([7.0], 0.5) == 7.0


@pytest.mark.parametrize(
    "program",
    ["raise SystemExit(3)", "print('other')", "import sys; sys.stderr.write('x')"],
)
def test_a_run_with_another_status_or_output_is_no_measurement(program):
    with pytest.raises(Failed):
        run_checked([sys.executable, "-I", "-S", "-c", program], {}, stderr=b"")
