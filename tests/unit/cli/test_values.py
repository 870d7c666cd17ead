import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gshell.cli.values import (
    parse_duration,
    parse_env,
    parse_signal,
    parse_size,
    parse_walltime,
    whole_number,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0", 0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("30s", 30),
        ("30m", 1800),
        ("30min", 1800),
        ("1h30m", 5400),
        ("1.5H", 5400),
        ("2d", 172800),
        ("1w", 604800),
        ("5:00", 300),
        ("1:30:00", 5400),
        ("100:00:00", 360000),
        ("1-0", 86400),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:15", 131415),
        (" 30m ", 1800),
    ],
)
def test_a_duration(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["90", "1.5"])
def test_a_bare_number_is_minutes_in_a_walltime(text):
    assert parse_walltime(text) == 60 * parse_duration(text)


def test_anything_else_is_the_same_in_a_walltime():
    for text in ("1-0", "30m", "1:30:00", "30:00"):
        assert parse_walltime(text) == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "1:2:3:4", "1:60", "1:", ":1", "1-", "-", "1-2-3", "5m3", "m", "1x", "1..5h",
     "1:30m", "٣", "²", "nan", "inf", "1e3", "9" * 500, "1.2.3", "+1"],
)  # fmt: skip
def test_no_duration(text):
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096), ("0", 0), ("1k", 1024), ("64G", 64 << 30), ("64g", 64 << 30),
        ("1.5GiB", 3 << 29), ("10MB", 10_000_000), ("1kB", 1000), ("7B", 7), ("2T", 2 << 40),
    ],
)  # fmt: skip
def test_a_size(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "x", "-1", "1GG", "1iB", "1.2.3k", "1Gi", "²", "1e9"])
def test_no_size(text):
    with pytest.raises(ValueError, match="is not a size such as"):
        parse_size(text)


@pytest.mark.parametrize("text", ["15", "TERM", "term", "SIGTERM", "SigTerm", " 15 "])
def test_a_signal(text):
    assert parse_signal(text) == signal.SIGTERM


def test_real_time_signals():
    assert parse_signal("RTMIN") == signal.SIGRTMIN
    assert parse_signal("SIGRTMIN+3") == signal.SIGRTMIN + 3


@pytest.mark.parametrize(
    "text",
    ["", "0", "-9", "99", "9999999", "NAME", "SIG", "_DFL", "SIG_BLOCK", "TERM+", "RTMIN+99"],
)
def test_no_signal(text):
    with pytest.raises(ValueError, match="is not a signal such as"):
        parse_signal(text)


def test_a_variable():
    assert parse_env("A=b=c") == ("A", "b=c")
    assert parse_env("A=") == ("A", "")
    assert parse_env("A") == ("A", None)
    for bad in ("", "=x", "1A=x", "A=\0"):
        with pytest.raises(ValueError, match="NAME=VALUE"):
            parse_env(bad)


def test_a_whole_number():
    assert whole_number("12") == 12
    for bad in ("0", "-1", "1.0", "x", "", "²", "9" * 5000):
        with pytest.raises(ValueError, match="whole number"):
            whole_number(bad)


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text):
    for parse in (parse_duration, parse_walltime, parse_size, parse_signal, parse_env):
        try:
            parse(text)
        except ValueError:
            pass  # anything else is a failure
