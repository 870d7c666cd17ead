"""Withdrawn credentials: what hangs on them ends in the same round, and stays ended."""

import pytest

from kit.broker import BrokerBench, session
from relay.broker import events

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def bench():
    return BrokerBench()


def test_a_connection_with_a_withdrawn_key_is_told_and_closed(bench):
    mine, other = bench.client(cred="k1"), bench.client(cred="k2")
    bench.revoke("k1", why="lost laptop")
    assert bench.got(mine, "error") == [{"m": "error", "code": "revoked", "message": "lost laptop"}]
    assert bench.closed == {mine}
    assert bench.request(mine, "whoami") is None
    assert bench.request(other, "whoami")["ok"]


def test_the_error_is_sent_before_the_connection_is_closed(bench):
    mine = bench.client(cred="k1")
    actions = bench.feed(events.Revoked(frozenset(["k1"]), "alice", "why"))
    kinds = [type(a) for a in actions if getattr(a, "conn", None) == mine]
    assert kinds == [events.Send, events.Close]


def test_attachments_of_a_withdrawn_key_are_cut_and_their_agent_is_told(bench):
    agent, job = bench.running(A)
    bench.open(B, op="attach", job=job, rights="r", cred="k1")
    bench.open(C, op="attach", job=job, rights="r", cred="k2")
    bench.revoke("k1", why="lost")
    assert bench.cuts == [B]
    assert bench.got(agent, "revoke") == [{"m": "revoke", "atts": [B], "why": "lost"}]
    assert bench.job(job)["state"] == "ACTIVE"
    assert bench.open(B, op="resume", job=job, index=0) == ("no", "denied")
    assert bench.open(C, op="resume", job=job, index=0, cred="k2") == ("pair", "n1")


def test_a_job_that_runs_outlives_the_key_it_was_started_with(bench):
    bench.agent()
    assert bench.open(A, cred="k1") == ("pair", "n1")
    bench.started(next(iter(bench.inbox)), 1, att=A)
    bench.revoke("k1")
    assert bench.cuts == [A]
    assert bench.job(1)["state"] == "ACTIVE"
    assert bench.open(A, cred="k2") == ("no", "denied")


def test_an_opening_that_has_not_started_is_given_up(bench):
    assert bench.open(A, cred="k1") == ("no", "queued")
    bench.revoke("k1", why="lost")
    assert (bench.job(1)["state"], bench.job(1)["error"]) == ("CANCELED", "lost")
    agent = bench.agent()
    assert bench.open(A, cred="k1") == ("no", "denied")
    assert bench.got(agent, "expect") == []


def test_warm_openings_of_a_withdrawn_key_are_forgotten_and_cut(bench):
    agent = bench.agent()
    bench.open(A, cred="k1", warm=True)
    bench.revoke("k1")
    assert A in bench.cuts
    assert bench.got(agent, "revoke")[0]["atts"] == [A]
    assert bench.jobs() == {}
    assert bench.core.books.jobs == {}


def test_who_waits_for_a_group_hears_no_when_the_key_is_withdrawn(bench):
    bench.agent("n1"), bench.agent("n2")
    ask = bench.ask(A, cred="k1", group="g", size=2, index=0)
    assert bench.verdict(ask) is None
    bench.revoke("k1")
    assert bench.verdict(ask)[0] == "no"


def test_an_agent_whose_key_is_withdrawn_is_gone_and_so_is_what_it_ran(bench):
    agent, job = bench.running(A, cred="n1-key")
    bench.open(B, op="attach", job=job, rights="r")
    watcher = bench.client()
    held = bench.request_held(watcher, "wait", job=job)
    bench.revoke("n1-key", why="stolen node")
    assert bench.got(agent, "error")[0]["code"] == "revoked"
    assert agent in bench.closed
    assert sorted(bench.cuts) == [A, B]
    assert (bench.job(job)["state"], bench.job(job)["error"]) == ("FAILED", "stolen node")
    assert bench.answer(watcher, held)["job"]["state"] == "FAILED"
    assert bench.agents() == {}
    assert bench.journal["agent"] == {}
    bench.gone(agent)  # its door says so, too


def test_an_agent_that_is_away_is_hit_as_well(bench):
    agent, job = bench.running(A, cred="n1-key")
    bench.gone(agent)
    bench.revoke("n1-key", why="stolen")
    assert bench.job(job)["error"] == "stolen"


def test_an_agent_that_is_away_is_hit_after_a_restart_of_the_broker(bench):
    _, job = bench.running(A, cred="n1-key")
    bench.restart()
    bench.revoke("n1-key", why="stolen")
    assert bench.job(job)["error"] == "stolen"


def test_what_waits_moves_from_a_withdrawn_agent_to_another(bench):
    bench.agent("n1", cred="n1-key")
    job = bench.request(bench.client(), "submit", spec={"argv": ["true"]})["job"]
    other = bench.agent("n2")
    bench.revoke("n1-key")
    assert bench.got(other, "start")[0]["job"] == job


def test_an_agent_that_was_away_is_told_what_was_withdrawn_meanwhile(bench):
    agent, job = bench.running(A)
    bench.open(B, op="attach", job=job, rights="r", cred="k1")
    bench.gone(agent)
    bench.revoke("k1", why="lost")
    back = bench.agent(sessions=[session(job, atts=[{"att": B, "rights": "r", "cred": "k1"}])])
    assert bench.got(back, "revoke") == [{"m": "revoke", "atts": [B], "why": "lost"}]


def test_a_broker_that_was_restarted_knows_the_key_of_an_attachment_again(bench):
    _, job = bench.running(A)
    bench.restart()
    atts = [{"att": A, "user": "alice", "rights": "rw", "cred": "k1"},
            {"att": B, "user": "alice", "rights": "r", "cred": "k2"}]  # fmt: skip
    agent = bench.agent(sessions=[session(job, atts=atts)])
    found = bench.core.books.atts
    assert (found[B].user, found[B].rights) == ("alice", "r")
    bench.revoke("k2")
    assert bench.got(agent, "revoke")[0]["atts"] == [B]


def test_an_agent_that_brings_back_a_withdrawn_attachment_after_a_restart_is_told(bench):
    _, job = bench.running(A)
    bench.withdrawn.add("k1")
    bench.restart()
    agent = bench.agent(sessions=[session(job, atts=[{"att": B, "rights": "rw", "cred": "k1"}])])
    assert bench.got(agent, "revoke")[0]["atts"] == [B]
    assert bench.open(B, op="resume", job=job, index=0) == ("no", "denied")


def test_a_waiting_opening_keeps_its_key_over_a_restart(bench):
    bench.open(A, cred="k1")
    bench.restart()
    bench.revoke("k1", why="lost")
    assert bench.job(1)["error"] == "lost"


def test_a_user_who_is_revoked_loses_everything_at_once(bench):
    agent, _ = bench.running(A, cred="n1-key")
    client = bench.client()
    bench.open(B, cred="key-of-alice", tasks=9)
    carols = bench.client("carol")
    bench.revoke("key-of-alice", "n1-key", whole=True, why="left")
    assert {agent, client} <= bench.closed
    assert carols not in bench.closed
    states = {id: (job["state"], job["error"]) for id, job in bench.jobs().items()}
    assert states == {"1": ("FAILED", "left"), "2": ("CANCELED", "left")}


def test_the_desk_is_asked_by_users_only_and_about_users_by_admins_only(bench):
    guest, user = bench.client("guest-1", standing="guest"), bench.client("bob")
    admin = bench.client("root", standing="admin")
    for verb in ("invite", "ticket", "pilot", "keys", "revoke"):
        assert bench.request(guest, verb)["code"] == "denied"
    for verb in ("users", "user-add", "user-revoke"):
        assert bench.request(guest, verb)["code"] == "denied"
        assert bench.request(user, verb)["code"] == "denied"
    assert bench.desk == []
    bench.say(user, "keys", id=1)
    bench.say(admin, "user-add", id=2, user="x")
    assert [(user, m["m"]) for user, m in bench.desk] == [("bob", "keys"), ("root", "user-add")]
    assert ("bob", "user-add", "", "denied") in bench.audit


def test_a_user_who_becomes_an_admin_is_one_on_live_connections(bench):
    conn = bench.client("bob")
    bench.feed(events.Known("bob", "admin", frozenset(["gpu"])))
    bench.say(conn, "users", id=1)
    assert bench.desk
    assert bench.request(conn, "whoami")["role"] == "admin"
    assert bench.core.books.groups_of["bob"] == {"gpu"}


# ------------------------------------------------------------------------------------------- limits


def test_who_connects_and_says_nothing_is_closed(bench):
    conn = bench.conn()
    bench.feed(events.ConnUp(conn, "client", "alice", "", "k", ""))
    agent = bench.conn()
    bench.feed(events.ConnUp(agent, "agent", "alice", "n9", "k", ""))
    talks = bench.client()
    bench.after(9)
    assert bench.closed == set()
    bench.after(2)
    assert bench.closed == {conn, agent}
    bench.after(100)
    assert bench.request(talks, "whoami")["ok"]


def test_waits_for_one_job_are_bounded():
    bench = BrokerBench(waits_per_job=2)
    bench.open(A)
    client = bench.client()
    assert [bench.request(client, "wait", job="1") for _ in range(2)] == [None, None]
    assert bench.request(client, "wait", job="1")["code"] == "full"
    assert [bench.request(client, "await", att=A) for _ in range(2)] == [None, None]
    assert bench.request(client, "await", att=A)["code"] == "full"


def test_every_member_of_a_wide_run_may_wait_for_its_place():
    bench = BrokerBench(waits_per_job=2)
    names = [f"{i:032x}" for i in range(5)]
    for i, att in enumerate(names):
        bench.open(att, group="g", size=5, index=i)
    client = bench.client()
    assert [bench.request(client, "await", att=att) for att in names] == [None] * 5


def test_live_jobs_of_a_user_are_bounded():
    bench = BrokerBench(jobs_per_user=2)
    agent = bench.agent(slots=9)
    client = bench.client()
    jobs = [bench.request(client, "submit", spec={"argv": ["x"]})["job"] for _ in range(2)]
    assert bench.request(client, "submit", spec={"argv": ["x"]})["code"] == "full"
    assert bench.open(A) == ("no", "full")
    assert bench.request(bench.client("bob"), "submit", spec={"argv": ["x"]})["ok"]
    bench.started(agent, jobs[0])
    bench.ended(agent, jobs[0])
    assert bench.open(A) == ("pair", "n1")


def test_agents_of_a_user_are_bounded():
    bench = BrokerBench(agents_per_user=1)
    bench.agent("n1")
    second = bench.agent("n2")
    assert bench.got(second, "error")[0]["code"] == "full"
    assert second in bench.closed
    bench.agent("m1", user="bob")
    assert set(bench.agents("bob")) == {"m1"}


@pytest.mark.parametrize("re", ["x" * 65, 10**400, [1], {}, 1.5, True])
def test_an_answer_repeats_no_endless_id(bench, re):
    conn = bench.client()
    bench.say(conn, "whoami", id=re)
    (answer,) = bench.inbox[conn]
    assert answer["re"] in (None, True)


# -------------------------------------------------------------------------------------------- audit


def test_who_did_what_is_written_down(bench):
    agent, job = bench.running(A)
    client = bench.client()
    bench.audit.clear()
    bench.open(B, op="attach", job=job, rights="rw")
    bench.say(agent, "stole", job=job, index=0, att=B)
    bench.request(client, "signal", job=job, sig=15)
    bench.request(client, "cancel", job=job)
    bench.request(client, "drain", agent="n1")
    bench.request(client, "stop-agent", agent="n1", force=True)
    bench.feed(events.Noted("alice", C, "used", "10.0.0.9:1"))
    assert bench.audit == [
        ("alice", "attach", "job 1", "ok"),
        ("alice", "steal", "job 1", "ok"),
        ("alice", "signal", "job 1", "ok"),
        ("alice", "cancel", "job 1", "ok"),
        ("alice", "drain", "agent n1", "ok"),
        ("alice", "stop-agent", "agent n1", "ok"),
        ("alice", "preamble", C, "used"),
    ]


def test_what_is_refused_is_written_down_the_same_for_another_s_as_for_none(bench):
    bench.running(A)
    mallory = bench.client("mallory")
    for number in ("1", "99"):
        bench.audit.clear()
        bench.request(mallory, "signal", job=number, sig=9)
        bench.request(mallory, "cancel", job=number)
        bench.open(f"{number:0>32}", op="attach", job=number, user="mallory")
        assert bench.audit == [
            ("mallory", verb, f"job {number}", "none") for verb in ("signal", "cancel", "attach")
        ]


def test_an_agent_cannot_write_of_another_s_steal(bench):
    bench.running(A)
    evil = bench.agent("m1", user="mallory")
    bench.audit.clear()
    bench.say(evil, "stole", job="1", index=0, att=A)
    assert bench.audit == []
