"""What members of one job say to each other: handed on between them, and to nobody else."""

import pytest

from kit.broker import BrokerBench
from relay.broker import peers

BODY = {"t": "here"}


@pytest.fixture
def bench():
    return BrokerBench()


@pytest.fixture
def job(bench):
    """(the agents of its two members, its number)"""
    one = bench.agent("n1", slots=1)
    two = bench.agent("n2", slots=1)
    job = bench.submit(n=1, size=2)
    assert bench.work(one) == bench.work(two) == [job]
    agents = dict(zip(("n1", "n2"), (one, two), strict=True))
    return [agents[name] for name in bench.job(job)["agents"]], job


def say(bench, conn, number, **fields):
    bench.say(conn, "peer", **{"job": str(number), "index": 0, "to": 1, "attempt": 1, "seq": 1,
                               "body": BODY, **fields})  # fmt: skip


def test_it_comes_to_the_other_member_with_who_said_it(bench, job):
    (first, second), number = job
    say(bench, first, number, ok=4, more="not handed on")
    (heard,) = bench.got(second, "peer")
    assert heard == {"m": "peer", "job": str(number), "index": 1, "from": 0, "attempt": 1,
                     "seq": 1, "ok": 4, "body": BODY}  # fmt: skip
    assert bench.got(first, "peer") == bench.got(first, "peer-no") == []


@pytest.mark.parametrize(
    "fields",
    [{"index": 1}, {"index": 2}, {"index": -1}, {"index": "0"}, {"to": 2}, {"to": -1},
     {"to": None}, {"attempt": 2}, {"job": "99"}, {"job": 1.5}, {"job": None}],
)  # fmt: skip
def test_who_is_not_that_member_or_names_none_is_told_so(bench, job, fields):
    (first, second), number = job
    say(bench, first, number, **fields)
    assert bench.got(second, "peer") == []
    assert len(bench.got(first, "peer-no")) == 1


def test_another_users_agent_cannot_speak_to_a_job(bench, job):
    (first, second), number = job
    mallory = bench.agent("m1", user="mallory")
    for index in (0, 1):
        say(bench, mallory, number, index=index, to=1 - index)
    assert bench.got(first, "peer") == bench.got(second, "peer") == []
    assert len(bench.got(mallory, "peer-no")) == 2


def test_what_is_too_long_or_too_much_is_not_handed_on(bench, job):
    (first, second), number = job
    say(bench, first, number, body={"t": "x" * (peers.MAX_CHARS + 1)})
    assert bench.got(second, "peer") == []
    half = {"t": "x" * (peers.MAX_CHARS - 20)}
    many = peers.BURST_CHARS // peers.MAX_CHARS + 10
    for _ in range(many):
        say(bench, first, number, body=half)
    assert len(bench.got(second, "peer")) < many
    bench.after(2)
    say(bench, first, number, body=half)
    assert len(bench.got(second, "peer")) == 1


def test_one_that_is_away_misses_it_and_has_the_next(bench, job):
    (first, second), number = job
    bench.gone(second)
    say(bench, first, number)
    assert bench.got(first, "peer-no") == []
    name = bench.job(number)["agents"][1]
    running = [{"job": str(number), "index": 1, "user": "alice", "state": "running", "tasks": 1}]
    second = bench.agent(name, slots=1, sessions=running)
    say(bench, first, number, seq=2)
    assert [m["seq"] for m in bench.got(second, "peer")] == [2]


@pytest.mark.parametrize("spoke", [False, True])
def test_after_a_restart_the_first_to_come_back_is_not_told_that_the_other_is_none(
    bench, job, spoke
):
    (first, _), number = job
    if spoke:
        say(bench, first, number)
    names = bench.job(number)["agents"]
    bench.restart()
    running = [{"job": str(number), "index": 0, "user": "alice", "state": "running", "tasks": 1,
                "atts": []}]  # fmt: skip
    first = bench.agent(names[0], slots=1, sessions=running)
    say(bench, first, number, seq=2)
    assert bench.got(first, "peer-no") == []
    running[0]["index"] = 1
    second = bench.agent(names[1], slots=1, sessions=running)
    say(bench, first, number, seq=3)
    assert [m["seq"] for m in bench.got(second, "peer")] == [3]


@pytest.mark.parametrize("fields", [{"seq": "x" * 99}, {"seq": True}, {"ok": [1]}, {"ok": None}])
def test_numbers_that_are_none_are_not_handed_on(bench, job, fields):
    (first, second), number = job
    say(bench, first, number, **fields)
    assert bench.got(second, "peer") == []


@pytest.mark.parametrize("restarted", [False, True])
def test_the_others_end_when_a_member_of_one_program_is_lost(bench, job, restarted):
    (first, second), number = job
    say(bench, first, number)
    names = bench.job(number)["agents"]
    if restarted:  # the broker's memory of it is in its journal
        bench.restart()
        for index, name in enumerate(names):
            running = [{"job": str(number), "index": index, "user": "alice", "state": "running",
                        "tasks": 1, "atts": []}]  # fmt: skip
            conn = bench.agent(name, slots=1, sessions=running)
            first, second = (conn, second) if index == 0 else (first, conn)
    bench.say(second, "bye")
    assert next(m["sig"] for m in bench.got(first, "signal")) == 15
    bench.ended(first, number, code=143)
    seen = bench.job(number)
    assert seen["state"] == "FAILED"
    assert seen["error"]


@pytest.mark.parametrize("how", ["lost", "failed"])
def test_one_that_was_lost_before_anybody_spoke_ends_who_speaks_then(bench, job, how):
    (first, second), number = job
    if how == "lost":
        bench.say(second, "bye")
    else:
        bench.say(second, "ended", job=str(number), index=1, code=125, signal=None, at=bench.now,
                  error="no place for its directory")  # fmt: skip
    assert bench.got(first, "signal") == []
    say(bench, first, number, body={"t": "here"})
    assert next(m["sig"] for m in bench.got(first, "signal")) == 15
    bench.ended(first, number, code=143)
    assert bench.job(number)["state"] == "FAILED"


def test_members_that_say_nothing_to_each_other_outlive_each_other(bench, job):
    (first, second), _ = job
    bench.say(second, "bye")
    assert bench.got(first, "signal") == []


def test_another_attempt_speaks_by_itself_and_the_last_one_no_more(bench):
    conns = {name: bench.agent(name, slots=1) for name in ("n1", "n2", "n3")}
    number = bench.submit(n=1, size=2, retry=1)
    assert sum(bench.work(conn) == [number] for conn in conns.values()) == 2
    names = bench.job(number)["agents"]
    say(bench, conns[names[0]], number)
    bench.say(conns[names[1]], "bye")
    assert 9 in [m["sig"] for m in bench.got(conns[names[0]], "signal")]
    bench.ended(conns[names[0]], number, code=137)
    conns["n4"] = bench.agent("n4", slots=1)
    bench.after(20)
    again = bench.job(number)["agents"]
    assert len(again) == 2
    assert names[1] not in again
    first, second = (conns[name] for name in again)
    for conn in conns.values():
        bench.got(conn, "peer")
        bench.got(conn, "peer-no")
    old = conns[names[0]]
    say(bench, old, number, attempt=1)
    assert len(bench.got(old, "peer-no")) == 1
    say(bench, first, number, attempt=2)
    assert [m["attempt"] for m in bench.got(second, "peer")] == [2]
    assert bench.job(number)["state"] != "FAILED"
    bench.say(second, "bye")  # before anybody else spoke
    assert bench.got(first, "signal")
