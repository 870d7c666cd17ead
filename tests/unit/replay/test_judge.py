"""Steps against what was expected of them, by example."""

import time

import pytest

from gshell.replay import judge
from gshell.replay.script import Line, Seen, Step


def step(*lines, **more):
    found = []
    for number, line in enumerate(lines, 2):
        stream, rank, text = line if isinstance(line, tuple) else ("out", None, line)
        found.append(Line(text, number, stream, rank))
    return Step(1, 1, "$ x", "shell", (), expected=tuple(found), **more)


def kinds(wanted, *out, values=None, **more):
    return [one.what for one in judge.judge(wanted, Seen(out, **more), values or {}).differences]


@pytest.mark.parametrize(
    ("wanted", "seen", "found"),
    [
        ("abc", "abc", []), ("abc", "aXbc", ["extra"]), ("abc", "ac", ["missing"]), ("abc", "aXc", ["line"]),
        ("abc", "acb", ["order"]), ("", "", []), ("", "a", ["extra"]), ("abc", "", ["missing"] * 3),
        ("abcdef", "abXdef", ["line"]), ("abcdef", "Xabcdef", ["extra"]), ("abcdef", "abcdefX", ["extra"]),
        ("abcdef", "fabcde", ["order"]), ("aaa", "aa", ["missing"]), ("aa", "aaa", ["extra"]),
    ],
)  # fmt: skip
def test_one_change_is_one_difference(wanted, seen, found):
    assert kinds(step(*wanted), *seen) == found


def test_a_span_lets_lines_through_but_no_difference():
    wanted = step("a", "... (any*)", "n (int)", "(any*)", "z")
    assert kinds(wanted, "a", "x", "n 1", "n x", "z") == []
    assert kinds(wanted, "a", "n 1", "z") == []
    assert kinds(wanted, "a", "x", "z") == ["missing"]
    assert kinds(wanted, "b", "n 1", "z") == ["missing"]
    assert kinds(step("(any*)", "a", "b"), "a", "a", "b") == []


def test_a_line_that_differs_in_numbers_is_put_beside_its_like():
    wanted = step("x", "residual 1.5", "done 3")
    verdict = judge.judge(wanted, Seen(("residual 1.6", "done 4")), {})
    found = [(one.what, one.expected, one.seen) for one in verdict.differences]
    assert found == [
        ("missing", "x", ""),
        ("line", "residual 1.5", "residual 1.6"),
        ("line", "done 3", "done 4"),
    ]


def test_stderr_is_to_be_as_silent_as_is_expected():
    assert kinds(step("a"), "a", err=("oops",)) == ["stderr"]
    assert kinds(step("a", ("err", None, "oops")), "a", err=("oops",)) == []
    assert kinds(step("a", ("err", None, "... (any*)")), "a", err=("oops",)) == []
    assert kinds(step("a", ("err", None, "... (any*)")), "a") == []
    assert kinds(step("a", ("err", None, "oops")), "a") != []


def test_on_a_terminal_stderr_stands_among_the_rest():
    assert kinds(step("a", ("err", None, "oops"), "b"), "a", "oops", "b") == []


def test_a_line_of_both_may_come_on_either():
    wanted = step("a", ("any", None, "note"))
    assert kinds(wanted, "a", "note") == []
    assert kinds(wanted, "a", err=("note",)) == []
    assert kinds(wanted, "a") == ["missing"]


def test_ranks_have_their_own_lines():
    wanted = step(("out", 0, "hello 0"), ("out", 1, "hello 1"))
    good = ((0, ("hello 0",)), (1, ("hello 1",)), (2, ("whatever",)))
    assert kinds(wanted, "hello 1", "hello 0", ranks=good) == []
    assert kinds(wanted, "x", ranks=((0, ("hello 0",)),)) == ["rank"]
    assert kinds(wanted, "x", ranks=((0, ("hello 0",)), (1, ("bye",)))) == ["rank"]
    assert kinds(wanted, "hello 0", "hello 1") == []  # not apart


@pytest.mark.parametrize(
    ("wanted", "status", "fits"),
    [("0", 0, True), ("0", 1, False), ("0", None, False), ("*", 7, True), ("*", None, False), ("!0", 1, True), ("!0", 0, False)],
)  # fmt: skip
def test_a_status(wanted, status, fits):
    assert (kinds(step("a", status=Line(wanted, 9)), "a", status=status) == []) is fits


def test_a_hang_is_a_difference_whatever_came_before():
    assert kinds(step("a"), "a", timed_out="the prompt") == ["timeout"]
    assert kinds(Step(1, 1, "$ x", "shell", ()), timed_out="the prompt") == ["timeout"]


def test_without_expectations_anything_goes():
    assert kinds(Step(1, 1, "$ x", "shell", ()), "a", err=("b",)) == []


def test_unordered_masks_find_their_lines_though_literals_fit_them_too():
    wanted = step("rank (int)", "rank 1", "(any)", unordered=True)
    assert kinds(wanted, "hello", "rank 1", "rank 2") == []
    assert kinds(step("a", "(any*)", unordered=True), "x", "a", "y") == []
    assert kinds(step("a", "b", unordered=True), "b") == ["missing"]


def test_captures_and_masks_are_told():
    verdict = judge.judge(
        step("t = (num as t)", "(any)", "(any*)"), Seen(("t = 1.5", "x", "y", "z")), {}
    )
    assert verdict.ok
    assert verdict.captures == (("t", "1.5"),)
    assert dict(verdict.masked) == {"num": 1, "any": 1, "any*": 1}


def test_values_stand_where_they_are_named():
    assert kinds(step("N is ${N}"), "N is 4", values={"N": "4"}) == []


def test_a_diff_shows_masks_and_only_what_is_near():
    lines = [f"line {n}" for n in range(20)]
    verdict = judge.judge(
        step("t (num)", *lines[:9], "gone", *lines[9:]), Seen(("t 1", *lines, "new")), {}
    )
    assert judge.unified(verdict) == (
        "--- expected  $ x\n+++ seen\n ...\n line 6\n line 7\n line 8\n-gone\n line 9\n line 10\n line 11\n"
        " ...\n line 17\n line 18\n line 19\n+new\n"
    )
    near = judge.judge(step("t (num)", "a"), Seen(("t 1", "b")), {})
    assert judge.unified(near).splitlines()[2:] == ["~t (num)", "-a", "+b"]


def test_very_many_lines_are_judged_in_reasonable_time():
    lines = [f"line {n}" for n in range(8000)]
    begun = time.perf_counter()
    assert kinds(step(*lines), *lines) == []
    assert kinds(step(*lines), *lines[:4000], *lines[4001:]) == ["missing"]
    assert kinds(step(*lines), *lines[:9], "x", *lines[9:6000], *lines[6001:]) == [
        "missing",
        "extra",
    ]
    assert kinds(step(*["(any*)", "x (any)"] * 50), *["x"] * 1000) == ["missing"] * 50
    assert time.perf_counter() - begun < 40


def test_a_span_goes_on_behind_decoys_among_very_many_lines():
    wanted = step("(any*)", "a", "b", "c", "(any*)", "end")
    seen = [*["a", "b", "x"] * 5000, "a", "b", "c", *["y"] * 5000, "end"]
    assert kinds(wanted, *seen) == []
