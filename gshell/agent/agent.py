"""The agent itself: what the broker announces, what clients open, which slots are taken.

Joins the Uplink (relay) and the Sessions (steps). Knows the control messages of
``net/CONTROL.md``; an agent serves one user and refuses others itself.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from typing import Any, Callable

from gshell.agent.attachment import Attachment
from gshell.agent.session import Session
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool
from gshell.agent.uplink import Uplink
from gshell.errors import AuthError, GshellError, RemoteProtocolError
from gshell.model.ticket import Ticket
from gshell.net.link import Link
from gshell.net.loop import Loop, Timer
from gshell.net.rendezvous import public_id
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, stdin_of

EXPECT_WAIT_S = 2.0  # a client may be joined before the broker's word about it arrives
NEW_GRACE_S = 30.0  # an opening that lost its link before it said what to start
LOST_PRIMARY_S = 600.0  # a writer that does not come back in this time has detached
AWAY_WRITER_S = 20.0  # a writer whose link is lost keeps the typing so long from those present
SWEEP_S = 5.0
MAX_EXPECTS = 4096  # announced and not yet come; a relay that announces more is not sane
KEEP_ENDED = 200  # ended sessions whose logs are kept for whoever asks
KEEP_ENDED_S = 3600.0

log = logging.getLogger("gshell.agent")


class Facts:
    """What this agent offers."""

    def __init__(self, slots: int | None, tags: list[str]) -> None:
        self.host = os.uname().nodename
        self.cpus = len(os.sched_getaffinity(0))
        self.memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.tags = tags
        self.slots = slots if slots is not None else max(64, 4 * self.cpus)


class Agent:
    """Invariant: a step runs only for a user whose attachment was announced by the relay and who
    showed that user's certificate."""

    def __init__(
        self, loop: Loop, ticket: Ticket, facts: Facts, version: str, spool_dir: str | None = None
    ) -> None:
        self.loop = loop
        self._ticket = ticket
        self._facts = facts
        self._version = version
        self._boot = os.urandom(16).hex()
        self._spool_dir = spool_dir
        self._uplink = Uplink(loop, ticket, self)
        self._expects: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, _Greeter] = {}
        self._sessions: dict[
            str, Session
        ] = {}  # by attachment id of its opener, or "job.index" if none
        self._attachments: dict[str, Session] = {}
        self._unacknowledged: dict[str, Session] = {}
        self.draining = False
        self.done: GshellError | None = None
        self.ended = False
        self.connected_once = False

    def start(self) -> None:
        self._uplink.start()
        self.loop.later(SWEEP_S, self._sweep)

    # -- slots

    @property
    def busy_slots(self) -> int:
        return sum(
            len(session.ranks) for session in self._sessions.values() if session.state == "running"
        )

    def admit(self, session: Session, spec: StepSpec) -> None:
        if self.draining or self.busy_slots + spec.tasks > self._facts.slots:
            code = "draining" if self.draining else "busy"
            attachment = session.primary
            taken = f"{self.busy_slots} of {self._facts.slots} slots are taken"
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
            return
        session.start(spec)

    # -- from the sessions

    def on_started(self, session: Session) -> None:
        spec = session.spec
        assert spec is not None
        self._uplink.say(
            {"m": "started", "job": session.job, "index": session.index,
             "att": session.primary.id if session.primary else "", "spec_name": spec.name,
             "argv0": spec.argv[0], "pty": spec.pty is not None, "tasks": spec.tasks,
             "at": session.started_at}
        )  # fmt: skip

    def on_ended(self, session: Session) -> None:
        self._unacknowledged[f"{session.job}.{session.index}"] = session
        self._uplink.say(
            {"m": "ended", "job": session.job, "index": session.index, "code": session.code,
             "signal": session.signal, "at": session.ended_at, "error": session.error}
        )  # fmt: skip

    def on_watchers(self, session: Session) -> None:
        if session.state == "new":
            return
        live = [a for a in session.attachments.values() if a.link is not None]
        self._uplink.say(
            {"m": "watchers", "job": session.job, "index": session.index,
             "attached": sum(a is session.primary for a in live),
             "watchers": sum(a is not session.primary for a in live)}
        )  # fmt: skip

    def on_left(self, session: Session) -> None:
        if session.state == "new" and not session.attachments:
            self._unused(session)

    def make_spool(self, session: Session, stream: int) -> Spool:
        if self._spool_dir is None:
            self._spool_dir = tempfile.mkdtemp(prefix="gshell-spool-")
        return Spool(os.path.join(self._spool_dir, f"{session.job}.{session.index}.{stream}"))

    def _unused(self, session: Session) -> None:
        opener = next((id for id, s in self._sessions.items() if s is session), "")
        self._uplink.say({"m": "unused", "job": session.job, "index": session.index, "att": opener})
        self._drop(session)

    def _drop(self, session: Session) -> None:
        session.forget()
        for table in (self._sessions, self._attachments, self._unacknowledged):
            for key in [key for key, value in table.items() if value is session]:
                del table[key]

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
            "sessions": [session.summary() for session in sessions.values()],
        }  # fmt: skip

    def on_welcome(self) -> None:
        log.info("registered with the relay")
        self.connected_once = True

    def on_away(self, error: GshellError) -> None:
        log.info("relay away: %s", error)
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
        elif kind == "cancel":
            for session in self._of_job(message):
                session.cancel()
        elif kind == "ended-ok":
            self._unacknowledged.pop(f"{message.get('job')}.{message.get('index')}", None)
        elif kind == "start":
            self._start_detached(message)
        elif kind == "drain":
            self.draining = bool(message.get("on", True))
        elif kind == "stop":
            self.done = GshellError("stopped by request")
        elif kind == "error":
            log.error("relay: %s", message.get("message"))
            if message.get("code") in ("auth", "revoked"):  # "duplicate" may pass: it dials again
                self.done = AuthError(str(message.get("message")))

    def _of_job(self, message: dict[str, Any]) -> list[Session]:
        job, index = str(message.get("job")), message.get("index")
        return [
            s
            for s in set(self._sessions.values())
            if s.job == job and (index is None or s.index == index)
        ]

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

    def _start_detached(self, message: dict[str, Any]) -> None:
        job, index, size = _place(message)
        key = f"{job}.{index}"
        if key in self._sessions:
            return
        session = Session(self, job, index, size, str(message["user"]))
        self._sessions[key] = session
        try:
            spec = StepSpec.parse(message.get("spec") or {})
        except RemoteProtocolError as error:
            log.error("job %s: %s", session.job, error)
            self._unused(session)
            return
        self.admit(session, spec)

    # -- from clients

    def data_owner(self, link_user: Callable[[], str]) -> _Greeter:
        return _Greeter(self, link_user())

    def welcome(self, greeter: _Greeter, att: str, hello: dict[str, Any], probe: wire.Peer) -> None:
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
        del self._expects[att]
        if expect.get("op") == "open":
            session = Session(self, *_place(expect), greeter.user)
            self._sessions[att] = session
            probe.add_recv(stdin_of(0), INPUT_WINDOW)
        else:
            found = self._of_job(expect)
            if not found or expect.get("op") == "resume":  # resumed, but we do not have it any more
                greeter.refuse("gone", "this session is not kept any more")
                return
            session = found[0]
        attachment = Attachment(session, att, greeter.user, str(expect["rights"]), probe)
        attachment.since = hello.get("since")
        self._attachments[att] = session
        session.add(attachment, steal=bool(hello.get("steal")))
        attachment.join(link, hello, probe)

    def _may(self, expect: dict[str, Any], user: str) -> bool:
        """Rights are enforced here: what runs on this agent is its user's, and others come only as
        the relay announced them."""
        if user != expect["user"]:
            return False
        return user == self._ticket.user

    def expect_later(self, att: str, greeter: _Greeter) -> None:
        self._waiting[att] = greeter

    def expect_no_more(self, att: str, greeter: _Greeter) -> None:
        if self._waiting.get(att) is greeter:  # not a newer link of the same client
            del self._waiting[att]

    # -- time

    def _sweep(self) -> None:
        now = self.loop.clock()
        for att in [a for a, e in self._expects.items() if now - e["_at"] > 4 * NEW_GRACE_S]:
            del self._expects[att]
        for session in list(set(self._sessions.values())):
            session.retry_logs()
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
                elif now - lost_at > AWAY_WRITER_S and attachment is session.primary:
                    session.hand_on()
        ended = [
            s for s in set(self._sessions.values()) if s.state == "ended" and not s.attachments
        ]
        ended.sort(key=lambda s: s.ended_at)
        too_many = len(ended) - KEEP_ENDED
        for number, session in enumerate(ended):
            old = time.time() - session.ended_at > KEEP_ENDED_S
            if (
                number < too_many or old
            ) and f"{session.job}.{session.index}" not in self._unacknowledged:
                self._drop(session)
        self.loop.later(SWEEP_S, self._sweep)

    def end_steps(self) -> None:
        """TERM for every step, KILL soon after; ``idle`` when they have ended."""
        self.draining = True
        for session in set(self._sessions.values()):
            session.cancel()

    def signal_steps(self, number: int) -> None:
        for session in set(self._sessions.values()):
            session.signal_all(number)

    @property
    def idle(self) -> bool:
        return not any(session.state == "running" for session in self._sessions.values())

    def shut_down(self) -> None:
        """The last word: a BYE to clients and relay, and what would not end counts as ended."""
        why = "the agent was stopped"
        for session in set(self._sessions.values()):
            if session.state == "running":
                self._uplink.say(
                    {"m": "ended", "job": session.job, "index": session.index, "code": 143,
                     "signal": 15, "at": time.time(), "error": why}
                )  # fmt: skip
            for attachment in list(session.attachments.values()):
                attachment.end("shutdown", why)
        self._uplink.say({"m": "bye"})
        self._uplink.close()
        if self._spool_dir is not None:
            for session in set(self._sessions.values()):
                session.forget()


def _place(message: dict[str, Any]) -> tuple[str, int, int]:
    """(job, index, size) in a relay's message: a job's number is part of file names here.

    Raises:
        ValueError, KeyError, TypeError: they are not there.
    """
    job, index, size = str(message["job"]), int(message["index"]), int(message["size"])
    if not (job.isascii() and job.isdigit()) or len(job) > 18 or not 0 <= index < size < 1 << 20:
        raise ValueError("no job")
    return job, index, size


class _Greeter:
    """A joined data link whose client has not yet said which attachment it is."""

    def __init__(self, agent: Agent, user: str) -> None:
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
