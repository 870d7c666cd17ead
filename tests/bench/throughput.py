#!/usr/bin/env python3
"""How many tiny jobs a second go through one relay: submitted, placed on waiting agents, run, ended and told.

    tests/bench/throughput.py [--jobs N] [--agents N] [--slots N]

One client connection submits `true` as fast as answers come (256 requests under way); done when the relay says of
every job that it COMPLETED. Prints jobs/s from the first submit to the last end.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

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
        begun = time.monotonic()
        many = Many(loop, ticket, jobs)
        loop.run_until(lambda: many.done, LIMIT_S)
        seconds = time.monotonic() - begun
        if many.error is not None:
            raise many.error
        right = sum(state == "COMPLETED" for state in many.ended.values())
        return {"jobs": jobs, "right": right, "seconds": seconds, "rate": right / seconds}
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
