"""Random bytes, each way through pipes and out of a raw pty: what arrives is what was sent.

Into a raw pty isn't tried: at a terminal the client has escape keys, and random bytes contain them.
"""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench.gsh import Client
from bench.lab import Lab
from bench.measure import Failed, brief, tail
from bench.table import FAILED, OK, Line
from bench.terminal import Terminal

MIB = 1 << 20
READ_BYTES = 1 << 20
DEADLINE_S = 300.0


def integrity(lab: Lab) -> list[Line]:
    size = 1024 * MIB if not lab.quick else 64 * MIB
    pty_size = 64 * MIB
    cases: list[tuple[str, int, Callable[[Client, Path], str]]] = [
        (f"{size // MIB} MiB out, pipes", size, _out),
        (f"{size // MIB} MiB in, pipes", size, _in),
        (f"{pty_size // MIB} MiB out, raw pty", pty_size, _out_of_a_pty),
    ]
    lines = []
    for client, how in ((lab.warm, "background"), (lab.direct, "direct")):
        for what, length, carry in cases if how == "background" or not lab.quick else cases[:2]:
            line = Line("integrity", f"{what}, {how}: SHA-256")
            try:
                path = lab.random_file(length)
                sent = _hash(path)
                begun = time.perf_counter()
                arrived = carry(client, path)
                rate = length / 1e6 / (time.perf_counter() - begun)
            except (Failed, OSError, subprocess.SubprocessError) as exc:
                line.verdict, line.note = FAILED, str(exc)
            else:
                same = sent == arrived
                line.ours = f"equal, {rate:.0f} MB/s" if same else "differs"
                line.verdict = OK if same else FAILED
                line.raw["MB/s"] = [rate]
            lines.append(line)
    return lines


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _out(client: Client, path: Path) -> str:
    argv, digest = client.run("cat", str(path)), hashlib.sha256()
    process = subprocess.Popen(
        argv, env=client.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    with process.stdout as stdout:
        while data := stdout.read(READ_BYTES):
            digest.update(data)
    status = process.wait(DEADLINE_S)
    if status != 0:
        raise Failed(f"{brief(argv)}: status {status}")
    return digest.hexdigest()


def _in(client: Client, path: Path) -> str:
    argv = client.run("sha256sum")
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as source:
        process = subprocess.Popen(
            argv,
            env=client.env,
            stdin=source.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert source.stdout is not None
        source.stdout.close()
        try:
            out, err = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"{brief(argv)}: no end after {DEADLINE_S:.0f} s") from None
    if process.returncode != 0:
        raise Failed(f"{brief(argv)}: status {process.returncode}: {tail(err)}")
    return out.split()[0].decode()


def _out_of_a_pty(client: Client, path: Path) -> str:
    size, digest = path.stat().st_size, hashlib.sha256()
    command = f"stty raw -echo; echo ready; read go; exec cat {shlex.quote(str(path))}"
    argv = client.run("sh", "-c", command, options=["-t"])
    with Terminal(argv, client.env) as terminal:
        terminal.wait_for(b"ready\r?\n")
        terminal.write(b"go\n")
        got, deadline = 0, time.monotonic() + DEADLINE_S
        while got < size:
            data = terminal.read(deadline)
            if not data:
                raise Failed(f"{brief(argv)}: ended after {got} bytes of {size}")
            digest.update(data[: size - got])
            got += len(data)
        terminal.wait()
    return digest.hexdigest()
