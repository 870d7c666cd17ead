"""Job descriptions as the tutorial has them, all the way: from a file to what comes back."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kit.ports import free_port
from kit.procs import Env, below, until
from kit.pty import Pty

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "examples/jdl"
PRINTED = sorted((CHECKOUT / "tests/data/jdl/printed").glob("*.jdl"))
CLOSED = b"Connection closed by foreign host"
OVER = ("COMPLETED", "FAILED", "CANCELED")


class Jobs:
    """A user in a directory with descriptions."""

    def __init__(self, env: Env, folder: Path) -> None:
        self.env = env
        self.folder = folder

    def do(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return self.env.gshell(*words, cwd=self.folder)

    def well(self, *words: str) -> str:
        done = self.do(*words)
        assert done.returncode == 0, (done.stdout + done.stderr).decode() + self.env.logs()
        return done.stdout.decode()

    def grid(self, *words: str) -> str:
        return self.well("grid", *words)

    def write(self, name: str, text: str, mode: int = 0o644) -> str:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(mode)
        return name

    def take(self, *names: str) -> None:
        for name in names:
            shutil.copy(EXAMPLES / name, self.folder)

    def submit(self, text: str, *options: str) -> str:
        """The id of the one job of a description."""
        said = self.well("submit", "-q", *options, self.write("job.jdl", text))
        return said.split()[-1]

    def job(self, ident: str) -> dict[str, Any]:
        (found,) = json.loads(self.well("jobs", "--json", ident))["jobs"]
        return dict(found)

    def until(self, ident: str, *states: str, phase: str = "") -> dict[str, Any]:
        return dict(until(
            lambda: (j := self.job(ident))["state"] in states and j["phase"] == phase and j,
            f"job {ident} to be {states} {phase}", show=lambda: f"{self.job(ident)}",
        ))  # fmt: skip

    def fetched(self, ident: str) -> Path:
        target = self.folder / f"got-{ident}"
        self.well("fetch", ident, "--dir", str(target))
        return target


@pytest.fixture
def jobs(relay: Env, tmp_path: Path) -> Jobs:
    return Jobs(relay, tmp_path)


@pytest.fixture
def alone_jobs(alone: Env, tmp_path: Path) -> Jobs:
    """On an installation of the test's own, without agents."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    return Jobs(alone, folder)


# ------------------------------------------------------------------------------------ the tutorial


def test_the_tutorials_first_job(jobs: Jobs) -> None:
    jobs.take("simple.jdl", "simple.sh")
    said = jobs.grid("i2g-job-submit", "-o", "ids", "simple.jdl")
    assert "i2g-job-submit Success" in said
    (ident,) = re.findall(r"^\d+$", said, re.M)
    jobs.until(ident, "COMPLETED")
    status = jobs.grid("i2g-job-status", "-i", "ids")
    assert re.search(r"Current Status: +Done \(Success\)\nExit code: +0\n", status)
    said = jobs.grid("i2g-job-get-output", "--dir", "out", "-i", "ids")
    where = jobs.folder / f"out/tester_{ident}"
    assert f"stored in the directory:\n{where}\n" in said
    host = os.uname().nodename
    assert (where / "simple.out").read_text() == f"hello from {host}\n"
    assert (where / "simple.err").read_text() == ""
    assert sorted(p.name for p in jobs.fetched(ident).iterdir()) == ["simple.err", "simple.out"]
    assert jobs.well("logs", ident) == f"hello from {host}\n"


OPEN_MPI = shutil.which("mpicc.openmpi")
needs_open_mpi = pytest.mark.skipif(OPEN_MPI is None, reason="no Open MPI here (mpicc.openmpi)")


@needs_open_mpi
@pytest.mark.parametrize("name", ["cpi-openmpi", "cpi-pacxmpi"])
def test_the_tutorials_mpi_jobs(jobs: Jobs, name: str) -> None:
    description = name.replace("-", "_") + ".jdl"
    jobs.take(description, "cpi.c")
    subprocess.run([OPEN_MPI, "-O2", "-o", name, "cpi.c"], cwd=jobs.folder, check=True, timeout=60)
    done = jobs.do("submit", "--wait", description)
    assert done.returncode == 0, done.stderr.decode() + jobs.env.logs()
    assert (b"at one site" in done.stderr) == ("pacx" in name)
    ident = done.stdout.decode().split()[-1]
    assert jobs.job(ident)["tasks"] == 4
    out = (jobs.fetched(ident) / f"{name}.out").read_text()
    assert "3.1415926" in out
    assert "by 4 processes" in out


@needs_open_mpi
def test_an_mpi_jobs_hooks_build_what_it_runs_by_the_agents_mpi_start(jobs: Jobs) -> None:
    jobs.take("cpi.c")
    shutil.copy(CHECKOUT / "examples/mpi/hooks.sh", jobs.folder)
    hook = "I2G_MPI_PRE_RUN_HOOK=hooks.sh"
    ident = jobs.submit(f"""
        JobType = "Parallel"; SubJobType = "openmpi"; NodeNumber = 2; Executable = "cpi";
        InputSandbox = {{"cpi.c", "hooks.sh"}}; StdOutput = "out"; StdError = "err";
        OutputSandbox = {{"out", "err"}}; Environment = {{"{hook}", "I2G_MPI_START_VERBOSE=1"}};""", "--wait")  # fmt: skip
    folder = jobs.fetched(ident)
    assert "by 2 processes" in (folder / "out").read_text(), (folder / "err").read_text()
    assert "mpi-start [INFO   ]: activate support for gshell" in (folder / "err").read_text()


def test_the_tutorials_files_as_printed_are_refused_where_they_are_wrong(jobs: Jobs) -> None:
    before = len(jobs.env.jobs())
    for path in PRINTED:
        if path.stem != "names":  # its wrong names are only warned of
            done = jobs.do("grid", "i2g-job-submit", str(path))
            assert (done.returncode, done.stdout) == (2, b""), path
            assert re.match(rf"gshell: {path.name}:\d+:\d+: ".encode(), done.stderr), done.stderr
    assert len(jobs.env.jobs()) == before


# --------------------------------------------------------------------------------------- i2glogin


class Meeting:
    """The tutorial's exchange: somebody's `i2glogin -p`, and a job that calls there."""

    def __init__(self, jobs: Jobs, address: str, executable: str = "/bin/sh") -> None:
        self.jobs = jobs
        self.address = address
        arguments = f"-r -p {address} -c" if address else "-r -c"
        self.description = jobs.write("interactive.jdl", f"""
            VirtualOrganisation = "imain"; JobType = "Normal"; Interactive = TRUE;
            InteractiveAgent = "i2glogin"; InteractiveAgentArguments = "{arguments}";
            Executable = "{executable}"; InputSandbox = "i2glogin";
            Environment = {{"PS1=sh-2.05b$ ", "ENV="}};""")  # fmt: skip

    def wait(self, *words: str) -> Pty:
        argv = self.jobs.env.argv(*(words or ("glogin", "-p", self.address)))
        return Pty(argv, self.jobs.env.client_env(), cwd=str(self.jobs.folder))

    def submit(self) -> str:
        return self.jobs.grid("i2g-job-submit", "--nomsg", self.description).split()[-1]

    def exchange(self, user: Pty) -> None:
        user.wait_for("sh-2.05b$ ")
        user.line("uname -n")
        user.wait_for(os.uname().nodename + "\r\n")
        user.wait_for("sh-2.05b$ ")
        user.line("exit")
        assert user.wait() == 0
        assert bytes(user.rest()).endswith(CLOSED + b"\r\n")


@pytest.mark.parametrize("first", ["i2glogin", "i2g-job-submit"])
def test_the_tutorials_exchange_whoever_starts_first(jobs: Jobs, first: str) -> None:
    meeting = Meeting(jobs, f"{free_port()}:127.0.0.1")
    if first == "i2g-job-submit":
        ident = meeting.submit()
        jobs.until(ident, "ACTIVE")
        with meeting.wait() as user:
            meeting.exchange(user)
    else:
        with meeting.wait() as user:
            ident = meeting.submit()
            meeting.exchange(user)
    jobs.until(ident, "COMPLETED")
    assert not list((jobs.env.home / "state/glogin").iterdir())  # the secret was used


@pytest.mark.parametrize("address", ["0:127.0.0.1", ""], ids=["port 0", "no address"])
def test_submit_finds_the_address_and_is_the_jobs_terminal(jobs: Jobs, address: str) -> None:
    meeting = Meeting(jobs, address)
    with meeting.wait("submit", meeting.description) as user:
        user.wait_for(b"waiting for job ")
        meeting.exchange(user)


def test_without_a_terminal_submit_says_what_to_type(jobs: Jobs) -> None:
    meeting = Meeting(jobs, "0:127.0.0.1")
    done = jobs.do("submit", meeting.description)
    (ident,) = done.stdout.decode().split()
    (typed,) = re.findall(r"^  try:  i2glogin (-p \d+:127\.0\.0\.1)$", done.stderr.decode(), re.M)
    with meeting.wait("glogin", *typed.split()) as user:
        meeting.exchange(user)
    jobs.until(ident, "COMPLETED")


def test_who_waits_for_a_job_that_never_calls_is_told_why(jobs: Jobs) -> None:
    meeting = Meeting(jobs, "")
    words = ("submit", "--set", 'Prologue="/bin/false"', meeting.description)
    with meeting.wait(*words) as user:
        assert user.wait() == 125
        assert b"has ended and never called: prologue failed with error 1" in user.seen
    with meeting.wait(
        "submit", "--set", "Requirements=other.cpus > 99999", meeting.description
    ) as user:
        user.wait_for(b"waits: ")
        user.send(b"\x03")
        assert user.wait() == 130
        ident = re.findall(rb"job (\d+) is canceled", bytes(user.seen))[0].decode()
    assert jobs.job(ident)["state"] == "CANCELED"
    assert not list((jobs.env.home / "state/glogin").iterdir())


@pytest.mark.skipif(not shutil.which("mpirun"), reason="no MPI here (mpirun)")
def test_eleven_processes_on_fewer_cores_talk_to_one_terminal(jobs: Jobs) -> None:
    jobs.take("interactive.jdl", "test-app", "inputfile")
    port = free_port()
    text = (jobs.folder / "interactive.jdl").read_text().replace("23433", str(port))
    jobs.write("interactive.jdl", text)
    with Pty(jobs.env.argv("glogin", "-p", f"{port}:127.0.0.1"), jobs.env.client_env()) as user:
        jobs.grid("i2g-job-submit", "interactive.jdl")
        assert user.wait() == 0
        said = bytes(user.seen).decode()
    numbers = sorted(int(n) for n in re.findall(r"process (\d+) of 11: all is well", said))
    assert numbers == list(range(11))


# ------------------------------------------------------------------------------ around the program


def test_the_scripts_around_the_program_and_its_words_as_they_were_written(jobs: Jobs) -> None:
    jobs.write("pro.sh", '#!/bin/sh\necho "$# $2" > made\n')  # no permission to be executed
    jobs.write("epi.sh", "#!/bin/sh\ncp out from-epilogue\n")
    jobs.write("in.txt", "input\n")
    ident = jobs.submit(r"""
        Executable = "/bin/sh"; StdOutput = "out"; StdError = "err"; StdInput = "in.txt";
        Arguments = "-c 'cat made -; printf \"%s|\" \"$@\"; pwd >&2' x \"two  words\" 'a \"q\"' b\\ c $HOME";
        Prologue = "pro.sh"; PrologueArguments = "p1 'p 2'"; Epilogue = "epi.sh";
        Environment = {"HOME=/my home"};
        InputSandbox = {"pro.sh", "epi.sh", "in.txt"}; OutputSandbox = {"out", "err", "from-epilogue"};
        """, "--wait")  # fmt: skip
    got = jobs.fetched(ident)
    out = (got / "out").read_text()
    assert out.startswith('2 p 2\ninput\ntwo  words|a "q"|b c|')
    assert (got / "from-epilogue").read_text() == out
    assert f"gshell-{ident}.0-" in (got / "err").read_text()


def test_what_goes_wrong_around_the_program_is_said(jobs: Jobs) -> None:
    done = jobs.do("submit", "--wait", jobs.write("a.jdl", """
        Executable = "/bin/true"; Prologue = "/bin/sh"; PrologueArguments = "-c 'echo no space; exit 4'";
        OutputSandbox = {"out"};"""))  # fmt: skip
    assert done.returncode == 4
    assert b"prologue failed with error 4" in done.stderr
    ident = done.stdout.decode().split()[-1]
    assert "no space" in jobs.well("logs", ident)
    assert "Aborted\n" in jobs.grid("i2g-job-status", ident)
    done = jobs.do("fetch", ident)
    assert b"the job left no out" in done.stderr
    done = jobs.do("submit", jobs.write("b.jdl", 'Executable = "x"; InputSandbox = {"x", "d"};'))
    assert done.returncode == 2
    assert done.stderr.startswith(b"gshell: b.jdl:1:34: InputSandbox: there is no file x here\n")


def test_a_large_file_and_many_small_ones_go_and_come_back(jobs: Jobs) -> None:
    big = os.urandom(1 << 20) * 64
    (jobs.folder / "big.bin").write_bytes(big)
    (jobs.folder / "many").mkdir()
    for number in range(300):
        (jobs.folder / f"many/f{number}").write_text(f"{number}\n")
    ident = jobs.submit("""
        Executable = "/bin/sh"; InputSandbox = {"big.bin", "many/f*"};
        Arguments = "-c 'mkdir d && cp f* d && mv big.bin back.bin'";
        OutputSandbox = {"back.bin", "d/*", "not-there"};""", "--wait")  # fmt: skip
    (output,) = jobs.job(ident)["outputs"]
    assert (output["files"], output["missing"]) == (301, ["not-there"])
    got = jobs.fetched(ident)
    assert hashlib.sha256((got / "back.bin").read_bytes()).digest() == hashlib.sha256(big).digest()
    assert sorted(int(p.read_text()) for p in (got / "d").iterdir()) == list(range(300))
    depot = jobs.env.state / "depot/tester"
    jobs.well("forget", ident)
    until(lambda: not below(depot, "back.bin"), "its files to be removed from the depot")


def test_files_are_looked_at_while_the_job_runs(jobs: Jobs) -> None:
    ident = jobs.submit("""
        Executable = "/bin/sh"; StdOutput = "out"; OutputSandbox = "out";
        PerusalFileEnable = true; PerusalTimeInterval = 5;
        Arguments = "-c 'echo first; while [ ! -e go ]; do sleep 0.1; done; echo last'";""")
    jobs.until(ident, "ACTIVE")
    now = jobs.folder / "now"

    def slices() -> list[Path]:
        done = jobs.do("fetch", "--now", ident, "--dir", str(now))
        assert done.returncode == 0, done.stderr
        return sorted(now.glob(".perusal/out.*"))

    (only,) = until(slices, "a slice")
    assert only.read_text() == "first\n"
    jobs.write("go", "")
    jobs.well("put", "go", f"{ident}:go")
    jobs.until(ident, "COMPLETED")
    assert (jobs.fetched(ident) / "out").read_text() == "first\nlast\n"


def test_jobs_of_a_dag_run_in_their_order(jobs: Jobs) -> None:
    mark = f"date +%s.%N >> {jobs.folder}/$0"
    ad = f"""[ Executable = "/bin/sh"; Arguments = "-c '{mark}; sleep 0.3; {mark}' NAME"; ]"""
    nodes = "".join(f"{n} = [ Description = {ad.replace('NAME', n)}; ];" for n in "abcd")
    order = "Dependencies = { { a, {b, c} }, { {b, c}, d } };"
    text = f'[ Type = "DAG"; Nodes = [ {nodes} {order} ]; ]'
    jobs.well("submit", "--wait", "-q", jobs.write("dag.jdl", text))
    times = {name: [float(x) for x in (jobs.folder / name).read_text().split()] for name in "abcd"}
    assert times["a"][1] < min(times["b"][0], times["c"][0])
    assert max(times["b"][1], times["c"][1]) < times["d"][0]


def test_what_comes_after_a_node_that_failed_does_not_run(jobs: Jobs) -> None:
    text = """[ Type = "DAG"; Nodes = [
        a = [ Description = [ Executable = "/bin/false"; ]; ];
        b = [ Description = [ Executable = "/bin/true"; ]; ];
        Dependencies = { {a, b} }; ]; ]"""
    done = jobs.do("submit", "--wait", jobs.write("dag.jdl", text))
    assert done.returncode == 125
    _, second = done.stdout.decode().split()
    found = jobs.job(second)
    assert found["state"] == "CANCELED"
    assert "failed" in found["error"]


# ------------------------------------------------------------------------------------------ cancel


def test_cancel_ends_a_job_in_whatever_state_it_is(jobs: Jobs) -> None:
    """Waiting, in its prologue, running, in its epilogue."""
    mark = str(jobs.folder / "ran")
    script = 'Executable = "/bin/sh"; Arguments = "-c \'echo >> %s; sleep %s\'";'
    nap = f"300.{os.getpid()}"  # nobody else's
    sleeping = f'%s = "/bin/sleep"; %sArguments = "{nap}";'
    quick, long = script % (mark, 0), script % (mark, nap)
    for text, state, phase, ran in (
        (quick + "Requirements = other.cpus > 99999;", "QUEUED", "", False),
        (quick + sleeping % (("Prologue",) * 2), "HELD", "prologue", False),
        (long, "ACTIVE", "", True),
        (quick + sleeping % (("Epilogue",) * 2), "ACTIVE", "epilogue", True),
    ):
        ident = jobs.submit(text)
        jobs.until(ident, state, phase=phase)
        if ran:
            until(lambda: os.path.exists(mark), "it to run")
        jobs.grid("i2g-job-cancel", "--noint", ident)
        jobs.until(ident, "CANCELED")
        assert "Cancelled\n" in jobs.grid("i2g-job-status", ident)
        assert os.path.exists(mark) == ran, state
        if ran:
            os.unlink(mark)
        until(lambda: not running(nap), "its processes to end")
        done = jobs.do("grid", "i2g-job-cancel", "--noint", ident)
        assert done.returncode == 1
        assert f"job {ident} has ended".encode() in done.stderr


def running(word: str) -> list[str]:
    """Processes with this argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            found.append(path.parent.name)
    return found


# ------------------------------------------------------------------------------- agents that die


@pytest.fixture
def dying(alone_jobs: Jobs) -> Dying:
    return Dying(alone_jobs)


class Dying:
    """Jobs whose prologue and program wait for a file; agents that are killed meanwhile."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.invite = jobs.env.start_relay()
        self.count = 0

    def agent(self) -> int:
        """The process that runs jobs."""
        self.count += 1
        self.jobs.env.start_agent(f"a{self.count}", self.invite)
        return int(self.jobs.env.agents()[-1]["pid"])

    def submit(self, more: str) -> str:
        folder = self.jobs.folder
        wait = f"echo $0 >> {folder}/said; while [ ! -e {folder}/$0.go ]; do sleep 0.05; done"
        self.jobs.write("wait.sh", wait.replace("$0", "$1"))
        return self.jobs.submit(f"""
            Executable = "/bin/sh"; Arguments = "wait.sh program"; InputSandbox = "wait.sh";
            Prologue = "/bin/sh"; PrologueArguments = "wait.sh prologue"; {more}""")

    def let(self, phase: str) -> None:
        (self.jobs.folder / f"{phase}.go").touch()

    def said(self) -> list[str]:
        path = self.jobs.folder / "said"
        return path.read_text().split() if path.exists() else []

    def kill(self, pid: int, seen: list[str]) -> None:
        until(lambda: self.said() == seen, f"{seen}", show=lambda: f"{self.said()}")
        os.kill(pid, signal.SIGKILL)


def test_before_the_token_a_dead_agent_costs_no_retry_after_it_one(dying: Dying) -> None:
    jobs = dying.jobs
    first = dying.agent()
    ident = dying.submit("RetryCount = 1;")
    dying.kill(first, ["prologue"])
    until(lambda: jobs.job(ident)["state"] == "QUEUED", "it to wait again")
    second = dying.agent()
    dying.let("prologue")
    dying.kill(second, ["prologue", "prologue", "program"])
    until(lambda: jobs.job(ident)["retries"] == 1, "it to be retried")
    assert "agent died" in jobs.grid("i2g-job-status", ident)
    dying.agent()
    dying.let("program")
    jobs.until(ident, "COMPLETED")
    assert dying.said() == ["prologue", "prologue", "program", "prologue", "program"]
    assert re.search(r"Resubmissions: +1\n", jobs.grid("i2g-job-status", ident))


def test_after_the_token_a_shallow_retry_is_none(dying: Dying) -> None:
    first = dying.agent()
    ident = dying.submit("ShallowRetryCount = 3;")
    dying.let("prologue")
    dying.kill(first, ["prologue", "program"])
    found = dying.jobs.until(ident, "FAILED")
    assert found["error"] == "attempt 1 of 4: agent died"
    assert dying.said() == ["prologue", "program"]


def test_a_relay_that_restarts_meanwhile_finds_the_job_in_its_prologue(dying: Dying) -> None:
    jobs = dying.jobs
    dying.agent()
    ident = dying.submit('StdOutput = "out"; OutputSandbox = "out";')
    jobs.until(ident, "STAGE_IN", phase="prologue")
    state = str(jobs.env.state)
    jobs.well("relay", "stop", "--state", state)
    jobs.well("relay", "start", "--listen", jobs.env.address, "--state", state)
    jobs.until(ident, "STAGE_IN", phase="prologue")
    dying.let("prologue")
    dying.let("program")
    jobs.until(ident, "COMPLETED")
    assert dying.said() == ["prologue", "program"]
