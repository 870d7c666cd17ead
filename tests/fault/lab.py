"""What the fault tests share: relay, agent and clients, with proxies between them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

from kit.faultproxy import FaultProxy
from kit.procs import Env, until

FLOW = str(Path(__file__).with_name("flow.py"))
FULL = bool(
    os.environ.get("GSHELL_FAULT_FULL")
)  # GSHELL_FAULT_FULL=1: the long forms, a quarter of an hour
SEED = int(os.environ.get("GSHELL_FAULT_SEED", 1))  # others for who wants to find something


def flow(verb: str, size: int, seed: int = 1) -> list[str]:
    return [sys.executable, "-I", "-S", FLOW, verb, str(size), str(seed)]


class Lab:
    """An Env with a relay, one agent, and a proxy in each of the two legs."""

    def __init__(self, env: Env, clients: FaultProxy, agents: FaultProxy) -> None:
        self.env = env
        self.clients = clients
        self.agents = agents

    @property
    def legs(self) -> tuple[FaultProxy, FaultProxy]:
        return self.clients, self.agents

    @property
    def direct(self) -> dict[str, str]:
        """For commands that shall not pass through the proxies."""
        return {"GSHELL_RELAY": self.env.address, "GSHELL_BACKGROUND": "0"}

    def jobs(self) -> list[dict]:
        done = self.env.gshell("jobs", "-a", "--json", env=self.direct)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)["jobs"]

    def job(self, number: str) -> dict:
        return next(job for job in self.jobs() if job["id"] == number)

    def newest_job(self) -> str:
        return max((job["id"] for job in self.jobs()), key=int)


@contextlib.contextmanager
def two_legs(record: bool = False) -> Iterator[Lab]:
    env = Env()
    try:
        invite = env.start_relay()
        with (
            FaultProxy(env.address, "client-door", record=record) as one,
            FaultProxy(env.address, "door-agent", record=record) as other,
        ):
            dial(env, one.address)
            lab = Lab(env, one, other)
            env.start_agent("agent", invite, "--relay", other.address)
            try:
                yield lab
            finally:
                for proxy in lab.legs:
                    proxy.calm()
                env.close()
    finally:
        env.close()


def dial(env: Env, address: str) -> None:
    """From now on the client dials this address."""
    path = env.home / "config" / "client.ticket"
    ticket = json.loads(path.read_text())
    ticket["relays"] = [address]
    path.write_text(json.dumps(ticket))


def warm(env: Env) -> None:
    """The background process runs and has an opening ready: what follows goes through it."""
    done = env.gshell("run", "--", "true")
    assert done.returncode == 0, done.stderr.decode() + env.logs()
    path = env.home / "run" / "bg.sock"
    until(path.exists, "the background process", show=env.logs)
    done = env.gshell("run", "--", "true")
    assert done.returncode == 0, done.stderr.decode() + env.logs()


class Console:
    """A terminal that a test holds the other end of, with a program in it."""

    def __init__(
        self, env: Env, *words: str, background: bool = True, rows: int = 24, columns: int = 80
    ) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        self.modes = termios.tcgetattr(self.slave)
        self.process = env.popen(
            *words,
            background=background,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.set_blocking(self.master, False)
        self.seen = bytearray()

    def read(self) -> bytes:
        """What was shown since the last time."""
        pieces = []
        while True:
            try:
                data = os.read(self.master, 1 << 16)
            except OSError:  # nothing now, or nobody has it open any more
                break
            if not data:
                break
            pieces.append(data)
        self.seen += b"".join(pieces)
        return b"".join(pieces)

    def type(self, data: bytes) -> int:
        """Type what the terminal takes; how much that was."""
        try:
            return os.write(self.master, data)
        except BlockingIOError:
            return 0

    def until(self, text: bytes, patience_s: float = 20.0) -> None:
        def shown() -> bool:
            self.read()
            return text in self.seen

        until(
            shown,
            f"{text!r} on the terminal",
            patience_s,
            show=lambda: repr(bytes(self.seen[-2000:])),
        )

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def wait(self, patience_s: float = 20.0) -> int:
        """The program's status; its output is read meanwhile."""

        def ended() -> bool:
            self.read()
            return self.process.poll() is not None

        until(ended, "the program to end", patience_s, show=lambda: repr(bytes(self.seen[-2000:])))
        self.read()
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.master)

    def __enter__(self) -> Console:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def descendants_of(pid: int) -> list[int]:
    """Numbers of all processes below one."""
    found: list[int] = []
    todo = [pid]
    while todo:
        one = todo.pop()
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                numbers = [int(word) for word in task.read_text().split()]
                found += numbers
                todo += numbers
    return found


def wait_all(
    processes: dict[str, subprocess.Popen[bytes]],
    patience_s: float,
    env: Env,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """Statuses by name, of processes that nobody's pipe blocks."""

    def ended() -> bool:
        meanwhile()
        return all(process.poll() is not None for process in processes.values())

    until(
        ended,
        "the ends of " + ", ".join(processes),
        patience_s,
        show=lambda: f"{ {n: p.poll() for n, p in processes.items()} }\n{env.logs()}",
    )
    return {name: process.returncode for name, process in processes.items()}
