"""Starts an agent: ticket, keeper, loop, signals. The entry of the ``.pyz`` too."""

from __future__ import annotations

import gc
import getopt
import json
import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from gshell import __version__, sitepath
from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.model.ticket import Ticket
from gshell.net import logline
from gshell.net.address import HEAD
from gshell.net.loop import IN, Loop
from gshell.net.machine import no_core_dumps

if TYPE_CHECKING:
    from gshell.agent.agent import Agent

USAGE = """\
usage: python3 agent.pyz --ticket FILE | --invite gshell://HOST:PORT/PIN#TOKEN
       python3 agent.pyz --invite @FILE --node I [--restart R]
       python3 agent.pyz pilot --help    |    python3 agent.pyz adopter --help
       python3 agent.pyz glogin -r -p PORT:IP [-t] [-c] COMMAND...    (i2glogin's remote end)
       python3 agent.pyz mpi-start [OPTION]... PROGRAM [ARGUMENT]...
  --ticket FILE    the 0600 file that says who this agent is ("-": from stdin)
  --invite INVITE  enrol with a relay's invite (better from a file: --invite @FILE)
  --node I         be node I of the pilot whose invite it is; each node is given out once
  --restart R      the how many-th start of that node this is (0)
  --head H:P       where the head of that pilot hands connections on, if there is no other way
  --facts JSON     what is known of the batch job: site, pilot, node, lrms, lrms_id, ends_at
  --idle S         end when idle for so long while the relay is away
  --relay H:P      dial this address (or several, by commas) instead of the ticket's
  --slots N        tasks at the same time
  --tag WORD       what this agent offers; may be repeated
  --pool GROUP     serve everybody in GROUP, under THIS account: what they start can read
                   and do all that this account can, and this account can read all of theirs
  --spool DIR      where output that does not fit into memory goes (else $TMPDIR or /tmp)
  --quota SIZE     how much of it, of all sessions together (else 4 GiB, but no more than half of
                   what is free there); 0: none, memory only
  --version
environment: GSHELL_LOG=debug|info|warning|error, GSHELL_LOG_FORMAT=text|json (to stderr)
"""
_LONG = [
    "ticket=",
    "invite=",
    "relay=",
    "slots=",
    "tag=",
    "pool=",
    "spool=",
    "quota=",
    "node=",
    "restart=",
    "head=",
    "facts=",
    "idle=",
    "boot=",
    "ready-fd=",
    "keeper-fd=",
    "help",
    "version",
]

ARCHIVE_WAIT_S = 10.0  # for the relay to fetch what ended here: within a batch system's grace
ALLOCATED = ("site", "pilot", "node", "lrms", "lrms_id", "ends_at")  # what --facts may have
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
        self.pool = ""
        self.spool: str | None = None
        self.quota: int | None = None
        self.node: int | None = None
        self.restart: int | None = None
        self.head = ""
        self.facts = ""
        self.idle: int | None = None
        self.boot = ""
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
        elif name == "--quota":
            self.quota = _size(value)
        elif name in ("--slots", "--ready-fd", "--keeper-fd", "--node", "--restart", "--idle"):
            if not value.isdigit():
                raise UsageError(f"{name} {value!r} is not a whole number")
            setattr(self, name[2:].replace("-", "_"), int(value))
        else:
            setattr(self, name[2:], value)


def read_facts(text: str) -> dict[str, Any]:
    """
    Raises:
        UsageError: that is no object of JSON.
    """
    try:
        facts = json.loads(text or "{}")
        if not isinstance(facts, dict):
            raise ValueError
    except ValueError:
        raise UsageError(f"--facts {text!r} is not an object of JSON") from None
    return {key: facts[key] for key in ALLOCATED if facts.get(key) is not None}


def _size(text: str) -> int:
    """Bytes in ``4096``, ``64M``, ``4G``.

    Raises:
        UsageError: it is none.
    """
    power = "KMGT".find(text[-1:].upper()) + 1
    digits = text[:-1] if power and text else text
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise UsageError(f"--quota {text!r} is not a size such as 4096, 64M or 4G")
    return int(digits) << 10 * power


def _check_claim(settings: Settings) -> None:
    if settings.restart is not None and settings.node is None:
        raise UsageError("--restart goes with --node", hint="python3 agent.pyz --help")
    if settings.node is not None and not (settings.invite or "").startswith("@"):
        raise UsageError(
            "a pilot's invite stands in a file that only you can read: its token must not be "
            "seen in a list of processes",
            hint="python3 agent.pyz --invite @FILE --node I",
        )


def read_ticket(settings: Settings) -> Ticket:
    """
    Raises:
        UsageError, BrokerError, LinkLost: none to be had; says why.
    """
    _check_claim(settings)
    if settings.invite is not None:
        from gshell.net import relaylink

        text = settings.invite
        if text.startswith("@"):
            text = _read(text[1:])
        empty, token = relaylink.parse_invite(text)
        if settings.relay:
            empty = empty._replace(relays=settings.relay.split(","))
        through: list[str] = []
        if settings.head:
            from gshell.agent import head

            through = [head.address_of(settings.head, token)]
            empty = empty._replace(relays=[*empty.relays, *through])
        claim = None
        if settings.node is not None:
            claim = {"node": settings.node, "restart": settings.restart or 0}
        ticket = relaylink.enrol(empty, token, "agent", "", claim)
        ticket = ticket._replace(relays=[*ticket.relays, *through])
    elif settings.ticket is not None:
        text = sys.stdin.read() if settings.ticket == "-" else _read(settings.ticket)
        ticket = Ticket.load(text, settings.ticket)
    else:
        raise UsageError(
            "an agent needs a ticket or an invite", hint="python3 agent.pyz --ticket FILE"
        )
    if ticket.kind != "agent":
        raise UsageError("this ticket is a client's", hint="gshell agent ticket FILE")
    if settings.relay:
        own = [one for one in ticket.relays if one.startswith(HEAD)]
        ticket = ticket._replace(relays=[*settings.relay.split(","), *own])
    return ticket


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
    if argv[:1] == ["service"]:
        from gshell.agent import services

        return services.main(argv[1:])
    if argv[:1] == ["compile"]:  # python3 agent.pyz compile FILE: for this very Python
        from gshell.agent import pack

        pack.compile_packed(sitepath.root(), argv[1])
        return 0
    if argv[:1] == ["pilot"]:
        from gshell.agent import pilot

        return pilot.main(argv[1:])
    if argv[:1] == ["adopter"]:
        from gshell.agent import adopter

        return adopter.main(argv[1:])
    if argv[:1] == ["glogin"]:
        from gshell.agent import glogin

        return glogin.main(argv[1:])
    if argv[:1] == ["mpi-start"]:
        from gshell.agent import mpistart

        return mpistart.main(argv[1:])
    handler = logging.StreamHandler()
    as_json = os.environ.get("GSHELL_LOG_FORMAT") == "json"
    handler.setFormatter(logline.JsonLines() if as_json else logline.TextLines())
    logging.basicConfig(handlers=[handler], level=_level())
    logging.raiseExceptions = False  # a log that cannot be written is no reason to write more
    try:
        settings = Settings(argv)
        if settings.word:
            print(USAGE if settings.word == "help" else f"gshell agent {__version__}")  # noqa: T201  # the .pyz's own command line
            return 0
        if settings.keeper_fd >= 0:
            return run(settings)
        return _keep(settings)
    except GshellError as error:
        _complain("gshell: " + sanitize(error.message) + "\n")
        if error.hint:
            _complain(f"  try:  {sanitize(error.hint)}\n")
        return error.exit_code
    finally:
        _end_log()


def _complain(text: str) -> None:
    try:
        sys.stderr.write(text)
    except OSError:  # the log's disk is full: the exit status must do
        pass


def _end_log() -> None:
    """What a full disk did not take would make the interpreter end with a status of its own."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 2)


def _level() -> int:
    name = os.environ.get("GSHELL_LOG", "warning").upper()
    return getattr(logging, name, logging.WARNING)


def _keep(settings: Settings) -> int:
    """Become the keeper of an agent that does the work, and hand it the ticket over a pipe."""
    from gshell.agent import claims, keeper, mpistart, services
    from gshell.agent.spoolplace import SpoolPlace
    from gshell.agent.workdir import WorkDirs

    ticket = read_ticket(settings)
    reads, writes = os.pipe()  # not inherited but by the agent, and the agent only needs to read
    text = ticket.dump().encode()
    os.set_inheritable(reads, True)
    boot = os.urandom(16).hex()
    words = ["--ticket", f"/proc/self/fd/{reads}", "--boot", boot]
    for tag in settings.tags:
        words += ["--tag", tag]
    if settings.slots is not None:
        words += ["--slots", str(settings.slots)]
    if settings.pool:
        words += ["--pool", settings.pool]
    if settings.spool:
        words += ["--spool", settings.spool]
    if settings.quota is not None:
        words += ["--quota", str(settings.quota)]
    if settings.facts:
        words += ["--facts", settings.facts]
    if settings.idle is not None:
        words += ["--idle", str(settings.idle)]
    if settings.ready_fd >= 0:
        os.set_inheritable(settings.ready_fd, True)
        words += ["--ready-fd", str(settings.ready_fd)]
    os.write(writes, text)  # a ticket is smaller than a pipe
    os.close(writes)
    status = keeper.run([*services.again(), *words])
    for _ in mpistart.leftovers():
        pass
    if status:  # it may have been killed, and its spool be left
        ranks = SpoolPlace(None, claims.PLACE)
        for place in (SpoolPlace(settings.spool), WorkDirs(settings.spool), ranks):
            for _ in place.leftovers():
                pass
    if (
        status == 1 or 128 < status < 255
    ):  # it crashed, or was killed; else it has said goodbye itself
        from gshell.agent import obituary

        obituary.report(ticket, boot)
    return status


def run(settings: Settings) -> int:
    """The agent's life."""
    from gshell.agent.agent import Agent
    from gshell.agent.session import KILL_AFTER_S
    from gshell.agent.slots import Facts

    no_core_dumps()
    ticket = read_ticket(settings)
    loop = Loop()
    facts = Facts(settings.slots, settings.tags, settings.pool, read_facts(settings.facts))
    facts.idle_s = settings.idle
    agent = Agent(loop, ticket, facts, __version__, settings.spool, settings.quota, settings.boot)
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
    _wait_archived(loop, agent)
    agent.shut_down()
    if agent.done is not None and agent.done.message != "stopped by request":
        _complain(f"gshell agent: {sanitize(agent.done.message)}\n")
        return agent.done.exit_code
    return 0


def _wait_archived(loop: Loop, agent: Agent) -> None:
    """With us goes the output of what ended here: the relay may have it first."""
    waiting = agent.unarchived
    if waiting:
        log.info("waiting up to %.0f s for the archive: %s", ARCHIVE_WAIT_S, ", ".join(waiting))
        agent.leave()
        loop.run_until(lambda: not agent.unarchived, ARCHIVE_WAIT_S)
    if agent.unarchived:
        log.warning("not archived, and lost with this agent: %s", ", ".join(agent.unarchived))


def _say_ready(fd: int, text: str) -> None:
    try:
        os.write(fd, text.encode())
        os.close(fd)
    except OSError:
        pass
