"""Jobs that are run again, and programs that are started once; jobs that start after others."""

import pytest

from kit.broker import BrokerBench, session


@pytest.fixture
def bench():
    return BrokerBench()


def token(bench, conn, job, attempt, index=0):
    bench.say(conn, "token", job=job, index=index, attempt=attempt)
    said = [m for m in bench.inbox[conn] if m["m"].startswith("token-")]
    bench.inbox[conn] = [m for m in bench.inbox[conn] if not m["m"].startswith("token-")]
    return [m["m"] for m in said]


def test_a_job_whose_agent_is_lost_is_run_again_as_often_as_it_may(bench):
    job = bench.submit(retry=1)
    for attempt in (1, 2):
        agent = bench.agent(f"n{attempt}", slots=1)
        (start,) = bench.got(agent, "start")
        assert (start["attempt"], start["token"]) == (attempt, True)
        assert token(bench, agent, job, attempt) == ["token-ok"]
        bench.started(agent, job)
        bench.say(agent, "bye")
        bench.gone(agent)
    assert bench.job(job)["state"] == "FAILED"
    assert bench.job(job)["error"] == "attempt 2 of 2: the agent was stopped"


def test_a_job_that_did_not_ask_for_it_is_not_run_again(bench):
    agent = bench.agent()
    job = bench.submit()
    bench.work(agent)
    bench.say(agent, "bye")
    assert (bench.job(job)["state"], bench.job(job)["error"]) == ("FAILED", "the agent was stopped")


def test_a_program_that_fails_by_itself_is_not_run_again(bench):
    agent = bench.agent()
    job = bench.submit(retry=5, shallow=5)
    bench.work(agent)
    bench.ended(agent, job, code=3)
    assert (bench.job(job)["state"], bench.job(job)["code"]) == ("FAILED", 3)


def test_a_shallow_retry_is_for_what_surely_never_ran(bench):
    agent = bench.agent()
    job = bench.submit(shallow=1)
    bench.got(agent, "start")
    bench.say(agent, "ended", job=job, index=0, code=1, error="stage-in: no space", started=False)
    bench.after(6)
    assert bench.got(agent, "start")[0]["attempt"] == 2
    assert token(bench, agent, job, 2) == ["token-ok"]
    bench.started(agent, job)
    bench.say(agent, "bye")
    assert bench.job(job)["error"] == "attempt 2 of 2: the agent was stopped"


def test_a_token_is_given_once_for_each_attempt_and_never_for_an_earlier_one(bench):
    one = bench.agent("n1", slots=1)
    job = bench.submit(retry=1)
    assert token(bench, one, job, 1) == ["token-ok"]
    assert token(bench, one, job, 1) == ["token-no"]
    assert token(bench, one, job, 2) == ["token-no"]
    bench.after(61)  # it never said that it started
    two = bench.agent("n2", slots=1)
    assert bench.job(job)["attempt"] == 2
    assert token(bench, one, job, 1) == ["token-no"]
    where = bench.job(job)["agents"][0]
    conn, other = (one, two) if where == "n1" else (two, one)
    assert token(bench, other, job, 2) == ["token-no"]
    assert token(bench, conn, job, 2) == ["token-ok"]


def test_a_token_is_not_given_after_the_job_was_canceled(bench):
    agent = bench.agent()
    job = bench.submit(retry=1)
    bench.request(bench.client(), "cancel", job=job)
    assert token(bench, agent, job, 1) == ["token-no"]


def test_tokens_survive_a_restart(bench):
    agent = bench.agent(boot="b1")
    job = bench.submit(retry=1)
    assert token(bench, agent, job, 1) == ["token-ok"]
    bench.restart()
    agent = bench.agent(boot="b1")
    assert token(bench, agent, job, 1) == ["token-no"]


def test_an_earlier_attempt_that_turns_up_is_ended_and_changes_nothing(bench):
    one = bench.agent("n1", slots=1, boot="b1")
    job = bench.submit(retry=2)
    bench.after(61)
    two = bench.agent("n2", slots=1)
    bench.request(bench.client(), "drain", agent="n1", on=True)
    bench.after(6)
    assert bench.job(job)["agents"] == ["n2"] or bench.job(job)["attempt"] == 2
    bench.say(two, "started", job=job, index=0, tasks=1, at=bench.now, attempt=2)
    before = bench.job(job)
    bench.say(one, "started", job=job, index=0, tasks=1, at=bench.now, attempt=1)
    bench.say(one, "ended", job=job, index=0, code=0, at=bench.now, attempt=1)
    assert bench.job(job) == before


def test_however_many_it_asks_for_ten_are_the_most(bench):
    job = bench.submit(retry=100)
    for attempt in range(1, 12):
        agent = bench.agent(f"n{attempt}", slots=1)
        bench.work(agent)
        bench.say(agent, "bye")
        bench.gone(agent)
    assert bench.job(job)["error"].startswith("attempt 11 of 11")


def test_the_other_parts_of_a_failed_attempt_are_ended_before_the_next(bench):
    one, two = bench.agent("n1", slots=1), bench.agent("n2", slots=1)
    job = bench.submit(size=2, retry=1)
    assert bench.work(one) == bench.work(two) == [job]
    first = bench.core.books.jobs[int(job)].members[0].agent_id
    gone, other = (one, two) if first == "n1" else (two, one)
    bench.say(gone, "bye")
    assert bench.got(other, "signal") == [{"m": "signal", "job": job, "sig": 9}]
    index = 1
    bench.ended(other, job, index, code=137)
    assert bench.job(job)["state"] == "QUEUED"
    assert bench.why(job)["text"].startswith("attempt 1 of 2: the agent was stopped")


# -------------------------------------------------------------------------------------------- after


def test_a_job_starts_when_those_before_it_have_completed(bench):
    agent = bench.agent(slots=9)
    one, two = bench.submit(), bench.submit()
    third = bench.submit(after=[one, two])
    bench.work(agent)
    assert bench.why(third)["text"] == "it starts after jobs 1, 2"
    bench.ended(agent, one)
    assert bench.got(agent, "start") == []
    bench.ended(agent, two)
    assert bench.work(agent) == [third]


def test_a_job_after_one_that_fails_is_canceled_and_so_are_those_after_it(bench):
    agent = bench.agent(slots=9)
    first = bench.submit()
    chain = [first]
    for _ in range(400):
        chain.append(bench.submit(after=[chain[-1]]))
    bench.work(agent)
    bench.ended(agent, first, code=1)
    assert bench.job(chain[1])["error"] == f"job {first}, after which it starts, failed"
    assert {bench.job(x)["state"] for x in (chain[1], chain[-1])} == {"CANCELED"}


def test_a_job_cannot_start_after_somebody_else_s(bench):
    job = bench.submit(user="bob")
    answer = bench.request(bench.client(), "submit", spec={"argv": ["x"]}, after=[job])
    assert (answer["code"], answer["message"]) == ("none", f"there is no job {job} of yours")


def test_what_a_job_waits_for_survives_a_restart(bench):
    agent = bench.agent(slots=9)
    one, two = bench.submit(), bench.submit()
    third = bench.submit(after=[one, two])
    bench.work(agent)
    bench.ended(agent, one)
    bench.restart()
    agent = bench.agent(slots=9, boot="b1", sessions=[session(two)])
    assert bench.why(third)["text"] == f"it starts after job {two}"
    bench.ended(agent, two)
    assert bench.work(agent) == [third]


def test_a_job_that_has_not_started_by_its_deadline_is_given_up(bench):
    job = bench.submit(deadline=bench.now + 100)
    bench.after(99)
    assert bench.job(job)["state"] == "QUEUED"
    bench.after(2)
    assert (bench.job(job)["state"], bench.job(job)["error"]) == (
        "CANCELED", "it did not start by its deadline",
    )  # fmt: skip


def test_a_prologue_may_take_its_time_a_start_that_nothing_is_said_of_may_not(bench):
    agent = bench.agent(slots=2)
    slow, lost = bench.submit(retry=0), bench.submit(retry=0)
    bench.say(agent, "phase", job=slow, index=0, attempt=1, phase="prologue")
    bench.after(1000)
    assert (bench.job(slow)["state"], bench.job(slow)["phase"]) == ("HELD", "prologue")
    assert "its prologue runs on agent n1" in bench.why(slow)["text"]
    assert bench.job(lost)["error"] == "its agent did not start it"
    bench.started(agent, slow)
    assert (bench.job(slow)["state"], bench.job(slow)["phase"]) == ("ACTIVE", "")


def test_a_job_in_its_prologue_is_still_there_when_its_agent_or_the_relay_comes_back(bench):
    agent = bench.agent()
    job = bench.submit(retry=1)
    bench.say(agent, "phase", job=job, index=0, attempt=1, phase="prologue")
    here = [session(job, started=False, phase="prologue", attempt=1)]
    bench.gone(agent)
    agent = bench.agent(sessions=here)
    assert (bench.job(job)["state"], bench.job(job)["attempt"]) == ("HELD", 1)
    bench.restart()
    agent = bench.agent(sessions=here)
    bench.after(100)
    assert (bench.job(job)["state"], bench.job(job)["attempt"]) == ("HELD", 1)
    assert token(bench, agent, job, 1) == ["token-ok"]
    bench.after(61)  # from then on it is a start as any
    bench.after(6)
    assert bench.job(job)["attempt"] == 2


def test_an_agent_lost_during_a_prologue_costs_no_retry(bench):
    agent = bench.agent("n1")
    job = bench.submit(shallow=1)
    bench.say(agent, "phase", job=job, index=0, attempt=1, phase="prologue")
    bench.say(agent, "bye")
    bench.gone(agent)
    bench.agent("n2")
    assert (bench.job(job)["state"], bench.job(job)["retries"]) == ("HELD", 0)
    assert bench.job(job)["phase"] == ""


def test_who_cancels_a_prologue_ends_it_and_what_comes_after(bench):
    agent = bench.agent()
    job = bench.submit()
    bench.say(agent, "phase", job=job, index=0, attempt=1, phase="prologue")
    assert bench.request(bench.client(), "cancel", job=job)["ok"]
    assert bench.got(agent, "cancel")[0]["job"] == job
    assert bench.job(job)["state"] == "CANCELED"
    bench.say(agent, "ended", job=job, index=0, code=143, attempt=1, started=False, archive=True)
    assert bench.got(agent, "archived")  # it need not wait for somebody to fetch what that printed
