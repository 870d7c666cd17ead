"""Agents that go away, come back, die or lie; brokers that start again."""

import pytest

from kit.broker import BrokerBench, session
from relay.broker.states import TRANSITIONS, JobState

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def bench():
    return BrokerBench()


def test_a_step_survives_its_agent_s_absence(bench):
    agent, job = bench.running(A)
    bench.gone(agent)
    bench.after(500)
    assert bench.agents()["n1"]["state"] == "away"
    assert bench.job(job)["state"] == "ACTIVE"
    back = bench.agent(sessions=[session(job)])
    bench.after(500)
    assert bench.job(job)["state"] == "ACTIVE"
    bench.ended(back, job)
    assert bench.job(job)["state"] == "COMPLETED"


def test_an_agent_that_stays_away_is_lost_and_so_is_what_it_ran(bench):
    agent, job = bench.running(A)
    bench.gone(agent)
    bench.after(601)
    assert (bench.job(job)["state"], bench.job(job)["error"]) == ("FAILED", "agent lost")
    assert bench.agents() == {}
    assert bench.journal["agent"] == {}


def test_an_agent_that_comes_back_as_another_process_has_died(bench):
    agent, job = bench.running(A)
    bench.gone(agent)
    bench.agent(boot="b2")
    assert (bench.job(job)["state"], bench.job(job)["error"]) == ("FAILED", "agent died")
    assert bench.agents()["n1"]["free"] == 2


def test_what_ended_while_the_agent_was_away_is_learnt_when_it_is_back(bench):
    agent, job = bench.running(A)
    bench.gone(agent)
    back = bench.agent(sessions=[session(job, state="ended", code=7, ended_at=bench.now)])
    assert (bench.job(job)["state"], bench.job(job)["code"]) == ("FAILED", 7)
    assert bench.got(back, "ended-ok") == [{"m": "ended-ok", "job": job, "index": 0}]


def test_an_end_that_is_repeated_is_acknowledged_again_and_changes_nothing(bench):
    agent, job = bench.running(A)
    bench.ended(agent, job, code=0)
    bench.ended(agent, job, code=9)
    assert len(bench.got(agent, "ended-ok")) == 2
    assert bench.job(job)["code"] == 0


def test_an_opening_on_an_agent_that_went_away_does_not_start_elsewhere(bench):
    agent = bench.agent("n1")
    assert bench.open(A) == ("pair", "n1")
    bench.gone(agent)
    bench.agent("n2")
    assert bench.open(A) == ("no", "again")  # it may have started it


def test_an_opening_on_an_agent_that_died_starts_elsewhere(bench):
    agent = bench.agent("n1", slots=9)
    assert bench.open(A) == ("pair", "n1")
    bench.gone(agent)
    bench.agent("n2")
    bench.agent("n1", boot="b2", slots=1)
    assert bench.open(A) == ("pair", "n2")


def test_a_second_process_with_the_same_ticket_is_refused(bench):
    first, job = bench.running(A)
    second = bench.agent(boot="b2")
    assert second in bench.closed
    assert bench.got(second, "error")[0]["code"] == "duplicate"
    assert bench.got(second, "welcome") == []
    assert bench.job(job)["state"] == "ACTIVE"
    assert first not in bench.closed


def test_the_same_process_on_a_new_connection_replaces_the_old_one(bench):
    old, job = bench.running(A)
    new = bench.agent(boot="b1", sessions=[session(job)])
    assert old in bench.closed
    bench.gone(old)
    assert bench.agents()["n1"]["state"] == "waiting"
    bench.ended(new, job)
    assert bench.job(job)["state"] == "COMPLETED"


def test_an_agent_must_say_hello_first(bench):
    conn = bench.conn()
    from relay.broker import events

    bench.feed(events.ConnUp(conn, "agent", "alice", "n1", "serial", ""))
    bench.started(conn, 5)
    assert conn in bench.closed
    assert bench.jobs() == {}


def test_an_agent_cannot_speak_of_another_user_s_job(bench):
    bench.running(A)
    evil = bench.agent("m1", user="mallory")
    bench.started(evil, 1)
    bench.ended(evil, 1, code=99)
    bench.say(evil, "unused", job="1", index=0, att=A)
    bench.say(evil, "watchers", job="1", index=0, attached=50, watchers=50)
    assert (bench.job(1)["state"], bench.job(1)["attached"]) == ("ACTIVE", 0)
    assert bench.jobs("mallory") == {}


@pytest.mark.parametrize("m", ["started", "ended", "refused", "unused", "watchers", "novelty"])
@pytest.mark.parametrize(
    "fields",
    [{}, {"job": None, "index": None}, {"job": "1", "index": -1}, {"job": "1", "index": 10**12},
     {"job": ["1"], "index": {}, "att": 5, "code": [], "tasks": -3, "at": "now", "error": 7},
     {"job": "9" * 15, "index": 5000}],
)  # fmt: skip
def test_nonsense_from_an_agent_harms_nothing(bench, m, fields):
    agent, _ = bench.running(A)
    bench.say(agent, m, **fields)
    assert bench.job(1)["state"] == "ACTIVE"


def test_what_an_agent_still_had_when_it_said_goodbye_is_lost_at_once(bench):
    agent, _ = bench.running(A)
    bench.say(agent, "bye")
    assert (bench.job(1)["state"], bench.job(1)["error"]) == ("FAILED", "the agent was stopped")
    bench.gone(agent)
    assert bench.agents() == {}


@pytest.mark.parametrize("sessions", [7, "x", [7], [{}], [{"job": "1", "atts": 7}], None])
def test_nonsense_in_a_hello_harms_nothing(bench, sessions):
    conn = bench.conn()
    from relay.broker import events

    bench.feed(events.ConnUp(conn, "agent", "alice", "n1", "serial", ""))
    bench.say(conn, "hello", sessions=sessions, slots="many", tags={"a": 1}, cpus=-1)
    assert bench.got(conn, "welcome")


def test_a_duplicate_start_of_the_same_member_is_killed(bench):
    bench.running(A)
    other = bench.agent("n2")
    bench.started(other, 1)
    assert bench.got(other, "signal") == [{"m": "signal", "job": "1", "sig": 9}]


def test_a_restarted_broker_learns_from_the_agents_what_runs(bench):
    _, job = bench.running(A)
    bench.restart()
    assert bench.job(job)["state"] == "ACTIVE"
    assert bench.agents()["n1"]["state"] == "away"
    assert bench.open(A, op="resume", job=job, index=0) == ("no", "again")
    atts = [{"att": A, "user": "alice", "rights": "rw"}, {"att": B, "user": "alice", "rights": "r"}]
    agent = bench.agent(sessions=[session(job, atts=atts)])
    assert bench.open(A, op="resume", job=job, index=0) == ("pair", "n1")
    bench.open(B, op="resume", job=job, index=0)
    assert [e["rights"] for e in bench.got(agent, "expect")] == ["rw", "r"]
    assert (bench.job(job)["attached"], bench.job(job)["watchers"]) == (1, 1)


def test_the_same_opening_after_a_restart_does_not_run_twice(bench):
    _, job = bench.running(A)
    bench.restart()
    bench.agent("n2")
    assert bench.open(A) == ("no", "again")
    bench.agent("n1", sessions=[session(job)])
    assert bench.open(A) == ("pair", "n1")


def test_a_restarted_broker_gives_no_number_twice(bench):
    agent = bench.agent()
    bench.open(A)
    bench.say(agent, "unused", job="1", index=0, att=A)
    bench.restart()
    bench.agent()
    bench.open(B)
    assert [e["job"] for c in bench.inbox for e in bench.got(c, "expect")] == ["2"]


def test_a_broker_without_memory_believes_the_agents(bench):
    conn = bench.agent(sessions=[session(41), session(40, state="ended", code=1)])
    assert {j["id"]: j["state"] for j in bench.jobs().values()} == {"40": "FAILED", "41": "ACTIVE"}
    assert bench.got(conn, "ended-ok")
    bench.open(A)
    assert bench.got(conn, "expect")[0]["job"] == "42"


def test_waiting_jobs_outlive_the_broker(bench):
    client = bench.client()
    job = bench.request(client, "submit", spec={"argv": ["sleep", "1"]})["job"]
    bench.open(A)
    bench.restart()
    agent = bench.agent(slots=1)
    (start,) = bench.got(agent, "start")
    assert (start["job"], start["spec"]) == (job, {"argv": ["sleep", "1"]})
    bench.after(31)
    assert bench.job(2)["state"] == "CANCELED"  # its client did not come back


def test_a_submitted_job_moves_on_when_its_agent_dies_before_the_start(bench):
    first = bench.agent("n1")
    job = bench.request(bench.client(), "submit", spec={"argv": ["true"]})["job"]
    assert bench.got(first, "start")
    bench.gone(first)
    second = bench.agent("n2")
    bench.agent("n1", boot="b2", slots=0)
    assert bench.got(second, "start")[0]["job"] == job
    bench.started(second, job)
    bench.ended(second, job)
    assert bench.job(job)["state"] == "COMPLETED"


def test_a_submitted_job_moves_on_when_its_agent_is_busy(bench):
    one = bench.agent("n1", slots=9)
    two = bench.agent("n2")
    job = bench.request(bench.client(), "submit", spec={"argv": ["true"]})["job"]
    bench.say(one, "refused", att="", job=job, index=0, code="busy", message="")
    assert bench.got(two, "start")[0]["job"] == job


def test_a_lost_door_is_a_lost_connection_for_everyone_behind_it(bench):
    from relay.broker import events

    agent, job = bench.running(A)
    bench.feed(events.DoorLost("door0"))
    assert bench.core.books.conns == {}
    assert bench.agents()["n1"]["state"] == "away"
    bench.say(agent, "ended", job=job, index=0, code=0)  # late: from before
    assert bench.job(job)["state"] == "ACTIVE"


def test_an_agent_that_said_goodbye_is_forgotten_at_once(bench):
    agent = bench.agent()
    bench.say(agent, "bye")
    bench.gone(agent)
    assert bench.agents() == {}


def test_a_state_s_order_never_goes_down_but_to_wait_again():
    downs = {(a, b) for a, to in TRANSITIONS.items() for b in to if b.value < a.value}
    assert {b for _, b in downs} == {JobState.QUEUED}
    assert not any(a.final for a, _ in downs)
    assert set(TRANSITIONS) == set(JobState)
    assert all(not TRANSITIONS[s] for s in JobState if s.final)
