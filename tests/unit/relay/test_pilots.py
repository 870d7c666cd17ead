"""Sites, their submitters and their pilots, as the broker has them."""

import pytest

from kit.broker import BrokerBench

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
