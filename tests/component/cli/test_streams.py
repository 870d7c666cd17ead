"""Commands whose standard streams are closed, full or left: no traceback, and the right status."""

import os
import shlex
import subprocess
import sys

import pytest

from kit.procs import gshell_argv

FULL = "/dev/full"
pytestmark = pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full")


def shell(tmp_path, line, **more):
    """``line`` of sh, which knows gshell."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("GSHELL_", "XDG_"))}
    env.update(GSHELL_HOME=str(tmp_path / "home"), HOME=str(tmp_path), **more)
    script = f'gshell() {{ {shlex.join(gshell_argv())} "$@"; }}; {line}'
    return subprocess.run(["/bin/sh", "-c", script], env=env, capture_output=True, text=True, timeout=50)  # fmt: skip


@pytest.mark.parametrize("verb", ["help", "version", "man", "completion bash", "config path"])
def test_a_full_disk_behind_stdout_is_said_in_one_line(tmp_path, verb):
    ran = shell(tmp_path, f"gshell {verb} > {FULL}")
    assert (ran.returncode, ran.stderr) == (
        1, "gshell: cannot write: No space left on device\n",
    )  # fmt: skip


def test_an_error_that_cannot_be_said_has_its_status_all_the_same(tmp_path):
    for rest in (f"2> {FULL}", "2>&-", f"> {FULL} 2>&1"):
        assert shell(tmp_path, f"gshell nothing {rest}").returncode == 2
    ran = shell(tmp_path, f"gshell help > {FULL} 2>&1")
    assert (ran.returncode, ran.stderr) == (1, "")


@pytest.mark.parametrize("line", ["gshell <&-", "gshell - <&-", "gshell jobs <&- >&-",
                                  "gshell help >&-", "gshell <&- >&- 2>&-"])  # fmt: skip
def test_closed_streams_are_empty_ones(tmp_path, line):
    ran = shell(tmp_path, line)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_directory_that_is_not_there_is_no_traceback(tmp_path):
    (tmp_path / "config").mkdir()
    ran = shell(tmp_path, "gshell man --dir /proc/nothing")
    assert ran.returncode == 125
    assert "Traceback" not in ran.stderr


def test_who_has_seen_enough_ends_a_list_quietly(tmp_path):
    script = tmp_path / "head.py"  # reads nothing: the pipe is closed before anything is written
    script.write_text("")
    ran = shell(tmp_path, f"gshell man | {sys.executable} {script}")
    assert ran.stderr == ""
