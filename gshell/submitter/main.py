"""``gshell submitter``: the process. Joins relay, core and workers; ends when it has no sites."""

from __future__ import annotations

import collections
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from gshell import config
from gshell.errors import AuthError, GshellError, UsageError
from gshell.model.ticket import Ticket
from gshell.net.loop import IN, Loop, Timer
from gshell.net.machine import no_core_dumps
from gshell.net.relaylink import RelayLink
from gshell.submitter import book
from gshell.submitter.actions import (
    Action,
    AskInvite,
    AskSites,
    Do,
    Result,
    Save,
    SaveSites,
    Say,
    Work,
)
from gshell.submitter.core import Core
from gshell.submitter.site import Site
from gshell.submitter.site import read as read_site
from gshell.submitter.worker import Worker

PING_S = 5.0
SILENT_S = 20.0  # no answer for so long: half-open
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
LAST_WORDS_S = 2.0  # for what was said to reach the relay

log = logging.getLogger("gshell.submitter")


class Submitter:
    """Owns the connection to the relay and the workers."""

    def __init__(
        self,
        loop: Loop,
        ticket: Ticket,
        core: Core,
        make_worker: Callable[[Site, Callable[[Site, Work, Result], None]], Worker] = Worker,
    ) -> None:
        self.loop = loop
        self.core = core
        self.done = False
        self.fatal: GshellError | None = None
        self._ticket = ticket
        self._make_worker = make_worker
        self._workers: dict[str, Worker] = {}
        self._link: RelayLink | None = None
        self._registered = False
        self._failures = 0
        self._heard_at = 0.0
        self._asking = False
        self._timer: Timer | None = None
        self._results: collections.deque[tuple[Site, Work, Result]] = collections.deque()
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        loop.add(self._woken.fileno(), IN, self._on_results)

    def start(self) -> None:
        self._act(self.core.on_start(self.loop.clock()))
        self._dial()
        self._beat()

    def reread(self) -> None:
        """Somebody says that there are other sites."""
        if self._registered and self._link is not None:
            self._link.request({"m": "sites"}, self._on_sites)

    # -- the relay

    def _dial(self) -> None:
        self._link = link = RelayLink(self.loop, self._ticket, self._lost, self._message)
        try:
            link.open()
        except GshellError as error:
            self._lost(error)
            return
        self._heard_at = self.loop.clock()
        link.request({"m": "sites"}, self._hello)

    def _hello(self, answer: dict[str, Any]) -> None:
        # A site that was removed while we were away must not come back with us.
        self._on_sites(answer)
        if self._link is not None and not self.done:
            hello = self.core.hello(book.submitter_id(), book.host())
            self._link.request(hello, self._welcome)

    def _on_sites(self, answer: dict[str, Any]) -> None:
        found = answer.get("sites")
        if not answer.get("ok") or not isinstance(found, list):
            return
        mine = {}
        for item in found:
            if item.get("submitter_id") == book.submitter_id():
                try:
                    mine[str(item["name"])] = read_site(item)
                except (UsageError, KeyError):
                    continue  # of a newer relay
        self._act(self.core.on_sites(mine, self.loop.clock()))

    def _welcome(self, answer: dict[str, Any]) -> None:
        if not answer.get("ok"):
            why = str(answer.get("message"))
            log.error("the relay: %s", why)
            self.fatal = GshellError(f"the relay: {why}")
            self.done = True
            return
        self._heard_at = self.loop.clock()
        self._registered = True
        self._failures = 0
        self._act(self.core.on_registered(self.loop.clock()))

    def _message(self, message: dict[str, Any]) -> None:
        self._heard_at = self.loop.clock()
        self._act(self.core.on_message(message, self.loop.clock()))

    def _lost(self, error: GshellError) -> None:
        self._registered = False
        self._link = None
        if self.done:
            return
        if isinstance(error, AuthError):
            self.fatal = error
            self.done = True
            return
        wait = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        log.info("relay away: %s", error)
        self.loop.later(wait, self._dial)

    def _beat(self) -> None:
        link = self._link
        if link is not None and self.loop.clock() - self._heard_at > SILENT_S:
            link.close()
            self._lost(GshellError("the relay has been silent"))
        elif link is not None and self._registered:
            link.request({"m": "whoami"}, self._alive)
        if not self.done:
            self.loop.later(PING_S, self._beat)

    def _alive(self, answer: dict[str, Any]) -> None:
        self._heard_at = self.loop.clock()

    # -- what is to be done

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Save():
                    self._save()
                case Say(message):
                    if self._registered and self._link is not None:
                        self._link.request(dict(message), lambda answer: None)
                case SaveSites():
                    book.write_sites(self._ticket.pin, self.core.sites)
                case AskInvite(pilot, nodes, hours):
                    self._ask_invite(pilot, nodes, hours)
                case AskSites():
                    self.loop.soon(self.reread)
                case Do(site, work):
                    self._worker(site).do(site, work)
        if self.core.finished:
            self.done = True
        if self._timer is not None:
            self._timer.cancel()
        now = self.loop.clock()
        wait_s = max(0.05, self.core.next_at(now) - now)
        self._timer = self.loop.later(wait_s, self._tick)

    def _tick(self) -> None:
        self._act(self.core.tick(self.loop.clock()))

    def _save(self) -> None:
        try:
            book.write_pilots(self._ticket.pin, self.core.pilots)
        except OSError as error:  # nothing is submitted that is not written down
            raise GshellError(f"cannot write to {config.state_dir()}: {error.strerror}") from None

    def _ask_invite(self, pilot: str, nodes: int, hours: int) -> None:
        def answered(answer: dict[str, Any]) -> None:
            invite = str(answer.get("invite") or "") if answer.get("ok") else ""
            why = str(answer.get("message") or answer.get("code") or "")
            self._act(self.core.on_invite(pilot, invite, why, self.loop.clock()))

        if self._link is not None:
            request = {"m": "pilot", "name": pilot, "nodes": nodes, "hours": hours}
            self._link.request(request, answered)

    # -- the sites

    def _worker(self, site: Site) -> Worker:
        worker = self._workers.get(site.name)
        if worker is None:
            worker = self._workers[site.name] = self._make_worker(site, self._tell)
        return worker

    def _tell(self, site: Site, work: Work, result: Result) -> None:
        """By a worker's thread."""
        self._results.append((site, work, result))
        try:
            self._wake.send(b"!")
        except OSError:  # full: it is awake
            pass

    def _on_results(self, mask: int) -> None:
        try:
            self._woken.recv(4096)
        except BlockingIOError:
            return
        while self._results:
            site, work, result = self._results.popleft()
            log.debug("%s: %s: %s", site.name, type(work).__name__, result)
            self._act(self.core.on_result(site, work, result, self.loop.clock()))

    def close(self) -> None:
        self.done = True
        if self._link is not None:
            self._link.close()
        for worker in self._workers.values():
            worker.close()


def hold_lock(pin: str) -> int | None:
    """The descriptor that says that we are the one; None if another is."""
    config.private_dir(config.runtime_dir())
    fd = os.open(config.submitter_lock(pin), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of this kind one can ask who holds it
    except OSError:
        os.close(fd)
        return None
    return fd


def main(ticket: Ticket) -> int:
    """Be the submitter of this user on this host; the exit status."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        level=os.environ.get("GSHELL_LOG", "info").upper(),
    )
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    no_core_dumps()
    os.chdir("/")
    lock = hold_lock(ticket.pin)
    if lock is None:
        return 0
    sites = book.read_sites(ticket.pin)
    pilots, reliable = book.read_pilots(ticket.pin)
    loop = Loop()
    core = Core(sites, pilots, reliable or not sites, loop.clock())
    reads, writes = socket.socketpair()
    for end in (reads, writes):
        end.setblocking(False)
    signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
    submitter = Submitter(loop, ticket, core)
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stop.append(number))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)

    def woken(mask: int) -> None:
        if signal.SIGUSR1 in reads.recv(64):
            submitter.reread()

    loop.add(reads.fileno(), IN, woken)
    log.info("started %s: %d sites, %d pilots", time.strftime("%F"), len(sites), len(pilots))
    book.write_pilots(ticket.pin, core.pilots)  # from now on it is relied on
    submitter.start()
    try:
        while not stop and not submitter.done:
            loop.once()
    finally:
        submitter.close()
    if submitter.fatal is not None:
        log.error("%s", submitter.fatal)
        return submitter.fatal.exit_code
    return 0
