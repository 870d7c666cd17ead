"""Rights are enforced by the agent itself, whatever a client sends and whoever else is away.

A real agent with real programs; the relay and the clients' ends of the links are the test's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gshell.agent import agent as agents
from gshell.agent.agent import Agent
from gshell.agent.slots import Facts
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from gshell.net.rendezvous import public_id
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, PIPE_WINDOW, stderr_of, stdin_of, stdout_of
from gshell.wire.streams import SendBuffer

PATIENCE_S = 20.0


class Relay:
    """The relay, as an agent's uplink shows it."""

    archive = "off"

    def __init__(self, loop: Loop, ticket: Ticket, owner: Agent) -> None:
        self.loop = loop
        self.said: list[dict[str, Any]] = []

    def say(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    def want_spares(self, count: int) -> None: ...

    def close(self) -> None: ...

    def relay_time(self) -> float:
        return 1000.0 + self.loop.clock()


class Link:
    """A joined data link: what is sent on it goes to the client's peer."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.owner: Any = None
        self.room = True
        self.closed = False

    def send(self, data: bytes) -> None:
        self.client.receive(data)

    def pause(self, paused: bool) -> None: ...

    def close(self) -> None:
        self.closed = True


class Client:
    """A client that keeps to no rule but the framing."""

    def __init__(self, stage: Stage, user: str) -> None:
        self.stage = stage
        self.user = user
        self.secret = os.urandom(32)
        self.att = public_id(self.secret)
        self.input = SendBuffer()
        self.shown = b""
        self.said: list[dict[str, Any]] = []
        self.welcome: dict[str, Any] = {}
        self.bye: tuple[str, str] | None = None
        self.failed = ""

    def come(self, op: str = "open") -> Client:
        """Over a new link."""
        self.peer = wire.Peer(client=True)
        self.welcome, self.bye = {}, None
        if op == "open":
            for stream in (stdout_of(0), stderr_of(0)):
                self.peer.add_recv(stream, PIPE_WINDOW)
        else:
            self.peer.add_send(stdin_of(0), self.input, INPUT_WINDOW)
        self.link = Link(self)
        greeter = self.stage.agent.data_owner(lambda: self.user)
        self.link.owner = greeter
        greeter.link_ready(self.link)  # type: ignore[arg-type]
        self.peer.link_up({"op": op, "secret": self.secret.hex()}, early_data=False)
        self.pump()
        return self

    def pump(self) -> None:
        while out := self.peer.pull(1 << 16):
            try:
                self.link.owner.link_data(self.link, [b"".join(out)])
            except agents.RemoteProtocolError as error:
                self.failed = error.code
                return

    def receive(self, data: bytes) -> None:
        for event in self.peer.receive(data):
            if isinstance(event, wire.Greeted):
                self.welcome = event.message
                for stream, start in event.message.get("start", {}).items():
                    self.peer.add_recv(int(stream), PIPE_WINDOW, start)
                self.peer.adopt(event.message)
            elif isinstance(event, wire.StreamData):
                self.shown += event.data
                self.peer.consume(event.stream, len(event.data))
            elif isinstance(event, wire.ControlReceived):
                self.said.append(event.message)
            elif isinstance(event, wire.Ended):
                self.bye = (event.code, event.reason)

    def tell(self, **message: Any) -> None:
        self.peer.say(message)
        self.pump()

    def type(self, data: bytes) -> None:
        self.input.append(data)
        self.pump()


class Stage:
    """Alice's agent, and the clients that come to it."""

    def __init__(self, folder: Path, pool: str = "") -> None:
        self.loop = Loop()
        ticket = Ticket("agent", "alice", "n1", ["127.0.0.1:1"], "", "", "", "", "", "")
        facts = Facts(4, [], pool)
        self.agent = Agent(self.loop, ticket, facts, "0", str(folder))

    @property
    def relay(self) -> Any:
        return self.agent._uplink

    def expect(self, client: Client, op: str, **more: Any) -> None:
        message = {"m": "expect", "att": client.att, "job": "1", "index": 0, "size": 1,
                   "user": client.user, "owner": "alice", "rights": "rw", "op": op, "until": None,
                   "share": "", "cred": "7", "pool": "", **more}  # fmt: skip
        self.agent.on_control(message)

    def alice(self, script: str, **more: Any) -> Client:
        """She starts a shell script."""
        client = Client(self, "alice")
        self.expect(client, "open", **more)
        client.come()
        client.peer.add_send(stdin_of(0), client.input, INPUT_WINDOW)
        client.tell(t="open", argv=["sh", "-c", script], tasks=1, first=0, size=1, where="else")
        return client

    def visitor(self, rights: str = "r", **more: Any) -> Client:
        """Bob comes by a share."""
        client = Client(self, "bob")
        self.expect(client, "attach", rights=rights, **{"share": "5f", **more})
        return client.come("attach")

    def until(self, condition: Any) -> None:
        assert self.loop.run_until(condition, PATIENCE_S)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(agents, "Uplink", Relay)
    stage = Stage(tmp_path)
    yield stage
    close(stage)


def close(stage: Stage) -> None:
    stage.agent.end_steps()
    stage.until(lambda: stage.agent.idle)
    stage.agent.shut_down()
    stage.loop.close()


def test_a_watcher_s_keys_reach_nobody_whatever_it_sends(stage: Stage) -> None:
    alice = stage.alice("exec cat")
    alice.type(b"one\n")
    stage.until(lambda: alice.shown == b"one\n")
    bob = stage.visitor("r")
    assert bob.welcome["writer"] is False
    bob.tell(t="steal")
    bob.type(b"mischief\n")
    for name in ("INT", "KILL", 2, 9):
        bob.tell(t="signal", sig=name)
    bob.tell(t="cancel")
    bob.tell(t="resize", rows=1, cols=1)
    alice.type(b"two\n")
    stage.until(lambda: alice.shown == b"one\ntwo\n" and bob.shown.endswith(b"two\n"))
    assert b"mischief" not in bob.shown
    assert not any(message.get("t") == "writer" and message["on"] for message in bob.said)


def test_who_may_type_by_a_share_may_not_end_the_job(stage: Stage) -> None:
    alice = stage.alice("trap 'echo int' INT; trap 'echo term' TERM; echo up; while :; do read x; "
                        "echo got $x; done")  # fmt: skip
    stage.until(lambda: b"up\n" in alice.shown)
    bob = stage.visitor("rw")
    bob.tell(t="steal")
    bob.tell(t="cancel")
    for name in ("TERM", "KILL", "HUP", "USR1", 15, 9):
        bob.tell(t="signal", sig=name)
    bob.type(b"typed\n")
    stage.until(lambda: b"got typed\n" in alice.shown)
    assert b"term" not in alice.shown
    bob.tell(t="signal", sig="INT")
    bob.type(b"\n")
    stage.until(lambda: b"int\n" in alice.shown)
    alice.tell(t="signal", sig="KILL")  # it would not listen to the TERM of the test's end


def test_an_attachment_ends_when_its_time_is_over_with_no_relay_there(stage: Stage) -> None:
    stage.alice("exec cat")
    bob = stage.visitor("rw", until=stage.relay.relay_time() + 0.2)
    assert bob.bye is None
    stage.until(lambda: bob.bye is not None)
    assert bob.bye == ("revoked", "the share has ended")
    assert [m["att"] for m in stage.relay.said if m["m"] == "left"] == [bob.att]
    again = bob.come("resume")  # nobody announced it
    stage.until(lambda: again.link.closed)
    assert again.welcome == {}


def test_a_time_that_was_over_already_lets_nobody_in(stage: Stage) -> None:
    stage.alice("exec cat")
    bob = stage.visitor("r", until=stage.relay.relay_time() - 5)
    stage.until(lambda: bob.bye is not None)
    assert bob.bye[0] == "revoked"
    assert bob.shown == b""


def test_a_revoked_attachment_is_over_and_what_it_typed_is_forgotten(stage: Stage) -> None:
    alice = stage.alice("sleep 600 & read x <&3; echo got $x; wait")
    bob = stage.visitor("rw")
    bob.tell(t="steal")
    bob.type(b"m" * 100_000)  # more than the program's pipe takes
    session = stage.agent.steps.attached(bob.att)
    assert any(who is session.primary for who, _ in session.ranks[0].input)
    stage.agent.on_control({"m": "revoke", "atts": [bob.att, "nobody's"], "why": "over"})
    assert bob.bye == ("revoked", "over")
    assert session.ranks[0].input == []
    assert session.primary is session.attachments[alice.att]
    again = bob.come("resume")
    assert again.welcome == {}
    alice.tell(t="cancel")


def test_an_announced_attachment_can_be_revoked_before_it_comes(stage: Stage) -> None:
    stage.alice("exec cat")
    bob = Client(stage, "bob")
    stage.expect(bob, "attach", rights="r", share="5f")
    stage.agent.on_control({"m": "revoke", "atts": [bob.att]})
    bob.come("attach")
    assert bob.welcome == {}


@pytest.mark.parametrize(
    ("op", "more"),
    [
        ("attach", {"share": ""}),  # another user without a share
        ("attach", {"owner": "bob"}),  # not that user's job
        ("attach", {"owner": "bob", "share": ""}),
        ("open", {"owner": "alice"}),  # nobody starts anything as her
        ("open", {"owner": "bob", "share": ""}),
        ("open", {"owner": "alice", "pool": "staff"}),
        ("open", {"owner": "bob", "share": "", "pool": "staff"}),  # it serves no pool
        ("attach", {"user": "alice"}),  # the certificate says another name
    ],
)
def test_others_come_only_as_announced_and_only_to_look(
    stage: Stage, op: str, more: dict[str, Any]
) -> None:
    stage.alice("exec cat")
    bob = Client(stage, "bob")
    stage.expect(bob, op, **{"share": "5f", "rights": "rw", **more})
    bob.come(op)
    assert bob.failed == "denied"
    assert bob.welcome == {}
    assert len(set(stage.agent.steps.by_key.values())) == 1


def test_a_detached_job_of_somebody_else_s_is_not_started(stage: Stage) -> None:
    start = {"m": "start", "job": "9", "index": 0, "size": 1, "spec": {"argv": ["true"]}}
    stage.agent.on_control({**start, "user": "bob"})
    stage.agent.on_control({**start, "user": "bob", "pool": "staff"})
    assert [m["m"] for m in stage.relay.said] == ["unused", "unused"]
    stage.agent.on_control({**start, "user": "alice"})
    assert stage.relay.said[-1]["m"] == "started"


def test_a_pool_s_agent_runs_members_jobs_as_its_own_account_and_keeps_them_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gshell.net.machine import machine_id

    monkeypatch.setattr(agents, "Uplink", Relay)
    stage = Stage(tmp_path, pool="staff")
    try:
        bob = Client(stage, "bob")
        stage.expect(bob, "open", owner="bob", pool="staff")
        bob.come()
        bob.tell(t="open", argv=["sh", "-c", "echo $HOME $MARK"], tasks=1, first=0, size=1,
                 where=machine_id(), env={"HOME": "/bob", "MARK": "m"})  # fmt: skip
        stage.until(lambda: bob.shown.endswith(b"\n"))
        assert bob.shown.split() == [os.environ["HOME"].encode()]
        alice = Client(stage, "alice")
        stage.expect(alice, "attach", owner="alice", pool="staff")
        alice.come("attach")
        assert alice.failed == "denied"  # her agent, his job
        carol = Client(stage, "carol")
        stage.expect(carol, "open", owner="carol", pool="others")
        assert carol.come().failed == "denied"
    finally:
        close(stage)


def test_an_agent_that_comes_back_says_who_is_there_and_by_what_right(stage: Stage) -> None:
    stage.alice("exec cat")
    bob = stage.visitor("r", until=stage.relay.relay_time() + 1000, cred="99")
    (session,) = stage.agent.hello()["sessions"]
    there = next(att for att in session["atts"] if att["user"] == "bob")
    assert (there["att"], there["rights"], there["share"], there["cred"]) == (
        bob.att, "r", "5f", "99",
    )  # fmt: skip
    assert there["until"] == pytest.approx(stage.relay.relay_time() + 1000, abs=5)


def test_the_relay_s_archive_opens_nothing_but_work_directories(stage: Stage) -> None:
    for wrong in ({"service": "files"}, {"service": "forward", "stage": "1.0"}, {"stage": "1.0"},
                  {"service": "files", "stage": "1.0", "owner": "bob"}):  # fmt: skip
        archive = Client(stage, "@archive")
        stage.expect(archive, "open", **wrong)
        archive.come()
        assert archive.bye is not None and archive.bye[0] == "denied", wrong  # noqa: PT018
    assert not stage.agent.steps.by_key
