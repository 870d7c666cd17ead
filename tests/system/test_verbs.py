"""The commands that print something, and what is said about wrong ones."""

from __future__ import annotations

import json
import re
import time

import pytest

from kit.procs import Env


def test_version_is_one_line_with_the_number(private: Env) -> None:
    for words in (["version"], ["--version"], ["-V"]):
        done = private.gshell(*words)
        assert re.fullmatch(rb"gshell \d+\.\d+\.\d+\S*\n", done.stdout), done
        assert done.returncode == 0


def test_whoami_names_user_role_and_relay(env: Env) -> None:
    facts = json.loads(env.gshell("whoami", "--json").stdout)["whoami"]
    assert facts["user"] in env.gshell("whoami").stdout.decode()
    assert facts["role"] == "admin"
    assert facts["until"] > time.time() + 300 * 86400
    assert len(facts["key"]) > 20
    assert facts["relay"]


@pytest.mark.parametrize(
    "words", [["help"], ["--help"], ["-h"], ["help", "run"], ["run", "--help"], ["agent"], ["help", "agent", "start"],
              ["sh", "-h"], ["logs", "-h"], ["attach", "--help"]]
)  # fmt: skip
def test_help_is_on_stdout_and_fits_80_columns(private: Env, words: list[str]) -> None:
    done = private.gshell(*words)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert done.stdout.startswith(b"gshell")
    assert max(map(len, done.stdout.decode().splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu", "--", "true"], "did you mean 'run'"),
        (["frobnicate"], "unknown command 'frobnicate'"),
        (["run"], "CMD is missing"),
        (["run", "--"], "CMD is missing"),
        (["run", "--no-such", "--", "true"], "unknown option '--no-such'"),
        (["run", "-n", "0", "--", "true"], "not a number of tasks"),
        (["run", "-n", "me", "--", "true"], "a job's name is given with -J"),
        (["run", "--timeout", "soon", "--", "true"], "not a duration"),
        (["run", "--env", "=x", "--", "true"], "not NAME=VALUE"),
        (["run", "-t", "-n", "2", "--", "true"], "a terminal has one task"),
        (["run", "-e", "two", "--", "true"], "not one character"),
        (["sh", "ls"], "'ls'"),
        (["help", "nothing"], "unknown command 'nothing'"),
        (["jobs", "x"], "not a job id"),
        (["login", "nonsense"], "invite"),
        (["--color", "pink", "jobs"], "pink"),
    ],
)
def test_a_wrong_command_line_is_2_and_says_what_to_type(
    private: Env, words: list[str], said: str, background: bool
) -> None:
    done = private.gshell(*words, background=background)
    text = done.stderr.decode()
    assert done.returncode == 2, text
    assert text.startswith("gshell: ")
    assert said in text
    assert done.stdout == b""


@pytest.mark.parametrize("words", [["jobs"], ["agents"], ["jobs", "-a"]])
def test_tables_are_plain_where_nobody_looks(private: Env, words: list[str]) -> None:
    private.gshell("run", "true")
    assert b"\x1b" not in private.gshell(*words).stdout
    assert b"\x1b" not in private.gshell(*words, "--color", "never").stdout


def test_hostile_words_reach_no_terminal(private: Env) -> None:
    for words in (
        ["\x1b]0;pwned\x07"],
        ["run", "--\x1b[2J"],
        ["attach", "\x9b1m"],
        ["cancel", "\u202e1"],
    ):
        text = private.gshell(*words).stderr
        assert b"\x1b" not in text
        assert "\x9b".encode() not in text
        assert "\u202e".encode() not in text


def test_doctor_finds_all_well(env: Env) -> None:
    done = env.gshell("doctor")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert "✖" not in done.stdout.decode()
