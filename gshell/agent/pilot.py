"""Inside a batch job of ours: which nodes we were given, and an agent on each of them.

The first node's process is the *head*: it starts the others by the site's own launcher, hands their
connections on to the relay where they have no way out (`head`), and ends with the last of them.
Knows batch systems by their plug-ins only, and nothing of what agents do.
"""

from __future__ import annotations

import getopt
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gshell.agent import head, services
from gshell.errors import GshellError, LrmsError, UsageError
from gshell.lrms import registry
from gshell.lrms.base import Allocation, Done, Plugin
from gshell.net.loop import IN, Loop

USAGE = """\
usage: python3 agent.pyz pilot --invite @FILE [--site S] [--pilot P] [--lrms L] [--slots N]
                               [--walltime S] [--idle S] [--tag WORD,WORD]
An agent on each node of the batch job that this runs in.
"""
ASK_S = 10.0  # for when the batch job ends, of a batch system that may be busy
GRACE_S = 25.0  # for agents to end what they run, once the job is told to end; then they are killed
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)

log = logging.getLogger("gshell.agent.pilot")


class Settings(NamedTuple):
    """What the pilot's script, or the head, said."""

    invite: str = ""
    site: str = ""
    pilot: str = ""
    lrms: str = ""
    slots: int = 0
    walltime: int = 0
    idle: int = 0
    tag: str = ""
    head: str = ""
    """Of a node that the head started: where it hands connections on. What follows is of these
    nodes, too."""
    hosts: str = ""
    """All of them, in order: ``name:slots,name:slots``."""
    lrms_id: str = ""
    ends_at: str = ""
    restart: int = 0


def read(argv: Sequence[str]) -> Settings:
    """
    Raises:
        UsageError: it makes no sense.
    """
    names = [name.replace("_", "-") for name in Settings._fields]
    try:
        options, rest = getopt.getopt(list(argv), "h", [f"{name}=" for name in names] + ["help"])
    except getopt.GetoptError as error:
        raise UsageError(str(error), hint="python3 agent.pyz pilot --help") from None
    if rest:
        raise UsageError(f"what is {rest[0]!r}?", hint="python3 agent.pyz pilot --help")
    given: dict[str, Any] = {}
    for option, value in options:
        name = option[2:].replace("-", "_")
        if option in ("-h", "--help"):
            raise UsageError(USAGE.rstrip())
        if isinstance(Settings._field_defaults[name], int):
            if not value.isdigit():
                raise UsageError(f"{option} {value!r} is not a whole number")
            given[name] = int(value)
        else:
            given[name] = value
    settings = Settings(**given)
    if not settings.invite.startswith("@"):
        raise UsageError("a pilot needs --invite @FILE", hint="python3 agent.pyz pilot --help")
    return settings


def find_allocation(
    name: str, env: Mapping[str, str], now: float
) -> tuple[Plugin, Allocation] | None:
    """The batch job around us. ``name``: of the batch system, empty: any."""
    if name:
        try:
            plugin = registry.plugin(name)
        except LrmsError:
            pass  # somebody's own: what it imitates is recognised by its environment
        else:
            found = plugin.allocation(env, _text_of, now)
            return None if found is None else (plugin, found)
    found = registry.detect(env, _text_of, now)
    return None if found is None else (registry.plugin(found.lrms), found)


def _text_of(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def which(hosts: Sequence[str], mine: Sequence[str]) -> int | None:
    """Our place among the batch system's names, by the names that we know of ourselves; None if
    that is not clear."""
    for shorten in (False, True):
        ours = {name.partition(".")[0] if shorten else name for name in mine if name}
        found = [
            at
            for at, host in enumerate(hosts)
            if (host.partition(".")[0] if shorten else host) in ours
        ]
        if len(found) == 1:
            return found[0]
    return None


def _my_index(hosts: Sequence[str]) -> int | None:
    # Several Slurm daemons of one machine tell their jobs whose they are.
    index = which(hosts, [os.environ.get("SLURMD_NODENAME", "")])
    if index is None:
        index = which(hosts, [os.uname().nodename])
    if index is not None:
        return index
    ours = [at for at, host in enumerate(hosts) if _is_ours(host)]
    return ours[0] if len(ours) == 1 else None


def _is_ours(host: str) -> bool:
    """Is that an address of this machine? Then one can listen there."""
    try:
        info = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(*info[:3]) as sock:
            sock.bind(info[4])
        return True
    except OSError:
        return False


def agent_words(settings: Settings, index: int, slots: int) -> list[str]:
    """The command line of the agent of this node, without its program."""
    facts = {
        "site": settings.site, "pilot": settings.pilot, "node": index, "lrms": settings.lrms,
        "lrms_id": settings.lrms_id,
        "ends_at": float(settings.ends_at) if settings.ends_at else None,
    }  # fmt: skip
    words = ["--invite", settings.invite, "--node", str(index)]
    words += ["--restart", str(settings.restart), "--facts", json.dumps(facts)]
    if settings.head:
        words += ["--head", settings.head]
    if settings.idle:
        words += ["--idle", str(settings.idle)]
    for tag in filter(None, settings.tag.split(",")):
        words += ["--tag", tag]
    slots = settings.slots or slots or len(os.sched_getaffinity(0))
    return [*words, "--slots", str(slots)]


def main(argv: list[str]) -> int:
    """Be a pilot's process on a node; its exit status."""
    from gshell.agent.main import main as agent_main

    logging.basicConfig(format="gshell pilot: %(message)s", level=logging.INFO)
    try:
        settings = read(argv)
        if settings.hosts:
            return agent_main(_node_words(settings))
        pilot = _Pilot(settings)
        if len(pilot.hosts) == 1:
            return agent_main(agent_words(pilot.settings, 0, pilot.hosts[0][1]))
        return pilot.run()
    except GshellError as error:
        sys.stderr.write(f"gshell pilot: {error.explained()}\n")
        return error.exit_code


def _node_words(settings: Settings) -> list[str]:
    """Of a node that is not the head."""
    hosts = []
    for part in settings.hosts.split(","):
        name, _, count = part.rpartition(":")
        hosts.append((name, int(count) if count.isdigit() else 0))
    index = _my_index([name for name, _ in hosts])
    if not index:  # the head is not started by itself
        names = ", ".join(name for name, _ in hosts)
        raise GshellError(f"{os.uname().nodename} is none of the nodes {names}")
    return agent_words(settings, index, hosts[index][1])


class _Pilot:
    """The head's process. Invariant: it lives while an agent of its nodes does."""

    def __init__(self, settings: Settings) -> None:
        now = time.time()
        found = find_allocation(settings.lrms, os.environ, now)
        if found is None:
            what = f"of {settings.lrms} " if settings.lrms else ""
            raise UsageError(f"this is no batch job {what}that I know: its variables are not set")
        self.plugin, self.allocation = found
        hosts = list(self.allocation.hosts) or [(os.uname().nodename, 0)]
        mine = _my_index([host for host, _ in hosts]) if len(hosts) > 1 else 0
        hosts.insert(0, hosts.pop(mine or 0))
        self.hosts = hosts
        ends_at = self.allocation.ends_at or self._asked_end(now)
        if ends_at is None and settings.walltime:
            ends_at = now + settings.walltime
        self.settings = settings._replace(
            lrms=self.plugin.name,
            lrms_id=self.allocation.id,
            ends_at=f"{ends_at:.0f}" if ends_at else "",
            restart=settings.restart or self.allocation.restart,
        )

    def _asked_end(self, now: float) -> float | None:
        command = self.plugin.ends(self.allocation)
        if command is None:
            return None
        try:
            ran = subprocess.run(
                list(command.argv), input=command.stdin, env={**os.environ, **command.env},
                capture_output=True, text=True, errors="replace", timeout=ASK_S, check=False,
            )  # fmt: skip
            return self.plugin.ended_at(Done(ran.returncode, ran.stdout, ran.stderr), now)
        except (OSError, subprocess.SubprocessError, GshellError) as error:
            log.warning("when this job ends is not known: %s", error)
            return None

    # -- several nodes

    def run(self) -> int:
        settings = self.settings
        from gshell.net.relaylink import parse_invite

        ticket, token = parse_invite(_text_of(settings.invite[1:]))
        loop = Loop()
        names = [host for host, _ in self.hosts]
        relay = head.Head(loop, head.listen(names[0]), ticket.relays, token, len(names))
        ended: list[int] = []
        asked: list[int] = []
        reads = wake(loop)
        for number in (*ENDING, *_WARNINGS, signal.SIGCHLD):
            signal.signal(number, lambda number, frame: None)
        mine = self._start([*services.again(), *agent_words(settings, 0, self.hosts[0][1])])
        others = settings._replace(
            head=f"{names[0]}:{relay.port}",
            hosts=",".join(f"{name}:{slots}" for name, slots in self.hosts),
        )
        argv = [*services.again(), "pilot", *as_words(others)]
        launchers = [
            self._start(list(command.argv), command.env)
            for command in self.plugin.on_nodes(self.allocation, names[1:], argv)
        ]
        live = [mine, *launchers]

        def woken(mask: int) -> None:
            for number in reads.recv(256):
                if number in _WARNINGS and mine in live:
                    mine.send_signal(number)  # the other nodes' are the batch system's to warn
                elif number in ENDING:
                    asked.append(number)
                    for process in live:
                        process.send_signal(signal.SIGTERM)
                    loop.later(GRACE_S, lambda: kill(live))
            for process in [one for one in live if one.poll() is not None]:
                live.remove(process)
                ended.append(process.returncode)

        loop.add(reads.fileno(), IN, woken)
        woken_by_hand = [process for process in live if process.poll() is not None]
        for process in woken_by_hand:  # before we listened for their end
            live.remove(process)
            ended.append(process.returncode)
        while live:
            loop.once()
        relay.close()
        return max((status if status >= 0 else 128 - status for status in ended), default=0)

    def _start(self, argv: list[str], env: Mapping[str, str] | None = None) -> Any:
        # Its own standard input: a launcher must not read the script that started us.
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}
        )  # fmt: skip


def kill(processes: Sequence[Any]) -> None:
    for process in processes:
        process.kill()


def wake(loop: Loop) -> socket.socket:
    reads, writes = socket.socketpair()
    for end in (reads, writes):
        end.setblocking(False)
    signal.set_wakeup_fd(writes.detach(), warn_on_full_buffer=False)
    return reads


def as_words(settings: Settings) -> list[str]:
    """What `read` makes the same settings of."""
    words = []
    for name, value in settings._asdict().items():
        if value not in ("", 0):
            words += ["--" + name.replace("_", "-"), str(value)]
    return words
