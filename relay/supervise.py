"""Starts door, broker, archive and ssh as processes, and again whichever dies. Knows no protocol.

All are forks of this process, which has imported all they need and holds the listening socket: a
new door is there within milliseconds, and who dials meanwhile waits in the kernel's queue. If this
process dies, they see its pipe close and end too.
"""

from __future__ import annotations

import gc
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from gshell import __version__
from gshell.errors import GshellError
from gshell.net.machine import no_core_dumps
from relay import auth, state, takeover
from relay.broker.events import Audit
from relay.brokerd import LOCAL
from relay.children import (
    Place,
    Plan,
    close_others,
    detach_stdio,
    reopen_log,
    run_archive,
    run_broker,
    run_door,
    run_ssh,
)
from relay.desk import Desk
from relay.journal import Journal
from relay.listening import bound, listen, reachable
from relay.takeover import Handed

START_S = 20.0  # a child that is not ready by then will not be: slow disks included
# Before the next start, by deaths in a row. A start is a fork, so it may be tried often: a relay
# that crashes at something rare shall not be away for longer than its clients' patience.
BACKOFF_S = (0.0, 0.1, 0.5, 2.0)
LIVED_S = 1.0  # a child that lived as long has served: the count starts again
STOP_S = 3.0  # from TERM to KILL
ARCHIVE_AFTER_S = 0.5  # nobody's first need: it starts when the first ones are served

_log = logging.getLogger("relay")


@dataclass(slots=True)
class _Child:
    name: str
    run: Callable[[Place, int], None]
    """Gets the pipe to say "ready" on."""
    pid: int = 0
    pidfd: int = -1
    started_at: float = 0.0
    deaths: int = 0
    start_at: float | None = field(default=None)
    waited_for: bool = True
    """Whether it says "ready", and has to in time."""
    ready: bool = False
    reader: int = -1
    """The pipe on which it says so, until it has."""
    said: bytes = b""

    @property
    def late_at(self) -> float | None:
        """When its time to be ready is over, while it is not."""
        return self.started_at + START_S if self.pidfd >= 0 and not self.ready else None


class Relay:
    """One running relay. Owns the lock, the listening socket and both processes."""

    def __init__(self, plan: Plan, handed: Handed | None = None) -> None:
        """Take the directory and the address; with ``handed``, what the former program had.

        Raises:
            GshellError: taken, or not to be had.
        """
        self.plan = plan
        self.metrics: socket.socket | None = None
        self.served = False
        """Both processes have been up."""
        if handed is not None:
            self.lock = handed.lock
            self.listening = [socket.socket(fileno=fd) for fd in handed.listening]
            self._life_read, self._life_write = handed.life
            self.metrics = socket.socket(fileno=handed.metrics) if handed.metrics >= 0 else None
        else:
            self._take(plan)
            self._life_read, self._life_write = os.pipe2(os.O_CLOEXEC)
        self.listen = [bound(*one) for one in zip(plan.listen, self.listening, strict=True)]
        self.scraped = bound(plan.metrics, self.metrics) if self.metrics is not None else ""
        self.relays = list(plan.advertise) or [reachable(one) for one in self.listen]
        self._children = [_Child("broker", run_broker), _Child("door", run_door)]
        self._children.append(_Child("archive", run_archive, waited_for=False))
        self.ssh = plan.ssh and any(not one.startswith("unix:") for one in self.listen)
        self.ssh_attach = self.ssh and plan.ssh_attach
        if self.ssh:
            self._children.append(_Child("ssh", run_ssh, waited_for=False))
        self._boot = os.urandom(8).hex()
        self._former = dict(handed.children) if handed is not None else {}
        self.notes: list[Audit] = []  # for the audit log, once there is a broker to write it
        self._stopping = self._hangup = self._asked = False

    def _take(self, plan: Plan) -> None:
        self.lock = state.become(plan.state)
        if self.lock < 0:
            raise GshellError(
                f"a relay is running from {plan.state} already",
                hint="gshell relay restart    or    gshell relay status    or    gshell relay stop",
            )
        try:
            auth.ensure(plan.state)
            self.listening = _listen_after(plan)
            if plan.metrics:
                self.metrics = listen(plan.metrics)
            state.remove_relay(plan.state)  # of one that was killed: those are others' numbers now
        except BaseException:
            os.close(self.lock)
            raise

    # -------------------------------------------------------------------------------------- running

    def prepare(self) -> None:
        """What must be there before the processes are: the journal, tickets for the embedded user.

        Raises:
            GshellError: the journal cannot be used.
        """
        self._end_former()
        no_core_dumps()
        journal = Journal(os.path.join(self.plan.state, state.JOURNAL))
        try:
            journal.records("job")
            journal.records("agent")
            desk = Desk(self.plan.state, journal, self.relays)
            desk.archive_tickets(time.time())
            if self.plan.tickets_for:
                user = self.plan.tickets_for
                desk.ensure_user(user, time.time(), "admin")
                for name, kind in ((state.CLIENT_TICKET, "client"), (state.AGENT_TICKET, "agent")):
                    if desk.write_ticket(name, kind, user, "", time.time()):
                        self.notes.append(Audit(LOCAL, "ticket", f"{kind} of {user}"))
        finally:
            journal.close()

    def run(self, ready: Callable[[], None]) -> None:
        """Until TERM or INT. ``ready`` is called when both processes serve.

        Raises:
            GshellError: one of them could not start the first time.
        """
        gc.freeze()  # the children share what is imported, and never look at it again
        os.chdir(self.plan.state)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_signal)
        signal.signal(takeover.SIGNAL, self._on_signal)
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        try:
            for child in self._children:
                if child.waited_for:
                    self._start(child)
                    while not child.ready and not self._stopping:
                        self._watch(woken)
                else:
                    child.start_at = time.monotonic() + ARCHIVE_AFTER_S
            self.served = True
            self._note()
            _log.info("listening on %s", ", ".join(self.listen))
            ready()
            while not self._stopping:
                self._watch(woken)
        finally:
            if self.served:
                self._end()
            else:
                self._end_children()  # the rest may be handed back
            signal.set_wakeup_fd(-1)
            wake.close()
            woken.close()

    def _watch(self, woken: socket.socket) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.start_at is not None and child.start_at <= now:
                self._start(child)
            elif child.late_at is not None and child.late_at <= now:
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        waits = [
            at - now for c in self._children for at in (c.start_at, c.late_at) if at is not None
        ]
        fds = {c.pidfd: c for c in self._children if c.pidfd >= 0}
        readers = {c.reader: c for c in self._children if c.reader >= 0}
        wait = max(0.0, min(waits)) if waits else None
        ready, _, _ = select.select([woken.fileno(), *fds, *readers], [], [], wait)
        if woken.fileno() in ready:
            woken.recv(64)
        if self._hangup:
            self._hangup = False
            reopen_log()
            for child in self._children:
                if child.pidfd >= 0:
                    signal.pidfd_send_signal(child.pidfd, signal.SIGHUP)
        for fd in ready:
            if fd in readers:
                self._heard(readers[fd])
        for fd in ready:
            if fd in fds:
                self._died(fds[fd])
        if self._asked and self.served:
            self._asked = False
            self._become_another()

    def _heard(self, child: _Child) -> None:
        """It says that it serves, or why it cannot."""
        chunk = os.read(child.reader, 4096)
        child.said += chunk
        if child.said == b"ready\n":
            child.ready = True
            if child.name == "broker":
                self.notes.clear()
            if self.served:
                self._note()
        if child.ready or not chunk:
            os.close(child.reader)
            child.reader = -1

    def _died(self, child: _Child) -> None:
        """
        Raises:
            GshellError: it could not start, and none ever has.
        """
        status = _reap(child)
        while child.reader >= 0:
            self._heard(child)
        if not child.ready:
            why = child.said.decode("utf-8", "replace").strip() or "it said nothing; see relay.log"
            words = f"the relay's {child.name} could not start: {why}"
            if not self.served:
                raise GshellError(words)
            _log.error("%s", words)
        lived = time.monotonic() - child.started_at
        child.deaths = 1 if lived > LIVED_S else child.deaths + 1
        wait = BACKOFF_S[min(child.deaths, len(BACKOFF_S)) - 1]
        child.start_at = time.monotonic() + wait
        _log.error("the %s died (status %s), starts again in %.1f s", child.name, status, wait)

    def _on_signal(self, number: int, _: Any) -> None:
        if number == signal.SIGHUP:
            self._hangup = True
        elif number == takeover.SIGNAL:
            self._asked = True
        else:
            self._stopping = True

    def _note(self) -> None:
        pids = {f"{c.name}_pid": c.pid for c in self._children}
        state.write_relay(
            self.plan.state,
            {"pid": os.getpid(), **pids, "listen": self.listen[0], "listens": self.listen,
             "relays": self.relays, "pin": auth.pin(self.plan.state), "version": __version__,
             "metrics": self.scraped, "ssh": self.ssh,
             "ssh_attach": self.ssh_attach, "boot": self._boot, "takeover": 1,
             "program": takeover.program()},
        )  # fmt: skip

    # ------------------------------------------------------------------------------ another program

    def _become_another(self) -> None:
        """Somebody of ours wants to be this relay: see `relay.takeover`."""
        argv = takeover.requested(self.plan.state)
        if not argv:
            _log.error("asked to become another program, but not which one")
            return
        _log.info("becoming %s", " ".join(argv))
        children = {child.name: child.pid for child in self._children if child.pidfd >= 0}
        try:
            takeover.become(argv, takeover.Handed(
                asdict(self.plan) | {"listen": self.listen}, self.lock,
                [sock.fileno() for sock in self.listening],
                [self._life_read, self._life_write], children, takeover.program(),
                -1 if self.metrics is None else self.metrics.fileno(),
            ))  # fmt: skip
        except OSError as error:
            _log.error("cannot become %s: %s", argv[0], error)

    def _end_former(self) -> None:
        """The former program's children, which are ours, for it is the same process."""
        former = [_Child(name, lambda *_: None, pid) for name, pid in self._former.items()]
        self._former = {}
        for child in former:
            try:
                child.pidfd = os.pidfd_open(child.pid)
            except OSError:
                pass  # it ended, and was taken note of, before
        _end_all(former)

    def _end_children(self) -> None:
        _end_all(self._children)

    def _end(self) -> None:
        self._end_children()
        served = list(zip(self.listening, self.listen, strict=True))
        if self.metrics is not None:
            served.append((self.metrics, self.scraped))
        for sock, where in served:
            sock.close()
            if where.startswith("unix:"):
                try:
                    os.unlink(where[5:])
                except OSError:
                    pass
        state.remove_relay(self.plan.state)
        os.close(self.lock)
        _log.info("ended")

    def descriptors(self) -> set[int]:
        """What it needs to keep open."""
        return {self.lock, self._life_read, self._life_write} | self._served()

    def _served(self) -> set[int]:
        sockets = self.listening if self.metrics is None else [*self.listening, self.metrics]
        return {sock.fileno() for sock in sockets}

    # ------------------------------------------------------------------------------------- children

    def _start(self, child: _Child) -> None:
        """Fork it. It is not waited for here: it may need another one that died with it."""
        child.start_at = None
        reader, writer = os.pipe2(os.O_CLOEXEC)
        child.started_at = time.monotonic()
        child.pid = os.fork()
        if child.pid == 0:
            self._be(child, writer)
        os.close(writer)
        child.pidfd = os.pidfd_open(child.pid)
        child.ready, child.reader, child.said = not child.waited_for, reader, b""
        if child.ready:
            os.close(reader)
            child.reader = -1
            self._note()

    def _be(self, child: _Child, writer: int) -> NoReturn:
        """The child's life."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            detach_stdio()
            close_others({writer, self._life_read, *self._served()})
            local = all(where.startswith("unix:") for where in self.listen)
            uid = os.geteuid() if self.plan.tickets_for and local else None
            place = Place(
                self.listening, self.listen, self.relays, uid, self.plan.archive, self._life_read,
                self.metrics, tuple(self.notes), self.ssh, self.ssh_attach,
            )  # fmt: skip
            child.run(place, writer)
            code = 0
        except GshellError as error:
            _log.error("%s", error)
            try:
                os.write(writer, f"{error.explained()}\n".encode())
            except OSError:
                pass
        except BaseException:
            _log.exception("the %s failed", child.name)
        finally:
            os._exit(code)


def _end_all(children: list[_Child]) -> None:
    for child in reversed(children):
        if child.pidfd >= 0:
            signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
    end = time.monotonic() + STOP_S
    for child in children:
        if child.pidfd >= 0:
            left = max(0.0, end - time.monotonic())
            if not select.select([child.pidfd], [], [], left)[0]:
                signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            _reap(child)


def _reap(child: _Child) -> int:
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    child.pidfd = -1
    return os.waitstatus_to_exitcode(status)


def _listen_after(plan: Plan) -> list[socket.socket]:
    """A relay that was killed leaves its note behind, and a door that needs a moment to notice."""
    end = time.monotonic() + (STOP_S if state.read_relay(plan.state) else 0.0)
    socks: list[socket.socket] = []
    try:
        socks.extend(_listen_until(where, end) for where in plan.listen)
    except BaseException:
        for sock in socks:
            sock.close()
        raise
    return socks


def _listen_until(where: str, end: float) -> socket.socket:
    while True:
        try:
            return listen(where)
        except GshellError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.02)  # who has the port lets go of it: nothing tells us
