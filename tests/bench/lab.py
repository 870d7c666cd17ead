"""What the rows work with: servers, clients, files; started when first asked for, ended together.

Knows how to start things, not what is measured with them. Whatever couldn't be started is said the
same way to every row that asks, without trying again.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from bench.gsh import Client, Installation, installed, prove
from bench.measure import Failed, Missing
from bench.processes import memory_of
from kit.delayproxy import DelayProxy
from kit.sshd import Sshd, why_missing

T = TypeVar("T")

ONE_WAY_S = 0.025  # of the delayed rows, between client and relay (or jump host)
SLOW_JUMP = "bench-slow-jump"
SEED = 20240607  # of the random files
CHUNK_BYTES = 1 << 20


class Lab:
    """Owns a temporary directory and everything started in it; use with ``with``."""

    def __init__(self, command: list[str], *, quick: bool) -> None:
        self.command = command
        self.quick = quick
        self._stack = contextlib.ExitStack()
        self._started: dict[str, Any] = {}

    def __enter__(self) -> Lab:
        self.directory = Path(
            tempfile.mkdtemp(prefix="gsb-", dir="/tmp")
        )  # short: unix socket paths
        self._stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self._stack.callback(os.chdir, os.getcwd())
        os.chdir(self.directory)
        self.env = {name: value for name, value in os.environ.items() if not _ours_to_set(name)}
        self.env |= {"TERM": "xterm", "LC_ALL": "C.UTF-8"}  # mosh wants UTF-8
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def rounds(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    # -- peers -----------------------------------------------------------------------------------

    @property
    def sshd(self) -> Sshd:
        return self._once("sshd", self._start_sshd)

    @property
    def control_master(self) -> tuple[str, ...]:
        """The options with which ``sshd.ssh()`` goes through a warm ControlMaster."""
        return self._once("master", lambda: self._enter(self.sshd.control_master()))

    @property
    def slow_jump(self) -> str:
        """The jump host's name behind the delay."""

        def start() -> str:
            proxy = self._enter(DelayProxy(self.sshd.jump_port, ONE_WAY_S))
            self.sshd.add_host(SLOW_JUMP, proxy.port)
            return SLOW_JUMP

        return self._once("slow jump", start)

    def program(self, name: str) -> str:
        """The path of a program; raises Missing."""
        path = shutil.which(name)
        if path is None:
            raise Missing(f"{name} not installed")
        return path

    # -- gshell ----------------------------------------------------------------------------------

    @property
    def gsh(self) -> Installation:
        return self._once("gshell", self._start_gshell)

    @property
    def warm(self) -> Client:
        """Through the per-user background process: the default."""
        return self.gsh.client

    @property
    def direct(self) -> Client:
        """Without a background process."""
        return self.gsh.client.without_background()

    @property
    def slow(self) -> Client:
        """A client that reaches the relay through the delay."""

        def start() -> Client:
            proxy = self._enter(DelayProxy(self.gsh.port, ONE_WAY_S))
            client = self.gsh.new_client("slow", proxy.port)
            prove(client)
            return client

        return self._once("slow client", start)

    # -- files -----------------------------------------------------------------------------------

    def random_file(self, size: int) -> Path:
        """A file of ``size`` random bytes (the same in every run)."""

        def write() -> Path:
            path = self.directory / f"random{size}"
            source = random.Random(SEED)
            with open(path, "wb") as file:
                for start in range(0, size, CHUNK_BYTES):
                    file.write(source.randbytes(min(CHUNK_BYTES, size - start)))
            return path

        return self._once(f"random {size}", write)

    # -- helpers -----------------------------------------------------------------------------------

    def _start_sshd(self) -> Sshd:
        missing = why_missing()
        if missing:
            raise Missing(missing)
        try:
            return self._enter(Sshd(self.directory / "sshd"))
        except RuntimeError as exc:
            raise Failed(str(exc)) from None

    def _start_gshell(self) -> Installation:
        self.command = self.command or installed(self.directory / "installed")
        if shutil.which(self.command[0]) is None:
            raise Failed(f"gshell: no {self.command[0]}")
        installation = Installation(self.command, self.directory / "g", self.env)
        self._stack.callback(installation.stop)
        installation.start()
        prove(installation.client.without_background())
        prove(installation.client)
        return installation

    def _enter(self, what: contextlib.AbstractContextManager[T]) -> T:
        return self._stack.enter_context(what)

    def _once(self, name: str, start: Callable[[], T]) -> T:
        if name not in self._started:
            try:
                self._started[name] = start()
            except (Failed, Missing, OSError) as exc:
                self._started[name] = exc
        value = self._started[name]
        if isinstance(value, OSError):
            raise Failed(f"{name}: {value}")
        if isinstance(value, Failed | Missing):
            raise type(value)(str(value))
        return value  # type: ignore[no-any-return]


def _ours_to_set(name: str) -> bool:
    """Variables that would change what is measured: another gshell's, a shell's start-up file, or
    Python without .pyc files."""
    return name.startswith(("GSHELL_", "SSH_", "PDSH_", "MOSH_")) or name in (
        "ENV", "BASH_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONSTARTUP", "LC_ALL", "LANGUAGE",
    )  # fmt: skip


def mebibytes(pids: Iterable[int]) -> float:
    return memory_of(pids) / (1 << 20)
