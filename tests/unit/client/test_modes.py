import pyte
import pytest

from gshell.client.modes import SeenModes
from kit.feed import feed_all_ways

SGR = b"\x1b[m"


def reset_after(*chunks):
    seen = SeenModes()
    for chunk in chunks:
        seen.feed(chunk)
    return seen.reset()


def test_output_without_escapes_needs_no_reset():
    assert reset_after(b"hello\r\n", b"\x07" * 100) == b""


def test_colors_alone_need_only_their_end():
    assert reset_after(b"\x1b[31mred") == SGR


@pytest.mark.parametrize(
    ("set_by", "undone_by"),
    [
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?7l", b"\x1b[?7h"),
        (b"\x1b[?1h\x1b=", b"\x1b>\x1b[?1l"),
        (b"\x1b[?2004h", b"\x1b[?2004l"),
        (b"\x1b[?25;1049h", b"\x1b[r\x1b[?1049l"),
        (b"\x1b[?1000;1006h", b"\x1b[?1000l\x1b[?1006l"),
        (b"\x1b[>4;2m", b"\x1b[>4m"),
        (b"\x1b(0qqq", b"\x1b(B"),
        (b"\x1b[5 q", b"\x1b[0 q"),
        (b"\x1b[5;10r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b[10r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b[>1u", b"\x1b[<1u"),
        (b"\x1b[>1u\x1b[>5u", b"\x1b[<2u"),
        (b"\x1b[?1049h", b"\x1b[r\x1b[?1049l"),
        (b"\x1b[?47h", b"\x1b[r\x1b[?47l"),
        (b"\x1b[?1049h\x1b[>1u", b"\x1b[<1u\x1b[r\x1b[?1049l"),
        (b"\x1b[>1u\x1b[?1049h\x1b[>1u\x1b[>1u", b"\x1b[<2u\x1b[r\x1b[?1049l\x1b[<1u"),
    ],
)
def test_what_is_set_is_undone_wherever_it_is_cut(set_by, undone_by):
    def new():
        seen = SeenModes()

        def feed(data):
            seen.feed(data)
            return [seen.reset()]

        return feed

    def last(resets):
        return resets[-1]

    assert feed_all_ways(new, b"x" + set_by + b"y", last)[-1] == undone_by + SGR


@pytest.mark.parametrize(
    "output",
    [
        b"\x1b[?1049h vim \x1b[?1049l",
        b"\x1b[5;10r scrolls \x1b[r",
        b"\x1b[1m5r and 10;5r and [5r \x1b[1m",
        b"\x1b[?1049h\x1b[>1u\x1b[?1049l",  # its stack went with the screen
        b"\x1b[>1u\x1b[<u",
        b"\x1b[>1u\x1b[>1u\x1b[<2u",
        b"\x1b[<9u",
        b"\x1b[?25h\x1b[?7h\x1b[?1000l",
        b"\x1b[?9999h\x1b[?;h\x1b[?h\x1b[4h",
        b"\x1b[?1049h\x1b[?25l\x1bc",
        b"\x1b[3q and a q, 5 q, [5 q",
        b"\x1b[>0c\x1b[>q\x1b[?u\x1b[?2026$p",  # questions
    ],
)
def test_what_was_undone_or_never_set_is_not_touched(output):
    assert reset_after(output) == SGR


def test_a_cursor_that_is_hidden_and_shown_all_the_time_is_news_once():
    seen = SeenModes()
    assert seen.feed(b"\x1b[?25l")
    for _ in range(3):
        assert not seen.feed(b"\x1b[?25hx\x1b[?25l\x1b[32m")


def test_news_are_told_and_a_second_look_is_none():
    seen = SeenModes()
    assert not seen.feed(b"\x1b[1mtext")
    assert seen.feed(b"\x1b[?1049h")
    assert not seen.feed(b"\x1b[?1049h")
    assert seen.feed(b"\x1b[?1049l")
    seen.clear()
    assert seen.reset() == b""


def test_garbage_is_survived_and_not_kept():
    seen = SeenModes()
    for chunk in (b"\x1b", b"\x1b[", b"\x1b[?", b"\x1b[?" + b"1;" * 5000, b"\x1b[?99999999999999h"):
        seen.feed(chunk)
        assert len(seen.cut) < 100
    seen.feed(bytes(range(256)) * 20)
    seen.reset()


def test_a_terminal_is_in_order_again():
    screen = pyte.Screen(20, 5)
    stream = pyte.ByteStream(screen)
    before = set(screen.mode)
    output = b"\x1b[?25l\x1b[?7l\x1b[?5h\x1b[1;31;44mvim"
    stream.feed(output)
    assert set(screen.mode) != before
    stream.feed(reset_after(output))
    assert set(screen.mode) == before
    assert not screen.cursor.hidden
    assert screen.cursor.attrs.fg == "default"
    assert (screen.cursor.x, screen.cursor.y) == (3, 0)  # on this screen nothing moved
