"""What agents and clients of one user may cost, and what they must not do to another's."""

from kit.broker import BrokerBench


def test_an_agent_s_word_of_a_number_never_given_moves_no_counter():
    """Numbers have 15 digits at most: after such a one nobody's job could be named any more."""
    bench = BrokerBench()
    agent = bench.agent()
    bench.started(agent, 999_999_999_999_999)
    assert bench.got(agent, "signal")[0]["sig"] == 9
    job = bench.submit(user="bob")
    assert job == "1"


def test_an_agent_brings_back_no_more_jobs_than_its_user_may_have():
    bench = BrokerBench(jobs_per_user=50)
    agent = bench.agent()
    for number in range(1, 200):
        bench.started(agent, number)
    assert len(bench.core.books.jobs) == 50


def test_ended_jobs_in_the_archive_leave_room_for_live_ones():
    bench = BrokerBench(jobs_per_user=5)
    agent = bench.agent(slots=64)
    for _ in range(8):
        job = bench.submit()
        bench.started(agent, job, archive=True)
        bench.ended(agent, job, archive=True)
    assert len(bench.jobs()) == 8


def test_a_submitted_job_that_its_agent_cannot_read_ends_with_a_reason():
    bench = BrokerBench()
    agent = bench.agent()
    job = bench.submit()
    bench.say(agent, "unused", job=job, index=0, att="")
    assert bench.job(job)["state"] == "FAILED"
    assert bench.job(job)["error"] == "agent n1 cannot read what it is to run"
