"""Port forwarding beside ``ssh -L``: one bulk connection, and small round trips on another.

The server is on loopback and the same for all; what is compared is the way to it.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.lab import Lab
from bench.measure import Failed, Sample, Turn, interleaved, percentile
from bench.table import Line, against, at_least, at_most
from kit.ports import free_port

START_S = 20.0
ROUND_TRIPS = 300
MB = 1e6


class _Server:
    """``N\\n`` is answered with N zero bytes; ``0\\n`` with its own line."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    @staticmethod
    def _answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                size = int(line)
                if not size:
                    connection.sendall(line)
                block = bytes(min(size, 1 << 20))
                while size > 0:
                    connection.sendall(block[:size])
                    size -= len(block)


@contextmanager
def _listening(argv: list[str], env: dict[str, str], port: int) -> Iterator[None]:
    process = subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"{argv[0]}: does not listen") from None
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.communicate()


def _turn(port: int, size: int) -> Sample:
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = []
        for _ in range(ROUND_TRIPS):
            begun = time.perf_counter()
            sock.sendall(b"0\n")
            if sock.recv(100) != b"0\n":
                raise Failed("another answer")
            times.append(time.perf_counter() - begun)
        begun, got = time.perf_counter(), 0
        sock.sendall(b"%d\n" % size)
        buffer = bytearray(1 << 20)
        while got < size:
            count = sock.recv_into(buffer)
            if not count:
                raise Failed(f"{got} bytes of {size}")
            got += count
        elapsed = time.perf_counter() - begun
    return {"MB/s": size / MB / elapsed, "ms": percentile(times, 0.5) * 1000}


def forward(lab: Lab) -> list[Line]:
    size = 100_000_000 if lab.quick else 300_000_000
    server = _Server()

    def ours() -> Sample:
        port = free_port()
        agent = lab.gsh.agent_ids()[0]
        argv = [*lab.direct.command, "fwd", agent, "-L", f"{port}:localhost:{server.port}"]
        with _listening(argv, lab.direct.env, port):
            return _turn(port, size)

    def ssh(jump: bool) -> Sample:
        port = free_port()
        options = ("-N", "-L", f"{port}:localhost:{server.port}")
        with _listening(lab.sshd.ssh(jump=jump, options=options), lab.env, port):
            return _turn(port, size)

    turns: dict[str, Turn] = {
        "gshell": ours, "ssh -J": lambda: ssh(True), "ssh": lambda: ssh(False),
    }  # fmt: skip
    try:
        got = interleaved(turns, lab.rounds(5, 3), warm_up=False)
    finally:
        server.sock.close()
    what = "through -L"
    return [
        against("forward", f"bulk {what}", got["gshell"], got["ssh -J"], "MB/s", at_least(1)),
        against("forward", f"bulk {what}", got["gshell"], got["ssh"], "MB/s"),
        against("forward", f"round trip {what}", got["gshell"], got["ssh -J"], "ms", at_most(3)),
        against("forward", f"round trip {what}", got["gshell"], got["ssh"], "ms"),
    ]
