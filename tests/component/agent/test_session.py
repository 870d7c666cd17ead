"""A session with real processes: whose input it is, readers that leave, pipes that are held."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gshell.agent import keeping, rankoutput
from gshell.agent.attachment import Attachment
from gshell.agent.budget import Budget
from gshell.agent.session import Session
from gshell.agent.sessionlog import StreamLog
from gshell.agent.spec import StepSpec
from gshell.agent.spool import Spool
from gshell.net.loop import Loop
from gshell.wire.constants import INPUT_WINDOW, stderr_of, stdin_of, stdout_of
from gshell.wire.peer import Peer
from gshell.wire.streams import Missing, SendBuffer

PATIENCE_S = 20.0
MUCH = 400_000  # more than a stdin pipe takes


class Owner:
    """The agent, as a session sees it."""

    archiving = False

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.folder = folder
        self.disk = Budget(1 << 30)
        self.sessions: list[Session] = []

    def admit(self, session: Session, spec: StepSpec) -> None:
        session.start(spec)

    def on_started(self, session: Session) -> None: ...

    def on_left(self, session: Session) -> None: ...

    def on_stole(self, session: Session, attachment: Attachment) -> None: ...

    def on_watchers(self, session: Session) -> None: ...

    def before_signal(self, session: Session) -> None: ...

    def make_workdir(self, session: Session) -> str:
        return str(self.folder)

    def on_phase(self, session: Session) -> None: ...

    def ask_token(self, session: Session) -> None: ...

    def on_withdrawn(self, session: Session) -> None: ...

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


def test_a_pipe_that_a_descendant_holds_ends_with_its_program_all_the_same(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankoutput, "DRAIN_AFTER_EXIT_S", 0.3)
    session, writer = start(owner, "sleep 600 & head -c 1100000 /dev/zero; echo $! >&2")
    sending = writer.peer.sending(stdout_of(0))
    assert sending is not None
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    assert session.ranks[0].logs[stdout_of(0)].end == 1_100_000
    left = session.ranks[0].logs[stderr_of(0)].read(0, 100)
    os.kill(int(left), signal.SIGKILL)


def kept_from(owner: Owner, monkeypatch: pytest.MonkeyPatch, much: int = 64 << 20) -> int:
    """The oldest byte kept of 5 MB that somebody has read all along."""
    monkeypatch.setattr("gshell.agent.keeping.ARCHIVE_AHEAD_BYTES", much)
    session, writer = start(owner, "head -c 5000000 /dev/zero")
    log = session.ranks[0].logs[stdout_of(0)]

    def read() -> bool:
        for cursor in writer._cursors.values():
            cursor.release(cursor.end)
        return session.state == "ended"

    assert owner.loop.run_until(read, PATIENCE_S)
    return log.start


def test_what_was_read_is_kept_if_it_is_to_be_archived(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert kept_from(owner, monkeypatch) > 0
    owner.archiving = True
    assert kept_from(owner, monkeypatch) == 0


def test_a_flood_through_a_pipe_is_not_written_to_the_disk_for_an_archive(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.archiving = True
    assert kept_from(owner, monkeypatch, much=2 << 20) > 3_000_000


def test_the_archive_is_told_when_what_came(owner: Owner) -> None:
    session, _ = start(owner, "echo x; exit 3")
    archive = Attachment(session, "archive", "@archive", "r", Peer(client=False))
    archive.since = "start"
    session.add(archive)
    assert session.primary is not archive
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    said = archive.peer.control.read(0, 1 << 16).decode().splitlines()
    kinds = [json.loads(line)["t"] for line in said]
    assert kinds[-3:] == ["times", "times", "exit"]
    (begun, last, offset), *_ = json.loads(said[-3])["marks"]
    assert offset == 0
    assert abs(time.time() - begun) < PATIENCE_S
    assert last >= begun


@pytest.mark.parametrize(
    ("spec", "archivable"),
    [
        ({}, True),
        ({"archive": False}, False),
        ({"pty": [24, 80]}, False),
        ({"pty": [24, 80], "keep": True}, True),
        ({"pty": [24, 80], "keep": True, "archive": False}, False),
    ],
)
def test_a_step_says_whether_it_may_be_archived(spec: dict[str, object], archivable: bool) -> None:
    assert StepSpec.parse({"argv": ["x"], **spec}).archivable == archivable


def policy(owner: Owner, script: str, **fields: object) -> tuple[Session, Attachment]:
    """A session with these in its spec, whose opener has left."""
    session = Session(owner, "1", 0, 1, "me")
    owner.sessions.append(session)
    opener = attachment(session, "opener")
    session.add(opener)
    message = {"argv": ["sh", "-c", script], "where": "elsewhere", "keep": True, **fields}
    session.start(StepSpec.parse(message))
    session.remove(opener)
    return session, opener


def said(one: Attachment) -> list[dict[str, Any]]:
    control = one.peer.control
    data = b"".join(control.read(at, 1 << 20) for at in _pieces(control))
    return [json.loads(line) for line in data.splitlines()]


def _pieces(control: SendBuffer) -> Iterator[int]:
    at = control.start
    while at < control.end:
        yield at
        at += len(control.read(at, 1 << 20))


def notices(one: Attachment) -> list[str]:
    return [message["text"] for message in said(one) if message["t"] == "notice"]


def out(session: Session) -> StreamLog:
    return session.ranks[0].logs[stdout_of(0)]


def waits(session: Session) -> bool:
    return session.notice is not None and "output waits" in session.notice


MUCH_OUTPUT = 16 << 20
FLOOD = f"head -c {MUCH_OUTPUT} /dev/zero; echo done >&2"


def test_with_block_the_program_waits_even_if_nobody_is_there(owner: Owner) -> None:
    session, _ = policy(owner, FLOOD, on_full="block", quota=1 << 20)
    assert owner.loop.run_until(lambda: waits(session), PATIENCE_S)
    assert out(session).end < MUCH_OUTPUT
    assert out(session).start == 0
    assert owner.disk.held <= 1 << 20
    assert "its spool of 1 MiB is full" in str(session.notice)
    reader = attachment(session, "reader")
    reader.since = "start"
    session.add(reader)
    assert notices(reader) == [session.notice]
    cursor = reader._cursors[stdout_of(0)]

    def read() -> bool:
        while cursor.released < cursor.end:
            data = cursor.read(cursor.released, 1 << 18)
            assert data.count(0) == len(data)
            cursor.release(cursor.released + len(data))
        session.resume_reading()
        return session.state == "ended"

    assert owner.loop.run_until(read, PATIENCE_S)
    assert cursor.released == MUCH_OUTPUT
    assert len(notices(reader)) <= 2  # that it goes on, unless the program has ended before


def test_with_gap_the_program_never_waits_even_for_who_is_there(owner: Owner) -> None:
    session = Session(owner, "1", 0, 1, "me")
    owner.sessions.append(session)
    writer = attachment(session, "writer")
    session.add(writer)
    writer.link = Silent()  # type: ignore[assignment]
    session.start(StepSpec.parse({"argv": ["sh", "-c", FLOOD], "on_full": "gap", "quota": 1 << 20}))
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    log = out(session)
    assert log.end == MUCH_OUTPUT
    assert log.start > 0
    with pytest.raises(Missing):
        writer._cursors[stdout_of(0)].read(0, 10)
    writer.link = None


class Silent:
    """A link that takes nothing."""

    room = False
    closed = False

    def close(self) -> None: ...


def test_without_a_word_it_blocks_for_who_is_there_and_forgets_when_he_has_left(
    owner: Owner,
) -> None:
    session, writer = start(owner, FLOOD)
    writer.link = Silent()  # type: ignore[assignment]
    stream = stdout_of(0)
    assert owner.loop.run_until(lambda: out(session).end >= 1 << 16, PATIENCE_S)
    assert not owner.loop.run_until(lambda: out(session).end == MUCH_OUTPUT, 0.3)
    assert session._output._must_pause(stream, out(session))
    writer.link = None
    session.remove(writer)
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    assert out(session).end == MUCH_OUTPUT


def test_a_cancelled_program_that_waited_for_room_has_ended(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankoutput, "DRAIN_AFTER_EXIT_S", 0.3)
    session, _ = policy(owner, "exec cat /dev/zero", on_full="block", quota=0)
    assert owner.loop.run_until(lambda: waits(session), PATIENCE_S)
    session.cancel()
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)


@pytest.mark.parametrize("how", ["cancel", "kill"])
def test_what_is_ended_while_its_reader_stands_still_has_ended(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """His kernel answers for him for hours: a laptop that is stopped, a pager left open."""
    monkeypatch.setattr(rankoutput, "DRAIN_AFTER_EXIT_S", 0.3)
    session, writer = start(owner, "exec cat /dev/zero")
    writer.link = Silent()  # type: ignore[assignment]
    stream = stdout_of(0)
    assert owner.loop.run_until(lambda: any(session.ranks[0].paused.values()), PATIENCE_S)
    assert session._output._must_pause(stream, out(session))
    if how == "cancel":
        session.cancel()
    else:
        session.signal_all(signal.SIGKILL)
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    assert out(session).start == 0  # he has yet to read it
    writer.link = None


def test_what_had_ended_before_and_waits_for_its_reader_is_over_when_cancelled(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rankoutput, "DRAIN_AFTER_EXIT_S", 0.1)
    session, writer = start(owner, f"head -c {1 << 20} /dev/zero")
    writer.link = Silent()  # type: ignore[assignment]
    assert owner.loop.run_until(lambda: session.ranks[0].overdue, PATIENCE_S)
    assert session.state == "running"
    session.cancel()
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    assert (session.code, out(session).end) == (0, 1 << 20)
    writer.link = None


def test_what_is_given_up_before_anybody_heard_that_it_began_does_not_go_on(owner: Owner) -> None:
    session, writer = start(owner, "exec sleep 600")
    session.left(writer, "unwanted")
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    assert session.signal == signal.SIGTERM


def test_who_leaves_leaves_it_running(owner: Owner) -> None:
    session, writer = start(owner, "exec sleep 600")
    session.left(writer, "detach")
    assert not session.canceled


def test_what_one_had_not_taken_who_left_is_there_for_the_next(owner: Owner) -> None:
    session, writer = start(owner, f"head -c {4 << 20} /dev/zero; exec sleep 600")
    assert owner.loop.run_until(lambda: out(session).end == 4 << 20, PATIENCE_S)
    session.remove(writer)
    assert out(session).start == 0
    next_one = attachment(session, "next")
    next_one.since = "start"
    session.add(next_one)
    assert session.primary is next_one
    assert out(session).start == 0


def test_trouble_is_told_once_and_its_end_once(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TROUBLE_S", 0.05)
    broken = []
    make_spool = owner.make_spool

    def refuse(session: Session, stream: int) -> Spool:
        if broken:
            raise OSError(30, "Read-only file system")
        return make_spool(session, stream)

    owner.make_spool = refuse  # type: ignore[method-assign]
    broken.append(1)
    session, _ = policy(owner, FLOOD + "; exec sleep 600", on_full="block")
    watcher = Attachment(session, "watcher", "me", "r", Peer(client=False))
    session.add(watcher)
    assert owner.loop.run_until(lambda: waits(session), PATIENCE_S)
    assert not owner.loop.run_until(lambda: len(notices(watcher)) > 1, 0.5)
    broken.clear()
    assert owner.loop.run_until(lambda: session.notice is None, PATIENCE_S)
    begun, over = notices(watcher)
    assert begun.startswith("output waits: no place for the session's spool")
    assert "Read-only file system" in begun
    assert over == "output goes on"


def test_an_output_that_cannot_be_read_is_at_its_end(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = start(owner, "echo here; exec sleep 600")
    child = session.ranks[0].child
    assert child is not None
    real, broken = os.read, child.stdout

    def read(fd: int, size: int) -> bytes:
        if fd == broken:
            raise OSError(errno.EISDIR, "Is a directory")
        return real(fd, size)

    monkeypatch.setattr(os, "read", read)
    assert owner.loop.run_until(lambda: out(session).closed, PATIENCE_S)
    assert session.state == "running"


def test_what_has_ended_and_nobody_reads_is_on_disk_and_not_in_memory(owner: Owner) -> None:
    session, writer = start(owner, f"seq 100000; head -c {6 << 20} /dev/zero")
    assert owner.loop.run_until(lambda: session.state == "ended", PATIENCE_S)
    log = out(session)
    assert log._in_memory > 4 << 20  # its reader may come back
    session.remove(writer)
    assert log._in_memory < 1 << 20
    assert log.start == 0
    assert log.read(0, 6) == b"1\n2\n3\n"


def test_another_kind_of_trouble_is_told_and_an_end_needs_no_more_words(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "TROUBLE_S", 0.05)
    monkeypatch.setattr(rankoutput, "DRAIN_AFTER_EXIT_S", 0.3)

    def refuse(session: Session, stream: int) -> Spool:
        raise OSError(30, "Read-only file system")

    owner.make_spool = refuse  # type: ignore[method-assign]
    session, _ = policy(owner, f"{FLOOD}; read x; {FLOOD}")
    watcher = Attachment(session, "watcher", "me", "r", Peer(client=False))
    session.add(watcher)
    assert owner.loop.run_until(lambda: len(notices(watcher)) == 1, PATIENCE_S)
    assert notices(watcher)[0].startswith("old output is soon forgotten")
    writer = attachment(session, "writer")  # with a reader who counts the program waits
    session.add(writer)
    arrive(writer, b"\n")
    assert owner.loop.run_until(lambda: waits(session), PATIENCE_S)
    assert len(notices(watcher)) == 2
    session.cancel()
    assert owner.loop.run_until(
        lambda: session.state == "ended" and session.notice is None, PATIENCE_S
    )
    assert len(notices(watcher)) == 2
