"""A running relay's process becomes the program that is installed now. Knows no protocol.

``python [-I -S ...] ROOT/relay/takeover.py HANDED``

The process asks for nothing anew: number, lock and listening sockets stay, so nobody else can step
in and who dials meanwhile waits in the kernel's queue. Even door and broker work on until the new
program is loaded; then they are ended and started from it, and who was connected dials again. If it
cannot start them, the former program gets everything back.

The running relay is asked by a signal and a note in its directory, which only its user can write.
Neither their form nor that of HANDED (JSON) may change but by new fields: the other side may be of
any version.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from relay.children import Plan

REQUEST = "restart.json"
SIGNAL = signal.SIGUSR2


class Handed(NamedTuple):
    """What a relay's process keeps while it becomes another program. Descriptors are numbers."""

    plan: dict[str, Any]
    """Fields of `relay.children.Plan`."""
    lock: int
    listening: list[int]
    life: list[int]
    """Reading and writing end of the pipe that tells the children that we live."""
    children: dict[str, int]
    """The former program's, by name."""
    back: list[str]
    """The argv of the former program, but for HANDED; empty: it is that one already."""
    metrics: int = -1
    """Where scrapers are served; -1: nowhere."""

    @property
    def descriptors(self) -> list[int]:
        scraped = [self.metrics] if self.metrics >= 0 else []
        return [self.lock, *self.listening, *self.life, *scraped]

    def dump(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def load(cls, text: str) -> Handed:
        """Whatever version wrote it: what it does not say is empty."""
        fields = json.loads(text)
        empty: dict[str, Any] = {"children": {}, "back": [], "metrics": -1}
        return cls(**{name: fields.get(name, empty.get(name)) for name in cls._fields})

    def to_plan(self) -> Plan:
        from dataclasses import fields

        from relay.children import Plan, Rules

        known = {field.name for field in fields(Plan)}
        given: dict[str, Any] = {n: value for n, value in self.plan.items() if n in known}
        for name, value in given.items():
            given[name] = tuple(value) if isinstance(value, list) else value
        rules = {field.name for field in fields(Rules)}
        asked = given.pop("archive", {})
        given["archive"] = Rules(**{name: asked[name] for name in rules & set(asked)})
        return Plan(**given)


# ----------------------------------------------------------------------------------- who is started


def program() -> list[str]:
    """The argv, but for HANDED, with which a process becomes a relay of this code."""
    from gshell import sitepath

    return [*sitepath.interpreter(), os.path.join(sitepath.root(), "relay", "takeover.py")]


def request(folder: str, pidfd: int) -> None:
    """Ask the relay that runs from ``folder`` to become us.

    Raises:
        OSError: the note cannot be written, or nobody is there.
    """
    fresh = os.path.join(folder, f"{REQUEST}.{os.getpid()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump({"argv": program()}, file)
    os.rename(fresh, os.path.join(folder, REQUEST))
    signal.pidfd_send_signal(pidfd, SIGNAL)


def requested(folder: str) -> list[str]:
    """What the note says, which is gone then; empty if it is none."""
    path = os.path.join(folder, REQUEST)
    try:
        with open(path, encoding="utf-8") as file:
            mine = os.fstat(file.fileno()).st_uid == os.geteuid()
            argv = json.load(file).get("argv")
        os.unlink(path)
    except (OSError, ValueError, AttributeError):
        return []
    good = mine and isinstance(argv, list) and all(isinstance(word, str) for word in argv)
    return argv if good and os.access(argv[0], os.X_OK) else []


def become(argv: list[str], handed: Handed) -> None:
    """Does not return, unless the program cannot be started.

    Raises:
        OSError: that.
    """
    keep = handed.descriptors
    for fd in keep:
        os.set_inheritable(fd, True)
    # A log's rotation, or being asked twice, must not end what cannot hear it yet.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, SIGNAL)}
    try:
        os.execv(argv[0], [*argv, handed.dump()])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for fd in keep:
            os.set_inheritable(fd, False)


# ---------------------------------------------------------------------------------- who takes over


def main(argv: list[str]) -> int:
    handed = Handed.load(argv[1])
    for fd in handed.descriptors:
        os.set_inheritable(fd, False)
    from gshell import sitepath

    sitepath.enable()
    import logging

    from relay import log, state, supervise

    plan = handed.to_plan()
    path = os.path.join(plan.state, state.LOG)
    log.set_up(path, log.level_of(plan.log_level), plan.log_format)
    said = logging.getLogger("relay")
    relay = supervise.Relay(plan, handed)
    try:
        relay.prepare()
        relay.run(lambda: said.info("took over from the former program"))
    except Exception as error:
        said.error("cannot take over: %s", error)
        if relay.served or not handed.back:
            raise
        become(handed.back, handed._replace(children={}, back=[]))
    return 0


if __name__ == "__main__":
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # -I -S: not even our own directory is on the path. Else this script's folder is, whose modules
    # have names of their own there; and PYTHONPATH is still the former program's.
    sys.path[:] = [*sys.path, root] if sys.flags.no_site else [root, *sys.path[1:]]
    sys.exit(main(sys.argv))
