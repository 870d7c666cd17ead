"""What the archive is asked for, what is remembered of its answers, and who is let in where."""

import pytest

from kit.broker import BrokerBench, session

A, B = "a" * 32, "b" * 32
ARCHIVE = "@archive"


class Bench(BrokerBench):
    def archive(self, boot="r1", steps=()):
        conn = self.agent(ARCHIVE, user=ARCHIVE, slots=0, boot=boot)
        self.say(conn, "have", first=True, last=True, steps=[list(step) for step in steps])
        return conn

    def ended_job(self, agent="n1", att=A, archive=True, **how):
        """One that has run and ended there: (agent's connection, job)."""
        conn = self.agent(agent, **how)
        self.open(att)
        job = self.got(conn, "expect")[0]["job"]
        self.started(conn, job, att=att, archive=archive)
        self.ended(conn, job, code=3, archive=archive)
        return conn, job

    def archived(self, archive, job, index=0):
        self.say(archive, "archived", job=job, index=index, bytes=5)


@pytest.fixture
def bench():
    return Bench(archive="on-exit")


def test_a_step_that_ended_is_fetched_and_then_shown_from_the_archive(bench):
    archive = bench.archive()
    agent, job = bench.ended_job()
    (order,) = bench.got(archive, "fetch")
    assert (order["job"], order["index"], order["owner"]) == (job, 0, "alice")
    assert not order["live"]
    assert bench.verdict(bench.ask(B, "attach", job=job)) == ("pair", "n1")  # not there yet
    bench.archived(archive, job)
    assert bench.got(agent, "archived") == [{"m": "archived", "job": job, "index": 0}]
    assert bench.job(job)["archived"]
    assert bench.verdict(bench.ask("c" * 32, "attach", job=job, rights="rw")) == ("pair", ARCHIVE)
    (expect,) = bench.got(archive, "expect")
    assert (expect["user"], expect["owner"], expect["rights"]) == ("alice", "alice", "r")


def test_only_steps_that_their_agents_say_are_for_it_are_fetched(bench):
    archive = bench.archive()
    bench.ended_job(archive=False)
    assert bench.got(archive, "fetch") == []


def test_off_means_that_nothing_is_fetched_and_agents_are_told():
    bench = Bench()
    archive = bench.archive()
    agent, _ = bench.ended_job()
    assert bench.got(agent, "welcome")[0]["archive"] == "off"
    assert bench.got(archive, "fetch") == []


def test_live_means_from_its_start(bench):
    bench = Bench(archive="live")
    archive = bench.archive()
    agent, _ = bench.running(A)
    assert bench.got(archive, "fetch") == []  # it is not for the archive
    bench.open(B)
    second = bench.got(agent, "expect")[-1]["job"]
    bench.started(agent, second, att=B, archive=True)
    assert [(o["job"], o["live"]) for o in bench.got(archive, "fetch")] == [(second, True)]
    bench.ended(agent, second, archive=True)
    assert [(o["job"], o["live"]) for o in bench.got(archive, "fetch")] == [(second, False)]


def test_the_archive_looks_on_where_it_may_and_nobody_runs_anything_in_its_name(bench):
    bench.archive()
    agent, job = bench.ended_job()
    bench.got(agent, "expect")
    assert bench.verdict(bench.ask(B, "attach", ARCHIVE, job=job, rights="rw")) == ("pair", "n1")
    (expect,) = bench.got(agent, "expect")
    assert (expect["user"], expect["owner"], expect["rights"]) == (ARCHIVE, "alice", "r")
    assert bench.verdict(bench.ask("c" * 32, "open", ARCHIVE)) == ("no", "denied")
    _, private = bench.ended_job("n2", "d" * 32, archive=False)
    assert bench.verdict(bench.ask("e" * 32, "attach", ARCHIVE, job=private)) == ("no", "none")
    assert bench.verdict(bench.ask("f" * 32, "attach", "mallory", job=job)) == ("no", "none")


def test_after_a_restart_of_the_broker_what_is_missing_is_fetched_again(bench):
    archive = bench.archive()
    _, done = bench.ended_job()
    bench.archived(archive, done)
    _, open_job = bench.ended_job("n2", B)
    bench.restart()
    archive = bench.archive(steps=[(int(done), 0, 5)])
    assert bench.got(archive, "fetch") == []  # its agent is away
    bench.agent("n2", boot="b1")
    assert [order["job"] for order in bench.got(archive, "fetch")] == [open_job]
    assert bench.verdict(bench.ask("c" * 32, "attach", job=done)) == ("pair", ARCHIVE)


def test_an_archive_that_comes_later_is_told_of_all_that_waits(bench):
    _, job = bench.ended_job()
    assert [order["job"] for order in bench.got(bench.archive(), "fetch")] == [job]


def test_what_the_archive_lost_is_not_promised_and_what_it_has_unknown_to_us_goes(bench):
    archive = bench.archive()
    agent, job = bench.ended_job()
    bench.archived(archive, job)
    bench.gone(archive)
    archive = bench.archive(boot="r2", steps=[(999, 0, 7)])
    assert bench.got(archive, "drop") == [{"m": "drop", "job": "999", "index": 0}]
    assert not bench.job(job)["archived"]
    assert bench.verdict(bench.ask(B, "attach", job=job)) == ("pair", "n1")
    bench.say(agent, "bye")
    bench.gone(agent)
    assert bench.verdict(bench.ask("c" * 32, "attach", job=job)) == ("no", "gone")
    why = bench.request(bench.client(), "whynot", att="c" * 32)
    assert why["code"] == "gone"
    assert "lost" in why["message"]


@pytest.mark.parametrize(("how", "why"), [("bye", "ended before"), ("reborn", "died before")])
def test_what_goes_with_its_agent_is_said(bench, how, why):
    archive = bench.archive()
    agent, job = bench.ended_job()
    if how == "bye":
        bench.say(agent, "bye")
    bench.gone(agent)
    if how == "reborn":
        bench.agent("n1", boot="b2")
        bench.gone(bench.agent("n1", boot="b2"))
        bench.after(700)
    assert bench.got(archive, "drop") == [{"m": "drop", "job": job, "index": 0}]
    assert bench.verdict(bench.ask(B, "attach", job=job)) == ("no", "gone")
    assert why in bench.request(bench.client(), "whynot", att=B)["message"]


def test_an_agent_that_leaves_makes_it_hurry(bench):
    archive = bench.archive()
    agent, job = bench.ended_job()
    bench.got(archive, "fetch")
    bench.say(agent, "leaving")
    assert [(o["job"], o["hurry"]) for o in bench.got(archive, "fetch")] == [(job, True)]


def test_nothing_is_forgotten_that_the_archive_has(bench):
    bench = Bench(archive="on-exit", jobs_kept=2, archived_kept=5)
    archive = bench.archive()
    agent, kept = bench.ended_job()
    bench.archived(archive, kept)
    for number in range(4):
        bench.open(f"{number}" * 32)
        job = bench.got(agent, "expect")[-1]["job"]
        bench.started(agent, job, att=f"{number}" * 32)
        bench.ended(agent, job)
    assert kept in bench.jobs()
    assert len(bench.jobs()) == 3
    bench.say(archive, "expired", job=kept, index=0, why="the archive was full")
    assert len(bench.jobs()) == 2


def test_of_the_archived_so_many_are_kept_and_the_archive_forgets_the_others_too(bench):
    bench = Bench(archive="on-exit", archived_kept=1)
    archive = bench.archive()
    _, first = bench.ended_job()
    bench.archived(archive, first)
    _, second = bench.ended_job("n2", B)
    assert bench.got(archive, "drop") == [{"m": "drop", "job": first, "index": 0}]
    assert list(bench.jobs()) == [second]


def test_forget_deletes_it_everywhere(bench):
    archive = bench.archive()
    agent, job = bench.ended_job()
    bench.archived(archive, job)
    assert bench.request(bench.client(), "forget", job=job)["ok"]
    assert bench.got(archive, "drop") == [{"m": "drop", "job": job, "index": 0}]
    assert bench.got(agent, "forget") == [{"m": "forget", "job": job}]
    assert bench.jobs() == {}
    assert bench.journal["job"] == {}
    bench.archived(archive, job)  # it was on its way
    assert bench.got(archive, "drop") == [{"m": "drop", "job": job, "index": 0}]


def test_what_runs_is_not_forgotten(bench):
    _, job = bench.running(A)
    assert bench.request(bench.client(), "forget", job=job)["code"] == "lives"
    assert job in bench.jobs()


def test_who_looks_on_stays_with_the_agent_while_that_is_there(bench):
    archive = bench.archive()
    agent, job = bench.running(B)
    watching = "c" * 32
    assert bench.verdict(bench.ask(watching, "attach", job=job)) == ("pair", "n1")
    bench.ended(agent, job, archive=True)
    bench.archived(archive, job)
    assert bench.verdict(bench.ask(watching, "resume", job=job)) == ("pair", "n1")
    bench.gone(agent)
    assert bench.verdict(bench.ask(watching, "resume", job=job)) == ("pair", ARCHIVE)


def test_the_archive_speaks_of_no_steps_as_an_agent_would(bench):
    archive = bench.archive()
    bench.say(archive, "started", job="77", index=0, tasks=1, at=bench.now)
    bench.say(archive, "ended", job="77", index=0, code=0, at=bench.now)
    assert bench.jobs(ARCHIVE) == {}
    assert 77 not in bench.core.books.jobs


def test_the_archive_s_attachments_are_not_taken_for_the_owner_s(bench):
    bench.archive()
    atts = [{"att": B, "user": ARCHIVE, "rights": "r", "live": True}]
    bench.agent(sessions=[session(5, atts=atts)])
    assert bench.job(5)["watchers"] == 0
    assert B not in bench.core.books.atts
