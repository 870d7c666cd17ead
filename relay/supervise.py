"""Starts door and broker as two processes and starts again whichever dies. Knows no protocol.

Both are forks of this process, which has imported all they need and holds the listening socket: a
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
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gshell import __version__
from gshell.errors import GshellError
from gshell.net.machine import no_core_dumps
from relay import auth, state
from relay.children import (
    Place,
    Plan,
    close_others,
    detach_stdio,
    reopen_log,
    run_broker,
    run_door,
)
from relay.desk import Desk
from relay.journal import Journal
from relay.listening import bound, listen, reachable

START_S = 20.0  # a child that is not ready by then will not be: slow disks included
BACKOFF_S = (0.0, 0.1, 0.5, 2.0, 5.0, 10.0)  # before the next start, by deaths in a row
LIVED_S = 30.0  # a child that lived as long starts the count again
STOP_S = 3.0  # from TERM to KILL

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


class Relay:
    """One running relay. Owns the lock, the listening socket and both processes."""

    def __init__(self, plan: Plan) -> None:
        """Take the directory and the address.

        Raises:
            GshellError: taken, or not to be had.
        """
        self.plan = plan
        self.lock = state.lock(plan.state)
        if self.lock < 0:
            raise GshellError(
                f"a relay is running from {plan.state} already",
                hint="gshell relay status    or    gshell relay stop",
            )
        try:
            auth.ensure(plan.state)
            self.listening = _listen_after(plan)
        except BaseException:
            os.close(self.lock)
            raise
        self.listen = bound(plan.listen, self.listening)
        self.relays = [plan.advertise or reachable(self.listen)]
        self._life_read, self._life_write = os.pipe2(os.O_CLOEXEC)
        self._children = [_Child("broker", run_broker), _Child("door", run_door)]
        self._stopping = False

    # -------------------------------------------------------------------------------------- running

    def prepare(self) -> None:
        """What must be there before the processes are: the journal, tickets for the embedded user.

        Raises:
            GshellError: the journal cannot be used.
        """
        no_core_dumps()
        journal = Journal(os.path.join(self.plan.state, state.JOURNAL))
        try:
            journal.records("job")
            journal.records("agent")
            if self.plan.tickets_for:
                desk = Desk(self.plan.state, journal, self.relays)
                for name, kind in ((state.CLIENT_TICKET, "client"), (state.AGENT_TICKET, "agent")):
                    desk.write_ticket(name, kind, self.plan.tickets_for, "", time.time())
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
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._hangup = False
        try:
            for child in self._children:
                self._start(child)
            self._note()
            _log.info("listening on %s", self.listen)
            ready()
            while not self._stopping:
                self._watch(woken)
        finally:
            self._end()
            signal.set_wakeup_fd(-1)
            wake.close()
            woken.close()

    def _watch(self, woken: socket.socket) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.start_at is not None and child.start_at <= now:
                try:
                    self._start(child)
                    self._note()
                except GshellError as error:
                    _log.error("%s", error)
                    self._died(child)
        waits = [c.start_at - now for c in self._children if c.start_at is not None]
        fds = {c.pidfd: c for c in self._children if c.pidfd >= 0}
        wait = max(0.0, min(waits)) if waits else None
        ready, _, _ = select.select([woken.fileno(), *fds], [], [], wait)
        if woken.fileno() in ready:
            woken.recv(64)
        if self._hangup:
            self._hangup = False
            reopen_log()
            for child in self._children:
                if child.pidfd >= 0:
                    signal.pidfd_send_signal(child.pidfd, signal.SIGHUP)
        for fd in ready:
            if fd in fds:
                self._died(fds[fd])

    def _died(self, child: _Child) -> None:
        status = _reap(child)
        lived = time.monotonic() - child.started_at
        child.deaths = 1 if lived > LIVED_S else child.deaths + 1
        wait = BACKOFF_S[min(child.deaths, len(BACKOFF_S)) - 1]
        child.start_at = time.monotonic() + wait
        _log.error("the %s died (status %s), starts again in %.1f s", child.name, status, wait)

    def _on_signal(self, number: int, _: Any) -> None:
        if number == signal.SIGHUP:
            self._hangup = True
        else:
            self._stopping = True

    def _note(self) -> None:
        pids = {f"{c.name}_pid": c.pid for c in self._children}
        state.write_relay(
            self.plan.state,
            {"pid": os.getpid(), **pids, "listen": self.listen, "relays": self.relays,
             "pin": auth.pin(self.plan.state), "version": __version__},
        )  # fmt: skip

    def _end(self) -> None:
        for child in reversed(self._children):
            if child.pidfd >= 0:
                signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
        end = time.monotonic() + STOP_S
        for child in self._children:
            if child.pidfd >= 0:
                left = max(0.0, end - time.monotonic())
                if not select.select([child.pidfd], [], [], left)[0]:
                    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
                _reap(child)
        self.listening.close()
        if self.listen.startswith("unix:"):
            try:
                os.unlink(self.listen[5:])
            except OSError:
                pass
        state.remove_relay(self.plan.state)
        os.close(self.lock)
        _log.info("ended")

    def descriptors(self) -> set[int]:
        """What it needs to keep open."""
        return {self.lock, self.listening.fileno(), self._life_read, self._life_write}

    # ------------------------------------------------------------------------------------- children

    def _start(self, child: _Child) -> None:
        """Fork it and wait until it serves.

        Raises:
            GshellError: it could not; its words.
        """
        child.start_at = None
        reader, writer = os.pipe2(os.O_CLOEXEC)
        child.started_at = time.monotonic()
        child.pid = os.fork()
        if child.pid == 0:
            self._be(child, writer)
        os.close(writer)
        child.pidfd = os.pidfd_open(child.pid)
        said = b""
        end = time.monotonic() + START_S
        while not said.endswith(b"\n") and not self._stopping:
            if not select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
                break
            chunk = os.read(reader, 4096)
            if not chunk:
                break
            said += chunk
        os.close(reader)
        if said != b"ready\n" and not self._stopping:
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            _reap(child)
            why = said.decode("utf-8", "replace").strip() or "it said nothing; see relay.log"
            raise GshellError(f"the relay's {child.name} could not start: {why}")

    def _be(self, child: _Child, writer: int) -> NoReturn:
        """The child's life."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            detach_stdio()
            close_others({writer, self._life_read, self.listening.fileno()})
            uid = (
                os.geteuid() if self.plan.tickets_for and self.listen.startswith("unix:") else None
            )
            place = Place(self.listening, self.listen, self.relays, uid, self._life_read)
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


def _reap(child: _Child) -> int:
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    child.pidfd = -1
    return os.waitstatus_to_exitcode(status)


def _listen_after(plan: Plan) -> socket.socket:
    """A relay that was killed leaves its note behind, and a door that needs a moment to notice."""
    end = time.monotonic() + (STOP_S if state.read_relay(plan.state) else 0.0)
    while True:
        try:
            return listen(plan.listen)
        except GshellError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.02)
