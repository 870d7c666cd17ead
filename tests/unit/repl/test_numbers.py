import pytest

from gshell.errors import UsageError
from gshell.repl.numbers import Numbers, is_name, split


def job(number, name="x", at=0.0):
    return {"id": str(number), "name": name, "started_at": at}


JOBS = [job(41, "lu.A", 5.0), job(42, "lu.C", 1.0), job(43, "bt", 3.0)]


@pytest.mark.parametrize(
    ("word", "found"),
    [("%1", "41"), ("%3", "43"), ("%+", "41"), ("%%", "41"), ("%", "41"), ("%-", "43"), ("%b", "43"),
     ("%lu.C", "42"), ("%?C", "42")],
)  # fmt: skip
def test_a_job_by_its_name_here(word, found):
    assert Numbers().find(word, JOBS) == found


@pytest.mark.parametrize("word", ["%4", "%lu", "%nope", "%?nope"])
def test_none_or_several_are_refused(word):
    with pytest.raises(UsageError):
        Numbers().find(word, JOBS)


def test_nobody_has_a_job():
    with pytest.raises(UsageError, match="no such job"):
        Numbers().find("%+", [])


def test_a_number_stays_with_its_job():
    one = Numbers()
    one.see(JOBS)
    one.see([*JOBS[1:], job(44)])
    assert one.of == {"42": 2, "43": 3, "44": 4}
    one.see([])
    one.see([job(50)])
    assert one.of == {"50": 1}


def test_the_job_that_was_joined_last_is_the_newest():
    one = Numbers()
    one.touched["42"] = 9.0
    assert one.newest(JOBS) == ["42", "41", "43"]


@pytest.mark.parametrize(
    ("word", "yes"),
    [("%1", True), ("%1:a/b", True), ("%1.0", True), ("%lu:x", True), ("%+", True), ("100%", False),
     ("%1x", False), ("%s.%d", True), ("%(x)", False)],
)  # fmt: skip
def test_what_looks_like_such_a_name(word, yes):
    assert is_name(word) is yes
    assert "".join(split(word)) in (word, "")
