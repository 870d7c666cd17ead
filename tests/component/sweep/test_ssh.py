"""Processes and files of another host: a real sshd on loopback."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gshell.sweep.actions import Remote
from gshell.sweep.copying import Get, Put
from gshell.sweep.hosts import Host
from gshell.sweep.ssh import MARK, SshProcess
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
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if (
                name.isdigit()
                and f"{MARK}={mark}".encode() in Path("/proc", name, "environ").read_bytes()
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
    until(lambda: marked(one._mark), "it over there")
    assert one.wait(30).timeouted
    until(lambda: not marked(one._mark), "its end")


def test_a_terminal_over_there(host):
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
    children = Path(f"/proc/{sshd._process.pid}/task/{sshd._process.pid}/children")
    for child in children.read_text().split():
        os.kill(int(child), signal.SIGKILL)
    many.wait(30)
    assert {one.exit_code for one in many.processes} == {255}
    assert "lost" in many.processes[0].stderr
    assert SshProcess("echo again", host).run(30).stdout == "again\n"


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


def test_what_a_killed_python_had_started_over_there_ends(sshd):
    python = subprocess.Popen(
        [sys.executable, "-c", LEFT, str(sshd.port), str(sshd.directory / "id")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        owner = python.stdout.readline().strip()
        until(lambda: marked(owner), "what it starts over there")
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
    from gshell.sweep.ssh import _running

    assert [jumps for jumps, _ in _running().jumps] == ["jump"]
