from hypothesis import given
from hypothesis import strategies as st

from gshell.cast.redraw import redraw
from gshell.cast.screen import Screen

_OUTPUT = st.lists(
    st.one_of(
        st.text("ab世\u0301 \r\n\t\b\x0e\x0fq", max_size=14),
        st.builds(
            "\x1b[{}{};{}{}".format, st.sampled_from(["", "", "?"]), st.integers(0, 12),
            st.integers(0, 9), st.sampled_from("mmHHABCDJKLMPSTX@rhlsg"),
        ),
        st.sampled_from(
            ["\x1b[?1049h", "\x1b[?47h", "\x1b[?1049l", "\x1b[4h", "\x1b[?6h", "\x1b[?7l", "\x1b[?25l", "\x1bM",
             "\x1b7", "\x1b8", "\x1b(0", "\x1b)0", "\x1b[31;1m", "\x1b[44m", "\x1b[2;3r", "\x1bH", "\x1b[3g",
             "\x1b]2;t\x07", "\x1b=", "\x1b[5 q", "0123456789", "\x1b[38;2;1;2;3m"],
        ),
    ),
    max_size=25,
)  # fmt: skip


def state(screen):
    return (
        screen.shown(), screen.x, screen.y, screen.pending, screen.style, screen.title, screen.alternate,
        screen.cursor_visible, screen.top, screen.bottom, screen.keypad, screen.shape, screen.charsets,
    )  # fmt: skip


@given(_OUTPUT, _OUTPUT)
def test_a_new_terminal_goes_on_where_the_old_one_was(before, after):
    old, new = Screen(9, 4), Screen(9, 4)
    old.feed("".join(before) + "\x18")
    new.feed(redraw(old))
    assert state(new) == state(old)
    old.feed("".join(after))
    new.feed("".join(after))
    assert state(new) == state(old)


def test_what_was_restored_is_not_what_was_set():
    old, new = Screen(9, 4), Screen(9, 4)
    old.feed("\x1b[?6h\x1b8")
    new.feed(redraw(old))
    for screen in (old, new):
        screen.feed("\x1b[2;3r")
    assert state(new) == state(old)


def test_it_is_short_where_little_is_shown():
    screen = Screen(80, 24)
    screen.feed("$ ls\r\n" * 3)
    assert len(redraw(screen)) < 60


def test_a_cursor_behind_the_last_column_is_there_again():
    for text in ("0123456789\x1b7", "01234567世", "a\x1b[1;31m\x1b[4;1H0123456789"):
        old, new = Screen(10, 4), Screen(10, 4)
        old.feed(text)
        new.feed(redraw(old))
        assert old.pending
        assert state(new) == state(old)
        old.feed("\x1b8x")
        new.feed("\x1b8x")
        assert state(new) == state(old)
