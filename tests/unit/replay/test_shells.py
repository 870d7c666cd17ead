"""A shell's marks: put in, and taken out again."""

import os
import re
import shutil
import subprocess

import pytest

from gshell.replay.shells import Mark, Marks, argv, marking

OUTPUT = b"a\x1b]133;A\x07$ \x1b]133;B\x1b\\\x1b[1mls\x1b[m\r\n\x1b]133;C\x07x\x1b]133;D;127\x07\x1b]0;t\x07end"
LEFT = b"a$ \x1b[1mls\x1b[m\r\nx\x1b]0;t\x07end"
FOUND = [Mark(1, "A", None), Mark(3, "B", None), Mark(14, "C", None), Mark(15, "D", 127)]


@pytest.mark.parametrize("at", range(len(OUTPUT)))
def test_marks_are_found_wherever_the_output_is_cut(at):
    marks = Marks()
    left = marks.feed(OUTPUT[:at]) + marks.feed(OUTPUT[at:]) + marks.end()
    assert left == LEFT
    assert marks.found == FOUND


def test_marks_are_found_byte_by_byte():
    marks = Marks()
    left = b"".join(marks.feed(OUTPUT[at : at + 1]) for at in range(len(OUTPUT))) + marks.end()
    assert (left, marks.found) == (LEFT, FOUND)


def test_what_begins_like_a_mark_and_is_none_is_not_kept_for_ever():
    marks = Marks()
    data = b"\x1b]133;" + b"x" * 500
    assert marks.feed(data) == data


@pytest.mark.parametrize(
    "words", [["bash", "-c", "x"], ["bash", "file"], ["python3"], ["ksh"], ["bash", "-s", "a"]]
)
def test_only_a_bare_shell_is_changed(words):
    assert marking(words) == words


@pytest.mark.parametrize("words", [["bash"], ["/usr/bin/zsh", "-i"], ["fish"], ["bash", "--norc"]])
def test_a_bare_shell_gets_marks(words):
    assert marking(words)[4] == words[0]
    assert marking(words)[5] == ("plain" if "--norc" in words else "")


@pytest.mark.parametrize(
    ("rather", "said"),
    [
        ("/bin/bash", "bash"), ("/nowhere/bash", "bash"), ("bash", "bash"), ("", "sh"),
        ("/nowhere/no-such-zsh", "sh"),
    ],
)  # fmt: skip
def test_the_shell_that_was_named_is_used_if_it_is_there(rather, said):
    done = subprocess.run(
        argv(rather=rather, plain=True), input=b"echo ${BASH:+ba}sh\n", capture_output=True,
        env={"PATH": os.environ["PATH"], "SHELL": "/bin/sh"}, timeout=10, check=True,
    )  # fmt: skip
    assert re.sub(rb"\x1b\]133[^\x07]*\x07", b"", done.stdout).decode().split() == said.split()


@pytest.mark.parametrize("own", [None, "/nowhere/zsh"])
def test_where_the_users_shell_is_not_there_it_is_the_one_of_the_password_file(own, tmp_path):
    here = tmp_path / "getent"
    here.write_text(f"#!/bin/sh\necho 'me:x:0:0::/:{shutil.which('bash')}'\n")
    here.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **({"SHELL": own} if own else {})}
    done = subprocess.run(
        argv(plain=True), input=b"echo ${BASH:+ba}sh\n", capture_output=True, env=env,
        timeout=10, check=True,
    )  # fmt: skip
    assert b"bash\n" in done.stdout, done


def test_which_shell_begins_is_known_and_no_mark_of_its_prompt():
    marks = Marks()
    assert marks.feed(b"\x1b]133;S;/bin/ksh\x07# ") == b"# "
    assert (marks.shell, marks.found) == ("/bin/ksh", [])
