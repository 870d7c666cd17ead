"""Fuzz targets: what an agent and the relay say to a client, and what is shown of it."""

from __future__ import annotations

import json
import time
from typing import Any

from property.fuzz import Luck, Target
from property.fuzz_nowhere import NULL, Link, dialler_of_nowhere, tickets
from property.fuzz_values import LUCK, fields

from gshell.client import render
from gshell.client.plan import Plan
from gshell.client.run import Runner
from gshell.errors import GshellError, RemoteProtocolError, UsageError
from gshell.net import control, relaylink
from gshell.net.loop import Loop
from gshell.wire import frames

AGENT_NAMES = (
    "t", "rank", "code", "signal", "core", "final", "error", "stream", "on", "prelude", "text", "job",
    "index", "size", "state", "writer", "pty", "tasks", "name", "start", "live", "v", "have", "0", "3",
    "4", "7", "stopped", "timed_out", "-1", "x",
)  # fmt: skip
TO_CLIENT = ("exit", "starved", "writer", "modes", "notice", "started", "none")


class _Port:
    runner = None

    def raw(self) -> bool:
        return True

    def size(self) -> tuple[int, int]:
        return 24, 80

    def reset(self) -> bytes:
        return b""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def client_of_agent(data: bytes) -> None:
    """An agent's words at the client: they end the link, nothing else."""
    luck = Luck(data)
    verb = luck.choice(("run", "attach", "logs"))
    plan = Plan(
        verb=verb,
        spec={"argv": ["x"]},
        pty=bool(luck.number(2)),
        job="1",
        quiet=bool(luck.number(2)),
    )
    dialler = dialler_of_nowhere()
    dialler.loop = Loop()
    runner = Runner(dialler, plan, (-1, NULL, NULL), _Port(), lambda code: None)  # type: ignore[arg-type]
    talk = runner.seats[0].talk
    link = Link()
    talk._link = link  # type: ignore[assignment]
    talk.peer.link_up({"secret": "", "op": "open"})
    first = luck.choice(("good", "good", "luck"))
    welcome = {"v": 1, "have": {"0": [0, 0, 1 << 20]}, "start": {"3": 0}, "live": {"3": 9}, "pty": True,
               "tasks": 1}  # fmt: skip
    welcome.update(fields(luck, AGENT_NAMES) if first == "luck" else {})
    at = 0
    try:
        talk.link_data(link, [frames.encode(frames.Welcome(welcome))])  # type: ignore[arg-type]
        while luck.left and not talk.over:
            if luck.number(3) == 0:
                shown = luck.choice((b"\x1b[6n", b"text", b"\x1b]52;", b"\x07\x1b"))
                begin = luck.choice((0, 4, 8, 100))
                frame = frames.data_head(3, begin, len(shown), False) + shown
            else:
                message = {**fields(luck, AGENT_NAMES), "t": luck.choice(TO_CLIENT)}
                line = json.dumps(message).encode() + b"\n"
                frame = frames.data_head(0, at, len(line), False) + line
                at += len(line)
            talk.link_data(link, [frame])  # type: ignore[arg-type]
    except RemoteProtocolError:
        pass
    for seat in runner.seats:
        assert all(0 <= rank < max(1, seat.tasks) <= 4096 for rank in seat.exits)
        assert all(0 <= exit_["code"] <= 255 for exit_ in seat.exits.values())
    runner.abandon()
    dialler.loop.close()


ANSWER_NAMES = (
    "id", "name", "user", "state", "agents", "hosts", "size", "tasks", "pty", "argv0", "created_at",
    "started_at", "ended_at", "code", "signal", "error", "watchers", "attached", "host", "cpus",
    "memory_bytes", "tags", "slots", "free", "since", "pid", "version", "re", "ok", "message", "hint",
    "m", "ticket", "relay",
)  # fmt: skip


def client_of_relay(data: bytes) -> None:
    """A relay's answers at the client, and what is shown of them."""
    luck = Luck(data)
    lost: list[GshellError] = []
    link = relaylink.RelayLink(Loop.__new__(Loop), tickets()[0], lost.append)
    answers: list[dict[str, Any]] = []
    link.request({"m": "jobs"}, answers.append)
    items = [fields(luck, ANSWER_NAMES) for _ in range(luck.number(5))]
    said = {"re": 1, "jobs": items, "agents": items, **fields(luck, ANSWER_NAMES)}
    for message in (fields(luck, ANSWER_NAMES), said):
        try:
            link.link_data(Link(), [control.encode(message)])  # type: ignore[arg-type]
        except RemoteProtocolError:
            return
    for answer in answers:
        shown = render.error_text(relaylink.said_no(answer))
        for table, name in ((render.jobs_table, "jobs"), (render.agents_table, "agents")):
            try:
                found = relaylink.items_of(answer, name)
                shown += table(found, time.time(), luck.choice((None, 1, 20, 80)), False)
            except GshellError:
                pass
        try:
            relaylink.received_ticket(answer, [])
        except UsageError:
            pass
        assert all(char.isprintable() or char == "\n" for char in shown)
        shown.encode()


TARGETS = [
    Target("client-of-agent", client_of_agent, LUCK),
    Target("client-of-relay", client_of_relay, LUCK),
]  # fmt: skip
