"""Co-allocation, all or none; what may run meanwhile; and who may pass a job that is blocked."""

import pytest

from kit.broker import BrokerBench

A, B = "a" * 32, "b" * 32


@pytest.fixture
def bench():
    return BrokerBench()


def held(bench):
    """agent -> jobs that hold slots there."""
    agents = bench.core.books.agents.values()
    return {a.id: sorted(job for job, _ in a.holds) for a in agents if a.holds}


def test_a_co_allocation_starts_in_the_round_of_its_last_agent(bench):
    one = bench.agent("a1", site="alpha", slots=4)
    job = bench.submit(n=4, size=2, site=["alpha", "beta"])
    bench.after(20)
    assert held(bench) == {"a1": [1]}
    assert bench.got(one, "start") == []
    two = bench.agent("b1", site="beta", slots=4)
    assert bench.work(one) == bench.work(two) == [job]
    assert held(bench) == {}


def test_its_members_are_spread_over_the_sites_evenly_in_their_order(bench):
    for name in ("a1", "a2", "a3", "b1", "b2"):
        bench.agent(name, site={"a": "alpha", "b": "beta"}[name[0]], slots=9)
    job = bench.submit(size=4, site=["beta", "alpha"])
    assert [name[0] for name in bench.job(job)["agents"]] == ["b", "b", "a", "a"]


def test_what_it_holds_is_not_given_to_others(bench):
    bench.agent("a1", site="alpha", slots=2)
    bench.submit(n=2, size=2, site=["alpha", "beta"])
    assert bench.open(A) == ("no", "queued")


def test_after_its_hold_time_others_have_their_turn_and_then_it_tries_again(bench):
    agent = bench.agent("a1", site="alpha", slots=1)
    job = bench.submit(size=2, site=["alpha", "beta"], hold=30)
    other = bench.submit()
    bench.after(29)
    assert bench.got(agent, "start") == []
    bench.after(2)
    assert bench.work(agent) == [other]
    assert "did not come within 30 s" in bench.why(job)["text"]
    bench.ended(agent, other)
    assert held(bench) == {}
    bench.after(60)
    assert held(bench) == {"a1": [1]}


def test_of_two_that_want_the_same_the_earlier_takes_what_the_later_holds(bench):
    bench.agent("a1", site="alpha", slots=1)
    bench.agent("b1", site="beta", slots=1)
    first = bench.submit(size=3, site=["alpha", "beta", "gamma"], lane="batch")
    later = bench.submit(size=2, site=["beta", "alpha"], lane="interactive")
    assert held(bench) == {"a1": [int(first)], "b1": [int(first)]}
    assert bench.job(later)["state"] == "QUEUED"


def test_an_earlier_one_takes_over_from_a_later_one(bench):
    bench.agent("g1", site="gamma", slots=1)
    first = bench.submit(size=3, site=["alpha", "beta", "gamma"], hold=10)
    later = bench.submit(size=2, site=["alpha", "beta"], hold=1000)
    bench.after(11)
    bench.agent("b1", site="beta", slots=1)
    assert held(bench) == {"b1": [int(later)]}
    bench.after(60)
    assert held(bench) == {"b1": [int(first)], "g1": [int(first)]}
    assert f"job {first}, which came before" in bench.why(later)["text"]


def test_when_a_held_agent_dies_another_one_is_looked_for_and_said_so(bench):
    bench.agent("a1", site="alpha", slots=1)
    job = bench.submit(size=2, site=["alpha", "beta"])
    bench.gone(bench.core.books.agents["a1"].conn)
    assert held(bench) == {}
    assert "agent a1 at alpha went away" in bench.why(job)["text"]
    two = bench.agent("a2", site="alpha", slots=1)
    bench.agent("b1", site="beta", slots=1)
    assert bench.work(two) == [job]


def test_when_a_held_agent_is_about_to_end_another_one_is_looked_for_and_said_so(bench):
    agent = bench.agent("a1", site="alpha", slots=1)
    job = bench.submit(size=2, site=["alpha", "beta"])
    bench.say(agent, "draining")
    bench.say(agent, "bye")
    assert held(bench) == {}
    assert "agent a1 at alpha is about to end; another one is looked for" in bench.why(job)["text"]
    bench.agent("a2", site="alpha", slots=1)
    assert held(bench) == {"a2": [int(job)]}
    assert "a1" not in bench.why(job)["text"]  # there is another one: it is old news


def test_when_a_partner_dies_after_the_start_the_others_are_ended_and_it_says_of_what(bench):
    one = bench.agent("a1", site="alpha", slots=1)
    two = bench.agent("b1", site="beta", slots=1)
    job = bench.submit(size=2, site=["alpha", "beta"])
    bench.work(one), bench.work(two)
    bench.started(one, job)
    bench.started(two, job, 1)
    bench.got(one, "signal")
    bench.say(two, "ended", job=job, index=1, code=143, signal=15, error="the agent was stopped")
    assert [m["sig"] for m in bench.got(one, "signal")] == [15, 18]
    bench.after(60)
    assert [m["sig"] for m in bench.got(one, "signal")] == [9]
    bench.ended(one, job, code=137)
    assert (bench.job(job)["state"], bench.job(job)["error"]) == ("FAILED", "the agent was stopped")


def test_a_part_that_ends_by_itself_leaves_the_others_alone(bench):
    one = bench.agent("a1", site="alpha", slots=1)
    two = bench.agent("b1", site="beta", slots=1)
    job = bench.submit(size=2, site=["alpha", "beta"])
    bench.work(one), bench.work(two)
    bench.started(one, job)
    bench.started(two, job, 1)
    bench.ended(two, job, 1, code=1)
    bench.after(60)
    assert bench.got(one, "signal") == []


def test_what_is_canceled_holds_nothing(bench):
    agent = bench.agent("a1", site="alpha", slots=1)
    job = bench.submit(size=2, site=["alpha", "beta"])
    other = bench.submit()
    bench.request(bench.client(), "cancel", job=job)
    assert bench.work(agent) == [other]
    assert held(bench) == {}


def test_plain_members_are_placed_together_and_hold_nothing(bench):
    agent = bench.agent("a1", slots=1)
    bench.submit(size=2)
    other = bench.submit()
    assert bench.work(agent) == [other]


# ---------------------------------------------------------------------------- in held slots meanwhile


def test_a_job_that_is_over_in_time_runs_in_held_slots(bench):
    one = bench.agent("a1", site="alpha", slots=1)
    two = bench.agent("b1", site="beta", slots=1)
    bench.submit(walltime=100, site=["beta"])
    bench.work(two)
    big = bench.submit(size=2, site=["alpha", "beta"])
    assert bench.why(big)["eta"] == bench.now + 100
    long, short = bench.submit(walltime=101), bench.submit(walltime=99)
    assert bench.work(one) == [short]
    bench.ended(one, short)
    bench.ended(two, 1)
    assert bench.work(one) == bench.work(two) == [big]
    assert bench.job(long)["state"] == "QUEUED"


def test_where_cores_are_shared_any_batch_job_runs_in_held_slots_and_yields(bench):
    one = bench.agent("a1", site="alpha", slots=2, lanes=True)
    big = bench.submit(n=2, size=2, site=["alpha", "beta"])
    small = bench.submit(n=2)
    assert bench.work(one) == [small]
    two = bench.agent("b1", site="beta", slots=2)
    (start,) = bench.got(one, "start")
    assert (start["job"], start["lane"]) == (big, "interactive")
    assert bench.got(two, "start")[0]["lane"] == "batch"
    assert bench.agents()["a1"]["lanes"] == {"batch": 2, "interactive": 2}


# -------------------------------------------------------------------------------------------- EASY


def test_a_short_job_passes_a_blocked_one_if_it_is_over_before_that_starts(bench):
    agent = bench.agent(slots=4)
    bench.submit(n=2, walltime=100)
    bench.work(agent)
    big = bench.submit(n=4, walltime=1000)
    late = bench.submit(n=1, walltime=101)
    short = bench.submit(n=1, walltime=99)
    unknown = bench.submit(n=1)
    assert bench.work(agent) == [short]
    bench.after(99)
    bench.ended(agent, short)
    bench.ended(agent, 1)
    assert bench.work(agent) == [big]
    assert {bench.job(x)["state"] for x in (late, unknown)} == {"QUEUED"}


def test_slots_that_a_blocked_job_will_not_need_are_free_for_any(bench):
    agent = bench.agent(slots=4)
    bench.submit(n=3, walltime=100)
    bench.work(agent)
    bench.submit(n=3)
    small = bench.submit(n=1)
    assert bench.work(agent) == [small]


def test_agents_that_a_blocked_job_will_not_get_are_free_for_any(bench):
    one, two = bench.agent("n1", slots=2), bench.agent("n2", slots=2)
    first = bench.submit(n=1, walltime=100, agent="n1")
    bench.work(one)
    second = bench.submit(n=1, walltime=500, agent="n2")
    bench.work(two)
    bench.submit(n=2)
    small = bench.submit(n=1)
    assert bench.work(one) == []
    assert bench.work(two) == [small]
    assert {first, second} == {"1", "2"}


def test_nothing_passes_a_blocked_job_when_nobody_knows_how_long_it_waits(bench):
    agent = bench.agent(slots=4)
    bench.submit(n=2)
    bench.work(agent)
    bench.submit(n=4)
    bench.submit(n=1, walltime=1)
    assert bench.work(agent) == []


def test_when_the_blocked_job_goes_the_others_are_looked_at(bench):
    agent = bench.agent(slots=2)
    bench.submit(n=1)
    bench.work(agent)
    big, small = bench.submit(n=2), bench.submit(n=1)
    bench.request(bench.client(), "cancel", job=big)
    assert bench.work(agent) == [small]
