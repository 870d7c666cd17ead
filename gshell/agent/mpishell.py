"""The remote shell between the members of a job: a launcher, mpi-start and its hooks run at the
head, and reach the other members' nodes as by ssh, with `rankexec.py rsh HOST COMMAND`.

Both sides: the head hears commands at its door (claims.py) and says them to a member, which runs
them and sends back what they say. No more than WINDOW is under way in either direction, so that a
node that is slow makes the other side wait.
"""

from __future__ import annotations

import base64
import functools
import os
import signal as signals
from typing import TYPE_CHECKING, Any, Callable, Protocol

from gshell.agent import environment
from gshell.agent.daemon import Daemon
from gshell.agent.spawn import SpawnSpec, spawn
from gshell.errors import SpawnFailed

if TYPE_CHECKING:
    from gshell.agent.claims import RemoteShell
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec

HEAD = 0
PIPE_BYTES = 1 << 16
WINDOW = 1 << 20  # bytes of a stream under way
KINDS = ("exec", "exec-data", "exec-took", "exec-exit", "signal")
DAEMONS = ("orted", "prted")  # they must stay, so that they end with the step


class Member(Protocol):
    """The job's part at this member."""

    session: Session
    spec: StepSpec
    index: int
    host: str

    def tell(self, index: int, body: dict[str, Any]) -> None: ...


class MemberShell:
    """Of one member. Invariant: what the head asked for and has not ended is in ``_daemons``."""

    def __init__(self, job: Member, more_env: Callable[[], dict[str, str]]) -> None:
        """``more_env``: in addition, for what runs here."""
        self._job = job
        self._more_env = more_env
        self.names: list[str] = []
        """Of the members, at the head: a host's name is found here."""
        self._shells: dict[int, tuple[int, RemoteShell]] = {}  # at the head: id -> member, who asks
        self._fed: dict[int, int] = {}  # at the head: bytes for its stdin that are on their way
        self._owed: dict[int, int] = {}  # at the member: bytes of its output
        self._count = 0
        self._daemons: dict[int, Daemon] = {}

    # -- at the head

    def remote(self, host: str, command: str, shell: RemoteShell) -> bool:
        """See `claims.Owner`."""
        if host not in self.names:
            return False
        member = self.names.index(host)
        self._count += 1
        number = self._count
        self._shells[number] = member, shell
        self._fed[number] = 0
        tell = functools.partial(self._job.tell, member)

        def feed(data: bytes) -> None:
            self._fed[number] += len(data)
            shell.pause(self._fed[number] >= WINDOW)
            tell(_data(number, 0, data))

        def gone() -> None:
            if self._shells.pop(number, None) is not None:
                del self._fed[number]
                tell({"t": "signal", "id": number, "sig": int(signals.SIGTERM)})

        def sent(count: int) -> None:
            tell({"t": "exec-took", "id": number, "fd": 1, "n": count})

        shell.on_input, shell.on_gone, shell.on_sent = feed, gone, sent
        if any(name in command for name in DAEMONS):
            command = command.replace(" --daemonize ", " ")
        tell({"t": "exec", "id": number, "argv": ["/bin/sh", "-c", command]})
        return True

    # -- what members say

    def on_peer(self, index: int, body: dict[str, Any]) -> None:
        kind, number, count = body.get("t"), body.get("id"), body.get("n")
        if not isinstance(number, int):
            return
        theirs = self._shells.get(number)
        ours = self._daemons.get(number) if index == HEAD else None
        if kind == "exec" and index == HEAD:
            self._execute(number, body)
        elif kind == "signal" and ours is not None:
            ours.end()
        elif kind == "exec-data":
            data = base64.b64decode(str(body.get("data", "")))
            if ours is not None and body.get("fd") == 0:
                ours.feed(data)
            elif theirs is not None and theirs[0] == index:
                theirs[1].output(2 if body.get("fd") == 2 else 1, data)
        elif kind == "exec-took" and isinstance(count, int):
            if body.get("fd") == 0 and theirs is not None:
                self._fed[number] -= count
                theirs[1].pause(self._fed[number] >= WINDOW)
            elif body.get("fd") == 1 and ours is not None:
                self._owed[number] -= count
                ours.pause(self._owed[number] >= WINDOW)
        elif kind == "exec-exit" and theirs is not None and theirs[0] == index:
            code = body.get("code")
            del self._fed[number]
            self._shells.pop(number)[1].exited(code if isinstance(code, int) else 255)

    # -- at the member

    def _execute(self, number: int, body: dict[str, Any]) -> None:
        job = self._job
        argv = [str(word) for word in body["argv"]]
        try:
            env, cwd = environment.of_rank(job.spec, job.session, 0)
            env.update(self._more_env())
            if cwd is not None and not os.path.isdir(cwd):
                cwd = "/"  # it may be what is to be copied here
            child = spawn(SpawnSpec(argv, env, cwd, None, job.spec.umask, "pipe", PIPE_BYTES))
        except SpawnFailed as error:
            job.tell(HEAD, _data(number, 2, f"gshell: {job.host}: {error.message}\n".encode()))
            job.tell(HEAD, {"t": "exec-exit", "id": number, "code": error.exit_code})
            return
        self._owed[number] = 0

        def said(fd: int, data: bytes) -> None:
            self._owed[number] += len(data)
            daemon = self._daemons.get(number)
            if daemon is not None:
                daemon.pause(self._owed[number] >= WINDOW)
            job.tell(HEAD, _data(number, fd, data))

        def taken(count: int) -> None:
            job.tell(HEAD, {"t": "exec-took", "id": number, "fd": 0, "n": count})

        def ended(code: int) -> None:
            self._daemons.pop(number, None)
            self._owed.pop(number, None)
            job.tell(HEAD, {"t": "exec-exit", "id": number, "code": code})

        self._daemons[number] = Daemon(job.session.loop, child, said, ended, taken)

    # -- ends

    def kill(self) -> None:
        for daemon in list(self._daemons.values()):
            daemon.end(signals.SIGKILL)

    def close(self) -> None:
        for _, shell in self._shells.values():
            shell.close()
        self._shells.clear()
        self.kill()


def _data(number: int, fd: int, data: bytes) -> dict[str, Any]:
    text = base64.b64encode(data).decode()
    return {"t": "exec-data", "id": number, "fd": fd, "data": text, "end": not data}
