"""The agent itself: does what the broker says, and tells it what becomes of the steps.

It joins the `Uplink` (the relay), the sessions and those who know one thing each: which steps there
are (`steps`), who may come in (`entrance`, `rights`), whether there is room (`slots`) and what the
relay has yet to know (`ends`). Knows the control messages of ``net/CONTROL.md``.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any, Callable

from gshell.agent import peers, services, stepview
from gshell.agent.attachment import Attachment
from gshell.agent.budget import Budget
from gshell.agent.claims import Claims
from gshell.agent.ends import STOPPED, Ends
from gshell.agent.entrance import Entrance
from gshell.agent.greeter import Greeter
from gshell.agent.lanes import Lanes
from gshell.agent.rights import Rights
from gshell.agent.session import Session
from gshell.agent.slots import Facts, Slots
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool, segment_bytes
from gshell.agent.spoolplace import SpoolPlace, usual_quota
from gshell.agent.sshdoor import SshDoor, Visit
from gshell.agent.steps import Steps, place, take_lane
from gshell.agent.uplink import Uplink
from gshell.agent.usage import Reporter, Step
from gshell.agent.workdir import WorkDirs
from gshell.errors import AuthError, GshellError, RemoteProtocolError
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop

NEW_GRACE_S = 30.0  # an opening that lost its link before it said what to start
LOST_PRIMARY_S = 600.0  # a writer that does not come back in this time has detached
AWAY_WRITER_S = 20.0  # a writer whose link is lost keeps the typing so long from those present
SWEEP_S = 5.0
FINAL = ("auth", "denied", "revoked", "superseded")  # refused for good: no use to dial again
ADOPTED = "adopted"  # tag of agents in an allocation that others started
ADOPTED_WAIT_S = 120.0  # for the step that we were started for; then nobody wants us
KEEP_WORKDIR_S = 86400.0  # of a job that has ended, or of one whose start never came

log = logging.getLogger("gshell.agent")


class Agent:
    """Invariant: a step runs only for the agent's own user, or a member of its pool, whose
    attachment was announced by the relay and who showed that user's certificate."""

    def __init__(
        self,
        loop: Loop,
        ticket: Ticket,
        facts: Facts,
        version: str,
        spool_dir: str | None = None,
        quota_bytes: int | None = None,
        boot: str = "",
    ) -> None:
        """``quota_bytes``: what all sessions may have on disk; None: `spoolplace.usual_quota`.
        ``boot``: this process's name, drawn by its keeper, who speaks of it when it is dead."""
        self.loop = loop
        self._ticket = ticket
        self._facts = facts
        self._version = version
        self._boot = boot or os.urandom(16).hex()
        self._place = SpoolPlace(spool_dir)
        self.workdirs = WorkDirs(spool_dir)
        self.claims = Claims(loop)
        if quota_bytes is None:
            quota_bytes = usual_quota(self._place.base)
        self.disk = Budget(quota_bytes, None, self._room_on_disk)
        self._room_told = False
        self._uplink = Uplink(loop, ticket, self)
        self.lanes = Lanes(loop, self._uplink.say)
        self._peers = peers.Book(self._uplink.say, loop.later)
        self.ssh = SshDoor(self)
        self._reporter = Reporter(loop.later, self._running, self._uplink.say)
        self.steps = Steps()
        self._rights = Rights(ticket.user, facts.pool)
        self._slots = Slots(facts, self.steps)
        self._ends = Ends(loop, facts, self._uplink.say)
        self.entrance = Entrance(
            self, self._uplink, self._rights, self.steps, self.ssh, self.workdirs
        )
        self.draining = False
        self._used_at = loop.clock()  # or the relay was there
        self._born_at = loop.clock()
        self.done: GshellError | None = None
        self.ended = False
        self.connected_once = False

    @property
    def archiving(self) -> bool:
        return self._uplink.archive != "off"

    @property
    def batch_job(self) -> tuple[str, str]:
        allocated = self._facts.allocated
        return str(allocated.get("lrms") or ""), str(allocated.get("lrms_id") or "")

    def start(self) -> None:
        self._uplink.start()
        self.loop.later(SWEEP_S, self._sweep)
        self.loop.later(SWEEP_S, _load_mpi)
        leftovers = itertools.chain(
            self._place.leftovers(), self.workdirs.leftovers(), self.claims.leftovers()
        )
        self.loop.later(SWEEP_S, lambda: self._clean(leftovers))  # after what cannot wait

    def _clean(self, leftovers: Iterator[str]) -> None:
        """One file after the other: somebody may be typing."""
        if next(leftovers, None) is not None:
            self.loop.soon(lambda: self._clean(leftovers))

    def _drop_workdir(self, job: str, index: int) -> None:
        self._clean(self.workdirs.drop(job, index))

    # -- slots

    def admit(self, session: Session, spec: StepSpec) -> None:
        if session.user != self._ticket.user:  # of our pool: this account's environment, not theirs
            spec = spec._replace(where="")
        if session.service:
            spec = spec._replace(service=session.service, tasks=1, pty=None)
            if session.service == "files":
                site = str(self._facts.allocated.get("site") or "")
                address = os.environ.get(services.ADDRESS, "")
                spec = services.for_files(session, spec, self.workdirs, site, address)
        elif spec.service == services.ADOPT and ADOPTED in self._facts.tags:
            self._ends.own = session
        elif spec.service:
            raise RemoteProtocolError("bad-spec", "a service that was not announced")
        weightless = bool(session.beside or session.service)
        if not weightless and (self.draining or not self._slots.take(session, spec)):
            self._refuse(session, "draining" if self.draining else "busy")
            return
        self.steps.started(session)
        if spec.mpi is not None or spec.crew:
            session.claims = self.claims
            session.peers = self._peers.of(session.job, session.index, session.attempt)
        session.start(spec)

    def _refuse(self, session: Session, code: str) -> None:
        attachment = session.primary
        taken = f"{self._slots.busy(session.lane)} of {self._facts.slots} slots are taken"
        self._uplink.say(
            {
                "m": "refused",
                "att": attachment.id if attachment else "",
                "job": session.job,
                "index": session.index,
                "code": code,
                "message": f"{self._facts.host}: {taken}",
            }
        )
        if attachment is not None:
            attachment.end(code)
        self._drop(session)

    # -- from the sessions

    def on_started(self, session: Session) -> None:
        self._uplink.say(stepview.started(session))
        if not session.service and not (session.beside and session.lane == "batch"):
            self.lanes.started(session)

    def before_signal(self, session: Session) -> None:
        self.lanes.before_signal(session)

    def find(self, step: str) -> Session | None:
        return self.steps.find(step)

    def on_ended(self, session: Session) -> None:
        self.steps.ended(session)
        self.lanes.ended(session)
        self._ends.ended(session)
        if session.workdir is not None:
            self.workdirs.touch(session.job, session.index, time.time())

    def make_workdir(self, session: Session) -> str:
        path = self.workdirs.make(session.job, session.index)
        self.workdirs.touch(session.job, session.index, time.time())
        return path

    def on_phase(self, session: Session) -> None:
        self._uplink.say({"m": "phase", "job": session.job, "index": session.index,
                          "attempt": session.attempt, "phase": session.phase})  # fmt: skip

    def ask_token(self, session: Session) -> None:
        if self._uplink.welcomed:  # else as soon as there is a relay again
            self._uplink.say({"m": "token", "job": session.job, "index": session.index,
                              "attempt": session.attempt})  # fmt: skip

    def on_withdrawn(self, session: Session) -> None:
        log.info("job %s.%s: another attempt runs", session.job, session.index)
        for attachment in list(session.attachments.values()):
            attachment.end("gone", "another attempt of this job runs")
        self._drop(session)
        self._drop_workdir(session.job, session.index)

    def _on_token(self, message: dict[str, Any], may: bool) -> None:
        for session in self.steps.of(message):
            if session.attempt == message.get("attempt", session.attempt):
                session.answer(may)

    def on_watchers(self, session: Session) -> None:
        if session.state != "new":
            self._uplink.say(stepview.watchers(session))

    def on_stole(self, session: Session, attachment: Attachment) -> None:
        self._uplink.say(
            {"m": "stole", "job": session.job, "index": session.index, "att": attachment.id}
        )

    def on_visitor_left(self, session: Session, attachment: Attachment) -> None:
        self._uplink.say(
            {"m": "left", "job": session.job, "index": session.index, "att": attachment.id}
        )

    def on_left(self, session: Session) -> None:
        if session.state == "new" and not session.attachments:
            self._unused(session)
        elif session.service and session.state == "running" and not session.attachments:
            session.cancel()  # nobody is left who could talk to it

    def _running(self) -> list[Step]:
        return [stepview.usage(s) for s in self.steps.by_key.values() if s.state == "running"]

    def make_spool(self, session: Session, stream: int) -> Spool:
        size = segment_bytes(session.keeping.quota_bytes)
        return Spool(self._place.next_path(), size, self._place.remake)

    def _room_on_disk(self) -> None:
        """Somebody gave back what others wait for."""
        if not self._room_told:
            self._room_told = True
            self.loop.soon(self._retry_logs)

    def _retry_logs(self) -> None:
        self._room_told = False
        for session in self.steps.all:
            session.keeping.retry()

    def _unused(self, session: Session) -> None:
        opener = self.steps.opener(session)
        self._uplink.say({"m": "unused", "job": session.job, "index": session.index, "att": opener})
        self._drop(session)

    def _drop(self, session: Session) -> None:
        session.forget()
        self.steps.remove(session)
        self._ends.forget(session)
        if session.peers is not None:
            self._peers.drop(session.peers.me)

    # -- from the relay

    def hello(self) -> dict[str, Any]:
        facts = self._facts
        running = [s for s in self.steps.by_key.values() if s.state == "running"]
        sessions = dict.fromkeys([*running, *self._ends.unknown])
        return {
            "m": "hello", "role": "agent", "v": 1, "agent_id": self._ticket.agent_id,
            "boot": self._boot, "host": facts.host, "cpus": facts.cpus,
            "memory_bytes": facts.memory_bytes, "tags": facts.tags,
            "slots": facts.slots, "draining": self.draining, "pid": os.getpid(),
            "version": self._version,
            "pool": facts.pool, "lanes": True, "ad": {"software": facts.software},
            **facts.allocated,
            "sessions": [*map(stepview.summary, sessions), *self.ssh.summaries()],
        }  # fmt: skip

    def on_welcome(self) -> None:
        log.info("registered with the relay")
        self.connected_once = True
        if self.lanes.active:
            self._uplink.say(self.lanes.report())
        self._peers.on_welcome()
        for session in self.steps.all:
            if session.asks_token:
                self.ask_token(session)

    def on_away(self, error: GshellError) -> None:
        log.info("relay away: %s", error)
        self._reporter.watch(False)  # the next one says whether anybody looks
        self.entrance.relay_away()

    def on_refused(self, error: AuthError) -> None:
        log.error("%s", error)
        self.done = error

    def on_control(self, message: dict[str, Any]) -> None:
        kind = message.get("m")
        if kind == "expect":
            self.entrance.expect(message)
        elif kind == "unexpect":
            self.entrance.unexpect(str(message.get("att")))
        elif kind == "signal":
            number = int(message.get("sig", 15))
            if not 0 < number < signal.NSIG:
                raise ValueError(number)
            for session in self.steps.of(message):
                session.signal_all(number)
            if number in (signal.SIGTERM, signal.SIGKILL):
                self.ssh.end_job(str(message.get("job")))
        elif kind in ("peer", "peer-no"):
            self._peers.on_control(message)
        elif kind == "cancel":
            for session in self.steps.of(message):
                session.cancel()
            self.ssh.end_job(str(message.get("job")))
        elif kind == "revoke":
            self.entrance.revoke(message)
        elif kind == "ended-ok":
            self._ends.acknowledged(message)
            if self._ends.own is not None:
                self._leave_if_over(self.loop.clock())
        elif kind == "archived":
            for session in self.steps.of(message):
                session.archived = True
        elif kind == "forget":
            for session in self.steps.of(message):
                if session.state == "ended":
                    self._drop(session)
            for index in self.workdirs.members(str(message.get("job"))):
                self._workdir_done({**message, "index": index, "size": index + 1})
        elif kind == "workdir":
            self._make_workdir(message)
        elif kind in ("token-ok", "token-no"):
            self._on_token(message, kind == "token-ok")
        elif kind == "workdir-done":
            self._workdir_done(message)
        elif kind == "staged-out":
            self._workdir_done({"size": 1 + int(message["index"]), **message})
        elif kind == "start":
            self._start_detached(message)
        elif kind == "ssh-host":
            self.ssh.on_host(message)
        elif kind == "drain":
            self.draining = bool(message.get("on", True))
        elif kind == "watch":
            self._reporter.watch(message.get("on") is True)
        elif kind == "stop":
            self.done = GshellError("stopped by request")
        elif kind == "error":
            log.error("relay: %s", message.get("message"))
            if message.get("code") in FINAL:  # "duplicate" may pass: it dials again
                self.done = AuthError(str(message.get("message")))

    def _make_workdir(self, message: dict[str, Any]) -> None:
        """Ahead of the start, for what is staged in."""
        job, index, _ = place({"size": 1 + int(message["index"]), **message})
        self._forget_attempt(job, index, message.get("attempt"))
        try:
            self.workdirs.make(job, index)
            self.workdirs.touch(job, index, time.time())
        except OSError as error:
            log.error("job %s: no work directory: %s", job, error)

    def _forget_attempt(self, job: str, index: int, attempt: object) -> None:
        """A later one comes, to where this one has ended: it begins with an empty directory."""
        for session in self.steps.of({"job": job, "index": index}):
            later = isinstance(attempt, int) and attempt > session.attempt
            if session.state == "ended" and later:
                self._drop(session)
                self._drop_workdir(job, index)

    def _workdir_done(self, message: dict[str, Any]) -> None:
        job, index, _ = place({"size": 1 + int(message["index"]), **message})
        if all(s.state == "ended" for s in self.steps.of({"job": job, "index": index})):
            self._drop_workdir(job, index)

    def _start_detached(self, message: dict[str, Any]) -> None:
        job, index, size = place(message)
        key = f"{job}.{index}"
        self._forget_attempt(job, index, message.get("attempt"))
        if key in self.steps.by_key:
            return
        user = str(message["user"])
        if not self._rights.serves(user, message.get("pool")):
            log.error("job %s is not for this agent to run: refused", job)
            self._uplink.say({"m": "unused", "job": job, "index": index, "att": ""})
            return
        session = Session(self, job, index, size, user)
        take_lane(session, message)
        self.steps.add(key, session)
        try:
            spec = StepSpec.parse(message.get("spec") or {})
        except RemoteProtocolError as error:
            log.error("job %s: %s", session.job, error)
            self._unused(session)
            return
        self.admit(session, spec)

    # -- stock SSH

    def say(self, message: dict[str, Any]) -> None:
        self._uplink.say(message)

    def plain_owner(self, sock: socket.socket, data: bytes) -> None:
        self.ssh.arrived(sock, data)

    def take_expected(self, att: str) -> dict[str, Any] | None:
        return self.entrance.take_expected(att)

    def ssh_lane(self, visit: Visit, began: bool) -> None:
        (self.lanes.started if began else self.lanes.ended)(visit)

    # -- from clients

    def data_owner(self, link_user: Callable[[], str]) -> Greeter:
        return Greeter(self.entrance, link_user())

    # -- time

    def _sweep(self) -> None:
        now = self.loop.clock()
        for session in self._slots.misplaced():
            self._refuse(session, "busy")
        self.entrance.sweep(now)
        for session in self.steps.all:
            for attachment in list(session.attachments.values()):
                lost_at = attachment.lost_at
                if lost_at is None:
                    continue
                if session.state == "new":
                    if now - lost_at > NEW_GRACE_S:
                        session.remove(attachment)
                        self.on_left(session)
                elif now - lost_at > LOST_PRIMARY_S:
                    session.remove(attachment)
                    self.on_left(session)
                elif now - lost_at > AWAY_WRITER_S and attachment is session.primary:
                    session.hand_on()
        for session in self.steps.outlived(time.time()):
            if self._ends.known(session):
                self._drop(session)
        self._end_if_forgotten(now)
        for job, index in self.workdirs.old(time.time() - KEEP_WORKDIR_S):
            self._workdir_done({"job": job, "index": index})
        self.loop.later(SWEEP_S, self._sweep)

    def _end_if_forgotten(self, now: float) -> None:
        """Nodes that nobody uses cost somebody: while the relay is there, it decides."""
        if ADOPTED in self._facts.tags:
            self._leave_if_over(now)
        if self._uplink.welcomed or not self.idle:
            self._used_at = now
        elif self._facts.idle_s is not None and now - self._used_at > self._facts.idle_s:
            log.warning("idle, and the relay is away: ended")
            self.done = GshellError("stopped by request")

    def _leave_if_over(self, now: float) -> None:
        """In another's allocation: with the step that we came for we go."""
        step = self._ends.own
        if step is None:
            over = now - self._born_at > ADOPTED_WAIT_S
        else:
            away = now - self._used_at > ADOPTED_WAIT_S  # the relay is
            over = step.state == "ended" and (self._ends.known(step) or away)
        if over and self.done is None:
            self.done = GshellError("stopped by request")

    def end_steps(self) -> None:
        """TERM for every step, KILL soon after; ``idle`` when they have ended."""
        self.draining = True
        self._ends.stopping()
        self.lanes.close()
        self.ssh.end_all()
        for session in self.steps.all:
            session.cancel()

    def signal_steps(self, number: int) -> None:
        for session in self.steps.all:
            session.signal_all(number)

    @property
    def idle(self) -> bool:
        running = any(session.state == "running" for session in self.steps.by_key.values())
        return not running and not self.ssh.visits

    @property
    def unarchived(self) -> list[str]:
        """Steps that have ended here and that the relay, which is there, has yet to fetch."""
        if not self._uplink.welcomed:
            return []
        ended = [s for s in self.steps.all if s.state == "ended" and s.to_archive]
        return sorted(f"{session.job}.{session.index}" for session in ended)

    def leave(self) -> None:
        """It is about to end: who wants something of it should hurry."""
        self._uplink.say({"m": "leaving"})

    def shut_down(self) -> None:
        """The last word: a BYE to clients and relay, and what would not end counts as ended."""
        for session in self.steps.all:
            if session.state == "running":
                self._ends.cut_short(session, time.time())
            for attachment in list(session.attachments.values()):
                attachment.end("shutdown", STOPPED)
        self._uplink.say({"m": "bye"})
        self._uplink.close()
        self.ssh.close()
        for session in self.steps.all:
            session.forget()
        self._place.remove()
        self.workdirs.remove()
        self.claims.close()


def _load_mpi() -> None:
    """Not when an agent starts, and not when the first MPI job does."""
    import gshell.agent.mpijob  # noqa: F401
