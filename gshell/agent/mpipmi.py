"""MPICH's family: the agent is the process manager of its ranks, by PMI-1 over a socket for each.

`gshell.mpi.pmi` knows what is said; here are the sockets, and barriers, which meet at the head.
"""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING, Any

from gshell.agent.mpitopology import Topology
from gshell.mpi import pmi
from gshell.net.loop import IN, OUT

if TYPE_CHECKING:
    from gshell.agent.mpijob import MpiJob
    from gshell.agent.ranks import Rank

READ_BYTES = 1 << 16
HEAD = 0


class _Line:
    """Our end of a rank's socket, and what it has not taken yet."""

    __slots__ = ("rest", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = bytearray()


class PmiWay:
    """Invariant: while a rank does not take our answers, nothing more of it is read."""

    over = True  # no launcher, so nothing beside the ranks

    def __init__(self, job: MpiJob, key: str, hydra: str = "", libraries: str = "") -> None:
        """``key``: the head drew it; MPICH names its shared memory by the key-value space, and
        one that was killed leaves that behind. ``hydra`` knows this machine's topology."""
        self._job = job
        self._loop = job.session.loop
        word = "".join(filter(str.isalnum, key))[:32]
        name = f"kvs_{job.session.job}_{job.session.attempt}_{word}"
        self._hydra = hydra, libraries
        self._topology = _topology_of(job) if hydra else None
        facts = self._topology.facts(hydra) if self._topology is not None else None
        self._server = pmi.Server(name, job.part.layout, job.index, facts)
        self._lines: dict[int, _Line] = {}  # by the rank's number here
        self._inside: dict[int, dict[str, str]] = {}  # at the head: who waits in the barrier, puts
        self._absent: dict[str, Any] | None = None  # of a rank here that has never come
        self._gone: dict[str, Any] | None = None  # at the head: of one anywhere
        self._names = pmi.Names()  # at the head

    # -- starting

    def start(self, plan: dict[str, Any]) -> None:
        job = self._job
        tasks = job.spec.tasks
        for rank in job.ranks:
            ours, theirs = socket.socketpair()
            number = 3 if theirs.fileno() != 3 else 4
            env = pmi.environment(
                job.spec.first + rank.number, job.spec.size, rank.number, tasks, job.host
            )
            env["PMI_FD"] = str(number)
            with theirs:
                job.session.start_rank(
                    rank, job.spec, more_env=env, inherit=(theirs.fileno(), number)
                )
            if rank.child is None:
                ours.close()
                self._failed(rank)
                return
            ours.setblocking(False)
            self._lines[rank.number] = _Line(ours)
            self._loop.add(ours.fileno(), IN, functools.partial(self._on_ready, rank.number))
        job.started()

    def _failed(self, rank: Rank) -> None:
        job = self._job
        number = job.spec.first + rank.number
        job.abort(number, rank.code, f"rank {number} on {job.host} could not be started")

    # -- the ranks' sockets

    def _on_ready(self, rank: int, mask: int) -> None:
        line = self._lines.get(rank)
        if line is None:
            return
        if line.rest:
            self._flush(line)
        else:
            self._read(rank, line)

    def _read(self, rank: int, line: _Line) -> bool:
        """Returns whether there may be more."""
        try:
            data = line.sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._close(rank)
            return False
        self._perform(self._server.receive(rank, data))
        if self._absent is not None and self._server.initialized(rank):
            self._missed(self._absent)
        return rank in self._lines

    def _perform(self, actions: list[pmi.Action]) -> None:
        job = self._job
        for action in actions:
            if isinstance(action, pmi.Answer):
                self._send(action.rank, action.data)
            elif isinstance(action, pmi.Entered):
                job.tell(HEAD, {"t": "in", "puts": action.puts})
            elif isinstance(action, pmi.Aborted):
                number = job.spec.first + action.rank
                why = f"rank {number} on {job.host} called MPI_Abort with code {action.code}"
                job.abort(number, action.code & 0xFF or 1, why)
            elif isinstance(action, pmi.Asked):
                job.tell(HEAD, {"t": "ask", "rank": action.rank, "line": action.line})
            elif isinstance(action, pmi.Refused):
                number = job.spec.first + action.rank
                job.say(f"rank {number} on {job.host} wants to start more ranks: gshell starts none"
                        " beyond those it was asked for")  # fmt: skip
            else:
                number = job.spec.first + action.rank
                job.say(f"rank {number} on {job.host} does not speak PMI-1: {action.why}")
                self._close(action.rank)

    def _send(self, rank: int, data: bytes) -> None:
        line = self._lines.get(rank)
        if line is not None:
            waits = bool(line.rest)
            line.rest += data
            if not waits:
                self._flush(line)

    def _flush(self, line: _Line) -> None:
        try:
            sent = line.sock.send(line.rest)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:  # it reads no more: its end says the rest
            sent = len(line.rest)
        del line.rest[:sent]
        self._loop.modify(line.sock.fileno(), OUT if line.rest else IN)

    def _close(self, rank: int) -> None:
        line = self._lines.pop(rank, None)
        if line is not None:
            self._loop.remove(line.sock.fileno())
            line.sock.close()

    # -- the others

    def on_peer(self, index: int, body: dict[str, Any]) -> None:
        """What other agents of its user say: taken as it should be, or left alone."""
        kind = body.get("t")
        rank, line, puts = body.get("rank"), body.get("line"), body.get("puts")
        if index == HEAD and kind == "out" and isinstance(puts, dict):
            self._perform(self._server.leave({str(key): str(puts[key]) for key in puts}))
        elif index == HEAD and kind == "answer" and isinstance(rank, int):
            self._perform(self._server.answer(rank, str(line)))
        if self._job.index != HEAD:
            return
        if kind == "in" and isinstance(puts, dict):
            self._inside[index] = puts
            self._look()
        elif kind == "gone" and self._gone is None:
            self._gone = body
            self._look()
        elif kind == "ask":
            answer = self._names.ask(str(line))
            self._job.tell(index, {"t": "answer", "rank": rank, "line": answer})

    def _look(self) -> None:
        """At the head: are all in the barrier, or does one wait who waits for ever?"""
        if self._gone is not None and self._inside:
            self._missed(self._gone)
        elif len(self._inside) == len(self._job.part.layout):
            self._all_inside()

    def _missed(self, gone: dict[str, Any]) -> None:
        rank, code = gone.get("rank"), gone.get("code")
        if isinstance(rank, int) and isinstance(code, int):
            self._job.abort(rank, code & 0xFF or 1, str(gone.get("why"))[:400])

    def _all_inside(self) -> None:
        inside, self._inside = self._inside, {}
        for index in sorted(inside, reverse=True):  # ourselves last: the others are further away
            puts: dict[str, str] = {}
            for other, theirs in inside.items():
                if other != index:
                    puts.update(theirs)
            self._job.tell(index, {"t": "out", "puts": puts})

    # -- ends

    def rank_exited(self, rank: Rank) -> bool:
        line = self._lines.get(rank.number)
        while line is not None and not line.rest and self._read(rank.number, line):
            pass  # what it said last
        self._close(rank.number)
        server = self._server
        if server.initialized(rank.number):
            return not server.unfinished(rank.number)
        if rank.signal is not None or any(server.initialized(r.number) for r in self._job.ranks):
            return False
        job = self._job
        number = job.spec.first + rank.number
        why = f"rank {number} on {job.host} exited with status {rank.code} before MPI_Init"
        # Others may know no MPI either: only if some do, it is missed.
        self._absent = {"t": "gone", "rank": number, "code": rank.code or 1, "why": why}
        job.tell(HEAD, self._absent)
        return True

    def before(self, rank: Rank) -> str:
        return "MPI_Finalize" if self._server.initialized(rank.number) else "MPI_Init"

    def launcher_ended(self) -> None: ...

    def listens(self, rank: Rank, number: int) -> bool:
        return True

    def kill(self) -> None: ...

    def close(self) -> None:
        for rank in list(self._lines):
            self._close(rank)
        if self._topology is not None:  # now: it takes no time from ranks that start
            self._topology.find(*self._hydra)


def _topology_of(job: MpiJob) -> Topology | None:
    claims = job.session.claims
    if claims is not None and claims.topology is None:
        claims.topology = Topology(job.session.loop, claims)
    return claims.topology if claims is not None else None
