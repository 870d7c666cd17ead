"""The relay's two processes, from their fork on: the broker's and the door's. Knows no protocol."""

from __future__ import annotations

import logging
import os
import signal
import socket
from dataclasses import dataclass
from typing import Any

from gshell.net.loop import IN, Loop
from relay import auth, log, state
from relay.broker.events import Audit
from relay.brokerd import BrokerShell
from relay.bus import BrokerBus, DoorBus
from relay.desk import Desk
from relay.door.main import Door, raise_descriptor_limit
from relay.journal import Journal

_log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a relay is started with."""

    state: str
    listen: str
    advertise: str = ""
    """The address for tickets; empty: the one it listens on."""
    tickets_for: str = ""
    """Embedded: the user whose tickets are put into the state directory."""


@dataclass(frozen=True, slots=True)
class Place:
    """What both processes inherit; their working directory is the relay's."""

    listening: socket.socket
    listen: str
    relays: list[str]
    """Addresses for tickets."""
    only_uid: int | None
    """Embedded: nobody else may even connect."""
    life: int
    """A pipe that closes when the process that started us ends."""
    notes: tuple[Audit, ...] = ()
    """For the audit log: what was done before there was a broker."""


def run_broker(place: Place, writer: int) -> None:
    place.listening.close()
    loop = _loop(place.life)
    journal = Journal(state.JOURNAL)
    desk = Desk(".", journal, place.relays)
    facts = {"listen": place.listen}

    def status() -> dict[str, Any]:
        there = state.read_relay(".")
        return {**facts, "pid": there.get("pid"), "door_pid": there.get("door_pid")}

    bus = BrokerBus(state.BUS)
    BrokerShell(loop, bus, journal, desk, status, place.notes)
    _say_ready(writer)
    loop.run()
    bus.close()
    journal.close()


def run_door(place: Place, writer: int) -> None:
    loop = _loop(place.life)
    raise_descriptor_limit()
    bus = DoorBus(state.BUS, "door0")
    said: list[int] = []

    def ready() -> None:
        if not said:
            said.append(1)
            _say_ready(writer)

    door = Door(
        loop,
        place.listening,
        auth.server_context("."),
        auth.mac_secret("."),
        bus,
        place.only_uid,
        ready,
    )
    loop.run()
    door.close()


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
