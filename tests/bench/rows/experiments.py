"""The steps of experiments beside execo, which is installed into an environment of its own."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.lab import Lab
from bench.measure import Failed, Missing, Sample, Samples, interleaved, run_checked
from bench.table import Line, against, alone, at_most, failed
from kit.sshd import Sshd, why_missing

EXECO = "execo==2.8.2"
PROBE = str(Path(__file__).parent.parent / "sweep_probe.py")
ROOT = str(Path(__file__).parents[3])
SPACES = ((10_000, 1 / 10), (100_000, 1 / 50))  # points, and the ratio to be met
PROCESSES, HOSTS = 200, 50
ADDRESSES = 13  # of one sshd, which has 16 sockets at most
KILLS = 100
PAIRS_OF_EXECO = 300  # two milliseconds each: the sum of them all is not worth the wait
WORKER = """
import sys
from gshell.sweep import ParamSweeper, sweep
one = ParamSweeper(sys.argv[1], sweep({"n": range(int(sys.argv[2]))}))
for point in iter(one.get_next, None):
    print("begun", point["n"], flush=True)
    one.done(point)
    print("done", point["n"], flush=True)
"""
AFTER = """
import json, sys
from gshell.sweep import ParamSweeper, sweep
one = ParamSweeper(sys.argv[1], sweep({"n": range(int(sys.argv[2]))}))
print(json.dumps([[p["n"] for p in one.get_done()], [p["n"] for p in one.get_remaining()]]))
"""


class Everywhere(Sshd):
    """On several addresses of this host."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._settings = ["MaxStartups 1000"]
        self._settings += [
            f"ListenAddress 127.0.0.{n}:{self.port}" for n in range(2, ADDRESSES + 1)
        ]


def _execo(lab: Lab) -> str:
    """Its Python."""
    home = lab.directory / "execo"
    try:
        run_checked([sys.executable, "-m", "venv", str(home)], lab.env, stdout=None)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "-q", EXECO]
        run_checked(pip, lab.env, stdout=None, deadline_s=120)
    except Failed as error:
        raise Missing(f"execo: {error}") from None
    return str(home / "bin" / "python")


def _turns(lab: Lab, *words: str) -> dict[str, Callable[[], Sample]]:
    python = lab._once("execo", lambda: _execo(lab))
    env = {**lab.env, "PYTHONPATH": ROOT}

    def turn(who: str, program: str) -> Sample:
        with tempfile.TemporaryDirectory(dir=lab.directory) as fresh:
            asked = [word.format(fresh=fresh) for word in words]
            if who == "execo" and asked[0] == "sweeper":
                asked[2] = str(PAIRS_OF_EXECO)
            _, out = run_checked([program, PROBE, who, *asked], env, stdout=None)
        return {key: float(value) for key, value in json.loads(out.splitlines()[-1]).items()}

    return {
        "gshell": lambda: turn("gshell", sys.executable),
        "execo": lambda: turn("execo", python),
    }


def _compare(lab: Lab, *words: str) -> tuple[Samples, Samples]:
    found = interleaved(_turns(lab, *words), lab.rounds(5, 1), warm_up=not lab.quick)
    return found["gshell"], found["execo"]


def sweeper(lab: Lab) -> list[Line]:
    lines = []
    for points, ratio in SPACES:
        ours, theirs = _compare(lab, "sweeper", str(points), "9000", "{fresh}")
        what = f"get_next and done, of {points} points"
        lines.append(against("sweeper", what, ours, theirs, "us", at_most(ratio)))
    return [*lines, _killed(lab)]


def _killed(lab: Lab) -> Line:
    """Two workers, killed again and again: what they said and what the file says afterwards."""
    luck = random.Random(1)
    kills = lab.rounds(KILLS, 5)
    what = f"points lost or wrongly done, {kills} times kill -9"
    points = kills * 400
    folder = str(lab.directory / "killed")
    env = {**lab.env, "PYTHONPATH": ROOT}
    begun, done = set(), set()
    for number in range(kills):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, folder, str(points)],
                stdout=subprocess.PIPE, text=True, env=env,
            )
            for _ in range(1 + number % 2)
        ]  # fmt: skip
        said = workers[0].stdout
        assert said is not None
        heard = [said.readline() for _ in range(luck.randrange(3, 400))]
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
        for worker in workers:
            with worker:  # communicate() would pass over what readline() has read ahead
                assert worker.stdout is not None
                heard += worker.stdout.read().rpartition("\n")[0].splitlines()
        for line in heard:
            word, _, point = line.partition(" ")
            if point:
                (done if word == "done" else begun).add(int(point))
    _, out = run_checked([sys.executable, "-c", AFTER, folder, str(points)], env, stdout=None)
    kept, left = map(set, json.loads(out))
    wrong = len(done - kept) + len(kept - begun) + (points - len(kept | left)) + len(kept & left)
    if not done:
        return failed("sweeper", what, "no worker said anything")
    return alone("sweeper", what, Samples("gshell", [{"": wrong}]), "", at_most(0))


def processes(lab: Lab) -> list[Line]:
    ours, theirs = _compare(lab, "processes", str(PROCESSES))
    what = f"{PROCESSES} local processes at once"
    return [against("processes", what, ours, theirs, "ms", at_most(0.5))]


def sshhosts(lab: Lab) -> list[Line]:
    if missing := why_missing():
        raise Missing(missing)
    with contextlib.ExitStack() as stack:
        hosts: list[str] = []
        while len(hosts) < HOSTS:
            sshd = stack.enter_context(Everywhere(lab.directory / f"everywhere{len(hosts)}"))
            key = sshd.directory / "id"
            hosts += [f"127.0.0.{n + 1}:{sshd.port}:{key}" for n in range(ADDRESSES)]
        ours, theirs = _compare(lab, "ssh", *hosts[:HOSTS])
    what = f"one command on {HOSTS} ssh hosts"
    return [
        against("sshhosts", what, ours, theirs, "ms", at_most(0.2)),
        against("sshhosts", "  the next one", ours, theirs, "again:ms", at_most(0.2)),
    ]
