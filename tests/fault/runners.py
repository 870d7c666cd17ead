"""Many clients in one process: what `run` does, but for the command line and a process for each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from gshell.client.conversation import Dialler
from gshell.client.plan import Plan
from gshell.client.run import Runner
from gshell.client.terminal import DEFAULT_SIZE
from gshell.client.warm import WarmPool
from gshell.model.ticket import Ticket
from gshell.net.loop import IN, Loop
from gshell.net.machine import machine_id
from kit.procs import Env


class NoTerminal:
    """A client's Port without a terminal behind it."""

    def raw(self) -> bool:
        return True

    def cooked(self) -> None:
        pass

    def size(self) -> tuple[int, int]:
        return DEFAULT_SIZE

    def suspend(self) -> None:
        pass

    def seen(self, data: bytes) -> None:
        pass

    def reset(self) -> bytes:
        return b""


class Crowd:
    """One loop for all of them. Use as a context."""

    def __init__(self, env: Env, warm: int = 0) -> None:
        self.env = env
        self.skipped_s = 0.0  # by which their clock is ahead
        self.loop = Loop(clock=lambda: time.monotonic() + self.skipped_s)
        text = (env.home / "config" / "client.ticket").read_text()
        self.dialler = Dialler(self.loop, Ticket.load(text, "the client's"))
        self.pool = WarmPool(self.dialler, warm)
        self.pool.fill()
        self.errors = open(env.root / "crowd.err.log", "ab", 0)  # noqa: SIM115  # closed below
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._where = machine_id()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()
        self.loop.close()
        self.errors.close()
        os.close(self._null)

    def run(
        self,
        argv: Sequence[str],
        name: str,
        done: Callable[[int], None],
        on_output: Callable[[bytes], None] | None = None,
        stdin: int | None = None,
        warm: bool = False,
    ) -> None:
        """Start it; ``done`` gets the status when all output has been given away."""
        spec = {
            "argv": list(argv), "shell": False, "env": {"PATH": os.environ["PATH"]},
            "extra_env": {}, "cwd": None, "home": "/", "where": self._where, "umask": 0o22,
            "name": name, "keep": False,
        }  # fmt: skip
        out, close = self._null, (lambda: None)
        if on_output is not None:
            out, close = self._reader(on_output)

        def ended(status: int) -> None:
            close()
            done(status)

        plan = Plan(verb="run", spec=spec, pty=False)
        talk = self.pool.take() if warm else None
        descriptors = (self._null if stdin is None else stdin, out, self.errors.fileno())
        Runner(self.dialler, plan, descriptors, NoTerminal(), ended, talk).start()

    def _reader(self, on_output: Callable[[bytes], None]) -> tuple[int, Callable[[], None]]:
        """The end of a pipe to write to; what to call when it has been written for the last time."""
        reads, writes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

        def ready(_: int) -> None:
            try:
                on_output(os.read(reads, 1 << 16))
            except BlockingIOError:
                pass

        def close() -> None:
            os.close(writes)
            self.loop.remove(reads)
            os.set_blocking(reads, True)
            while data := os.read(reads, 1 << 16):
                on_output(data)
            os.close(reads)

        self.loop.add(reads, IN, ready)
        return writes, close
