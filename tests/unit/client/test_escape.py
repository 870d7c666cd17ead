import pytest
from hypothesis import given
from hypothesis import strategies as st

from gshell.client import escape
from gshell.client.escape import EscapeKeys, detach_key, escape_char, help_text
from kit.feed import feed_all_ways

DETACH = ("detach", b"")
SLOWLY = 0.3  # seconds between reads, unless a test says otherwise


def fed(*reads, char="~", apart_s=SLOWLY):
    """(bytes sent on, commands) of some reads, one after the other."""
    keys = EscapeKeys(char)
    actions = [
        action for number, read in enumerate(reads) for action in keys.feed(read, number * apart_s)
    ]
    sent = b"".join(data for what, data in actions if what == "data")
    return sent, [what for what, _ in actions if what != "data"]


def typed(text, **options):
    """The same, a key at a time."""
    return fed(*(text[at : at + 1] for at in range(len(text))), **options)


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        (b"~.", "detach"),
        (b"~d", "detach"),
        (b"~\x1a", "suspend"),
        (b"~?", "help"),
        (b"~r", "redraw"),
        (b"~K", "kill"),
        (b"~s", "status"),
    ],
)
def test_a_command_at_the_beginning_or_after_a_line_end(keys, command):
    for before in (b"", b"ls\r", b"ls\n", b"ls\r\n"):
        assert typed(before + keys) == (before, [command])
        assert fed(before, keys) == (before, [command])  # as tmux send-keys: in one read
        assert fed(before + keys) == (before, [command])


def test_elsewhere_it_is_text():
    assert typed(b"a~.") == (b"a~.", [])
    assert typed(b"ls ~.\r") == (b"ls ~.\r", [])


def test_twice_it_is_one_and_the_line_has_begun():
    assert typed(b"~~.") == (b"~.", [])
    assert typed(b"~~~.") == (b"~~.", [])


def test_what_is_no_command_is_sent_as_typed():
    assert typed(b"~x~.") == (b"~x~.", [])
    assert typed(b"~\r~.") == (b"~\r", ["detach"])
    assert typed(b"~/bin\r") == (b"~/bin\r", [])


def test_after_a_command_the_line_has_still_not_begun():
    assert typed(b"~?~?~.") == (b"", ["help", "help", "detach"])


def test_after_detach_the_rest_is_dropped_and_what_came_before_is_not():
    assert fed(b"a\r~.ls\r") == (b"a\r", ["detach"])
    assert fed(b"~?x\r~.ls") == (b"x\r", ["help", "detach"])


def test_it_is_held_until_the_next_key_and_not_lost_at_the_end():
    keys = EscapeKeys()
    assert keys.feed(b"~", 0) == []
    assert keys.end() == b"~"
    assert keys.end() == b""
    assert keys.feed(b"~", 1) == []
    assert keys.feed(b"x" * 100, 2) == [("data", b"~" + b"x" * 100)]


def test_any_way_of_cutting_few_keys_is_the_same():
    def joined(actions):
        return [what for what, _ in actions if what != "data"], b"".join(d for _, d in actions)

    def new():
        keys = EscapeKeys()
        return lambda data: keys.feed(data, 1.0)

    for data in (b"~?a\r~r~~\r\n~x\x1d\x1d~", b"\x1b[200~\r~.\x1b[201~", b"\x1d\x1da~\x1a"):
        assert len(data) <= escape.TYPED_AT_MOST
        feed_all_ways(new, data, joined)


# ------------------------------------------------------------------------------------------ pastes


def test_in_a_bracketed_paste_it_is_text_wherever_the_reads_cut():
    paste = b"\x1b[200~\r~.\r~?\x1b[201~"
    for at in range(len(paste)):
        assert fed(paste[:at], paste[at:]) == (paste, [])
    assert typed(paste, apart_s=0.001) == (paste, [])
    assert fed(paste, b"~.") == (paste + b"~.", [])  # a pasted line end was not typed
    assert fed(paste, b"\r", b"~.") == (paste + b"\r", ["detach"])


def test_a_paste_whose_end_never_comes_ends_by_itself():
    begun = b"\x1b[200~text\r"
    assert fed(begun, b"\r", b"~.", apart_s=1.0) == (begun + b"\r~.", [])
    assert fed(begun, b"\r", b"~.", apart_s=6.0) == (begun + b"\r", ["detach"])
    begun = b"\x1b[200~a rather long text\r"
    assert fed(begun, b"~.", apart_s=6.0) == (begun + b"~.", [])


def test_a_long_read_is_no_typing():
    mail = b"Dear all,\r~.\rregards\r"
    assert fed(mail) == (mail, [])
    assert fed(mail, b"~.") == (mail, ["detach"])  # typed after it


def test_the_cut_off_end_of_a_long_paste_is_no_typing_either():
    paste = b"x" * 4095 + b"\r"
    assert fed(paste, b"~.", apart_s=0.001) == (paste + b"~.", [])
    assert fed(paste, b"x\r", b"~.", apart_s=0.03) == (paste + b"x\r~.", [])
    assert fed(paste, b"~.", apart_s=0.2) == (paste, ["detach"])


def test_a_script_s_line_followed_at_once_by_a_command_is_typing():
    line = b"echo a line of some length\r"
    assert fed(line, b"~.", apart_s=0.001) == (line, ["detach"])


# ------------------------------------------------------------------------------------------ Ctrl-]


@pytest.mark.parametrize(
    "key",
    [b"\x1d", b"\x1b[93;5u", b"\x1b[93;69u", b"\x1b[93;5:1u", b"\x1b[93:125;5u", b"\x1b[27;5;93~"],
)
def test_three_times_ctrl_bracket_detaches_anywhere(key):
    assert fed(b"text", key, key, key) == (b"text" + key * 2, ["detach"])
    assert fed(b"text", key, key, key, apart_s=0.6) == (b"text" + key * 3, [])
    assert fed(key, key, b"x", key) == (key * 2 + b"x" + key, [])


def test_in_one_read_too_and_the_rest_is_dropped():
    assert fed(b"ab\x1d\x1d\x1dcd") == (b"ab\x1d\x1d", ["detach"])


def test_the_second_is_within_the_window_of_a_later_third():
    keys = EscapeKeys()
    for at in (0.0, 0.9, 1.5):
        assert keys.feed(b"\x1d", at) == [("data", b"\x1d")]
    assert keys.feed(b"\x1d", 1.8) == [DETACH]


def test_keys_going_up_are_between_them_and_do_not_count():
    up, down = b"\x1b[93;5:3u", b"\x1b[93;5:1u"
    assert fed(down, up, down, up, down, apart_s=0.1) == ((down + up) * 2, ["detach"])


def test_other_keys_with_modifiers_pass():
    other = b"\x1b[97;5u"
    assert fed(b"~", other, b"\x1b[1;5A") == (b"~" + other + b"\x1b[1;5A", [])
    assert fed(b"\x1d", b"\x1d", other, b"\x1d") == (b"\x1d\x1d" + other + b"\x1d", [])


def test_in_a_paste_they_do_not_count():
    paste = b"\x1b[200~\x1d\x1d\x1d\x1b[201~"
    assert fed(paste) == (paste, [])
    assert fed(b"\x1d" * 20) == (b"\x1d" * 20, [])


# ---------------------------------------------------------------------------------- the character


def test_none_is_transparent():
    assert fed(b"~.", b"\x1d\x1d\x1d", b"", char=None) == (b"~.\x1d\x1d\x1d", [])


def test_another_character():
    assert typed(b"~.\r\x02.", char="\x02") == (b"~.\r", ["detach"])


def test_what_e_takes():
    assert [escape_char(text) for text in ("none", "~", "^B", "^b", "^]", "%")] == [
        None, "~", "\x02", "\x02", "\x1d", "%",
    ]  # fmt: skip
    assert escape_char("^") == "^"
    for bad in ("", "ab", "^^^", "\r", "é", "^é"):
        with pytest.raises(ValueError):
            escape_char(bad)


def test_the_help_names_the_key_in_use():
    assert "~." in help_text()
    assert "^B." in help_text("\x02")
    assert "none" in help_text(None)
    for command in ("detach", "suspend", "redraw", "status"):
        assert command in help_text()


def test_the_key_to_tell_of():
    assert detach_key() == "~."
    assert detach_key(inside_ssh=True) == "Ctrl-] three times"
    assert detach_key("\x02", inside_ssh=True) == "^B."
    assert detach_key(None) == ""


# ------------------------------------------------------------------------------------------ always

READS = st.lists(
    st.tuples(
        st.one_of(
            st.binary(max_size=40),
            st.lists(
                st.sampled_from([b"~", b"\r", b".", b"\x1d", b"\x1b[200~", b"\x1b[201~", b"x"]),
                max_size=8,
            ).map(b"".join),
        ),
        st.sampled_from([0.001, 0.04, 0.3, 6.0]),
    ),
    max_size=12,
)


@given(READS)
def test_what_goes_in_comes_out_in_order_less_the_commands(reads):
    keys, now, sent, whole, commands = EscapeKeys(), 0.0, b"", b"", 0
    for data, pause in reads:
        now += pause
        whole += data
        for what, part in keys.feed(data, now):
            sent += part
            commands += what != "data"
            if what == "detach":
                return  # the rest is dropped
    sent += keys.end()
    left = iter(whole)
    assert all(byte in left for byte in sent)  # a subsequence: nothing invented, nothing reordered
    assert len(whole) - len(sent) <= 2 * commands + whole.count(b"~~")


def lines(*reads, char="~", pasted=False):
    """(bytes sent on, commands) of lines from a terminal that gives whole ones."""
    escapes, last = escape.EscapeLines(char), len(reads) - 1
    found = [
        each for at, read in enumerate(reads) for each in escapes.feed(read, pasted and at < last)
    ]
    return b"".join(data for what, data in found if what == "data"), [
        what for what, _ in found if what != "data"
    ]


@pytest.mark.parametrize(
    ("line", "command"),
    [(b"~.\n", "detach"), (b"~#\n", "ranks"), (b"~?\n", "help"), (b"~K\n", "kill")],
)
def test_a_line_of_its_own_is_a_command_where_lines_are_read(line, command):
    assert lines(b"text\n", line) == (b"text\n", [command])


@pytest.mark.parametrize("line", [b"~\n", b"~.x\n", b"~.", b"~x\n", b" ~.\n", b"~\x1a\n", b"~r\n"])
def test_any_other_line_goes_on_as_it_is(line):
    assert lines(line) == (line, [])


def test_two_of_them_are_one_where_lines_are_read():
    assert lines(b"~~.\n") == (b"~.\n", [])


def test_what_does_not_begin_a_line_is_no_command_where_lines_are_read():
    assert lines(b"Ctrl-D here", b"~.\n") == (b"Ctrl-D here~.\n", [])


def test_a_pasted_line_does_not_detach_and_leave_the_rest_to_the_shell():
    assert lines(b"text\n", b"~.\n", b"rm x\n", pasted=True) == (b"text\n~.\nrm x\n", [])


def test_no_line_is_a_command_where_the_user_wants_none():
    assert lines(b"~.\n", b"\n.\n", char=None) == (b"~.\n\n.\n", [])
    assert lines(b"~.\n", b"^.\n", char="^") == (b"~.\n", ["detach"])
