"""Where points are run: this machine, hosts over ssh, agents, and what batch systems reserve.

A `Place` has slots and makes processes; a `Pool` has places, now or later. Neither knows what an
experiment is for.
"""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from gshell.errors import GshellError
from gshell.lrms.base import State
from gshell.sweep.experiment import HostSpec, Where, fill
from gshell.sweep.hosts import Host
from gshell.sweep.local import Process
from gshell.sweep.log import logger
from gshell.sweep.process import ProcessBase

DIRECTORY = "GSHELL_SWEEP_DIR"
"""In the environment of all that runs for a result directory."""
NO_DIRECTORY = 125  # the status when a place does not have the directory: not the program's


class Place:
    """Some slots somewhere. Inherited: ``process`` makes what runs there, not started."""

    def __init__(self, name: str, slots: int, hosts: Sequence[str] = ()) -> None:
        self.name = name
        self.slots = self.free = slots
        self.hosts = list(hosts) or [name]

    def names(self) -> dict[str, Any]:
        """For commands: ``{host}`` and ``{hosts}``, with commas."""
        return {"host": self.hosts[0], "hosts": ",".join(self.hosts)}

    def process(
        self, command: str, directory: str, environment: Mapping[str, str], **more: Any
    ) -> ProcessBase:
        raise NotImplementedError


def _script(command: str, directory: str, environment: Mapping[str, str]) -> str:
    exports = "".join(f"export {name}={shlex.quote(text)}\n" for name, text in environment.items())
    return f"{exports}cd -- {shlex.quote(directory)} || exit {NO_DIRECTORY}\n{command}"


class Here(Place):
    """This machine."""

    def process(
        self, command: str, directory: str, environment: Mapping[str, str], **more: Any
    ) -> ProcessBase:
        line = ["/bin/sh", "-c", _script(command, directory, {})]
        return Process(line, env=dict(environment), **more)


class There(Place):
    """A host over ssh."""

    def __init__(self, host: HostSpec, hosts: Sequence[str] = ()) -> None:
        super().__init__(host.address, host.slots, hosts)
        self._host = Host(host.address, host.user, host.keyfile, host.port)

    def process(
        self, command: str, directory: str, environment: Mapping[str, str], **more: Any
    ) -> ProcessBase:
        from gshell.sweep.ssh import SshProcess

        return SshProcess(_script(command, directory, environment), self._host, **more)


class OnAgent(Place):
    """A waiting agent of gshell, whichever is free."""

    def process(
        self, command: str, directory: str, environment: Mapping[str, str], **more: Any
    ) -> ProcessBase:
        maker = import_module("gshell.sweep.agents").AgentProcess
        script = _script(command, directory, environment)
        process: ProcessBase = maker(["/bin/sh", "-c", script], **more)
        return process


class Pool:
    """Places for the points that ``key`` is about. ``state``: ``none``, ``asked``, ``ready``,
    ``broken`` (``why`` says it)."""

    def __init__(self, key: tuple[str, ...], places: Sequence[Place] = ()) -> None:
        self.key = key
        self.places = list(places)
        self.state = "ready" if places else "none"
        self.why = ""
        self.done_since = 0
        """Points that came to an end since it was got."""
        self.vain = 0
        """How often it was got for nothing."""

    def ask(self, tell: Callable[[], None]) -> None:
        """Begin to get places; ``tell`` when that has come to an end, from any thread."""

    def give_back(self) -> None:
        """They are not needed any more."""

    def is_lost(self) -> bool:
        """Were they taken away?"""
        return False

    def lasts(self, seconds: float | None) -> bool:
        """Will they be there for ``seconds`` more?"""
        return True


class Reserved(Pool):
    """Hosts of a job at a batch system. The running engine's ledger has it, so that it is ended
    whoever dies."""

    def __init__(self, where: Where, names: Mapping[str, Any]) -> None:
        self._site = fill(where.site, names) if where.site else None
        self._resources = fill(where.resources, names)
        self._where = where
        super().__init__(pool_key(where, names))
        self._job: int | None = None
        self._ends_at: float | None = None
        self._system = import_module("gshell.sweep.reservations").system_of(where.kind)
        self._batch = import_module("gshell.sweep.batch")

    def ask(self, tell: Callable[[], None]) -> None:
        self.state, self.done_since = "asked", 0
        threading.Thread(target=self._get, args=(tell,), daemon=True, name="sweep-get").start()

    def _get(self, tell: Callable[[], None]) -> None:
        where, batch = self._where, self._batch
        try:
            wanted = batch.Submission(
                self._resources or None, where.walltime, where.job_type, queue=where.queue,
                additional_options=where.options,
            )  # fmt: skip
            [(self._job, _)] = batch.submit(self._system, [(wanted, self._site)], None, None, True)
            hosts = batch.nodes(self._system, self._job, self._site, None, None)
            names = [host.address for host in hosts]
            if where.walltime is not None:
                self._ends_at = time.monotonic() + where.walltime
            self.places = [There(HostSpec(names[0], where.slots), names)]
            self.state = "ready"
        except GshellError as error:
            self.state, self.why = "broken", str(error)
        except Exception as error:  # of a library: the experiment goes on without
            logger.detail("reservation", exc_info=True)
            self.state, self.why = "broken", str(error) or type(error).__name__
        tell()

    def give_back(self) -> None:
        if self._job is not None:
            self._batch.delete(self._system, [(self._job, self._site)], None, None)
        self._job, self.places = None, []
        if self.state != "broken":
            self.state = "none"

    def is_lost(self) -> bool:
        if self._job is None:
            return True
        try:
            now = self._batch.status(self._system, self._job, self._site, None, None)
        except GshellError:
            return False
        return now.state in (State.ENDED, State.ENDING)

    def lasts(self, seconds: float | None) -> bool:
        return (
            seconds is None or self._ends_at is None or time.monotonic() + seconds < self._ends_at
        )


def pool_key(where: Where, names: Mapping[str, Any]) -> tuple[str, ...]:
    """Points with the same key run in the same places."""
    if where.kind in ("oar", "slurm", "sge"):
        return (where.kind, fill(where.site or "", names), fill(where.resources, names))
    return ()


def pool_of(where: Where, names: Mapping[str, Any]) -> Pool:
    """The places that ``where`` names."""
    if where.kind == "ssh":
        return Pool((), [There(host) for host in where.hosts])
    if where.kind == "agent":
        return Pool((), [OnAgent(f"agent-{n + 1}", where.slots) for n in range(where.agents)])
    if where.kind == "here":
        return Pool((), [Here(os.uname().nodename, where.slots)])
    return Reserved(where, names)
