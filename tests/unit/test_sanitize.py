import unicodedata

import pytest

from gshell.model.sanitize import ELLIPSIS, sanitize, sanitize_all


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job-42 on n17.finis:/scratch/a b/%d?*",
        "C:\\x1b is a name",  # a backslash is text
        "Łódź, žluťoučký kůň, Ελληνικά, Кириллица",
        "計算ノード, 노드, عقدة, צומת",
        "e\u0301 is two characters and one glyph",
        "🚀 ✓ … – ─ │ ▏ €",
        "\ufffd",  # what a decoder puts for rubbish
    ],
)
def test_printable_text_comes_back_as_it_is(text):
    assert sanitize(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x1b]52;c;cm0gLXJm\x1b\\", r"\x1b]52;c;cm0gLXJm\x1b" + "\\"),
        ("\x9b31mred", r"\x9b31mred"),  # CSI in one C1 byte
        ("\x90q\x9c", r"\x90q\x9c"),  # DCS ... ST
        ("a\rb\nc\td\be\x7f", r"a\x0db\x0ac\x09d\x08e\x7f"),
        ("\0", r"\x00"),
        ("\x85", r"\x85"),  # NEL, a line end to some
        ("one\u2028two\u2029three", r"one\u2028two\u2029three"),
        ("user\u202egnp.exe", r"user\u202egnp.exe"),
        ("a\u2066b\u2069", r"a\u2066b\u2069"),
        ("ro\u200bot", r"ro\u200bot"),
        ("ro\u00adot", r"ro\xadot"),
        ("\ufeffroot", r"\ufeffroot"),
        ("no\u00a0break", r"no\xa0break"),
        ("\u3164", r"\u3164"),  # a blank letter
        ("\u2800", r"\u2800"),  # blank braille
        ("a\ufe01", r"a\ufe01"),
        ("a\U000e0100", r"a\U000e0100"),
        ("\U000e0041\U000e007f", r"\U000e0041\U000e007f"),  # tags
        ("\udcff.txt", r"\udcff.txt"),  # a file name with a byte that is no UTF-8
        ("\uffff", r"\uffff"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_spelt_out(text, shown):
    assert sanitize(text) == shown


def every(*ranges):
    return [chr(code) for first, last in ranges for code in range(first, last + 1)]


@pytest.mark.parametrize(
    "char",
    every(
        (0x00, 0x1F),
        (0x7F, 0x9F),
        (0x200B, 0x200F),
        (0x2028, 0x202E),
        (0x2060, 0x2064),
        (0x2066, 0x206F),
        (0xFE00, 0xFE0F),
        (0xE0020, 0xE007F),
    )
    + list("\u061c\u034f\u180e\ufeff\ufff9\ufffa\ufffb\U000e0001\U0001d173"),
    ids=lambda char: f"{ord(char):04x}",
)
def test_no_named_danger_gets_through(char):
    assert char not in sanitize(f"a{char}b")


def test_no_control_or_format_character_of_all_unicode_gets_through():
    forbidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    everything = map(chr, range(0x110000))
    assert not [
        hex(ord(char))
        for char in everything
        if unicodedata.category(char) in forbidden and char in sanitize(char)
    ]


def test_the_result_is_one_line_that_can_be_written_out():
    shown = sanitize("".join(map(chr, range(0x3000))) + "\ud800\U000e0001")
    assert shown.splitlines() == [shown]
    shown.encode()


def test_doing_it_twice_changes_nothing_more():
    once = sanitize("a\x1b[31m\u202e\ud83d")
    assert sanitize(once) == once


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", None, "abcdef"),
        ("abcdef", 7, "abcdef"),
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd" + ELLIPSIS),
        ("abcdef", 1, ELLIPSIS),
        ("abcdef", 0, ""),
        ("abcdef", -1, ""),
        ("", 0, ""),
        ("a\x1b", 5, r"a\x1b"),
        ("a\x1b", 4, "a" + ELLIPSIS),  # no escape is cut in two
        ("a\x1bc", 5, "a" + ELLIPSIS),
        ("a\x1bc", 6, r"a\x1bc"),
        ("\x1b", 3, ELLIPSIS),
        ("計算機", 6, "計算機"),  # two columns each
        ("計算機", 5, "計算" + ELLIPSIS),
        ("計算機", 4, "計" + ELLIPSIS),
        ("計算機", 1, ELLIPSIS),
        ("a\u0301\u0301\u0301\u0301", 3, "a\u0301" + ELLIPSIS),
    ],
)
def test_a_width_is_kept(text, width, shown):
    assert sanitize(text, width) == shown


def test_a_huge_text_costs_no_more_than_its_width():
    class Counting(str):
        taken = 0

        def __iter__(self):
            for char in str.__iter__(self):
                Counting.taken += 1
                yield char

    sanitize(Counting("\x1b" * 1_000_000), 80)
    assert Counting.taken < 100


TOWER = "\u0301\u0334\u0489\u20dd"


def test_a_tower_of_marks_is_cut_down_and_stands_on_nothing_else():
    shown = sanitize("e" + "\u0301" * 200)
    assert shown == "e" + "\u0301" * 4 + r"\u0301" * 196
    assert sanitize(TOWER[0] + "x") == r"\u0301x"  # it would stand on what was printed before
    assert sanitize("ab" + TOWER) == "ab" + TOWER


def test_a_whole_message_is_made_safe_at_once():
    message = {
        "name\x1b": "\x1b[2J", "list": ["\x07", {"deep": ["\u202e"]}], "n": 3, "x": None, "on": True,
        "nan": float("nan"), "inf": float("-inf"), "huge": 10**400, "f": 1.5, "long": "a" * 10**6,
    }  # fmt: skip
    safe = sanitize_all(message)
    assert safe["name\\x1b"] == r"\x1b[2J"
    assert safe["list"] == [r"\x07", {"deep": [r"\u202e"]}]
    assert (safe["n"], safe["x"], safe["on"], safe["f"]) == (3, None, True, 1.5)
    assert safe["nan"] is safe["inf"] is safe["huge"] is None
    assert len(safe["long"]) < 10_000
    assert sanitize_all(safe) == safe


def test_what_is_data_is_left_alone_in_the_outermost_object_only():
    said = {"ticket": {"key": "a\nb"}, "other": {"ticket": "a\nb"}}
    assert sanitize_all(said, but=("ticket",)) == {
        "ticket": {"key": "a\nb"},
        "other": {"ticket": r"a\x0ab"},
    }


def test_a_message_nested_without_end_is_cut():
    deep: list = []
    for _ in range(900):
        deep = [deep]
    assert str(sanitize_all(deep)).count("[") < 50
