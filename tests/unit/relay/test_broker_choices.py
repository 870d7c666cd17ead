"""Which agent a job gets: lanes, requirements of both sides, preference; and why it gets none."""

import pytest

from kit.broker import BrokerBench
from kit.matcher import WordMatcher

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def bench():
    return BrokerBench(WordMatcher())


# -------------------------------------------------------------------------------------------- lanes


def test_an_interactive_job_runs_beside_a_batch_one_when_nothing_is_free(bench):
    agent = bench.agent(slots=2, lanes=True)
    bench.submit(n=2)
    bench.work(agent)
    assert bench.open(A, pty=True, loss=10) == ("pair", "n1")
    (expect,) = bench.got(agent, "expect")
    assert (expect["lane"], expect["loss"], expect["attempt"]) == ("interactive", 10, 1)
    assert bench.agents()["n1"]["lanes"] == {"batch": 2, "interactive": 1}


def test_an_interactive_job_prefers_what_is_free(bench):
    busy = bench.agent("n1", slots=4, lanes=True)
    bench.submit(n=4)
    bench.work(busy)
    bench.agent("n2", slots=1, lanes=True)
    assert bench.open(A, pty=True) == ("pair", "n2")
    assert bench.open(B, pty=True) == ("pair", "n1")


def test_who_says_no_lane_waits_for_slots_as_ever(bench):
    agent = bench.agent(slots=1, lanes=True)
    bench.submit()
    bench.work(agent)
    assert bench.open(A) == ("no", "queued")


def test_cores_are_shared_only_by_agents_that_say_so(bench):
    agent = bench.agent(slots=1)
    bench.submit()
    bench.work(agent)
    assert bench.open(A, pty=True) == ("no", "queued")


def test_the_interactive_lane_has_so_many_slots_and_no_more(bench):
    agent = bench.agent(slots=2, lanes=True)
    bench.submit(n=2)
    bench.work(agent)
    assert [bench.open(x * 32, lane="interactive")[0] for x in "abc"] == ["pair", "pair", "no"]


def test_a_batch_job_needs_slots_that_are_free_of_both_lanes(bench):
    agent = bench.agent(slots=2, lanes=True)
    bench.submit(n=2)
    bench.work(agent)
    assert bench.open(A, pty=True) == ("pair", "n1")
    bench.started(agent, 2, att=A, lane="interactive")
    waits = bench.submit()
    bench.ended(agent, 1)
    assert bench.got(agent, "start")[0]["job"] == waits
    assert bench.agents()["n1"]["lanes"] == {"batch": 1, "interactive": 1}


def test_interactive_jobs_come_first(bench):
    agent = bench.agent(slots=1)
    first = bench.submit()
    bench.work(agent)
    batch = bench.submit()
    quick = bench.submit(lane="interactive")
    bench.ended(agent, first)
    assert bench.work(agent) == [quick]
    bench.ended(agent, quick)
    assert bench.work(agent) == [batch]


def test_nothing_runs_beside_who_wants_the_whole_agent(bench):
    agent = bench.agent(slots=4, lanes=True)
    small = bench.submit()
    bench.work(agent)
    whole = bench.submit(whole=True)
    bench.ended(agent, small)
    assert bench.work(agent) == [whole]
    assert bench.open(A, pty=True) == bench.open(B) == ("no", "queued")


# ------------------------------------------------------------------------------------- requirements


def test_a_job_runs_where_its_requirements_are_true(bench):
    bench.agent("n1", slots=9, ad={"gpus": 0})
    bench.agent("n2", slots=1, ad={"gpus": 2})
    assert bench.open(A, req="gpus >= 1") == ("pair", "n2")
    assert bench.open(B, req="gpus >= 1") == ("no", "queued")
    assert bench.open(C, req="gpus >= 3") == ("no", "queued")


def test_an_agent_may_require_something_of_jobs_too(bench):
    bench.agent("n1", slots=9, ad={"requirements": "tasks <= 2"})
    bench.agent("n2", slots=9)
    assert bench.open(A, tasks=2, agent="n1") == ("pair", "n1")
    assert bench.open(B, tasks=3) == ("pair", "n2")
    assert bench.open(C, tasks=3, agent="n1") == ("no", "queued")


def test_what_a_requirement_says_of_an_agent_is_asked_once(bench):
    agent = bench.agent("n1", slots=1, ad={"gpus": 1})
    for _ in range(20):
        bench.submit(req="gpus >= 1")
    for _ in range(20):
        (job,) = bench.work(agent)
        bench.ended(agent, job)
    assert bench.matcher.asked == 1


def test_an_agent_that_says_something_else_of_itself_is_asked_about_again(bench):
    bench.agent("n1", ad={"gpus": 0})
    assert bench.open(A, req="gpus >= 1") == ("no", "queued")
    bench.gone(bench.agent("n2"))
    bench.agent("n1", boot="b1", ad={"gpus": 1})
    bench.after(1)
    assert bench.job(1)["state"] in ("QUEUED", "HELD")


def test_the_highest_preference_wins_and_equals_are_drawn(bench):
    for i in range(6):
        bench.agent(f"n{i}", slots=50, ad={"speed": 1 if i < 3 else 2})
    chosen = [bench.open(f"{i:032x}", rank="speed")[1] for i in range(30)]
    assert set(chosen) == {"n3", "n4", "n5"}


def test_a_fuzzy_preference_takes_others_too_but_the_better_ones_more_often(bench):
    bench.agent("good", slots=500, ad={"speed": 10})
    bench.agent("bad", slots=500, ad={"speed": 1})
    chosen = [bench.open(f"{i:032x}", rank="speed", fuzzy=0.5)[1] for i in range(300)]
    assert 150 < chosen.count("good") < 300


def test_memory_and_site_are_requirements_too(bench):
    bench.agent("n1", slots=9, memory_bytes=1 << 30, site="alpha")
    bench.agent("n2", slots=9, memory_bytes=4 << 30, site="beta")
    assert bench.open(A, memory=2 << 30) == ("pair", "n2")
    assert bench.open(B, site=["alpha"]) == ("pair", "n1")
    assert bench.open(C, site=["alpha"], memory=2 << 30) == ("no", "queued")


def test_who_waits_for_one_site_holds_up_nobody_who_wants_another(bench):
    bench.agent("n1", slots=1, site="alpha")
    bench.agent("n2", slots=1, site="beta")
    assert bench.open(A, site=["alpha"]) == ("pair", "n1")
    assert bench.open(B, site=["alpha"]) == ("no", "queued")
    assert bench.open(C) == ("pair", "n2")


# ---------------------------------------------------------------------------------------------- why


def test_why_names_the_requirement_that_nobody_meets_with_the_nearest_offer(bench):
    bench.agent("n1", memory_bytes=1 << 30, ad={"gpus": 1, "arch": "x86"})
    bench.agent("n2", memory_bytes=4 << 30, ad={"gpus": 0, "arch": "arm"})
    why = bench.why(bench.submit(req="gpus >= 4 && arch == x86"))
    assert why["missing"] == [{"what": "requirement", "wanted": "gpus >= 4",
                               "best": "1 (agent n1)"}]  # fmt: skip
    assert "gpus >= 4" in why["text"]
    why = bench.why(bench.submit(memory=8 << 30))
    assert why["missing"] == [{"what": "memory", "wanted": "8G", "best": "4G (agent n2)"}]


def test_why_says_what_would_start_now_as_command_lines(bench):
    agent = bench.agent("n1", slots=4, lanes=True)
    bench.submit(n=3)
    bench.work(agent)
    bench.started(agent, 1, tasks=3)
    why = bench.why(bench.submit(n=2, argv="solve it"))
    assert why["text"] == "all slots are in use"
    assert [one["command"] for one in why["now"]] == [
        "gshell run -n 2 --lane interactive -- solve it",
        "gshell run -- solve it",
    ]
    assert bench.open(A, tasks=2, lane="interactive") == ("pair", "n1")


def test_a_job_s_time_is_known_when_who_runs_said_how_long(bench):
    agent = bench.agent(slots=1)
    bench.submit(walltime=100)
    bench.work(agent)
    bench.after(30)
    one, two = bench.submit(), bench.submit()
    assert bench.why(one)["eta"] == bench.now + 70
    assert (bench.why(two)["eta"], bench.why(two)["position"]) == (None, 2)


def test_no_time_is_invented(bench):
    agent = bench.agent(slots=1)
    bench.submit()
    bench.work(agent)
    assert bench.why(bench.submit())["eta"] is None


def test_why_of_what_runs_or_has_ended_says_so(bench):
    agent = bench.agent()
    job = bench.submit()
    bench.work(agent)
    assert bench.why(job)["text"] == "it runs on agent n1"
    bench.ended(agent, job)
    assert "completed" in bench.why(job)["text"]


# ------------------------------------------------------------------- lanes of openings ahead of use


def test_a_warm_opening_on_a_full_agent_is_in_the_interactive_lane(bench):
    agent = bench.agent(slots=2, lanes=True)
    bench.submit(n=2)
    bench.submit()  # it waits, and is not passed
    bench.work(agent)
    assert bench.open(A, warm=True) == ("pair", "n1")
    (expect,) = bench.got(agent, "expect")
    assert (expect["lane"], expect["warm"]) == ("interactive", True)
    assert bench.agents()["n1"]["lanes"] == {"batch": 2, "interactive": 0}


def test_a_warm_opening_prefers_what_is_free(bench):
    busy = bench.agent("n1", slots=4, lanes=True)
    bench.submit(n=4)
    bench.work(busy)
    free = bench.agent("n2", slots=1, lanes=True)
    assert bench.open(A, warm=True) == ("pair", "n2")
    (expect,) = bench.got(free, "expect")
    assert (expect["lane"], expect["warm"]) == ("batch", True)


def test_a_warm_opening_is_in_the_lane_of_what_it_started(bench):
    agent = bench.agent(slots=4, lanes=True)
    for att in (A, B):
        bench.open(att, warm=True)
    bench.started(agent, 1, att=A, lane="interactive")
    bench.started(agent, 2, att=B, lane="batch")
    assert [bench.job(number)["lane"] for number in (1, 2)] == ["interactive", "batch"]
    assert bench.agents()["n1"]["lanes"] == {"batch": 1, "interactive": 1}


def test_a_warm_opening_does_not_pass_a_terminal_that_waits(bench):
    agent = bench.agent(slots=2, lanes=True)
    bench.submit(n=2)
    bench.work(agent)
    assert bench.open(A, pty=True)[0] == "pair"
    bench.submit(lane="interactive", tasks=2)
    assert bench.open(B, warm=True) == ("no", "queued")
