"""Whether its client is told when a step's program waits for input."""

import json
from pathlib import Path
from typing import Any

import pytest
from component.agent.test_session import PATIENCE_S, Owner, arrive, attachment, owner

from gshell.agent.attachment import Attachment
from gshell.agent.session import Session
from gshell.agent.spec import StepSpec
from gshell.net import inputwait
from gshell.wire.constants import stdout_of

__all__ = ["owner"]  # a fixture


@pytest.fixture(autouse=True)
def calls_are_known():
    if not inputwait.CALLS:
        pytest.skip("system calls are not known for this processor")


def start(owner: Owner, script: str, pty: list[int] | None = None) -> tuple[Session, Attachment]:
    session = Session(owner, "1", 0, 1, "me")
    owner.sessions.append(session)
    writer = attachment(session, "first")
    session.add(writer)
    session.start(StepSpec.parse({"argv": ["sh", "-c", script], "where": "there", "pty": pty}))
    return session, writer


def waits(one: Attachment) -> list[dict[str, Any]]:
    """What it was told of waits."""
    lines = one.peer.control.read(0, 1 << 20).splitlines()
    return [message for message in map(json.loads, lines) if message["t"] == "wait"]


def told(owner: Owner, one: Attachment, **fields: object) -> bool:
    """Is this what it is told at last?"""
    return owner.loop.run_until(
        lambda: bool(waits(one)) and fields.items() <= waits(one)[-1].items(), PATIENCE_S
    )


@pytest.mark.parametrize("pty", [None, [24, 80]])
def test_it_is_told_with_what_was_taken_and_printed_before(owner: Owner, pty) -> None:
    script = "echo one; read a; echo two; read b"
    session, writer = start(owner, script, pty)
    writer._control({"t": "trace", "waits": True})
    where = "tty" if pty else "pipe"
    size = 5 if pty else 4
    assert told(owner, writer, on=True, out=size, who="sh", sure=True, **{"in": 0, "from": where})
    arrive(writer, b"x\n")
    echo = 3 if pty else 0
    end = {"in": 2, "out": 2 * size + echo}
    assert told(owner, writer, on=True, **end)
    ons = [message["on"] for message in waits(writer)]
    assert False in ons[ons.index(True) :]  # that it went on was told, too
    assert session.ranks[0].logs[stdout_of(0)].end == end["out"]


def test_nothing_is_looked_at_before_somebody_asks_nor_after_he_left(owner: Owner) -> None:
    session, writer = start(owner, "read a; exec sleep 600")
    assert session.taps.waits is None
    writer._control({"t": "trace", "waits": True})
    assert told(owner, writer, on=True)
    assert session.taps.waits is not None
    session.remove(writer)
    arrive(writer, b"x\n")
    assert owner.loop.run_until(lambda: not session.taps.waits._ranks, PATIENCE_S)


@pytest.mark.parametrize(("share", "user"), [("s1", "me"), ("", "other")])
def test_who_looks_on_at_somebody_else_s_step_is_not_told(owner: Owner, share, user) -> None:
    session, writer = start(owner, "read a; exec sleep 600")
    other = attachment(session, "other")
    other.share, other.user = share, user
    session.add(other)
    other._control({"t": "trace", "waits": True})
    writer._control({"t": "trace", "waits": True})
    assert told(owner, writer, on=True)
    assert waits(other) == []


def test_a_program_that_works_is_not_said_to_wait(owner: Owner, tmp_path: Path) -> None:
    _, writer = start(owner, f"until test -e {tmp_path}/go; do sleep 0.01; done; read a", [24, 80])
    writer._control({"t": "trace", "waits": True})
    assert told(owner, writer, on=False)
    arrive(writer, b"early\n")
    owner.loop.run_until(lambda: len(waits(writer)) > 3, 0.2)
    assert not any(message["on"] for message in waits(writer))
    (tmp_path / "go").touch()  # then it reads what was typed early, and ends
