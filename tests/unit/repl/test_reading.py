import pytest
from hypothesis import given
from hypothesis import strategies as st

from gshell.repl import reading

ENV = {"HOME": "/h", "X": "a b"}


def words(text, env=ENV):
    return [word.text for word in reading.read(text, env).words]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("run  -n 4\tls", ["run", "-n", "4", "ls"]),
        ("run 'a b' \"c 'd'\" e\\ f", ["run", "a b", "c 'd'", "e f"]),
        ("a'b'\"c\"d", ["abcd"]),
        ("run ''", ["run", ""]),
        ("echo $X \"$X\" '$X' ${X}y \\$X", ["echo", "a b", "a b", "$X", "a by", "$X"]),
        ("echo $ $1 ${1} $NOPE.", ["echo", "$", "$1", "${1}", "."]),
        ("jobs # all of it", ["jobs"]),
        ("run a#b", ["run", "a#b"]),
        ("run \\\n ls", ["run", "ls"]),
        ("run a\\\nb", ["run", "ab"]),
        ('"a\\"b\\\\c\\d"', ['a"b\\c\\d']),
    ],
)
def test_a_line_is_read_as_a_shell_reads_it(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    "text",
    ["run 'a", 'run "a\nb', "run \\", "run (a", "--req [x\ny", "jobs | sort |", "jobs | g 'x"],
)
def test_an_open_line_goes_on(text):
    assert reading.is_open(text)


@pytest.mark.parametrize(
    "text", ["run 'a'", "run )", ":) (a)", "jobs | sort", "a \\\\", "# it's", ""]
)
def test_a_whole_line_does_not(text):
    assert not reading.is_open(text)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("logs 42 | less", "| less"),
        ("jobs > f", "> f"),
        ("run x 2>&1", "2>&1"),
        ("jobs; agents", "; agents"),
        ("jobs 2", None),
        ("run 'a|b'", None),
    ],
)
def test_what_is_for_a_shell_is_found(text, rest):
    line = reading.read(text)
    assert (text[line.shell :] if line.shell >= 0 else None) == rest


def test_a_text_is_cut_into_commands():
    text = "a\n\n# c\nb 'x\ny' \\\nz\n!echo '\nd (\ne)\n"
    assert list(reading.commands(text)) == [
        (1, "a"), (4, "b 'x\ny' \\\nz"), (7, "!echo '"), (8, "d (\ne)"),
    ]  # fmt: skip


def test_patterns_and_tildes_stand_for_what_is_there():
    def matches(pattern):
        return ["b.c", "a.c"] if pattern == "*.c" else []

    line = reading.read("put *.c '*.c' x* ~/y '~' 42:*.c", ENV)
    assert reading.expanded(line.words, "/h", matches) == [
        "put", "a.c", "b.c", "*.c", "x*", "/h/y", "~", "42:*.c",
    ]  # fmt: skip


@given(st.text())
def test_a_quoted_word_is_read_back_as_it_was(text):
    assert words("x " + reading.quoted(text)) == ["x", text]


@given(st.text(alphabet="ab \\'\"$#|(\n~%*", max_size=30))
def test_any_text_is_read(text):
    line = reading.read(text, ENV)
    assert all(word.start < word.end <= len(text) for word in line.words)
    list(reading.commands(text))
