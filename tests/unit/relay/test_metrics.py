"""The metrics' text, and what is counted from actions and doors' reports."""

import pytest

from kit.broker import BrokerBench
from kit.exposition import read
from relay.metrics import Counter, Gauge, Histogram, Registry
from relay.telemetry import Telemetry

A, B = "a" * 32, "b" * 32
VITALS = {"lag_s": 0.001, "rss_bytes": 1 << 20, "fds": 7, "fds_limit": 1024}


@pytest.fixture
def registry():
    return Registry()


def test_every_kind_reads_back_as_it_was_counted(registry):
    registry.counter("x_total", "Things.").inc(3)
    registry.gauge("y_bytes", "Size.", "of").set(1.5, "it")
    one = registry.histogram("z_seconds", "Time.", (0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 7.0):
        one.observe(value)
    page = read(registry.render())
    assert page["x_total"] == {(): 3.0}
    assert page["y_bytes"] == {(("of", "it"),): 1.5}
    assert list(page["z_seconds_bucket"].values()) == [2, 3, 4]
    assert page["z_seconds_sum"][()] == pytest.approx(7.65)


@pytest.mark.parametrize("text", ['"', "\\", "\n", "\\n", '\\"', "ü", "}", 'a,b="c"', ""])
def test_a_label_s_value_comes_through_whatever_is_in_it(registry, text):
    registry.gauge("x", f"Help {text}.", "l").set(1, text)
    assert read(registry.render())["x"] == {(("l", text),): 1.0}


def test_a_label_with_too_many_values_is_cut_not_grown(registry):
    one = registry.counter("x_total", "Things.", "l")
    for number in range(5000):
        one.inc(1, str(number))
    assert len(one.values) == 1000


def test_a_family_without_samples_is_not_mentioned(registry):
    registry.gauge("x", "Nothing yet.", "l")
    assert registry.render() == "\n"


def test_kinds_are_told_apart():
    assert [k.kind for k in (Counter, Gauge, Histogram)] == ["counter", "gauge", "histogram"]


# ---------------------------------------------------------------------------------- what is counted


class Watched(BrokerBench):
    """A bench whose actions are counted."""

    def __init__(self):
        super().__init__()
        self.telemetry = Telemetry()

    def feed(self, event):
        actions = super().feed(event)
        self.telemetry.on_actions(actions, self.now)
        return actions

    def page(self):
        return read(self.telemetry.page(self.core.books, 1.0, VITALS))


@pytest.fixture
def bench():
    return Watched()


def test_a_job_s_life_is_counted_once(bench):
    agent, job = bench.running(A)
    page = bench.page()
    assert page["gshell_jobs"][("state", "active"),] == 1
    assert page["gshell_jobs_started_total"][()] == 1
    assert page["gshell_slots"] == {(("use", "used"),): 1, (("use", "free"),): 1}
    bench.ended(agent, job, code=3)
    bench.ended(agent, job, code=3)
    page = bench.page()
    assert page["gshell_jobs_ended_total"][("result", "failed"),] == 1
    assert page["gshell_jobs_submitted_total"][()] == page["gshell_jobs_started_total"][()] == 1
    assert (
        page["gshell_start_seconds_count"][()] == page["gshell_queue_wait_seconds_count"][()] == 1
    )


def test_waiting_is_measured_until_there_is_a_place(bench):
    client = bench.client()
    bench.request(client, "submit", spec={"argv": ["true"]}, n=1, size=1)
    assert bench.page()["gshell_queue_jobs"][()] == 1
    bench.after(100)
    bench.agent()
    page = bench.page()
    assert page["gshell_queue_wait_seconds_sum"][()] == 100
    assert page["gshell_queue_jobs"][()] == 0


def test_an_opening_ahead_of_use_is_nobody_s_job_until_it_starts(bench):
    agent = bench.agent()
    assert bench.open(A, warm=True) == ("pair", "n1")
    assert bench.page()["gshell_jobs_submitted_total"][()] == 0
    job = bench.got(agent, "expect")[0]["job"]
    bench.started(agent, job, att=A)
    assert bench.page()["gshell_jobs"][("state", "active"),] == 1
    bench.ended(agent, job)
    page = bench.page()
    assert page["gshell_jobs_submitted_total"][()] == page["gshell_jobs_started_total"][()] == 1
    assert page["gshell_jobs_ended_total"][("result", "completed"),] == 1
    assert page["gshell_start_seconds_count"][()] == 0


def test_what_a_journal_held_is_no_news(bench):
    bench.running(A)
    bench.telemetry = Telemetry()
    bench.telemetry.restored(bench.journal["job"].values())
    bench.restart()
    bench.after(1)
    assert bench.page()["gshell_jobs_started_total"][()] == 0


def report(**more):
    return {"at": 5.0, **VITALS, "control": {"agent": 1, "client": 2}, "refused": {"again": 2},
            "accepted": 10, "up": 100, "down": 200, "pairs": 1, "spares": 2, **more}  # fmt: skip


def test_counters_of_a_door_that_died_go_on_with_its_successor(bench):
    bench.telemetry.on_door("door0", report(), 5.25)
    page = bench.page()
    assert page["gshell_bus_lag_seconds"] == {(("process", "door0"),): 0.25}
    assert page["gshell_door_bytes_total"][("direction", "down"),] == 200
    bench.telemetry.door_lost("door0")
    assert bench.page()["gshell_pairs"][()] == 0
    bench.telemetry.on_door("door0", report(accepted=1, refused={"used": 1}), 5.0)
    page = bench.page()
    assert page["gshell_door_connections_total"][()] == 11
    refused = page["gshell_refused_preambles_total"]
    assert refused == {(("code", "again"),): 2, (("code", "used"),): 1}


def test_no_name_of_anybody_or_anything_is_on_the_page(bench):
    client = bench.client("u-canary")
    agent = bench.agent("n-canary", user="u-canary", tags=["t-canary"])
    spec = {"argv": ["argv-canary"], "name": "j-canary"}
    bench.request(client, "submit", spec=spec, n=1, size=1)
    bench.say(agent, "started", job="1", index=0, tasks=1, spec_name="j-canary", at=bench.now)
    bench.telemetry.on_door("door0", report(), 5.0)
    assert "canary" not in bench.telemetry.page(bench.core.books, 1.0, VITALS)
