"""Starts an agent: ticket, keeper, loop, signals. The entry of the ``.pyz`` too."""

from __future__ import annotations

import gc
import getopt
import logging
import os
import signal
import socket
import sys

from gshell import __version__
from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.model.ticket import Ticket
from gshell.net.loop import IN, Loop
from gshell.net.machine import no_core_dumps

USAGE = """\
usage: python3 agent.pyz --ticket FILE | --invite gshell://HOST:PORT/PIN#TOKEN
  --ticket FILE    the 0600 file that says who this agent is ("-": from stdin)
  --invite INVITE  enrol with a relay's invite (better from a file: --invite @FILE)
  --relay H:P      dial this address instead of the ticket's
  --slots N        tasks at the same time
  --tag WORD       what this agent offers; may be repeated
  --spool DIR      where output that does not fit into memory goes (else $TMPDIR or /tmp)
  --version
"""
_LONG = [
    "ticket=",
    "invite=",
    "relay=",
    "slots=",
    "tag=",
    "spool=",
    "ready-fd=",
    "keeper-fd=",
    "help",
    "version",
]

WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)  # what Slurm and Grid Engine send ahead of the end

log = logging.getLogger("gshell.agent")


class Settings:
    """What the command line said."""

    def __init__(self, argv: list[str]) -> None:
        self.ticket: str | None = None
        self.invite: str | None = None
        self.relay: str | None = None
        self.slots: int | None = None
        self.tags: list[str] = []
        self.spool: str | None = None
        self.ready_fd = -1
        self.keeper_fd = -1
        self.word = ""
        try:
            options, rest = getopt.getopt(argv, "hV", _LONG)
        except getopt.GetoptError as error:
            raise UsageError(str(error), hint="python3 agent.pyz --help") from None
        if rest:
            raise UsageError(f"what is {rest[0]!r}?", hint="python3 agent.pyz --help")
        for name, value in options:
            self._set(name, value)

    def _set(self, name: str, value: str) -> None:
        if name in ("-h", "--help"):
            self.word = "help"
        elif name in ("-V", "--version"):
            self.word = "version"
        elif name == "--tag":
            self.tags.append(value)
        elif name in ("--slots", "--ready-fd", "--keeper-fd"):
            if not value.isdigit():
                raise UsageError(f"{name} {value!r} is not a whole number")
            setattr(self, name[2:].replace("-", "_"), int(value))
        else:
            setattr(self, name[2:], value)


def read_ticket(settings: Settings) -> Ticket:
    """
    Raises:
        UsageError, BrokerError, LinkLost: none to be had; says why.
    """
    if settings.invite is not None:
        from gshell.net import relaylink

        text = settings.invite
        if text.startswith("@"):
            text = _read(text[1:])
        empty, token = relaylink.parse_invite(text)
        if settings.relay:
            empty = empty._replace(relays=[settings.relay])
        ticket = relaylink.enrol(empty, token, "agent", "")
    elif settings.ticket is not None:
        text = sys.stdin.read() if settings.ticket == "-" else _read(settings.ticket)
        ticket = Ticket.load(text, settings.ticket)
    else:
        raise UsageError(
            "an agent needs a ticket or an invite", hint="python3 agent.pyz --ticket FILE"
        )
    if ticket.kind != "agent":
        raise UsageError("this ticket is a client's", hint="gshell agent ticket FILE")
    return ticket._replace(relays=[settings.relay]) if settings.relay else ticket


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                log.warning("%s can be read by others: chmod 600 it", path)
            return file.read()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def main(argv: list[str]) -> int:
    """Parse, enrol, keep; the exit status."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=_level())
    try:
        settings = Settings(argv)
        if settings.word:
            print(USAGE if settings.word == "help" else f"gshell agent {__version__}")  # noqa: T201  # the .pyz's own command line
            return 0
        if settings.keeper_fd >= 0:
            return run(settings)
        return _keep(settings)
    except GshellError as error:
        sys.stderr.write("gshell: " + sanitize(error.message) + "\n")
        if error.hint:
            sys.stderr.write(f"  try:  {sanitize(error.hint)}\n")
        return error.exit_code


def _level() -> int:
    name = os.environ.get("GSHELL_LOG", "warning").upper()
    return getattr(logging, name, logging.WARNING)


def _keep(settings: Settings) -> int:
    """Become the keeper of an agent that does the work, and hand it the ticket over a pipe."""
    from gshell.agent import keeper

    ticket = read_ticket(settings)
    reads, writes = os.pipe()  # not inherited but by the agent, and the agent only needs to read
    text = ticket.dump().encode()
    os.set_inheritable(reads, True)
    words = ["--ticket", f"/proc/self/fd/{reads}"]
    for tag in settings.tags:
        words += ["--tag", tag]
    if settings.slots is not None:
        words += ["--slots", str(settings.slots)]
    if settings.spool:
        words += ["--spool", settings.spool]
    if settings.ready_fd >= 0:
        os.set_inheritable(settings.ready_fd, True)
        words += ["--ready-fd", str(settings.ready_fd)]
    os.write(writes, text)  # a ticket is smaller than a pipe
    os.close(writes)
    status = keeper.run([*_again(), *words])
    if (
        status == 1 or 128 < status < 255
    ):  # it crashed, or was killed; else it has said goodbye itself
        from gshell.agent import obituary

        obituary.report(ticket)
    return status


def _again() -> list[str]:
    """An argv that runs this very program once more."""
    from gshell import sitepath

    root = sitepath.root()
    if os.path.isdir(root):
        return [*sitepath.interpreter(), os.path.join(root, "gshell", "agent", "__main__.py")]
    return [sys.executable, "-I", "-S", root]


def run(settings: Settings) -> int:
    """The agent's life."""
    from gshell.agent.agent import Agent, Facts
    from gshell.agent.session import KILL_AFTER_S

    no_core_dumps()
    ticket = read_ticket(settings)
    loop = Loop()
    agent = Agent(loop, ticket, Facts(settings.slots, settings.tags), __version__, settings.spool)
    stop: list[int] = []
    reads, writes = socket.socketpair()
    for end in (reads, writes):
        end.setblocking(False)
    signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, frame: stop.append(number))
    for number in WARNINGS:
        signal.signal(number, lambda number, frame: None)

    def woken(mask: int) -> None:
        for number in reads.recv(64):
            if number in WARNINGS:  # the batch system: the time is nearly up
                agent.draining = True
                agent.signal_steps(number)

    loop.add(reads.fileno(), IN, woken)
    if settings.keeper_fd > 0:
        loop.add(settings.keeper_fd, IN, lambda mask: stop.append(0))  # it only ever ends
    agent.start()
    ready_fd = settings.ready_fd
    gc.collect()
    gc.freeze()
    while not stop and agent.done is None:
        loop.once()
        if ready_fd >= 0 and agent.connected_once:
            _say_ready(ready_fd, "ready\n")
            ready_fd = -1
    if agent.done is not None and ready_fd >= 0:
        _say_ready(ready_fd, agent.done.message + "\n")
    agent.end_steps()
    loop.run_until(lambda: agent.idle, KILL_AFTER_S + 0.5)
    agent.shut_down()
    if agent.done is not None and agent.done.message != "stopped by request":
        sys.stderr.write(f"gshell agent: {sanitize(agent.done.message)}\n")
        return agent.done.exit_code
    return 0


def _say_ready(fd: int, text: str) -> None:
    try:
        os.write(fd, text.encode())
        os.close(fd)
    except OSError:
        pass
