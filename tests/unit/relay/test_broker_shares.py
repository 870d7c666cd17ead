"""Shares: made, redeemed, used, ended; and that nothing is left of them."""

import json

import pytest

from kit.broker import BrokerBench, session
from relay.broker import events as ev
from relay.broker import rights

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def bench():
    return BrokerBench()


@pytest.fixture
def agent(bench):
    return bench.running(A)[0]


def attach(bench, att=B, user="bob", rights="r", **more):
    return bench.verdict(bench.ask(att, "attach", user, job="1", rights=rights, **more))


def shares(bench):
    return bench.request(bench.client(), "shares")["shares"]


def test_a_token_is_told_once_and_kept_as_a_hash(bench, agent):
    client = bench.client()
    answer = bench.request(client, "share", job="1")
    token = answer["token"]
    assert len(bytes.fromhex(token)) >= 16
    assert token not in json.dumps(list(bench.journal["share"].values()))
    assert token not in json.dumps(bench.request(client, "shares"))
    assert answer["share"] == {
        "id": answer["share"]["id"], "job": "1", "rights": "r", "until": bench.now + 3600.0,
        "uses_left": None, "once": False, "to": None, "made_at": bench.now, "users": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"rights": "w"}, {"rights": ["r"]}, {"seconds": 0}, {"seconds": 31 * 86400}, {"seconds": "1"},
     {"seconds": float("nan")}, {"seconds": 10**400}, {"seconds": True}, {"uses": 0},
     {"uses": 1 << 40}, {"uses": "1"}, {"uses": True}, {"to": ""}, {"to": 3}, {"to": "alice"}],
)  # fmt: skip
def test_a_share_that_makes_no_sense_is_not_made(bench, agent, wrong):
    assert bench.request(bench.client(), "share", job="1", **wrong)["code"] == "usage"
    assert shares(bench) == []


def test_an_agent_is_told_by_which_share_somebody_comes_and_until_when(bench, agent):
    share_id, token = bench.share(1, "rw", seconds=100)
    answer = bench.redeem(token)
    assert answer == {
        "re": answer["re"], "ok": True, "job": "1", "size": 1, "owner": "alice", "rights": "rw",
        "until": bench.now + 100, "share": share_id, "name": "",
    }  # fmt: skip
    assert attach(bench, rights="rw") == ("pair", "n1")
    (expect,) = [m for m in bench.got(agent, "expect") if m["att"] == B]
    assert expect == {
        "m": "expect", "att": B, "job": "1", "index": 0, "size": 1, "user": "bob",
        "owner": "alice", "rights": "rw", "op": "attach", "until": bench.now + 100,
        "share": share_id, "cred": "key-of-bob", "pool": "",
    }  # fmt: skip


def test_uses_run_out_and_those_who_came_may_come_again(bench, agent):
    _, token = bench.share(1, uses=2)
    assert bench.redeem(token, "bob")["ok"]
    assert bench.redeem(token, "bob")["ok"]  # no use of it
    assert bench.redeem(token, "carol")["ok"]
    assert bench.redeem(token, "dave")["code"] == "none"
    assert bench.redeem(token, "bob")["ok"]
    assert [s["uses_left"] for s in shares(bench)] == [0]
    assert attach(bench) == attach(bench, C, "carol") == ("pair", "n1")
    assert attach(bench, "d" * 32, "dave") == ("no", "none")


def test_an_owner_s_own_link_costs_no_use(bench, agent):
    _, token = bench.share(1, uses=1)
    assert bench.redeem(token, "alice")["ok"]
    assert bench.redeem(token, "bob")["ok"]


def test_a_named_share_is_for_that_user_only(bench, agent):
    _, token = bench.share(1, to="bob")
    assert bench.redeem(token, "carol")["code"] == "none"
    assert bench.guest(token)["code"] == "none"
    assert bench.redeem(token, "bob")["ok"]


def test_once_is_one_redemption_and_one_attachment(bench, agent):
    _, token = bench.share(1, once=True)
    assert bench.redeem(token)["ok"]
    assert bench.redeem(token, "carol")["code"] == "none"
    assert attach(bench) == ("pair", "n1")
    assert attach(bench, C) == ("no", "none")
    assert attach(bench) == ("pair", "n1")  # the same one, again
    bench.say(agent, "left", job="1", index=0, att=B)
    assert shares(bench) == []
    assert bench.journal["share"] == {}
    assert attach(bench) == attach(bench, C) == ("no", "none")


def test_one_of_many_who_leaves_ends_nothing(bench, agent):
    _, token = bench.share(1)
    bench.redeem(token)
    attach(bench)
    bench.say(agent, "left", job="1", index=0, att=B)
    assert len(shares(bench)) == 1
    assert attach(bench, C) == ("pair", "n1")


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_the_end_of_a_share_ends_what_hangs_on_it_and_nothing_else(bench, agent, how):
    share_id, token = bench.share(1, seconds=100)
    _, other = bench.share(1)
    for user, one in (("bob", token), ("carol", other)):
        bench.redeem(one, user)
    attach(bench)
    attach(bench, C, "carol")
    if how == "expired":
        bench.after(99)
        assert bench.got(agent, "revoke") == []
        bench.after(1)
    else:
        answer = bench.request(bench.client(), "revoke", what=share_id)
        assert (answer["revoked"], answer["id"]) == ("share", share_id)
    (told,) = bench.got(agent, "revoke")
    assert told["atts"] == [B]
    assert bench.cuts == []  # the agent's goodbye comes first
    bench.after(2)
    assert bench.cuts == [B]
    for op in ("attach", "resume"):
        assert bench.verdict(bench.ask(B, op, "bob", job="1")) == ("no", "none")
    answer = bench.request(bench.client("bob"), "whynot", att=B)
    assert (answer["code"], how in answer["message"] or "ended" in answer["message"]) == (
        "revoked", True,
    )  # fmt: skip
    assert attach(bench, C, "carol") == ("pair", "n1")


def test_an_agent_that_is_away_is_cut_at_once_and_told_when_it_is_back(bench, agent):
    share_id, token = bench.share(1)
    bench.redeem(token)
    attach(bench)
    bench.gone(agent)
    bench.request(bench.client(), "revoke", what=share_id)
    assert bench.cuts == [B]
    here = {"att": B, "user": "bob", "rights": "r", "share": share_id, "until": 1e10, "cred": ""}
    agent = bench.agent(sessions=[session(1, atts=[here])])
    assert bench.got(agent, "revoke")[0]["atts"] == [B]
    assert attach(bench) == ("no", "none")


def test_shares_and_those_who_came_by_them_survive_a_restart(bench, agent):
    share_id, token = bench.share(1, "rw", seconds=100, uses=1)
    bench.redeem(token)
    attach(bench, rights="rw")
    bench.restart()
    here = {"att": B, "user": "bob", "rights": "rw", "share": share_id, "cred": "77"}
    agent = bench.agent(sessions=[session(1, atts=[here])])
    assert bench.got(agent, "revoke") == []
    assert bench.redeem(token, "carol")["code"] == "none"
    assert bench.verdict(bench.ask(B, "resume", "bob", job="1")) == ("pair", "n1")
    (expect,) = bench.got(agent, "expect")
    assert (expect["user"], expect["rights"], expect["share"], expect["cred"]) == (
        "bob", "rw", share_id, "77",
    )  # fmt: skip
    bench.after(101)
    assert bench.got(agent, "revoke")[0]["atts"] == [B]
    assert bench.journal["share"] == {}


def test_a_share_whose_time_ran_out_while_no_broker_lived_is_gone(bench, agent):
    _, token = bench.share(1, seconds=5)
    bench.redeem(token)
    bench.now += 10
    bench.restart()
    bench.agent(sessions=[session(1)])
    assert bench.redeem(token)["code"] == "none"
    assert attach(bench) == ("no", "none")
    assert bench.journal["share"] == {}


def test_a_forgotten_job_s_shares_go_with_it(bench):
    bench = BrokerBench(jobs_kept=1)
    agent, job = bench.running(A)
    _, token = bench.share(1)
    bench.redeem(token)
    attach(bench)
    bench.ended(agent, job)
    assert attach(bench, C) == ("pair", "n1")  # its output can still be read
    assert bench.open("e" * 32) == ("pair", "n1")
    bench.started(agent, 2, att="e" * 32)
    bench.ended(agent, 2)
    assert sorted(bench.cuts) == [B, C]
    assert bench.journal["share"] == {}
    assert bench.redeem(token)["code"] == "none"
    books = bench.core.books
    assert not books.shares
    assert not books.share_tokens
    assert not books.shares_for
    bench.after(4000)


def test_who_looks_on_opens_nothing_with_it(bench, agent):
    """An attachment of a visitor's, announced as an opening, would start his program as her."""
    _, token = bench.share(1, "rw")
    bench.redeem(token)
    attach(bench, rights="rw")
    bench.got(agent, "expect")
    assert bench.verdict(bench.ask(B, "open", "bob")) == ("no", "denied")
    assert bench.got(agent, "expect") == []


def test_a_guest_is_made_for_a_link_and_counts_as_a_use(bench, agent):
    _, token = bench.share(1, uses=1, seconds=50)
    assert bench.guest(token, "guest-1") == {
        "m": "ticket", "user": "guest-1", "until": bench.now + 50,
    }  # fmt: skip
    assert bench.guest(token, "guest-2")["code"] == "none"
    assert bench.redeem(token, "guest-1")["ok"]
    assert attach(bench, user="guest-1") == ("pair", "n1")
    for wrong in (None, 3, "", "share.", "0" * 64):
        conn = bench.conn()
        bench.feed(ev.GuestAsked(conn, "guest-3", wrong))
        assert bench.inbox[conn][0]["code"] == "none"
        assert conn in bench.closed


def test_a_visitor_s_rights_are_never_more_than_the_share_s(bench, agent):
    reading, token = bench.share(1)
    bench.redeem(token)
    attach(bench, rights="rw")
    assert bench.got(agent, "expect")[-1]["rights"] == "r"
    writing, more = bench.share(1, "rw")
    bench.redeem(more)
    attach(bench, C, rights="rw")
    expect = bench.got(agent, "expect")[-1]
    assert (expect["rights"], expect["share"]) == ("rw", writing)
    attach(bench, "d" * 32, rights="rw", share=reading)
    assert bench.got(agent, "expect")[-1]["rights"] == "r"
    attach(bench, "e" * 32, rights="r")
    assert bench.got(agent, "expect")[-1]["share"] == reading


# ------------------------------------------------------------------------------------------- pools


def pooled(bench, group="staff", user="alice", **how):
    bench.groups(alice="staff", bob="staff", carol="others")
    return bench.agent("p1", user, pool=group, **how)


def test_a_pool_s_agent_runs_for_members_who_ask_for_it(bench):
    agent = pooled(bench)
    assert bench.open(A, user="bob") == ("no", "queued")
    assert bench.open(B, user="bob", pool="staff") == ("pair", "p1")
    expect = bench.got(agent, "expect")[0]
    assert (expect["user"], expect["owner"], expect["pool"]) == ("bob", "bob", "staff")
    bench.started(agent, expect["job"], att=B)
    assert bench.job(expect["job"], "bob")["pool"] == "staff"
    assert list(bench.agents("bob")) == ["p1"]
    assert bench.agents("bob")["p1"]["user"] == "alice"
    bench.ended(agent, expect["job"])
    assert bench.job(expect["job"], "bob")["state"] == "COMPLETED"


def test_a_pool_is_there_for_its_members_only(bench):
    pooled(bench)
    for user in ("carol", "dave"):
        assert bench.open("c" * 32, user=user, pool="staff") == ("no", "none")
        assert bench.agents(user) == {}
        assert bench.open("d" * 32, user=user, agent="p1") == ("no", "none")
    client = bench.client("carol")
    answer = bench.request(client, "submit", spec={"argv": ["true"]}, pool="staff")
    assert answer["code"] == "none"


def test_an_agent_serves_no_group_that_its_user_is_not_in(bench):
    agent = pooled(bench, "others")
    assert bench.got(agent, "error")[0]["code"] == "denied"
    assert agent in bench.closed
    assert bench.agents("alice") == {}


def test_an_administrator_s_agent_may_serve_any_group(bench):
    bench.groups(bob="staff")
    conn = bench.conn()
    bench.feed(ev.ConnUp(conn, "agent", "root", "p1", "serial", "00" * 32, "admin"))
    bench.say(conn, "hello", role="agent", boot="b", host="h", slots=2, pool="staff")
    assert bench.open(B, user="bob", pool="staff") == ("pair", "p1")


def test_a_pool_s_room_goes_to_who_waited_longest(bench):
    agent = pooled(bench, slots=1)
    assert bench.open(A, user="alice", pool="staff") == ("pair", "p1")
    bench.started(agent, 1, att=A)
    assert bench.open(B, user="bob", pool="staff") == ("no", "queued")
    assert bench.open(C, user="alice", pool="staff") == ("no", "queued")
    client = bench.client("bob")
    waiting = bench.request_held(client, "await", att=B)
    bench.ended(agent, 1)
    assert bench.answer(client, waiting)["job"] == "2"


def test_who_waits_for_a_pool_does_not_hold_up_his_own_agents(bench):
    agent = pooled(bench, slots=1)
    bench.open(A, user="bob", pool="staff")
    bench.started(agent, 1, att=A)
    assert bench.open(B, user="bob", pool="staff") == ("no", "queued")
    bench.agent("own", "bob")
    assert bench.open(C, user="bob") == ("pair", "own")


def test_who_leaves_the_group_gets_no_place_and_gives_none(bench):
    agent = pooled(bench)
    bench.groups(bob="")
    assert bench.open(B, user="bob", pool="staff") == ("no", "none")
    bench.groups(alice="")
    assert bench.got(agent, "drain")[0]["on"] is True


def test_a_restarted_broker_knows_pools_and_their_jobs(bench):
    agent = pooled(bench)
    bench.open(B, user="bob", pool="staff")
    bench.started(agent, 1, att=B)
    bench.restart()
    here = session(1, user="bob")
    agent = pooled(bench, sessions=[here])
    assert bench.job(1, "bob")["state"] == "ACTIVE"
    assert bench.verdict(bench.ask(B, "resume", "bob", job="1")) == ("pair", "p1")


def test_a_share_s_time_counts_before_anybody_has_looked_at_the_clock(bench, agent):
    _, token = bench.share(1, seconds=5)
    bench.redeem(token)
    bench.now += 6  # no tick yet
    assert attach(bench) == ("no", "none")


@pytest.mark.parametrize("what", [rights.READ, rights.TYPE, rights.SHARE])
def test_an_administrator_neither_reads_nor_types_nor_shares(bench, agent, what):
    admin = rights.Visitor("root", "admin")
    job = bench.core.books.jobs[1]
    assert rights.may(bench.core.books, admin, job, rights.CANCEL)
    assert not rights.may(bench.core.books, admin, job, what)
    _, token = bench.share(1)
    bench.redeem(token, "root")
    assert rights.may(bench.core.books, admin, job, rights.READ)
