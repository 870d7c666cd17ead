"""What a job may want, read from whatever is said."""

import json

import pytest

from gshell.errors import UsageError
from kit.broker import BrokerBench
from relay.broker.model import Job
from relay.broker.wants import NOTHING, Wants

A = "a" * 32
FULL = {
    "site": ["finis", "ifca"], "req": "other.Memory > 5", "rank": "other.Cpus", "fuzzy": 0.5,
    "job_ad": {"Args": ["x", 1], "Env": {"a": None}}, "lane": "interactive", "loss": 0,
    "walltime": 60.5, "memory": 1 << 30, "whole": True, "after": [3, 7], "retry": 2, "shallow": 3,
    "hold": 30, "deadline": 5e8, "name": "lu", "parent": 12,
}  # fmt: skip


def test_everything_said_is_kept_and_comes_back_from_the_journal():
    wants = Wants.parse({**FULL, "after": ["3", "7", "3"], "parent": "12", "m": "submit"})
    assert wants.said == FULL
    assert Wants.restored(json.loads(json.dumps(wants.said))) == wants


def test_who_says_nothing_wants_nothing_in_particular():
    assert Wants.parse({"m": "submit", "site": None, "req": ""}) == NOTHING
    assert NOTHING.said == {}


def test_one_site_may_be_said_as_a_text():
    assert Wants.parse({"site": "finis"}).site == ("finis",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("site", "a b"), ("site", ["ok", 3]), ("site", ["x"] * 33), ("site", {"a": 1}),
        ("req", 1), ("req", "x" * 16385), ("rank", ["x"]), ("job_ad", []), ("job_ad", {"a b": 1}),
        ("job_ad", {"a": {"b": {"c": {"d": {"e": {}}}}}}), ("job_ad", {"a": "x" * 4097}),
        ("fuzzy", -1), ("fuzzy", float("nan")), ("lane", "fast"), ("lane", 3), ("lane", []),
        ("loss", 101), ("loss", 2.5), ("loss", True), ("walltime", -1),
        ("walltime", float("inf")), ("walltime", "1h"), ("memory", 1 << 61), ("whole", 1),
        ("after", "3"), ("after", ["x"]), ("after", [-1]), ("after", [True]), ("after", ["٣"]),
        ("retry", 101), ("shallow", -1), ("hold", "x"), ("deadline", [1]), ("name", "x" * 201),
        ("parent", "p"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_its_name(field, value):
    with pytest.raises(UsageError, match=field):
        Wants.parse({field: value})


def test_a_loss_is_of_interactive_jobs():
    with pytest.raises(UsageError, match="interactive"):
        Wants.parse({"lane": "batch", "loss": 5})


def test_openings_and_submitted_jobs_have_what_they_want_after_a_restart_too():
    bench = BrokerBench()
    client = bench.client()
    assert bench.open(A, walltime=60) == ("no", "queued")
    assert bench.request(client, "submit", spec={"argv": ["x"]}, site=["finis"], name="lu")["ok"]
    bench.restart()
    first, second = bench.core.books.jobs.values()
    assert (first.wants.walltime, second.wants.site, second.name) == (60, ("finis",), "lu")
    assert Job.restored(second.record()).wants == second.wants
    assert bench.job(2)["site"] == "finis"


def test_a_request_that_wants_nonsense_is_told_what():
    bench = BrokerBench()
    client = bench.client()
    answer = bench.request(client, "submit", spec={"argv": ["x"]}, walltime="soon")
    assert (answer["code"], "walltime" in answer["message"]) == ("usage", True)
    assert bench.open(A, loss=200) == ("no", "denied")
    assert "loss" in bench.request(client, "whynot", att=A)["message"]
