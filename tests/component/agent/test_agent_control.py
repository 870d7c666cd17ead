"""What the relay may tell an agent about others: whom to end, and that it is no agent any more."""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gshell.agent import agent as agent_module
from gshell.agent import main
from gshell.agent.agent import Agent
from gshell.agent.attachment import Attachment
from gshell.agent.ends import KILLED_WAIT_S
from gshell.agent.session import Session
from gshell.agent.slots import Facts
from gshell.agent.spec import StepSpec
from gshell.agent.uplink import Uplink as RealUplink
from gshell.errors import UsageError
from gshell.net.loop import Loop
from gshell.wire import peer as wire
from kit.uplink import Uplink

A, B = "a" * 32, "b" * 32


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(agent_module, "Uplink", Uplink)
    loop = Loop()
    ticket: Any = types.SimpleNamespace(user="alice", agent_id="n1")
    one = Agent(loop, ticket, Facts(4, []), "1", str(tmp_path), boot="b7")
    yield one
    one.end_steps()
    loop.run_until(lambda: one.idle, 10)
    loop.close()


def run(agent: Any) -> Session:
    """A step with a writer and a watcher."""
    session = Session(agent, "1", 0, 1, "alice")
    agent.steps.add(A, session)
    for att, rights in ((A, "rw"), (B, "rw")):
        attachment = Attachment(session, att, "alice", rights, wire.Peer(client=False))
        attachment.credential = f"key-of-{att[0]}"
        agent.steps.attach(att, session)
        session.add(attachment)
        if att == A:
            session.start(StepSpec.parse({"argv": ["cat"], "env": {"PATH": "/usr/bin:/bin"}}))
    return session


def test_a_withdrawn_attachment_is_ended_and_comes_back_no_more(agent: Any) -> None:
    session = run(agent)
    agent.on_control({"m": "expect", "att": "c" * 32, "job": "1", "index": 0, "size": 1,
                      "user": "alice", "rights": "rw", "op": "attach"})  # fmt: skip
    agent.on_control({"m": "revoke", "atts": [A, "c" * 32, "nobody", 7], "why": "lost"})
    assert set(session.attachments) == {B}
    assert session.state == "running"
    assert session.primary is None
    assert agent.steps.attached(A) is None
    assert not agent.entrance.expected("c" * 32)


def ends_of(agent: Any) -> list[dict[str, Any]]:
    return [m for m in agent._uplink.said if m["m"] == "ended"]


def killed(agent: Any) -> Session:
    """A step whose program somebody has killed, and nobody here."""
    session = run(agent)
    for child in [rank.child for rank in session.ranks if rank.child]:
        child.signal(signal.SIGTERM)
    agent.loop.run_until(lambda: session.state == "ended", 10)
    assert session.code == 143
    return session


def test_a_batch_system_that_kills_the_program_before_the_agent_is_recognised(agent: Any) -> None:
    agent._facts.allocated = {"pilot": "p1abc"}
    killed(agent)
    assert ends_of(agent) == []
    agent.end_steps()
    (said,) = ends_of(agent)
    assert (said["stopped"], said["error"]) == (True, "the agent was stopped")
    agent.loop.run_until(lambda: False, KILLED_WAIT_S + 0.1)
    assert len(ends_of(agent)) == 1


def test_a_program_that_is_killed_by_itself_has_just_ended(agent: Any) -> None:
    agent._facts.allocated = {"pilot": "p1abc"}
    killed(agent)
    agent.loop.run_until(lambda: ends_of(agent), 10)
    (said,) = ends_of(agent)
    assert (said["stopped"], said["error"], said["signal"]) == (False, None, 15)


def test_the_relay_hears_of_an_end_before_who_waits_for_it(
    agent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    session = run(agent)
    uplink: Any = RealUplink.__new__(RealUplink)
    uplink._loop, uplink._said, uplink._greeted, uplink.welcomed = agent.loop, [], True, True
    uplink._link = types.SimpleNamespace(send=lambda data: order.append("relay"))
    monkeypatch.setattr(agent._ends, "_say", uplink.say)
    pumped = lambda _: order.append("who waits") if session.state == "ended" else None
    monkeypatch.setattr(Attachment, "pump", pumped)
    (child,) = [rank.child for rank in session.ranks if rank.child]
    child.signal(signal.SIGTERM)
    agent.loop.run_until(lambda: len(set(order)) == 2, 10)
    assert (order[0], set(order)) == ("relay", {"relay", "who waits"})


@pytest.mark.parametrize("atts", [None, 7, "x", {}, [None, {}, []]])
def test_nonsense_withdraws_nothing(agent: Any, atts: Any) -> None:
    session = run(agent)
    agent.on_control({"m": "revoke", "atts": atts})
    assert set(session.attachments) == {A, B}


def test_the_relay_is_told_what_each_attachment_came_in_with(agent: Any) -> None:
    run(agent)
    (session,) = agent.hello()["sessions"]
    assert {a["att"]: a["cred"] for a in session["atts"]} == {A: "key-of-a", B: "key-of-b"}
    assert agent.hello()["boot"] == "b7"


def test_a_steal_is_told_and_a_step_back_is_none(agent: Any) -> None:
    session = run(agent)
    session.steal(session.attachments[B])
    session.steal(session.attachments[B])
    stolen = [m for m in agent._uplink.said if m["m"] == "stole"]
    assert stolen == [{"m": "stole", "job": "1", "index": 0, "att": B}]


@pytest.mark.parametrize(
    ("code", "final"),
    [("revoked", True), ("auth", True), ("superseded", True), ("duplicate", False), ("full", False)],
)  # fmt: skip
def test_which_refusals_are_final(agent: Any, code: str, final: bool) -> None:
    agent.on_control({"m": "error", "code": code, "message": "no"})
    assert (agent.done is not None) == final


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--invite", "gshell://h:1/x#t", "--node", "0"], "stands in a file"),
        (["--ticket", "x", "--node", "0"], "stands in a file"),
        (["--invite", "@x", "--restart", "1"], "goes with --node"),
        (["--invite", "@x", "--node", "one"], "not a whole number"),
    ],
)
def test_a_pilot_s_token_is_not_shown_to_all(words: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        main.read_ticket(main.Settings(words))
