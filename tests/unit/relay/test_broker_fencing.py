"""Two processes with one ticket: the first stays, and who was followed by another never comes
back.
"""

import random

import pytest

from kit.broker import BrokerBench, session

A = "a" * 32


@pytest.fixture
def bench():
    return BrokerBench()


def code(bench, conn):
    found = bench.got(conn, "error")
    return found[-1]["code"] if found else "ok"


def test_the_first_stays_and_the_second_is_written_down_once(bench):
    bench.running(A)
    for _ in range(3):
        assert code(bench, bench.agent(boot="b2")) == "duplicate"
    refused = ("agent n1 of alice", "agent-up", "agent n1", "duplicate")
    assert bench.audit.count(refused) == 1


def test_who_came_second_does_not_slip_in_while_the_first_is_away(bench):
    first, job = bench.running(A)
    assert code(bench, bench.agent(boot="b2")) == "duplicate"
    bench.gone(first)
    assert code(bench, bench.agent(boot="b2")) == "duplicate"
    back = bench.agent(boot="b1", sessions=[session(job)])
    assert code(bench, back) == "ok"
    assert bench.job(job)["state"] == "ACTIVE"


def test_who_came_second_stays_out_over_a_restart_of_the_broker(bench):
    _, job = bench.running(A)
    bench.agent(boot="b2")
    bench.restart()
    assert code(bench, bench.agent(boot="b2")) == "duplicate"
    assert code(bench, bench.agent(boot="b1", sessions=[session(job)])) == "ok"


def test_who_came_second_gets_in_when_the_first_has_said_goodbye(bench):
    first = bench.agent()
    bench.agent(boot="b2")
    bench.say(first, "bye")
    bench.gone(first)
    assert code(bench, bench.agent(boot="b2")) == "ok"


def test_who_came_second_gets_in_when_the_first_is_given_up(bench):
    first = bench.agent()
    bench.agent(boot="b2")
    bench.gone(first)
    bench.after(601)
    assert code(bench, bench.agent(boot="b2")) == "ok"


def test_who_came_second_gets_in_when_the_first_is_away_for_long(bench):
    first, job = bench.running(A)
    bench.agent(boot="b2")
    bench.gone(first)
    bench.after(119)
    assert code(bench, bench.agent(boot="b2")) == "duplicate"
    bench.after(2)
    assert code(bench, bench.agent(boot="b2")) == "ok"
    assert bench.job(job)["state"] == "FAILED"
    assert code(bench, bench.agent(boot="b1")) == "superseded"


def test_a_process_that_was_followed_by_another_is_refused_for_good(bench):
    first, job = bench.running(A)
    bench.gone(first)
    second = bench.agent(boot="b2")
    stale = bench.agent(boot="b1", sessions=[session(job)])
    assert code(bench, stale) == "superseded"
    assert stale in bench.closed
    assert bench.job(job)["state"] == "FAILED"
    assert ("agent n1 of alice", "agent-up", "agent n1", "superseded") in bench.audit
    bench.gone(second)
    assert code(bench, bench.agent(boot="b1")) == "superseded"  # nor when nobody is there
    bench.after(700)
    assert bench.agents() == {}
    assert code(bench, bench.agent(boot="b1")) == "superseded"  # nor ever


def test_it_is_refused_by_the_next_broker_too(bench):
    bench.gone(bench.agent(boot="b1"))
    bench.gone(bench.agent(boot="b2"))
    bench.restart()
    assert code(bench, bench.agent(boot="b1")) == "superseded"
    assert code(bench, bench.agent(boot="b2")) == "ok"


def test_sixteen_processes_are_remembered(bench):
    for number in range(20):
        bench.gone(bench.agent(boot=f"b{number}"))
    assert len(bench.journal["boots"]["n1"]["boots"]) == 16
    assert code(bench, bench.agent(boot="b4")) == "superseded"


def test_agents_remembered_are_bounded_and_those_here_stay():
    bench = BrokerBench(agents_remembered=3)
    bench.agent("n0")
    for number in range(1, 9):
        conn = bench.agent(f"n{number}")
        bench.say(conn, "bye")
        bench.gone(conn)
    assert len(bench.journal["boots"]) == 3
    assert "n0" in bench.journal["boots"]


def test_a_keeper_speaks_of_its_own_dead_agent_only(bench):
    agent, job = bench.running(A)
    bench.gone(agent)
    other = bench.agent(boot="x1", was="b9")  # the keeper of a second process, that is dead now
    assert code(bench, other) == "superseded"
    assert bench.job(job)["state"] == "ACTIVE"
    assert code(bench, bench.agent(boot="x2", was="b1")) == "ok"
    assert bench.job(job)["state"] == "FAILED"


def test_the_same_process_again_is_no_news(bench):
    bench.gone(bench.agent())
    bench.audit.clear()
    assert code(bench, bench.agent()) == "ok"
    assert bench.audit == []


@pytest.mark.parametrize("seed", range(40))
def test_there_are_never_two_of_one_name(seed):
    """Processes with one ticket come, go and come back in any order, brokers restart: at most one
    is welcome at a time, and none once another was welcome after it."""
    luck, bench = random.Random(seed), BrokerBench()
    here = {}  # boot -> its connection, as that process sees it
    welcomed, fresh = [], 0
    for _ in range(60):
        act = luck.randrange(6)
        if act == 0:
            fresh += 1
        elif act == 1 and here:
            boot = luck.choice(sorted(here))
            bench.gone(here.pop(boot))
        elif act == 2:
            bench.restart()
            here.clear()
        elif fresh:
            boot = f"b{luck.randrange(fresh)}"
            if boot in here:
                continue
            conn = bench.agent(boot=boot)
            if not bench.got(conn, "welcome"):
                assert conn in bench.closed
                bench.gone(conn)
                continue
            assert here == {}, seed
            assert boot not in welcomed[:-1], seed
            if welcomed[-1:] != [boot]:
                welcomed.append(boot)
            here[boot] = conn
        if luck.random() < 0.1:
            bench.after(luck.choice((1, 30, 700)))
