"""Whatever a peer says, the broker neither breaks nor lets it near what belongs to others."""

import hypothesis.strategies as st
from hypothesis import given, settings
from kit.broker import BrokerBench

from relay.broker import events
from relay.broker.verbs import VERBS

A = "a" * 32
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**400), 10**400), st.floats(), st.text(max_size=40),
    st.sampled_from(["1", "2", A, "n1", "g", "open", "attach", "resume", "rw", "busy", "ended"]),
)  # fmt: skip
values = st.recursive(
    plain, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3)
)
NAMES = (
    "id", "job", "index", "att", "size", "tasks", "group", "agent", "warm", "rights", "sig", "spec",
    "n", "ids", "all", "on", "boot", "slots", "tags", "sessions", "state", "atts", "at", "code",
    "signal", "error", "started_at", "ended_at", "message", "attached", "watchers", "op",
)  # fmt: skip
SESSION = st.dictionaries(st.sampled_from(NAMES), values, max_size=8)
FIELDS = st.dictionaries(
    st.sampled_from(NAMES), values | st.lists(SESSION, max_size=3), max_size=10
)
AGENT = ("hello", "started", "ended", "refused", "unused", "watchers", "bye", "novelty")


def with_a_victim():
    bench = BrokerBench()
    bench.running(A, user="alice")
    return bench


def unharmed(bench):
    job = bench.job(1)
    bench.after(1)
    return (job["state"], job["agents"], bench.agents()["n1"]["free"]) == ("ACTIVE", ["n1"], 1)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*VERBS, "hello"]) | values, FIELDS), max_size=8))
def test_a_client_s_nonsense_is_answered_and_harms_nobody(said):
    bench = with_a_victim()
    conn = bench.client("mallory")
    for verb, fields in said:
        bench.feed(events.Said(conn, {**fields, "m": verb}))
    assert unharmed(bench)
    assert bench.request(conn, "whoami")["user"] == "mallory"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(AGENT), FIELDS), max_size=8))
def test_an_agent_s_nonsense_harms_nobody(said):
    bench = with_a_victim()
    conn = bench.agent("m1", user="mallory")
    for verb, fields in said:
        bench.feed(events.Said(conn, {**fields, "m": verb}))
    assert unharmed(bench)


@settings(max_examples=300, deadline=None)
@given(st.lists(FIELDS, max_size=8))
def test_a_preamble_s_nonsense_is_answered_and_harms_nobody(bodies):
    bench = with_a_victim()
    for body in bodies:
        ask = events.AskId("door0", next(bench.numbers))
        bench.feed(events.Asked(ask, "mallory", body))
        bench.after(25)
        assert bench.verdict(ask) is not None
    assert unharmed(bench)
