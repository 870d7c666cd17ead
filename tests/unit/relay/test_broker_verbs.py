"""What a client may ask, and that the answer about others' things is "none"."""

import pytest

from kit.broker import BrokerBench
from relay.broker.verbs import VERBS

A, B = "a" * 32, "b" * 32


@pytest.fixture
def bench():
    return BrokerBench()


ABOUT_ONE = {
    "signal": {"job": "1", "sig": 15},
    "cancel": {"job": "1"},
    "forget": {"job": "1"},
    "wait": {"job": "1"},
    "why": {"job": "1"},
    "await": {"att": A},
    "drain": {"agent": "n1"},
    "stop-agent": {"agent": "n1"},
    "share": {"job": "1"},
    "site-drop": {"site": "1"},
    "site-pause": {"site": "1"},
    "site-ad": {"site": "1"},
    "pilot-start": {"site": "1"},
    "pilot-cancel": {"pilot": "1"},
}
ABOUT_NONE = {
    "jobs", "agents", "whoami", "submit", "whynot", "watch", "shares", "redeem", "sites", "site-put",
    "submitter", "pilots",
}  # fmt: skip
AT_DESK = {"invite", "ticket", "pilot", "keys", "revoke", "users", "user-add", "user-revoke",
           "ssh-cert"}  # fmt: skip


def test_every_verb_is_in_the_owner_test():
    assert set(VERBS) == set(ABOUT_ONE) | ABOUT_NONE | AT_DESK


@pytest.mark.parametrize("verb", ABOUT_ONE)
def test_another_s_and_none_are_the_same_answer(bench, verb):
    agent, _ = bench.running(A)
    mallory = bench.client("mallory")
    theirs = bench.request(mallory, verb, **ABOUT_ONE[verb])
    fields = {
        key: "99" if isinstance(value, str) else value for key, value in ABOUT_ONE[verb].items()
    }
    none = bench.request(mallory, verb, **fields)
    assert theirs["code"] == none["code"] == "none"
    assert theirs["message"].replace("n1", "99").replace("1", "99") == none["message"].replace(
        "1", "99"
    )
    assert bench.got(agent, "signal") == bench.got(agent, "drain") == bench.got(agent, "stop") == []


def test_cancel_by_attachment_is_the_owner_s_too(bench):
    bench.running(A)
    assert bench.request(bench.client("mallory"), "cancel", att=A)["code"] == "none"


def test_lists_show_one_s_own(bench):
    bench.running(A)
    bench.agent("m1", user="bob")
    assert list(bench.jobs("bob")) == []
    assert list(bench.agents("bob")) == ["m1"]
    assert bench.request(bench.client("bob"), "jobs", ids=["1"], all=True)["jobs"] == []


def test_an_unknown_verb_is_an_answer_not_the_end(bench):
    client = bench.client()
    assert bench.request(client, "levitate")["code"] == "unknown"
    assert bench.request(client, None)["code"] == "unknown"
    assert bench.request(client, "whoami")["user"] == "alice"


def test_jobs_shows_what_lives_and_with_all_what_has_ended(bench):
    agent, job = bench.running(A)
    client = bench.client()
    assert [j["id"] for j in bench.request(client, "jobs")["jobs"]] == [job]
    bench.ended(agent, job)
    assert bench.request(client, "jobs")["jobs"] == []
    assert [j["id"] for j in bench.request(client, "jobs", all=True)["jobs"]] == [job]
    assert [j["id"] for j in bench.request(client, "jobs", ids=[job])["jobs"]] == [job]


def test_a_job_is_shown_with_all_that_the_contract_names(bench):
    agent, job = bench.running(A, tags=["gpu"], cpus=4, memory_bytes=8)
    bench.say(agent, "watchers", job=job, index=0, attached=1, watchers=2)
    assert set(bench.job(job)) == {
        "id", "name", "user", "state", "agents", "hosts", "size", "tasks", "layout", "pty", "argv0",
        "created_at", "started_at", "ended_at", "code", "signal", "error", "watchers", "attached",
        "archived", "archived_bytes", "pool", "site", "lane", "loss", "walltime", "after",
        "parent", "phase", "outputs", "attempt", "retries", "why", "eta", "progress",
    }  # fmt: skip
    assert (bench.job(job)["watchers"], bench.job(job)["hosts"]) == (2, ["host-n1"])
    assert set(bench.agents()["n1"]) == {
        "id", "host", "user", "cpus", "memory_bytes", "tags", "slots", "free", "state", "since",
        "site", "pilot", "node", "lrms", "lrms_id", "ad", "ends_at", "idle_since", "lanes", "share",
        "pid", "version", "pool",
    }  # fmt: skip
    assert bench.agents()["n1"]["tags"] == ["gpu"]


def test_a_signal_reaches_every_agent_of_the_job(bench):
    agents = [bench.agent(f"n{i}") for i in range(2)]
    for i in range(2):
        bench.ask(f"{i + 1:032x}", group="g", size=2, index=i)
    for conn in agents:
        bench.started(conn, 1, bench.got(conn, "expect")[0]["index"])
    assert bench.request(bench.client(), "signal", job="1", sig=10)["ok"]
    assert [bench.got(c, "signal")[0]["sig"] for c in agents] == [10, 10]


@pytest.mark.parametrize("sig", [0, 65, "TERM", None, True, 1.5])
def test_a_signal_has_a_number(bench, sig):
    bench.running(A)
    assert bench.request(bench.client(), "signal", job="1", sig=sig)["code"] == "usage"


def test_cancel_is_term_and_then_kill(bench):
    agent, job = bench.running(A)
    client = bench.client()
    waiting = bench.request_held(client, "wait", job=job)
    assert bench.request(client, "cancel", job=job)["ok"]
    assert bench.got(agent, "signal")[0]["sig"] == 15
    bench.after(4)
    assert bench.got(agent, "signal") == []
    bench.after(2)
    assert bench.got(agent, "signal")[0]["sig"] == 9
    assert bench.answer(client, waiting) is None
    bench.ended(agent, job, code=137)
    assert bench.answer(client, waiting)["job"]["state"] == "CANCELED"


def test_a_program_that_obeys_term_is_not_killed(bench):
    agent, job = bench.running(A)
    bench.request(bench.client(), "cancel", job=job)
    bench.got(agent, "signal")
    bench.ended(agent, job, code=143)
    bench.after(10)
    assert bench.got(agent, "signal") == []


def test_cancelling_what_waits_removes_it(bench):
    client = bench.client()
    bench.open(A)
    waiting = bench.request_held(client, "await", att=A)
    assert bench.request(client, "cancel", att=A)["job"] == "1"
    assert bench.answer(client, waiting)["code"] == "none"
    assert bench.job(1)["state"] == "CANCELED"
    assert bench.request(client, "cancel", job="1")["code"] == "over"


def test_what_was_canceled_and_starts_all_the_same_is_canceled_there(bench):
    agent = bench.agent()
    bench.open(A)
    bench.request(bench.client(), "cancel", job="1")
    assert bench.got(agent, "unexpect")
    bench.started(agent, 1, att=A)
    assert bench.got(agent, "cancel")[0]["job"] == "1"  # TERM first, as to any that runs
    assert bench.job(1)["state"] == "CANCELED"


def test_wait_is_answered_at_the_end_or_at_once(bench):
    agent, job = bench.running(A)
    client = bench.client()
    number = bench.request_held(client, "wait", job=job)
    assert bench.answer(client, number) is None
    bench.ended(agent, job, code=4)
    assert bench.answer(client, number)["job"]["code"] == 4
    assert bench.request(client, "wait", job=job)["job"]["code"] == 4


def test_a_waiter_that_left_is_forgotten(bench):
    agent, job = bench.running(A)
    client = bench.client()
    bench.request_held(client, "wait", job=job)
    bench.gone(client)
    bench.ended(agent, job)
    assert bench.core.books.jobs[int(job)].waits == []


def test_a_submitted_job_is_started_without_a_client(bench):
    agent = bench.agent()
    spec = {"argv": ["make", "-j"], "name": "build", "pty": None}
    job = bench.request(bench.client(), "submit", spec=spec, n=2, size=1)["job"]
    (start,) = bench.got(agent, "start")
    assert (start["job"], start["spec"], start["size"]) == (job, spec, 1)
    assert bench.agents()["n1"]["free"] == 0
    bench.started(agent, job, tasks=2)
    assert (
        bench.core.books.jobs[int(job)].spec is None
    )  # an environment is not kept longer than needed
    assert "spec" not in bench.journal["job"][job]


def test_a_submitted_job_keeps_its_slots_though_one_program_starts_in_them(bench):
    agent = bench.agent()  # two slots
    job = bench.request(bench.client(), "submit", spec={"argv": ["mpi-start"]}, n=2)["job"]
    bench.started(agent, job, tasks=1)
    assert bench.agents()["n1"]["free"] == 0
    bench.ended(agent, job)
    assert bench.agents()["n1"]["free"] == 2


@pytest.mark.parametrize("fields", [{}, {"spec": 7}, {"spec": {}, "n": 0}, {"spec": {}, "size": 0}])
def test_a_submission_that_makes_no_sense_is_refused(bench, fields):
    assert bench.request(bench.client(), "submit", **fields)["code"] == "usage"


def test_a_submitted_group_starts_on_agents_of_its_own(bench):
    one = bench.agent("n1")
    client = bench.client()
    job = bench.request(client, "submit", spec={"argv": ["x"]}, size=2)["job"]
    assert bench.got(one, "start") == []
    two = bench.agent("n2")
    starts = bench.got(one, "start") + bench.got(two, "start")
    assert sorted(s["index"] for s in starts) == [0, 1]
    assert {s["job"] for s in starts} == {job}


def test_drain_and_undrain(bench):
    agent = bench.agent()
    client = bench.client()
    assert bench.request(client, "drain", agent="n1")["ok"]
    assert bench.got(agent, "drain") == [{"m": "drain", "on": True}]
    assert bench.open(A) == ("no", "queued")
    assert bench.request(client, "drain", agent="n1", on=False)["ok"]
    assert bench.open(A) == ("pair", "n1")


def test_an_agent_that_was_told_to_stop_is_forgotten_when_it_goes(bench):
    agent = bench.agent()
    assert bench.request(bench.client(), "stop-agent", agent="n1")["ok"]
    assert bench.got(agent, "stop")
    bench.gone(agent)
    assert bench.agents() == {}


def test_finished_jobs_are_forgotten_after_a_while_oldest_first():
    bench = BrokerBench(jobs_kept=3)
    agent = bench.agent(slots=10)
    for i in range(1, 6):
        bench.open(f"{i:032x}")
        bench.started(agent, i, att=f"{i:032x}")
        bench.ended(agent, i)
    assert list(bench.jobs()) == ["3", "4", "5"]
    assert sorted(bench.journal["job"]) == ["3", "4", "5"]
    assert len(bench.core.books.atts) == 3
