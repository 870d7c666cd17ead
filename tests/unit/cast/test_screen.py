import pytest
from hypothesis import given
from hypothesis import strategies as st

from gshell.cast import cells as s
from gshell.cast.cells import Style
from gshell.cast.screen import MAX_ROWS, Screen


def shown(text, columns=10, rows=4):
    screen = Screen(columns, rows)
    screen.feed(text)
    return screen.text()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("one\r\ntwo", ["one", "two", "", ""]),
        ("0123456789ab", ["0123456789", "ab", "", ""]),
        ("0123456789\r\nab", ["0123456789", "ab", "", ""]),
        ("\x1b[?7l0123456789ab", ["012345678b", "", "", ""]),
        ("1\r\n2\r\n3\r\n4\r\n5", ["2", "3", "4", "5"]),
        ("abc\rX\x1b[2;3Hhere\x1b[A\x1b[D!", ["Xbc  !", "  here", "", ""]),
        ("abcdef\x1b[1;3H\x1b[K", ["ab", "", "", ""]),
        ("abcdef\x1b[1;3H\x1b[1K", ["   def", "", "", ""]),
        ("abcdef\x1b[1;3H\x1b[2P", ["abef", "", "", ""]),
        ("abcdef\x1b[1;3H\x1b[2@", ["ab  cdef", "", "", ""]),
        ("abcdef\x1b[1;3H\x1b[4hXY", ["abXYcdef", "", "", ""]),
        ("abcdef\x1b[1;3H\x1b[2X", ["ab  ef", "", "", ""]),
        ("a\r\nb\r\nc\x1b[2;1H\x1b[L", ["a", "", "b", "c"]),
        ("a\r\nb\r\nc\x1b[2;1H\x1b[M", ["a", "c", "", ""]),
        ("a\r\nb\r\nc\r\nd\x1b[2;3r\x1b[3;1H\ne", ["a", "c", "e", "d"]),
        ("a\r\nb\x1b[H\x1bM", ["", "a", "b", ""]),
        ("main\x1b[?1049h\x1b[Hother\x1b[?1049l!", ["main!", "", "", ""]),
        ("\x1b(0lqk\x1b(Bq", ["┌─┐q", "", "", ""]),
        ("\x1b)0\x0eq\x0fq", ["─q", "", "", ""]),
        ("世界 e\u0301", ["世界 e\u0301", "", "", ""]),
        ("12345678世9界", ["12345678世", "9界", "", ""]),
        ("123456789世", ["123456789", "世", "", ""]),
        ("世\x1b[1;2Hx", [" x", "", "", ""]),
        ("世\x1b[1;1Hx", ["x", "", "", ""]),
        ("a\tb\x1b[1;1H\x1b[Ic", ["a       c", "", "", ""]),
        ("ab\x1b]0;title\x07cd\x1bP1$r\x1b\\ef", ["abcdef", "", "", ""]),
        ("a\x1b[3bc", ["aaaac", "", "", ""]),
        ("e\u0301\x1b[2b", ["e\u0301ee", "", "", ""]),
        ("a\r\x1b[3bc", ["c", "", "", ""]),
        ("ab\x1b[2;3r\x1b[?6h\x1b#8\x1b[2Jx", ["x", "", "", ""]),
        ("a\x1b[2\nBb", ["a", "", "", " b"]),
        ("x\x1b[999;999Hy", ["x", "", "", "         y"]),
        ("\x1b7ab\x1b8X", ["Xb", "", "", ""]),
        ("ab\x1b[2Jc", ["  c", "", "", ""]),
        ("ab\x1bcc", ["c", "", "", ""]),
    ],
)
def test_what_a_person_sees(text, rows):
    assert shown(text) == rows
    pieces = Screen(10, 4)
    for char in text:
        pieces.feed(char)
    assert pieces.text() == rows


@pytest.mark.parametrize(
    ("body", "style"),
    [
        ("", Style()),
        ("1;31", Style(1, -1, s.BOLD)),
        ("97;104", Style(15, 12)),
        ("38;5;200", Style(200)),
        ("48;2;1;2;3", Style(-1, s.TRUE_COLOR | 0x010203)),
        ("38:2::1:2:3", Style(s.TRUE_COLOR | 0x010203)),
        ("38:5:9", Style(9)),
        ("4:3;7", Style(-1, -1, s.UNDERLINE | s.INVERSE)),
        ("1;3;22", Style(-1, -1, s.ITALIC)),
        ("38;5", Style()),
        ("38;2;300;0;0", Style()),
        ("31;0", Style()),
    ],
)
def test_colours(body, style):
    assert s.select(s.PLAIN, body) == style
    assert s.select(Style(3, 4, s.BLINK), style.sgr()[2:-1]) == style


def test_rows_that_leave_at_the_top_are_kept_when_asked():
    screen = Screen(10, 2, history=None)
    screen.feed("1\r\n2\r\n3\r\n\x1b[?1049h9\r\n9\r\n9\x1b[?1049l4")
    assert [row.text().rstrip() for row in screen.history] == ["1", "2"]
    assert screen.text() == ["3", "4"]


def test_cleared_rows_are_kept_when_asked():
    screen = Screen(10, 3, history=None, keep_cleared=True)
    screen.feed("1\r\n2\x1b[H\x1b[2J3\x1b[H\x1b[J4")
    assert [row.text().rstrip() for row in screen.history] == ["1", "2", "3"]


def test_a_resize_cuts_rows_and_keeps_the_cursor_inside():
    screen = Screen(10, 4)
    screen.feed("0123456789\r\n1\r\n2\r\n3")
    screen.resize(5, 2)
    assert (screen.text(), screen.x, screen.y) == (["2", "3"], 1, 1)
    screen.resize(0, 10**9)
    assert (screen.columns, screen.rows) == (80, MAX_ROWS)


_PIECES = st.one_of(
    st.text(max_size=8),
    st.text("0123456789;:?<=> !$\"'\x1b\x9b[]P()#mhlrABCDHJKLMPSTX@b\x07\\\r\n\t\b世\u0301", max_size=12),
    st.builds(
        "\x1b[{}{};{}{}".format, st.sampled_from(["", "?", ">"]), st.integers(0, 2000),
        st.integers(0, 99999), st.sampled_from("mhlrABCDHJKLMPSTX@bgGdEFIZsupq"),
    ),
    st.sampled_from(["\x1b[?1049h", "\x1b[?1049l", "\x1b[4h", "\x1b[?7l", "\x1bM", "\x1bc", "\x1b#8"]),
)  # fmt: skip


@given(
    st.lists(st.one_of(_PIECES, st.tuples(st.integers(-2, 20), st.integers(-2, 9))), max_size=40)
)
def test_nothing_makes_it_raise_or_lose_a_cell(pieces):
    screen, slowly = Screen(9, 4, history=20, keep_cleared=True), Screen(9, 4)
    for piece in pieces:
        if isinstance(piece, tuple):
            screen.resize(*piece)
            slowly.resize(*piece)
            continue
        screen.feed(piece)
        for char in piece:
            slowly.feed(char)
        assert 0 <= screen.x < screen.columns
        assert 0 <= screen.y < screen.rows == len(screen.lines)
        for row in screen.lines:
            assert len(row.chars) == len(row.styles) == screen.columns
            assert all(char or row.chars[x - 1] for x, char in enumerate(row.chars) if x)
    assert slowly.shown() == screen.shown()


def test_a_string_without_end_costs_no_memory_and_little_time():
    screen = Screen(10, 2)
    for _ in range(20_000):
        screen.feed("\x1b]0;" + "x" * 20 if _ == 0 else "y" * 20)
    screen.feed("\x1b\\seen")
    assert screen.text()[0] == "seen"
