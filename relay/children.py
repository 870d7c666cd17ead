"""The relay's processes, from their fork on: broker, door, archive, ssh. Knows no protocol."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Any

from gshell.model.ticket import Ticket
from gshell.net.loop import IN, Loop
from relay import auth, log, scrape, sshca, state
from relay.broker.events import Audit
from relay.broker.model import Settings
from relay.brokerd import BrokerShell
from relay.bus import BrokerBus, DoorBus, FeedIn, FeedOut
from relay.desk import Desk
from relay.door.main import Door, raise_descriptor_limit
from relay.journal import Journal
from relay.listening import local

_log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Rules:
    """What of finished steps' output is kept."""

    policy: str = "on-exit"
    """"off", "on-exit", or "live": fetched while it comes."""
    days: float = 30.0
    bytes: int = 10 << 30


@dataclass(frozen=True, slots=True)
class Plan:
    """What a relay is started with."""

    state: str
    listen: tuple[str, ...]
    advertise: tuple[str, ...] = ()
    """The addresses for tickets; empty: those it listens on."""
    tickets_for: str = ""
    """Embedded: the user whose tickets are put into the state directory."""
    archive: Rules = Rules()
    metrics: str = ""
    """Where scrapers are served; empty: nowhere."""
    ssh: bool = True
    """Serve stock SSH on the addresses that are TCP."""
    log_format: str = "text"
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class Place:
    """What both processes inherit; their working directory is the relay's."""

    listening: list[socket.socket]
    listen: list[str]
    relays: list[str]
    """Addresses for tickets."""
    only_uid: int | None
    """Embedded: nobody else may even connect."""
    archive: Rules
    life: int
    """A pipe that closes when the process that started us ends."""
    metrics: socket.socket | None = None
    """Scrapers connect here."""
    notes: tuple[Audit, ...] = ()
    """For the audit log: what was done before there was a broker."""
    ssh: bool = False
    """Stock SSH is served, too."""


COLLECT = (20_000, 20, 100)
"""When the broker looks for garbage in cycles. What it remembers stays for long and is in none: as
often as is usual, looking would take a tenth of its time."""


def run_broker(place: Place, writer: int) -> None:
    gc.set_threshold(*COLLECT)
    for sock in place.listening:
        sock.close()
    loop = _loop(place.life)
    journal = Journal(state.JOURNAL)
    desk = Desk(".", journal, place.relays)
    facts = {"listen": place.listen[0], "listens": place.listen}

    def status() -> dict[str, Any]:
        there = state.read_relay(".")
        return {**facts, "pid": there.get("pid"), "door_pid": there.get("door_pid")}

    bus = BrokerBus(state.BUS)
    feed = FeedOut(state.FEED)
    settings = Settings(archive=place.archive.policy)
    shell = BrokerShell(loop, bus, journal, desk, status, feed, settings, place.notes)
    if place.metrics is not None:
        scrape.Scraped(loop, place.metrics, shell.page, shell.healthy)
    _say_ready(writer)
    loop.run()
    bus.close()
    feed.close()
    journal.close()


def run_door(place: Place, writer: int) -> None:
    loop = _loop(place.life)
    raise_descriptor_limit()
    if place.metrics is not None:
        place.metrics.close()
    bus = DoorBus(state.BUS, "door0")
    said: list[int] = []

    def ready() -> None:
        if not said:
            said.append(1)
            _say_ready(writer)

    ssh = state.SSH if place.ssh else ""
    door = Door(
        loop,
        place.listening,
        auth.server_context("."),
        auth.mac_secret("."),
        bus,
        place.only_uid,
        ready,
        FeedIn(state.FEED),
        ssh,
    )
    loop.run()
    door.close()


def run_archive(place: Place, writer: int) -> None:
    os.close(writer)  # nobody waits for it
    for sock in place.listening:
        sock.close()
    os.nice(10)  # whoever runs something comes first
    loop = _loop(place.life)
    # Here and not above: what only this process needs, and nobody's start has to pay for.
    from relay.archive import main as archive

    client, agent = _ticket(state.ARCHIVE_CLIENT, place), _ticket(state.ARCHIVE_AGENT, place)
    rules = place.archive
    one = archive.begin(loop, state.ARCHIVE, client, agent, rules.days, rules.bytes, state.DEPOT)
    loop.run()
    one.close()


def run_ssh(place: Place, writer: int) -> None:
    os.close(writer)  # nobody waits for it
    for sock in place.listening:
        sock.close()
    # Here and not above: nobody else needs the library, and it is a big one.
    from relay.ssh import main as ssh
    from relay.ssh.joiner import Joiner

    raise_descriptor_limit()
    authority = sshca.Authority(".")
    host, signed = authority.relay(sshca.relay_names([*place.relays, *place.listen]), time.time())
    keys = ssh.Keys(host, signed.cert, authority.public)
    near = min(place.listen, key=lambda where: not where.startswith("unix:"))
    joiner = Joiner(local(near), auth.mac_secret("."))
    ssh.run(state.SSH, keys, joiner, place.life, reopen_log)


def _ticket(name: str, place: Place) -> Ticket:
    """One of the archive's own; it dials the door as directly as possible."""
    with open(name, encoding="utf-8") as file:
        return Ticket.load(file.read(), name)._replace(relays=[local(one) for one in place.listen])


def _loop(life: int) -> Loop:
    """A loop that ends on TERM, on INT, and with the process that started us."""
    loop = Loop()
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.detach(), warn_on_full_buffer=False)

    def on_signal(_: int) -> None:
        for number in woken.recv(64):
            if number == signal.SIGHUP:
                reopen_log()
            else:
                loop.stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    loop.add(woken.fileno(), IN, on_signal)
    loop.add(life, IN, lambda _: loop.stop())
    return loop


def detach_stdio() -> None:
    """A background process keeps nobody's terminal or pipe open."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def close_others(keep: set[int]) -> None:
    """Nothing stays open but the log and ``keep``: a pipe held here is a reader that hangs."""
    keep = keep | {h.fileno() for h in _log.handlers if isinstance(h, log.LogFile)}
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the listing's own


def _say_ready(writer: int) -> None:
    os.write(writer, b"ready\n")
    os.close(writer)


def reopen_log() -> None:
    for handler in _log.handlers:
        if isinstance(handler, log.LogFile):
            handler.reopen()
