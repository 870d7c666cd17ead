"""Ranks that a launcher starts (Open MPI's, or another): it runs in the head as the starter, and
reaches the other members through their agents. Each rank asks here for its streams.

A rank's death by a signal is named here, where it is seen; all else the launcher says itself.
"""

from __future__ import annotations

import functools
import logging
import os
import signal as signals
from typing import TYPE_CHECKING, Any

from gshell.agent import environment, ranks
from gshell.agent.claimed import Claimed, Ends, make_ends
from gshell.agent.claims import Offer, RemoteShell, Request
from gshell.agent.spawn import USUAL_SIZE, SpawnSpec, spawn
from gshell.errors import SpawnFailed
from gshell.model.vt import ModeTracker

if TYPE_CHECKING:
    from gshell.agent.mpijob import MpiJob
    from gshell.agent.ranks import Rank

HEAD = 0
CANNOT = 125
# A launcher ends its ranks when it gets these; ranks that got them too would die another death.
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

    def reaching(self) -> dict[str, str]:
        """What that needs to have, where it runs at the head."""
        own = self._claims.environment(self._key)
        return {name: own[name] for name in ("GSHELL_RANKS", "GSHELL_RANKS_KEY")}

    def of_daemon(self) -> dict[str, str]:
        """In addition to the member's own: what a launcher's daemon needs here, once planned."""
        return self._environment(self._job.index) if self._plan else {}

    def start(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        job = self._job
        job.shell.names = [str(name) for name in plan.get("names", [])]
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
        own = self._claims.environment(self._key, terminals=bool(self._job.part.pty))
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
            rank.modes.resized(*USUAL_SIZE)
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

    def remote(self, host: str, command: str, shell: RemoteShell) -> bool:
        """See `claims.Owner`."""
        over = self.over and not self._job.hooked
        return not over and self._job.shell.remote(host, command, shell)

    # -- the others

    def on_peer(self, index: int, body: dict[str, Any]) -> None:
        if body.get("t") == "over" and index == HEAD:
            self._on_over()

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
        self._job.shell.kill()
        self.over = True  # the head may not be there any more to say so
        self._job.check_over()
        self._session.finish()

    def close(self) -> None:
        self.over = True
        self._claims.shut(self._key)
        if self._begun and self._claims.build is None:
            from gshell.agent.rankbuild import Build  # now: it takes no time from ranks that start

            self._claims.build = Build(self._session.loop, self._claims)
            self._claims.build.begin()
