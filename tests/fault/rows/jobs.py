"""Thousands of short jobs while the broker is killed again and again: each starts once and ends with its code.

The clients are `run`s of one process, cold and through openings kept warm; the programs end with codes from 0
to 250 and by signals. Each writes its token into a file as its only deed, so a start too many is seen; the
broker's records are read all the time, so a second end would be.

Fails when: ended steps are not said again in an agent's hello, or the journal forgets jobs.
"""

from __future__ import annotations

import random
import time

from fault.rows import Finding, Form, Row
from fault.runners import Crowd
from fault.talks import Known, kill

from kit.procs import Env, until

AT_ONCE = 24  # clients at a time; the agent has 64 slots
LOOK_S = 0.5  # between looks at the records: a user's last thousand are kept


class Jobs:
    """Invariant: every token is to do, under way, or has a status."""

    def __init__(self, env: Env, crowd: Crowd, rng: random.Random, count: int) -> None:
        self.env = env
        self.crowd = crowd
        self.path = env.root / "tokens"
        self.path.touch()
        self.due = {
            f"k{n}": rng.choice((0, 1, 2, 7, 42, 124, 125, 250, -9, -15)) for n in range(count)
        }
        self.todo = list(reversed(self.due))
        self.warm = rng
        self.under_way = 0
        self.got: dict[str, list[int]] = {token: [] for token in self.due}
        self.records: dict[str, set[tuple[str, str, int | None]]] = {}

    def fill(self) -> None:
        while self.todo and self.under_way < AT_ONCE:
            token = self.todo.pop()
            code = self.due[token]
            end = f"exit {code}" if code >= 0 else f"kill {code} $$"
            self.under_way += 1
            self.crowd.run(
                ["sh", "-c", f"echo {token} >>{self.path}; {end}"], token,
                lambda status, token=token: self.ended(token, status),
                warm=self.warm.random() < 0.5,
            )  # fmt: skip

    def ended(self, token: str, status: int) -> None:
        self.under_way -= 1
        self.got[token].append(status)
        self.crowd.loop.soon(self.fill)

    @property
    def done(self) -> int:
        return sum(map(bool, self.got.values()))

    def look(self, known: Known) -> int:
        """Remember what the broker says; how many are not final."""
        live = 0
        for number, job in known.look().items():
            if job["state"] in ("COMPLETED", "FAILED", "CANCELED"):
                end = (number, job["state"], job["code"])
                self.records.setdefault(job["name"], set()).add(end)
            else:
                live += 1
        return live

    def faults(self) -> list[str]:
        starts: dict[str, int] = {}
        for token in self.path.read_text().split():
            starts[token] = starts.get(token, 0) + 1
        out = []
        for token, code in self.due.items():
            status = code if code >= 0 else 128 - code
            state = "COMPLETED" if status == 0 else "FAILED"
            if self.got[token] != [status]:
                out.append(f"{token}: the client was told {self.got[token]}, not {status}")
            if starts.get(token) != 1:
                out.append(f"{token}: started {starts.get(token, 0)} times")
            ends = self.records.get(token, set())
            if [end[1:] for end in ends] != [(state, status)]:
                out.append(f"{token}: the broker says {sorted(ends)}, not {state} {status}")
        return out


def measure(form: Form) -> list[Finding]:
    rng = random.Random(form.seed)
    count, kills = form.pick(300, 10_000), form.pick(2, 10)
    moments = sorted(rng.randrange(count // 20, count * 19 // 20) for _ in range(kills))
    env = Env()
    try:
        env.start_agent("agent", env.start_relay())
        known = Known(env)
        began = time.monotonic()
        with Crowd(env, warm=2) as crowd:
            jobs = Jobs(env, crowd, rng, count)
            jobs.fill()
            looked = killed = 0.0
            while jobs.done < count:
                crowd.loop.once(0.05)
                if moments and jobs.done >= moments[0]:
                    moments.pop(0)
                    kill(env.relay_facts()["broker_pid"])
                    killed += 1
                now = time.monotonic()
                if now - looked > LOOK_S:
                    looked = now
                    jobs.look(known)
                assert now - began < form.pick(60, 3600), (
                    f"{jobs.done} of {count} ended\n{env.logs()}"
                )
        took = time.monotonic() - began
        until(lambda: jobs.look(known) == 0, "the broker to know all ends", show=env.logs)
        faults = jobs.faults() + known.changed
    finally:
        env.close()
    good = f"{count} right exit codes at clients and broker, {count} starts"
    return [
        Finding(
            f"{count} short jobs, broker killed -9 amid them", f"{killed:.0f} kills",
            (f"{len(faults)} wrong: {faults[0][:100]}" if faults else good)
            + f"; {count / took:.0f} jobs/s",
            f"{count} right exit codes, one each", not faults,
            "\n".join([f"seed {form.seed}", *faults[:50]]),
        )
    ]  # fmt: skip


ROW = Row("jobs", measure, short_s=12.0)
