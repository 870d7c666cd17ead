"""A program that runs at a job's first member and starts what it likes on all of them, as mpi-start
of a description's Parallel job. The others lend it their nodes, by our remote shell, till it ends.

The program finds GSHELL_HOSTS, all members' hosts and slots, and GSHELL_PEERS, what is like ssh.
"""

from __future__ import annotations

import os
import shlex
import signal as signals
from typing import TYPE_CHECKING, Any

from gshell.agent.hosts import member_of, of_hosts
from gshell.agent.jobspec import JobPart
from gshell.agent.mpishell import KINDS, MemberShell
from gshell.mpi import plan as plans

if TYPE_CHECKING:
    from gshell.agent.claims import Offer, RemoteShell, Request
    from gshell.agent.ranks import Rank
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec

HEAD = 0
CANNOT = 125


def without_program(job: JobPart | None) -> JobPart | None:
    """Of a batch job, what there is at a member that has no program."""
    if job is None:
        return None
    return JobPart(workdir=job.workdir, inputs=job.inputs)


class Crew:
    """A session's part of it. Invariant: a member that is not the head has no program of its own,
    and ends when the head says so."""

    busy = prepares = False
    why = ""

    def __init__(self, session: Session, spec: StepSpec, slots: tuple[int, ...]) -> None:
        """``slots``: that the job has at each member."""
        self.session = session
        self.spec = spec
        self.slots = slots
        self.index = session.index
        self.host = os.uname().nodename
        self.shell = MemberShell(self, dict)
        self._here: dict[int, dict[str, Any]] = {}  # at the head
        self._started = False
        self._key = ""
        self._told = False

    @property
    def starter(self) -> Rank:
        return self.session.ranks[0]

    @property
    def ranks(self) -> list[Rank]:
        return []

    def begin(self) -> None:
        if len(self.slots) != self.session.size:
            self.session.fail(CANNOT, "the crew of the job is not its members", None)
            return
        self.tell(HEAD, {"t": "here", **member_of(self.host)})
        if self.session.peers is not None:
            self.session.peers.attach(self.on_peer)

    def tell(self, index: int, body: dict[str, Any]) -> None:
        if index == self.index:
            self.on_peer(index, body)
        elif self.session.peers is not None:
            self.session.peers.tell(index, body)

    def _tell_others(self, body: dict[str, Any]) -> None:
        for index in range(len(self.slots)):
            if index != self.index:
                self.tell(index, body)

    def on_peer(self, index: int, body: dict[str, Any]) -> None:
        """What a member says, in order and once; what makes no sense is left alone."""
        if self.session.state != "running":
            return
        kind = body.get("t")
        if kind == "here" and self.index == HEAD and 0 <= index < len(self.slots):
            self._here[index] = body
            if len(self._here) == len(self.slots) and not self._started:
                self._start()
        elif kind == "begun" and index == HEAD and self.index != HEAD:
            self._started = True
            self.session.say_begun()
        elif kind == "over" and index == HEAD and self.index != HEAD:
            self._over(0)
        elif kind in KINDS:
            self.shell.on_peer(index, body)

    def _start(self) -> None:
        """At the head, when all members are there."""
        self._started = True
        heres = [self._here[index] for index in range(len(self.slots))]
        names = plans.names([
            plans.Member(str(here.get("host"))[:255], count, str(here.get("machine")), 1)
            for here, count in zip(heres, self.slots)
        ])  # fmt: skip
        self.shell.names = names
        more = {"GSHELL_HOSTS": of_hosts(names, self.slots)}
        session = self.session
        assert session.claims is not None
        try:
            self._key = session.claims.open(self)
        except OSError as error:
            session.fail(CANNOT, f"{self.host}: no socket for mpi-start: {error.strerror}", None)
            return
        if len(set(names)) > 1:
            own = session.claims.environment(self._key)
            more.update((name, own[name]) for name in ("GSHELL_RANKS", "GSHELL_RANKS_KEY"))
            more["GSHELL_PEERS"] = shlex.join((*session.claims.helper, "rsh"))
        self._tell_others({"t": "begun"})
        session.start_rank(self.starter, self.spec, more_env=more)
        session.say_started()

    # -- of the door

    def claim(self, request: Request) -> Offer | None:
        return None  # its ranks are the launcher's alone

    def remote(self, host: str, command: str, shell: RemoteShell) -> bool:
        return self.shell.remote(host, command, shell)

    # -- ends

    def rank_exited(self, rank: Rank) -> None:
        """The head's program."""
        self._tell_over()

    def _tell_over(self) -> None:
        """The others have nothing more to wait for."""
        if self.index == HEAD and not self._told:
            self._told = True
            self._tell_others({"t": "over"})

    def holds(self, rank: Rank) -> bool:
        return False

    def _over(self, code: int, signal: int | None = None) -> None:
        """At another member."""
        self.starter.exited = True
        self.starter.code, self.starter.signal = code, signal
        self.session.finish()

    def listens(self, rank: Rank, number: int) -> bool:
        return True

    def signalled(self, number: int) -> None:
        if number == signals.SIGKILL and self.index != HEAD:
            self._over(128 + number, number)

    def cancel(self) -> None:
        if self.index == HEAD and not self._started:
            self.session.fail(128 + signals.SIGTERM, "canceled", signals.SIGTERM)

    def close(self) -> None:
        self._tell_over()
        if self._key and self.session.claims is not None:
            self.session.claims.shut(self._key)
        self.shell.close()
