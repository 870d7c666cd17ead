"""Masks from runs: the narrowest, and nothing else is touched."""

import pytest

from gshell.replay import gst, learn, masks, matching
from gshell.replay.script import Seen


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["a", "a"], "a"),
        (["pid 12", "pid 4711"], "pid (int)"),
        (["t =  0.5 s of 3", "t = 10.5 s of 3"], None),
        (["rate 1.5 x", "rate 22.5 x"], "rate (num) x"),
        (["norm 1.00000000001", "norm 1.00000000002"], "norm (num 1.00000000001 rel=4e-11)"),
        (["at 0xbeef", "at 0x1"], "at (re /0x[0-9a-fA-F]+/)"),
        (["on Sun Nov 22 14:36:40 UTC 2026", "on Mon Nov 23 04:06:10 UTC 2026"], "on (time)"),
        (["log /tmp/a/b: ok", "log /tmp/c: ok"], "log (re /\\/[^\\s:]*/): ok"),
        (["from n001", "from n002"], "from n(int)"),
        (["host alpha up", "host beta up"], "host (re /\\w+/) up"),
        (["(any) 1", "(any) 2"], "\\(any) (int)"),
        (["took it well", "took nothing"], "took (any)"),
        (["", "x"], "(any)"),
    ],
)
def test_the_narrowest_mask_that_covers_all(lines, text):
    found = learn.general(lines)
    assert text is None or found == text
    assert all(matching.match(masks.parse(found), line, {}) for line in lines)


def learnt(text, *runs):
    return learn.learn(
        gst.read(text, "x.gst"), [[Seen(tuple(run), status=0)] for run in runs], text
    )


def test_only_what_differs_changes_and_comments_stay():
    text = "# why\n\n$ x\n# its output\na 1\nb 2   \nc\n[0]\n# end\n"
    assert learnt(text, ["a 1", "b 3", "c"], ["a 1", "b 5", "c"]) == text.replace(
        "b 2   ", "b (int)"
    )


def test_a_mask_and_a_capture_of_a_person_stay():
    text = "$ x\nt = (num as t)\nn = (int as n)\n"
    assert (
        learnt(text, ["t = 1.5", "n = x"], ["t = 2.5", "n = y"])
        == "$ x\nt = (num as t)\nn = (re /\\w+/ as n)\n"
    )


def test_lines_that_come_and_go_are_a_span():
    text = "$ x\na\nwarm-up\nb\n"
    assert learnt(text, ["a", "b"], ["a", "warm-up", "b"]) == "$ x\na\n... (any*)\nb\n"
    assert learnt("$ x\na\nb\n", ["a", "x", "b"], ["a", "b", ]) == "$ x\na\n... (any*)\nb\n"  # fmt: skip


def test_each_difference_is_covered_where_it_is():
    text = "$ x\na\nwarm-up\nb\nn 1\nc\n"
    assert learnt(text, ["a", "b", "n 2", "c"], ["a", "warm-up", "b", "n 3", "c"]) == (
        "$ x\na\n... (any*)\nb\nn (int)\nc\n"
    )


def test_another_order_each_time_is_unordered():
    text = "$ x\nrank 0\nrank 1\nrank 2\n"
    assert learnt(text, ["rank 2", "rank 0", "rank 1"], ["rank 0", "rank 1", "rank 2"]) == (
        "$ x\n(unordered)\nrank 0\nrank 1\nrank 2\n"
    )


def test_a_script_without_any_output_gets_all_of_it():
    assert learnt("$ x\n", ["a", "$ b"], ["a", "$ b"]) == "$ x\na\n\\$ b\n[0]\n"


def test_a_step_that_is_not_judged_stays_so():
    text = "$ x\n$ y\na9\n"
    script = gst.read(text, "x.gst")
    runs = [[Seen(("what", str(n))), Seen((f"a{n}",))] for n in range(2)]
    assert learn.learn(script, runs, text) == "$ x\n$ y\na(int)\n"


def test_a_status_that_differs_is_any():
    text = "$ x\na\n[0]\n"
    runs = [[Seen(("a",), status=n)] for n in range(2)]
    assert learn.learn(gst.read(text, ""), runs, text) == "$ x\na\n[*]\n"
