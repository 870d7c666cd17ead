"""Jobs that are over with their first member, and agents that are guests in another's allocation."""

import pytest

from kit.broker import BrokerBench, session


@pytest.fixture
def bench():
    return BrokerBench()


ADOPTED = {"tags": ["adopted", "lrms-slurm"], "slots": 1}


def adopted(bench, n=3):
    """A job over ``n`` adopted agents, which runs; the agents' connections."""
    conns = [bench.agent(f"a.{i}", **ADOPTED) for i in range(n)]
    job = bench.submit(size=n, agents=[f"a.{i}" for i in range(n)], lead=True)
    for index, conn in enumerate(conns):
        assert [m["index"] for m in bench.got(conn, "start")] == [index]
        bench.say(conn, "started", job=job, index=index, spec_name="lu", argv0="adopt", tasks=1,
                  archive=True, at=bench.now)  # fmt: skip
    return job, conns


def ended(bench, conn, job, index, code=0, **more):
    bench.say(conn, "ended", job=job, index=index, code=code, at=bench.now, archive=True,
              started=True, **more)  # fmt: skip


def shown(bench, job):
    client = bench.client()
    return bench.request(client, "jobs", all=True, ids=[job])["jobs"][0]


def test_each_member_is_on_the_agent_that_was_named_for_it(bench):
    job, _ = adopted(bench)
    assert shown(bench, job)["agents"] == ["a.0", "a.1", "a.2"]


@pytest.mark.parametrize("agents", [["a.0"], ["a.0", "a.0"], "a.0", ["a.0", "a.1", "a.2"]])
def test_as_many_agents_as_members_must_be_named(bench, agents):
    answer = bench.request(
        bench.client(), "submit", spec={"argv": ["true"]}, n=1, size=2, agents=agents
    )
    assert (answer["ok"], answer["code"]) == (False, "usage")


@pytest.mark.parametrize(("code", "state"), [(0, "COMPLETED"), (3, "FAILED")])
def test_a_job_ends_as_its_first_member_did_whatever_the_others_were_ended_by(bench, code, state):
    job, conns = adopted(bench)
    ended(bench, conns[1], job, 1, 143)  # the batch system was quicker there
    assert shown(bench, job)["state"] == "ACTIVE"
    ended(bench, conns[0], job, 0, code)
    assert [m["sig"] for m in bench.got(conns[2], "signal")] == [15, 18]
    ended(bench, conns[2], job, 2, 143)
    found = shown(bench, job)
    assert (found["state"], found["code"], found["error"]) == (state, code, None)


def test_nodes_that_are_away_at_the_end_are_not_waited_for_and_leave_with_the_job(bench):
    job, conns = adopted(bench)
    bench.gone(conns[1])
    ended(bench, conns[0], job, 0)
    assert shown(bench, job)["state"] == "ACTIVE"
    bench.gone(conns[2])  # killed with its node
    assert shown(bench, job)["state"] == "COMPLETED"
    assert [a["id"] for a in bench.request(bench.client(), "agents")["agents"]] == ["a.0"]


def test_who_says_nothing_at_the_end_is_killed_and_then_given_up(bench):
    job, conns = adopted(bench, 2)
    ended(bench, conns[0], job, 0)
    bench.after(6)
    assert 9 in [m["sig"] for m in bench.got(conns[1], "signal")]
    bench.after(3)
    assert shown(bench, job)["state"] == "COMPLETED"


def test_a_relay_that_is_started_anew_after_the_first_ones_end_still_ends_the_others(bench):
    job, conns = adopted(bench, 3)
    ended(bench, conns[0], job, 0, 3)
    bench.restart()  # before anybody else has answered
    there = bench.agent("a.1", **ADOPTED, sessions=[session(job, 1)])
    bench.after(16)
    assert 15 in [m["sig"] for m in bench.got(there, "signal")]  # it may never have heard
    assert shown(bench, job)["state"] == "ACTIVE"
    bench.after(8)  # the third one is away for ever, this one says nothing
    found = shown(bench, job)
    assert (found["state"], found["code"]) == ("FAILED", 3)


def test_a_job_whose_first_member_is_lost_has_failed(bench):
    job, conns = adopted(bench, 2)
    bench.say(conns[0], "bye")
    bench.gone(conns[0])
    bench.after(200)
    found = shown(bench, job)
    assert found["state"] == "FAILED"
    assert found["error"]


def test_an_adopted_agent_takes_what_names_it_and_nothing_else(bench):
    conn = bench.agent("a.0", **ADOPTED)
    waits = bench.submit()
    assert not bench.got(conn, "start")
    assert shown(bench, waits)["state"] == "QUEUED"
    named = bench.submit(agent="a.0")
    assert [m["job"] for m in bench.got(conn, "start")] == [named]


def test_an_adopted_agent_that_was_opened_takes_what_comes(bench):
    conn = bench.agent("a.0", tags=["adopted", "open"], slots=2)
    job = bench.submit()
    assert [m["job"] for m in bench.got(conn, "start")] == [job]
