"""Port forwarding: fwd, and the options of run, sh and attach."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.ports import free_port
from kit.procs import Env, until
from kit.pty import Pty

PATIENCE_S = 20.0


class Server:
    """Answers each connection, once its client has ended, with what it said, backwards."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    @staticmethod
    def _answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            data = b""
            while piece := connection.recv(1 << 16):
                data += piece
            connection.sendall(data[::-1])

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self._thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def job(relay: Env) -> Iterator[str]:
    """A job's id."""
    done = relay.gshell("run", "--detach", "--", "sleep", "1000")
    number = done.stdout.decode().strip()
    assert number.isdigit(), done.stderr
    yield number
    relay.gshell("cancel", number)


class Fwd:
    """`gshell fwd`, and which ports it printed."""

    def __init__(self, env: Env, *words: str, **more: object) -> None:
        self.process = env.popen("fwd", *words, background=False, **more)  # type: ignore[arg-type]
        self.lines: list[str] = []

    def port(self) -> int:
        assert self.process.stderr is not None
        line = self.process.stderr.readline().decode()
        assert "listening" in line, line
        return int(line.rstrip("]\n").rpartition(":")[2])

    def end(self) -> str:
        self.process.terminate()
        _, err = self.process.communicate(timeout=PATIENCE_S)
        return err.decode()


def backwards(port: int, data: bytes, host: str = "localhost") -> bytes:
    with socket.create_connection((host, port), timeout=PATIENCE_S) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while piece := sock.recv(1 << 16):
            got += piece
        return got


def nobody(port: int) -> bool:
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return True
    return False


def test_l_r_and_d_of_a_job_and_nothing_is_left_of_them(
    relay: Env, job: str, server: Server
) -> None:
    there = free_port()
    fwd = Fwd(relay, job, "-L", f"0:localhost:{server.port}", "-D", "0",
              "-R", f"{there}:localhost:{server.port}")  # fmt: skip
    ports = [fwd.port(), fwd.port()]
    data = os.urandom(2_000_000)
    assert backwards(ports[0], data) == data[::-1]
    until(lambda: not nobody(there), "the listener there")
    assert backwards(there, data) == data[::-1]
    with socket.create_connection(("localhost", ports[1]), timeout=PATIENCE_S) as sock:
        sock.sendall(b"\x05\x01\x00\x05\x01\x00\x03\x09localhost" + server.port.to_bytes(2, "big"))
        sock.sendall(b"socks")
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while piece := sock.recv(100):
            got += piece
    assert got == b"\x05\x00\x05\x00\x00\x01" + bytes(6) + b"skcos"
    fwd.end()
    until(lambda: all(map(nobody, (*ports, there))), "all listeners to go")


def test_a_hundred_connections_at_once(relay: Env, job: str, server: Server) -> None:
    fwd = Fwd(relay, job, "-L", f"0:localhost:{server.port}")
    port = fwd.port()
    found: dict[int, bytes] = {}

    def one(number: int) -> None:
        found[number] = backwards(port, b"%d " % number * 5000)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert all(found[number] == (b"%d " % number * 5000)[::-1] for number in range(100))
    fwd.end()


def test_unix_sockets_at_either_end(relay: Env, job: str, server: Server, tmp_path: Path) -> None:
    path, there = tmp_path / "here.sock", tmp_path / "there.sock"
    fwd = Fwd(relay, job, "-L", f"./here.sock:localhost:{server.port}", "-R",
              f"{there}:localhost:{server.port}", cwd=tmp_path)  # fmt: skip
    for one in (path, there):
        until(one.exists, "the socket")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(one))
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(100) == b"olleh"
        assert one.stat().st_mode & 0o777 == 0o600
    fwd.end()
    until(lambda: not path.exists() and not there.exists(), "the files to go")


def test_each_listener_has_its_own_error(relay: Env, job: str, server: Server) -> None:
    fwd = Fwd(relay, job, "-L", f"{server.port}:localhost:1", "-R", f"{server.port}:localhost:1",
              "-L", f"0:localhost:{server.port}")  # fmt: skip
    assert fwd.process.stderr is not None
    said = [fwd.process.stderr.readline().decode() for _ in range(3)]
    assert sum("cannot listen: Address already in use" in line for line in said) == 1
    assert sum("cannot listen there: Address already in use" in line for line in said) == 1
    port = next(int(line.rstrip("]\n").rpartition(":")[2]) for line in said if "here at" in line)
    assert backwards(port, b"ab") == b"ba"
    fwd.end()


def test_it_ends_with_the_job(relay: Env, job: str, server: Server) -> None:
    fwd = Fwd(relay, job, "-L", f"0:localhost:{server.port}")
    port = fwd.port()
    assert backwards(port, b"ab") == b"ba"
    assert relay.gshell("cancel", job).returncode == 0
    _, err = fwd.process.communicate(timeout=PATIENCE_S)
    assert fwd.process.returncode == 0, err
    assert b"has ended" in err


def test_nobody_elses_job_and_none_that_is_not_there(relay: Env) -> None:
    done = relay.gshell("fwd", "99999", "-L", "0:localhost:1", background=False, timeout_s=30)
    assert done.returncode != 0
    assert b"gshell" in done.stderr
    assert relay.gshell("fwd", "1", background=False).returncode == 2


def test_an_option_of_run_lives_as_long_as_the_command(
    relay: Env, server: Server, background: bool
) -> None:
    port = free_port()
    run = relay.popen("run", "-L", f"{port}:localhost:{server.port}", "--", "cat",
                      background=background)  # fmt: skip
    until(lambda: not nobody(port), "the listener")
    assert backwards(port, b"abc") == b"cba"
    out, err = run.communicate(b"", timeout=PATIENCE_S)
    assert (run.returncode, out, err) == (0, b"", b"")
    until(lambda: nobody(port), "the listener to go")


def test_an_option_of_attach(relay: Env, job: str, server: Server) -> None:
    port = free_port()
    words = ["attach", job, "-L", f"{port}:localhost:{server.port}"]
    with Pty(relay.argv(*words), relay.client_env()) as pty:
        until(lambda: not nobody(port), "the listener")
        assert backwards(port, b"abc") == b"cba"
        pty.process.terminate()
    until(lambda: nobody(port), "the listener to go")


needs_x = pytest.mark.skipif(
    not all(map(shutil.which, ("Xvfb", "xauth", "xdpyinfo"))), reason="no Xvfb, xauth, xdpyinfo"
)


@needs_x
def test_a_display_there_is_the_one_here(relay: Env, background: bool, tmp_path: Path) -> None:
    real = tmp_path / "authority"
    number, tried = 77, subprocess.DEVNULL
    while os.path.exists(f"/tmp/.X11-unix/X{number}"):
        number += 1
    add = ["xauth", "-q", "-f", str(real), "add", f":{number}", ".", "00112233" * 4]
    subprocess.run(add, check=True, stderr=tried)
    here = {"DISPLAY": f":{number}", "XAUTHORITY": str(real)}
    argv = ["Xvfb", here["DISPLAY"], "-auth", str(real), "-nolisten", "tcp"]
    display = subprocess.Popen(argv, stderr=tried)
    try:
        until(lambda: os.path.exists(f"/tmp/.X11-unix/X{number}"), "the display")
        script = "echo $DISPLAY; xauth list | wc -l; xdpyinfo | grep -c 'name of display'; " \
            "XAUTHORITY=/dev/null xdpyinfo 2>&1; ls -l $XAUTHORITY; cat $XAUTHORITY"  # fmt: skip
        done = relay.gshell("run", "-X", "--", "sh", "-c", script, env=here, background=background)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.split(b"\n", 3)
        assert lines[0].startswith(b"localhost:")
        assert lines[1:3] == [b"1", b"1"]
        assert b"unable to open display" in lines[3]  # without the cookie
        assert b"-rw-------" in lines[3]
        assert bytes.fromhex("00112233" * 4) not in lines[3]  # ours never went there
    finally:
        display.terminate()
        display.wait(PATIENCE_S)


def test_without_a_display_here_there_is_none_there(relay: Env) -> None:
    env = {"DISPLAY": ""}
    done = relay.gshell("run", "-X", "--", "true", env=env, background=False)
    assert done.returncode == 2
    assert b"DISPLAY is not set" in done.stderr
