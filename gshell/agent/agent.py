"""The agent itself: what the broker announces, what clients open, which slots are taken.

Joins the Uplink (relay) and the Sessions (steps). Knows the control messages of
``net/CONTROL.md``; an agent serves one user, or a pool's members, and refuses others itself.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any, Callable, Protocol

from gshell.agent import peers, stepview
from gshell.agent.attachment import ARCHIVE, Attachment
from gshell.agent.budget import Budget
from gshell.agent.claims import Claims
from gshell.agent.lanes import Lanes
from gshell.agent.services import ADOPT
from gshell.agent.session import Session
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool, segment_bytes
from gshell.agent.spoolplace import SpoolPlace, usual_quota
from gshell.agent.sshdoor import SshDoor, Visit
from gshell.agent.uplink import Uplink
from gshell.agent.usage import Reporter, Step
from gshell.agent.workdir import WorkDirs
from gshell.errors import AuthError, GshellError, RemoteProtocolError
from gshell.model.ticket import Ticket
from gshell.net.link import Link
from gshell.net.loop import Loop, Timer
from gshell.net.rendezvous import public_id
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, stdin_of

EXPECT_WAIT_S = 2.0  # a client may be joined before the broker's word about it arrives
NEW_GRACE_S = 30.0  # an opening that lost its link before it said what to start
EXPECT_KEPT_S = 120.0  # an announced client that never came
LOST_PRIMARY_S = 600.0  # a writer that does not come back in this time has detached
AWAY_WRITER_S = 20.0  # a writer whose link is lost keeps the typing so long from those present
SWEEP_S = 5.0
LANES = ("batch", "interactive")
FINAL = ("auth", "denied", "revoked", "superseded")  # refused for good: no use to dial again
MAX_EXPECTS = 4096  # announced and not yet come; a relay that announces more is not sane
KILLED = (128 + signal.SIGTERM, 128 + signal.SIGKILL)
KILLED_WAIT_S = 0.5
STOPPED = "the agent was stopped"  # why its steps are over
KEEP_ENDED = 200  # ended sessions whose logs are kept for whoever asks
KEEP_UNARCHIVED = 5000  # of these, those that the relay's archive has yet to fetch
KEEP_ENDED_S = 3600.0
ADOPTED = "adopted"  # tag of agents in an allocation that others started
ADOPTED_WAIT_S = 120.0  # for the step that we were started for; then nobody wants us
KEEP_WORKDIR_S = 86400.0  # of a job that has ended, or of one whose start never came

log = logging.getLogger("gshell.agent")


class Facts:
    """What this agent offers."""

    def __init__(
        self,
        slots: int | None,
        tags: list[str],
        pool: str = "",
        allocated: dict[str, Any] | None = None,
    ) -> None:
        """``allocated``: of the batch job around us, as ``hello`` says it."""
        self.allocated = allocated or {}
        self.idle_s: int | None = None
        """So long without a step and without the relay, who else decides: it ends."""
        self.pool = pool  # the group whose members it serves under its own account
        self.host = os.uname().nodename
        self.cpus = len(os.sched_getaffinity(0))
        self.memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.tags = tags
        self.slots = slots if slots is not None else max(64, 4 * self.cpus)


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
        self._expects: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, Greeter] = {}
        self._sessions: dict[
            str, Session
        ] = {}  # by attachment id of its opener, or "job.index" if none
        self._steps: dict[str, dict[Session, str]] = {}  # job -> its sessions, by what key above
        self._live: dict[Session, None] = {}  # all that run, and maybe some that do no more
        self._attachments: dict[str, Session] = {}
        self._unacknowledged: dict[str, Session] = {}
        self.draining = False
        self._stopping = False
        self._killed: list[Session] = []  # ended, and not said: why, we shall know in a moment
        self._used_at = loop.clock()  # or the relay was there
        self._adopted: Session | None = None  # the step with which we come and go
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

    def busy_slots(self, lane: str) -> int:
        """Each lane has all slots."""
        running = (s for s in self._live if s.state == "running")
        return sum(session.slots for session in running if session.lane == lane)

    def admit(self, session: Session, spec: StepSpec) -> None:
        if session.user != self._ticket.user:  # of our pool: this account's environment, not theirs
            spec = spec._replace(where="")
        if session.service:
            spec = spec._replace(service=session.service, tasks=1, pty=None)
            if session.service == "files":
                spec = self._for_files(session, spec)
        elif spec.service == ADOPT and ADOPTED in self._facts.tags:
            self._adopted = session
        elif spec.service:
            raise RemoteProtocolError("bad-spec", "a service that was not announced")
        weightless = bool(session.beside or session.service)
        if not weightless and (self.draining or not self._has_room(session, spec)):
            self._refuse(session, "draining" if self.draining else "busy")
            return
        self._live[session] = None
        if spec.mpi is not None or spec.crew:
            session.claims = self.claims
            session.peers = self._peers.of(session.job, session.index, session.attempt)
        session.start(spec)

    def _has_room(self, session: Session, spec: StepSpec) -> bool:
        """An opening ahead of use is placed where a slot is free, for whatever comes; else in the
        interactive lane, for a terminal. When things are not so any more the relay looks anew."""
        if not session.warm:
            return self.busy_slots(session.lane) + spec.slots <= self._facts.slots
        beside = session.lane == "interactive"
        session.lane = "batch" if spec.pty is None else "interactive"
        if beside and spec.pty is None:
            return False
        lanes = ("interactive",) if beside else LANES
        busy = sum(map(self.busy_slots, lanes))
        return busy + spec.slots <= self._facts.slots

    def _refuse(self, session: Session, code: str) -> None:
        attachment = session.primary
        taken = f"{self.busy_slots(session.lane)} of {self._facts.slots} slots are taken"
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

    def _let_go_of_warm(self) -> None:
        """Those that are placed for an agent with free slots, while for some time there were none;
        and the other way round: the relay places the next ones better."""
        full = sum(map(self.busy_slots, LANES)) >= self._facts.slots
        unused = {s for s in self._sessions.values() if s.warm and s.state == "new" and s.primary}
        for session in unused:
            as_placed = full == (session.lane == "interactive")
            session.misplaced = 0 if as_placed else session.misplaced + 1
            if session.misplaced > 1:
                self._refuse(session, "busy")

    def _for_files(self, session: Session, spec: StepSpec) -> StepSpec:
        """Where it copies from and to: a job's work directory, else the user's home."""
        cwd = None
        words = []
        if session.stage:  # the relay's archive: a box, and only this one
            job, _, index = session.stage.partition(".")
            try:
                cwd, words = self.workdirs.make(job, int(index)), ["--box"]
            except (OSError, ValueError) as error:
                words = ["--gone", f"no work directory: {error}"]
            spec = spec._replace(extra_env={}, umask=0o077)
        elif session.beside:
            job, _, index = session.beside.partition(".")
            cwd = self.workdirs.path(job, int(index or 0)) or _directory_of(session.neighbour())
            if cwd is None:
                words = ["--gone", f"the work directory of job {session.beside} is not there"]
        return spec._replace(argv=["files", *words], cwd=cwd, home=None, shell=False, env={})

    # -- from the sessions

    def on_started(self, session: Session) -> None:
        spec = session.spec
        assert spec is not None
        self._uplink.say(
            {"m": "started", "job": session.job, "index": session.index,
             "att": session.primary.id if session.primary else "", "spec_name": spec.name,
             "argv0": spec.argv[0], "pty": spec.pty is not None, "tasks": spec.tasks,
             "archive": spec.archivable, "at": session.started_at, "lane": session.lane,
             "beside": session.beside, "service": session.service}
        )  # fmt: skip
        if not session.service and not (session.beside and session.lane == "batch"):
            self.lanes.started(session)

    def before_signal(self, session: Session) -> None:
        self.lanes.before_signal(session)

    def find(self, step: str) -> Session | None:
        job, _, index = step.partition(".")
        return next(iter(self._of_job({"job": job, "index": int(index or 0)})), None)

    def on_ended(self, session: Session) -> None:
        self._live.pop(session, None)
        self.lanes.ended(session)
        if (
            session.code in KILLED
            and not session.canceled
            and self._facts.allocated.get("pilot")
            and not self._stopping
        ):
            # A batch system ends all processes of a job at once: our turn may be next.
            self._killed.append(session)
            self.loop.later(KILLED_WAIT_S, self._say_killed)
        else:
            self._say_ended(session)

    def _say_killed(self) -> None:
        if self._killed:
            self._say_ended(self._killed.pop(0))

    def _say_ended(self, session: Session) -> None:
        stopped = self._stopping and session.code != 0 and session is not self._adopted
        if stopped:  # not its program's fault
            session.error = session.error or STOPPED
        self._unacknowledged[f"{session.job}.{session.index}"] = session
        self._uplink.say(
            {"m": "ended", "job": session.job, "index": session.index, "code": session.code,
             "signal": session.signal, "at": session.ended_at, "error": session.error,
             "archive": session.spec is not None and session.spec.archivable,
             "attempt": session.attempt, "started": session.launched, "phase": session.phase,
             "stopped": stopped}
        )  # fmt: skip
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
        for session in self._of_job(message):
            if session.attempt == message.get("attempt", session.attempt):
                session.answer(may)

    def on_watchers(self, session: Session) -> None:
        if session.state == "new":
            return
        attachments = session.attachments.values()
        live = [a for a in attachments if a.link is not None and a.user != ARCHIVE]
        self._uplink.say(
            {"m": "watchers", "job": session.job, "index": session.index,
             "attached": sum(a is session.primary for a in live),
             "watchers": sum(a is not session.primary for a in live)}
        )  # fmt: skip

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
        return [stepview.usage(s) for s in self._sessions.values() if s.state == "running"]

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
        for session in set(self._sessions.values()):
            session.keeping.retry()

    def _unused(self, session: Session) -> None:
        opener = self._steps.get(session.job, {}).get(session, "")
        self._uplink.say({"m": "unused", "job": session.job, "index": session.index, "att": opener})
        self._drop(session)

    def _drop(self, session: Session) -> None:
        session.forget()
        self._live.pop(session, None)
        steps = self._steps.get(session.job, {})
        self._sessions.pop(steps.pop(session, ""), None)
        if not steps:
            self._steps.pop(session.job, None)
        step = f"{session.job}.{session.index}"
        if self._unacknowledged.get(step) is session:
            del self._unacknowledged[step]
        if session.peers is not None:
            self._peers.drop(session.peers.me)
        for att in [att for att, value in self._attachments.items() if value is session]:
            del self._attachments[att]

    def _add(self, key: str, session: Session) -> None:
        self._sessions[key] = session
        self._steps.setdefault(session.job, {})[session] = key

    # -- from the relay

    def hello(self) -> dict[str, Any]:
        facts = self._facts
        sessions = {id(s): s for s in self._sessions.values() if s.state == "running"}
        sessions.update({id(s): s for s in self._unacknowledged.values()})
        return {
            "m": "hello", "role": "agent", "v": 1, "agent_id": self._ticket.agent_id,
            "boot": self._boot, "host": facts.host, "cpus": facts.cpus,
            "memory_bytes": facts.memory_bytes, "tags": facts.tags,
            "slots": facts.slots, "draining": self.draining, "pid": os.getpid(),
            "version": self._version,
            "pool": facts.pool, "lanes": True, **facts.allocated,
            "sessions": [*map(stepview.summary, sessions.values()),
                         *self.ssh.summaries()],
        }  # fmt: skip

    def on_welcome(self) -> None:
        log.info("registered with the relay")
        self.connected_once = True
        if self.lanes.active:
            self._uplink.say(self.lanes.report())
        self._peers.on_welcome()
        for session in set(self._sessions.values()):
            if session.asks_token:
                self.ask_token(session)

    def on_away(self, error: GshellError) -> None:
        log.info("relay away: %s", error)
        self._reporter.watch(False)  # the next one says whether anybody looks
        for waiting in list(self._waiting.values()):
            waiting.give_up()  # what was announced may be lost with the connection

    def on_refused(self, error: AuthError) -> None:
        log.error("%s", error)
        self.done = error

    def on_control(self, message: dict[str, Any]) -> None:
        kind = message.get("m")
        if kind == "expect":
            self._expect(message)
        elif kind == "unexpect":
            self._expects.pop(str(message.get("att")), None)
        elif kind == "signal":
            number = int(message.get("sig", 15))
            if not 0 < number < signal.NSIG:
                raise ValueError(number)
            for session in self._of_job(message):
                session.signal_all(number)
            if number in (signal.SIGTERM, signal.SIGKILL):
                self.ssh.end_job(str(message.get("job")))
        elif kind in ("peer", "peer-no"):
            self._peers.on_control(message)
        elif kind == "cancel":
            for session in self._of_job(message):
                session.cancel()
            self.ssh.end_job(str(message.get("job")))
        elif kind == "revoke":
            self._revoke(message)
        elif kind == "ended-ok":
            self._unacknowledged.pop(f"{message.get('job')}.{message.get('index')}", None)
            if self._adopted is not None:
                self._leave_if_over(self.loop.clock())
        elif kind == "archived":
            for session in self._of_job(message):
                session.archived = True
        elif kind == "forget":
            for session in self._of_job(message):
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

    def _of_job(self, message: dict[str, Any]) -> list[Session]:
        job, index = str(message.get("job")), message.get("index")
        return [s for s in self._steps.get(job, ()) if index is None or s.index == index]

    def _expect(self, message: dict[str, Any]) -> None:
        att = str(message["att"])
        _place(message)
        rights, op = message["rights"], message["op"]
        if rights not in ("r", "rw") or op not in ("open", "attach", "resume"):
            raise ValueError(op)
        if not isinstance(message["user"], str):
            raise TypeError("user")
        if len(self._expects) >= MAX_EXPECTS and att not in self._expects:
            del self._expects[next(iter(self._expects))]  # the oldest; its client asks again
        message["_at"] = self.loop.clock()
        self._expects[att] = message
        self._uplink.want_spares(1 + sum(not e.get("_come") for e in self._expects.values()))
        waiting = self._waiting.pop(att, None)
        if waiting is not None:
            waiting.go_on()
        self.ssh.announced(att)

    def _make_workdir(self, message: dict[str, Any]) -> None:
        """Ahead of the start, for what is staged in."""
        job, index, _ = _place({"size": 1 + int(message["index"]), **message})
        self._forget_attempt(job, index, message.get("attempt"))
        try:
            self.workdirs.make(job, index)
            self.workdirs.touch(job, index, time.time())
        except OSError as error:
            log.error("job %s: no work directory: %s", job, error)

    def _forget_attempt(self, job: str, index: int, attempt: object) -> None:
        """A later one comes, to where this one has ended: it begins with an empty directory."""
        for session in self._of_job({"job": job, "index": index}):
            later = isinstance(attempt, int) and attempt > session.attempt
            if session.state == "ended" and later:
                self._drop(session)
                self._drop_workdir(job, index)

    def _workdir_done(self, message: dict[str, Any]) -> None:
        job, index, _ = _place({"size": 1 + int(message["index"]), **message})
        if all(s.state == "ended" for s in self._of_job({"job": job, "index": index})):
            self._drop_workdir(job, index)

    def _start_detached(self, message: dict[str, Any]) -> None:
        job, index, size = _place(message)
        key = f"{job}.{index}"
        self._forget_attempt(job, index, message.get("attempt"))
        if key in self._sessions:
            return
        user = str(message["user"])
        if not self._serves(user, message.get("pool")):
            log.error("job %s is not for this agent to run: refused", job)
            self._uplink.say({"m": "unused", "job": job, "index": index, "att": ""})
            return
        session = Session(self, job, index, size, user)
        _take_lane(session, message)
        self._add(key, session)
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
        expect = self._expects.get(att)
        if expect is None:
            return None
        if not self._may(expect, str(expect["user"])):
            return {}  # not for us to run, whatever the relay says
        return self._expects.pop(att)

    def ssh_lane(self, visit: Visit, began: bool) -> None:
        (self.lanes.started if began else self.lanes.ended)(visit)

    # -- from clients

    def data_owner(self, link_user: Callable[[], str]) -> Greeter:
        return Greeter(self, link_user())

    def welcome(self, greeter: Greeter, att: str, hello: dict[str, Any], probe: wire.Peer) -> None:
        """A client named its attachment; put its link where it belongs."""
        link = greeter.link
        assert link is not None
        session = self._attachments.get(att)
        if session is not None and att in session.attachments:
            attachment = session.attachments[att]
            if attachment.user != greeter.user:
                raise RemoteProtocolError("denied", "another user's attachment")
            self._expects.pop(att, None)
            if session.primary is None and attachment.rights == "rw":
                session.steal(attachment)
            attachment.join(link, hello, probe)
            return
        expect = self._expects.get(att)
        if expect is None:
            greeter.wait_for(att)
            return
        if not self._may(expect, greeter.user):
            raise RemoteProtocolError("denied", "another user's attachment")
        if greeter.user == ARCHIVE and not self._may_archive(expect):
            greeter.refuse("denied", "this step is not for the archive")
            return
        del self._expects[att]
        if expect.get("op") == "open":
            owner = str(expect["owner"]) if greeter.user == ARCHIVE else greeter.user
            session = Session(self, *_place(expect), owner)
            session.beside = str(expect.get("beside") or "")
            session.stage = str(expect.get("stage") or "")
            session.service = str(expect.get("service") or "")
            _take_lane(session, expect)
            if session.beside:
                beside, _, part = session.beside.partition(".")
                session.workdir = self.workdirs.path(beside, int(part or 0))
            self._add(att, session)
            probe.add_recv(stdin_of(0), INPUT_WINDOW)
            probe.early_input = INPUT_WINDOW
        else:
            found = self._of_job(expect)
            if not found or expect.get("op") == "resume":  # resumed, but we do not have it any more
                greeter.refuse("gone", "this session is not kept any more")
                return
            session = found[0]
            if session.user != expect.get("owner", session.user):
                raise RemoteProtocolError("denied", "another user's job")
        attachment = Attachment(session, att, greeter.user, str(expect["rights"]), probe)
        attachment.since = hello.get("since")
        attachment.wants_ranks(hello)
        self._bind(attachment, expect)
        self._attachments[att] = session
        session.add(attachment, steal=bool(hello.get("steal")))
        attachment.join(link, hello, probe)
        self.on_watchers(session)  # counted with this one's link

    def _serves(self, user: str, pool: object) -> bool:
        """May this user's program run under our account?"""
        if self._facts.pool:
            return pool == self._facts.pool
        return user == self._ticket.user

    def _may(self, expect: dict[str, Any], user: str) -> bool:
        """Rights are enforced here: who starts something is our user or of our pool; others come
        only as the relay announced them, by a share."""
        if user != expect["user"]:
            return False
        if user == ARCHIVE:
            return True  # `_may_archive` says what it may
        owner = expect.get("owner", user)
        if expect.get("op") == "open" or user == owner:
            return bool(user == owner and self._serves(user, expect.get("pool")))
        return bool(expect.get("share"))

    def _bind(self, attachment: Attachment, expect: dict[str, Any]) -> None:
        """What the relay said of its right to be here; it ends here, whether the relay is there or
        not."""
        attachment.share = str(expect.get("share") or "")
        attachment.credential = str(expect.get("cred") or "")
        until = expect.get("until")
        if isinstance(until, (int, float)):
            attachment.until = until
            left_s = max(0.0, until - self._uplink.relay_time())
            attachment.expiry = self.loop.later(
                left_s, lambda: self._end_right(attachment.id, "the share has ended")
            )

    def _revoke(self, message: dict[str, Any]) -> None:
        """The right of these attachments has ended: now, and for good."""
        why = str(message.get("why") or "your right to be here was withdrawn")
        atts = message.get("atts")
        for att in atts if isinstance(atts, list) else ():
            self._end_right(str(att), why)

    def _end_right(self, att: str, why: str) -> None:
        self._expects.pop(att, None)
        waiting = self._waiting.pop(att, None)
        if waiting is not None:
            waiting.refuse("revoked", why)
        self.ssh.end(att, why)
        session = self._attachments.pop(att, None)
        attachment = session.attachments.get(att) if session is not None else None
        if session is not None and attachment is not None:
            session.forget_input(attachment)
            attachment.end("revoked", why)
            self.on_left(session)

    def _may_archive(self, expect: dict[str, Any]) -> bool:
        """The relay's archive looks on, at steps that are for it, and fills and empties jobs' work
        directories; it does nothing else."""
        if expect.get("op") == "open":
            served = self._serves(str(expect.get("owner")), expect.get("pool"))
            return served and expect.get("service") == "files" and bool(expect.get("stage"))
        if expect.get("op") not in ("attach", "resume") or expect.get("rights") != "r":
            return False
        return all(s.spec is not None and s.spec.archivable for s in self._of_job(expect))

    def expect_later(self, att: str, greeter: Greeter) -> None:
        self._waiting[att] = greeter

    def expect_no_more(self, att: str, greeter: Greeter) -> None:
        if self._waiting.get(att) is greeter:  # not a newer link of the same client
            del self._waiting[att]

    # -- time

    def _sweep(self) -> None:
        now = self.loop.clock()
        self._let_go_of_warm()
        for att in [a for a, e in self._expects.items() if now - e["_at"] > EXPECT_KEPT_S]:
            del self._expects[att]
        for session in list(set(self._sessions.values())):
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
        ended = [
            s for s in set(self._sessions.values()) if s.state == "ended" and not s.attachments
        ]
        ended.sort(key=lambda s: s.ended_at)
        waiting = sum(session.to_archive for session in ended)
        too_many = len(ended) - waiting - KEEP_ENDED
        unfetched = waiting - KEEP_UNARCHIVED
        for session in ended:
            go = session.archived or time.time() - session.ended_at > KEEP_ENDED_S
            if session.to_archive:
                go, unfetched = go or unfetched > 0, unfetched - 1
            elif not go:
                go, too_many = too_many > 0, too_many - 1
            if go and f"{session.job}.{session.index}" not in self._unacknowledged:
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
        step = self._adopted
        if step is None:
            over = now - self._born_at > ADOPTED_WAIT_S
        else:
            told = f"{step.job}.{step.index}" not in self._unacknowledged
            away = now - self._used_at > ADOPTED_WAIT_S  # the relay is
            over = step.state == "ended" and (told or away)
        if over and self.done is None:
            self.done = GshellError("stopped by request")

    def end_steps(self) -> None:
        """TERM for every step, KILL soon after; ``idle`` when they have ended."""
        self.draining = self._stopping = True
        while self._killed:
            self._say_killed()
        self.lanes.close()
        self.ssh.end_all()
        for session in set(self._sessions.values()):
            session.cancel()

    def signal_steps(self, number: int) -> None:
        for session in set(self._sessions.values()):
            session.signal_all(number)

    @property
    def idle(self) -> bool:
        running = any(session.state == "running" for session in self._sessions.values())
        return not running and not self.ssh.visits

    @property
    def unarchived(self) -> list[str]:
        """Steps that have ended here and that the relay, which is there, has yet to fetch."""
        if not self._uplink.welcomed:
            return []
        ended = [s for s in set(self._sessions.values()) if s.state == "ended" and s.to_archive]
        return sorted(f"{session.job}.{session.index}" for session in ended)

    def leave(self) -> None:
        """It is about to end: who wants something of it should hurry."""
        self._uplink.say({"m": "leaving"})

    def shut_down(self) -> None:
        """The last word: a BYE to clients and relay, and what would not end counts as ended."""
        why = STOPPED
        for session in set(self._sessions.values()):
            if session.state == "running":
                self._uplink.say(
                    {"m": "ended", "job": session.job, "index": session.index, "code": 143,
                     "signal": 15, "at": time.time(), "error": why, "attempt": session.attempt,
                     "started": session.launched, "phase": session.phase,
                     "stopped": True}
                )  # fmt: skip
            for attachment in list(session.attachments.values()):
                attachment.end("shutdown", why)
        self._uplink.say({"m": "bye"})
        self._uplink.close()
        self.ssh.close()
        for session in set(self._sessions.values()):
            session.forget()
        self._place.remove()
        self.workdirs.remove()
        self.claims.close()


def _load_mpi() -> None:
    """Not when an agent starts, and not when the first MPI job does."""
    import gshell.agent.mpijob  # noqa: F401


def _directory_of(session: Session | None) -> str | None:
    """Where a step's program is now."""
    if session is None or not session.pid():
        return None
    try:
        return os.readlink(f"/proc/{session.pid()}/cwd")
    except OSError:
        return None  # it has just ended


def _place(message: dict[str, Any]) -> tuple[str, int, int]:
    """(job, index, size) in a relay's message: a job's number is part of file names here.

    Raises:
        ValueError, KeyError, TypeError: they are not there.
    """
    job, index, size = str(message["job"]), int(message["index"]), int(message["size"])
    if not (job.isascii() and job.isdigit()) or len(job) > 18 or not 0 <= index < size < 1 << 20:
        raise ValueError("no job")
    return job, index, size


def _take_lane(session: Session, message: dict[str, Any]) -> None:
    """What the relay said of the lane, and the how-many-th attempt this is."""
    session.lane = "interactive" if message.get("lane") == "interactive" else "batch"
    loss = message.get("loss")
    if isinstance(loss, (int, float)) and not isinstance(loss, bool) and 0 <= loss <= 100:
        session.loss = float(loss)
    session.warm = message.get("warm") is True
    attempt = message.get("attempt", 1)
    session.attempt = attempt if isinstance(attempt, int) else 1
    session.wants_token = message.get("token") is True


class Host(Protocol):
    """Whom a greeter asks: an agent, or the relay's archive."""

    loop: Loop

    def welcome(
        self, greeter: Greeter, att: str, hello: dict[str, Any], probe: wire.Peer
    ) -> None: ...

    def expect_later(self, att: str, greeter: Greeter) -> None: ...

    def expect_no_more(self, att: str, greeter: Greeter) -> None: ...


class Greeter:
    """A joined data link whose client has not yet said which attachment it is."""

    def __init__(self, agent: Host, user: str) -> None:
        self._agent = agent
        self.user = user
        self.link: Link | None = None
        self._probe = wire.Peer(client=False)
        self._hello: dict[str, Any] | None = None
        self._att = ""
        self._timer: Timer | None = None

    def link_ready(self, link: Link) -> None:
        self.link = link
        if not self.user:
            raise RemoteProtocolError("denied", "no user's certificate")

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        for chunk in chunks:
            for event in self._probe.receive(chunk):
                if isinstance(event, wire.Greeted):
                    self._hello = event.message
                else:
                    raise RemoteProtocolError("unexpected-frame", "before HELLO")
        if self._hello is None:
            out = self._probe.pull(1 << 16)  # an answer to a PING
            if out:
                link.send(b"".join(out))
        elif not self._att:
            try:
                secret = bytes.fromhex(str(self._hello.get("secret")))
            except ValueError:
                raise RemoteProtocolError("bad-greeting", "secret") from None
            if len(secret) != 32:
                raise RemoteProtocolError("bad-greeting", "secret")
            self._att = public_id(secret)
            self._agent.welcome(self, self._att, self._hello, self._probe)

    def wait_for(self, att: str) -> None:
        """The relay's announcement is still on its way."""
        assert self.link is not None
        self.link.pause(True)
        self._agent.expect_later(att, self)
        self._timer = self._agent.loop.later(EXPECT_WAIT_S, self.give_up)

    def go_on(self) -> None:
        assert self._hello is not None
        assert self.link is not None
        if self._timer is not None:
            self._timer.cancel()
        self.link.pause(False)
        try:
            self._agent.welcome(self, self._att, self._hello, self._probe)
        except RemoteProtocolError as error:
            self.refuse("denied", error.message)

    def give_up(self) -> None:
        self._agent.expect_no_more(self._att, self)
        if self._timer is not None:
            self._timer.cancel()
        self.refuse("again", "nobody announced this attachment")

    def refuse(self, code: str, reason: str) -> None:
        link = self.link
        if link is not None and not link.closed:
            self._probe.bye(code, reason)
            link.send(b"".join(self._probe.pull(1 << 16)))
            link.close()

    def link_room(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link, error: GshellError) -> None:
        self._agent.expect_no_more(self._att, self)
        if self._timer is not None:
            self._timer.cancel()
