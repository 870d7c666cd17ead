"""Connections through -L and -R outlive every cut of the links that carry them."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import threading

import pytest
from fault.breaking import plans, report
from fault.lab import FULL, SEED, two_legs

from kit.procs import until

CUTS, MIB = (60, 64) if FULL else (16, 16)
PATIENCE_S = 300.0 if FULL else 60.0


def _echo(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_copy, args=(connection,), daemon=True).start()


def _copy(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def _through(port: int, data: bytes, problems: list[str]) -> None:
    try:
        with socket.create_connection(("localhost", port), timeout=PATIENCE_S) as sock:
            sender = threading.Thread(
                target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)), daemon=True
            )
            sender.start()
            got = bytearray()
            while piece := sock.recv(1 << 18):
                got += piece
            sender.join(PATIENCE_S)
        if got != data:
            problems.append(f"{len(got)} of {len(data)} bytes, or others")
    except OSError as error:
        problems.append(str(error))


@pytest.mark.timeout(PATIENCE_S + 60)
def test_connections_through_a_forwarding_survive_cuts_of_both_legs() -> None:
    data = random.Random(SEED).randbytes(MIB << 20)
    one, other = plans(SEED, CUTS, MIB << 20)
    problems: list[str] = []
    with two_legs() as lab, socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        to = f"localhost:{server.getsockname()[1]}"
        job = lab.env.gshell("run", "--detach", "--", "sleep", "1000", background=False)
        number = job.stdout.decode().strip()
        fwd = lab.env.popen("fwd", number, "-L", f"0:{to}", "-R", f"0:{to}", background=False,
                            stdin=subprocess.DEVNULL)  # fmt: skip
        assert fwd.stderr is not None
        ports = [int(fwd.stderr.readline().decode().rstrip("]\n").rpartition(":")[2]) for _ in "LR"]
        lab.clients.begin(one)
        lab.agents.begin(other)
        threads = [
            threading.Thread(target=_through, args=(port, data[:size], problems))
            for port, size in ((ports[0], MIB << 19), (ports[1], MIB << 19), (ports[0], 1000))
        ]
        for thread in threads:
            thread.start()
        until(lambda: not any(map(threading.Thread.is_alive, threads)), "all bytes", PATIENCE_S,
              lambda: lab.env.logs())  # fmt: skip
        print(report(lab, SEED))
        assert not problems
        assert sum(len(leg.cuts) for leg in lab.legs) >= CUTS // 2
        fwd.terminate()
        fwd.communicate(timeout=20)
        lab.env.gshell("cancel", number)
