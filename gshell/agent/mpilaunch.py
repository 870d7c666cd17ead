"""Ranks that a launcher starts (Open MPI's, or another): it runs in the head as the starter, and
reaches the other members through their agents. Each rank asks here for its streams.

A rank's death by a signal is named here, where it is seen; all else the launcher says itself.
"""

from __future__ import annotations

import base64
import functools
import logging
import os
import signal as signals
from typing import TYPE_CHECKING, Any, Callable

from gshell.agent import environment, ranks
from gshell.agent.claimed import Claimed, Ends, make_ends
from gshell.agent.claims import Offer, RemoteShell, Request
from gshell.agent.spawn import USUAL_SIZE, Child, SpawnSpec, spawn
from gshell.errors import SpawnFailed
from gshell.model.vt import ModeTracker
from gshell.net.loop import IN, Loop

if TYPE_CHECKING:
    from gshell.agent.mpijob import MpiJob
    from gshell.agent.ranks import Rank

HEAD = 0
READ_BYTES = 1 << 15
DAEMON_PIPE_BYTES = 1 << 16
CANNOT = 125
# A launcher ends its ranks when it gets these; ranks that got them too would die another death.
REAP_POLL_S = 0.05  # only on kernels without pidfds
FOR_ALL = (signals.SIGKILL, signals.SIGSTOP, signals.SIGCONT)
FOR_THE_LAUNCHER = (signals.SIGINT, signals.SIGTERM, signals.SIGHUP, signals.SIGQUIT)

log = logging.getLogger("gshell.agent")


class LaunchWay:
    """Invariant: a rank has one process at most, the first that asked for its streams."""

    def __init__(self, job: MpiJob) -> None:
        self._job = job
        self._session = job.session
        self._plan: dict[str, Any] = {}
        self._key = ""
        self._asked: set[int] = set()  # ranks, by their number here, that have been given streams
        self._begun = False
        self._shells: dict[int, tuple[int, RemoteShell]] = {}  # at the head: id -> member, who asks
        self._count = 0
        self._daemons: dict[int, Daemon] = {}
        assert job.session.claims is not None
        self._claims = job.session.claims
        self.over = False
        """The launcher has ended, everywhere."""

    # -- starting

    def door(self) -> list[str]:
        """Where our ranks ask, as the head is told: it may be that another member's daemon, on this
        very machine, starts them.

        Raises:
            OSError: there is no place for a socket.
        """
        self._key = self._key or self._claims.open(self)
        return [self._claims.path, self._key]

    def shell(self) -> tuple[str, ...]:
        """Our remote shell's first words, once there is a door."""
        return (*self._claims.helper, "rsh")

    def start(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        job = self._job
        try:
            self.door()
        except OSError as error:
            job.abort(job.spec.first, CANNOT, f"{job.host}: no socket for ranks: {error.strerror}")
            return
        if job.index != HEAD:
            return
        env, cwd = environment.of_rank(job.spec, self._session, 0)
        env.update(self._environment(HEAD))
        argv = [str(word) for word in self._plan["argv"]]
        try:
            child = spawn(SpawnSpec(argv, env, cwd, None, job.spec.umask, "null"))
        except SpawnFailed as error:
            job.abort(0, error.exit_code, f"on {job.host}: {error.message}")
            return
        self._session.adopt_child(job.starter, child)

    def _environment(self, daemon: int) -> dict[str, str]:
        """What the launcher's daemon at a member needs, beside that member's own."""
        env = {str(name): str(value) for name, value in self._plan.get("env", [])}
        own = self._claims.environment(self._key)
        env["GSHELL_RANK_EXEC"] = own["GSHELL_RANK_EXEC"]
        doors = [(own["GSHELL_RANKS"], own["GSHELL_RANKS_KEY"])]
        plan = zip(self._plan.get("doors", []), self._plan.get("daemons", []))
        for index, (door, starts) in enumerate(plan):
            if index != self._job.index and door and starts == daemon:
                doors.append((str(door[0]), str(door[1])))
        env["GSHELL_RANKS"] = " ".join(path for path, _ in doors)
        env["GSHELL_RANKS_KEY"] = " ".join(key for _, key in doors)
        return env

    # -- ranks that ask

    def claim(self, request: Request) -> Offer | None:
        job, session = self._job, self._session
        number = request.rank - job.spec.first
        if not 0 <= number < job.spec.tasks or number in self._asked or session.state != "running":
            return None
        rank = session.ranks[number]
        if rank.exited:
            return None
        env, cwd = environment.of_rank(job.spec, session, number)
        pty = USUAL_SIZE if request.rank in job.part.pty else None
        size = ranks.pipe_bytes(job.spec)
        try:
            ends = make_ends(pty, env, request.rank in job.part.input, size)
        except OSError as error:
            log.error("job %s: no streams for rank %d: %s", session.job, request.rank, error)
            return None
        self._asked.add(number)
        program = job.spec.argv[0]
        if session.workdir is not None:
            program = ranks.executable(session.workdir, program)
        return Offer(
            ends.theirs, pty is not None, cwd or "",
            program if program != job.spec.argv[0] else "",
            {"GSHELL_RANK": str(request.rank)},
            functools.partial(self._taken, rank, ends), functools.partial(self._left, rank, ends),
        )  # fmt: skip

    def _taken(self, rank: Rank, ends: Ends, pid: int) -> None:
        child = Claimed(pid, ends)
        if rank.exited or self._session.state != "running":
            child.signal(signals.SIGKILL)
            child.close()
            return
        if child.pty:
            rank.modes = ModeTracker()
            rank.modes.resized(USUAL_SIZE[0])
        self._session.adopt_child(rank, child)
        if len(self._asked) == self._job.spec.tasks:
            self._begin()

    def _left(self, rank: Rank, ends: Ends) -> None:
        self._asked.discard(rank.number)
        for fd in {fd for fd in ends.ours if fd >= 0}:
            os.close(fd)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._job.started()

    # -- the remote shell, at the head

    def remote(self, host: str, command: str, shell: RemoteShell) -> bool:
        names = self._plan.get("names", [])
        member = names.index(host) if host in names else -1
        if member < 0 or self.over:
            return False
        self._count += 1
        number = self._count
        self._shells[number] = member, shell
        tell = functools.partial(self._job.tell, member)

        def feed(data: bytes) -> None:
            tell(_data(number, 0, data))

        def gone() -> None:
            if self._shells.pop(number, None) is not None:
                tell({"t": "signal", "id": number, "sig": int(signals.SIGTERM)})

        shell.on_input, shell.on_gone = feed, gone
        words = command.replace(
            " --daemonize ", " "
        )  # it is to stay, so that it ends with the step
        tell({"t": "exec", "id": number, "argv": ["/bin/sh", "-c", words]})
        return True

    # -- the others

    def on_peer(self, index: int, body: dict[str, Any]) -> None:
        kind, number = body.get("t"), body.get("id")
        if kind == "over" and index == HEAD:
            self._on_over()
        if not isinstance(number, int):
            return
        if kind == "exec" and index == HEAD:
            self._execute(number, body)
        elif kind == "signal" and index == HEAD and number in self._daemons:
            self._daemons[number].end()
        elif kind == "exec-data":
            data = base64.b64decode(str(body.get("data", "")))
            if index == HEAD and number in self._daemons and body.get("fd") == 0:
                self._daemons[number].feed(data)
            elif number in self._shells and self._shells[number][0] == index:
                self._shells[number][1].output(2 if body.get("fd") == 2 else 1, data)
        elif kind == "exec-exit" and number in self._shells:
            code = body.get("code")
            self._shells.pop(number)[1].exited(code if isinstance(code, int) else 255)

    def _execute(self, number: int, body: dict[str, Any]) -> None:
        job = self._job
        argv = [str(word) for word in body["argv"]]
        env, cwd = environment.of_rank(job.spec, self._session, 0)
        env.update(self._environment(job.index))
        try:
            child = spawn(
                SpawnSpec(argv, env, cwd, None, job.spec.umask, "pipe", DAEMON_PIPE_BYTES)
            )
        except SpawnFailed as error:
            job.tell(HEAD, _data(number, 2, f"gshell: {job.host}: {error.message}\n".encode()))
            job.tell(HEAD, {"t": "exec-exit", "id": number, "code": error.exit_code})
            return

        def said(fd: int, data: bytes) -> None:
            job.tell(HEAD, _data(number, fd, data))

        def ended(code: int) -> None:
            self._daemons.pop(number, None)
            job.tell(HEAD, {"t": "exec-exit", "id": number, "code": code})

        self._daemons[number] = Daemon(self._session.loop, child, said, ended)

    # -- ends

    def rank_exited(self, rank: Rank) -> bool:
        """Launchers end ranks by TERM, and by KILL those that ignore it a while later: that is no
        death, and the launcher's status says why. All else makes it end the job."""
        if rank.signal == signals.SIGTERM:
            rank.code = 0
        return not rank.code

    def launcher_ended(self) -> None:
        """At the head. Who was told to end says that it did, and not how launchers put it."""
        starter, told = self._job.starter, self._job.told_to_end
        if starter.code and told:
            starter.code, starter.signal = 128 + told, told
        self._job.tell_others({"t": "over"})
        self._on_over()

    def _on_over(self) -> None:
        """Ranks that have never asked will not."""
        self.over = True
        if self._asked:
            self._begin()
        for rank in self._job.ranks:
            if rank.number not in self._asked:
                rank.exited = True
        self._job.check_over()
        self._session.finish()

    def before(self, rank: Rank) -> str:
        return ""  # launchers look at the status alone

    def listens(self, rank: Rank, number: int) -> bool:
        """Does this rank's process get a signal that the user sends to the job?"""
        return (rank is self._job.starter) == (number in FOR_THE_LAUNCHER) or number in FOR_ALL

    def kill(self) -> None:
        """What does not end by itself."""
        starter = self._job.starter.child
        if starter is not None:
            starter.signal(signals.SIGKILL)
        for daemon in list(self._daemons.values()):
            daemon.end(signals.SIGKILL)
        self.over = True  # the head may not be there any more to say so
        self._job.check_over()
        self._session.finish()

    def close(self) -> None:
        self.over = True
        self._claims.shut(self._key)
        for _, shell in self._shells.values():
            shell.close()
        self._shells.clear()
        for daemon in list(self._daemons.values()):
            daemon.end(signals.SIGKILL)


class Daemon:
    """A launcher's daemon on this node, our child: its streams go to the head. Invariant: reaped
    and closed before ``ended`` is called."""

    def __init__(
        self,
        loop: Loop,
        child: Child,
        said: Callable[[int, bytes], None],
        ended: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._child = child
        self._said = said
        self._ended = ended
        for number, fd in ((1, child.stdout), (2, child.stderr)):
            loop.add(fd, IN, functools.partial(self._on_output, number, fd))
        if child.pidfd >= 0:
            loop.add(child.pidfd, IN, lambda mask: self._on_exit())
        else:
            loop.later(REAP_POLL_S, self._poll)

    def feed(self, data: bytes) -> None:
        """For its stdin, which launchers leave empty; ``b""``: the end."""
        try:
            if not data:
                self._child.close_stdin()
            elif self._child.stdin >= 0:
                os.write(self._child.stdin, data)
        except OSError:  # it does not read
            self._child.close_stdin()

    def end(self, number: int = signals.SIGTERM) -> None:
        self._child.signal(number)

    def _on_output(self, number: int, fd: int, mask: int) -> None:
        self._read(number, fd)

    def _read(self, number: int, fd: int) -> bool:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._said(number, data)
        else:
            self._loop.remove(fd)
        return bool(data)

    def _poll(self) -> None:
        self._on_exit()
        if self._child.exit is None:
            self._loop.later(REAP_POLL_S, self._poll)

    def _on_exit(self) -> None:
        child = self._child
        pidfd = child.pidfd
        status = child.reap()
        if status is None:
            return
        for number, fd in ((1, child.stdout), (2, child.stderr)):
            while self._read(number, fd):
                pass
            self._loop.remove(fd)
        if pidfd >= 0:
            self._loop.remove(pidfd)
        child.close()
        self._ended(status.code)


def _data(number: int, fd: int, data: bytes) -> dict[str, Any]:
    text = base64.b64encode(data).decode()
    return {"t": "exec-data", "id": number, "fd": fd, "data": text, "end": not data}
