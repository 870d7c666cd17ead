"""An agent whose relay is a list: MPI jobs of one node."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

from gshell.agent.agent import Agent
from gshell.agent.session import Session
from gshell.agent.slots import Facts
from gshell.net.loop import Loop
from gshell.wire.constants import stderr_of, stdout_of

PATIENCE_S = 45.0


class MpiNode:
    """An agent, and what its relay hears."""

    def __init__(self, folder: Path, loop: Loop | None = None) -> None:
        self.loop = loop or Loop()
        self.index = 0
        ticket: Any = types.SimpleNamespace(user="alice", agent_id="n1")
        self.agent: Any = Agent(self.loop, ticket, Facts(8, []), "1", str(folder), boot="b7")

    def start(self, spec: dict[str, Any], index: int = 0, size: int = 1) -> None:
        self.index = index
        message = {"job": "5", "index": index, "size": size, "user": "alice", "attempt": 1}
        self.agent.on_control({"m": "start", **message, "spec": spec})

    @property
    def session(self) -> Session:
        session: Session = self.agent.steps.by_key[f"5.{self.index}"]
        return session

    def said(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.agent._uplink.said if m["m"] == kind]

    def end(self) -> dict[str, Any]:
        done = self.loop.run_until(lambda: bool(self.said("ended")), PATIENCE_S)
        print([(self.out(r.number), self.err(r.number)) for r in self.session.ranks])
        assert done
        return self.said("ended")[0]

    def out(self, rank: int, stream_of: Any = stdout_of) -> str:
        log = self.session.ranks[rank].logs[stream_of(rank)]
        cursor = log.cursor(log.start, False)
        text = b""
        while len(text) < log.end - log.start:
            text += bytes(cursor.read(log.start + len(text), 1 << 16))
        cursor.close()
        return text.decode()

    def err(self, rank: int) -> str:
        return self.out(rank, stderr_of)


class Pair:
    """Two agents that know each other through a relay that loses nothing."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [MpiNode(folder / "a")]
        self.nodes.append(MpiNode(folder / "b", self.nodes[0].loop))
        self.loop = self.nodes[0].loop
        for node in self.nodes:
            node.agent._uplink.carry = self.carry

    def carry(self, message: dict[str, Any]) -> None:
        if message["m"] == "peer":
            more = {"index": message["to"], "from": message["index"]}
            said = {key: value for key, value in message.items() if key != "to"}
            self.loop.soon(lambda: self.nodes[message["to"]].agent.on_control({**said, **more}))

    def start(self, spec: dict[str, Any]) -> None:
        spec = {"extra_env": {"PATH": "/usr/bin:/bin"}, **spec}
        layout = spec["mpi"]["layout"] if "mpi" in spec else ()
        for index, node in enumerate(self.nodes):
            own = {}
            if layout:
                own = {"tasks": layout[index], "first": sum(layout[:index]), "size": sum(layout)}
            node.start({**spec, **own}, index, len(self.nodes))

    def end(self) -> list[int]:
        done = self.loop.run_until(lambda: all(n.said("ended") for n in self.nodes), PATIENCE_S)
        print([(n.out(0), n.err(0)) for n in self.nodes])
        assert done
        return [node.said("ended")[0]["code"] for node in self.nodes]
