"""Fuzz target: what clients and agents say to the broker."""

from __future__ import annotations

from typing import Any

from property.fuzz import Luck, Target
from property.fuzz_values import LUCK, A, fields, value

from kit.broker import BrokerBench
from relay.broker import events
from relay.broker.verbs import VERBS

BROKER_NAMES = (
    "id", "job", "index", "att", "size", "tasks", "group", "agent", "warm", "rights", "sig", "spec",
    "n", "ids", "all", "on", "boot", "slots", "tags", "sessions", "state", "atts", "at", "code",
    "signal", "error", "started_at", "ended_at", "message", "attached", "watchers", "op", "share",
    "user", "role", "what", "token", "uses", "seconds", "to", "until", "live", "k", "host", "cpus",
)  # fmt: skip
AGENT_WORDS = (
    "peer",
    "hello",
    "started",
    "ended",
    "refused",
    "unused",
    "watchers",
    "bye",
    "novelty",
)
_broker: list[Any] = []


def broker(data: bytes) -> None:
    """Verbs, reports and joins of one bench, with somebody else's job beside them."""
    if not _broker or _broker[0] >= 200:
        bench = BrokerBench()
        bench.running(A, user="alice")
        _broker[:] = [0, bench, bench.client("mallory"), bench.agent("m1", user="mallory")]
    bench, client, agent = _broker[1:]
    _broker[0] += 1
    luck = Luck(data)
    while luck.left:
        kind = luck.number(4)
        said = fields(luck, BROKER_NAMES)
        if kind == 0:
            word = luck.choice([*sorted(VERBS), "hello", value(luck, BROKER_NAMES)])
            bench.feed(events.Said(client, {**said, "m": word}))
        elif kind == 1:
            bench.feed(events.Said(agent, {**said, "m": luck.choice(AGENT_WORDS)}))
        elif kind == 2:
            ask = events.AskId("door0", next(bench.numbers))
            op = luck.choice(("open", "open", "attach", "resume", None))
            bench.feed(
                events.Asked(ask, "mallory", {"att": luck.choice((A, "b" * 32)), **said, "op": op})
            )
        else:
            bench.after(luck.number(20))
        if agent in bench.closed or client in bench.closed:
            _broker[0] = 1 << 30  # thrown out: another bench next time
            break
    job = bench.job(1)
    assert job["state"] == "ACTIVE", job
    assert job["agents"] == ["n1"], job
    bench.inbox.clear()
    bench.verdicts.clear()


TARGETS = [
    Target("broker", broker, LUCK),
]  # fmt: skip
