"""A recorded session with LU: done again elsewhere, it is green; with another result it is red."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gshell.cli import demo
from gshell.errors import NoMpi
from gshell.net import inputwait
from kit.procs import Env, two_agents
from kit.pty import Pty

LU = Path(__file__).parents[2] / "examples" / "lu"
SCRIPT = Path(__file__).parents[2] / "examples" / "replay" / "lu.gst"
PROMPT = "\x1b]133;B"  # ends every prompt of a shell that is recorded with its input
RESULT = "0.1619634321098E-01"
BEYOND, WITHIN = "0.1619634421098E-01", "0.1619634321198E-01"
# mpirun, and after it a pen: what is in ``pen`` is done to what it printed
WRAPPER = """#!/bin/sh
{mpirun} "$@" >{place}/out; status=$?
sed -f {place}/pen {place}/out; exit $status
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LU of class S for 1, 2 and 4 ranks, and an mpirun that can lie."""
    if shutil.which("make") is None or not os.access("/bin/bash", os.X_OK):
        pytest.skip("no make, or no bash")
    try:
        mpi = demo.find_mpi(os.environ)
    except NoMpi as error:
        pytest.skip(str(error))
    place = tmp_path_factory.mktemp("lu")
    (place / "suite.def").write_text("lu S 1\nlu S 2\nlu S 4\n")
    argv = ["make", "-C", str(LU), f"MPICC={mpi.mpicc[0]}", "suite", f"BUILD={place}",
            f"SUITE={place / 'suite.def'}", "CFLAGS=-O1 -std=c99"]  # fmt: skip
    subprocess.run(argv, check=True, capture_output=True)
    words = mpi.launch(1, Path("lu"))
    (place / "mpirun").write_text(
        WRAPPER.format(mpirun=" ".join(words[: words.index("-n")]), place=place)
        if "-n" in words
        else pytest.skip(f"another launcher: {words}")
    )
    (place / "mpirun").chmod(0o755)
    (place / "pen").write_text("")
    return place


@pytest.fixture(scope="module")
def env() -> Iterator[Env]:
    if not inputwait.CALLS:
        pytest.skip("system calls are not known for this processor")
    with two_agents() as one:
        yield one


def test_a_recorded_session_is_green_on_another_agent_and_red_when_a_digit_of_its_result_differs(
    env: Env, place: Path, tmp_path: Path
) -> None:
    cast = tmp_path / "lu.cast"
    shell = {**env.client_env(), "SHELL": "/bin/bash"}
    with Pty(env.argv("rec", str(cast), "-I"), shell) as pty:
        for line in (f"cd {place}", "./mpirun -n 2 bin/lu.S.2", "date; echo pid $$"):
            pty.wait_for(PROMPT)
            pty.line(line)
        pty.wait_for("pid ")
        pty.wait_for(PROMPT)
        pty.line("exit 3")
        assert pty.wait() == 3
    (step,) = [one for one in env.jobs() if one["name"] == "sh"]
    other = next(one["id"] for one in env.agents() if one["id"] not in json.dumps(step))
    for pen, status in (("", 0), (BEYOND, 1), (WITHIN, 0)):
        (place / "pen").write_text(f"s/{RESULT}/{pen}/\n" if pen else "")
        words = ("replay", str(cast), "--on", other, "--no-cast")
        done = env.gshell(*words, cwd=tmp_path, env={"SHELL": "/bin/sh"})
        assert done.returncode == status, (pen, done)
        assert b"times, rates, ids, 9th digits may differ in" in done.stderr
        assert (b"+           1   " + BEYOND.encode() in done.stdout) == (pen == BEYOND)
    done = env.gshell("replay", str(cast), "--on", other, "--no-cast", "--exact", cwd=tmp_path)
    assert done.returncode == 1, done  # the time, if nothing else


def test_a_program_that_ends_otherwise_is_red(env: Env, place: Path, tmp_path: Path) -> None:
    cast = tmp_path / "end.cast"
    shell = {**env.client_env(), "SHELL": "/bin/bash"}
    with Pty(env.argv("rec", str(cast), "-I"), shell) as pty:
        pty.wait_for(PROMPT)
        pty.line(f"cat {place}/none 2>/dev/null")
        pty.wait_for(PROMPT)
        pty.line("exit")
        pty.wait()
    assert env.gshell("replay", str(cast), "--no-cast", cwd=tmp_path).returncode == 0
    (place / "none").touch()
    done = env.gshell("replay", str(cast), "--no-cast", cwd=tmp_path)
    assert done.returncode == 1, done
    assert b"-[1]" in done.stdout


def test_a_password_is_not_in_the_recording_and_typed_again(env: Env, tmp_path: Path) -> None:
    cast = tmp_path / "word.cast"
    shell = {**env.client_env(), "SHELL": "/bin/bash"}
    with Pty(env.argv("rec", str(cast), "-I"), shell) as pty:
        pty.wait_for(PROMPT)
        pty.line("read -s -p 'word: ' w; echo; echo ${#w} $(echo $w | md5sum)")
        pty.wait_for("\x07word: ")
        pty.line("Hunter2Zq")
        pty.wait_for(PROMPT)
        pty.line("exit")
        pty.wait()
    assert "Hunter2Zq" not in cast.read_text()
    for word, status in (("Hunter2Zq", 0), ("Hunter2Zp", 1)):
        reads, writes = os.pipe()
        os.write(writes, word.encode() + b"\n")
        os.close(writes)
        words = ("replay", str(cast), "--no-cast", "--secrets", str(reads))
        done = env.gshell(*words, pass_fds=(reads,), cwd=tmp_path)
        os.close(reads)
        assert done.returncode == status, done
        assert word.encode() not in done.stdout + done.stderr
    done = env.gshell("replay", str(cast), "--no-cast", cwd=tmp_path)
    assert done.returncode == 2, done
    assert b"--secrets FILE" in done.stderr


def test_a_shell_beside_a_job_is_a_target(env: Env, tmp_path: Path) -> None:
    job = env.gshell("run", "--detach", "--", "sleep", "600").stdout.decode().strip()
    script = tmp_path / "beside.gst"
    script.write_text("$ false\n[1]\n$ exit\n")
    done = env.gshell("replay", str(script), "--no-cast", "--", "sh", job)
    env.gshell("cancel", job)
    assert done.returncode == 0, done


def test_a_matrix_of_ranks_is_a_table_of_times(env: Env, place: Path, tmp_path: Path) -> None:
    (place / "pen").write_text("")
    words = ("--matrix", "N=1,2,4", "-D", f"BIN={place}/bin", "-D", f"MPIRUN={place}/mpirun")
    done = env.gshell("replay", str(SCRIPT), *words, cwd=tmp_path)
    assert done.returncode == 0, done
    rows = [
        line.split() for line in done.stdout.decode().splitlines() if line[:2] in ("1 ", "2 ", "4 ")
    ]
    assert [row[0] for row in rows] == ["1", "2", "4"]
    assert all(float(row[2]) > 0 for row in rows)
