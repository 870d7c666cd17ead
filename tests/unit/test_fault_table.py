"""The fault table's lines."""

from fault.rows import Finding
from fault.table import FAILED, HOLDS, line, render, stopped

GOOD = Finding(
    "kills of the door", "6 kills", "0 lost, 0 doubled", "0 lost", True, "nothing to say"
)


def test_a_finding_that_does_not_hold_is_failed_and_says_why_below_the_table() -> None:
    text = render([line("kills", GOOD), line("kills", GOOD._replace(holds=False, details="job 3"))])
    assert f"  {HOLDS}\n" in text
    assert f"  {FAILED}\n" in text
    assert text.count("kills: kills of the door\n  job 3") == 1
    assert text.endswith("\n1 holds, 1 FAILED, 0 missing")


def test_a_row_that_stopped_shows_its_first_line_and_keeps_the_rest_for_below() -> None:
    text = render([stopped("cuts", FAILED, "waited 20 s\ntraceback")])
    assert "(cuts)" in text
    assert "waited 20 s" in text.partition("FAILED")[0]
    assert "cuts: (cuts)\n  traceback" in text


def test_long_cells_are_wrapped_within_their_columns() -> None:
    text = render([line("kills", GOOD._replace(result="word " * 40))])
    assert max(map(len, text.splitlines())) <= 153
