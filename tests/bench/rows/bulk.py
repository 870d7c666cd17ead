"""How fast output comes, and what it costs: through pipes, through a pty, and as many small writes.

The program at the far end waits behind a *gate* until it is told to start, so that connecting is
not in the figures. Every byte that arrives is compared with what was sent.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable

from bench.gsh import Client
from bench.lab import Lab
from bench.measure import Failed, Sample, Turn, brief, interleaved, tail
from bench.processes import cpu_below, cpu_of
from bench.table import Line, against, alone, at_least, at_most
from bench.terminal import READ_BYTES as PTY_READ_BYTES
from bench.terminal import Terminal

READ_BYTES = 1 << 20
DEADLINE_S = 60.0
MB, GB = 1e6, 1e9
GATE = "echo ready; read go; exec "
DOOR_CPU_S_PER_GB = 1.2
WRITERS = 4
TEXT_LINE = b"The quick brown fox jumps over the lazy dog, 0123456789 times; and so it does.\n"
WRITER = f"""
import os, sys
print("ready", flush=True)
sys.stdin.readline()
lines = int(sys.argv[1])
for writer in range({WRITERS}):
    if os.fork() == 0:
        line = b"writer %d " % writer + b"." * 69 + b"\\n"
        for _ in range(lines):
            os.write(1, line)
        os._exit(0)
for _ in range({WRITERS}):
    if os.wait()[1] != 0:
        sys.exit(1)
"""


class _Gated:
    """A process behind its gate: ``go`` lets it run, ``read`` gives output, ``end`` checks it."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.argv = argv
        self.process = subprocess.Popen(
            argv, env=env, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout is not None
        self._out = self.process.stdout
        if self._out.read(6) != b"ready\n":
            self.process.kill()
            _, err = self.process.communicate()
            raise Failed(f"{brief(argv)}: not ready: {tail(err)}")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.close()

    def read(self) -> bytes:
        return self._out.read(READ_BYTES) or b""

    def end(self) -> None:
        assert self.process.stderr is not None
        err = self.process.stderr.read()
        status = self.process.wait(DEADLINE_S)
        self._out.close()
        self.process.stderr.close()
        if status != 0 or err:
            raise Failed(f"{brief(self.argv)}: status {status}: {tail(err)}")


def _door(lab: Lab) -> float:
    return cpu_of([lab.gsh.door_pid()])


def pipes(lab: Lab) -> list[Line]:
    size = 300_000_000 if not lab.quick else 100_000_000
    command = f"{GATE} head -c {size} /dev/zero"
    zeros = memoryview(bytes(READ_BYTES))

    def turn(
        argv: list[str], env: dict[str, str], door: Callable[[], float] = lambda: 0.0
    ) -> Sample:
        gated = _Gated(argv, env)
        door_before, cpu_before = door(), cpu_below()
        gated.go()
        begun, got = time.perf_counter(), 0
        while data := gated.read():
            if data != zeros[: len(data)]:
                gated.process.kill()
                raise Failed(f"{brief(argv)}: other bytes than were sent")
            got += len(data)
        elapsed = time.perf_counter() - begun
        gated.end()
        cpu = cpu_below() - cpu_before
        if got != size:
            raise Failed(f"{brief(argv)}: {got} bytes of {size}")
        sample = {"MB/s": size / MB / elapsed, "cpu:s/GB": cpu / (size / GB)}
        return sample | {"door:s/GB": (door() - door_before) / (size / GB)}

    def gshell(client: Client) -> Sample:
        return turn(client.run("sh", "-c", command), client.env, lambda: _door(lab))

    turns: dict[str, Turn] = {
        "gshell": lambda: gshell(lab.warm),
        "gshell direct": lambda: gshell(lab.direct),
        "pipe": lambda: turn(["sh", "-c", command], lab.env),
        "ssh": lambda: turn(lab.sshd.ssh(command), lab.env),
        "ssh -J": lambda: turn(lab.sshd.ssh(command, jump=True), lab.env),
    }
    got = interleaved(turns, lab.rounds(5, 3), warm_up=False)
    lines = []
    for name, how in (("gshell", "background"), ("gshell direct", "direct")):
        what = f"bulk stdout, pipes, {how}"
        lines += [
            against("bulk", what, got[name], got["ssh -J"], "MB/s", at_least(2, 2.8)),
            against("bulk", what, got[name], got["ssh"], "MB/s", at_least(1.2, 1.8)),
            against(
                "bulk",
                f"  its CPU, {how}, all processes",
                got[name],
                got["ssh -J"],
                "cpu:s/GB",
                at_most(0.5),
            ),
        ]
    lines.append(
        alone("bulk", "  door CPU", got["gshell"], "door:s/GB", at_most(DOOR_CPU_S_PER_GB))
    )
    lines.append(
        against("bulk", "bulk stdout, pipes, background", got["gshell"], got["pipe"], "MB/s")
    )
    return lines


def pty(lab: Lab) -> list[Line]:
    count = 800_000 if not lab.quick else 150_000
    text = lab.directory / "text"
    text.write_bytes(TEXT_LINE * count)
    shown = TEXT_LINE.replace(b"\n", b"\r\n")
    size = len(shown) * count
    expected = shown * (PTY_READ_BYTES // len(shown) + 2)
    command = f"stty -echo; {GATE} cat {shlex.quote(str(text))}"

    def turn(argv: list[str], env: dict[str, str]) -> Sample:
        with Terminal(argv, env) as terminal:
            terminal.wait_for(b"ready\r?\n")
            terminal.write(b"go\r")
            begun, got, deadline = time.perf_counter(), 0, time.monotonic() + DEADLINE_S
            while got < size:
                data = terminal.read(deadline)
                at = got % len(shown)
                if not data or data[: size - got] != expected[at : at + len(data[: size - got])]:
                    raise Failed(f"{brief(argv)}: after {got} bytes: {tail(data)!r}")
                got += len(data)
            elapsed = time.perf_counter() - begun
            terminal.wait()
        return {"MB/s": size / MB / elapsed}

    def gshell(client: Client) -> Sample:
        return turn(client.run("sh", "-c", command, options=["-t"]), client.env)

    turns: dict[str, Turn] = {
        "gshell": lambda: gshell(lab.warm),
        "gshell direct": lambda: gshell(lab.direct),
        "pty": lambda: turn(["sh", "-c", command], lab.env),
        "ssh -tt": lambda: turn(lab.sshd.ssh(command, options=("-tt",)), lab.env),
        "ssh -J -tt": lambda: turn(lab.sshd.ssh(command, jump=True, options=("-tt",)), lab.env),
    }
    got = interleaved(turns, lab.rounds(5, 3), warm_up=False)
    lines = []
    for name, how in (("gshell", "background"), ("gshell direct", "direct")):
        what = f"bulk stdout, pty, {how}"
        lines += [
            against("bulk-pty", what, got[name], got["ssh -tt"], "MB/s", at_least(1.1, 1.3)),
            against("bulk-pty", what, got[name], got["ssh -J -tt"], "MB/s", at_least(1.1, 1.3)),
        ]
    return [
        *lines,
        against("bulk-pty", "bulk stdout, pty, background", got["gshell"], got["pty"], "MB/s"),
    ]


def lines(lab: Lab) -> list[Line]:
    count = 100_000 if not lab.quick else 25_000
    program = lab.directory / "writers.py"
    program.write_text(WRITER)
    argv = [sys.executable, "-I", "-S", str(program), str(count)]

    def turn(argv: list[str], env: dict[str, str]) -> Sample:
        gated = _Gated(argv, env)
        gated.go()
        begun, blocks = time.perf_counter(), []
        while data := gated.read():
            blocks.append(data)
        elapsed = time.perf_counter() - begun
        gated.end()
        _check_lines(b"".join(blocks), count)
        return {"klines/s": WRITERS * count / 1000 / elapsed}

    turns: dict[str, Turn] = {
        "gshell": lambda: turn(lab.warm.run(*argv), lab.warm.env),
        "gshell direct": lambda: turn(lab.direct.run(*argv), lab.direct.env),
        "pipe": lambda: turn(argv, lab.env),
        "ssh": lambda: turn(lab.sshd.ssh(shlex.join(argv)), lab.env),
        "ssh -J": lambda: turn(lab.sshd.ssh(shlex.join(argv), jump=True), lab.env),
    }
    got = interleaved(turns, lab.rounds(5, 3), warm_up=False)
    what = f"{WRITERS} writers x {count} lines"
    without = got["gshell direct"]
    return [
        against("lines", f"{what}, background", got["gshell"], got["ssh"], "klines/s", at_least(2)),
        against("lines", f"{what}, direct", without, got["ssh"], "klines/s", at_least(2)),
        against("lines", f"{what}, background", got["gshell"], got["ssh -J"], "klines/s"),
        against("lines", f"{what}, background", got["gshell"], got["pipe"], "klines/s"),
    ]


def _check_lines(data: bytes, count: int) -> None:
    """Every writer's lines are all there, and whole."""
    whole = {b"writer %d " % writer + b"." * 69 for writer in range(WRITERS)}
    seen = data.splitlines()
    if len(seen) != WRITERS * count or set(seen) != whole:
        raise Failed(f"{len(seen)} lines, {len(set(seen) - whole)} kinds of torn ones")
    for line in whole:
        if seen.count(line) != count:
            raise Failed(f"{seen.count(line)} lines of {line[:8]!r}, not {count}")
