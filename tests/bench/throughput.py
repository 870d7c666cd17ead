#!/usr/bin/env python3
"""How many tiny jobs a second go through one relay: submitted, placed on waiting agents, run, ended and told.

    tests/bench/throughput.py [--jobs N] [--agents N] [--slots N]

One client connection submits `true` as fast as answers come (200 requests under way); done when the relay says of
every job that it COMPLETED. Prints jobs/s from the first submit to the last end, and what each process used: that
says more than jobs/s where others use the machine too.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.processes import descendants, process
from gshell.errors import GshellError
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from gshell.net.relaylink import RelayLink
from kit.procs import Env

AHEAD = 200  # requests under way: the relay refuses from 256 on
TARGET = 300.0  # jobs a second
LIMIT_S = 180.0


class Many:
    """Submits and counts."""

    def __init__(self, loop: Loop, ticket: Ticket, jobs: int) -> None:
        self.loop = loop
        self.jobs = jobs
        self.submitted = self.answered = 0
        self.ended: dict[str, str] = {}
        self.error: GshellError | None = None
        self.link = RelayLink(loop, ticket, self.lost, self.heard)
        self.link.open()
        self.link.request({"m": "watch", "all": True}, lambda answer: self.more())

    def lost(self, error: GshellError) -> None:
        self.error = error

    def more(self) -> None:
        while self.submitted < self.jobs and self.submitted - self.answered < AHEAD:
            self.submitted += 1
            spec = {"argv": ["/bin/true"], "env": {}, "where": "", "archive": False, "quota": 0}
            self.link.request({"m": "submit", "spec": spec, "n": 1, "size": 1}, self.taken)

    def taken(self, answer: dict[str, Any]) -> None:
        assert answer.get("ok"), answer
        self.answered += 1
        self.more()

    def heard(self, message: dict[str, Any]) -> None:
        jobs = [message["job"]] if message.get("kind") == "job" else message.get("jobs", [])
        for job in jobs:
            if job["state"] in ("COMPLETED", "FAILED", "CANCELED"):
                self.ended[job["id"]] = job["state"]

    @property
    def done(self) -> bool:
        return self.error is not None or len(self.ended) >= self.jobs


def spent(env: Env) -> dict[str, float]:
    """CPU seconds of this process and of what it started, by role; agents' own and their steps' apart."""
    roles = {env.relay_facts()[f"{role}_pid"]: role for role in ("door", "broker", "archive")}
    for (
        agent
    ) in env.processes.values():  # a keeper, and below it the agent; no steps yet, or no more
        roles |= dict.fromkeys(
            (agent.pid, *(below.pid for below in descendants(agent.pid))), "agents"
        )
    roles[os.getpid()] = "client"
    used = dict.fromkeys((*roles.values(), "steps"), 0.0)
    for pid, role in roles.items():
        found = process(pid)
        if found is not None:
            used[role] += found.own_cpu_s
            used["steps"] += found.cpu_s - found.own_cpu_s if role == "agents" else 0.0
    return used


def measure(jobs: int, agents: int, slots: int) -> dict[str, Any]:
    env = Env()
    try:
        invite = env.start_relay()
        for n in range(agents):
            env.start_agent(f"agent{n}", invite, "--slots", str(slots))
        found = next(
            path for path in env.home.rglob("*") if path.is_file() and "ticket" in path.name
        )
        ticket = Ticket.load(found.read_text(), str(found))
        loop = Loop()
        before, begun = spent(env), time.monotonic()
        many = Many(loop, ticket, jobs)
        loop.run_until(lambda: many.done, LIMIT_S)
        seconds, after = time.monotonic() - begun, spent(env)
        if many.error is not None:
            raise many.error
        right = sum(state == "COMPLETED" for state in many.ended.values())
        cpu = {name: (after[name] - before[name]) / jobs * 1000 for name in after}
        return {
            "jobs": jobs,
            "right": right,
            "seconds": seconds,
            "rate": right / seconds,
            "cpu": cpu,
        }
    finally:
        env.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--agents", type=int, default=2)
    parser.add_argument("--slots", type=int, default=8)
    options = parser.parse_args()
    found = measure(options.jobs, options.agents, options.slots)
    verdict = "ok" if found["right"] == found["jobs"] and found["rate"] >= TARGET else "SHORT"
    print(
        f"{found['right']} of {found['jobs']} tiny jobs right, {found['rate']:.0f} jobs/s (target {TARGET:.0f})  {verdict}"
    )
    used = ", ".join(
        f"{name} {seconds:.2f}" for name, seconds in found["cpu"].items() if seconds >= 0.005
    )
    print(f"CPU seconds of 1,000 jobs: {used}; load {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
