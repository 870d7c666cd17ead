"""What a submitter decides, told as a story: messages and answers in, what is to be done out."""

import pytest

from gshell.lrms.base import Queue, State, Status
from gshell.submitter import actions, core
from gshell.submitter.actions import Do, Save, Say
from gshell.submitter.core import Core
from gshell.submitter.pilot import Pilot
from gshell.submitter.site import Site, read

SITE = Site("alpha", "slurm", walltime=600, idle=60)
ASKED = {"m": "pilot-submit", "pilot": "p1", "site": "alpha", "nodes": 2}


class Bench:
    """A core, and a clock that only this test moves."""

    def __init__(self, pilots=None, reliable=True, sites=(SITE,)):
        self.now = 100.0
        self.core = Core({site.name: site for site in sites}, pilots or {}, reliable, self.now)

    def told(self, **message):
        return self.core.on_message(message, self.now)

    def came(self, work, result):
        return self.core.on_result(SITE, work, result, self.now)

    def wait(self, seconds):
        self.now += seconds
        return self.core.tick(self.now)

    def submitted(self, job="77"):
        """The pilot p1, as far as the batch system's queue."""
        self.told(**ASKED)
        self.core.on_invite("p1", "gshell://r:1/00#t", "", self.now)
        return self.came(
            actions.Submit(self.core.pilots["p1"], False), actions.Submitted("p1", job)
        )

    def polled(self, state, reason="", words="", **more):
        status = Status("77", state, reason, **more)
        return self.came(actions.Poll({"p1": "77"}), actions.Polled({"p1": status}, {"p1": words}))


@pytest.fixture
def bench():
    bench = Bench()
    bench.core.tick(bench.now)  # the first look at the site
    return bench


def works(actions, kind):
    return [a.work for a in actions if isinstance(a, Do) and isinstance(a.work, kind)]


def reports(actions):
    return [a.message for a in actions if isinstance(a, Say) and a.message["m"] == "pilot"]


def test_a_pilot_is_written_down_before_the_batch_system_is_asked(bench):
    first = bench.told(**ASKED)
    assert [type(a) for a in first] == [Save, actions.AskInvite]
    then = bench.core.on_invite("p1", "gshell://r:1/00#t", "", bench.now)
    assert isinstance(then[0], Save)
    assert works(then, actions.Submit)[0].look_first is False
    assert bench.core.pilots["p1"].dump()["state"] == "submitting"


def test_an_order_that_is_repeated_submits_nothing_twice(bench):
    bench.submitted()
    again = bench.told(**ASKED)
    assert works(again, actions.Submit) == []
    assert reports(again)[0]["lrms_id"] == "77"


def test_after_a_crash_in_the_middle_the_batch_job_is_looked_for_by_its_name(bench):
    bench.told(**ASKED)
    bench.core.on_invite("p1", "gshell://r:1/00#t", "", bench.now)
    kept = Pilot.load(bench.core.pilots["p1"].dump())
    after = Bench({"p1": kept})
    submit = works(after.core.on_start(after.now), actions.Submit)
    assert [work.look_first for work in submit] == [True]
    assert submit[0].pilot.invite == "gshell://r:1/00#t"


def test_news_of_a_pilot_is_reported_and_no_news_is_not(bench):
    bench.submitted()
    told = reports(bench.polled(State.QUEUED, "Resources", position=1, start_at=500.0))
    assert [(r["state"], r["reason"], r["position"], r["start_at"]) for r in told] == [
        ("queued", "Resources", 1, 500.0)
    ]
    assert reports(bench.polled(State.QUEUED, "Resources", position=1, start_at=500.0)) == []
    assert reports(bench.polled(State.RUNNING, hosts=("n1", "n2")))[0]["nodes"] == ["n1", "n2"]


def test_a_state_that_nobody_knows_changes_nothing(bench):
    bench.submitted()
    bench.polled(State.RUNNING)
    assert reports(bench.polled(State.UNKNOWN)) == []
    assert bench.core.pilots["p1"].state == "running"


def test_the_end_is_said_until_the_relay_knows_it_and_then_cleared_away(bench):
    bench.submitted()
    said = reports(
        bench.polled(State.ENDED, "FAILED", "noise\ngshell pilot: no python3 >= 3.9 on n1\n")
    )
    assert said[0]["reason"] == "FAILED; gshell pilot: no python3 >= 3.9 on n1"
    assert reports(bench.wait(1.0)) == []
    assert reports(bench.wait(core.AGAIN_S))[0]["state"] == "ended"
    cleared = bench.told(m="pilot-ok", pilot="p1")
    assert works(cleared, actions.Clear) == [actions.Clear("p1")]
    assert bench.core.pilots == {}


def test_the_batch_system_is_asked_often_while_something_changes_and_never_without_pilots(bench):
    assert works(bench.wait(1000.0), actions.Poll) == []
    bench.submitted()
    bench.polled(State.QUEUED)  # the first one follows at once
    gaps, last = [], bench.now
    for _ in range(200):
        if works(bench.wait(0.25), actions.Poll):
            gaps.append(bench.now - last)
            last = bench.now
            bench.polled(State.QUEUED)
    assert gaps[0] <= 1.25
    assert gaps[-1] >= 9.0
    assert bench.core.next_at(bench.now) <= bench.now + core.POLL_MOST_S
    bench.polled(State.RUNNING)
    assert bench.core.next_at(bench.now) <= bench.now + core.POLL_FIRST_S


def test_one_poll_is_under_way_at_a_time(bench):
    assert len(works(bench.submitted(), actions.Poll)) == 1
    assert works(bench.wait(60.0), actions.Poll) == []  # a front end that hangs is not asked again


def test_a_pilot_canceled_while_it_is_being_submitted_is_canceled_then(bench):
    bench.told(**ASKED)
    bench.core.on_invite("p1", "i", "", bench.now)
    assert works(bench.told(m="pilot-cancel", pilot="p1"), actions.Cancel) == []
    after = bench.came(
        actions.Submit(bench.core.pilots["p1"], False), actions.Submitted("p1", "77")
    )
    assert works(after, actions.Cancel) == [actions.Cancel({"p1": "77"})]


def test_a_canceled_pilot_that_is_gone_was_canceled(bench):
    bench.submitted()
    bench.told(m="pilot-cancel", pilot="p1")
    assert reports(bench.polled(State.ENDED, "gone"))[0]["reason"] == "canceled"


def test_what_nobody_knows_has_ended_if_the_book_is_whole(bench):
    assert reports(bench.told(m="pilot-cancel", pilot="p9"))[0]["state"] == "ended"


def test_without_the_book_a_pilot_to_end_is_hunted_by_its_own_name_only():
    bench = Bench(reliable=False)
    assert works(bench.told(m="pilot-cancel", pilot="p9"), actions.Hunt) == [actions.Hunt("p9")]
    found = bench.came(actions.Hunt("p9"), actions.Hunted("p9", "55"))
    assert works(found, actions.Cancel) == [actions.Cancel({"p9": "55"})]


def test_a_refusal_is_final_only_if_the_site_would_refuse_again(bench):
    bench.told(**ASKED)
    bench.core.on_invite("p1", "i", "", bench.now)
    work = actions.Submit(bench.core.pilots["p1"], False)
    said = reports(bench.came(work, actions.Refused("p1", "Invalid account", True)))
    assert (said[0]["state"], said[0]["final"], said[0]["reason"]) == (
        "failed",
        True,
        "Invalid account",
    )


def test_a_site_that_cannot_be_reached_keeps_its_pilots_and_says_so_once(bench):
    bench.submitted()
    first = bench.came(actions.Poll({"p1": "77"}), actions.Lost("cannot reach fe"))
    ads = [a.message for a in first if isinstance(a, Say) and a.message["m"] == "site-ad"]
    assert [ad["error"] for ad in ads] == ["cannot reach fe"]
    bench.wait(20.0)
    again = bench.came(actions.Poll({"p1": "77"}), actions.Lost("cannot reach fe"))
    assert [a for a in again if isinstance(a, Say)] == []
    assert bench.core.pilots["p1"].state == "submitted"


def test_a_pilot_that_could_not_be_brought_to_its_site_has_failed_for_now(bench):
    bench.told(**ASKED)
    bench.core.on_invite("p1", "i", "", bench.now)
    work = actions.Submit(bench.core.pilots["p1"], False)
    said = reports(bench.came(work, actions.Lost("fe does not answer")))
    assert (said[0]["state"], said[0]["final"]) == ("failed", False)


def test_a_site_unknown_here_is_asked_for_and_nothing_is_said(bench):
    assert bench.told(**{**ASKED, "site": "beta"}) == [actions.AskSites()]


def test_it_ends_with_its_last_site_but_not_before_its_last_pilot(bench):
    bench.submitted()
    bench.core.on_sites({}, bench.now)
    assert not bench.core.finished
    bench.polled(State.ENDED)
    bench.told(m="pilot-ok", pilot="p1")
    assert bench.core.finished


def test_another_submitter_on_this_host_ends_it(bench):
    bench.told(m="superseded")
    assert bench.core.finished


def test_the_relay_tells_of_sites_that_come_and_go(bench):
    bench.told(m="site", site={"name": "beta", "lrms": "oar"})
    assert set(bench.core.sites) == {"alpha", "beta"}
    bench.told(m="site", site={"name": "alpha", "lrms": "slurm"}, gone=True)
    assert set(bench.core.sites) == {"beta"}


def test_queues_that_share_nodes_are_not_added_up():
    queues = [Queue("short", cpus=8, cpus_free=8), Queue("main", cpus=8, cpus_free=3, default=True)]
    assert core.advertisement(SITE, queues)["free"] == 3
    assert core.advertisement(SITE._replace(queue="short"), queues)["free"] == 8


def test_a_hello_names_the_pilots_that_have_not_ended(bench):
    bench.submitted()
    assert bench.core.hello("fe-1", "fe")["pilots"] == ["p1"]
    bench.polled(State.ENDED)
    assert bench.core.hello("fe-1", "fe")["pilots"] == []


def test_a_site_survives_its_message_and_nonsense_does_not():
    assert read(SITE.message()) == SITE
    for bad in (
        {},
        {"name": "a/b", "lrms": "x"},
        {"name": "a"},
        {"name": "a", "lrms": "x", "nodes": -1},
    ):
        with pytest.raises(core.UsageError):
            read(bad)


def test_it_looks_soon_at_a_pilot_whose_agent_has_gone(bench):
    bench.submitted()
    bench.polled(State.RUNNING)
    for _ in range(8):  # at leisure by now
        bench.wait(20)
        bench.polled(State.RUNNING)
    assert works(bench.wait(2), actions.Poll) == []
    bench.told(m="pilot-look", pilot="p1")
    bench.told(m="pilot-look", pilot="p9")  # never heard of it
    assert works(bench.wait(core.POLL_FIRST_S), actions.Poll) == [actions.Poll({"p1": "77"})]


def test_a_batch_system_that_forgets_its_jobs_is_quoted_in_words(bench):
    bench.submitted()
    (said,) = reports(bench.polled(State.ENDED, "gone"))
    assert said["reason"] == "its batch job 77 is gone"
