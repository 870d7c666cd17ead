"""Lines that match, however the bytes come."""

import re

import pytest

from gshell.client import matching
from gshell.client.matching import Matching

TEXT = b"one\ntwo \xff\xfe\r\nthree\rthirty\n\nlast two"


def matched(pattern, pieces, flags=0):
    found = Matching(re.compile(pattern, flags))
    out = b"".join(found.feed(3, piece) for piece in pieces)
    return out + b"".join(line for _, line in found.flush()), found.found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        (rb"t[wh]", b"two \xff\xfe\r\nthree\rthirty\nlast two"),
        (rb"^$", b"\n"),
        (rb"two$", b"last two"),
        (rb"\xff", b"two \xff\xfe\r\n"),
        (rb"\xfe$", b"two \xff\xfe\r\n"),
        (rb"four", b""),
    ],
)
def test_whole_lines_are_found_wherever_the_bytes_are_split(size, pattern, lines):
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    assert matched(pattern, pieces) == (lines, bool(lines))


def test_streams_do_not_mix():
    found = Matching(re.compile(b"ab"))
    assert found.feed(3, b"a") == b""
    assert found.feed(4, b"b\n") == b""
    assert found.feed(3, b"b\n") == b"ab\n"


def test_a_line_without_end_does_not_grow_without_end(monkeypatch):
    monkeypatch.setattr(matching, "MAX_LINE_BYTES", 10)
    out, found = matched(b"x", [b"y" * 6, b"x" * 6, b"z" * 12, b"\n"])
    assert found
    assert out == b"yyyyyyxxxxxx"
