import base64
import json

import pytest

from gshell.cast.format import Header
from gshell.cast.recorder import Recorder

SAMPLE = ("aé漢😀\r\n" * 40).encode()


class Made:
    """What a recorder wrote."""

    def __init__(self, **more):
        version = more.pop("version", 2)
        self.lines = []
        self.recorder = Recorder(self.lines.append, Header(80, 24, version), **more)

    def events(self):
        return [json.loads(line) for line in self.lines[1:]]

    def kinds(self, codes):
        return [data for _, code, data in self.events() if code in codes]


def test_every_event_is_one_write_of_one_whole_line():
    made = Made()
    for step in range(5):
        made.recorder.output(step, b"a\nb\x85\n" + "\u2028".encode())
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in made.lines)
    assert all(len(line.decode().splitlines()) == 1 for line in made.lines)


@pytest.mark.parametrize("at", range(60))
def test_a_character_is_never_split_over_two_events(at):
    made = Made()
    made.recorder.output(0, SAMPLE[:at])
    made.recorder.output(1, SAMPLE[at:])
    texts = made.kinds("o")
    assert "".join(texts).encode() == SAMPLE
    assert not made.kinds("b")
    assert not any("\ufffd" in text for text in texts)


def test_byte_by_byte_is_the_same_text():
    made = Made()
    for at in range(len(SAMPLE)):
        made.recorder.output(at, SAMPLE[at : at + 1])
    assert "".join(made.kinds("o")).encode() == SAMPLE


@pytest.mark.parametrize("step", [1, 2, 3, 7, 256])
def test_what_is_no_utf8_is_there_byte_for_byte(step):
    junk = bytes(range(256)) * 2 + b"\xe2\x82" + b"\xf0\x9f\x98" + b"ok \xed\xa0\x80 \xf4\x90"
    made = Made()
    for at in range(0, len(junk), step):
        made.recorder.output(at, junk[at : at + step])
    made.recorder.exited(9999, 0)
    back = b""
    for _, code, data in made.events():
        if code == "o":
            piece = data.encode()
            back += piece
        elif code == "b":
            back = back[: len(back) - len(piece)] + base64.b64decode(data)
    assert back == junk


def test_what_waits_for_its_rest_at_the_end_is_not_lost():
    made = Made()
    made.recorder.output(0, b"a\xe2\x82")
    made.recorder.exited(1, 3)
    assert made.kinds("o") == ["a", "\ufffd"]
    assert base64.b64decode(made.kinds("b")[0]) == b"\xe2\x82"
    assert made.events()[-1][1:] == ["x", "3"]


def test_keys_of_a_secret_are_one_event_until_something_else_is_typed():
    made = Made()
    for step in range(6):
        made.recorder.secret(step)
    made.recorder.typed(6, b"\r")
    made.recorder.secret(7)
    assert [event[1:] for event in made.events()] == [["s", "1"], ["i", "\r"], ["s", "2"]]


@pytest.mark.parametrize("cut", range(40))
def test_a_shells_marks_become_events_where_they_were(cut):
    text = b"out\x1b]133;D;1\x07\x1b]133;A\x1b\\$ \x1b[1mx\x1b"
    made = Made(marks=True)
    made.recorder.output(0, text[:cut])
    made.recorder.output(1, text[cut:])
    made.recorder.exited(2, 0)
    order = [(code, data) for _, code, data in made.events() if code in "op"]
    assert "".join(data for code, data in order if code == "o").encode() == text
    assert [data for code, data in order if code == "p"] == ["D;1", "A"]
    before = "".join(data for code, data in order[: order.index(("p", "A"))] if code == "o")
    assert before.endswith("133;A\x1b\\")


def test_times_never_go_back():
    made = Made()
    made.recorder.output(5.0, b"a")
    made.recorder.mark(1.0, "late")
    assert [event[0] for event in made.events()] == [5.0, 5.0]


def test_intervals_of_version_3_do_not_drift():
    made = Made(version=3)
    for step in range(10_000):
        made.recorder.output(step * 0.0104, b"x")
    assert abs(sum(event[0] for event in made.events()) - 9_999 * 0.0104) < 0.001
    assert json.loads(made.lines[0])["term"] == {"cols": 80, "rows": 24}


def test_a_size_is_told_when_it_is_another_one():
    made = Made()
    made.recorder.resized(0, 80, 24)
    made.recorder.resized(1, 100, 30)
    made.recorder.resized(2, 0, 0)
    assert made.kinds("r") == ["100x30"]


def test_lines_of_pipes_end_as_a_terminal_shows_them():
    made = Made(pipes=True)
    made.recorder.output(0, b"a\nb\r\n")
    made.recorder.error(0, b"c\n")
    assert made.kinds("oe") == ["a\r\nb\r\r\n", "c\r\n"]


def test_nothing_follows_the_end():
    made = Made()
    made.recorder.exited(1, 0)
    made.recorder.output(2, b"late")
    assert [event[1] for event in made.events()] == ["x"]
