"""On the submit host: agents for a batch job that runs already and that we did not start.

It is an agent itself (the node 0 of them), starts one on each of the job's nodes with the batch
system's launcher, and hands connections on for nodes that have no way out (`head`). It ends with
its own agent, whose step watches the batch job (`adopted`). Knows batch systems by
`gshell.lrms.running` only.
"""

from __future__ import annotations

import getopt
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gshell.agent import head, pilot, services
from gshell.errors import GshellError, UsageError
from gshell.lrms import running
from gshell.lrms.base import Command
from gshell.net.loop import IN, Loop

USAGE = """\
usage: python3 agent.pyz adopter --invite @FILE --lrms NAME --lrms-id ID --hosts N1,N2..
                                 --script FILE [--site S] [--tag WORD,WORD] [--slots N]
An agent here, and one on each node of a batch job that runs.
"""
AT_ONCE_S = 5.0  # a launcher that fails so soon has started nothing: there may be another way
GRACE_S = 10.0
HERE = "."
"""Among the hosts' names, for this one: it is none of the batch job's."""

log = logging.getLogger("gshell.agent.adopter")


class Settings(NamedTuple):
    """What the command line said."""

    invite: str = ""
    lrms: str = ""
    lrms_id: str = ""
    hosts: str = ""
    script: str = ""
    """Runs us on a node, with the words that follow."""
    site: str = ""
    tag: str = ""
    slots: str = "1"


def read(argv: Sequence[str]) -> Settings:
    """
    Raises:
        UsageError: it makes no sense.
    """
    names = [name.replace("_", "-") for name in Settings._fields]
    try:
        options, rest = getopt.getopt(list(argv), "h", [f"{name}=" for name in names] + ["help"])
    except getopt.GetoptError as error:
        raise UsageError(str(error), hint="python3 agent.pyz adopter --help") from None
    if rest or any(name in ("-h", "--help") for name, _ in options):
        raise UsageError(USAGE.rstrip())
    settings = Settings(**{name[2:].replace("-", "_"): value for name, value in options})
    if not all((settings.invite, settings.lrms, settings.lrms_id, settings.hosts)):
        raise UsageError(USAGE.rstrip())
    return settings


def main(argv: list[str]) -> int:
    """Until our own agent ends; the exit status is its."""
    logging.basicConfig(format="gshell adopter: %(message)s", level=logging.INFO)
    try:
        settings = read(argv)
        return _Adopter(settings).run()
    except GshellError as error:
        sys.stderr.write(f"gshell adopter: {error.explained()}\n")
        return error.exit_code


class _Launcher:
    """One command that stays while agents live. Invariant: the ways before this one failed."""

    def __init__(self, ways: Sequence[Command]) -> None:
        self.ways = list(ways)
        self.process: Any = None
        self.began_at = 0.0

    def start(self) -> bool:
        """False: there is no way left."""
        while self.ways:
            command = self.ways.pop(0)
            self.began_at = time.monotonic()
            try:
                self.process = _start(list(command.argv), command.env)
            except OSError as error:
                log.warning("%s: %s", command.argv[0], error.strerror)
                continue
            return True
        self.process = None
        return False


class _Adopter:
    """The process. Invariant: it lives as long as its agent."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.hosts = [host for host in settings.hosts.split(",") if host]
        self.given_up = False

    def run(self) -> int:
        settings = self.settings
        from gshell.net.relaylink import parse_invite

        with open(settings.invite[1:], encoding="utf-8") as file:
            ticket, token = parse_invite(file.read())
        loop = Loop()
        name = os.uname().nodename
        relay = head.Head(loop, head.listen(name), ticket.relays, token, len(self.hosts))
        for number in (*pilot.ENDING, signal.SIGCHLD):
            signal.signal(number, lambda number, frame: None)
        reads = pilot.wake(loop)
        slots = settings.slots if settings.slots.isdigit() else "1"
        common = pilot.Settings(
            invite=settings.invite, site=settings.site, lrms=settings.lrms, slots=int(slots),
            lrms_id=settings.lrms_id, tag=settings.tag,
        )  # fmt: skip
        mine = _start([*services.again(), *pilot.agent_words(common._replace(slots=1), 0, 1)])
        others = common._replace(
            head=f"{_address(name)}:{relay.port}",
            hosts=",".join(f"{host}:{slots}" for host in (HERE, *self.hosts)),
        )
        argv = [settings.script, "pilot", *pilot.as_words(others)]
        ways = running.into(settings.lrms, settings.lrms_id, self.hosts, ["sh", *argv])
        launchers = [_Launcher(each) for each in ways]
        for each in launchers:
            each.start()

        def woken(mask: int) -> None:
            for number in reads.recv(256):
                if number in pilot.ENDING:
                    self.given_up = True
                    mine.send_signal(signal.SIGTERM)
                    loop.later(GRACE_S, mine.kill)
            for each in launchers:
                self._look_after(each)

        loop.add(reads.fileno(), IN, woken)
        while mine.poll() is None:
            loop.once()
        self._end(launchers)
        for path in (settings.invite[1:], settings.script):
            try:
                os.unlink(path)
            except OSError:
                pass
        relay.close()
        return int(mine.returncode if mine.returncode >= 0 else 128 - mine.returncode)

    def _look_after(self, each: _Launcher) -> None:
        process = each.process
        if process is None or process.poll() is None:
            return
        early = time.monotonic() - each.began_at < AT_ONCE_S
        if process.returncode and early and each.start():
            return
        if process.returncode:
            log.warning("%s ended with status %d", process.args[0], process.returncode)
        each.process = None

    def _end(self, launchers: Sequence[_Launcher]) -> None:
        """The agents on the nodes end by themselves, with their steps: their launchers after
        them. Without a step they would stay for a while."""
        until = time.monotonic() + (0.0 if self.given_up else GRACE_S)
        for each in launchers:
            process = each.process
            if process is None:
                continue
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.terminate()
        for each in launchers:
            if each.process is not None:
                try:
                    each.process.wait(2.0)
                except subprocess.TimeoutExpired:
                    each.process.kill()


def _address(name: str) -> str:
    """What nodes can dial: our address, where our name means one to us."""
    try:
        found = str(socket.getaddrinfo(name, 0, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return name
    return name if found.startswith("127.") else found


def _start(argv: list[str], env: Mapping[str, str] | None = None) -> Any:
    own = running.alone(os.environ)
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, env={**own, **(env or {})})
