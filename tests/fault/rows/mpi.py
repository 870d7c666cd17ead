"""MPI jobs of 4 ranks on two agents, each printing numbered lines, while the client's and the agents' legs
are cut and door, broker and the whole relay are killed.

Held: every line of every rank reaches the client once, whole, in its order and with its label; the barriers
before and after the lines, which cross the relay, are passed by all; the job's status is 0. Both ways of
starting: the agents as process managers (PMI), and Open MPI's launcher, if there is one.

Guards: what members say to each other is repeated until it is confirmed and heard once (`Lane`), and each
rank's streams are resumed by their own offsets. Fails when: a member does not say again what it said (`repeat`),
or a second time what was heard is taken (`receive`).
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time

from fault.lab import Lab, two_legs
from fault.rows import Finding, Form, Row
from fault.talks import kill

from kit.procs import alive, until

RANKS = 4
PAUSE_S = 0.001
# It speaks PMI-1 itself, so that no MPI is needed; a launcher's ranks have none.
PROGRAM = """
import os, socket, sys, time
fd = os.environ.get("PMI_FD")
line = socket.socket(fileno=int(fd)).makefile("rwb") if fd else None
def ask(words):
    if line:
        line.write(words.encode() + b"\\n")
        line.flush()
        line.readline()
rank = os.environ["GSHELL_RANK"]
ask("cmd=init pmi_version=1 pmi_subversion=1")
ask("cmd=barrier_in")
for n in range(int(sys.argv[1])):
    print(f"rank {rank} line {n} of {sys.argv[1]}", flush=True)
    time.sleep(float(sys.argv[2]))
    if n % 100 == 99:
        ask("cmd=barrier_in")
ask("cmd=finalize")
"""
LAUNCHER = "mpirun.openmpi"
WAIT_S = 60.0


def wrong(text: bytes, count: int) -> str:
    """What is not as promised of the labelled lines; empty: nothing."""
    lines = text.decode("utf-8", "replace").splitlines()
    for rank in range(RANKS):
        due = [f"{rank}: rank {rank} line {n} of {count}" for n in range(count)]
        came = [line for line in lines if line.startswith(f"{rank}: ")]
        if came != due:
            at = next((n for n, (a, b) in enumerate(zip(came, due)) if a != b), None)
            where = "" if at is None else f", first {came[at]!r} for {due[at]!r}"
            return f"rank {rank}: {len(came)} of {count} lines{where}"
    more = len(lines) - RANKS * count
    return f"{more} lines more" if more else ""


class Faults:
    """One at a time, drawn at random."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self._lab = lab
        self._random = random.Random(seed)
        self.done: list[str] = []
        self._kinds = (self._client, self._agents, self._door, self._broker, self._relay)

    def next(self, number: int) -> None:
        """Each kind comes in its turn, so that few faults have them all."""
        time.sleep(self._random.uniform(0.05, 0.4))  # at any moment of what it breaks
        self.done.append(self._kinds[number % len(self._kinds)]())

    def _client(self) -> str:
        self._lab.clients.cut(self._random.choice(("fin", "rst")))
        return "cut of the client"

    def _agents(self) -> str:
        self._lab.agents.cut(self._random.choice(("fin", "rst")))
        return "cut of the agents"

    def _door(self) -> str:
        kill(self._lab.env.relay_facts()["door_pid"])
        return "kill of the door"

    def _broker(self) -> str:
        kill(self._lab.env.relay_facts()["broker_pid"])
        return "kill of the broker"

    def _relay(self) -> str:
        env = self._lab.env
        facts = env.relay_facts()
        kill(facts["pid"])
        until(lambda: not alive(facts["door_pid"]) and not alive(facts["broker_pid"]))
        words = ("--listen", env.address, "--state", str(env.state), "--user", "tester")
        done = env.gshell("relay", "start", *words)
        assert done.returncode == 0, done.stderr.decode() + env.logs()
        return "kill of the relay"


def job(lab: Lab, flavour: str, count: int, faults: Faults, number: int) -> str:
    """One job under faults; what was wrong with it."""
    words = ("mpi", "-l", "-n", str(RANKS), "-N", "2", "--flavour", flavour, "--")
    program = (sys.executable, "-c", PROGRAM, str(count), str(PAUSE_S))
    process = lab.env.popen(*words, *program, background=False, stdin=subprocess.DEVNULL,
                            stderr=subprocess.PIPE)  # fmt: skip
    came: list[bytes] = []
    said: list[bytes] = []
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=lambda end=end, into=into: into.extend(end))
        for end, into in ((process.stdout, came), (process.stderr, said))
    ]
    try:
        for reader in readers:
            reader.start()
        until(lambda: came or process.poll() is not None, "the first line", WAIT_S, lab.env.logs)
        while process.poll() is None and len(came) < RANKS * count * 3 // 4:
            faults.next(number)
            number += 1
        until(lambda: process.poll() is not None, "the job's end", WAIT_S, lab.env.logs)
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
        process.stdout.close()
        process.stderr.close()
    found = wrong(b"".join(came), count)
    if process.returncode:
        found = f"status {process.returncode}; {found}"
    return found and f"{flavour}: {found}; it said {b''.join(said)[-300:]!r}"


def measure(form: Form) -> list[Finding]:
    flavours = ["mpich", *(["openmpi"] if shutil.which(LAUNCHER) else [])]
    count = form.pick(1500, 20_000)
    faults_wrong: list[str] = []
    with two_legs() as lab:
        invite = lab.env.invite()
        lab.env.start_agent("second", invite, "--relay", lab.agents.address)
        faults = Faults(lab, form.seed)
        jobs = 0
        for _ in range(form.pick(1, 20)):
            for flavour in flavours:
                found = job(lab, flavour, count, faults, len(faults.done))
                jobs += 1
                faults_wrong += [found] if found else []
    kinds = {kind: faults.done.count(kind) for kind in sorted(set(faults.done))}
    return [
        Finding(
            f"cuts and kills under MPI jobs of {RANKS} ranks on 2 agents ({', '.join(flavours)})",
            f"{jobs} jobs, {len(faults.done)} faults",
            faults_wrong[0][:120] if faults_wrong else "every line of every rank once; status 0",
            "every line of every rank exactly once, status 0",
            not faults_wrong and len(faults.done) > 1,
            "\n".join([f"seed {form.seed}; {kinds}", *faults_wrong]),
        )
    ]


ROW = Row("mpi", measure, short_s=20.0)
