"""Real programs on real pipes and terminals: what surrounds them, signals, ends and failures."""

import errno
import fcntl
import os
import select
import signal
import subprocess
import sys
import time

import pytest

from gshell.agent import spawn as module
from gshell.agent.spawn import Child, Exit, SpawnSpec, spawn
from gshell.errors import SpawnFailed
from kit.procs import until

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
PATIENCE_S = 20.0
GLIBC_INTERNAL = (
    0b11 << 31
)  # signals 32 and 33: its posix_spawn leaves them ignored, they're its own


@pytest.fixture
def start():
    """Spawns, and sees to it that nothing is left: no process, no descriptor."""
    module.prepare()
    before = set(os.listdir("/proc/self/fd"))
    children = []

    def start(*argv: str, **more) -> Child:
        child = spawn(SpawnSpec(list(argv), **{"env": ENV, **more}))
        children.append(child)
        return child

    yield start
    for child in children:
        child.signal(signal.SIGKILL)
        until(child.reap, "the program's end")
        child.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def sh(start, script: str, **more):
    return start("sh", "-c", script, **more)


def read_some(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError as error:
        if error.errno != errno.EIO:  # that is how a terminal's output ends
            raise
        return b""


def read_until(child: Child, wanted: bytes = b"", fd: int = -1) -> bytes:
    """Output up to ``wanted``; to its end if nothing is."""
    fd = child.stdout if fd < 0 else fd
    out, deadline = b"", time.monotonic() + PATIENCE_S
    while not wanted or wanted not in out:
        assert select.select([fd], [], [], max(0, deadline - time.monotonic()))[0], out
        data = read_some(fd)
        if not data:
            assert not wanted, out
            return out
        out += data
    return out


def ended(child: Child) -> Exit:
    assert select.select([child.pidfd], [], [], PATIENCE_S)[0]
    end = child.reap()
    assert end is not None
    return end


def output_of(start, script: str, **more) -> str:
    child = sh(start, script, **more)
    assert ended(child) == Exit(0, None, False)
    return read_until(child).decode().replace("\r\n", "\n").rstrip("\n")


# -------------------------------------------------------------------------------------------- pipes


def test_out_and_err_are_two_streams_and_the_code_is_told(start):
    child = sh(start, "echo out; echo err >&2; exit 3")
    assert (read_until(child), read_until(child, fd=child.stderr)) == (b"out\n", b"err\n")
    assert ended(child) == child.reap() == Exit(3, None, False)


def test_the_end_of_input_reaches_the_program_and_output_goes_on(start):
    child = sh(start, "cat; echo more")
    os.write(child.stdin, b"typed\n")
    child.close_stdin()
    assert read_until(child) == b"typed\nmore\n"


def test_null_is_the_end_of_input_at_once(start):
    child = start("cat", stdin="null")
    assert child.stdin == -1
    assert ended(child).code == 0


def test_our_ends_do_not_block_theirs_do_and_the_pipes_are_wide(start):
    child = start("cat")
    with pytest.raises(BlockingIOError):
        os.read(child.stdout, 1)
    assert os.write(child.stdin, bytes(1 << 17)) == 1 << 16  # and no waiting for room
    for fd in (0, 1, 2):
        with open(f"/proc/{child.pid}/fdinfo/{fd}") as file:
            flags = int(file.read().split("flags:")[1].split()[0], 8)
        assert not flags & os.O_NONBLOCK
    assert fcntl.fcntl(child.stdout, 1032) == 1 << 20  # F_GETPIPE_SZ


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, 137)])
def test_a_signal_reaches_the_whole_group(start, number, status):
    child = sh(start, "sleep 1000 & echo ready; wait")
    read_until(child, b"ready")
    assert child.signal(number)
    assert ended(child) == Exit(status, number, False)
    assert read_until(child) == b""  # the sleep that held the pipe has ended too


def test_a_core_dump_is_told(start, tmp_path):
    child = sh(start, "ulimit -c unlimited; kill -SEGV $$", cwd=str(tmp_path))
    assert ended(child) in [Exit(139, signal.SIGSEGV, dumped) for dumped in (True, False)]


def test_nothing_is_signalled_after_reaping(start, monkeypatch):
    child = start("true")
    ended(child)
    monkeypatch.setattr(os, "killpg", lambda *args: pytest.fail("signalled"))
    assert not child.signal(signal.SIGTERM)
    assert child.foreground() == 0


def test_without_pidfd_one_asks_now_and_then(start, monkeypatch):
    def missing(pid):
        raise OSError(errno.ENOSYS, "")

    monkeypatch.setattr(os, "pidfd_open", missing)
    child = sh(start, "exit 5")
    assert child.pidfd == -1
    assert until(child.reap, "its end") == Exit(5, None, False)


# ------------------------------------------------------------------------------------- surroundings


@pytest.mark.parametrize("pty", [None, (24, 80)])
def test_the_program_has_three_descriptors_and_no_more(start, pty):
    child = start("sleep", "1000", pty=pty)
    # We go on in the middle of the exec: some of ours are closed a moment later.
    until(
        lambda: sorted(os.listdir(f"/proc/{child.pid}/fd")) == ["0", "1", "2"], "0, 1 and 2 alone"
    )


IN_A_BAD_PLACE = """
import os, signal, sys
from gshell.agent.spawn import SpawnSpec, spawn
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTTOU, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for fd in (0, 1):
    os.close(fd)
script = "exec >%s; grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/$$/fd; exit 6"
for pty in (None, (5, 5)):
    child = spawn(SpawnSpec(["sh", "-c", script % sys.argv[1]], dict(os.environ), pty=pty))
    while child.reap() is None:
        pass
    assert child.exit.code == 6, child.exit
    assert [min(fd, 3) for fd in (child.stdout, child.stdin)] == [3, 3]
    with open(sys.argv[1]) as file:
        sys.stderr.write(file.read())
"""


def test_an_agent_in_a_bad_place_hands_nothing_of_it_on(tmp_path):
    # Started with `&` by a shell, by nohup, by a batch system that leaks its files.
    reads, writes = os.pipe()
    argv = [sys.executable, "-c", IN_A_BAD_PLACE, str(tmp_path / "found")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(argv, stderr=subprocess.PIPE, text=True, env=env, pass_fds=[reads, writes])
    os.close(reads)
    os.close(writes)
    assert ran.returncode == 0, ran.stderr
    words = ran.stderr.split()
    masks = [int(words[i + 1], 16) for i, word in enumerate(words) if word.endswith(":")]
    assert [mask & ~GLIBC_INTERNAL for mask in masks] == [0, 0, 0, 0]
    assert [word for word in words if word.isdigit() and len(word) < 16] == ["0", "1", "2"] * 2


def test_directory_and_umask_are_the_program_s_and_ours_are_ours_again(start, tmp_path):
    before = os.getcwd(), os.umask(0o22)
    found = output_of(start, "pwd; echo $PWD; umask", cwd=str(tmp_path), umask=0o27)
    assert found.split() == [str(tmp_path), str(tmp_path), "0027"]
    assert (os.getcwd(), os.umask(before[1])) == (before[0], 0o22)


def test_the_environment_is_exactly_the_given_one(start):
    child = start("env", env={"A": "1\n2", "PATH": "/bin:/usr/bin", "B": "\udcff"})
    assert read_until(child) == b"A=1\n2\nPATH=/bin:/usr/bin\nB=\xff\n"


def test_what_is_secret_of_ours_is_dropped_and_the_user_s_is_not(start, monkeypatch):
    monkeypatch.setenv("GSHELL_TICKET", "ours")
    monkeypatch.setenv("GSHELL_HOME", "ours")
    env = {**ENV, "GSHELL_TICKET": "ours", "GSHELL_HOME": "theirs"}
    assert output_of(start, "echo $GSHELL_TICKET.$GSHELL_HOME", env=env) == ".theirs"


def test_a_limit_that_we_raised_for_ourselves_is_the_user_s_again(tmp_path):
    script = (
        "import resource, sys; from gshell.agent.spawn import *\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n"
        "child = spawn(SpawnSpec(['sh', '-c', 'exit $(ulimit -n)'], dict(os.environ)))\n"
        "while child.reap() is None: pass\n"
        "assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard\n"
        "sys.exit(child.exit.code)"
    )
    argv = ["sh", "-c", 'ulimit -Sn 77; exec "$@"', "sh", sys.executable, "-c", script]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(argv, env=env).returncode == 77


# ---------------------------------------------------------------------------------------- terminals


def test_a_program_on_a_terminal_is_in_charge_of_it(start):
    script = "tty; ps -o pid=,sid=,tpgid= -p $$; echo via-tty >/dev/tty"
    child = sh(start, script, pty=(24, 80))
    out = read_until(child, b"via-tty\r\n").decode().split()
    assert out[0].startswith("/dev/pts/")
    assert out[1:4] == [str(child.pid)] * 3
    assert (child.stdin, child.stderr) == (child.stdout, -1)


@pytest.mark.parametrize(
    ("size", "seen"),
    [((40, 120), "40 120"), ((0, 0), "24 80"), ((1, 1), "1 1"), ((500, 99_999), "500 65535")],
)
def test_the_size_is_right_from_the_first_instruction_on(start, size, seen):
    assert output_of(start, "stty size", pty=size) == seen


@pytest.mark.parametrize(
    ("env", "mode"),
    [
        ({"LANG": "de_DE.UTF-8"}, "iutf8"),
        ({"LC_ALL": "C", "LANG": "C.utf8"}, "-iutf8"),
        ({}, "-iutf8"),
    ],
)
def test_erase_takes_a_character_where_the_locale_has_wide_ones(start, env, mode):
    modes = output_of(start, "stty -a", pty=(24, 80), env={"PATH": ENV["PATH"], **env})
    assert mode in modes.replace(";", " ").split()


def test_a_new_size_is_told_and_the_old_one_is_not(start):
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"
    child = sh(start, script, pty=(24, 80))
    read_until(child, b"ready\r\n")
    child.resize(24, 80)
    child.resize(30, 90)
    assert read_until(child, b"30 90").count(b"24 80") == 0
    assert child.signal(signal.SIGWINCH)
    read_until(child, b"30 90")


def test_terminal_signals_reach_the_job_in_front_and_others_the_shell(start):
    child = start("bash", "--norc", "-i", pty=(24, 80), env={**ENV, "PS1": "P>", "TERM": "dumb"})
    os.write(child.stdin, b"trap 'echo to-\"\"shell' USR1; sh -c 'echo in-\"\"front; read x'\n")
    read_until(child, b"in-front\r\n")
    job = child.foreground()
    assert job not in (0, child.pid)
    assert child.signal(signal.SIGTSTP)
    read_until(child, b"Stopped")
    assert until(lambda: child.foreground() == child.pid, "the shell in front")
    os.write(child.stdin, b"fg\n")
    until(lambda: child.foreground() == job, "the job in front")
    assert child.signal(signal.SIGUSR1)
    assert child.signal(signal.SIGINT)
    read_until(child, b"to-shell")
    os.write(child.stdin, b"exit 8\n")
    assert ended(child).code in (8, 130)


def test_killing_takes_the_job_in_front_along(start):
    child = start("bash", "--norc", "-i", pty=(24, 80), env={**ENV, "PS1": "P>", "TERM": "dumb"})
    os.write(
        child.stdin, b'sh -c \'trap "" HUP INT TERM; echo in-""front; while :; do sleep 1; done\'\n'
    )
    read_until(child, b"in-front\r\n")
    child.signal(signal.SIGKILL)
    assert ended(child).signal == signal.SIGKILL
    read_until(child)


def test_a_group_that_took_over_a_number_is_not_signalled(start, monkeypatch):
    child = sh(start, "echo ready; sleep 1000", pty=(24, 80))
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as other:
        monkeypatch.setattr(Child, "foreground", lambda self: other.pid)
        assert not child.signal(signal.SIGWINCH)
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("size", [1, 3000, 100_000])
def test_the_last_output_comes_before_the_end_however_late_one_reads(start, size):
    child = sh(start, f"head -c {size} /dev/zero | tr '\\0' x; exit 7", pty=(24, 80))
    out = b""
    while len(out) < size:  # the kernel's buffer is smaller: some must be read before the end
        out += read_until(child, b"x")
    assert ended(child).code == 7
    assert out + read_until(child) == b"x" * size


def test_a_program_may_leave_its_terminal_and_come_back(start):
    script = "exec 3>/dev/tty; exec </dev/null >/dev/null 2>&1 3>&-; sleep 0.1; echo late >/dev/tty"
    child = sh(start, script, pty=(24, 80))
    assert read_until(child, b"late\r\n") == b"late\r\n"
    ended(child)
    assert read_until(child) == b""


def test_closing_hangs_up(start):
    child = sh(start, "echo ready; sleep 1000", pty=(24, 80))
    read_until(child, b"ready")
    child.close()
    assert until(child.reap, "its end").signal == signal.SIGHUP


# ----------------------------------------------------------------------------------------- failures


def executable(path, text: bytes, mode: int = 0o755) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("pty", [None, (24, 80)])
@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("nonsense", 127, "nonsense: command not found"),
        ("", 127, ": command not found"),
        ("./nonsense", 127, "./nonsense: No such file or directory"),
        ("./plain/x", 127, "./plain/x: Not a directory"),
        ("./plain", 126, "./plain: Permission denied"),
        ("plain", 126, "plain: Permission denied"),
        ("/", 126, "/: Is a directory"),
        ("./orphan", 126, "./orphan: its interpreter or loader does not exist"),
        ("./binary", 126, "./binary: cannot execute binary file"),
        ("nul\0", 127, "nul\0: command not found"),
    ],
)
def test_a_failure_says_what_a_shell_would(start, tmp_path, name, code, message, pty):
    executable(tmp_path / "plain", b"", 0o644)
    executable(tmp_path / "orphan", b"#!/no/such/interpreter\n")
    executable(tmp_path / "binary", b"\x7fELF\0\0\0rubbish\n")
    env = {**ENV, "PATH": f"{ENV['PATH']}:{tmp_path}"}
    with pytest.raises(SpawnFailed) as failed:
        start(name, cwd=str(tmp_path), env=env, pty=pty)
    assert (failed.value.exit_code, failed.value.message) == (code, message)


@pytest.mark.parametrize("where", ["missing", "file", "nul\0"])
def test_a_directory_that_is_none_is_named(start, tmp_path, where):
    (tmp_path / "file").touch()
    before = os.getcwd()
    with pytest.raises(SpawnFailed, match="working directory") as failed:
        start("true", cwd=str(tmp_path / where))
    assert failed.value.exit_code == 126
    assert str(tmp_path / where) in failed.value.message
    assert os.getcwd() == before


@pytest.mark.parametrize("more", [{"env": {"A": "\0"}}, {"env": {"A=B": "x", **ENV}}])
def test_an_impossible_environment_is_no_crash(start, more):
    with pytest.raises(SpawnFailed, match="cannot be started"):
        start("/bin/true", **more)


def test_too_many_arguments_are_no_crash(start):
    with pytest.raises(SpawnFailed, match="Argument list too long"):
        start("true", *["x" * 100_000] * 100)


def take_all(taken: list[int]) -> None:
    try:
        while True:
            taken.append(os.dup(0))
    except OSError as error:
        assert error.errno == errno.EMFILE  # noqa: PT017 - the loop must have run


@pytest.mark.parametrize(
    ("spare", "pty"),
    [(0, None), (1, None), (2, None), (5, None), (6, None), (1, (24, 80)), (2, (24, 80))],
)
def test_no_descriptors_left_is_no_crash_and_leaks_none(start, spare, pty):
    taken: list[int] = []
    try:
        take_all(taken)
        for _ in range(spare):
            os.close(taken.pop())
        with pytest.raises(SpawnFailed, match="Too many open files"):
            start("true", pty=pty)
        taken += [os.dup(0) for _ in range(spare)]
    finally:
        for fd in taken:
            os.close(fd)


# ------------------------------------------------------------------------------------------ finding


def test_relative_places_on_the_path_are_seen_from_the_program_s_directory(start, tmp_path):
    executable(tmp_path / "tools" / "hello", b"#!/bin/sh\necho hello from $0\n")
    for path in ("tools", "/nowhere:tools:", ".//tools"):
        child = start("hello", cwd=str(tmp_path), env={"PATH": path})
        assert read_until(child).startswith(b"hello from")
    assert read_until(start("./hello", cwd=str(tmp_path / "tools"))).startswith(b"hello from")


def test_an_empty_place_on_the_path_is_the_directory_itself(start, tmp_path):
    executable(tmp_path / "hello", b"#!/bin/sh\necho hello\n")
    assert (
        read_until(start("hello", cwd=str(tmp_path), env={"PATH": "/nowhere::/bin"})) == b"hello\n"
    )


def test_without_a_path_there_is_the_system_s(start):
    assert ended(start("true", env={})) == Exit(0, None, False)


def test_what_may_not_be_executed_is_passed_over(start, tmp_path):
    executable(tmp_path / "first" / "hello", b"", 0o644)
    (tmp_path / "second" / "hello").mkdir(parents=True)
    executable(tmp_path / "third" / "hello", b"#!/bin/sh\necho third\n")
    path = ":".join(str(tmp_path / part) for part in ("first", "second", "third"))
    assert read_until(start("hello", env={"PATH": path})) == b"third\n"


@pytest.mark.parametrize("name", ["script", "-script", ""])
def test_a_script_that_names_no_interpreter_is_the_shell_s(start, tmp_path, name):
    if name:
        executable(tmp_path / name, b'echo "$1, $2"\n')
        child = start(name, "a b", "c", cwd=str(tmp_path), env={"PATH": ":/bin"})
        assert read_until(child) == b"a b, c\n"
    else:
        executable(tmp_path / "empty", b"")
        assert ended(start("./empty", cwd=str(tmp_path))).code == 0
