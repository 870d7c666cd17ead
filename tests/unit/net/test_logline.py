"""Log lines for people and for programs; the file they go to is kept small."""

import json
import logging
import os

import pytest

from gshell.net import logline
from relay import log

ATT = "0123456789abcdef" * 2


def record(message="said %s", *args, **extra):
    made = logging.LogRecord("relay.door", logging.INFO, "f.py", 1, message, args or ("x",), None)
    for name, value in extra.items():
        setattr(made, name, value)
    return made


def test_json_has_one_object_a_line_whatever_is_said():
    text = logline.JsonLines().format(
        record("a\nb \x1b[2J \ud800 %s", link=7, job="42", agent="n1")
    )
    assert "\n" not in text
    fields = json.loads(text)
    assert fields["message"] == "a\nb \x1b[2J \ud800 x"
    assert (fields["level"], fields["logger"]) == ("info", "relay.door")
    assert (fields["link"], fields["job"], fields["agent"]) == (7, "42", "n1")
    assert isinstance(fields["at"], float)


@pytest.mark.parametrize("kind", [logline.JsonLines, logline.TextLines])
def test_an_attachment_is_never_written_out_whole(kind):
    text = kind().format(record(att=ATT))
    assert ATT[:8] in text
    assert ATT[:9] not in text


def test_text_says_what_it_is_about_behind_the_message():
    assert logline.TextLines().format(record(link=7)).endswith("INFO said x link=7")


def test_a_failure_s_trace_is_in_its_object():
    try:
        raise ValueError("no")
    except ValueError:
        import sys

        made = record()
        made.exc_info = sys.exc_info()
    assert "ValueError: no" in json.loads(logline.JsonLines().format(made))["trace"]


@pytest.fixture
def logger(tmp_path):
    one = logging.getLogger("relay")
    before = one.handlers[:], one.level, one.propagate
    yield tmp_path / "relay.log"
    for handler in one.handlers:
        if isinstance(handler, log.LogFile):
            os.close(handler.fileno())
    one.handlers[:], one.level, one.propagate = before


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_log_is_turned_over_by_its_size_and_closed_to_others(logger, monkeypatch, kind):
    monkeypatch.setattr(log, "MAX_BYTES", 2000)
    log.set_up(str(logger), logging.DEBUG, kind)
    for number in range(100):
        logging.getLogger("relay.door").debug("line %d", number)
    assert logger.stat().st_size <= 2200
    old = logger.with_name("relay.log.1")
    assert 2000 <= old.stat().st_size <= 2200
    assert logger.stat().st_mode & 0o077 == 0
    last = logger.read_text().splitlines() or old.read_text().splitlines()
    assert "line 99" in last[-1]
    if kind == "json":
        assert [json.loads(line)["level"] for line in last] == ["debug"] * len(last)


def test_a_log_that_was_moved_away_is_made_anew(logger):
    handler = log.set_up(str(logger))
    logger.rename(logger.with_name("moved"))
    handler.reopen()
    logging.getLogger("relay").info("here")
    assert "here" in logger.read_text()


def test_levels_have_names():
    assert log.level_of("debug") == logging.DEBUG
