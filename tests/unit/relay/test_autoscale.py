"""How many pilots there should be, and what who waits is told of them."""

import time

import pytest

from kit.broker import BrokerBench
from relay.broker import autoscale, outlook
from relay.broker.model import Job, Member
from relay.broker.states import JobState
from relay.broker.wants import Wants

A = "a" * 32
SITE = {"name": "slurm", "lrms": "slurm", "queue": "short", "max_agents": 4}


class Bench(BrokerBench):
    """With a submitter that takes whatever it is told."""

    def __init__(self, *sites, **settings):
        super().__init__(**settings)
        self.seen = set()
        self.sub = self.client()
        self.request(self.sub, "submitter", submitter="s", host="fe", pilots=[],
                     sites=[{**SITE, **site} for site in sites or ({},)])  # fmt: skip
        self.user = self.client()
        self.after(1)

    def after(self, seconds):
        super().after(seconds)
        self.now += 0.1  # what comes next is not in the round in which everything was looked at

    def submit(self, *sites, count=1, **wants):
        for _ in range(count):
            answer = self.request(
                self.user, "submit", spec={"argv": ["x"]}, site=list(sites), **wants
            )
            assert answer["ok"], answer
        return answer["job"]

    def asked(self):
        """pilot-submit since the last look, each said once."""
        news = {m["pilot"]: m for m in self.got(self.sub, "pilot-submit")}
        fresh = [m for pilot, m in news.items() if pilot not in self.seen]
        self.seen |= set(news)
        return fresh

    def canceled(self):
        return [m["pilot"] for m in self.got(self.sub, "pilot-cancel")]

    def report(self, pilot, state, **fields):
        self.say(self.sub, "pilot", pilot=pilot, state=state, **fields)

    def came(self, pilot, node=0, **facts):
        return self.agent(f"{pilot}.{node}", pilot=pilot, node=node, **facts)

    def why(self, job):
        books = self.core.books
        return outlook.explain(books, books.jobs[int(job)])


@pytest.fixture
def bench():
    return Bench()


def test_a_job_that_names_a_site_gets_a_pilot_at_once(bench):
    job = bench.submit("slurm")
    (told,) = bench.asked()
    (pilot,) = bench.request(bench.user, "pilots")["pilots"]
    assert (pilot["for"], pilot["by_hand"], told["nodes"]) == ([job], False, 1)
    agent = bench.came(told["pilot"])
    assert bench.got(agent, "start")[0]["job"] == job
    bench.after(30)
    assert bench.asked() == []


def test_waiting_jobs_are_counted_once_and_share_the_slots_of_a_node():
    bench = Bench({"slots": 4, "max_agents": 10})
    bench.submit("slurm", count=9)
    bench.after(5)
    assert len(bench.asked()) == 3
    bench.after(60)
    assert bench.asked() == []


def test_never_more_agents_than_the_most_and_those_a_person_asked_for_besides(bench):
    bench.submit("slurm", count=20)
    bench.after(30)
    assert len(bench.asked()) == 4
    bench.request(bench.user, "pilot-start", site="slurm", n=2)
    bench.after(30)
    assert len(bench.asked()) == 2


def test_a_job_without_a_site_waits_a_little_for_the_agents_there_are(bench):
    agent = bench.agent("n1", slots=1)
    bench.submit(count=2)
    bench.after(4)
    assert bench.asked() == []
    bench.after(2)
    assert len(bench.asked()) == 1
    bench.gone(agent)


def test_a_job_that_nothing_here_could_run_asks_a_site_at_once(bench):
    bench.agent("n1", slots=1)
    bench.submit(n=2)
    assert [m["slots"] for m in bench.asked()] == [2]


def test_the_site_with_the_fewest_on_their_way_is_asked():
    bench = Bench({"name": "a"}, {"name": "b"})
    bench.submit("a", count=2)
    bench.after(2)
    bench.asked()
    bench.submit(count=3)
    bench.after(10)
    assert sorted(m["site"] for m in bench.asked()) == ["a", "b", "b"]
    bench.submit(n=3)
    assert [m["site"] for m in bench.asked()] == ["b"]


def test_members_of_a_group_are_spread_over_the_sites_they_name():
    bench = Bench({"name": "a"}, {"name": "b"})
    bench.submit("a", "b", size=4)
    assert sorted(m["site"] for m in bench.asked()) == ["a", "a", "b", "b"]


def test_a_group_that_no_site_can_hold_starts_nothing(bench):
    bench.submit("slurm", size=5)
    bench.after(60)
    assert bench.asked() == []


def test_a_pilot_is_long_and_large_enough_for_its_job(bench):
    bench.submit("slurm", walltime=7200, memory=1 << 30)
    (told,) = bench.asked()
    assert told["walltime"] >= 7200 + 60
    assert told["memory"] == 1 << 30
    bench.submit("slurm", walltime=100_000)
    bench.after(2)
    assert len(bench.asked()) == 1  # the one on its way is too short


def test_what_a_site_does_not_have_is_not_asked_of_it(bench):
    ad = {"cpus_per_node": 4, "walltime": 3600}
    bench.say(bench.sub, "site-ad", site="slurm", ad=ad, error="")
    big = bench.submit("slurm", n=5)
    bench.submit("slurm", walltime=7200)
    bench.after(10)
    assert bench.asked() == []
    assert "5 slots" in bench.why(big)[0]


def test_an_agent_that_is_free_or_soon_free_needs_no_pilot(bench):
    agent = bench.agent("n1", site="slurm", slots=1)
    bench.submit("slurm", walltime=100)
    (told,) = bench.got(agent, "start")
    bench.started(agent, told["job"])
    bench.after(50)  # it is over in 50 s
    bench.submit("slurm")
    bench.after(5)
    assert bench.asked() == []


def test_a_pilot_that_nobody_waits_for_any_more_is_canceled_but_not_at_the_first_doubt(bench):
    job = bench.submit("slurm")
    (told,) = bench.asked()
    bench.request(bench.user, "cancel", job=job)
    bench.after(10)
    assert bench.canceled() == []
    bench.submit("slurm")  # somebody else has use for it
    bench.after(20)
    assert bench.asked() == [] == bench.canceled()
    bench.request(bench.user, "cancel", job=str(int(job) + 1))
    bench.after(20)
    assert bench.canceled() == [told["pilot"]]


def test_what_a_person_asked_for_stays_in_the_queue_and_ends_after_its_idle_time():
    bench = Bench({"idle": 100})
    (pilot,) = bench.request(bench.user, "pilot-start", site="slurm")["pilots"]
    bench.after(300)
    assert bench.canceled() == []
    agent = bench.came(pilot)
    bench.after(99)
    assert bench.got(agent, "stop") == []
    bench.after(3)
    assert len(bench.got(agent, "stop")) == 1


def test_an_agent_that_works_is_not_idle_and_its_time_begins_when_it_is_done():
    bench = Bench({"idle": 100})
    job = bench.submit("slurm")
    agent = bench.came(bench.asked()[0]["pilot"])
    bench.started(agent, job)
    bench.after(500)
    bench.ended(agent, job)
    bench.after(99)
    assert bench.got(agent, "stop") == []
    bench.after(3)
    assert bench.got(agent, "stop")


def test_an_opening_ahead_of_use_keeps_no_agent_from_its_end():
    bench = Bench({"idle": 100})
    (pilot,) = bench.request(bench.user, "pilot-start", site="slurm")["pilots"]
    agent = bench.came(pilot)
    assert bench.open(A, warm=True) == ("pair", f"{pilot}.0")
    bench.after(105)
    assert bench.got(agent, "stop")


def test_of_a_pilot_with_several_nodes_all_end_or_none():
    bench = Bench({"idle": 100, "nodes": 2})
    (pilot,) = bench.request(bench.user, "pilot-start", site="slurm")["pilots"]
    first, second = bench.came(pilot, 0, slots=1), bench.came(pilot, 1, slots=1)
    job = bench.submit("slurm")
    busy, free = (first, second) if bench.got(first, "start") else (second, first)
    bench.started(busy, job)
    bench.after(200)
    assert bench.got(free, "stop") == []
    bench.ended(busy, job)
    bench.after(105)
    assert bench.got(free, "stop")
    assert bench.got(busy, "stop")


def test_so_many_agents_wait_whatever_there_is_to_do():
    bench = Bench({"min_waiting": 2, "idle": 50})
    bench.after(2)
    first, second = [bench.came(m["pilot"], slots=1) for m in bench.asked()]
    bench.after(200)
    assert bench.got(first, "stop") == bench.got(second, "stop") == bench.asked() == []
    bench.submit("slurm")
    bench.after(2)
    assert len(bench.asked()) == 1


def test_an_agent_that_does_not_suit_teaches_not_to_ask_again(bench):
    bench.submit("slurm", n=4)
    (told,) = bench.asked()
    bench.came(told["pilot"], slots=2)
    bench.after(600)
    assert bench.asked() == []
    bench.after(autoscale.EVERY_S + 3100)
    assert len(bench.asked()) == 1


def test_after_a_restart_nothing_is_asked_for_that_is_about_to_be_back(bench):
    job = bench.submit("slurm")
    (told,) = bench.asked()
    bench.report(told["pilot"], "running", lrms_id="1")
    agent = bench.came(told["pilot"], slots=1, boot="b1")
    bench.started(agent, job)
    bench.submit("slurm", walltime=50)
    bench.after(2)
    (second,) = bench.asked()
    bench.report(second["pilot"], "queued", lrms_id="2")
    bench.restart()
    bench.sub = bench.client()
    there = [told["pilot"], second["pilot"]]
    bench.request(bench.sub, "submitter", submitter="s", host="fe", sites=["slurm"], pilots=there)
    bench.after(30)
    assert bench.asked() == [] == bench.canceled()


def test_an_agent_that_will_be_back_after_a_restart_still_counts_as_waiting():
    bench = Bench({"min_waiting": 1})
    bench.after(1)
    (told,) = bench.asked()
    bench.report(told["pilot"], "running", lrms_id="1")
    bench.came(told["pilot"])
    bench.restart()
    bench.sub = bench.client()
    bench.request(bench.sub, "submitter", host="fe", sites=["slurm"], pilots=[told["pilot"]])
    bench.after(30)
    assert bench.asked() == []


def test_an_agent_stays_for_a_group_whose_other_agent_is_on_its_way():
    bench = Bench({"idle": 50})
    (pilot,) = bench.request(bench.user, "pilot-start", site="slurm")["pilots"]
    agent = bench.came(pilot, slots=1)
    bench.after(10)
    bench.submit("slurm", size=2)
    bench.after(100)
    assert bench.got(agent, "stop") == []


def test_pilots_are_not_given_up_because_there_is_too_much_to_look_at(monkeypatch):
    bench = Bench({"max_agents": 20})
    bench.submit("slurm", count=20)
    bench.after(3)
    assert len(bench.asked()) == 20
    monkeypatch.setattr(autoscale, "LOOKED", 3)
    bench.after(60)
    assert bench.canceled() == []


def test_ten_thousand_waiting_jobs_are_planned_for_in_a_moment():
    bench = Bench({"max_agents": 200}, autoscale_after_s=0.0)
    books = bench.core.books
    for number in range(1, 10_001):
        wants = Wants(site=("slurm",) if number % 2 else (), walltime=number % 7 * 100)
        job = Job(number, "alice", bench.now, [Member()], JobState.QUEUED, wants=wants, spec={})
        books.add_job(job)
        books.queues.setdefault("alice", {})[number] = None
    for _ in range(4):
        autoscale.perform(books, "alice", autoscale.plan(books, "alice", bench.now))
    assert len(books.pilots) == 200
    best = 1.0
    for _ in range(10):  # the machine may be busy with others
        begin = time.thread_time()
        assert not [s for s in autoscale.plan(books, "alice", bench.now)
                    if isinstance(s, autoscale.Start | autoscale.Cancel)]  # fmt: skip
        best = min(best, time.thread_time() - begin)
    assert best < 0.1, "seconds for one plan"


# --------------------------------------------------------------------------------- what one is told


def test_who_waits_for_a_pilot_is_told_how_far_it_is(bench):
    job = bench.submit("slurm")
    (told,) = bench.asked()
    pilot, at = told["pilot"], 1_000_330.0
    assert bench.why(job) == (f"pilot {pilot} is being submitted to slurm", None)
    bench.report(pilot, "queued", position=1, reason="Resources", start_at=at)
    text = f"pilot {pilot} is 2nd in slurm's queue short (Resources), expected 13:52:10 UTC"
    assert bench.why(job) == (text, at)
    bench.report(pilot, "running", nodes=["node3"])
    text = f"pilot {pilot} of slurm has begun on node3; its agent is on its way"
    assert bench.why(job) == (text, None)


def test_who_waits_for_a_site_that_cannot_is_told_why_and_what_to_type(bench):
    job = bench.submit("slurm")
    for _ in range(3):
        (told,) = bench.asked()
        bench.report(told["pilot"], "failed", reason="Invalid account")
        site = bench.core.books.sites["alice"]["slurm"]
        if not site.paused:
            assert "it is asked again at" in bench.why(job)[0]
            bench.after(site.retry_at - bench.now + 2)
    text = "site slurm is paused after 3 failures: Invalid account; gshell site resume slurm"
    assert bench.why(job) == (text, None)


def test_who_waits_for_an_absent_submitter_is_told_where_it_was(bench):
    bench.gone(bench.sub)
    job = bench.submit("slurm")
    text = "the submitter of slurm on host fe is away; gshell sites"
    assert bench.why(job) == (text, None)


def test_who_waits_for_a_site_that_is_not_there_is_told_so(bench):
    assert "no site nowhere of yours" in bench.why(bench.submit("nowhere"))[0]


def test_a_full_site_says_that_it_is_full():
    bench = Bench({"max_agents": 1})
    job = bench.submit("slurm")
    bench.started(bench.came(bench.asked()[0]["pilot"], slots=1), job)
    waits = bench.submit("slurm")
    bench.after(5)
    assert bench.why(waits) == ("site slurm has its 1 agents, all busy", None)


def test_a_client_that_waits_hears_of_its_pilot(bench):
    assert bench.open(A, site=["slurm"]) == ("no", "queued")
    bench.request_held(bench.user, "await", att=A)
    (told,) = bench.asked()
    bench.report(told["pilot"], "queued", position=0)
    bench.after(2)
    whys = [m["why"] for m in bench.got(bench.user, "queue")]
    assert whys[-1] == f"pilot {told['pilot']} is 1st in slurm's queue short"
