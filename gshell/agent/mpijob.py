"""A session's MPI part: members say they are here, the head plans, each starts its ranks its way.

Knows no sockets; how ranks are started and served is a `Way`'s. See gshell/mpi/MPI.md.
"""

from __future__ import annotations

import logging
import os
import signal as signals
from typing import TYPE_CHECKING, Any, Protocol

from gshell.agent import hooks
from gshell.agent.hooks import Handed, Hooks
from gshell.agent.mpifind import NotAsked
from gshell.agent.mpiplan import Planner
from gshell.agent.mpipmi import PmiWay
from gshell.agent.mpishared import Shared
from gshell.agent.mpishell import KINDS, MemberShell
from gshell.errors import SpawnFailed

if TYPE_CHECKING:
    from gshell.agent.mpispec import MpiPart
    from gshell.agent.ranks import Rank
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec
    from gshell.net.loop import Timer

HEAD = 0  # the member that plans, and where barriers meet
KILL_AFTER_S = 2.0  # a rank that ignores TERM when another one has died
LAUNCHER_KILL_AFTER_S = 5.0  # more, for what ends by itself when its ranks have
CANNOT = 125
NO_PROGRAM = (126, 127)  # as a shell says it
MAX_WHY = 400  # characters of another member's words
LET_GO_S = 12.0  # after a cancel: the head's hooks, that a member waits for, have long been killed
OURS = (signals.SIGTERM, signals.SIGKILL)  # what we end ranks with

ENDING = {signals.SIGINT, signals.SIGTERM, signals.SIGHUP, signals.SIGQUIT}

log = logging.getLogger("gshell.agent")


class Way(Protocol):
    """How this member's ranks are started and served until they end."""

    over: bool
    """Is nothing of it left, but for the ranks?"""

    def start(self, plan: dict[str, Any]) -> None:
        """Start them; ``MpiJob.started()`` when they run, ``MpiJob.abort(..)`` if they cannot."""

    def on_peer(self, index: int, body: dict[str, Any]) -> None:
        """A body that is not the job's own (here, plan, abort)."""

    def rank_exited(self, rank: Rank) -> bool:
        """Hear what it said last; may it end like this, before others do?"""

    def before(self, rank: Rank) -> str:
        """What a rank that has ended and should not have, has not done."""

    def launcher_ended(self) -> None:
        """The starter's process, if it has one."""

    def listens(self, rank: Rank, number: int) -> bool:
        """Does this rank's process get a signal that the user sends to the job?"""

    def kill(self) -> None:
        """What runs beside the ranks."""

    def close(self) -> None:
        """All ranks here have ended."""


class MpiJob:
    """Invariant: ranks are started after the head's plan, once; the starter ends after them."""

    def __init__(self, session: Session, spec: StepSpec, part: MpiPart) -> None:
        self.session = session
        self.spec = spec
        self.part = part
        self.index = session.index
        self.host = os.uname().nodename
        self.hosts: list[str] = []
        """Of all members, once planned."""
        self.way: Way | None = None
        self._planner = Planner(self)
        self.shell = MemberShell(self, self._planner.launch.of_daemon)
        """The way to programs on the other members' nodes."""
        self._hooks: Hooks | None = None  # at the head
        self.hooked = False
        """There are hooks, so that members stay until the last of those has ended."""
        self.prepares = False
        """They run, and the ranks do not yet."""
        self._made: dict[str, Any] = {}  # what the hooks made of the job
        self._done: dict[int, int] = {}  # at the head, with hooks: member -> its ranks' status
        self._told_done = False
        self._here: dict[int, dict[str, Any]] = {}  # at the head: index -> of those who are here
        self._running = False
        self.why = ""
        """What it was ended for, before its ranks were done."""
        self._code: int | None = None  # it is ended, with this status
        self._signal: int | None = None  # of the rank that died
        self._signalled: set[int] = set()  # signals that its user sent
        self._killing: Timer | None = None
        self._shared = Shared()

    @property
    def starter(self) -> Rank:
        return self.session.ranks[self.spec.tasks]

    @property
    def ranks(self) -> list[Rank]:
        """Without the starter."""
        return self.session.ranks[: self.spec.tasks]

    # -- from here to the start

    def begin(self) -> None:
        layout, index = self.part.layout, self.index
        fits = len(layout) == self.session.size and layout[index] == self.spec.tasks
        if not fits or self.part.first(index) != self.spec.first:
            self.session.fail(CANNOT, "the layout of the MPI job is not that of its members", None)
            return
        self.tell(HEAD, {"t": "here", "tasks": self.spec.tasks, **self._planner.here()})
        if index == HEAD:  # the relay is to know that we are one program: a lost one is told of
            self.tell_others({"t": "here"})
        if self.session.peers is not None:
            self.session.peers.attach(self.on_peer)

    def tell(self, index: int, body: dict[str, Any]) -> None:
        """Say this to a member, which may be this one."""
        if index == self.index:
            self._heard(index, body)
        elif self.session.peers is not None:
            self.session.peers.tell(index, body)

    def tell_others(self, body: dict[str, Any]) -> None:
        for index in range(len(self.part.layout)):
            if index != self.index:
                self.tell(index, body)

    def on_peer(self, index: int, body: dict[str, Any]) -> None:
        """What a member says, in order and once; what makes no sense is left alone."""
        try:
            self._heard(index, body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("job %s: member %d makes no sense: %r", self.session.job, index, error)

    def _heard(self, index: int, body: dict[str, Any]) -> None:
        if self.session.state != "running":
            return
        kind = body.get("t")
        if kind == "here":
            self._on_here(index, body)
        elif kind == "plan" and index == HEAD:
            self._on_plan(body)
        elif kind == "abort":
            self._on_abort(body)
        elif kind in KINDS:
            self.shell.on_peer(index, body)
        elif kind == "hooks" and index == HEAD:
            self._on_hooks(bool(body.get("run")))
        elif kind == "done" and self.index == HEAD:
            self._on_done(index, body)
        elif self.way is not None:
            self.way.on_peer(index, body)

    def _on_here(self, index: int, body: dict[str, Any]) -> None:
        if self.index != HEAD or self.hosts or not 0 <= index < len(self.part.layout):
            return
        self._here[index] = body
        if len(self._here) == len(self.part.layout):
            self._make_plan()

    def _make_plan(self) -> None:
        if self.session.state != "running" or self._code is not None:
            return  # meanwhile
        if self._hooks is None and self._planner.hooks_wanted():
            self._run_hooks()
            return
        try:
            plan = self._planner.plan([self._here[each] for each in range(len(self._here))])
        except NotAsked as launcher:
            self._planner.ask(launcher.file, self._make_plan)
            return
        if self._hooks is not None:
            plan["hooks"] = self._made
        self.tell_others(plan)
        self._on_plan(plan)

    # -- hooks

    def _run_hooks(self) -> None:
        """At the head, when all members are there; the plan comes after those before the ranks."""
        for index in range(len(self.part.layout)):
            self.tell(index, {"t": "hooks", "run": True})
        self._hooks = Hooks(self, self._on_handed, self._on_hooks_ended)
        try:
            self._planner.start_hooks(self._hooks, [self._here[i] for i in range(len(self._here))])
        except OSError as error:
            self._give_up(CANNOT, f"{self.host}: no hooks can run: {error.strerror or error}")
        except SpawnFailed as error:
            self._give_up(error.exit_code, f"on {self.host}: {error.message}")

    def _on_hooks(self, run: bool) -> None:
        self.hooked = self.prepares = run
        if run:
            self.session.say_phase()  # that may last
        else:
            self.check_over()
            self.session.finish()

    def _on_handed(self, handed: Handed) -> None:
        """The hooks before the ranks have ended well."""
        assert self._hooks is not None
        changed = hooks.changes(self._hooks.before, handed.env)
        same = os.path.realpath(handed.cwd) == os.path.realpath(self._hooks.cwd)
        self._made = {"env": changed, "argv": handed.argv, "cwd": "" if same else handed.cwd}
        self._apply(self._made)  # the plan is made with it
        self._make_plan()

    def _apply(self, made: dict[str, Any]) -> None:
        env, argv, cwd = made.get("env"), made.get("argv"), made.get("cwd")
        if isinstance(env, dict):
            self.session.changes = {
                str(name): None if value is None else str(value) for name, value in env.items()
            }
        if isinstance(argv, list) and argv:
            self.spec = self.spec._replace(argv=[str(word) for word in argv])
        if isinstance(cwd, str) and cwd:
            self.spec = self.spec._replace(cwd=cwd)
        self.session.spec = self.spec

    def _on_hooks_ended(self, code: int) -> None:
        """All of them, or those before the ranks with a reason to start none."""
        if self.prepares:
            if self.told_to_end and not code:
                code = 128 + self.told_to_end
            why = "canceled" if self.session.canceled else ""
            why = why or (f"a hook on {self.host} ended it with status {code}" if code else "")
            self._give_up(code, why)
        elif code > self.starter.code:
            self.starter.code, self.starter.signal = code, None
            self.why = self.why or f"a post-run hook on {self.host} failed (status {code})"
        for index in reversed(range(len(self.part.layout))):
            self.tell(index, {"t": "hooks", "run": False})

    def _give_up(self, code: int, why: str) -> None:
        """No ranks are started."""
        self.prepares = False
        if code == CANNOT:
            self.say(why)
        body = {"t": "abort", "rank": -1, "code": code, "signal": None, "why": why}
        self.tell_others(body)
        self._on_abort(body)
        if self._hooks is None or not self._hooks.runs:
            for index in reversed(range(len(self.part.layout))):
                self.tell(index, {"t": "hooks", "run": False})

    def _on_done(self, index: int, body: dict[str, Any]) -> None:
        """The ranks of a member have ended."""
        code = body.get("code")
        self._done[index] = code if isinstance(code, int) and 0 <= code < 256 else 1
        if self._hooks is not None and len(self._done) == len(self.part.layout):
            self._hooks.finish(max(self._done.values()))

    @property
    def busy(self) -> bool:
        """Is there more to come when all ranks have ended?"""
        return self.hooked

    def holds(self, rank: Rank) -> bool:
        """Is this one's output to go on?"""
        return self.hooked and rank is self.starter

    def _on_plan(self, plan: dict[str, Any]) -> None:
        hosts = plan.get("hosts")
        if self.way is not None or self._code is not None or not isinstance(hosts, list):
            return
        self.prepares = False
        if isinstance(plan.get("hooks"), dict) and self.index != HEAD:
            self._apply(plan["hooks"])
        if plan.get("error"):
            self.hooked = False
            if self._hooks is not None:
                self._hooks.drop()
            code = plan.get("code")
            self.session.fail(code if code in NO_PROGRAM else CANNOT, str(plan["error"]), None)
            return
        self.hosts = [str(host) for host in hosts]
        if plan.get("way") == "pmi":
            self.way = PmiWay(self, str(plan.get("key")), *self._planner.hydra())
        else:
            self.way = self._planner.launch
        self.way.start(plan)

    def started(self) -> None:
        """The ranks run."""
        self._running = True
        self.session.say_started()

    # -- ends

    def rank_exited(self, rank: Rank) -> None:
        """Reaped; its output may still come."""
        if self.way is None:
            return
        if rank is self.starter:
            if self._code is not None:
                rank.code, rank.signal = self._code, self._signal
            self.way.launcher_ended()
            return
        proper = self.way.rank_exited(rank)
        if self._code is not None:
            rank.code = self._code if rank.signal in OURS else min(rank.code, self._code)
        elif not proper and not self.session.canceled and rank.signal not in self._signalled:
            self._died(rank)
        self.check_over()

    def _died(self, rank: Rank) -> None:
        number = self.spec.first + rank.number
        before = self.way.before(rank) if self.way is not None else "MPI_Init"
        why = f"rank {number} on {self.host} {how(rank, before)}"
        self.abort(number, rank.code or 1, why, rank.signal)

    def abort(self, rank: int, code: int, why: str, signal: int | None = None) -> None:
        """A rank of ours ends the job: say so here, end the others everywhere."""
        if self._code is None and self.session.state == "running":
            log.info("job %s: %s", self.session.job, why)
            self.say(why)
            body = {"t": "abort", "rank": rank, "code": code, "signal": signal, "why": why}
            self.tell_others(body)
            self._on_abort(body)

    def _on_abort(self, body: dict[str, Any]) -> None:
        code, signal = body.get("code"), body.get("signal")
        self.why = self.why or str(body.get("why", ""))[:MAX_WHY]
        self._signal = signal if isinstance(signal, int) and 0 < signal < 128 else None
        self.starter.signal = self._signal
        self._end(code if isinstance(code, int) and 0 <= code < 256 else 1)

    def say(self, words: str) -> None:
        """The starter's, on its stderr."""
        self.session.print_as(self.starter, words + "\n")

    def _end(self, code: int) -> None:
        if self._code is not None:
            return
        self._code = code
        self.starter.code = code
        self._shared.look(self.session.pids())
        for rank in self.ranks:
            if rank.child is None and not rank.exited:
                rank.exited = True  # it was never started
                rank.code = code
            elif rank.child is not None and not rank.exited:
                rank.child.signal(signals.SIGTERM)
                rank.child.signal(signals.SIGCONT)
        self._killing = self.session.clock_later(KILL_AFTER_S, self._kill)
        self.check_over()
        self.session.finish()

    def _kill(self) -> None:
        for rank in self.ranks:
            if rank.child is not None:
                rank.child.signal(signals.SIGKILL)
        if self.way is not None:
            self.session.clock_later(LAUNCHER_KILL_AFTER_S, self.way.kill)

    def check_over(self) -> None:
        """The starter ends when all else has."""
        starter = self.starter
        launcher = starter.child is not None and not starter.exited
        launcher = launcher or not (self.way is None or self.way.over)
        if not launcher and all(rank.exited for rank in self.ranks):
            self.starter.exited = True
            if self.hooked and not self._told_done and not self.prepares:
                self._told_done = True
                code = max(rank.code for rank in self.session.ranks)
                self.tell(HEAD, {"t": "done", "code": code})

    def listens(self, rank: Rank, number: int) -> bool:
        """Does this rank's process get a signal that the user sends to the job?"""
        return self.way is None or self.way.listens(rank, number)

    def signalled(self, number: int) -> None:
        """Its user, or the relay, sends this to all ranks: those that end by it have not died, and
        those that there are not yet end as well."""
        self._signalled.add(number)
        if self._hooks is not None:
            self._hooks.signal(number)
        self._shared.look(self.session.pids())
        if self.session.state != "running":
            return
        ends = number in (*ENDING, signals.SIGKILL)
        if self._hooks is not None and self._hooks.runs:
            return  # they end it
        if self.way is None and self.hooked and ends and number != signals.SIGKILL:
            self.session.clock_later(LET_GO_S, self._let_go)  # the head's hooks end it, if it lives
        elif self.way is None and ends:
            why = f"ended by signal {int(number)} before its ranks were started"
            self.session.fail(128 + number, why, int(number))
        elif self.way is not None and number == signals.SIGKILL:
            for rank in self.ranks:
                if rank.child is None and not rank.exited:
                    rank.exited, rank.code, rank.signal = True, 128 + number, int(number)
            self.way.kill()

    @property
    def told_to_end(self) -> int:
        """By its user, with this signal; 0: it was not."""
        if self.session.canceled:
            return signals.SIGTERM
        return max(self._signalled & ENDING, default=0)

    def cancel(self) -> None:
        self._shared.look(self.session.pids())
        if self._hooks is not None and self._hooks.runs:
            self._hooks.signal(signals.SIGTERM)
        elif self.hooked:
            self.session.clock_later(LET_GO_S, self._let_go)  # the head's hooks end it, if it lives
        elif not self._running and self.starter.child is None:
            self.session.fail(128 + signals.SIGTERM, "canceled", signals.SIGTERM)

    def _let_go(self) -> None:
        if self.hooked and self.session.state == "running":
            self.hooked = self.prepares = False
            self._end(128 + signals.SIGTERM)
            self.session.finish()

    def close(self) -> None:
        """All has ended."""
        if self._killing is not None:
            self._killing.cancel()
        if self._hooks is not None:
            self._hooks.drop()
            self._hooks.kill()
        self._shared.remove()
        if self.way is not None:
            self.way.close()
        self._planner.launch.close()  # it may have a door, and no plan that leads there
        self.shell.close()


def how(rank: Rank, before: str) -> str:
    """How it ended, after "rank 3 on n7"."""
    if rank.signal is None:
        return f"exited with status {rank.code}" + (before and f" before {before}")
    words = signals.strsignal(rank.signal) or "?"
    return f"was ended by signal {rank.signal} ({words})"
