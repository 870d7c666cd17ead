"""Many events that came together: decided one by one, written down and told once."""

from collections import Counter

import relay.broker.events as ev
from kit.broker import BrokerBench


def submit(conn, number):
    message = {"m": "submit", "id": number, "spec": {"argv": ["true"]}, "n": 1, "size": 1}
    return ev.Said(conn, message)


def test_a_round_of_many_events_writes_and_tells_each_thing_once():
    bench = BrokerBench()
    bench.agent("n1", slots=2)
    conn = bench.client()
    bench.request(conn, "watch")
    actions = []
    for number in range(3):
        actions += bench.core.decide(submit(conn, number), bench.now)
    assert not any(isinstance(action, ev.Journal | ev.Publish) for action in actions)
    answers = [a.message["job"] for a in actions if isinstance(a, ev.Send) and "re" in a.message]
    assert len(answers) == 3
    actions += bench.core.conclude()
    written = Counter(action[:2] for action in actions if isinstance(action, ev.Journal))
    assert written == Counter([("meta", "next_id"), *(("job", job) for job in answers)])
    (told,) = [action for action in actions if isinstance(action, ev.Publish)]
    shown = [event["job"]["id"] for event in told.events if event["kind"] == "job"]
    assert sorted(shown) == sorted(answers)
    assert bench.core.conclude() == []


def test_a_round_of_one_event_is_the_same_as_handling_it():
    one, other = BrokerBench(), BrokerBench()
    for bench in (one, other):
        bench.agent("n1")
    conns = [bench.client() for bench in (one, other)]
    decided = other.core.decide(submit(conns[1], 1), other.now) + other.core.conclude()
    assert one.core.handle(submit(conns[0], 1), one.now) == decided


def test_who_watches_sees_a_job_run_that_starts_and_ends_in_one_round():
    bench = BrokerBench()
    agent = bench.agent("n1")
    conn = bench.client()
    bench.request(conn, "watch")
    bench.core.handle(submit(conn, 1), bench.now)
    for word in ("started", "ended"):
        said = {"m": word, "job": "1", "index": 0, "code": 3, "at": bench.now}
        bench.core.decide(ev.Said(agent, said), bench.now)
    (told,) = [a for a in bench.core.conclude() if isinstance(a, ev.Publish)]
    states = [event["job"]["state"] for event in told.events if event["kind"] == "job"]
    assert states == ["ACTIVE", "FAILED"]
