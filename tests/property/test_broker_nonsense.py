"""Whatever a peer says, the broker neither breaks nor lets it near what belongs to others.

Seeded luck rather than hypothesis: deep JSON values cost it a second for ten stories.
"""

import random

import pytest

from kit.broker import BrokerBench
from relay.broker import events
from relay.broker.verbs import VERBS

A = "a" * 32
PLAIN = (
    None, True, False, 0, 1, 2, -1, 64, 1 << 40, 10**400, -(10**400), 0.5, float("nan"),
    float("inf"), "", "1", "2", "x", "\ud800", "\0", A, "b" * 32, "n1", "m1", "g", "open",
    "attach", "resume", "rw", "busy", "draining", "gone", "ended", "running", "9" * 15,
)  # fmt: skip
NAMES = (
    "id", "job", "index", "att", "size", "tasks", "group", "agent", "warm", "rights", "sig",
    "spec", "n", "ids", "all", "on", "boot", "slots", "tags", "sessions", "state", "atts", "at",
    "code", "signal", "error", "started_at", "ended_at", "message", "attached", "watchers", "op",
    "steps", "out", "in", "cpu_s", "rss_bytes", "waits",
    "seconds", "uses", "to", "once", "token", "what", "pool", "user", "everyone", "share",
)  # fmt: skip
AGENT = ("hello", "started", "ended", "refused", "unused", "watchers", "usage", "left", "novelty")
STORIES = range(0, 1000, 100)


def value(luck, depth=3):
    kind = luck.randrange(8)
    if kind == 0 and depth:
        return [value(luck, depth - 1) for _ in range(luck.randrange(3))]
    if kind == 1 and depth:
        return fields(luck, depth - 1)
    return luck.choice(PLAIN)


def fields(luck, depth=3):
    return {name: value(luck, depth) for name in luck.sample(NAMES, luck.randrange(10))}


def stories(first):
    for seed in range(first, first + 100):
        bench = BrokerBench()
        bench.running(A, user="alice")
        yield random.Random(seed), bench
        job = bench.job(1)
        bench.after(1)
        assert (job["state"], job["agents"]) == ("ACTIVE", ["n1"]), seed
        assert bench.agents()["n1"]["free"] == 1, seed


@pytest.mark.parametrize("first", STORIES)
def test_a_client_s_nonsense_is_answered_and_harms_nobody(first):
    for luck, bench in stories(first):
        conn = bench.client("mallory")
        for _ in range(10):
            verb = luck.choice([*VERBS, *VERBS, "hello", value(luck)])
            drawn = f"{luck.getrandbits(288):072x}"
            bench.feed(events.Said(conn, {**fields(luck), "m": verb}, drawn))
        assert bench.request(conn, "whoami")["user"] == "mallory"


@pytest.mark.parametrize("first", STORIES)
def test_an_agent_s_nonsense_harms_nobody(first):
    for luck, bench in stories(first):
        conn = bench.agent("m1", user="mallory")
        bench.request(bench.client("mallory"), "watch")
        for _ in range(10):
            bench.feed(events.Said(conn, {**fields(luck), "m": luck.choice(AGENT)}))


@pytest.mark.parametrize("first", STORIES)
def test_a_preamble_s_nonsense_is_answered_and_harms_nobody(first):
    for luck, bench in stories(first):
        bench.agent("m1", user="mallory")
        asks = [events.AskId("door0", next(bench.numbers)) for _ in range(10)]
        for ask in asks:
            body = fields(luck) | ({"att": luck.choice((A, "b" * 32))} if luck.randrange(4) else {})
            body |= {"op": luck.choice(("open", "open", "attach", "resume", value(luck)))}
            bench.feed(events.Asked(ask, "mallory", body))
        bench.after(25)
        assert all(bench.verdict(ask) for ask in asks)
