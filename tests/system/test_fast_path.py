"""What a start imports: the time of a short run is made of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gshell
from kit.procs import Env

FRONT = str(Path(gshell.__file__).with_name("front.py"))


def imported(env: Env, *words: str, background: bool) -> set[str]:
    """The top-level modules of a start that was successful."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", FRONT, *words],
        env=env.client_env(background), stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    lines = done.stderr.decode().splitlines()
    names = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    return names - {"imported package"}  # the heading


THIRD_PARTY = {"zmq", "cryptography", "asyncssh", "rich", "prompt_toolkit", "site"}


def test_a_run_through_the_background_process_imports_next_to_nothing(private: Env) -> None:
    assert private.gshell("run", "true").returncode == 0
    modules = imported(private, "run", "--", "true", background=True)
    heavy = {
        "ssl",
        "json",
        "socket",
        "typing",
        "select",
        "os",
        "re",
        "signal",
        "enum",
        "termios",
        "struct",
    }
    # What the interpreter itself imports before our first line is not ours to choose.
    bare = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "importtime", "-c", ""], capture_output=True, check=True
    ).stderr.decode()
    own = {line.rpartition("|")[2].strip() for line in bare.splitlines()}
    assert not (modules - own) & (heavy | THIRD_PARTY | {"asyncio", "argparse"})
    assert {name for name in modules if name.startswith("gshell")} <= {
        "gshell",
        "gshell.client",
        "gshell.client.frontend",
    }


def test_a_run_on_its_own_imports_neither_asyncio_nor_third_parties(env: Env) -> None:
    modules = imported(env, "run", "--", "true", background=False)
    roots = {name.partition(".")[0] for name in modules}
    assert "_ssl" in roots, "the list is not what we think"
    assert not roots & (THIRD_PARTY | {"asyncio", "argparse", "subprocess", "threading", "logging", "inspect",
                                       "dataclasses", "relay", "typing", "pathlib", "tempfile"})  # fmt: skip
    assert {name for name in roots if name not in sys.stdlib_module_names} <= {"gshell"}


@pytest.mark.parametrize("words", [["jobs"], ["jobs", "--json"], ["version"], ["help"], ["whoami"]])
def test_small_commands_are_light_too(private: Env, words: list[str]) -> None:
    roots = {name.partition(".")[0] for name in imported(private, *words, background=True)}
    assert not roots & (THIRD_PARTY | {"asyncio", "argparse", "relay"})


def test_the_checkout_is_not_written_to(private: Env, tmp_path: Path) -> None:
    """A read-only current directory, and nothing of ours appears in it."""
    before = set(os.listdir(tmp_path))
    tmp_path.chmod(0o555)
    try:
        assert private.gshell("run", "--", "pwd", cwd=tmp_path).stdout.decode() == f"{tmp_path}\n"
    finally:
        tmp_path.chmod(0o755)
    assert set(os.listdir(tmp_path)) == before
