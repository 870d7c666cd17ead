"""What stands in for the other end: tickets of a relay that is nowhere, links that take everything."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from typing import Any

from gshell.agent.session import Session
from gshell.agent.spec import StepSpec
from gshell.client.conversation import Dialler
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from relay import auth


@functools.cache
def tickets() -> tuple[Ticket, Ticket]:
    """A client's and an agent's, of a relay that is nowhere."""
    state = tempfile.mkdtemp(prefix="gsh-fuzz-")
    atexit.register(shutil.rmtree, state, ignore_errors=True)
    auth.ensure(state)
    found = []
    for kind, uri in (("client", "gshell:user:u"), ("agent", "gshell:agent:u:a")):
        made = auth.issue(state, uri, agent=kind == "agent")
        found.append(Ticket(kind, "u", "a" if kind == "agent" else "", [f"unix:{state}/none"],
                            auth.pin(state), auth.ca_text(state), made.cert, made.key, "k", "00" * 32))  # fmt: skip
    return found[0], found[1]


class Link:
    """A link that takes everything."""

    closed = paused = False
    room = True
    first = None
    unsent = 0
    tls = None

    def __init__(self) -> None:
        self.sent = 0

    def send(self, data: bytes) -> None:
        self.sent += len(data)

    def pause(self, paused: bool) -> None: ...

    def close(self) -> None:
        self.closed = True


class Owner:
    """As much of an agent as a session asks for; it admits everything."""

    disk = None

    def __init__(self) -> None:
        self.loop = Loop()
        self.admitted = 0

    def admit(self, session: Session, spec: StepSpec) -> None:
        self.admitted += 1

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


@functools.cache
def dialler_of_nowhere() -> Dialler:
    made = Dialler(Loop(), tickets()[0])
    made.loop.close()
    return made


NULL = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
OWNER = Owner()
