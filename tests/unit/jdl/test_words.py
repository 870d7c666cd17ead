"""Executable and Arguments as words of a command, and shapes of jobs."""

import subprocess

import pytest

from gshell.jdl import words
from gshell.jdl.geometry import Geometry, geometry


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []), ("  a  b\tc\n", ["a", "b", "c"]), ("'a b' \"c d\"", ["a b", "c d"]),
        ("a'b'\"c\"d", ["abcd"]), ("'' \"\"", ["", ""]), (r"a\ b \"c\"", ["a b", '"c"']),
        ("'$x' \\$x \"\\$x\"", ["$x", "$x", "$x"]), (r"'\n' \"", ["\\n", '"']),
        (r"\\\& a\\\|b", ["&", "a|b"]), (r'"a\b"', [r"a\b"]), ("'a&b;c'", ["a&b;c"]),
        ("100$ $5 *.txt ~", ["100$", "$5", "*.txt", "~"]),
    ],
)  # fmt: skip
def test_words_are_a_shell_s(text, found):
    split = words.split(text)
    assert words.argv([words.plain("x"), *split]) == ["x", *found]


@pytest.mark.parametrize(
    "text", ["a | b", "a;b", "a > b", "`a`", "$(a)", "${a:-b}", "'a", '"a', "a\\", '"`a`"', "(a)"]
)
def test_what_would_need_a_shell_is_refused(text):
    with pytest.raises(ValueError, match=r"has|ends"):
        words.split(text)


@pytest.mark.parametrize("text", ["$V", "\"${V}\" '$V' \\$V", 'a$V-"$V"\'"`\\\'', r'"\$V$V" ";\&"'])
def test_variables_are_filled_in_where_the_job_runs_and_nothing_else_is(text):
    argv = words.argv([words.plain("/usr/bin/printf"), words.plain("%s\n"), *words.split(text)])
    ran = subprocess.run(
        argv, env={"V": "a 'b' $c `d`"}, capture_output=True, text=True, timeout=10
    )
    expected = [word.text.replace("${V}", "$V") for word in words.split(text)]
    assert ran.stdout.count("\n") == len(expected)
    assert "a 'b' $c `d`" in ran.stdout


def test_a_variable_may_be_in_the_executable():
    assert words.argv([words.plain("$HOME/a b")]) == [
        "/bin/sh", "-c", 'exec "${HOME}/a b"', "$HOME/a b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cpus", "hosts", "granularity", "whole", "found"),
    [
        (None, None, None, False, (1, 0, 0, False)),
        (4, None, None, False, (4, 0, 0, False)),
        (2, 1, 2, True, (2, 1, 2, True)),
        (1, None, 2, True, (1, 1, 2, True)),
        (2, None, 1, False, (2, 2, 1, False)),
        (2, 2, 1, True, (2, 2, 1, True)),
        (3, 1, 3, False, (3, 1, 3, False)),
        (8, None, 4, False, (8, 2, 4, False)),
        (7, None, 4, True, (7, 2, 4, True)),
        (4, 2, None, False, (4, 2, 0, False)),
        (4, None, None, True, (4, 1, 0, True)),
    ],
)
def test_shapes(cpus, hosts, granularity, whole, found):
    assert geometry(cpus, hosts, granularity, whole) == Geometry(*found)


def test_slots_are_enough_for_all_processes_and_for_what_was_asked_of_a_host():
    assert (Geometry(7, 2, 4).agents, Geometry(7, 2, 4).slots) == (2, 4)
    assert (Geometry(1, 1, 2, True).agents, Geometry(1, 1, 2, True).slots) == (1, 2)
    assert (Geometry(5).agents, Geometry(5).slots) == (1, 5)
    assert Geometry(5, 2).slots == 3
