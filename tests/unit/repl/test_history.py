import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gshell.repl import history


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path))
    return tmp_path / "state" / "history"


def test_what_was_typed_comes_back(place):
    for text in ("jobs", "run 'a\nb'", "x\\ny"):
        history.append(text)
    assert history.load() == ["jobs", "run 'a\nb'", "x\\ny"]
    assert len(place.read_text().splitlines()) == 3


def test_it_is_for_nobody_else(place):
    old = os.umask(0)
    try:
        history.append("jobs")
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        place.chmod(0o666)
        history.append("jobs")
    finally:
        os.umask(old)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_a_long_one_is_cut(place, monkeypatch):
    monkeypatch.setattr(history, "MAX_BYTES", 100)
    for number in range(100):
        history.append(f"run {number}")
    assert history.load()[-1] == "run 99"
    assert place.stat().st_size < 300


def test_what_is_no_text_breaks_nothing(place):
    place.parent.mkdir(parents=True)
    place.write_bytes(b"jobs\n\xff\xfe\n\nagents\n")
    assert history.load() == ["jobs", "\ufffd\ufffd", "agents"]
    place.unlink()
    place.mkdir()
    history.append("x")
    assert history.load() == []


def test_a_link_is_not_followed(place, tmp_path):
    place.parent.mkdir(parents=True)
    (tmp_path / "theirs").write_text("")
    place.symlink_to(tmp_path / "theirs")
    history.append("x")
    assert (tmp_path / "theirs").read_text() == ""


@pytest.mark.parametrize(
    ("text", "yes"), [("jobs", True), (" jobs", False), ("", False), ("\tx", False)]
)
def test_what_begins_with_a_blank_is_not_kept(text, yes):
    assert history.wanted(text) is yes


def test_letters_in_their_order_are_enough():
    lines = ["run -n 4 lu.C", "jobs -a", "logs 42", "run -n 4 lu.C", "Jam"]
    assert history.search("rlu", lines) == ["run -n 4 lu.C"]
    assert history.search("ja", lines) == ["Jam", "jobs -a"]
    assert history.search("J", lines) == ["Jam"]
    assert history.search("xyz", lines) == []
    assert history.search("", lines) == ["Jam", "run -n 4 lu.C", "logs 42", "jobs -a"]


@given(st.text())
def test_a_line_of_the_file_is_one_line(text):
    line = history.encoded(text)
    assert "\n" not in line
    assert history.decoded(line) == text
