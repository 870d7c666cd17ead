"""Connections are cut at random while bytes flow both ways: none is lost, doubled or reordered.

The short form is the default; GSHELL_FAULT_FULL=1 makes it 200 cuts and 256 MiB in each direction.
GSHELL_FAULT_SEED repeats a plan.
"""

from __future__ import annotations

import contextlib
import subprocess
import termios

import pytest
from fault.breaking import RESUME_S, control_cuts, plans, report
from fault.lab import FULL, SEED, Console, flow, two_legs, wait_all, warm

from kit.cuts import resume_times
from kit.procs import until

CUTS, MIB = (200, 256) if FULL else (40, 48)
PATIENCE_S = 600.0 if FULL else 100.0
PTY_CUTS, PTY_KIB = (60, 8192) if FULL else (16, 1024)


@pytest.mark.timeout(PATIENCE_S + 60)
@pytest.mark.parametrize("background", [False, True], ids=["direct", "background"])
def test_bytes_both_ways_survive_cuts_of_both_legs(background: bool) -> None:
    seed = SEED + background
    size = MIB << 20
    one, other = plans(seed, CUTS, size)
    with two_legs() as lab, contextlib.ExitStack() as stack:
        env = lab.env
        if background:
            warm(env)
        lab.clients.begin(one)
        lab.agents.begin(other)
        feeder = subprocess.Popen(flow("feed", size), stdout=subprocess.PIPE)
        client = env.popen(
            "run", "--", *flow("copy", size), background=background, stdin=feeder.stdout
        )
        checker = subprocess.Popen(flow("check", size), stdin=client.stdout, stdout=subprocess.PIPE)
        processes = {"feeder": feeder, "client": client, "checker": checker}
        for process in processes.values():
            stack.callback(process.wait)
            stack.callback(process.kill)
        for pipe in (feeder.stdout, client.stdout):
            pipe.close()  # theirs alone now
        try:
            statuses = wait_all(processes, PATIENCE_S, env, control_cuts(lab))
        finally:
            print(report(lab, seed))
        errors, verdict = client.stderr.read().decode(), checker.stdout.read().decode()
        client.stderr.close()
        checker.stdout.close()
        said = [line for line in errors.splitlines() if not line.startswith("[")]
        assert said == [verdict.strip()], f"seed {seed}: {errors!r} there, {verdict!r} here"
        assert verdict.startswith(f"good {size} ")
        assert statuses == {"feeder": 0, "client": 0, "checker": 0}
        cuts = [cut for leg in lab.legs for cut in leg.cuts]
        assert not one.left + other.left, f"seed {seed}: all was over after {len(cuts)} cuts"
        assert len(cuts) >= CUTS
        assert any(cut.where in ("head", "body") for cut in cuts)
        times = sorted(resume_times(cuts, lab.clients.connections))
        # 95 of 100; half of the few that there are where others may use the machine, too.
        outliers = max(1, len(times) // (20 if FULL else 2))
        assert sum(t >= RESUME_S for t in times) <= outliers, report(lab, seed) + env.logs()


def test_an_announcement_that_was_lost_with_the_control_connection_is_made_again() -> None:
    with two_legs() as lab:
        lab.agents.hole("control")  # the broker speaks into it; data connections work
        client = lab.env.popen("run", "--", "sh", "-c", "echo yes; exit 5", background=False)
        until(
            lambda: any(c.kind == "data" and c.down > 1000 for c in lab.clients.connections),
            "client and agent to be joined",
        )
        lab.agents.cut("rst", "control")
        out, err = client.communicate(timeout=20)
        assert (client.returncode, out) == (5, b"yes\n"), err


@pytest.mark.timeout(PATIENCE_S + 60)
@pytest.mark.parametrize("background", [False, True], ids=["direct", "background"])
def test_a_raw_terminal_gets_and_gives_every_byte_once(background: bool) -> None:
    seed = SEED + 2 + background
    size = PTY_KIB << 10
    with two_legs() as lab:
        if background:
            warm(lab.env)
        words = ("run", "-t", "-q", "-e", "none", "--", *flow("raw", size, 5))
        with Console(lab.env, *words, background=background) as console:
            console.until(b"ready\n")
            one, other = plans(seed, PTY_CUTS, size)
            lab.clients.begin(one)
            lab.agents.begin(other)
            exchange(console, size)
            console.until(b"\ngood ", PATIENCE_S)
            print(report(lab, seed))
            assert console.wait() == 0
            assert console.modes == termios.tcgetattr(console.slave)


def exchange(console: Console, size: int) -> None:
    """Type ``size`` bytes into a terminal and see the same come back."""
    from fault.flow import Checker, blocks

    start = console.seen.index(b"ready\n") + 6
    checker = Checker(size, 5)
    checker.feed(bytes(console.seen[start : start + size]))
    left = b"".join(blocks(size, 5))

    def done() -> bool:
        nonlocal left
        if left:
            left = left[console.type(left[:4096]) :]
        data = console.read()
        checker.feed(data[: size - checker.count])
        return checker.count == size

    until(
        done,
        "all bytes to come back",
        PATIENCE_S,
        show=lambda: f"{checker.count} came, {len(left)} left",
    )
    assert checker.verdict().startswith("good"), checker.verdict()
