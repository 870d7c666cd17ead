"""What a member says of itself when it is here, and the head's plan from what all say: the files
and the machine that gshell/mpi/plan.py knows nothing of.
"""

from __future__ import annotations

import os
import shlex
import signal as signals
from typing import TYPE_CHECKING, Any, Callable

from gshell.agent import environment, hooks, mpifind
from gshell.agent.daemon import Daemon
from gshell.agent.hosts import member_of, of_hosts
from gshell.agent.mpilaunch import LaunchWay
from gshell.agent.spawn import SpawnSpec, find, spawn
from gshell.errors import SpawnFailed
from gshell.mpi import plan as plans
from gshell.mpi.flavour import MPICH

if TYPE_CHECKING:
    from gshell.agent.mpijob import MpiJob

MAX_WORD = 4096
MAX_SAID = 65536
VERSION_S = 10.0  # a launcher on a network file system that has just woken up


class Planner:
    """Of one member; the head's plans."""

    def __init__(self, job: MpiJob) -> None:
        self._job = job
        self.launch = LaunchWay(job)

    def here(self) -> dict[str, Any]:
        """Of us, for the head."""
        job = self._job
        said: dict[str, Any] = {"host": job.host, **self._lacking()}
        flavour, argv, env, cwd = self._asked()
        launched = mpifind.needs_launcher(flavour, argv, env, cwd, bool(job.part.options))
        if launched or self.hooks_wanted(env):  # which may make a program that needs one
            said.update(member_of(job.host))
            try:
                said["door"] = self.launch.door()
            except OSError:
                pass  # that is said if it is needed
        return said

    def hydra(self) -> tuple[str, str]:
        """(the process manager of the program's MPICH, the LD_LIBRARY_PATH it may need); where it
        has nothing to tell ranks: empty."""
        flavour, argv, env, cwd = self._asked()
        if any(name.startswith("HWLOC_") for name in env):
            return "", ""  # the user tells them
        return mpifind.hydra_of(flavour, argv, env, cwd), env.get("LD_LIBRARY_PATH") or ""

    @property
    def _argv(self) -> list[str]:
        return self._job.spec.argv

    def _asked(self) -> tuple[str, list[str], dict[str, str], str]:
        job = self._job
        env, cwd = environment.of_rank(job.spec, job.session, 0)
        return job.part.flavour, self._argv, env, cwd or "/"

    def _lacking(self) -> dict[str, Any]:
        """Why the program cannot be executed here: said once, before any launcher is started, which
        would say it for every rank and more."""
        _, argv, env, cwd = self._asked()
        name, path = argv[0], env.get("PATH")
        if self.hooks_wanted(env) or not os.path.isdir(cwd):
            return {}  # a hook may yet make it; of the directory others speak
        if "/" not in name and not all(each[:1] == "/" for each in (path or "/").split(":")):
            return {}  # it depends on where one looks from
        file = os.path.join(cwd, name) if "/" in name else name
        try:
            find(file, path)
        except SpawnFailed as error:
            return {"lacks": name + error.message[len(file) :], "code": error.exit_code}
        return {}

    def hooks_wanted(self, env: dict[str, str] | None = None) -> bool:
        """Are there any for this job, as seen from here?"""
        part = self._job.part
        return hooks.wanted((part.pre, part.post), self._asked()[2] if env is None else env)

    def start_hooks(self, runner: hooks.Hooks, heres: list[dict[str, Any]]) -> None:
        """Have those before the ranks run, with the way to all members.

        Raises:
            SpawnFailed, OSError: they cannot.
        """
        job = self._job
        flavour, argv, env, cwd = self._asked()
        for option, file in (("--pre", job.part.pre), ("--post", job.part.post)):
            if file and not os.path.isfile(os.path.join(cwd, file)):
                where = "" if file.startswith("/") else f" in {cwd}"
                text = f"there is no {file}{where} ({option}): it must be on the job's first node"
                raise OSError(0, text)
        names = plans.names(self._members(heres))
        job.shell.names = names
        self.launch.door()
        more = self.launch.reaching()
        if len(set(names)) > 1:
            more["GSHELL_PEERS"] = shlex.join(self.launch.shell())
        known = flavour if flavour != "auto" else mpifind.linked_with(argv, env, cwd)
        if known and not env.get("I2G_MPI_TYPE"):
            more["I2G_MPI_TYPE"] = known
        runner.start(env, cwd, of_hosts(names, job.part.layout), more)

    def _members(self, heres: list[dict[str, Any]]) -> list[plans.Member]:
        job = self._job
        return [
            plans.Member(
                str(here.get("host") or f"member {i}")[:255], job.part.layout[i],
                str(here.get("machine") or f"member {i}")[:MAX_WORD], _whole(here.get("cpus")),
            )
            for i, here in enumerate(heres)
        ]  # fmt: skip

    def ask(self, file: str, then: Callable[[], None]) -> None:
        """What this launcher is; ``then`` may be called at once."""
        loop = self._job.session.loop
        said: list[bytes] = []
        env, _ = environment.of_rank(self._job.spec, self._job.session, 0)
        try:
            child = spawn(SpawnSpec([file, "--version"], env, "/", stdin="null"))
        except SpawnFailed:
            mpifind.remember(file, "")
            then()
            return

        def ended(code: int) -> None:
            timer.cancel()
            mpifind.remember(file, b"".join(said)[:MAX_SAID].decode("utf-8", "replace"))
            then()

        daemon = Daemon(loop, child, lambda fd, data: said.append(data), ended)
        timer = loop.later(VERSION_S, lambda: daemon.end(signals.SIGKILL))

    def plan(self, heres: list[dict[str, Any]]) -> dict[str, Any]:
        """The body that all members get.

        Raises:
            NotAsked: a launcher must be asked first what it is.
        """
        job = self._job
        hosts = [str(here.get("host") or f"member {i}")[:255] for i, here in enumerate(heres)]
        body: dict[str, Any] = {"t": "plan", "hosts": hosts}
        lacking = [i for i, here in enumerate(heres) if here.get("lacks")]
        if lacking:
            first = heres[lacking[0]]
            where = ", ".join(dict.fromkeys(hosts[i] for i in lacking))[:MAX_WORD]
            error = f"{str(first['lacks'])[:MAX_WORD]} (on {where})"
            return {**body, "way": "", "error": error, "code": first.get("code")}
        flavour, argv, env, cwd = self._asked()
        found = mpifind.look(flavour, argv, env, cwd, bool(job.part.options))
        body["flavour"] = found.flavour
        if found.launcher is None and found.flavour == MPICH:
            return {**body, "way": "pmi", "key": os.urandom(8).hex()}
        members = self._members(heres)
        settings = plans.Settings(
            found.flavour, found.launcher, found.path, self.launch.shell(), os.getuid() == 0,
            job.part.options,
        )  # fmt: skip
        made = plans.plan(members, argv, settings)
        if made.error:
            return {**body, "way": "", "error": made.error}
        return {
            **body, "way": made.way, "argv": list(made.argv), "env": [list(v) for v in made.env],
            "names": list(made.names), "daemons": list(made.daemons),
            "doors": [_door(here.get("door")) for here in heres],
        }  # fmt: skip


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 1


def _door(value: object) -> list[str]:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(v, str) for v in value):
        return [value[0][:MAX_WORD], value[1][:MAX_WORD]]
    return []
