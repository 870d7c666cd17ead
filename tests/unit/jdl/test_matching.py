"""Requirements and Rank over what agents and sites are."""

import sys
import time

import pytest

from gshell.jdl import glue, matching
from gshell.jdl.matching import Matcher

pytest.importorskip("classad2")

AGENT = {
    "id": "p1.0", "host": "n014", "site": "finis", "lrms": "slurm", "cpus": 8, "slots": 8, "free": 3,
    "memory_bytes": 16 << 30, "tags": ["MPI", "OPENMPI"], "state": "waiting", "ends_in": 7250.0,
    "user": "ann", "ad": {"cpu_model": "Xeon", "gpus": 2, "Scratch": 100},
}  # fmt: skip
SITE = {
    "name": "finis", "lrms": "slurm", "ssh": "ann@fe.finis.org", "queue": "", "max_agents": 4,
    "state": "ok", "ad": {"queues": [
        {"name": "short", "cpus": 64, "cpus_free": 0, "walltime_s": 3600, "waiting": 5},
        {"name": "long", "cpus": 128, "cpus_free": 9, "walltime_s": 86400, "default": True}]},
}  # fmt: skip


def suits(req, ad=AGENT, job=None):
    return Matcher().suits(job or {}, req, ad)


@pytest.mark.parametrize(
    "req",
    [
        "other.cpus == 8", "other.CPUS > 7", "target.free_slots >= 3", 'other.GlueCEInfoLRMSType == "SLURM"',
        "other.GlueCEStateFreeCPUs == 3", "other.GlueHostMainMemoryRAMSize == 16384",
        "other.GlueCEPolicyMaxWallClockTime == 120", 'other.GlueCEStateStatus == "Production"',
        'Member("mpi", other.GlueHostApplicationSoftwareRunTimeEnvironment)',
        'Member("MPI-START", other.GlueHostApplicationSoftwareRunTimeEnvironment)',
        'RegExp("slurm", other.GlueCEUniqueID) && !RegExp("SLURM", other.GlueCEUniqueID)',
        'RegExp("SLURM", other.GlueCEUniqueID, "i")', 'other.GlueHostProcessorModel == "Xeon"',
        "other.gpus > 1 && other.scratch == 100", "cpus > 4", 'site == "finis"', "true", "1 == 1.0",
        "isUndefined(other.nothing)", "other.GlueCEStateRunningJobs == 5",
        'other.GlueCEUniqueID == "n014:2119/jobmanager-slurm-gshell"',
    ],
)  # fmt: skip
def test_a_true_requirement_suits(req):
    assert suits(req)


@pytest.mark.parametrize(
    "req",
    [
        "other.nothing > 1", "!(other.nothing > 1)", "other.cpus", '"yes"', "1", "error", "undefined",
        "other.cpus / 0 > 1", '"3" > 2', "anyMatch(other.tags, true)", "other.cpus.x == 1", "other.cpus > 8",
        '"Production" =?= "production"',
    ],
)  # fmt: skip
def test_what_is_not_true_does_not_suit(req):
    assert not suits(req)


def test_the_job_s_own_attributes_count_before_the_place_s():
    assert suits("NodeNumber <= other.cpus", job={"NodeNumber": 8})
    assert suits("my.x == 1 && self.X == 1", job={"X": 1})
    assert suits("cpus == 2", job={"cpus": 2})
    assert not suits("my.cpus == 8")


def test_a_site_s_queues_are_its_facts():
    assert suits('other.cpus == 192 && other.free_slots == 9 && other.queue == "long"', SITE)
    assert suits("other.GlueCEPolicyMaxWallClockTime == 1440", SITE)
    short = {**SITE, "queue": "short"}
    assert suits('other.free_slots == 0 && other.host == "fe.finis.org"', short)
    assert suits("other.GlueCEPolicyMaxWallClockTime == 60", short)
    assert glue.unique_id(short) == "fe.finis.org:2119/jobmanager-slurm-short"


@pytest.mark.parametrize(("state", "status"), [("draining", "Draining"), ("away", "Closed")])
def test_a_place_that_takes_nothing_is_not_in_production(state, status):
    assert suits(f'other.GlueCEStateStatus == "{status}"', {**AGENT, "state": state})


def test_rank_is_a_number_or_nothing():
    matcher = Matcher()
    assert matcher.rank({}, "other.cpus * 2 + 0.5", AGENT) == 16.5
    assert matcher.rank({}, "-other.GlueCEStateEstimatedResponseTime", {**AGENT, "free": 0}) == -600
    for nothing in ("other.nothing", '"x"', "error", "1 +", "0.0 / 0.0"):
        assert matcher.rank({}, nothing, AGENT) == 0.0
    assert matcher.rank({}, "other.cpus > 4", AGENT) == 1.0


def test_answers_follow_the_facts_and_their_types():
    matcher = Matcher()
    assert matcher.suits({}, "other.cpus =?= 1", {"cpus": 1})
    assert not matcher.suits({}, "other.cpus =?= 1", {"cpus": 1.0})
    assert not matcher.suits({}, "other.cpus =?= 1", {"cpus": True})
    assert not matcher.suits({}, "other.cpus =?= 1", {})


def test_what_is_not_true_is_explained_with_what_there_is():
    req = 'other.cpus > 4 && other.free_slots > NodeNumber && Member("GPU", other.tags) && other.z == 1'
    assert Matcher().explain({"NodeNumber": 4}, req, AGENT) == [
        ("other.free_slots > NodeNumber", "free_slots is 3, NodeNumber is 4"),
        ('Member("GPU", other.tags)', 'tags is {"MPI", "OPENMPI"}'),
        ("other.z == 1", "z is undefined"),
    ]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("other.cpus >", "expression:1:13: expected a value but found the end of the file"),
        ("a = 1", "expression:1:3: = inside an expression: to compare write =="),
        ("x" * 20000, "more than 16384 characters"),
        ("other.cpus > 1", ""),
    ],
)
def test_what_is_wrong_with_an_expression_is_one_line(text, wrong):
    assert Matcher().check(text) == wrong


def test_what_does_not_compute_suits_nobody_and_harms_nobody():
    matcher = Matcher()
    assert not matcher.suits({}, "||".join(["a"] * 3000), AGENT)
    assert not matcher.suits({}, "((", AGENT)
    assert matcher.explain({}, "((", AGENT)[0][0] == "(("


def test_a_thousand_agents_take_less_than_50_ms_once_known():
    ads = [
        {**AGENT, "id": f"a{i}", "cpus": i % 8, "free": i % 5, "ends_in": 3600 + i % 50}
        for i in range(1000)
    ]
    req = ('other.GlueCEStateFreeCPUs > 2 && other.GlueCEStateStatus == "Production" && '
           'Member("MPI", other.GlueHostApplicationSoftwareRunTimeEnvironment) && '
           "other.GlueCEPolicyMaxWallClockTime > 59 && NodeNumber <= other.cpus")  # fmt: skip
    matcher = Matcher()
    found = sum(matcher.suits({"NodeNumber": 3}, req, ad) for ad in ads)
    best = 1.0
    for _ in range(5):  # the machine may be busy with others
        start = time.thread_time()
        assert sum(matcher.suits({"NodeNumber": 3}, req, ad) for ad in ads) == found
        best = min(best, time.thread_time() - start)
    assert best < 0.05
    assert 0 < found < 1000


def test_answers_are_not_kept_without_end(monkeypatch):
    monkeypatch.setattr(matching, "ANSWERS", 50)
    matcher = Matcher()
    for number in range(120):
        matcher.suits({}, "other.id == 5", {"id": str(number)})
    assert len(matcher._asked("other.id == 5")._answers) <= 50


def test_every_name_of_glue_can_be_asked_of_everything():
    for facts in (AGENT, SITE, {}, {"name": "s", "lrms": "oar", "ad": {"queues": [{}, 3]}}):
        for name in glue.names():
            glue.fact(name, facts)


def test_without_the_library_one_sentence_says_what_to_install(monkeypatch):
    from gshell.jdl import eval as evaluation

    monkeypatch.setitem(sys.modules, "classad2", None)
    evaluation._library.cache_clear()
    try:
        assert not evaluation.available()
        said = Matcher().check("other.cpus > 1")
        assert said.startswith(
            "Requirements, Rank and computed values need HTCondor's ClassAd library"
        )
        assert "pip install 'gshell[jdl]'" in said
    finally:
        evaluation._library.cache_clear()


def doubled(times):
    text = '"a"'
    for _ in range(times):
        text = f'replaceall("a", {text}, "aa")'
    return f"size({text}) > 5"


@pytest.mark.parametrize("text", [
    doubled(30),  # a GB
    'eval("1 + 1") == 2', 'regexps("(a)", other.host, "\\\\1\\\\1") == "aa"', 'userHome("root") == "/root"',
    '[a = "x"; b = strcat(a, a); c = strcat(b, b)].c == "xxxx"',
    'regexp("^(a+)+$", other.host)', 'regexp("(a|aa)*b", other.host)', 'regexp("((a?)b)*c", other.host)' ,
    'regexp("a*a*a*a*a*b", other.host)', 'regexp("a?a?a?a?a?b", other.host)', 'regexp("(a)\\\\1", other.host)', "regexp(my.pattern, other.host)",
    'regexp("(?=a)a", other.host)', f'regexp("a", "{"x" * 2000}")',
    " || ".join(f'regexp("a{n}", other.host)' for n in range(9)),
])  # fmt: skip
def test_an_expression_that_may_cost_much_is_refused(text):
    """One process evaluates them for all users of a relay."""
    assert Matcher().check(text)
    assert not Matcher().suits({"pattern": "a"}, text, {"host": "a" * 30 + "!"})


@pytest.mark.parametrize("text", [
    'regexp("^node[0-9]+\\\\.(a|b|c).*$", other.host, "i")', 'regexp("(?i:xeon)", other.cpu_model)',
    'stringListIMember("mpi", "MPI,LU")', "ifThenElse(isUndefined(other.x), 1, other.x) == 1",
])  # fmt: skip
def test_what_costs_little_is_taken(text):
    assert Matcher().check(text) == ""
