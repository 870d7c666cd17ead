"""What the relay holds for idle sessions and agents, and for a client that doesn't read."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time

from bench.gsh import SESSION_LOG_RING_BYTES, Client
from bench.lab import Lab
from bench.measure import Failed, Sample, Samples, brief, interleaved, tail
from bench.processes import memory_of
from bench.rows.keys import gshell_echo, some_keys
from bench.table import Line, alone, at_most
from bench.terminal import Terminal

SETTLE_S = 0.5  # for what goes on after the answer: memory is looked at when nothing does
CALM_S = 1.5  # of echo before the stall
STALL_S = 4.0
PACE_S = 0.1  # between two bursts, as a person has pauses
STALLED_SAMPLES = 200
FIRST_FEW = 5  # sessions opened before the baseline: what is allocated once isn't per session
PER_SESSION_KIB, PER_AGENT_KIB = 16.0, 64.0
RELAY_GROWTH_KIB = 1024.0
AGENT_GROWTH_KIB = RELAY_GROWTH_KIB + SESSION_LOG_RING_BYTES / 1024
UNCHANGED = (
    1.3  # two medians of the same thing, seconds apart, differ by this much on a shared machine
)
DRAIN_BYTES = 8 << 20
KIB = 1024


def _open_cat(client: Client, stack: contextlib.ExitStack) -> None:
    """An attached session that does nothing, proven alive; ended with ``stack``."""
    argv = client.run("cat")
    process = subprocess.Popen(
        argv, env=client.env, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    stack.callback(_end, process)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"x")
    if process.stdout.read(1) != b"x":
        raise Failed(f"{brief(argv)}: no echo")


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def sessions(lab: Lab) -> list[Line]:
    count = 50 if lab.quick else 200
    with contextlib.ExitStack() as stack:
        for _ in range(FIRST_FEW):
            _open_cat(lab.warm, stack)
        time.sleep(SETTLE_S)
        door, pids = [lab.gsh.door_pid()], lab.gsh.relay_pids()
        door_before, all_before = memory_of(door), memory_of(pids)
        for _ in range(count):
            _open_cat(lab.warm, stack)
        time.sleep(SETTLE_S)
        at_door, at_all = memory_of(door) - door_before, memory_of(pids) - all_before
    got = Samples(
        "gshell", [{"KiB": at_door / KIB / count, "with broker:KiB": at_all / KIB / count}]
    )
    what = f"per idle attached session, {count}"
    return [
        alone("sessions", f"door {what}", got, "KiB", at_most(PER_SESSION_KIB)),
        alone("sessions", f"door and broker {what}", got, "with broker:KiB"),
    ]


def agents(lab: Lab) -> list[Line]:
    count = 20 if lab.quick else 50
    have = lab.gsh.registered()
    lab.gsh.ensure_agents(have + 1)  # what is allocated once isn't per agent
    time.sleep(SETTLE_S)
    door, pids = [lab.gsh.door_pid()], lab.gsh.relay_pids()
    door_before, all_before = memory_of(door), memory_of(pids)
    lab.gsh.ensure_agents(have + 1 + count)
    time.sleep(SETTLE_S)
    per_agent = {
        "KiB": (memory_of(door) - door_before) / KIB / count,
        "with broker:KiB": (memory_of(pids) - all_before) / KIB / count,
    }
    got = Samples("gshell", [per_agent])
    what = f"per idle agent and its spares, {count}"
    return [
        alone("agents", f"door {what}", got, "KiB", at_most(PER_AGENT_KIB)),
        alone("agents", f"door and broker {what}", got, "with broker:KiB"),
    ]


def stall(lab: Lab) -> list[Line]:
    keys = some_keys(STALLED_SAMPLES)
    client = lab.warm

    def turn() -> Sample:
        with gshell_echo(client) as terminal:
            before = _paced_echo(terminal, keys, time.monotonic() + CALM_S)
            relay_pids, agent_pids = lab.gsh.relay_pids(), lab.gsh.agent_pids()
            relay, agent = memory_of(relay_pids), memory_of(agent_pids)
            argv = client.run("yes")
            process = subprocess.Popen(
                argv, env=client.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0
            )
            try:
                until = time.monotonic() + STALL_S
                assert process.stdout is not None
                if process.stdout.read(2) != b"y\n":
                    raise Failed(f"{brief(argv)}: doesn't run")
                time.sleep(SETTLE_S)  # every buffer on the way fills
                during = _paced_echo(terminal, keys, until)
                relay, agent = memory_of(relay_pids) - relay, memory_of(agent_pids) - agent
                _drain(process, argv)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
        return {
            "relay:KiB": relay / KIB,
            "agent:KiB": agent / KIB,
            "x": during / before,
        }

    got = interleaved({"gshell": turn}, lab.rounds(3, 1), warm_up=False)["gshell"]
    what = f"client stalled {STALL_S:g} s:"
    return [
        alone("stall", f"{what} relay grows", got, "relay:KiB", at_most(RELAY_GROWTH_KIB)),
        alone("stall", f"{what} agent grows", got, "agent:KiB", at_most(AGENT_GROWTH_KIB)),
        alone("stall", f"{what} others' echo, during / before", got, "x", at_most(UNCHANGED)),
    ]


def _paced_echo(terminal: Terminal, keys: bytes, until: float) -> float:
    """The echo's p50 over several bursts of keys, up to the instant ``until``."""
    medians = []
    while time.monotonic() < until:
        medians.append(statistics.median(terminal.echo(keys)))
        time.sleep(PACE_S)
    return statistics.median(medians)


def _drain(process: subprocess.Popen[bytes], argv: list[str]) -> None:
    """What comes after the stall is whole; and with the reader gone, the client ends."""
    assert process.stdout is not None
    pattern = b"y\n" * (1 << 20)
    got = 2
    while got < DRAIN_BYTES:
        data = process.stdout.read(1 << 20)
        if not data or data != pattern[got % 2 : got % 2 + len(data)]:
            raise Failed(f"{brief(argv)}: after the stall: {tail(data or b'')!r}")
        got += len(data)
    process.stdout.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        raise Failed(f"{brief(argv)}: doesn't end when its reader has gone") from None
