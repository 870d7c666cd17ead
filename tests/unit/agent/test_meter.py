"""How far a program is, by its logs: their ends are read, whatever their length."""

from gshell.agent.meter import HEAD_BYTES, TAIL_BYTES, Meter
from gshell.agent.sessionlog import Retention, StreamLog

BEGINS = b" Iterations:  250\n"


def log(*pieces, **rules):
    one = StreamLog(retention=Retention(**rules))
    for piece in pieces:
        one.append(piece)
    return one


def look(*logs):
    found = Meter(logs).look()
    return found and tuple(found)


def test_the_number_of_steps_is_found_far_behind_what_is_read_now():
    assert look(log(BEGINS, b"x\n" * 40_000, b" Time step   20\n")) == (20, 250)


def test_steps_are_followed_as_they_come():
    one = log(BEGINS)
    meter = Meter([one])
    assert meter.look() is None
    for step in (1, 20, 40):
        one.append(b" Time step %4d\n" % step)
        assert meter.look() == (step, 250)


def test_the_rest_of_a_line_is_no_line():
    line = b"11/20\n"  # torn it says 1/20
    seen = set()
    for cut in range(-1, len(line)):
        tail = b"y" * (TAIL_BYTES - len(line) + cut - 1) + b"\n"
        seen.add(look(log(b"x\n" * HEAD_BYTES, line, tail)))
    assert seen == {None, (11, 20)}


def test_stderr_is_read_if_stdout_says_nothing():
    assert look(log(b"hello\n"), log(b"\r 3/9\r")) == (3, 9)
    assert look(log(b"1/2\n"), log(b"\r 3/9\r")) == (1, 2)


def test_a_beginning_that_was_forgotten_is_no_trouble():
    one = log(BEGINS, *[b"x\n" * 4000] * 9, b"7/8\n", ring_bytes=8192)
    assert one.start > HEAD_BYTES
    assert look(one) == (7, 8)


def test_output_that_has_not_grown_is_not_read_again(monkeypatch):
    one = log(b"1/2\n")
    meter = Meter([one])
    assert meter.look() == (1, 2)
    monkeypatch.setattr(StreamLog, "read", None)  # to be called would be an error
    assert meter.look() == (1, 2)
