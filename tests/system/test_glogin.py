"""i2glogin as the tutorial shows it: the job is started through gshell and calls its user's terminal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.ports import free_port
from kit.procs import Env, until
from kit.pty import Pty

MAIN = Path(__file__).parents[2] / "gshell/agent/__main__.py"
CLOSED = b"Connection closed by foreign host"
PROMPT = "sh-2.05b$ "


class Glogin:
    """One address, its two ends, and the secret staged for the job as `submit` does."""

    def __init__(self, env: Env, folder: Path) -> None:
        self.env = env
        self.port = free_port()
        self.address = f"{self.port}:127.0.0.1"
        self.secret = env.home / f"state/glogin/{self.port}-127.0.0.1.secret"
        self.staged = folder / "secret"
        self.jobs: list[subprocess.Popen[bytes]] = []

    def stage(self) -> None:
        until(self.secret.exists, "the user's side to make its secret")
        shutil.copy(self.secret, self.staged)

    def user(self, *words: str, **more: object) -> Pty:
        argv = self.env.argv("glogin", "-p", self.address, *words)
        return Pty(argv, self.env.client_env(), **more)  # type: ignore[arg-type]

    def job(self, *words: str, program: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """What the job's wrapper runs: InteractiveAgent, its arguments, the executable."""
        program = program or (sys.executable, "-I", "-S", str(MAIN))
        options = ["-T", "--env", f"GSHELL_GLOGIN_SECRET_FILE={self.staged}"]
        options += ["--env", f"PS1={PROMPT}", "--env", "ENV="]
        argv = ["run", *options, "--", *program, "glogin", "-r", "-p", self.address, *words]
        job = self.env.popen(*argv, stdin=subprocess.DEVNULL)
        self.jobs.append(job)
        return job

    def close(self) -> None:
        for job in self.jobs:
            if job.poll() is None:
                job.terminate()
            job.communicate(timeout=20)


@pytest.fixture
def glogin(relay: Env, tmp_path: Path) -> Iterator[Glogin]:
    made = Glogin(relay, tmp_path)
    yield made
    made.close()


def test_the_tutorials_exchange(glogin: Glogin) -> None:
    with glogin.user() as user:
        glogin.stage()
        assert not user.seen  # nothing until the job calls
        job = glogin.job("-t", "-c", "/bin/sh")
        user.wait_for(PROMPT)
        user.line("uname -n")
        user.wait_for(os.uname().nodename + "\r\n")
        user.wait_for(PROMPT)
        user.line("exit")
        assert user.wait() == 0
        assert bytes(user.rest()).endswith(b"exit\r\n" + CLOSED + b"\r\n")
        assert user.modes() == user.modes_at_start
    assert job.wait(20) == 0
    assert not glogin.secret.exists()  # it was used
    assert not glogin.staged.exists()


def test_the_exit_status_goes_to_both_ends_and_the_words_have_a_line_of_their_own(
    glogin: Glogin,
) -> None:
    with glogin.user() as user:
        glogin.stage()
        job = glogin.job("-c", "printf unfinished; exit 7")
        assert user.wait() == 7
        assert user.seen.endswith(b"unfinished\r\n" + CLOSED + b"\r\n")
    assert job.wait(20) == 7


def test_size_keys_and_signals_go_to_the_job(glogin: Glogin) -> None:
    with glogin.user(size=(33, 101)) as user:
        glogin.stage()
        glogin.job("-c", "/bin/sh")
        user.wait_for(PROMPT)
        user.line("stty size")
        user.wait_for("33 101")
        user.resize(20, 60)
        size = b""
        while b"20 60" not in size:  # a signal and a line go separate ways: either may be first
            user.line("stty size; echo now$?")
            size = user.wait_for("now0")
        # The words come from the program itself: a shell between its fork and giving the terminal away
        # would take the key for its own.
        user.line("sh -c \"echo -n an''d; exec sleep 100\"")
        user.wait_for("and")
        user.send(b"\x03")
        user.wait_for(PROMPT)
        user.line("echo $TERM; exit 130")
        assert user.wait() == 130


def test_leaving_hangs_up(glogin: Glogin) -> None:
    with glogin.user() as user:
        glogin.stage()
        job = glogin.job("-c", "/bin/sh")
        user.wait_for(PROMPT)
        user.send("\r~.")
        user.wait()
        assert b"hung up" in user.seen
        assert user.modes() == user.modes_at_start
    assert job.wait(20) == 129


def test_pipes_carry_bytes_both_ways(glogin: Glogin) -> None:
    data = os.urandom(3_000_000)
    user = glogin.env.popen("glogin", "-p", glogin.address)
    glogin.stage()
    glogin.job("-c", "cat; echo to stderr >&2; exit 3")
    out, err = user.communicate(data, timeout=60)
    assert out == data
    assert err == b"to stderr\n" + CLOSED + b"\n"
    assert user.returncode == 3


def test_the_agents_one_file_is_enough_on_a_node(glogin: Glogin, tmp_path: Path) -> None:
    pyz = tmp_path / "agent.pyz"
    assert glogin.env.gshell("agent", "pack", str(pyz)).returncode == 0
    oldest = os.environ.get("GSHELL_PYTHON39") or sys.executable
    with glogin.user() as user:
        glogin.stage()
        glogin.job("-t", "-c", "tty && echo there", program=(oldest, "-I", "-S", str(pyz)))
        user.wait_for("there")
        assert user.wait() == 0


def test_who_starts_first_makes_no_difference(glogin: Glogin) -> None:
    glogin.staged.write_bytes(b"a secret for both of us\n")
    glogin.staged.chmod(0o600)
    mine = glogin.staged.with_name("mine")
    shutil.copy(glogin.staged, mine)
    job = glogin.job("-c", "echo here")
    until(lambda: any(one["state"] == "ACTIVE" for one in glogin.env.jobs()), "the job to call")
    with glogin.user("--secret-file", str(mine)) as user:
        assert user.wait() == 0
        assert b"here\r\n" in user.seen
    assert job.wait(20) == 0
    assert mine.exists()  # the user named it: it is the user's


def test_an_address_of_another_machine_and_any_port(relay: Env, tmp_path: Path) -> None:
    user = relay.popen("glogin", "-p", "0:192.0.2.7", "--insecure")
    assert user.stderr is not None
    said = [user.stderr.readline().decode() for _ in range(3)]
    assert any("192.0.2.7 is no address of this machine: listening on all" in line for line in said)
    assert any("--insecure: whoever calls first" in line for line in said)
    place = next(line.split()[-1] for line in said if "waiting at" in line)
    assert place.endswith(":192.0.2.7")
    port = place.partition(":")[0]
    job = subprocess.run(
        [sys.executable, "-I", "-S", str(MAIN), "glogin", "-r", "-p", f"{port}:[::1]",
         "--insecure", "echo", "over", "IPv6"],
        capture_output=True, timeout=30,
    )  # fmt: skip
    out, _ = user.communicate(timeout=20)
    assert (job.returncode, out) == (0, b"over IPv6\n")


def test_without_a_secret_nothing_is_called(relay: Env) -> None:
    argv = [sys.executable, "-I", "-S", str(MAIN), "glogin", "-r", "-p", "1:127.0.0.1", "true"]
    done = subprocess.run(argv, capture_output=True, timeout=20, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 2
    assert b"no secret" in done.stderr


def test_a_job_that_dies_is_waited_for_and_given_up(glogin: Glogin) -> None:
    with glogin.user("--wait", "1") as user:
        glogin.stage()
        job = glogin.job("-c", "/bin/sh")
        user.wait_for(PROMPT)
        user.line("kill -9 $PPID")
        assert user.wait() == 255
        assert b"has not called again" in user.seen
        assert user.modes() == user.modes_at_start
    assert job.wait(20) == 128 + signal.SIGKILL
