"""Open MPI programs on agents of one machine: its launcher starts them, their streams are ours."""

import functools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import ompikit
from kit.procs import Env, two_agents, until

WAIT_S = 40.0


@pytest.fixture(scope="module")
def env() -> Iterator[Env]:
    with two_agents() as one:
        yield one


@pytest.fixture(scope="module", params=ompikit.compilers() or [None])
def ring(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param is None:
        pytest.skip("no Open MPI")
    return ompikit.ring(tmp_path_factory.mktemp("ring"), request.param)


def mpi(env: Env, *words: str, **more: object) -> "subprocess.CompletedProcess[bytes]":
    return env.gshell("mpi", *words, timeout_s=WAIT_S, **more)  # type: ignore[arg-type]


def test_ranks_of_two_agents_on_one_machine_have_their_lines_labelled(env: Env, ring: str) -> None:
    done = mpi(env, "-n", "3", "-N", "2", "-l", "--", ring, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, b"0: ring 3\n"), done
    assert sorted(done.stderr.splitlines()) == [b"1: passed 1", b"2: passed 2"]


def test_rank_0_gets_what_is_piped_in_byte_by_byte(env: Env, ring: str) -> None:
    data = os.urandom(2 << 20)
    total = functools.reduce(lambda sum, byte: (sum * 31 + byte) & 0xFFFFFFFF, data)
    done = mpi(env, "-n", "2", "--", ring, "stdin", input=data)
    assert done.stdout == b"read %d %d\nring 2\n" % (len(data), total), done


def test_a_rank_has_the_directory_of_the_step_and_a_terminal_if_it_was_asked_for(
    env: Env, ring: str, tmp_path: Path
) -> None:
    done = mpi(env, "-n", "2", "--pty", "1", "-l", "--cwd", str(tmp_path), "--", ring, "where",
               stdin=subprocess.DEVNULL)  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert b"0: %s 0 0" % os.fsencode(tmp_path) in lines, done
    assert b"1: %s 1 1" % os.fsencode(tmp_path) in lines


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        (("die", "1", "11"), 139, b"was ended by signal 11 (Segmentation fault)"),
        (("die", "1", "9"), 137, b"was ended by signal 9 (Killed)"),
        (("exit", "1", "5"), 5, b"exited with status 5"),
    ],
)
def test_a_rank_that_dies_ends_the_job_and_is_named(
    env: Env, ring: str, how: "tuple[str, ...]", status: int, words: bytes
) -> None:
    done = mpi(env, "-n", "2", "-l", "--", ring, *how, stdin=subprocess.DEVNULL)
    host = os.fsencode(os.uname().nodename)
    assert done.returncode == status, done
    assert b"mpi: rank 1 on " + host + b" " + words in done.stderr


def alive(program: str) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(program) in line:
                found.append(line.decode())
    return found


@pytest.mark.parametrize("how", ["interrupted", "canceled", "detached"])
def test_nothing_of_a_job_that_is_ended_is_left(env: Env, ring: str, how: str) -> None:
    process = env.popen("mpi", "-n", "2", "-N", "2", "--", ring, "hang",
                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)  # fmt: skip
    with process:
        assert process.stdout is not None
        said = {process.stdout.readline(), process.stdout.readline()}
        if how == "interrupted":
            process.send_signal(signal.SIGINT)
        else:
            if how == "detached":
                process.kill()
            assert env.gshell("cancel", str(env.jobs()[-1]["id"])).returncode == 0
        status = process.wait(WAIT_S)
    assert said == {b"up 0\n", b"up 1\n"}
    assert status == {"interrupted": 130, "canceled": 143, "detached": -9}[how]
    until(lambda: not alive(ring), "all of it to end", show=lambda: "\n".join(alive(ring)))
