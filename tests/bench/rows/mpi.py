"""MPI through gshell, beside the launchers' own ways: start, output, computing, many ranks, stdin."""

from __future__ import annotations

import os
import re
import select
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench import mpitools
from bench.gsh import Client, repository
from bench.lab import Lab
from bench.measure import (
    RUN_DEADLINE_S,
    Failed,
    Missing,
    Sample,
    Samples,
    Turn,
    brief,
    interleaved,
    run_checked,
    tail,
)
from bench.mpitools import CARRIED, ENV, Mpi
from bench.processes import memory_of
from bench.table import OK, Line, against, alone, at_least, at_most, failed

RANKS = 4
LABEL = re.compile(rb" *(\d+): ")
NEWLINE = b"\n"
STDIN_BYTES, READERS = 104_929, 40
MANY = 128
RANK_BYTES = 64 * 1024


def _mpi(client: Client, *words: str) -> list[str]:
    return [*client.command, "mpi", *CARRIED, *words]


# --------------------------------------------------------------------------------------------- start


def hello(lab: Lab) -> list[Line]:
    mpi = mpitools.find("mpich")
    program = mpi.build("hello", lab.directory)
    lab.gsh.ensure_agents(3)  # the first has all slots; jobs on two get two of the others at least

    def ours(client: Client, *words: str) -> Turn:
        argv = _mpi(client, "-n", str(RANKS), *words, "--", program)
        return lambda: _first_byte(argv, client.env, _check_hello)

    bare = mpi.launch(RANKS, program)
    turns: dict[str, Turn] = {
        "gshell": ours(lab.warm),
        "gshell direct": ours(lab.direct),
        "gshell on 2": ours(lab.warm, "-N", "2", "--oversubscribe"),
        mpi.name: lambda: _first_byte(bare, {**lab.env, **ENV}, _check_hello),
    }
    got = interleaved(turns, lab.rounds(15, 3))
    what, end = f"MPICH hello, {RANKS} ranks, first byte", f"MPICH hello, {RANKS} ranks, whole"
    return [
        against("mpi-hello", f"{what}, 1 agent", got["gshell"], got[mpi.name], "ms", at_most(1.2)),
        against(
            "mpi-hello", f"{what}, 2 agents", got["gshell on 2"], got[mpi.name], "ms", at_most(1.5)
        ),
        against("mpi-hello", f"{what}, 1 agent, direct", got["gshell direct"], got[mpi.name], "ms"),
        against("mpi-hello", f"{end}, 1 agent", got["gshell"], got[mpi.name], "end:ms"),
        against("mpi-hello", f"{end}, 2 agents", got["gshell on 2"], got[mpi.name], "end:ms"),
    ]


def hello_open(lab: Lab) -> list[Line]:
    """One node: what the way through the agent adds to mpirun's own. Two nodes: `nodes`."""
    mpi = mpitools.find("openmpi")
    program = mpi.build("hello", lab.directory)
    argv = _mpi(lab.warm, "-n", str(RANKS), "--", program)
    turns: dict[str, Turn] = {
        "gshell": lambda: _first_byte(argv, lab.warm.env, _check_hello),
        mpi.name: lambda: _first_byte(mpi.launch(RANKS, program), {**lab.env, **ENV}, _check_hello),
    }
    got = interleaved(turns, lab.rounds(9, 3))
    what = f"Open MPI hello, {RANKS} ranks, 1 node"
    return [
        against("mpi-hello", f"{what}, first byte", got["gshell"], got[mpi.name], "ms"),
        against("mpi-hello", f"{what}, whole", got["gshell"], got[mpi.name], "end:ms"),
    ]


def _check_hello(out: bytes) -> None:
    wanted = sorted(b"hello %d of %d" % (rank, RANKS) for rank in range(RANKS))
    if sorted(out.splitlines()) != wanted:
        raise Failed(f"hello: {tail(out)}")


def _first_byte(argv: list[str], env: dict[str, str], check: Callable[[bytes], None]) -> Sample:
    """A turn: to the first byte of output and to the end; what it wrote and its status are right."""
    begun = time.perf_counter()
    with subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first, blocks = 0.0, []
        while True:
            left = RUN_DEADLINE_S - (time.perf_counter() - begun)
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                process.kill()
                raise Failed(f"no end after {RUN_DEADLINE_S:.0f} s: {brief(argv)}")
            data = os.read(process.stdout.fileno(), 1 << 20)
            first = first or time.perf_counter()
            if not data:
                break
            blocks.append(data)
        said = process.stderr.read()
        status = process.wait()
        ended = time.perf_counter()
    if status:
        raise Failed(f"status {status}: {brief(argv)}: {tail(said)}")
    out = b"".join(blocks)
    check(out)
    sample = {"ms": (first - begun) * 1000, "end:ms": (ended - begun) * 1000}
    # From its first byte on: how fast lines come, whatever the start has cost.
    return sample | {"klines/s": out.count(b"\n") / 1000 / max(1e-6, ended - first)}


# -------------------------------------------------------------------------------------------- output


def output(lab: Lab) -> list[Line]:
    count = 100_000 if not lab.quick else 10_000
    peers = {"mpich": (("-prepend-rank",), 1.5), "openmpi": (("--tag-output",), 3.0)}
    turns: dict[str, Turn] = {}
    found: dict[str, Mpi] = {}
    lines: list[Line] = []
    for flavour, (options, _) in peers.items():
        what = f"{RANKS} ranks x {count} lines, labelled, {flavour}"
        try:
            found[flavour] = mpi = mpitools.find(flavour)
        except Missing as why:
            lines.append(failed("mpi-lines", what, str(why), missing=True))
            continue
        argv = [mpi.build("lines", lab.directory), str(count)]
        ours = _mpi(lab.warm, "-n", str(RANKS), "-l", "--", *argv)
        theirs = mpi.launch(RANKS, *argv, options=options)
        turns |= {
            f"gshell {flavour}": _lines_turn(ours, lab.warm.env, count, _check_lines),
            f"{mpi.name} {options[0]}": _lines_turn(
                theirs, {**lab.env, **ENV}, count, _check_count
            ),
        }
    got = interleaved(turns, lab.rounds(5, 1), warm_up=False)
    for flavour, mpi in found.items():
        options, bound = peers[flavour]
        what = f"{RANKS} ranks x {count} lines, labelled, {flavour}"
        peer = got[f"{mpi.name} {options[0]}"]
        lines.append(
            against("mpi-lines", what, got[f"gshell {flavour}"], peer, "klines/s", at_least(bound))
        )
    return lines


def _lines_turn(
    argv: list[str], env: dict[str, str], count: int, check: Callable[[bytes, int], None]
) -> Turn:
    return lambda: _first_byte(argv, env, lambda out: check(out, count))


def _check_count(out: bytes, count: int) -> None:
    """All has come, in whatever pieces: launchers tear lines."""
    if out.count(NEWLINE) < RANKS * count:
        raise Failed(f"{out.count(NEWLINE)} lines, not {RANKS * count}")


def _check_lines(out: bytes, count: int) -> None:
    """Every rank's lines, each with its label, whole and in order."""
    seen = [0] * RANKS
    for line in out.splitlines():
        label = LABEL.match(line)
        rank = int(label[1]) if label else -1
        text = line[label.end() :] if label else line
        if not 0 <= rank < RANKS or text != b"line %06d of rank %03d" % (seen[rank], rank):
            raise Failed(f"after {seen} lines: {tail(line)!r}")
        seen[rank] += 1
    if seen != [count] * RANKS:
        raise Failed(f"{seen} lines of {count} each")


# ------------------------------------------------------------------------------------------ computing


def lu(lab: Lab) -> list[Line]:
    """Pairs, one after the other: what else the machine does falls on both alike."""
    cls = "S" if lab.quick else "W"
    lines: list[Line] = []
    for flavour in ("mpich", "openmpi"):
        try:
            mpi = mpitools.find(flavour)
        except Missing as why:
            lines.append(failed("mpi-lu", f"LU class {cls}, {flavour}", str(why), missing=True))
            continue
        lines += [_lu(lab, mpi, cls, ranks) for ranks in (1, 2)]
    return lines


def _lu(lab: Lab, mpi: Mpi, cls: str, ranks: int) -> Line:
    what = f"LU class {cls}, {ranks} rank{'s' * (ranks > 1)}, {mpi.flavour}, wall"
    source, name = repository() / "examples" / "lu", f"lu.{cls}.{ranks}"
    build = lab.directory / f"lu-{mpi.flavour}"
    program = str(mpi.make(source, name, build, "lu", f"CLASS={cls}", f"NPROCS={ranks}"))
    yields = {"OMPI_MCA_mpi_yield_when_idle": "1"}
    ours = _mpi(lab.warm, *(f"--env={k}={v}" for k, v in yields.items()), "-n", str(ranks))
    env = {**lab.env, **ENV, **yields}

    def turn(argv: list[str], env: dict[str, str]) -> Sample:
        begun = time.perf_counter()
        _, out = run_checked(argv, env, stdout=None)
        elapsed = time.perf_counter() - begun
        if b"Verification Successful" not in out:
            raise Failed(f"{name}: {tail(out)}")
        return {"s": elapsed}

    got = interleaved(
        {
            "gshell": lambda: turn([*ours, "--", program], lab.warm.env),
            mpi.name: lambda: turn(mpi.launch(ranks, program), env),
        },
        lab.rounds(9, 2),
    )
    one, two = got["gshell"], got[mpi.name]
    line = against("mpi-lu", what, one, two, "s", None if lab.quick else at_most(1.03))
    if line.figure is not None:
        pairs = [a / b for a, b in zip(one.all("s"), two.all("s"))]
        line.figure = statistics.median(pairs)
        line.verdict = "-"
        line.judge()
    return line


# ------------------------------------------------------------------------------------------ many ranks


def ranks(lab: Lab) -> list[Line]:
    """Many ranks at rest on one agent: their memory there, and each one attached to in turn."""
    mpi = mpitools.find("mpich")
    many = MANY if not lab.quick else 16
    client, program = lab.warm, mpi.build("stay", lab.directory)
    agent = lab.gsh.agent_pids(1)
    client_argv = _mpi(client, "-n", str(many), "-l", "--agent", _first_agent(lab), "--", program)
    before = memory_of(agent)
    begun = time.perf_counter()
    process = subprocess.Popen(
        client_argv, env=client.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        _all_said(process, many)
        started = time.perf_counter() - begun
        grown = (memory_of(agent) - before) / many
        job = _newest(client)
        begun = time.perf_counter()
        for rank in range(many):
            _attach(client, job, rank, many)
        attached = (time.perf_counter() - begun) / many
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    sample: Sample = {"s": started, "ms": attached * 1000, "KiB": grown / 1024}
    got = Samples("gshell", [sample])
    what = f"{many} ranks on one agent"
    limit = at_most(RANK_BYTES / 1024)
    return [
        alone("mpi-ranks", f"{what}: agent memory, each", got, "KiB", limit),
        alone("mpi-ranks", f"{what}: until all have spoken", got, "s"),
        alone("mpi-ranks", f"{what}: attach to each in turn", got, "ms"),
    ]


def _first_agent(lab: Lab) -> str:
    """That with all the slots."""
    import json

    out = subprocess.run(
        [*lab.warm.command, "agents", "--json"], env=lab.warm.env, capture_output=True,
        timeout=RUN_DEADLINE_S, check=True,
    ).stdout  # fmt: skip
    return str(max(json.loads(out)["agents"], key=lambda agent: agent["slots"])["id"])


def _newest(client: Client) -> str:
    out = subprocess.run(
        [*client.command, "jobs", "-q"], env=client.env, capture_output=True,
        timeout=RUN_DEADLINE_S, check=True,
    ).stdout  # fmt: skip
    return max(out.decode().split(), key=int)


def _all_said(process: subprocess.Popen[bytes], many: int) -> None:
    assert process.stdout is not None
    seen: set[bytes] = set()
    out, until = b"", time.monotonic() + RUN_DEADLINE_S
    while len(seen) < many:
        if not select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
            raise Failed(f"{len(seen)} of {many} ranks have spoken after {RUN_DEADLINE_S:.0f} s")
        data = os.read(process.stdout.fileno(), 1 << 16)
        if not data:
            assert process.stderr is not None
            raise Failed(f"{len(seen)} of {many} ranks, then: {tail(process.stderr.read())}")
        *whole, out = (out + data).split(b"\n")
        for line in whole:
            label = LABEL.match(line)
            if not label or line[label.end() :] != b"hello %d of %d" % (int(label[1]), many):
                raise Failed(f"labelled {tail(line)!r}")
            seen.add(line)


def _attach(client: Client, job: str, rank: int, many: int) -> None:
    """Its history is what it said, and nobody else's."""
    argv = [*client.command, "attach", job, "--rank", str(rank)]
    wanted = b"hello %d of %d\n" % (rank, many)
    with subprocess.Popen(
        argv, env=client.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        out, until = b"", time.monotonic() + 10
        while wanted not in out and time.monotonic() < until:
            if select.select([process.stdout], [], [], 1.0)[0]:
                data = os.read(process.stdout.fileno(), 1 << 16)
                out += data
                if not data:
                    break
        process.terminate()
        said = process.stderr.read()
    if not out.endswith(wanted) or out.count(b"hello") != 1:
        raise Failed(f"attach --rank {rank}: {tail(out + said)!r}")


# ---------------------------------------------------------------------------------------------- stdin


def stdin(lab: Lab) -> list[Line]:
    mpi = mpitools.find("mpich")
    readers = READERS if not lab.quick else 8
    data = lab.random_file(STDIN_BYTES)
    wanted = [b"%d bytes %d" % (STDIN_BYTES, mpitools.digest(data.read_bytes()))] * readers
    program = mpi.build("count", lab.directory)
    words = ("-n", str(readers), "-i", "all", "--agent", _first_agent(lab), "--", program)

    def turn(argv: list[str], env: dict[str, str], given: Path) -> Sample:
        begun = time.perf_counter()
        with open(given, "rb") as file:
            done = subprocess.run(
                argv, env=env, stdin=file, capture_output=True, timeout=RUN_DEADLINE_S, check=False
            )
        elapsed = time.perf_counter() - begun
        if done.returncode or done.stdout.splitlines() != wanted:
            right = done.stdout.splitlines().count(wanted[0])
            raise Failed(
                f"status {done.returncode}, {right} of {readers} ranks right: "
                f"{tail(done.stderr or done.stdout)}"
            )
        return {"ms": elapsed * 1000}

    # No launcher to compare with: each hands its own stdin to one rank, or to all but not so much.
    got = interleaved(
        {"gshell": lambda: turn(_mpi(lab.warm, *words), lab.warm.env, data)},
        lab.rounds(5, 1), warm_up=False,
    )  # fmt: skip
    what = f"{STDIN_BYTES} bytes to {readers} ranks, each all of them"
    line = alone("mpi-stdin", what, got["gshell"], "ms")
    if got["gshell"].usable:  # right or wrong, that is the target
        line.verdict = OK
    return [line]
