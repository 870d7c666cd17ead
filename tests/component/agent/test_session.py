"""A session with real processes: whose input it is, readers that leave, pipes that are held."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gshell.agent.attachment import Attachment
from gshell.agent.session import Session
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool
from gshell.net.loop import Loop
from gshell.wire.constants import INPUT_WINDOW, stderr_of, stdin_of, stdout_of
from gshell.wire.peer import Peer

PATIENCE_S = 20.0
MUCH = 400_000  # more than a stdin pipe takes


class Owner:
    """The agent, as a session sees it."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.folder = folder
        self.sessions: list[Session] = []

    def admit(self, session: Session, spec: StepSpec) -> None:
        session.start(spec)

    def on_started(self, session: Session) -> None: ...

    def on_left(self, session: Session) -> None: ...

    def on_watchers(self, session: Session) -> None: ...

    def on_visitor_left(self, session: Session, attachment: Attachment) -> None: ...

    def on_ended(self, session: Session) -> None: ...

    def make_spool(self, session: Session, stream: int) -> Spool:
        return Spool(str(self.folder / str(stream)))


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path)
    yield owner
    for session in owner.sessions:
        session.signal_all(9)
        assert owner.loop.run_until(lambda one=session: one.state == "ended", PATIENCE_S)
        session.forget()
    owner.loop.close()


def start(owner: Owner, script: str) -> tuple[Session, Attachment]:
    session = Session(owner, "1", 0, 1, "me")
    owner.sessions.append(session)
    writer = attachment(session, "first")
    session.add(writer)
    session.start(StepSpec.parse({"argv": ["sh", "-c", script], "where": "elsewhere"}))
    return session, writer


def attachment(session: Session, name: str) -> Attachment:
    peer = Peer(client=False)
    peer.add_recv(stdin_of(0), INPUT_WINDOW)
    return Attachment(session, name, "me", "rw", peer)


def arrive(writer: Attachment, data: bytes) -> None:
    """As if ``data`` had come over a link."""
    receiving = writer.peer.receiving(stdin_of(0))
    assert receiving is not None
    receiving.on_data(receiving.have, data, False)
    writer.session.take_input(0, data, writer)


def consumed(writer: Attachment) -> int:
    receiving = writer.peer.receiving(stdin_of(0))
    assert receiving is not None
    return receiving.consumed


def test_a_reader_of_stderr_leaves_while_input_waits(owner: Owner) -> None:
    session, writer = start(owner, "echo x >&2; exec sleep 600")
    arrive(writer, b"i" * MUCH)
    session.reader_gone(stderr_of(0))
    assert consumed(writer) < MUCH
    assert session.state == "running"


def test_input_counts_for_who_typed_it_whoever_writes_when_it_is_taken(owner: Owner) -> None:
    session, first = start(
        owner, f"until test -e {owner.folder}/go; do sleep 0.02; done; cat >/dev/null"
    )
    arrive(first, b"1" * MUCH)
    second = attachment(session, "second")
    session.add(second, steal=True)
    assert session.primary is second
    (owner.folder / "go").touch()
    assert owner.loop.run_until(lambda: consumed(first) == MUCH, PATIENCE_S)
    assert consumed(second) == 0
    session.remove(second)


def test_what_is_piped_in_is_not_taken_over_but_by_stealing(owner: Owner) -> None:
    session, writer = start(owner, "exec cat")  # its link is lost: there never was one
    other = attachment(session, "other")
    session.add(other)
    session.hand_on()
    assert session.primary is writer
    session.steal(other)
    assert session.primary is other


def test_a_pipe_that_a_descendant_holds_ends_with_its_program_all_the_same(owner: Owner) -> None:
    session, writer = start(owner, "sleep 600 & head -c 1100000 /dev/zero; echo $! >&2")
    sending = writer.peer.sending(stdout_of(0))
    assert sending is not None
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    assert session.ranks[0].logs[stdout_of(0)].end == 1_100_000
    left = session.ranks[0].logs[stderr_of(0)].read(0, 100)
    os.kill(int(left), signal.SIGKILL)
