"""What a person saw of some bytes."""

import time

import pytest

from gshell.replay import screen


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"a\r\nb\r\n", ["a", "b"]), (b"a\nb", ["a", "b"]), (b"a\x1b[5;5Hb\nc", ["a", "", "", "", "    b", "     c"]), (b"", []), (b"a  \r\n\r\n\r\n", ["a"]), (b"\r\na", ["", "a"]),
        (b"10%\r50%\r100%\r\ndone", ["100%", "done"]), (b"100%\r9%\x1b[K\r\n", ["9%"]), (b"abc\b\b\bxy\r\n", ["xyc"]),
        (b"-\b\\\b|\b/\bok\r\n", ["ok"]), (b"\x1b[1;31mred\x1b[0m\r\n", ["red"]), (b"\x1b]0;title\x07x\x1b]8;;u\x1b\\y", ["xy"]),
        (b"a\tb", ["a       b"]), (b"one\r\ntwo\r\n\x1b[2A\x1b[2Kthree\r\n", ["three", "two"]),
        (b"\x1b[2J\x1b[H\x1b[3;3Hx\x1b[1;1Hy", ["y", "", "  x"]), (b"sh\x1b[?1049hvim\x1b[5;5Hz\x1b[?1049l\r\nend", ["sh", "end"]),
        (b"abcdef\x1b[3D\x1b[2P\x1b[4G\x1b[@!", ["abc!f"]), (b"\xe6\x97\xa5\xe6\x9c\xac\r\n", ["日本"]), (b"\xa5abc\xe6\x97", ["abc"]),
        (b"a\xffb", ["a\ufffdb"]), (b"e\xcc\x81", ["e\u0301"]), (b"x\x1b", ["x"]), (b"x\x1b[12;", ["x"]), (b"x\x1b]0;ti", ["x"]),
        (b"\x1bPq#0\x1b\\x", ["x"]), (b"a\x00\x07b", ["ab"]), (b"\x1b(B\x1b=x", ["x"]), (b"x" * 200, ["x" * 200]),
    ],
)  # fmt: skip
def test_it_was_seen(data, seen):
    assert screen.lines(data) == seen


def test_scrolling_keeps_what_scrolled_off():
    data = b"".join(b"line %d\r\n" % n for n in range(1000))
    assert screen.lines(data) == [f"line {n}" for n in range(1000)]
    assert screen.lines(b"\x1b[31m" + data) == [f"line {n}" for n in range(1000)]


def test_marks_of_a_shell_are_told_apart():
    data = b"\x1b]133;C\x07one\r\ntwo\r\n\x1b]133;D;3\x07\x1b]133;A\x1b\\$ \x1b]133;B\x07"
    view = screen.view(data)
    assert [(mark.letter, mark.status, mark.line) for mark in view.marks] == [
        ("C", None, 0), ("D", 3, 2), ("A", None, 2), ("B", None, 2),
    ]  # fmt: skip
    assert view.lines == ["one", "two", "$"]
    assert view.last == "$ "


@pytest.mark.parametrize(
    ("before", "typed", "data", "seen", "last"),
    [
        ("$ ", "ls", b"ls\r\na\r\nb\r\n$ ", ["a", "b"], "$ "), (">>> ", "1", b"1\r\n1\r\n>>> ", ["1"], ">>> "),
        ("$ ", "true", b"true\r\n$ ", [], "$ "), ("", "x", b"X\r\n", ["X"], ""), ("? ", "x", b"got x\r\n? ", ["got x"], "? "),
        ("pw: ", None, b"\r\nok\r\n$ ", ["ok"], "$ "), ("$ ", "ec" * 60, b"ec" * 39 + b" \r" + b"ec" * 21 + b"\r\nx\r\n$ ", ["x"], "$ "),
    ],
)  # fmt: skip
def test_an_answer_is_what_came_between_echo_and_prompt(before, typed, data, seen, last):
    view = screen.answer(data, before, typed)
    assert (view.lines, view.last) == (seen, last)


@pytest.mark.parametrize(
    "data",
    [b"some words of output 123\r\n" * 400_000, b"".join(b"%d%%\r" % (n % 100) for n in range(100_000)),
     b"\x1b]" * 300_000, b"\x1b[" * 200_000, b"y" * 1_000_000],
    ids=["lines", "progress", "titles", "controls", "one line"],
)  # fmt: skip
def test_megabytes_take_seconds(data):
    begun = time.perf_counter()
    screen.lines(data)
    assert time.perf_counter() - begun < 40
