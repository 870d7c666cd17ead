"""Stock OpenSSH at the relay's door: what works with another machine works with a job's node."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.ports import free_port
from kit.procs import Env, until
from kit.pty import Pty

pytestmark = [
    pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH's client is not installed"),
    pytest.mark.timeout(120),
]
MIB = 1 << 20
JUMP = ("-J", "gshell-relay")
TIMEOUT_S = 60.0


class Door:
    """A relay, an agent, a job of it, and a user with OpenSSH's client."""

    def __init__(self, env: Env) -> None:
        self.env = env
        invite = env.start_relay()
        env.start_agent("one", invite)
        done = env.gshell("run", "--detach", "--", "sleep", "10000", cwd=env.root)
        assert done.returncode == 0, done.stderr.decode() + env.logs()
        self.job = done.stdout.decode().split()[0]
        self.host = f"job{self.job}"
        until(lambda: env.jobs()[0]["state"] == "ACTIVE", "the job to run", show=env.logs)
        done = env.gshell("ssh-config")
        assert done.returncode == 0, done.stderr.decode() + env.logs()
        self.config = env.home / "config" / "ssh" / "config"

    def argv(self, *words: str, program: str = "ssh") -> list[str]:
        return [program, "-F", str(self.config), "-o", "ConnectTimeout=30", *words]

    def ssh(self, *words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
        more.setdefault("stdin", subprocess.DEVNULL) if "input" not in more else None
        argv = self.argv(*words, program=more.pop("program", "ssh"))
        return subprocess.run(
            argv, capture_output=True, timeout=TIMEOUT_S, env=self.env.env, check=False, **more
        )

    def popen(self, *words: str, **more: Any) -> subprocess.Popen[bytes]:
        for name in ("stdin", "stdout", "stderr"):
            more.setdefault(name, subprocess.PIPE)
        return subprocess.Popen(self.argv(*words), env=self.env.env, **more)

    def said(self, done: subprocess.CompletedProcess[bytes]) -> str:
        return f"{done.returncode} {done.stdout!r} {done.stderr.decode()}\n{self.env.logs()}"


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    env = Env()
    try:
        yield Door(env)
    finally:
        env.close()


@pytest.fixture(params=["proxy", "jump"])
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Over `gshell proxy`, and by way of the relay's SSH server."""
    return JUMP if request.param == "jump" else ()


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# ---------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize(("way", "code"), [((), 9), (JUMP, 44)], ids=["proxy", "jump"])
def test_a_command_s_exit_code_and_both_its_streams_arrive(
    door: Door, way: tuple[str, ...], code: int
) -> None:
    done = door.ssh(*way, door.host, f"echo out; echo err >&2; exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, b"out\n", b"err\n"), door.said(
        done
    )


def test_it_runs_beside_the_job_in_its_directory(door: Door) -> None:
    done = door.ssh(door.host, 'pwd; echo "$GSHELL_JOB"; readlink /proc/$GSHELL_BESIDE_PID/exe')
    where, job, exe = done.stdout.decode().splitlines()
    assert (where, job) == (str(door.env.root), door.job)
    assert exe.endswith(("sleep", "coreutils", "busybox"))


def test_a_member_and_an_agent_have_names_too(door: Door) -> None:
    agent = door.env.agents()[0]["id"]
    for host in (f"{door.host}.0", f"{agent}.gshell"):
        done = door.ssh(host, "echo here")
        assert done.stdout == b"here\n", door.said(done)


def test_the_key_of_an_agent_that_got_a_new_job_is_certified_for_that_one_too(door: Door) -> None:
    done = door.env.gshell("run", "--detach", "--", "sleep", "10000")
    job = done.stdout.decode().split()[0]
    try:
        done = door.ssh(f"job{job}", "echo $GSHELL_JOB")
        assert done.stdout.decode().split() == [job], door.said(done)
    finally:
        door.env.gshell("cancel", job)


def test_eight_megabytes_pass_unchanged_both_ways(door: Door, way: tuple[str, ...]) -> None:
    data = noise(8 * MIB)
    done = door.ssh(*way, door.host, "cat", input=data)
    assert done.returncode == 0, door.said(done)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_much_on_both_streams_is_drained_before_the_exit_status(door: Door) -> None:
    script = "head -c 2000000 /dev/zero >&2; head -c 1000000 /dev/zero; exit 5"
    for _ in range(2):  # the last million fits into its pipe: the program ends before it is read
        done = door.ssh(door.host, script)
        assert (done.returncode, len(done.stdout), len(done.stderr)) == (5, 1000000, 2000000)


def test_the_end_of_stdin_is_told_and_the_answer_still_comes(door: Door) -> None:
    done = door.ssh(door.host, "wc -c; echo after", input=b"x" * 100_000)
    assert done.stdout.split() == [b"100000", b"after"], door.said(done)


def test_a_program_whose_reader_is_gone_ends(door: Door) -> None:
    with forwarding(door, door.host, "echo $$; exec yes") as one:
        assert one.stdout is not None
        pid = int(one.stdout.readline())
        one.stdout.close()
        one.stdout = None
        one.wait(TIMEOUT_S)
    until(lambda: not Path(f"/proc/{pid}").exists(), "yes to end", show=door.env.logs)


def test_signals_are_the_program_s(door: Door) -> None:
    done = door.ssh(door.host, "kill -9 $$")
    assert done.returncode == 255  # as OpenSSH says it of any server
    done = door.ssh(door.host, "trap - INT; kill -INT $$; sleep 9")
    assert done.returncode == 255, door.said(done)


def test_a_script_on_stdin_and_a_forward_to_what_it_started(door: Door) -> None:
    """As editors do it: bash reads its work from stdin, then a port of what it started is used."""
    script = f"""
        {sys.executable} -c '
import socket
one = socket.create_server(("127.0.0.1", 0))
print("port", one.getsockname()[1], flush=True)
peer, _ = one.accept()
peer.sendall(peer.recv(100).upper())
peer.close()
' &
        wait
    """
    one = door.popen("-T", door.host, "bash")
    assert one.stdin is not None
    assert one.stdout is not None
    one.stdin.write(script.encode())
    one.stdin.close()
    there = int(one.stdout.readline().split()[1])
    with forwarding(door, "-W", f"127.0.0.1:{there}", door.host) as two:
        assert two.stdin is not None
        assert two.stdout is not None
        two.stdin.write(b"hello")
        two.stdin.flush()
        assert two.stdout.read(5) == b"HELLO"
    one.wait(TIMEOUT_S)
    for stream in (one.stdout, one.stderr):
        assert stream is not None
        stream.close()


@contextlib.contextmanager
def forwarding(door: Door, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    one = door.popen(*words)
    try:
        yield one
    finally:
        one.terminate()
        one.communicate(timeout=TIMEOUT_S)


# --------------------------------------------------------------------------------------- terminals


def test_a_shell_has_a_terminal_of_the_right_kind_and_size_that_follows(door: Door) -> None:
    env = {**door.env.env, "TERM": "xterm-256color"}
    with Pty(door.argv("-t", door.host, "sh"), env, size=(31, 71)) as pty:
        pty.send(b"stty size; echo $TERM $((6*7))\n")
        pty.wait_for("31 71\r\n")
        pty.wait_for("xterm-256color 42\r\n")
        pty.resize(40, 100)
        pty.send(b"until stty size | grep -q '40 100'; do sleep 0.05; done; echo re$((1+1))sized\n")
        pty.wait_for("re2sized")
        pty.send(b"PS1='pro''mpt '\n")
        pty.wait_for("prompt ")
        # Said by the program itself: a shell that is just starting one would take the key.
        pty.send(b"sh -c 'echo sl$((1+1))ept; exec sleep 1000'\n")
        pty.wait_for("sl2ept")
        pty.send(b"\x03")  # it is the foreground's
        pty.wait_for("prompt ")
        pty.send(b"exit 7\n")
        assert pty.wait() == 7


# ------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(("way", "old"), [((), ["-O"]), (JUMP, [])], ids=["proxy-O", "jump"])
def test_scp_copies_there_and_back(
    door: Door, way: tuple[str, ...], old: list[str], tmp_path: Path
) -> None:
    source, there, back = (tmp_path / name for name in ("source", "there", "back"))
    source.write_bytes(noise(MIB))
    options = [*way, "-q", "-p", *old]
    source.chmod(0o751)
    done = door.ssh(*options, str(source), f"{door.host}:{there}", program="scp")
    assert done.returncode == 0, door.said(done)
    done = door.ssh(*options, f"{door.host}:{there}", str(back), program="scp")
    assert done.returncode == 0, door.said(done)
    assert back.read_bytes() == source.read_bytes()
    assert back.stat().st_mode & 0o777 == 0o751


def test_sftp_lists_and_moves(door: Door, tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"1234567")
    batch = f'cd {tmp_path}\nls -l\nrename "a file" other\nget other {tmp_path}/copy\nbye\n'
    done = door.ssh("-q", "-b", "-", door.host, program="sftp", input=batch.encode())
    assert done.returncode == 0, door.said(done)
    assert b"a file" in done.stdout
    assert (tmp_path / "copy").read_bytes() == b"1234567"


def test_without_an_sftp_server_on_the_node_there_is_ours(door: Door, tmp_path: Path) -> None:
    """By its own command line, as nobody can uninstall the node's for a test."""
    import gshell

    root = Path(gshell.__file__).parent.parent
    ours = tmp_path / "server"
    ours.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.append({str(root)!r})\n"
        "import gshell.sshd.sftp as m\nm.main()\n"
    )
    ours.chmod(0o700)
    (tmp_path / "here").write_bytes(noise(300_000))
    done = door.ssh(
        "-q", "-D", str(ours), str(tmp_path / "here"), f"x:{tmp_path / 'there'}", program="scp"
    )
    assert done.returncode == 0, door.said(done)
    assert (tmp_path / "there").read_bytes() == noise(300_000)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
def test_rsync_brings_a_tree(door: Door, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    for number in range(30):
        (tree / "below" / f"{number}").write_bytes(noise(number * 1000))
    shell = " ".join(door.argv())
    done = subprocess.run(
        ["rsync", "-a", "-e", shell, f"{tree}/", f"{door.host}:{tmp_path}/copy/"],
        capture_output=True, timeout=TIMEOUT_S, env=door.env.env, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode() + door.env.logs()
    for number in range(30):
        assert (tmp_path / "copy" / "below" / f"{number}").read_bytes() == noise(number * 1000)


# ---------------------------------------------------------------------------------------- forwards


class Echo:
    """Answers in capitals, on a port or a unix socket, as often as it is asked."""

    def __init__(self, where: str | None = None) -> None:
        if where is None:
            self.sock = socket.create_server(("127.0.0.1", 0))
            self.port = self.sock.getsockname()[1]
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.bind(where)
            self.sock.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.sock.accept()
                with peer:
                    peer.sendall(peer.recv(100).upper())


def asked(port: int, before: bytes = b"", answers: int = 0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        if before:
            sock.sendall(before)
            while answers:
                answers -= len(sock.recv(answers))
        sock.sendall(b"hello")
        return sock.recv(100)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 5).close()
        return True
    return False


def test_ports_and_sockets_are_forwarded_each_way(
    door: Door, way: tuple[str, ...], tmp_path: Path
) -> None:
    echo, path = Echo(), f"{door.env.root}/e{len(way)}"
    Echo(path)
    local, to_unix, dynamic, remote = (free_port() for _ in range(4))
    words = ["-N", "-L", f"{local}:127.0.0.1:{echo.port}", "-L", f"{to_unix}:{path}",
             "-D", f"{dynamic}", "-R", f"127.0.0.1:{remote}:127.0.0.1:{echo.port}"]  # fmt: skip
    with forwarding(door, *way, *words, "-o", "ExitOnForwardFailure=yes", door.host):
        for port in (local, to_unix, dynamic, remote):
            until(lambda port=port: listens(port), f"port {port}", show=door.env.logs)
        assert asked(local) == asked(to_unix) == asked(remote) == b"HELLO"
        target = b"\x7f\0\0\x01" + echo.port.to_bytes(2, "big")
        assert asked(dynamic, b"\x05\x01\x00\x05\x01\x00\x01" + target, 12) == b"HELLO"


def test_sessions_share_a_control_master(door: Door) -> None:
    path = f"{door.env.root}/cm"
    with forwarding(door, "-M", "-N", "-S", path, door.host):
        until(lambda: os.path.exists(path), "the master", show=door.env.logs)
        for number in (0, 3):
            done = door.ssh("-S", path, "-o", "ControlMaster=no", door.host, f"exit {number}")
            assert done.returncode == number, door.said(done)


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="ssh-agent is not installed")
def test_the_user_s_ssh_agent_is_used_there_only_where_that_was_asked_for(door: Door) -> None:
    path = f"{door.env.root}/agent"
    env = {**door.env.env, "SSH_AUTH_SOCK": path}
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        until(lambda: os.path.exists(path), "ssh-agent")
        key = door.config.parent / "id_gshell"
        subprocess.run(["ssh-add", "-q", str(key)], env=env, check=True, capture_output=True)

        def seen() -> bytes:
            argv = door.argv("-A", door.host, "ssh-add -l 2>&1")
            return subprocess.run(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                timeout=TIMEOUT_S, check=False,
            ).stdout  # fmt: skip

        assert b"ED25519" not in seen()
        assert door.env.gshell("ssh-config", "--forward-agent").returncode == 0
        assert b"ED25519" in seen(), door.env.logs()
    finally:
        agent.terminate()
        agent.wait()
        assert door.env.gshell("ssh-config").returncode == 0


# ---------------------------------------------------------------------------------------- refusals


def test_the_relay_leads_nowhere_but_to_jobs_and_agents(door: Door) -> None:
    for target in ("127.0.0.1:22", "example.com:80"):
        done = door.ssh("-W", target, "gshell-relay")
        assert done.returncode != 0
        assert re.search(rb"open failed: .*(nowhere else|of yours)", done.stderr), door.said(done)


def test_the_relay_runs_nothing_and_listens_for_nobody(door: Door) -> None:
    for words in (["gshell-relay", "true"], ["-s", "gshell-relay", "sftp"]):
        done = door.ssh(*words)
        assert done.returncode != 0
        assert b"this relay runs nothing" in done.stderr, door.said(done)
    words = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:1", "gshell-relay"]
    done = door.ssh(*words)
    assert done.returncode != 0
    assert b"remote port forwarding failed" in done.stderr.lower(), door.said(done)


def test_a_job_that_is_not_there_is_refused_with_a_reason(door: Door, way: tuple[str, ...]) -> None:
    done = door.ssh(*way, "job999999", "true")
    assert done.returncode == 255
    assert b"no job or agent of yours that runs has this name" in done.stderr, door.said(done)


def test_another_user_is_refused_as_if_there_were_no_such_job(
    door: Door, way: tuple[str, ...], tmp_path: Path
) -> None:
    env = door.env
    words = ["relay", "invite", "--state", str(env.state), "--user", "mallory"]
    invite = re.search(r"gshell://\S+#[\w-]+", env.gshell(*words).stdout.decode())
    assert invite is not None
    theirs = {"GSHELL_HOME": str(env.home) + "/mallory"}
    assert env.gshell("login", invite[0], env=theirs).returncode == 0
    assert env.gshell("ssh-config", env=theirs).returncode == 0
    config = f"{env.home}/mallory/config/ssh/config"
    argv = ["ssh", "-F", config, *way, door.host, "true"]
    done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, env=env.env, check=False)
    assert done.returncode == 255
    assert b"no job or agent of yours that runs has this name" in done.stderr, door.said(done)


def test_another_user_s_certificate_opens_nothing_even_where_the_way_is_open(
    door: Door, tmp_path: Path
) -> None:
    """As if a preamble of the owner's were in a stranger's hands."""
    env = door.env
    words = ["relay", "invite", "--state", str(env.state), "--user", "eve"]
    invite = re.search(r"gshell://\S+#[\w-]+", env.gshell(*words).stdout.decode())
    assert invite is not None
    theirs = {"GSHELL_HOME": str(env.home) + "/eve"}
    assert env.gshell("login", invite[0], env=theirs).returncode == 0
    assert env.gshell("ssh-config", env=theirs).returncode == 0
    folder = f"{env.home}/eve/config/ssh"
    text = door.config.read_text()
    text = re.sub(r"IdentityFile .*", f"IdentityFile {folder}/id_gshell", text)
    text = re.sub(r"CertificateFile .*", f"CertificateFile {folder}/id_gshell-cert.pub", text)
    config = tmp_path / "config"
    config.write_text(text)
    for login in ("eve", env.user):
        argv = ["ssh", "-F", str(config), "-l", login, door.host, "true"]
        done = subprocess.run(
            argv, capture_output=True, timeout=TIMEOUT_S, env=env.env, check=False
        )
        assert done.returncode == 255
        assert b"Permission denied" in done.stderr, door.said(done)


def test_who_shows_no_certificate_of_the_relay_s_is_not_let_in(door: Door, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    ca = tmp_path / "ca"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(ca)], check=True)
    user = door.env.user
    subprocess.run(
        ["ssh-keygen", "-q", "-s", str(ca), "-I", "x", "-n", f"{user},key:1", f"{key}.pub"],
        check=True,
    )
    for target in ("gshell-relay", door.host):
        for cert in ("none", f"{key}-cert.pub"):
            text = door.config.read_text()
            text = re.sub(r"IdentityFile .*", f"IdentityFile {key}", text)
            text = re.sub(r"CertificateFile .*", f"CertificateFile {cert}", text)
            config = tmp_path / "config"
            config.write_text(text)
            argv = ["ssh", "-F", str(config), target, "true"]
            done = subprocess.run(
                argv, capture_output=True, timeout=TIMEOUT_S, env=door.env.env, check=False
            )
            assert done.returncode == 255
            assert b"Permission denied" in done.stderr, door.said(done)


def test_an_agent_without_the_library_says_so_in_one_line(door: Door, tmp_path: Path) -> None:
    env = door.env
    base = os.path.realpath(sys.executable)
    probe = [base, "-I", "-c", "import asyncssh"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        pytest.skip(f"{base} has asyncssh itself")
    words = ["agent", "pack", str(tmp_path / "agent.pyz")]
    assert env.gshell(*words).returncode == 0
    invite = tmp_path / "invite"
    invite.write_text(env.invite())
    invite.chmod(0o600)
    with open(env.root / "bare.log", "wb") as log:
        env.processes["bare"] = subprocess.Popen(
            [base, "-I", "-S", str(tmp_path / "agent.pyz"), "--invite", f"@{invite}",
             "--spool", str(tmp_path), "--tag", "bare"],
            env=env.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    def bare() -> str:
        return next((one["id"] for one in env.agents() if "bare" in one["tags"]), "")

    agent = until(bare, "the agent", show=env.logs)
    for way in ((), JUMP):
        done = door.ssh(*way, f"{agent}.gshell", "true")
        assert done.returncode == 255
        assert b"no SSH server at this agent" in done.stderr, door.said(done)
        assert b"pip install asyncssh" in done.stderr
    env.processes["bare"].send_signal(signal.SIGTERM)


def test_a_revoked_key_ends_what_it_opened_and_opens_nothing_more(door: Door) -> None:
    env = door.env
    theirs = {"GSHELL_HOME": str(env.home) + "/second"}
    assert env.gshell("login", env.invite(1), env=theirs).returncode == 0
    assert env.gshell("ssh-config", env=theirs).returncode == 0
    folder = f"{env.home}/second/config/ssh"
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", f"{folder}/id_gshell-cert.pub"], capture_output=True, check=True
    )
    serial = re.search(rb"\bkey:([0-9a-f]+)", shown.stdout)
    assert serial is not None
    argv = ["ssh", "-F", f"{folder}/config"]
    open_ones = [
        subprocess.Popen(
            [*argv, *way, door.host, "echo here; exec sleep 1000"], env=env.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for way in ((), JUMP)
    ]  # fmt: skip
    for one in open_ones:
        assert one.stdout is not None
        assert one.stdout.readline() == b"here\n"
    assert env.gshell("revoke", serial[1].decode()).returncode == 0
    for one in open_ones:
        one.communicate(timeout=TIMEOUT_S)
        assert one.returncode == 255
    for way in ((), JUMP):
        done = subprocess.run(
            [*argv, *way, door.host, "true"], env=env.env, capture_output=True, timeout=TIMEOUT_S,
            check=False,
        )  # fmt: skip
        assert done.returncode == 255
        assert b"these credentials" in done.stderr, door.said(done)


# --------------------------------------------------------------------------------------- the client


def test_gshell_ssh_runs_ssh_with_all_that_it_needs(door: Door) -> None:
    done = door.env.gshell("ssh", door.job, "echo $GSHELL_JOB; exit 3")
    assert (done.returncode, done.stdout.decode().split()) == (3, [door.job]), door.said(done)
    done = door.env.gshell("ssh", door.job, "-T", "--", "cat", input=b"in")
    assert (done.returncode, done.stdout) == (0, b"in"), door.said(done)


def test_what_is_installed_is_one_line_and_leaves_no_trace(door: Door) -> None:
    home = door.env.root / "home-of-one"
    (home / ".ssh").mkdir(parents=True)
    mine = home / ".ssh" / "config"
    mine.write_text("Host x\n  Port 1\n")
    env = {"HOME": str(home)}
    for _ in range(2):
        assert door.env.gshell("ssh-config", "--install", env=env).returncode == 0
    assert mine.read_text().count("Include") == 1
    assert mine.read_text().endswith("\nHost x\n  Port 1\n")
    done = subprocess.run(
        ["ssh", "-F", str(mine), door.host, "exit 6"], env=door.env.env, capture_output=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 6, door.said(done)
    printed = subprocess.run(
        ["ssh", "-F", str(mine), "-G", "x"], env=door.env.env, capture_output=True, check=True
    ).stdout
    assert b"\nport 1\n" in printed  # the user's own still counts
    assert b"gshell" not in printed


def test_an_old_certificate_is_renewed_by_ssh_itself(door: Door) -> None:
    cert = door.config.parent / "id_gshell-cert.pub"
    before = cert.read_text()
    os.utime(cert, (0, 0))
    done = door.ssh(door.host, "true")
    assert done.returncode == 0, door.said(done)
    assert cert.read_text() != before
