"""Openings: who gets a place, who waits, and that the same opening is never two."""

import pytest

from kit.broker import BrokerBench, session

A, B, C = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def bench():
    return BrokerBench()


def test_an_opening_is_announced_to_the_agent_before_it_is_joined(bench):
    agent = bench.agent()
    ask = bench.ask(A)
    assert bench.verdict(ask) == ("pair", "n1")
    (expect,) = bench.got(agent, "expect")
    assert expect == {"m": "expect", "att": A, "job": "1", "index": 0, "size": 1, "user": "alice",
                      "owner": "alice", "rights": "rw", "op": "open", "until": None, "share": "",
                      "cred": "key-of-alice", "pool": "", "lane": "batch", "loss": None,
                      "attempt": 1}  # fmt: skip


def test_the_same_opening_again_is_the_same_job_on_the_same_agent(bench):
    one, _ = bench.agent("n1"), bench.agent("n2")
    assert bench.open(A) == bench.open(A) == ("pair", "n1")
    assert [e["job"] for e in bench.got(one, "expect")] == ["1", "1"]


def test_the_same_opening_after_it_has_started_is_the_same_job(bench):
    agent, job = bench.running(A)
    assert bench.open(A) == ("pair", "n1")
    assert bench.got(agent, "expect")[0]["job"] == job
    assert list(bench.jobs()) == [job]


def test_the_agent_with_most_free_slots_is_chosen_and_equals_in_turn(bench):
    bench.agent("n1", slots=2)
    bench.agent("n2", slots=3)
    bench.agent("n3", slots=2)
    chosen = [bench.open(str(i) * 32)[1] for i in range(1, 8)]
    assert chosen[0] == "n2"
    assert sorted(chosen) == ["n1"] * 2 + ["n2"] * 3 + ["n3"] * 2


def test_an_agent_can_be_asked_for_by_name(bench):
    bench.agent("n1", slots=9)
    bench.agent("n2", slots=1)
    assert bench.open(A, agent="n2") == ("pair", "n2")
    assert bench.open(B, agent="n2") == ("no", "queued")
    assert bench.open(C, agent="elsewhere") == ("no", "none")


def test_an_agent_serves_its_own_user_only(bench):
    bench.agent("n1", user="bob")
    assert bench.open(A, user="alice") == ("no", "queued")
    assert bench.open(B, user="alice", agent="n1") == ("no", "none")


def test_an_attachment_of_somebody_else_does_not_exist(bench):
    bench.running(A)
    bench.agent("m1", user="mallory")
    for op in ("open", "attach", "resume"):
        assert bench.open(A, op=op, user="mallory", job="1", index=0) == ("no", "none")


@pytest.mark.parametrize(
    "body",
    [
        {"tasks": 0}, {"tasks": "many"}, {"tasks": True}, {"size": 0}, {"size": 2}, {"index": 1},
        {"size": 10**9, "group": "g"}, {"agent": 7}, {"size": 2, "group": "g", "warm": True},
        {"op": "dance"}, {"op": None},
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_denied_and_changes_nothing(bench, body):
    bench.agent()
    assert bench.open(A, **body)[0] == "no"
    assert bench.agents()["n1"]["free"] == 2
    assert bench.jobs() == {}


@pytest.mark.parametrize("att", ["", "short", None, 7, "x" * 65, "../" * 11])
def test_an_attachment_has_a_proper_name(bench, att):
    bench.agent()
    assert bench.open(att) == ("no", "denied")


def test_without_room_an_opening_waits_and_is_called_in_turn(bench):
    agent = bench.agent(slots=1)
    client = bench.client()
    bench.open(A)
    bench.started(agent, 1, att=A)
    assert bench.open(B) == bench.open(C) == ("no", "queued")
    b = bench.request_held(client, "await", att=B)
    c = bench.request_held(client, "await", att=C)
    assert [q["ahead"] for q in bench.got(client, "queue")] == [0, 1]
    bench.ended(agent, 1)
    assert bench.answer(client, b)["ok"]
    assert bench.answer(client, c) is None
    bench.after(2)
    assert [q["ahead"] for q in bench.got(client, "queue")] == [0]
    assert bench.open(B) == ("pair", "n1")


def test_a_kept_place_is_lost_when_nobody_comes(bench):
    agent = bench.agent(slots=1)
    client = bench.client()
    bench.open(A)
    bench.started(agent, 1, att=A)
    bench.open(B)
    bench.open(C)
    bench.request_held(client, "await", att=B)
    c = bench.request_held(client, "await", att=C)
    bench.ended(agent, 1)
    bench.after(16)
    assert bench.job(2)["state"] == "CANCELED"
    assert bench.answer(client, c)["ok"]


def test_a_queued_opening_that_nobody_awaits_is_given_up(bench):
    assert bench.open(A) == ("no", "queued")
    bench.after(29)
    assert bench.job(1)["state"] == "QUEUED"
    bench.after(2)
    assert bench.job(1)["state"] == "CANCELED"


def test_a_waiting_client_may_lose_its_connection_and_come_back(bench):
    bench.open(A)
    client = bench.client()
    bench.request_held(client, "await", att=A)
    bench.after(100)
    bench.gone(client)
    bench.after(20)
    again = bench.client()
    number = bench.request_held(again, "await", att=A)
    bench.after(100)
    bench.agent()
    assert bench.answer(again, number)["ok"]
    assert bench.open(A) == ("pair", "n1")


def test_why_it_waits_is_said_in_words(bench):
    client = bench.client()
    bench.open(A, tasks=8)
    bench.request_held(client, "await", att=A)
    assert bench.got(client, "queue")[0]["why"] == "no agent of yours is connected"
    bench.agent(slots=4)
    bench.after(1)
    assert "8 slots" in bench.got(client, "queue")[0]["why"]


def test_a_job_that_can_never_run_lets_the_next_one_pass(bench):
    bench.agent(slots=1)
    assert bench.open(A, tasks=5) == ("no", "queued")
    assert bench.open(B) == ("pair", "n1")


def test_a_large_job_is_not_starved_by_small_ones(bench):
    agent = bench.agent(slots=2)
    bench.open(A)
    bench.started(agent, 1, att=A)
    assert bench.open(B, tasks=2) == ("no", "queued")
    assert bench.open(C) == ("no", "queued")  # there is a slot, but B was first


def test_slots_follow_what_the_agent_says(bench):
    agent = bench.agent(slots=4)
    bench.open(A)
    assert bench.agents()["n1"]["free"] == 3
    bench.started(agent, 1, att=A, tasks=4)
    assert bench.agents()["n1"] | {"free": 0, "state": "busy"} == bench.agents()["n1"]
    bench.ended(agent, 1, code=3)
    assert bench.agents()["n1"]["free"] == 4
    job = bench.job(1)
    assert (job["state"], job["code"]) == ("FAILED", 3)
    assert bench.got(agent, "ended-ok") == [{"m": "ended-ok", "job": "1", "index": 0}]


def test_an_agent_that_says_busy_is_not_asked_again_at_once(bench):
    one, two = bench.agent("n1", slots=5), bench.agent("n2", slots=1)
    assert bench.open(A) == ("pair", "n1")
    bench.say(one, "refused", att=A, job="1", index=0, code="busy", message="full")
    assert bench.open(A) == ("pair", "n2")
    assert bench.got(two, "expect")[0]["job"] == "1"
    assert bench.got(one, "unexpect") == [{"m": "unexpect", "att": A}]


def test_an_agent_that_says_draining_gets_nothing_more(bench):
    agent = bench.agent()
    bench.open(A)
    bench.say(agent, "refused", att=A, job="1", index=0, code="draining", message="")
    assert bench.agents()["n1"]["state"] == "draining"
    assert bench.open(A) == bench.open(B) == ("no", "queued")


def test_an_opening_that_was_not_used_never_was(bench):
    agent = bench.agent(slots=1)
    bench.open(A)
    bench.say(agent, "unused", job="1", index=0, att=A)
    assert bench.jobs() == {}
    assert bench.agents()["n1"]["free"] == 1
    assert bench.open(A) == ("pair", "n1")
    assert bench.got(agent, "expect")[-1]["job"] == "2"  # numbers are not used again


def test_what_the_agent_starts_is_true_even_if_it_was_given_up(bench):
    agent = bench.agent()
    bench.open(A)
    bench.say(agent, "unused", job="1", index=0, att=A)
    bench.started(agent, 1, att=A)
    assert bench.job(1)["state"] == "ACTIVE"
    assert bench.open(A) == ("pair", "n1")
    assert bench.got(agent, "expect")[-1]["job"] == "1"


def test_a_client_that_joined_and_never_starts_loses_its_slot(bench):
    agent = bench.agent(slots=1)
    bench.open(A)
    bench.after(61)
    assert bench.got(agent, "unexpect")
    assert bench.agents()["n1"]["free"] == 1


# ------------------------------------------------------------------------------------ warm openings


def test_a_warm_opening_is_shown_to_nobody_and_holds_no_slot_until_it_starts(bench):
    agent = bench.agent(slots=1)
    assert bench.open(A, warm=True) == ("pair", "n1")
    bench.after(10_000)
    assert bench.jobs() == {}
    assert bench.agents()["n1"]["free"] == 1
    bench.started(agent, 1, att=A)
    assert bench.job(1)["state"] == "ACTIVE"
    assert bench.agents()["n1"]["free"] == 0


def test_warm_openings_are_few(bench):
    bench.agent(slots=100)
    verdicts = [bench.open(f"{i:032x}", warm=True) for i in range(1, 11)]
    assert verdicts == [("pair", "n1")] * 8 + [("no", "full")] * 2


def test_a_warm_opening_does_not_wait(bench):
    assert bench.open(A, warm=True) == ("no", "queued")
    bench.agent()
    assert bench.request(bench.client(), "await", att=A)["code"] == "none"


def test_a_warm_opening_goes_when_it_is_unused(bench):
    agent = bench.agent()
    for i in range(1, 20):
        att = f"{i:032x}"
        assert bench.open(att, warm=True) == ("pair", "n1")
        bench.say(agent, "unused", job=str(i), index=0, att=att)
    assert bench.core.books.jobs == {}
    assert bench.journal["job"] == {}


# ------------------------------------------------------------------------------------------- groups


def group(bench, size, count=None, **body):
    atts = [f"{i + 1:032x}" for i in range(size)]
    return [
        bench.ask(att, group="g", size=size, index=i, **body)
        for i, att in enumerate(atts[: size if count is None else count])
    ]


def test_a_group_is_joined_when_all_its_openings_are_here_each_on_an_agent_of_its_own(bench):
    for i in range(3):
        bench.agent(f"n{i}", slots=5)
    asks = group(bench, 3, count=2)
    assert [bench.verdict(a) for a in asks] == [None, None]
    last = bench.ask(f"{3:032x}", group="g", size=3, index=2)
    verdicts = [bench.verdict(a) for a in [*asks, last]]
    assert sorted(verdicts) == [("pair", "n0"), ("pair", "n1"), ("pair", "n2")]
    assert bench.job(1)["size"] == 3


def test_a_group_without_room_for_all_waits_as_a_whole(bench):
    one = bench.agent("n1")
    bench.agent("n2", user="bob")
    asks = group(bench, 2)
    assert [bench.verdict(a) for a in asks] == [("no", "queued")] * 2
    assert bench.agents()["n1"]["free"] == 2
    client = bench.client()
    numbers = [bench.request_held(client, "await", att=f"{i + 1:032x}") for i in range(2)]
    bench.agent("n3")
    assert all(bench.answer(client, n)["ok"] for n in numbers)
    first = bench.ask(f"{1:032x}", group="g", size=2, index=0)
    assert bench.verdict(first) is None
    second = bench.ask(f"{2:032x}", group="g", size=2, index=1)
    assert {bench.verdict(first)[1], bench.verdict(second)[1]} == {"n1", "n3"}
    assert len(bench.got(one, "expect")) == 1


def test_an_incomplete_group_is_sent_away_and_forgotten(bench):
    bench.agent()
    asks = group(bench, 3, count=2)
    bench.after(11)
    assert [bench.verdict(a) for a in asks] == [("no", "again")] * 2
    assert bench.core.books.jobs == {}


def test_a_group_s_code_is_the_highest_and_comes_with_its_last_member(bench):
    agents = [bench.agent("n0"), bench.agent("n1")]
    asks = group(bench, 2)
    order = {f"n{i}": agents[i] for i in range(2)}
    conns = [order[bench.verdict(a)[1]] for a in asks]
    for i, conn in enumerate(conns):
        bench.started(conn, 1, i)
    bench.ended(conns[0], 1, 0, code=5)
    assert bench.job(1)["state"] == "ACTIVE"
    bench.ended(conns[1], 1, 1, code=2)
    assert (bench.job(1)["state"], bench.job(1)["code"]) == ("FAILED", 5)


def test_a_group_with_a_busy_agent_finds_other_places_as_a_whole(bench):
    agents = {f"n{i}": bench.agent(f"n{i}") for i in range(3)}
    first, _ = [bench.verdict(a)[1] for a in group(bench, 2)]
    bench.say(agents[first], "refused", att=f"{1:032x}", job="1", index=0, code="busy", message="")
    chosen = [bench.verdict(a)[1] for a in group(bench, 2)]
    assert first not in chosen
    assert len(set(chosen)) == 2


def test_two_groups_that_both_want_everything_do_not_block_each_other(bench):
    agents = [bench.agent(f"n{i}", slots=1) for i in range(2)]
    first = group(bench, 2)
    others = [bench.ask(f"{i + 7:032x}", group="h", size=2, index=i) for i in range(2)]
    assert [bench.verdict(a)[0] for a in first] == ["pair", "pair"]
    assert [bench.verdict(a) for a in others] == [("no", "queued")] * 2
    for i, ask in enumerate(first):
        conn = agents[int(bench.verdict(ask)[1][1])]
        bench.started(conn, 1, i)
        bench.ended(conn, 1, i)
    again = [bench.ask(f"{i + 7:032x}", group="h", size=2, index=i) for i in range(2)]
    assert [bench.verdict(a)[0] for a in again] == ["pair", "pair"]


# -------------------------------------------------------------------------------- attach and resume


def test_attaching_and_resuming_reach_the_agent_that_has_the_step(bench):
    agent, job = bench.running(A)
    bench.agent("n2", slots=50)
    bench.got(agent, "expect")
    assert bench.open(B, op="attach", job=job, index=0, rights="r") == ("pair", "n1")
    assert bench.open(B, op="resume", job=job, index=0) == ("pair", "n1")
    assert bench.open(A, op="resume", job=job, index=0) == ("pair", "n1")
    expects = bench.got(agent, "expect")
    assert [(e["op"], e["rights"]) for e in expects] == [
        ("attach", "r"), ("resume", "r"), ("resume", "rw")]  # fmt: skip


@pytest.mark.parametrize("job", ["2", "", None, 1, "1e0", "-1", "9" * 99])
def test_attaching_to_nothing_is_answered_so(bench, job):
    bench.running(A)
    assert bench.open(B, op="attach", job=job, index=0) == ("no", "none")


@pytest.mark.parametrize("index", [1, -1, None, "0", 10**9])
def test_attaching_to_no_member_is_answered_so(bench, index):
    bench.running(A)
    assert bench.open(B, op="attach", job="1", index=index) == ("no", "none")


def test_a_resuming_client_is_told_to_come_again_while_the_agent_is_away(bench):
    agent, job = bench.running(A)
    bench.gone(agent)
    assert bench.open(A, op="resume", job=job, index=0) == ("no", "again")
    bench.agent(boot="b1", sessions=[session(job)])
    assert bench.open(A, op="resume", job=job, index=0) == ("pair", "n1")


def test_an_ended_step_can_be_reached_as_long_as_its_agent_is_there(bench):
    agent, job = bench.running(A)
    bench.ended(agent, job)
    assert bench.open(A, op="resume", job=job, index=0) == ("pair", "n1")


def test_why_a_connection_was_refused_can_be_asked_by_its_owner_only(bench):
    bench.running(A, slots=1)
    bench.open(B)
    mine = bench.request(bench.client(), "whynot", att=B)
    assert (mine["code"], mine["message"]) == ("queued", "all slots are in use")
    assert bench.request(bench.client("bob"), "whynot", att=B)["code"] == "unknown"


def test_when_no_spare_came_the_agent_need_not_expect_the_client_any_longer(bench):
    from relay.broker import events

    agent = bench.agent()
    ask = bench.ask(A)
    bench.feed(events.Unjoined(ask, "n1", A))
    assert bench.got(agent, "unexpect") == [{"m": "unexpect", "att": A}]
    assert bench.open(A) == ("pair", "n1")


def started_half(bench):
    """A group of two of which the first has started: {agent: connection}, in the members' order."""
    conns = {f"n{i}": bench.agent(f"n{i}") for i in range(3)}
    chosen = [bench.verdict(a)[1] for a in group(bench, 2)]
    bench.started(conns[chosen[0]], 1, 0)
    return [chosen[0], chosen[1], *(set(conns) - set(chosen))], conns


def test_a_member_that_never_starts_does_not_keep_its_group_alive(bench):
    (first, second, _), conns = started_half(bench)
    bench.after(61)
    assert bench.got(conns[second], "unexpect")
    assert bench.agents()[second]["free"] == 2
    bench.ended(conns[first], 1, 0)
    assert (bench.job(1)["state"], bench.job(1)["error"]) == ("FAILED", "it did not start")


def test_a_member_that_starts_elsewhere_is_believed_and_frees_its_place(bench):
    (first, second, third), conns = started_half(bench)
    bench.started(conns[third], 1, 1)
    free = {name: agent["free"] for name, agent in bench.agents().items()}
    assert free == {first: 1, second: 2, third: 1}
