"""The broker's decisions by themselves: events a second, with many jobs waiting and many agents.

python -m bench.core [JOBS [AGENTS]]
"""

from __future__ import annotations

import gc
import random
import sys
import time
from typing import Any

from relay.broker import events as ev
from relay.broker.core import Broker
from relay.children import COLLECT

T0 = 1_000_000.0


class Load:
    """Agents that are all busy, and jobs that wait; every end starts another one."""

    def __init__(self, jobs: int, agents: int, shapes: int = 1, slots: int = 4) -> None:
        self.core = Broker()
        self.now = T0
        self.luck = random.Random(1)
        self.count = 0
        self.agents: list[ev.Conn] = []
        self.told: list[tuple[ev.Conn, dict[str, Any]]] = []
        self.running: list[tuple[ev.Conn, str]] = []
        self.client = ev.Conn("door0", 0)
        self.feed(ev.ConnUp(self.client, "client", "alice", "", "key", ""))
        for i in range(agents):
            conn = ev.Conn("door0", i + 1)
            self.feed(ev.ConnUp(conn, "agent", "alice", f"n{i}", f"k{i}", "00" * 32))
            self.say(conn, "hello", role="agent", boot="b", host=f"h{i}", slots=slots, sessions=[],
                     site=f"site{i % 8}", memory_bytes=1 << 34)  # fmt: skip
        self.shapes = shapes
        for i in range(jobs + agents * slots):
            self.submit(i)
        self.work()

    def submit(self, i: int) -> None:
        wants: dict[str, Any] = {}
        if self.shapes > 1:
            kind = i % self.shapes
            wants = {"walltime": 60 + kind, "site": [f"site{kind % 8}"] if kind % 3 else []}
        self.say(self.client, "submit", id=i, spec={"argv": ["true"]}, n=1, size=1, **wants)

    def feed(self, event: ev.Event) -> None:
        self.count += 1
        for action in self.core.handle(event, self.now):
            if isinstance(action, ev.Send) and action.message.get("m") == "start":
                self.told.append((action.conn, action.message))

    def say(self, conn: ev.Conn, m: str, **fields: Any) -> None:
        self.feed(ev.Said(conn, {"m": m, **fields}))

    def work(self) -> None:
        told, self.told = self.told, []
        for conn, m in told:
            self.say(conn, "started", job=m["job"], index=0, tasks=1, spec_name="", argv0="true",
                     pty=False, at=self.now)  # fmt: skip
            self.running.append((conn, m["job"]))

    def turn(self) -> None:
        """One job ends, the next one starts, one more comes."""
        self.now += 0.001
        at = self.luck.randrange(len(self.running))
        conn, job = self.running[at]
        self.running[at] = self.running[-1]
        self.running.pop()
        self.say(conn, "ended", job=job, index=0, code=0, signal=None, at=self.now, error=None)
        self.work()
        self.submit(self.count)


def rate(load: Load, turns: int) -> float:
    """Events a second."""
    before, begun = load.count, time.process_time()  # of one core, whoever else is there
    for _ in range(turns):
        load.turn()
    return (load.count - before) / (time.process_time() - begun)


def main() -> None:
    gc.set_threshold(*COLLECT)
    jobs, agents = (
        (*map(int, sys.argv[1:3]), 10_000, 1_000)[:2] if sys.argv[1:] else (10_000, 1_000)
    )
    for shapes in (1, 20, 1000):
        load = Load(jobs, agents, shapes)
        best = max(rate(load, 400) for _ in range(15))  # the least disturbed one
        print(f"{shapes:5} kinds of {jobs} jobs, {agents} agents: {best:,.0f} events/s")


if __name__ == "__main__":
    main()
