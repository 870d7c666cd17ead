"""Sites, their submitters and their pilots, as the broker has them."""

import pytest

from kit.broker import BrokerBench

A = "a" * 32
SITE = {"name": "slurm", "lrms": "slurm", "queue": "short", "max_agents": 4}


@pytest.fixture
def bench():
    return BrokerBench()


def submitter(bench, *pilots, host="fe", id="s1", sites=(SITE,), user="alice"):
    conn = bench.client(user)
    answer = bench.request(
        conn, "submitter", submitter=id, host=host, sites=list(sites), pilots=list(pilots)
    )
    assert answer["ok"], answer
    return conn


def started(bench, client=None, **fields):
    answer = bench.request(client or bench.client(), "pilot-start", site="slurm", **fields)
    assert answer["ok"], answer
    return answer["pilots"]


def report(bench, conn, pilot, state, **fields):
    bench.say(conn, "pilot", pilot=pilot, site="slurm", state=state, **fields)


def one(bench, pilot, user="alice"):
    answer = bench.request(bench.client(user), "pilots", all=True)
    return {p["pilot"]: p for p in answer["pilots"]}[pilot]


def of_pilot(bench, pilot, node=0, user="alice", **facts):
    """An agent that says it is of this pilot."""
    facts = {"pilot": pilot, "node": node, "site": "slurm", **facts}
    return bench.agent(f"{pilot}.{node}", user, **facts)


def test_a_pilot_goes_to_its_sites_submitter_and_its_agent_is_known_as_its_own(bench):
    conn = submitter(bench)
    (pilot,) = started(bench, nodes=2)
    (told,) = bench.got(conn, "pilot-submit")
    assert (told["pilot"], told["nodes"], told["queue"]) == (pilot, 2, "short")
    assert told["name"] == f"gshell-{pilot}"
    report(bench, conn, pilot, "queued", lrms_id="41", position=2, reason="Resources")
    assert (one(bench, pilot)["lrms_id"], one(bench, pilot)["position"]) == ("41", 2)
    of_pilot(bench, pilot, 1, lrms_id="41")
    assert (one(bench, pilot)["state"], one(bench, pilot)["agents"]) == ("running", [f"{pilot}.1"])
    assert bench.agents()[f"{pilot}.1"]["site"] == "slurm"


def test_a_pilot_is_in_the_journal_in_the_round_in_which_it_is_told(bench):
    conn = submitter(bench)
    (pilot,) = started(bench)
    assert bench.journal["batch"][pilot]["state"] == "asked"
    assert bench.journal["meta"]["next_pilot"] == {"value": 2}
    assert bench.got(conn, "pilot-submit")


def test_everything_comes_back_from_the_journal(bench):
    conn = submitter(bench)
    first, second = started(bench, n=2)
    report(bench, conn, first, "queued", lrms_id="1")
    before = bench.core.books
    bench.restart()
    after = bench.core.books
    assert {p.id: p.record() for p in after.pilots.values()} == {
        p.id: p.record() for p in before.pilots.values()
    }
    assert after.sites["alice"]["slurm"].record() == before.sites["alice"]["slurm"].record()
    assert (list(after.owed), after.next_pilot) == ([second], before.next_pilot)


# ------------------------------------------------------------------------------ who knows of what


def test_what_was_not_answered_is_said_again_until_it_is(bench):
    conn = submitter(bench)
    (pilot,) = started(bench)
    bench.after(61)
    assert [m["pilot"] for m in bench.got(conn, "pilot-submit")] == [pilot] * 3
    report(bench, conn, pilot, "submitted", lrms_id="1")
    bench.after(61)
    assert bench.got(conn, "pilot-submit") == []
    bench.request(bench.client(), "pilot-cancel", pilot=pilot)
    bench.after(31)
    assert len(bench.got(conn, "pilot-cancel")) == 2
    report(bench, conn, pilot, "ended", reason="CANCELLED")
    assert [m["pilot"] for m in bench.got(conn, "pilot-ok")] == [pilot]
    bench.after(61)
    assert bench.got(conn, "pilot-cancel") == []
    assert (one(bench, pilot)["state"], one(bench, pilot)["reason"]) == ("ended", "CANCELLED")


def test_thirty_pilots_are_adopted_after_a_restart_none_leaked_none_doubled(bench):
    conn = submitter(bench)
    pilots = started(bench, n=30)
    for number, pilot in enumerate(pilots[:29]):  # the last one's word got lost
        report(bench, conn, pilot, "running" if number % 2 else "queued", lrms_id=str(number))
    bench.request(bench.client(), "pilot-cancel", pilot=pilots[3])
    bench.restart()
    known = [*pilots[:28], "p99zzz"]  # one has vanished without a word; one is of long ago
    conn = submitter(bench, *known)
    assert [m["pilot"] for m in bench.got(conn, "pilot-submit")] == [pilots[29]]
    canceled = sorted(m["pilot"] for m in bench.got(conn, "pilot-cancel"))
    assert canceled == sorted([pilots[3], pilots[28], "p99zzz"])
    states = {p: one(bench, p)["state"] for p in pilots}
    assert [p for p in pilots if states[p] == "ended"] == [pilots[28]]
    bench.after(120)
    live = bench.core.books.pilots_of["alice"]
    assert (len(bench.core.books.pilots), sorted(live)) == (30, sorted({*pilots} - {pilots[28]}))


def test_a_pilot_whose_submitter_forgot_it_lives_as_long_as_its_agent(bench):
    conn = submitter(bench)
    (pilot,) = started(bench)
    report(bench, conn, pilot, "running", lrms_id="1")
    agent = of_pilot(bench, pilot)
    bench.gone(conn)
    conn = submitter(bench)
    assert bench.got(conn, "pilot-cancel") == []
    assert one(bench, pilot)["state"] == "running"
    bench.gone(agent)
    bench.after(bench.settings.agent_grace_s + 2)
    assert one(bench, pilot)["state"] == "ended"


def test_a_pilot_the_relay_does_not_know_is_told_to_end(bench):
    conn = submitter(bench)
    report(bench, conn, "p77abc", "running")
    assert [m["pilot"] for m in bench.got(conn, "pilot-cancel")] == ["p77abc"]
    report(bench, conn, "p77abc", "ended")
    assert [m["pilot"] for m in bench.got(conn, "pilot-ok")] == ["p77abc"]


def test_a_submitter_of_another_user_says_nothing_of_my_pilots(bench):
    submitter(bench)
    (pilot,) = started(bench)
    theirs = submitter(bench, user="mallory", sites=())
    report(bench, theirs, pilot, "ended")
    assert one(bench, pilot)["state"] == "asked"
    assert not bench.request(bench.client(), "pilot", pilot=pilot, state="ended")["ok"]
    assert one(bench, pilot)["state"] == "asked"


def test_the_newest_submitter_of_a_host_wins_and_its_sites_are_reached_through_it(bench):
    old = submitter(bench)
    new = submitter(bench, id="s2")
    assert bench.got(old, "superseded")
    assert not bench.got(new, "superseded")
    started(bench)
    assert bench.got(new, "pilot-submit")
    assert not bench.got(old, "pilot-submit")
    bench.gone(old)
    assert sites_of(bench)["slurm"]["state"] == "ok"


def test_a_submitter_on_another_host_is_not_told_of_pilots_that_are_not_its_own(bench):
    conn = submitter(bench)
    started(bench)
    bench.gone(conn)
    other = submitter(bench, host="elsewhere", id="s2", sites=())
    bench.after(61)
    assert bench.got(other, "pilot-submit") == bench.got(other, "pilot-cancel") == []


# -------------------------------------------------------------------------------- agents of pilots


def test_an_agent_is_a_pilots_by_its_name_only(bench):
    submitter(bench)
    (pilot,) = started(bench)
    bench.agent("n1", pilot=pilot, node=0)
    bench.agent(f"{pilot}.1", "mallory", pilot=pilot, node=1)
    assert one(bench, pilot)["agents"] == []
    assert bench.agents()["n1"]["pilot"] == ""


def test_the_jobs_of_a_pilot_that_ended_are_over_at_once_and_say_why(bench):
    conn = submitter(bench)
    (pilot,) = started(bench)
    agent = of_pilot(bench, pilot)
    assert bench.open(A) == ("pair", f"{pilot}.0")
    bench.started(agent, bench.got(agent, "expect")[0]["job"], att=A)
    bench.gone(agent)
    report(bench, conn, pilot, "ended", reason="NODE_FAIL")
    assert bench.job(1)["error"] == f"pilot {pilot} of slurm ended: NODE_FAIL"
    assert bench.agents() == {}


def test_an_agent_that_outlives_its_pilots_end_is_lost_when_it_goes(bench):
    conn = submitter(bench)
    (pilot,) = started(bench)
    agent = of_pilot(bench, pilot)
    report(bench, conn, pilot, "ended", reason="TIMEOUT")
    assert list(bench.agents()) == [f"{pilot}.0"]
    bench.gone(agent)
    assert bench.agents() == {}


def test_no_job_goes_to_an_agent_that_ends_before_it(bench):
    bench.agent("n1", ends_at=bench.now + 300)
    assert bench.open(A, walltime=600) == ("no", "queued")
    assert bench.open("b" * 32, walltime=200) == ("pair", "n1")
    bench.agent("n2", ends_at=bench.now + 59)
    assert bench.open("c" * 32, agent="n2") == ("no", "queued")


def test_a_job_that_names_a_site_goes_to_its_agents_only(bench):
    bench.agent("n1")
    assert bench.open(A, site=["slurm"]) == ("no", "queued")
    bench.agent("n2", site="slurm")
    assert bench.open("b" * 32, site=["slurm"]) == ("pair", "n2")


# ---------------------------------------------------------------------------------- sites that fail


def sites_of(bench, user="alice"):
    return {s["name"]: s for s in bench.request(bench.client(user), "sites")["sites"]}


def refuse(bench, conn, **fields):
    """The next pilot that the site is asked for comes to nothing."""
    retry_at = bench.core.books.sites["alice"]["slurm"].retry_at
    bench.after(max(0.0, retry_at - bench.now) + 2)
    (told,) = bench.got(conn, "pilot-submit")
    fields = {"state": "ended", "reason": "QOSMaxSubmit", **fields}
    report(bench, conn, told["pilot"], **fields)


def test_a_site_that_fails_is_asked_ever_later_and_then_no_more(bench):
    conn = submitter(bench, sites=[{**SITE, "min_waiting": 1}])
    waits = []
    for state in ("backing-off", "backing-off", "paused"):
        refuse(bench, conn)
        assert sites_of(bench)["slurm"]["state"] == state
        waits.append(bench.core.books.sites["alice"]["slurm"].retry_at - bench.now)
    assert waits == [30, 60, 120]
    bench.after(5000)
    assert bench.got(conn, "pilot-submit") == []
    assert sites_of(bench)["slurm"]["paused"] == "after 3 failures: QOSMaxSubmit"
    bench.restart()
    conn = submitter(bench)
    assert sites_of(bench)["slurm"]["state"] == "paused"
    bench.request(bench.client(), "site-pause", site="slurm", on=False)
    bench.after(2)
    assert len(bench.got(conn, "pilot-submit")) == 1


def test_a_site_that_refuses_for_good_is_paused_at_once(bench):
    conn = submitter(bench, sites=[{**SITE, "min_waiting": 1}])
    refuse(bench, conn, state="failed", final=True, reason="Invalid account")
    assert sites_of(bench)["slurm"]["paused"] == "after a final refusal: Invalid account"


def test_pilots_of_one_attempt_that_fail_together_fail_once(bench):
    conn = submitter(bench)
    for pilot in started(bench, n=4):
        report(bench, conn, pilot, "failed", reason="no such partition")
    assert sites_of(bench)["slurm"]["failures"] == 1


def test_an_agent_that_comes_makes_good_for_what_failed_before(bench):
    conn = submitter(bench)
    first, second = started(bench, n=2)
    report(bench, conn, first, "failed", reason="once")
    assert sites_of(bench)["slurm"]["state"] == "backing-off"
    of_pilot(bench, second)
    assert (sites_of(bench)["slurm"]["state"], sites_of(bench)["slurm"]["error"]) == ("ok", "")


def test_a_pilot_that_runs_without_an_agent_is_ended_and_is_a_failure(bench):
    conn = submitter(bench)
    (pilot,) = started(bench)
    report(bench, conn, pilot, "running", lrms_id="1")
    bench.after(299)
    assert bench.got(conn, "pilot-cancel") == []
    bench.after(3)
    assert len(bench.got(conn, "pilot-cancel")) == 1
    report(bench, conn, pilot, "ended", reason="CANCELLED")
    assert "no agent of it came" in sites_of(bench)["slurm"]["error"]


# ------------------------------------------------------------------------------------ sites' verbs


def test_a_site_with_live_pilots_is_dropped_by_force_only_and_its_pilots_with_it(bench):
    conn, client = submitter(bench), bench.client()
    (pilot,) = started(bench)
    assert bench.request(client, "site-drop", site="slurm")["code"] == "busy"
    answer = bench.request(client, "site-drop", site="slurm", force=True)
    assert answer["canceled"] == [pilot]
    assert [m["pilot"] for m in bench.got(conn, "pilot-cancel")] == [pilot]
    assert bench.got(conn, "site")[-1]["gone"] is True
    assert sites_of(bench) == {}
    assert bench.journal["site"] == {}


def test_a_site_dropped_while_its_submitter_was_away_stays_dropped(bench):
    bench.gone(submitter(bench))
    assert bench.request(bench.client(), "site-drop", site="slurm")["ok"]
    bench.restart()
    conn = submitter(bench)
    assert (sites_of(bench), bench.got(conn, "site")[0]["gone"]) == ({}, True)
    assert bench.request(conn, "site-put", site=SITE)["ok"]
    bench.gone(conn)
    submitter(bench)
    assert list(sites_of(bench)) == ["slurm"]


def test_what_a_user_said_last_of_a_site_is_not_undone_by_a_submitter_that_comes_back(bench):
    bench.gone(submitter(bench))
    bench.request(bench.client(), "site-put", site={**SITE, "max_agents": 9, "inline": True})
    submitter(bench)
    assert sites_of(bench)["slurm"]["max_agents"] == 9
    assert sites_of(bench)["slurm"]["inline"] is True
    assert sites_of(bench)["slurm"]["submitter"] == "fe"


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": "a b"}, {"name": "x" * 65}, {"name": 3}, {"max_agents": -1},
        {"max_agents": 1.5}, {"min_waiting": 5}, {"nodes": 0}, {"walltime": float("nan")},
        {"extra": "-p x"}, {"extra": ["x"] * 65}, {"queue": "q" * 129}, {"junk": "x" * 9000},
    ],
)  # fmt: skip
def test_a_site_that_makes_no_sense_is_refused(bench, change):
    answer = bench.request(bench.client(), "site-put", site={**SITE, **change})
    assert (answer["ok"], answer["code"]) == (False, "usage")


def test_there_are_so_many_sites_and_pilots_and_no_more():
    bench = BrokerBench(sites_per_user=2, pilots_per_site=3, pilots_per_user=4, pilots_kept=2)
    client = bench.client()
    for name, code in (("a", True), ("b", True), ("c", False), ("a", True)):
        assert bench.request(client, "site-put", site={**SITE, "name": name})["ok"] is code
    conn = submitter(bench, sites=["a", "b"])
    assert bench.request(client, "pilot-start", site="a", n=4)["code"] == "full"
    made = bench.request(client, "pilot-start", site="a", n=3)["pilots"]
    assert bench.request(client, "pilot-start", site="b", n=2)["code"] == "full"
    for pilot in made:
        report(bench, conn, pilot, "ended")
    assert len(bench.core.books.pilots) == len(bench.journal["batch"]) == 2


def test_a_person_hears_at_once_why_no_pilot_can_be_had(bench):
    client = bench.client()
    bench.gone(submitter(bench))
    answer = bench.request(client, "pilot-start", site="slurm")
    assert (answer["code"], "on host fe is away" in answer["message"]) == ("away", True)
    submitter(bench)
    bench.request(client, "site-pause", site="slurm")
    assert bench.request(client, "pilot-start", site="slurm")["hint"] == "gshell site resume slurm"


def test_with_a_revoked_user_their_sites_and_pilots_go(bench):
    submitter(bench)
    started(bench)
    bench.revoke(whole=True)
    assert bench.core.books.sites["alice"] == {}
    assert not bench.core.books.pilots_of["alice"]
    assert bench.journal["site"] == {}


# ----------------------------------------------------------------- what runs on a pilot that ends


def of_a_running_pilot(bench, **wants):
    """A job of a pilot's agent: (submitter's connection, pilot, agent's connection, job)."""
    conn = submitter(bench)
    (pilot,) = started(bench)
    agent = of_pilot(bench, pilot)
    job = bench.submit(**wants)
    assert bench.work(agent) == [str(job)]
    bench.got(conn, "pilot-look")
    return conn, pilot, agent, job


def stopped(bench, agent, job):
    """The agent got its TERM, and ends what it runs."""
    bench.say(agent, "ended", job=str(job), index=0, code=143, signal=15, at=bench.now,
              error="the agent was stopped", started=True, stopped=True)  # fmt: skip
    bench.say(agent, "bye")
    bench.gone(agent)


def test_a_job_whose_pilot_is_canceled_by_the_batch_system_says_so_in_its_words(bench):
    conn, pilot, agent, job = of_a_running_pilot(bench)
    stopped(bench, agent, job)
    found = bench.job(job)
    why = f"pilot {pilot} of slurm ended: its agent was told to stop"
    assert (found["state"], found["error"]) == ("FAILED", why)
    report(bench, conn, pilot, "ended", reason="CANCELLED by 2001")
    assert bench.job(job)["error"] == f"pilot {pilot} of slurm ended: CANCELLED by 2001"
    assert bench.journal["job"][str(job)]["error"] == bench.job(job)["error"]


def test_a_job_that_runs_again_does_so_at_once_and_keeps_the_reason(bench):
    conn, pilot, agent, job = of_a_running_pilot(bench, retry=1)
    stopped(bench, agent, job)
    assert (bench.job(job)["state"], bench.job(job)["attempt"]) == ("QUEUED", 2)
    report(bench, conn, pilot, "ended", reason="PREEMPTED")
    assert bench.why(job)["text"].startswith(
        f"attempt 1 of 2: pilot {pilot} of slurm ended: PREEMPTED"
    )


def test_a_job_that_was_not_the_pilots_keeps_its_own_reason(bench):
    conn, pilot, agent, job = of_a_running_pilot(bench)
    bench.ended(agent, job, code=3)
    stopped(bench, agent, job)
    report(bench, conn, pilot, "ended", reason="CANCELLED by 2001")
    assert (bench.job(job)["code"], bench.job(job)["error"]) == (3, None)


def test_an_agent_that_goes_away_has_its_batch_job_looked_at(bench):
    conn, pilot, agent, job = of_a_running_pilot(bench)
    bench.gone(agent)
    assert [m["pilot"] for m in bench.got(conn, "pilot-look")] == [pilot]
    report(bench, conn, pilot, "ended", reason="its batch job 7 is gone")
    assert bench.job(job)["error"] == f"pilot {pilot} of slurm ended: its batch job 7 is gone"
    bench.after(61)
    assert bench.got(conn, "pilot-look") == []


def test_an_agent_that_we_told_to_stop_was_stopped_by_us(bench):
    conn, pilot, agent, job = of_a_running_pilot(bench)
    assert bench.request(bench.client(), "stop-agent", agent=f"{pilot}.0", force=True)["ok"]
    stopped(bench, agent, job)
    report(bench, conn, pilot, "ended", reason="COMPLETED")
    assert bench.job(job)["error"] == "the agent was stopped"
