"""The hooks of an MPI job: mpi-start runs beside the ranks, at the head, and has all but the
program's start left to it. It runs the pre-run hooks, hands the program over, with what they made
of it, and waits; with the ranks' status it goes on to the post-run hooks. One shell, so what a hook
sets is there for all that follow. See gshell/mpi/MPI.md.
"""

from __future__ import annotations

import os
import shutil
import signal as signals
import socket
from typing import TYPE_CHECKING, Callable, NamedTuple

from gshell.agent import mpistart
from gshell.agent.daemon import Daemon
from gshell.agent.spawn import SpawnSpec, spawn
from gshell.net.loop import IN

if TYPE_CHECKING:
    from gshell.agent.mpijob import MpiJob

USUAL = "/etc/mpi-start"
LOCAL = "mpi-start.hooks.local"
USERS = ("I2G_MPI_PRE_RUN_HOOK", "I2G_MPI_POST_RUN_HOOK")
SHAPES = ("PER_NODE", "PER_SOCKET", "PER_CORE", "SINGLE_PROCESS", "SINGLE_SOCKET", "SINGLE_CORE")
HANDED = "MPI_START_HANDED"
# Of mpi-start's variables, or of any shell: not for the ranks.
OWN = ("MPI_START_", "I2G_MPI_START", "GSHELL_")
OWN_NAMES = frozenset(("_", "SHLVL", "PWD", "OLDPWD", "TARBALL", "SHARED_BASE_PATH", "MPI_MPIEXEC",
                       "MPI_MPIRUN", *USERS))  # fmt: skip
READ_BYTES = 1 << 16
MOST_SAID = 4 << 20
AGAIN_AFTER_S = 0.5
KILL_AFTER_S = 4.0


class Handed(NamedTuple):
    """What the pre-run hooks made of the program."""

    argv: list[str]
    cwd: str
    env: dict[str, str]

    @classmethod
    def parse(cls, data: bytes) -> Handed | None:
        r"""None: not all of it is there.

        >>> Handed.parse(b"run\0/w\x002\0p\0\0A=1\0over\0")
        Handed(argv=['p', ''], cwd='/w', env={'A': '1'})
        >>> Handed.parse(b"run\0/w\x002\0p\0\0A=1\0ov")
        """
        words = data.split(b"\0")
        if len(words) < 5 or words[-2:] != [b"over", b""] or words[0] != b"run":
            return None
        count = int(words[2])
        texts = [os.fsdecode(word) for word in words]
        pairs = (text.partition("=") for text in texts[3 + count : -2])
        env = {name: value for name, _, value in pairs if name}
        return cls(texts[3 : 3 + count], texts[1], env)


def wanted(named: tuple[str, str], env: dict[str, str]) -> bool:
    """Are there any, of this job's user (``named``: by options) or of the site?"""
    if any(named) or any(env.get(name) for name in USERS):
        return True
    home = env.get("HOME")
    folders = [*(env.get("MPI_START_ETC") or "").split(), *([f"{home}/.mpi-start"] if home else [])]
    for folder in [*folders, USUAL]:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        if any(name == LOCAL or name.endswith(".hook") for name in names):
            return True
    return False


def changes(before: dict[str, str], after: dict[str, str]) -> dict[str, str | None]:
    """What the ranks are to have else than they would have; None: not at all.

    >>> changes({"A": "1", "B": "2", "PWD": "/"}, {"A": "1", "C": "3", "PWD": "/w"})
    {'C': '3', 'B': None}
    """
    found: dict[str, str | None] = {
        name: value for name, value in after.items() if before.get(name) != value and not _own(name)
    }
    found.update((name, None) for name in before if name not in after and not _own(name))
    return found


def _own(name: str) -> bool:
    return name.startswith(OWN) or name in OWN_NAMES


class Hooks:
    """Of one job, at the head. Invariant: ``handed`` is called at most once, before ``ended``."""

    def __init__(
        self, job: MpiJob, handed: Callable[[Handed], None], ended: Callable[[int], None]
    ) -> None:
        """``ended``: mpi-start has, with this status."""
        self._job = job
        self._loop = job.session.loop
        self._handed = handed
        self._ended = ended
        self._process: Daemon | None = None
        self._line: socket.socket | None = None
        self._said = b""
        self.before: dict[str, str] = {}
        """The environment that mpi-start was given, without what is for it alone."""
        self.cwd = ""
        self.waits = False
        """The program is handed over, and its status has not been said."""

    @property
    def runs(self) -> bool:
        return self._process is not None

    def start(self, env: dict[str, str], cwd: str, hosts: str, more: dict[str, str]) -> None:
        """``hosts``: GSHELL_HOSTS; ``more``: in addition to the ranks' environment.

        Raises:
            SpawnFailed, OSError: there is no bash, or no place for mpi-start.
        """
        job, part = self._job, self._job.part
        self.before, self.cwd = env, cwd
        mine = {name: env[name] for name in env if name[8:] not in SHAPES or name[:8] != "I2G_MPI_"}
        mine.update(more)
        mine["GSHELL_HOSTS"] = hosts
        mine["I2G_MPI_NP"] = str(part.size)
        mine.update((name, file) for name, file in zip(USERS, (part.pre, part.post)) if file)
        script = mpistart.script()
        ours, theirs = socket.socketpair()
        number = 9 if theirs.fileno() != 9 else 8
        mine[HANDED] = str(number)
        argv = [shutil.which("bash", path=env.get("PATH")) or "/bin/bash", script, "--"]
        with theirs:
            try:
                child = spawn(SpawnSpec([*argv, *job.spec.argv], mine, cwd, None, job.spec.umask,
                                        "null", inherit=(theirs.fileno(), number)))  # fmt: skip
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self._line = ours
        self._loop.add(ours.fileno(), IN, self._heard)
        self._process = Daemon(self._loop, child, self._print, self._on_end)

    def finish(self, code: int) -> None:
        """The ranks have ended like this: it is the post-run hooks' turn."""
        if self.waits and self._line is not None:
            self.waits = False
            self._line.send(b"%d\0" % code)

    def drop(self) -> None:
        """There is no program after all, and no post-run hooks."""
        self.waits = False
        self._close()

    def signal(self, number: int) -> None:
        """Its user's: a hook that runs gets it, and one that is still there later is killed."""
        if self._process is None or (self.waits and number != signals.SIGKILL):
            return
        self._process.end(number)
        if number in (signals.SIGTERM, signals.SIGHUP):
            # A shell that was just starting a program ends when that does, which has not heard it.
            self._loop.later(AGAIN_AFTER_S, self._again)
            self._loop.later(KILL_AFTER_S, self.kill)

    def _again(self) -> None:
        if self._process is not None:
            self._process.end(signals.SIGTERM)

    def kill(self) -> None:
        if self._process is not None:
            self._process.end(signals.SIGKILL)

    def _print(self, fd: int, data: bytes) -> None:
        self._job.session.print_bytes(self._job.starter, fd, data)

    def _heard(self, mask: int) -> None:
        assert self._line is not None
        try:
            data = self._line.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._said += data
        if not data or len(self._said) > MOST_SAID:
            self._close()
            return
        handed = Handed.parse(self._said)
        if handed is not None:
            self._said = b""
            self.waits = True
            self._handed(handed)

    def _on_end(self, code: int) -> None:
        self._process = None
        self.waits = False
        self._close()
        self._ended(code)

    def _close(self) -> None:
        if self._line is not None:
            self._loop.remove(self._line.fileno())
            self._line.close()
            self._line = None
