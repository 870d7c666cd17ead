"""The event feed as the core makes it: snapshots, changes, numbers without gaps."""

import random

import pytest

import relay.broker.events as ev
from kit.broker import BrokerBench

A, B = "a" * 32, "b" * 32


@pytest.fixture
def bench():
    return BrokerBench()


class Mirror:
    """What somebody knows who has the snapshot and every event since."""

    def __init__(self, bench, user="alice", **how):
        self.bench, self.user = bench, user
        self.conn = bench.client(user)
        answer = bench.request(self.conn, "watch", **how)
        assert answer["ok"], answer
        self.seq = answer["seq"]
        assert bench.feeds[self.conn] == (user, self.seq)
        self.known = {("job", job["id"]): job for job in answer["jobs"]}
        self.known |= {("agent", agent["id"]): agent for agent in answer["agents"]}
        self.kinds = []
        bench.published.clear()

    def catch_up(self):
        for user, seq, events in self.bench.published:
            if user != self.user:
                continue
            assert seq - len(events) == self.seq, "a gap"
            self.seq = seq
            for event in events:
                self.kinds.append(event["kind"])
                if event["kind"] == "gone":
                    self.known.pop((event["what"], event["id"]), None)
                elif event["kind"] in ("job", "agent"):
                    thing = event[event["kind"]]
                    self.known[event["kind"], thing["id"]] = thing
        self.bench.published.clear()
        return self.known


def truth(bench, user="alice"):
    return {("job", i): job for i, job in bench.jobs(user).items()} | {
        ("agent", i): agent for i, agent in bench.agents(user).items()
    }


def test_a_job_s_life_is_told_as_it_happens(bench):
    agent = bench.agent()
    mirror = Mirror(bench)
    bench.open(A)
    job = bench.got(agent, "expect")[0]["job"]
    assert mirror.catch_up()["job", job]["state"] == "HELD"
    bench.started(agent, job, att=A)
    bench.say(agent, "watchers", job=job, index=0, attached=1, watchers=2)
    known = mirror.catch_up()
    assert known["job", job]["state"] == "ACTIVE"
    assert known["job", job]["watchers"] == 2
    assert known["agent", "n1"]["free"] == 1
    bench.ended(agent, job, code=4)
    assert mirror.catch_up()["job", job]["code"] == 4


def test_nothing_is_made_for_who_does_not_watch(bench):
    mirror = Mirror(bench, "bob")
    bench.running(A)
    bench.after(3)
    assert all(user == "bob" for user, _, _ in bench.published)
    assert mirror.catch_up() == {}


def test_a_round_tells_of_each_thing_once(bench):
    agent = bench.agent()
    mirror = Mirror(bench)
    bench.feed(ev.ConnDown(agent))
    mirror.catch_up()
    assert mirror.kinds == ["agent"]


def test_every_tick_says_how_far_one_should_be(bench):
    mirror = Mirror(bench)
    bench.after(1)
    assert bench.published[-1] == ("alice", mirror.seq, [])


def test_who_lost_the_thread_gets_everything_anew(bench):
    bench.running(A)
    mirror = Mirror(bench)
    bench.feed(ev.Lagging(mirror.conn))
    (event,) = bench.got(mirror.conn, "event")
    assert event["kind"] == "resync"
    assert [job["id"] for job in event["jobs"]] == ["1"]
    assert bench.feeds[mirror.conn] == ("alice", event["seq"])


def test_only_who_watches_is_given_anything_anew(bench):
    client = bench.client()
    bench.feed(ev.Lagging(client))
    bench.feed(ev.Lagging(bench.conn()))
    assert bench.got(client, "event") == []


def test_agents_report_use_while_somebody_looks_and_not_after(bench):
    agent = bench.agent()
    one, two = Mirror(bench), Mirror(bench)
    late = bench.agent("n2")
    assert [m["on"] for m in bench.got(agent, "watch")] == [True, True]
    assert [m["on"] for m in bench.got(late, "watch")] == [True]
    bench.gone(one.conn)
    assert bench.got(agent, "watch") == []
    assert bench.request(two.conn, "watch", on=False)["ok"]
    assert [m["on"] for m in bench.got(agent, "watch")] == [False]
    assert bench.feeds[two.conn] == ("alice", -1)


def test_use_is_passed_on_for_steps_that_are_there_and_numbers_that_are(bench):
    agent, job = bench.running(A)
    mirror = Mirror(bench)
    good = {"job": job, "index": 0, "out": 5, "in": 1, "cpu_s": 0.5, "rss_bytes": 9, "waits": True}
    bench.say(agent, "usage", steps=[good, {**good, "job": "77"}, {**good, "index": 3}, 7, None])
    bench.say(agent, "usage", steps=[{"job": job, "index": 0, "out": -1, "in": "x", "cpu_s": "a",
                                      "waits": 1}])  # fmt: skip
    bench.say(agent, "usage", steps="none")
    (_, _, (first,)), (_, _, (second,)) = bench.published
    assert first["steps"] == [good]
    assert second["steps"] == [{"job": job, "index": 0, "out": 0, "in": 0, "cpu_s": 0.0,
                                "rss_bytes": 0, "waits": False}]  # fmt: skip
    mirror.catch_up()


def test_how_far_a_job_is_goes_along_and_is_remembered_while_it_runs(bench):
    agent, job = bench.running(A)
    mirror = Mirror(bench)
    good = {"done": 20, "of": 250}
    for said, wanted in [
        (good, good), ({"done": 3, "of": 2}, None), ({"done": 0, "of": 0}, None), ("20/250", None),
        ({"done": True, "of": 2}, None), ({"done": 1.0, "of": 2}, None), ({"of": 2}, None),
        ({"done": -1, "of": 2}, None), ({"done": 1, "of": 10**15}, None), (good, good),
    ]:  # fmt: skip
        bench.say(agent, "usage", steps=[{"job": job, "index": 0, "out": 5, "progress": said}])
        assert bench.published[-1][2][0]["steps"][0].get("progress") == wanted, said
        assert (bench.jobs()[job]["progress"] is None) == (wanted is None)
    assert bench.jobs()[job]["progress"] == {**good, "at": bench.now}
    bench.ended(agent, job)
    assert bench.jobs()[job]["progress"] is None
    mirror.catch_up()


def test_who_only_asks_how_far_jobs_are_gets_no_snapshot_and_wakes_who_runs_something(bench):
    busy, _ = bench.running(A)
    idle = bench.agent("n2")
    client = bench.client()
    answer = bench.request(client, "watch", bare=True)
    assert (answer["jobs"], answer["agents"]) == ([], [])
    assert [m["on"] for m in bench.got(busy, "watch")] == [True]
    assert bench.got(idle, "watch") == []
    bench.gone(client)
    assert [m["on"] for m in bench.got(busy, "watch")] == [False]
    assert bench.got(idle, "watch") == []


def test_a_foreign_agent_s_word_about_a_job_counts_nothing(bench):
    _, job = bench.running(A)
    mallory = bench.agent("m1", user="mallory")
    Mirror(bench)
    bench.say(mallory, "usage", steps=[{"job": job, "index": 0, "out": 5}])
    assert bench.published == []


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_the_mirror_is_the_truth(bench, seed):
    rng = random.Random(seed)
    agents = {name: bench.agent(name, slots=2) for name in ("n1", "n2")}
    mirror = Mirror(bench, all=True)
    for step in range(120):
        name = rng.choice(list(agents))
        conn = agents[name]
        jobs = [j for j, job in bench.jobs().items() if job["state"] == "ACTIVE"]
        held = bench.got(conn, "expect")
        match rng.randrange(9):
            case 0 | 1:
                bench.ask(f"{seed:08x}{step:08x}".rjust(32, "f"))
            case 2 | 3:
                for message in held:
                    bench.started(conn, message["job"], att=message["att"])
            case 4 if jobs:
                bench.ended(conn, rng.choice(jobs), code=rng.randrange(3))
            case 5 if jobs:
                bench.say(conn, "watchers", job=rng.choice(jobs), index=0, attached=1, watchers=1)
            case 6:
                client = bench.client()
                bench.request(client, "drain", agent=name, on=rng.random() < 0.5)
                bench.gone(client)
            case 7:
                bench.gone(conn)
                agents[name] = bench.agent(name, slots=2, boot=rng.choice(["b1", "b2"]))
            case 8:
                bench.after(rng.choice([1, 20, 70]))
        shown = truth(bench)
        mine = mirror.catch_up()
        assert mine == shown, (step, set(mine) ^ set(shown))
