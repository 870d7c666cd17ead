"""Ranks that a launcher starts ask for their streams: real processes, a real socket, no MPI."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gshell.agent.claimed import Claimed, Ends, make_ends
from gshell.agent.claims import Claims, Offer, RemoteShell, Request
from gshell.agent.rankbuild import Build
from gshell.net.loop import Loop

WAIT_S = 20.0


class Job:
    """A job of ranks 0 and 1 at one agent."""

    def __init__(self, loop: Loop, claims: Claims) -> None:
        self.loop = loop
        self.claims = claims
        self.key = claims.open(self)
        self.pty: tuple[int, int] | None = None
        self.stdin = True
        self.cwd = ""
        self.requests: list[Request] = []
        self.ranks: dict[int, Claimed] = {}
        self.ends: dict[int, Ends] = {}
        self.left: list[int] = []
        self.shells: list[tuple[str, str, RemoteShell]] = []
        self.started: list[subprocess.Popen[bytes]] = []

    def claim(self, request: Request) -> Offer | None:
        self.requests.append(request)
        if request.rank > 1:
            return None
        ends = make_ends(self.pty, {}, self.stdin, 1 << 16)

        def taken(pid: int) -> None:
            self.ranks[request.rank] = Claimed(pid, ends)

        return Offer(
            ends.theirs, self.pty is not None, self.cwd, "", {"GSHELL_RANK": str(request.rank)},
            taken, lambda: self.left.append(request.rank),
        )  # fmt: skip

    def remote(self, host: str, command: str, shell: RemoteShell) -> bool:
        self.shells.append((host, command, shell))
        return host != "elsewhere"

    leads = False
    """Does the launcher make its ranks leaders of sessions?"""

    def start(self, *words: str, rank: str = "0", **more: str) -> "subprocess.Popen[bytes]":
        ours = self.claims.environment(self.key, terminals=self.pty is not None)
        env = {**os.environ, **ours, "PMIX_RANK": rank, **more}
        start = shlex.split(ours["GSHELL_RANK_EXEC"])[:-1]
        process = subprocess.Popen(
            [*(start if words[0] == "rank" else self.claims.helper), *words], env=env, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=self.leads,
        )  # fmt: skip
        self.started.append(process)
        return process

    def until(self, done: object) -> None:
        def look() -> None:  # a process that ends is no event of the loop's
            self.loop.later(0.01, look)

        look()
        assert self.loop.run_until(done, WAIT_S), (self.requests, self.left)  # type: ignore[arg-type]

    def claimed(self, *words: str, rank: str = "0", **more: str) -> Claimed:
        """The rank that runs ``words`` by now."""
        self.start("rank", *words, rank=rank, **more)
        self.until(lambda: int(rank) in self.ranks)
        return self.ranks[int(rank)]

    def output(self, child: Claimed, fd: int = 1) -> bytes:
        """All of it, to its end."""
        end = child.stdout if fd == 1 else child.stderr
        if child.pty:  # we hold its other side until then
            self.ended(child)
        os.set_blocking(end, True)
        text = b""
        while True:
            try:
                data = os.read(end, 65536)
            except OSError:  # a terminal's end
                data = b""
            if not data:
                return text
            text += data

    def ended(self, child: Claimed) -> tuple[int, int | None]:
        self.until(lambda: child.reap() is not None)
        assert child.exit is not None
        return child.exit.code, child.exit.signal


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The twin in C, as an agent compiles it; empty: no compiler."""
    loop = Loop()
    claims = Claims(loop, str(tmp_path_factory.mktemp("build")))
    build = claims.build = Build(loop, claims)
    build.begin()
    assert loop.run_until(lambda: not build.busy, WAIT_S)
    kept = tmp_path_factory.mktemp("compiled") / "rankexec"
    if claims.compiled:
        shutil.copy(claims.compiled, kept)
    claims.close()
    loop.close()
    return str(kept) if kept.exists() else ""


@pytest.fixture(params=["interpreted", "compiled"])
def job(tmp_path: object, request: pytest.FixtureRequest) -> Iterator[Job]:
    loop = Loop()
    claims = Claims(loop, str(tmp_path))
    if request.param == "compiled":
        claims.compiled = request.getfixturevalue("compiled")
        if not claims.compiled:
            pytest.skip("no C compiler")
    one = Job(loop, claims)
    yield one
    for process in one.started:
        process.kill()
        process.communicate(timeout=WAIT_S)
    for child in one.ranks.values():
        child.close()
    claims.close()
    loop.close()
    assert os.listdir(str(tmp_path)) == []


def test_a_rank_prints_to_the_agent_and_not_to_its_launcher(job: Job) -> None:
    child = job.claimed("sh", "-c", "echo out; echo $GSHELL_RANK >&2; exit 3")
    assert (job.output(child), job.output(child, 2)) == (b"out\n", b"0\n")
    assert job.ended(child) == (3, None)
    assert job.started[0].communicate(timeout=WAIT_S) == (b"", b"")


def test_a_rank_says_who_it_is_and_the_kernel_says_which_process(job: Job) -> None:
    child = job.claimed("sleep", "100", rank="1", OMPI_COMM_WORLD_SIZE="2")
    assert job.requests == [Request(1, 2, job.started[0].pid, os.getcwd(), "sleep")]
    assert child.pid == job.started[0].pid


def test_what_is_typed_reaches_the_rank_and_so_does_the_end_of_it(job: Job) -> None:
    child = job.claimed("cat")
    os.write(child.stdin, b"typed")
    child.close_stdin()
    assert job.output(child) == b"typed"


def test_the_program_does_not_get_what_speaks_for_its_rank(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LC_CTYPE", raising=False)  # of this interpreter, where there is no locale
    child = job.claimed("env", LC_ALL="C")
    names = {line.partition(b"=")[0] for line in job.output(child).splitlines()}
    assert not names & {b"GSHELL_RANKS", b"GSHELL_RANKS_KEY", b"GSHELL_RANK_EXEC", b"LC_CTYPE"}
    assert b"PMIX_RANK" in names


def test_a_rank_that_the_agent_does_not_know_runs_with_what_it_has(job: Job) -> None:
    process = job.start("rank", "echo", "here", rank="7")
    job.until(lambda: process.poll() is not None)
    assert process.communicate(timeout=WAIT_S)[0] == b"here\n"


@pytest.mark.parametrize("more", [{"GSHELL_RANKS_KEY": "0" * 32}, {"GSHELL_RANKS": "/nowhere"}])
def test_who_has_no_key_or_no_agent_gets_nothing(job: Job, more: dict[str, str]) -> None:
    process = job.start("rank", "echo", "here", **more)
    job.until(lambda: process.poll() is not None)
    assert process.communicate(timeout=WAIT_S)[0] == b"here\n"
    assert not job.requests


def test_the_first_agent_that_knows_the_rank_gives_it_its_streams(job: Job) -> None:
    second = job.claims.environment(job.key)
    child = job.claimed("echo", "x", GSHELL_RANKS=f"/nowhere {second['GSHELL_RANKS']}",
                        GSHELL_RANKS_KEY=f"1 {job.key}")  # fmt: skip
    assert job.output(child) == b"x\n"


def test_a_rank_goes_where_the_agent_says(job: Job, tmp_path: object) -> None:
    job.cwd = str(tmp_path)
    assert job.output(job.claimed("pwd")) == str(tmp_path).encode() + b"\n"


def test_a_script_without_an_interpreter_s_name_is_given_to_a_shell(
    job: Job, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = tmp_path_factory.mktemp("script") / "unnamed"
    script.write_text("echo $1\n")
    script.chmod(0o755)
    child = job.claimed("unnamed", "a b", PATH=f"/nonexistent:{script.parent}:/usr/bin:/bin")
    assert job.output(child) == b"a b\n"


def test_a_rank_has_no_descriptors_but_its_three(job: Job) -> None:
    child = job.claimed("sh", "-c", "ls /proc/$$/fd; exit")
    assert job.output(child).split() == [b"0", b"1", b"2"]


def test_the_twin_of_c_is_of_use_only_while_it_is_there_and_without_terminals(job: Job) -> None:
    python = shlex.join([*job.claims.helper, "rank"])
    if job.claims.compiled:
        assert job.claims.environment(job.key)["GSHELL_RANK_EXEC"] != python
    assert job.claims.environment(job.key, terminals=True)["GSHELL_RANK_EXEC"] == python
    job.claims.compiled = "/nonexistent"
    assert job.claims.environment(job.key)["GSHELL_RANK_EXEC"] == python


@pytest.mark.parametrize("path", ["/nonexistent", "broken"])
def test_without_a_compiler_that_works_ranks_start_as_before(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "broken" / "cc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / path}:/usr/bin:/bin" if path == "broken" else path)
    loop = Loop()
    claims = Claims(loop, str(tmp_path))
    build = claims.build = Build(loop, claims)
    build.begin()
    assert loop.run_until(lambda: not build.busy, WAIT_S)
    assert claims.compiled == ""
    claims.close()
    loop.close()


@pytest.mark.parametrize(("name", "code"), [("no-such-program", 127), ("/", 126)])
def test_a_program_that_is_not_there_is_said_in_the_ranks_words(
    job: Job, name: str, code: int
) -> None:
    child = job.claimed(name)
    assert name.encode() in job.output(child, 2)
    assert job.ended(child) == (code, None)


def test_how_a_rank_ended_is_known_though_its_launcher_took_the_status(job: Job) -> None:
    child = job.claimed("sh", "-c", "kill -SEGV $$")
    job.started[0].wait(WAIT_S)
    assert job.ended(child) == (128 + signal.SIGSEGV, signal.SIGSEGV)
    assert not child.signal(signal.SIGTERM)


def test_a_signal_goes_to_the_rank_and_not_to_its_launchers_group(job: Job) -> None:
    child = job.claimed("sleep", "100")
    assert os.getpgid(child.pid) == os.getpgid(0)  # ours: a group signal would end this test
    assert child.signal(signal.SIGTERM)
    assert job.ended(child) == (128 + signal.SIGTERM, signal.SIGTERM)


IS_TERMINAL = "import os;print(os.isatty(0), os.getsid(0)==os.getpid(), os.tcgetpgrp(0)==os.getpgrp(), os.get_terminal_size())"


def test_a_rank_with_a_terminal_has_it_as_its_controlling_one(job: Job) -> None:
    job.pty = (30, 100)
    child = job.claimed(sys.executable, "-c", IS_TERMINAL)
    assert b"True True True os.terminal_size(columns=100, lines=30)" in job.output(child)
    assert child.pid != job.started[0].pid  # it led no session
    assert job.ended(child) == (0, None)


def test_a_rank_that_leads_a_session_is_the_process_that_has_the_terminal(job: Job) -> None:
    job.pty, job.leads = (24, 80), True
    child = job.claimed(sys.executable, "-c", IS_TERMINAL)
    assert b"True True True" in job.output(child)
    assert child.pid == job.started[0].pid


def test_a_rank_with_a_terminal_ends_with_its_status_and_its_launchers_signals(job: Job) -> None:
    job.pty = (24, 80)
    child = job.claimed("sh", "-c", "trap 'exit 9' TERM; echo set; while :; do sleep 0.01; done")
    assert os.read(job_blocking(child), 100) == b"set\r\n"
    job.started[0].terminate()
    assert job.started[0].wait(WAIT_S) == 9
    assert job.ended(child) == (9, None)


def job_blocking(child: Claimed) -> int:
    os.set_blocking(child.stdout, True)
    return child.stdout


def test_a_rank_with_a_terminal_dies_with_what_its_launcher_started(job: Job) -> None:
    job.pty = (24, 80)
    child = job.claimed("sleep", "100")
    job.started[0].kill()
    assert job.ended(child)[1] == signal.SIGKILL


def test_the_remote_shell_carries_what_the_daemon_says_and_its_status(job: Job) -> None:
    process = job.start("rsh", "-x", "n2", "daemon", "--of  it", "$HOME")
    job.until(lambda: job.shells)
    host, command, shell = job.shells[0]
    assert (host, command) == ("n2", "daemon --of  it $HOME")
    typed: list[bytes] = []
    shell.on_input = typed.append
    assert process.stdin is not None
    process.stdin.write(b"in")
    process.stdin.close()
    job.until(lambda: typed[-1:] == [b""])
    shell.output(1, b"o" * 100_000)
    shell.output(2, b"e")
    shell.exited(4)
    process.stdin = None
    assert process.communicate(timeout=WAIT_S) == (b"o" * 100_000, b"e")
    assert (process.returncode, typed) == (4, [b"in", b""])


def test_a_launcher_that_ends_its_remote_shell_is_heard(job: Job) -> None:
    process = job.start("rsh", "n2", "daemon")
    job.until(lambda: job.shells)
    gone: list[bool] = []
    job.shells[0][2].on_gone = lambda: gone.append(True)
    process.kill()
    job.until(lambda: gone)


def test_a_host_that_is_none_of_the_jobs_is_said(job: Job) -> None:
    process = job.start("rsh", "elsewhere", "daemon")
    job.until(lambda: process.poll() is not None)
    assert b"no member of this job is at elsewhere" in process.communicate(timeout=WAIT_S)[1]
    assert process.returncode == 255


def test_a_remote_shell_whose_launcher_is_gone_at_once_is_heard_and_ends_nobody(job: Job) -> None:
    gone: list[bool] = []
    for _ in range(5):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(job.claims.path)
        sock.send(b"\0".join([b"rsh", job.key.encode(), b"there", b"orted"]))
        sock.close()
    job.until(lambda: len(job.shells) == 5)
    for _, _, shell in job.shells:
        shell.on_gone = lambda: gone.append(True)
        shell.output(1, b"nobody reads this")
    job.until(lambda: len(gone) == 5)


HOSTILE = (
    b"", b"\0", b"rank", b"rank\0", b"rank\0KEY", b"rank\0wrong\0" b"0\0\0/\0x",
    b"rank\0KEY\0-1\0\0/\0x", b"rank\0KEY\0" b"7\0\0/\0x", b"rank\0KEY\0" + b"9" * 300 + b"\0\0/\0x",
    b"rank\0KEY\0\xb2\0\0/\0x", b"rank\0KEY\0x\0y\0\xff\0\xff", b"rsh\0KEY", b"rsh\0KEY\0h\0c\0more",
    b"rsh\0\0h\0c", b"x\0KEY", b"\xff" * 100_000,
)  # fmt: skip


def test_nonsense_gets_no_answer_and_the_next_rank_does(job: Job) -> None:
    socks = []
    for packet in HOSTILE:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(job.claims.path)
        sock.send(packet.replace(b"KEY", job.key.encode()))
        sock.setblocking(False)
        socks.append(sock)
    child = job.claimed("/bin/echo", "here")
    assert job.output(child) == b"here\n"
    for sock in socks:
        with sock:
            assert sock.recv(100) == b""
