"""Processes and files of another host: a real sshd on loopback."""

import contextlib
import grp
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gshell.sweep import sshopening
from gshell.sweep.actions import Remote
from gshell.sweep.copying import Get, Put
from gshell.sweep.hosts import Host
from gshell.sweep.ssh import MARK, SshProcess
from gshell.sweep.sshlines import SESSIONS, lines
from kit.procs import until
from kit.sshd import Sshd, why_missing

pytestmark = pytest.mark.skipif(bool(why_missing()), reason=why_missing() or "")
SETTINGS = ("MaxSessions 10", "LogLevel INFO")
QUIET = {"nolog_exit_code": True, "nolog_error": True, "nolog_timeout": True}


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with Sshd(tmp_path_factory.mktemp("sshd") / "s", SETTINGS) as server:
        yield server


@pytest.fixture
def host(sshd):
    return Host(
        "127.0.0.1", user=sshd.user.pw_name, keyfile=str(sshd.directory / "id"), port=sshd.port
    )


def marked(mark):
    """Who has a mark that begins so, itself or from who started it."""
    assert mark
    found = []
    for name in os.listdir("/proc"):
        for kind in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                if (
                    name.isdigit()
                    and f"{MARK}={mark}".encode() in Path("/proc", name, kind).read_bytes()
                ):
                    found.append(int(name))
    return found


@pytest.mark.parametrize("how", [{}, {"ssh": "ssh"}])
def test_streams_are_apart_and_the_code_is_its_own(host, how):
    one = SshProcess("echo out; echo err >&2; exit 3", host, how, **QUIET).run(30)
    assert (one.stdout, one.stderr, one.exit_code, one.ok) == ("out\n", "err\n", 3, False)


@pytest.mark.parametrize("how", [{}, {"ssh": "ssh"}])
def test_all_bytes_come_and_go(host, how):
    data = bytes(range(256)) * 2000
    one = SshProcess("cat", host, how).start()
    one.write(data)
    one.close_stdin()
    assert one.wait(30).stdout.encode("utf-8", "surrogateescape") == data


def test_a_host_without_sshd_ends_with_255_and_says_why():
    one = SshProcess("true", Host("127.0.0.1", port=1), **QUIET).run(30)
    assert (one.exit_code, one.ok) == (255, False)
    assert "127.0.0.1" in one.stderr


@pytest.mark.parametrize("how", [{}, {"ssh": "ssh"}])
def test_a_killed_one_ends_over_there_with_its_children(host, how):
    one = SshProcess("sleep 77 & echo $!; wait", host, how).start()
    child = int(until(lambda: one.stdout, "its child"))
    one.kill()
    assert one.wait(30).ended
    if not how:
        until(lambda: not os.path.exists(f"/proc/{child}"), "the child's end")
    else:
        os.kill(child, 9)


def test_a_time_out_ends_it_over_there(host):
    one = SshProcess("exec sleep 77", host, timeout=2.0, **QUIET).start()
    until(lambda: one._mark and marked(one._mark), "it over there")
    assert one.wait(30).timeouted
    until(lambda: not marked(one._mark), "its end")


@pytest.mark.parametrize(
    ("shell", "command"),
    [
        ("sh", "echo begun; while :; do :; done"),
        ("bash", "echo begun; (while :; do :; done) & while :; do sleep 0.1; done"),
        ("zsh", "echo begun; while :; do :; done"),
        ("tcsh", "echo begun; sleep 98; sleep 97"),
        ("fish", "echo begun; while true; true; end"),
    ],
)
def test_a_shell_that_starts_nobody_is_found_whichever_it_is(tmp_path, shell, command):
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} here")
    with Sshd(tmp_path / "s", SETTINGS, shell=path) as server:
        if server.login_shell != path:
            pytest.skip("the login's shell cannot be chosen here")
        there = Host("127.0.0.1", keyfile=str(server.directory / "id"), port=server.port)
        one = SshProcess("env | grep -c ^GSHELL_SWEEP=", there).run(30)
        assert one.stdout == "1\n"
        assert "export" not in one.stderr  # a new fish has words of its own there
        assert "setenv" not in one.stderr
        one = SshProcess(command, there).start()
        one.expect("begun", timeout=30)
        assert one.kill().wait(30).exit_code == 143
        assert not one.forced_kill
        until(lambda: not marked(one._mark), "its end")


def test_a_whole_tree_ends_whatever_its_sessions_and_environments_and_no_other(host):
    other = SshProcess("echo begun; read x; echo $x", host).start()
    tree = SshProcess(
        "setsid env -i sh -c 'sleep 96 & echo $!; wait' & setsid sleep 95 & wait", host
    ).start()
    other.expect("begun", timeout=30)
    child = int(until(lambda: tree.stdout, "a child that knows no mark"))
    tree.kill().wait(30)
    until(lambda: not os.path.exists(f"/proc/{child}"), "the child's end")
    until(lambda: not marked(tree._mark), "the end of all others")
    other.write("alive\n")
    assert other.wait(30).stdout == "begun\nalive\n"


def test_what_is_killed_while_it_begins_is_not_left_over_there(host):
    SshProcess("true", host).run(30)
    many = [SshProcess("sleep 94", host).start() for _ in range(6)]
    for one in many:
        one.kill()
    assert [one.wait(30).exit_code for one in many] == [143] * 6
    assert not any(one.forced_kill for one in many)
    until(lambda: not any(one._mark and marked(one._mark) for one in many), "their end")


def test_one_is_run_again_after_a_reset(host):
    one = SshProcess("cat", host).start()
    one.write("a")
    one.reset()
    one.start().write("b")
    one.close_stdin()
    assert (one.wait(30).stdout, one.exit_code) == ("b", 0)


def test_output_that_a_handler_is_slow_to_take_waits_over_there(host, tmp_path):
    """Instead of filling this Python's memory; and all of it comes in the end."""
    wait, got, counter = threading.Event(), [], tmp_path / "written"

    def slow(process, stream, data, eof, error):
        wait.wait()
        got.append(len(data))

    total = 40_000_000
    one = SshProcess(
        f"for n in $(seq 40); do head -c 1000000 /dev/zero; echo $n > {counter}; done",
        host,
        default_stdout_handler=False,
        stdout_handlers=[slow],
    ).start()
    until(lambda: one._paused, "it to be held up")
    assert int(counter.read_text()) < 40
    wait.set()
    assert one.wait(60).ok
    assert sum(got) == total


def guarded(owner):
    """Whether a guard waits over there for the end of ``owner``."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if (
                name.isdigit()
                and f"[P]=({owner}".encode() in Path("/proc", name, "cmdline").read_bytes()
            ):
                return True
    return False


def place(host):
    """What is known of it."""
    return next(one for key, one in lines().places.items() if host.port in key)


def test_a_terminal_that_is_refused_is_said_once_and_teaches_nothing(tmp_path):
    with Sshd(tmp_path / "s", ("PermitTTY no",)) as server:
        there = Host("127.0.0.1", keyfile=str(server.directory / "id"), port=server.port)
        one = SshProcess("true", there, pty=True, **QUIET).run(30)
        assert (one.exit_code, one.stderr) == (255, "ssh: PTY request failed\n")
        assert place(there).most == SESSIONS


def test_a_host_that_floods_loses_no_byte_and_holds_up_no_other(host, tmp_path):
    flood = SshProcess(
        "head -c 30000000 /dev/zero; echo end >&2",
        host,
        default_stdout_handler=False,
        stdout_handlers=[str(tmp_path / "flood")],
    )
    other = SshProcess("cat", host).start()
    flood.start()
    for n in range(20):
        other.write(f"{n}\n")
        assert other.expect(f"{n}\n", timeout=30)[0] == 0
    assert flood.wait(60).stderr == "end\n"
    assert (tmp_path / "flood").read_bytes() == bytes(30_000_000)
    other.close_stdin()
    assert other.wait(30).ok


def terminals_are_given() -> bool:
    """Is a new terminal of the group that sshd wants it to be of?"""
    ours, theirs = os.openpty()
    try:
        return os.fstat(theirs).st_gid == grp.getgrnam("tty").gr_gid
    finally:
        os.close(ours)
        os.close(theirs)


def servers_below(pid: int) -> list[int]:
    """The processes of its own that a server has; who has the connection depends on its rights."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().startswith("sshd"):
            found += [int(child), *servers_below(int(child))]
    return found


def test_a_terminal_over_there(host):
    if os.getuid() and not terminals_are_given():
        pytest.skip("nobody but root's sshd may give terminals to the group tty here")
    assert SshProcess("stty size; tty", host, pty=True).run(30).stdout.startswith("24 80\r\n/dev/")


def test_a_command_on_many_hosts_uses_one_connection_each(host, sshd):
    SshProcess("true", host).run(30)
    before = sshd.log().count("Accepted publickey")
    assert before
    many = Remote("echo {{{host}}} {{[n for n in range(9)]}}", [host] * 5).run(30)
    assert [one.stdout for one in many.processes] == [f"127.0.0.1 {n}\n" for n in range(5)]
    assert sshd.log().count("Accepted publickey") == before
    assert Remote("true", []).run().finished_ok


def test_files_go_there_and_come_back(host, tmp_path):
    tree = tmp_path / "a tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "x.sh").write_text("echo hi\n")
    (tree / "sub" / "x.sh").chmod(0o755)
    there = tmp_path / "there"
    there.mkdir()
    assert Put([host], [str(tree)], str(there)).run(30).finished_ok
    assert os.access(there / "a tree" / "sub" / "x.sh", os.X_OK)
    back = tmp_path / "back-{{{host}}}"
    (tmp_path / "back-127.0.0.1").mkdir()
    assert Get([host], [f"{there}/a tree/sub/*.sh"], str(back)).run(30).finished_ok
    assert (tmp_path / "back-127.0.0.1" / "x.sh").read_text() == "echo hi\n"
    missing = Get([host], ["/no/such"], str(tmp_path), process_args=QUIET).run(30)
    assert not missing.ok
    assert "/no/such" in missing.processes[0].stderr
    missing = Put([host], [str(tree), "no such"], str(there), process_args=QUIET).run(30)
    assert (missing.processes[0].exit_code, missing.processes[0].stderr) == (
        1, "no such file here: no such\n",
    )  # fmt: skip


def test_more_at_once_than_a_server_gives_one_connection(host):
    many = [SshProcess("echo x; sleep 0.3", host).start() for _ in range(30)]
    assert [one.wait(30).stdout for one in many] == ["x\n"] * 30


def test_two_connections_worth_of_work_take_no_longer_than_one(host):
    since = time.monotonic()
    Remote("sleep 1.5", [host] * 8).run(30)
    assert time.monotonic() - since < 8 * 1.5


@pytest.mark.parametrize("most", [1, 3])
def test_a_server_that_allows_few_sessions_a_connection_is_given_no_more(tmp_path, most):
    with Sshd(tmp_path / "s", (f"MaxSessions {most}", "MaxStartups 200")) as server:
        there = Host("127.0.0.1", keyfile=str(server.directory / "id"), port=server.port)
        assert SshProcess("true", there).run(30).ok  # whose place the guard may take
        many = Remote("echo begun; read x; echo $x", [there] * 12, process_args=QUIET).start()
        assert all(which == 0 for _, which, _ in many.expect("begun", timeout=30))
        for one in many.processes:  # all of them live at once, whatever was learnt meanwhile
            one.write("end\n")
        assert [one.wait(30).stdout for one in many.processes] == ["begun\nend\n"] * 12
        long = SshProcess("echo begun; sleep 99", there).start()
        long.expect("begun", timeout=30)
        assert long.kill().wait(30).exit_code == 143


def test_when_the_connection_is_cut_all_on_it_end_with_255_and_the_next_goes_well(host, sshd):
    many = Remote("echo begun; sleep 100", [host] * 5, process_args=QUIET).start()
    assert all(which == 0 for _, which, _ in many.expect("begun", timeout=30))
    for child in servers_below(sshd._process.pid):
        os.kill(child, signal.SIGKILL)
    many.wait(30)
    assert {one.exit_code for one in many.processes} == {255}
    assert "lost" in many.processes[0].stderr
    assert place(host).most == SESSIONS  # that was no refusal
    assert SshProcess("echo again", host).run(30).stdout == "again\n"


def test_of_two_connections_one_that_is_cut_ends_nothing_of_the_other(tmp_path):
    with Sshd(tmp_path / "s", SETTINGS) as server:
        there = Host("127.0.0.1", keyfile=str(server.directory / "id"), port=server.port)
        many = [SshProcess("echo begun; read x; echo $x", there, **QUIET).start() for _ in range(9)]
        for one in many:
            one.expect("begun", timeout=30)
        first, second = place(there).lines
        until(lambda: first.guard and second.guard, "their guards")
        on = {line: [one for one in many if one._mark.startswith(line.mark)]
              for line in (first, second)}  # fmt: skip
        assert [len(on[first]), len(on[second])] == [8, 1]
        lines().loop.call_soon_threadsafe(first.made.abort)
        assert {one.wait(30).exit_code for one in on[first]} == {255}
        until(lambda: not marked(first.mark), "their end over there")
        on[second][0].write("alive\n")
        assert on[second][0].wait(30).stdout == "begun\nalive\n"


CHECKED = """
import sys
from gshell.sweep import Host, SshProcess
host = Host("127.0.0.1", port=int(sys.argv[1]), keyfile=sys.argv[2])
one = SshProcess("echo hi", host, {"check_host_key": True}, nolog_exit_code=True).run()
print(one.exit_code, one.stdout, one.stderr)
"""


def test_a_host_that_is_to_be_known_is_asked_for_its_key_by_the_first_command_too(sshd, tmp_path):
    """Of a Python that has begun with the connection before it had asyncssh."""

    def first():
        argv = [sys.executable, "-c", CHECKED, str(sshd.port), str(sshd.directory / "id")]
        path = os.pathsep.join(sys.path)
        env = {**os.environ, "PYTHONPATH": path, "HOME": str(tmp_path)}
        return subprocess.run(argv, env=env, capture_output=True, text=True).stdout

    assert first().startswith("255  ssh: 127.0.0.1: Host key is not trusted")
    (tmp_path / ".ssh").mkdir()
    key = (sshd.directory / "host_key.pub").read_text()
    (tmp_path / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {key}")
    assert first().startswith("0 hi\n")
    (tmp_path / ".ssh" / "known_hosts").write_text(
        f"[127.0.0.1]:{sshd.port} {(sshd.directory / 'id.pub').read_text()}"
    )
    assert first().startswith("255")


def test_the_quickest_algorithms_are_asked_for_unless_the_configuration_names_some(
    host, tmp_path, monkeypatch
):
    usual = sshopening.quick({})
    assert usual["encryption_algs"][0] == "aes128-gcm@openssh.com"
    kex = usual["kex_algs"]
    assert kex.index("ecdh-sha2-nistp256") < kex.index("curve25519-sha256")
    assert all(  # what a quantum computer would not break comes first
        kex.index(one) < kex.index("ecdh-sha2-nistp256") for one in kex if one.startswith("mlkem")
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        f"Host slow\n  HostName 127.0.0.1\n  Ciphers aes256-ctr\n  Port {host.port}\n"
    )
    assert SshProcess("true", Host("slow", host.user, host.keyfile)).run(30).ok
    (made,) = [one.lines[0].made for key, one in lines().places.items() if key[0] == "slow"]
    assert made.get_extra_info("send_cipher") == "aes256-ctr"


LEFT = """
import sys, time
from gshell.sweep import Host, SshProcess
from gshell.sweep.ssh import OWNER
host = Host("127.0.0.1", port=int(sys.argv[1]), keyfile=sys.argv[2])
one = SshProcess("echo begun; sleep 1000", host).start()
one.expect("begun")
print(OWNER, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("most", ["10", "1"])
def test_what_a_killed_python_had_started_over_there_ends(tmp_path, most):
    """A server that has room for nobody beside it as well: the guard has a connection there."""
    with Sshd(tmp_path / "s", (f"MaxSessions {most}",)) as server:
        _start_and_kill(server)


def _start_and_kill(sshd):
    python = subprocess.Popen(
        [sys.executable, "-c", LEFT, str(sshd.port), str(sshd.directory / "id")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        owner = python.stdout.readline().strip()
        until(lambda: marked(owner), "what it starts over there")
        until(lambda: guarded(owner), "its guard")
    finally:
        python.kill()
        python.communicate()
    until(lambda: not marked(owner), "what it had started over there to end")


def test_hosts_behind_another_are_reached_through_it_with_the_same_parameters(
    host, tmp_path, monkeypatch
):
    """ProxyJump; its host's key is in no known_hosts either, and one connection is enough for it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(
        f"Host behind*\n  HostName 127.0.0.1\n  ProxyJump jump\n"
        f"Host jump\n  HostName 127.0.0.1\n  Port {host.port}\n  User {host.user}\n"
        f"  IdentityFile {host.keyfile}\n"
    )
    behind = [Host(f"behind{n}", host.user, host.keyfile, host.port) for n in range(2)]
    remote = Remote("echo ${SSH_CONNECTION%% *}", behind).run()
    assert remote.ok, remote.processes[0].stderr
    assert [one.stdout for one in remote.processes] == ["127.0.0.1\n"] * 2
    assert [jumps for jumps, _ in lines().jumps] == ["jump"]
