"""Hundreds of agents come back in the same instant; thousands of strangers come and say nothing,
half a greeting, nonsense, half a preamble, or a byte a second.

Held: all agents are back soon; a user's commands are served while the strangers come; the door's
memory is bounded by its limits. Guards: jittered back-off, and the limits before authentication
(without the deadline and the bound on strangers memory and descriptors grow; with handshakes begun
as they come, users wait).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import threading
import time

from bench.processes import memory_of
from fault.rows import Finding, Form, Row
from fault.rows.scale import Crowd, descriptors

from kit.procs import Env, until
from relay.door.limits import PER_SOURCE

AGENTS = (60, 500)  # short, full
STRANGERS = (500, 5000)
PROCESSES = 4
BACK_S = 20.0
SERVED_S = (5, 1)  # the short form has ten commands, and a machine that others may use
STRANGER_KIB = 48  # one with a TLS handshake under way
SLACK_KIB = 4096


def tickets(env: Env, count: int) -> list[str]:
    """Folders with agents' tickets; those of one process in each."""
    from relay import desk, state
    from relay.journal import Journal

    journal = Journal(str(env.state / state.JOURNAL))
    folders = []
    try:
        office = desk.Desk(str(env.state), journal, [env.address])
        user = json.loads((env.home / "config" / "client.ticket").read_text())["user"]
        for process in range(PROCESSES):
            folder = env.root / f"crowd{process}"
            folder.mkdir()
            folders.append(str(folder))
            for number in range(process, count, PROCESSES):
                ticket = office.ticket("agent", user, f"idle{number}", time.time())
                (folder / f"{number}.ticket").write_text(ticket.dump())
    finally:
        journal.close()
    return folders


def come_back(env: Env, count: int) -> list[Finding]:
    with contextlib.ExitStack() as stack:
        crowds = [Crowd(env, "agents", folder) for folder in tickets(env, count)]
        for crowd in crowds:
            stack.callback(crowd.close)
        said = [crowd.says() for crowd in crowds]
        assert said == ["ready"] * PROCESSES, f"{said}\n{env.logs()}"
        for crowd in crowds:
            crowd.process.stdin.write(b"cut\n")
            crowd.process.stdin.flush()
        cut = [crowd.says() for crowd in crowds]
        # The same with the door killed: it is busy being born when they come.
        door = int(env.relay_facts()["door_pid"])
        os.kill(door, signal.SIGKILL)
        begun = time.monotonic()
        until(lambda: int(env.relay_facts()["door_pid"]) != door, "a new door")

        def back() -> int:
            done = env.gshell("agents", "--json")
            if done.returncode:
                return 0
            agents = json.loads(done.stdout)["agents"]
            return sum(agent["state"] != "away" for agent in agents) > count

        with contextlib.suppress(AssertionError):
            until(back, "all agents", 2 * BACK_S)
        killed = time.monotonic() - begun
    worst = max((float(line.split()[2]) for line in cut if line.startswith("back ")), default=999.0)
    good = all(line.startswith("back ") for line in cut)
    return [
        Finding(f"{count} agents lose their connections at once", f"{count} agents",
                f"all back in {worst:.1f} s" if good else "; ".join(cut),
                f"<= {BACK_S:.0f} s", good and worst <= BACK_S),
        Finding("  the door is killed under them", f"{count} agents", f"all back in {killed:.1f} s",
                f"<= {BACK_S:.0f} s", killed <= BACK_S),
    ]  # fmt: skip


SSH_NAME = b"SSH-2.0-gshell-relay\r\n"


class Strangers(threading.Thread):
    """Comes ``count`` times, a few hundred a second, and stays as long as it is suffered."""

    RATE = 400.0

    def __init__(self, address: str, count: int, seed: int) -> None:
        super().__init__(daemon=True)
        host, _, port = address.rpartition(":")
        self._where = (host, int(port))
        self._count = count
        self._luck = random.Random(seed)
        self.came = self.answered = 0
        self.most = 0
        self._open: dict[int, tuple[socket.socket, bytes]] = {}
        self._poll = select.poll()
        self.over = False

    def run(self) -> None:
        begun, slow_at = time.monotonic(), 0.0
        while self.came < self._count and not self.over:
            now = time.monotonic()
            while self.came < min(self._count, (now - begun) * self.RATE):
                self._come()
            if now >= slow_at:
                slow_at = now + 1.0
                for fd, (sock, rest) in list(self._open.items()):
                    if rest:
                        with contextlib.suppress(OSError):
                            sock.send(rest[:1])
                        self._open[fd] = (sock, rest[1:])
            self._hear()
            self.most = max(self.most, len(self._open))
            time.sleep(0.005)  # at RATE, with no more of the processor than that takes
        while not self.over:
            self._hear()
            time.sleep(0.05)  # nothing to be done but to hear: the door is to have the processor
        for sock, _ in self._open.values():
            sock.close()

    @property
    def left(self) -> int:
        return len(self._open)

    def _come(self) -> None:
        self.came += 1
        luck = self._luck
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + luck.randbytes(501)
        preamble = b"GSHELL/1C\x01\x00\x02\x00" + luck.randbytes(800)
        said, rest = luck.choice([
            (b"", b""), (hello[: luck.randrange(1, 500)], b""), (luck.randbytes(300), b""),
            (preamble[: luck.randrange(1, 700)], b""), (hello, b""), (hello[:1], hello[1:]),
            (preamble[:1], preamble[1:]),
        ])  # fmt: skip
        sock = socket.socket()
        try:
            sock.settimeout(2.0)
            sock.connect(self._where)
            sock.setblocking(False)
            if said:
                sock.send(said)
        except OSError:
            sock.close()
            return
        self._open[sock.fileno()] = (sock, rest)
        self._poll.register(sock, select.POLLIN)

    def _hear(self) -> None:
        for fd, _ in self._poll.poll(0):
            sock, _ = self._open[fd]
            try:
                data = sock.recv(4096)
            except OSError:
                data = b""
            if data == SSH_NAME:  # to who says nothing: it may be an ssh that waits for that
                continue
            if not data or data[0] in (0x15, 0x16):  # the end, or TLS's own words
                if data and data[0] == 0x16:
                    continue
                self._poll.unregister(fd)
                sock.close()
                del self._open[fd]
            else:
                self.answered += 1


def flood(env: Env, count: int, seed: int, served_s: int) -> list[Finding]:
    env.start_agent("worker", env.invite(), "--slots", "4")
    door = int(env.relay_facts()["door_pid"])
    for _ in range(3):
        assert env.gshell("run", "--", "true", background=False).returncode == 0, env.logs()
    before, flat = memory_of([door]), descriptors(door)
    strangers = Strangers(env.address, count, seed)
    times, failed, most, highest = [], [], 0, before
    strangers.start()
    try:
        while strangers.came < count or len(times) < 10:
            since = time.monotonic()
            done = env.gshell("run", "--", "true", background=False)
            times.append(time.monotonic() - since)
            if done.returncode:
                failed.append(f"{done.returncode}: {done.stderr.decode().strip()}")
            highest = max(highest, memory_of([door]))
            most = max(most, descriptors(door) - flat)
            time.sleep(max(0.0, 1.0 - (time.monotonic() - since)))  # one a second
        with contextlib.suppress(AssertionError):
            until(lambda: strangers.left == 0, "the strangers' ends", 20.0)
    finally:
        strangers.over = True
        strangers.join(10)
    with contextlib.suppress(AssertionError):
        until(lambda: descriptors(door) <= flat + 8, "the door's descriptors", 15.0)
    after, left = memory_of([door]), descriptors(door) - flat
    times.sort()
    worst = times[len(times) * 99 // 100]
    grown, kept = (highest - before) / 1024, (after - before) / 1024
    bound = STRANGER_KIB * PER_SOURCE + SLACK_KIB
    return [
        Finding(f"{count} unauthenticated connections", f"{len(times)} commands meanwhile",
                "; ".join(failed[:3]) or f"all served, p99 {worst:.2f} s",
                f"p99 < {served_s} s", not failed and worst < served_s),
        Finding("  none is let in, all are let go", f"at most {strangers.most} at once",
                f"{strangers.answered} answered, {strangers.left} still there",
                f"none answered; <= {PER_SOURCE} at once",
                not strangers.answered and not strangers.left and most <= PER_SOURCE + 64),
        Finding("  memory and descriptors of the door", f"{count} connections",
                f"+{grown / 1024:.1f} MiB at most, +{kept / 1024:.1f} after; {left:+d} descriptors",
                f"<= +{bound / 1024:.0f} MiB; flat",
                grown <= bound and left <= 8),
    ]  # fmt: skip


def measure(form: Form) -> list[Finding]:
    env = Env()
    with contextlib.ExitStack() as stack:
        stack.callback(env.close)
        invite = env.start_relay()
        env.start_agent("witness", invite)
        found = flood(env, form.pick(*STRANGERS), form.seed, form.pick(*SERVED_S))
        return found + come_back(env, form.pick(*AGENTS))


ROW = Row("storm", measure, short_s=45.0)
