"""Fuzz targets: what the relay and clients say to an agent, and what steps they ask for."""

from __future__ import annotations

import functools
import json
from typing import Any

from property.fuzz import Luck, Target
from property.fuzz_nowhere import OWNER, Link, tickets
from property.fuzz_values import LUCK, A, fields, value

from gshell.agent.agent import Agent
from gshell.agent.attachment import Attachment
from gshell.agent.session import Session
from gshell.agent.slots import Facts
from gshell.agent.spec import StepSpec
from gshell.errors import RemoteProtocolError
from gshell.net import control
from gshell.net.loop import Loop
from gshell.wire import frames, peer

SPEC_NAMES = (
    "argv", "shell", "env", "extra_env", "cwd", "home", "where", "pty", "tasks", "first", "size",
    "name", "umask", "keep", "timeout_s", "announce", "mpi", "layout", "input", "options",
)  # fmt: skip


def spec(data: bytes) -> None:
    luck = Luck(data)
    message = {"argv": ["sh"], **fields(luck, SPEC_NAMES)}
    try:
        found = StepSpec.parse(message)
    except RemoteProtocolError:
        return
    assert 1 <= found.tasks <= 4096
    assert all(isinstance(word, str) for word in found.argv)
    assert found.pty is None or all(0 <= side <= 0xFFFF for side in found.pty)


RELAY_NAMES = (
    "m", "att", "job", "index", "size", "user", "owner", "rights", "op", "until", "share", "cred",
    "sig", "spec", "on", "code", "message", "park_key", "spares", "now", "atts", "why", "argv",
    "from", "to", "seq", "ok", "body", "attempt",
)  # fmt: skip
TO_AGENT = (
    "expect", "unexpect", "revoke", "start", "signal", "ended-ok", "drain", "error", "welcome", "ping",
    "cancel", "none", "peer", "peer-no",
)  # fmt: skip
_agents: list[Any] = []


def _no_room(agent: Agent, session: Session, spec: StepSpec) -> None:
    assert session.job.isdigit(), "it is part of file names"
    assert 0 <= session.index < session.size
    agent._drop(session)


def agent_of_relay(data: bytes) -> None:
    """An agent whose relay talks nonsense lives on, and starts nothing that it did not understand."""
    if not _agents or _agents[0] >= 100:
        if _agents:
            _agents[1].loop.close()
        made = Agent(Loop(), tickets()[1], Facts(4, []), "0")
        made.admit = functools.partial(_no_room, made)  # type: ignore[method-assign]
        _agents[:] = [0, made]
    _agents[0] += 1
    agent = _agents[1]
    luck = Luck(data)
    uplink = agent._uplink
    while luck.left:
        message = {
            "job": "1", "index": 0, "size": 1, "user": "u", "att": A, "op": "open", "rights": "rw",
            "spec": {"argv": ["x"]},
            **fields(luck, RELAY_NAMES), "m": luck.choice(TO_AGENT),
        }  # fmt: skip
        try:
            uplink.link_data(Link(), [control.encode(message)])
        except RemoteProtocolError:
            pass
        for session in agent.steps.by_key.values():
            assert session.job.isdigit()
    agent.hello()
    assert len(agent.entrance._expects) < 5000
    agent.done = None
    uplink.welcomed = False


CLIENT_NAMES = (
    "t", "rows", "cols", "sig", "argv", "env", "pty", "tasks", "size", "first", "name", "timeout_s",
    "since", "steal", "secret", "op", "have", "stopped", "v", "ranks", "beside_rank", "mpi",
)  # fmt: skip
TO_SESSION = ("open", "resize", "redraw", "signal", "cancel", "steal", "ranks", "none")
RANKS = ("all", "none", "0", "0-1", "5-2", "0-99999999999", "-", ",", "1,1,1", "²", " 1 , 0 ", "x")


def agent_of_client(data: bytes) -> None:
    """A client's words at the agent: a rule broken ends the link, nothing else happens."""
    luck = Luck(data)
    session = Session(OWNER, "1", 0, 1, "u")  # type: ignore[arg-type]
    probe = peer.Peer(client=False)
    attachment = Attachment(session, A, "u", luck.choice(("rw", "r")), probe)
    session.add(attachment)
    link = Link()
    attachment.since = value(luck, CLIENT_NAMES)
    try:
        ranks = luck.choice((*RANKS, value(luck, CLIENT_NAMES)))
        attachment.wants_ranks({"ranks": ranks, "op": luck.choice(("open", "attach"))})
    except RemoteProtocolError:
        pass
    greeting = frames.encode(frames.Hello({"v": 1, "have": {"0": [0, 0, 1 << 20]}}))
    hello = next(e for e in probe.receive(greeting) if isinstance(e, peer.Greeted))
    attachment.join(link, hello.message, probe)  # type: ignore[arg-type]
    at = 0
    try:
        while luck.left:
            message = {**fields(luck, CLIENT_NAMES), "t": luck.choice(TO_SESSION)}
            line = json.dumps(message).encode() + b"\n"
            attachment.link_data(link, [frames.data_head(0, at, len(line), False) + line])  # type: ignore[arg-type]
            at += len(line)
    except RemoteProtocolError:
        pass
    session.forget()


TARGETS = [
    Target("spec", spec, LUCK),
    Target("agent-of-relay", agent_of_relay, LUCK),
    Target("agent-of-client", agent_of_client, LUCK),
]  # fmt: skip
