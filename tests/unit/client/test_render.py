import pytest

from gshell.client import render
from gshell.client.render import (
    agents_table,
    ago_text,
    bytes_text,
    display_width,
    duration_text,
    error_text,
    hosts_text,
    jobs_table,
    state_text,
    wants_color,
)
from gshell.errors import GshellError, LrmsError, UsageError

NOW = 1_000_000.0


def job(**fields):
    return {
        "id": "42", "name": "sh", "user": "ann", "state": "ACTIVE", "hosts": ["n014"], "size": 1,
        "tasks": 1, "argv0": "sh", "created_at": NOW - 200, "started_at": NOW - 192,
        "ended_at": None, "code": None, "signal": None, "watchers": 0, "attached": 1, **fields,
    }  # fmt: skip


def agent(**fields):
    return {
        "id": "a1", "host": "n014", "user": "ann", "cpus": 8, "memory_bytes": 64 << 30,
        "tags": ["gpu"], "slots": 8, "free": 3, "state": "waiting", "since": NOW - 7300,
        "version": "0.1.0", **fields,
    }  # fmt: skip


JOBS = [
    job(),
    job(id="43", name="lu.C.64", hosts=[f"n{n:03}" for n in range(20, 24)], tasks=64, watchers=1),
    job(id="44", name="lu.D.256", state="QUEUED", hosts=[], started_at=None, attached=0),
    job(id="41", name=None, argv0="lu.A.4", state="COMPLETED", code=0, ended_at=NOW - 159),
    job(id="40", state="FAILED", signal=9, ended_at=NOW),
    job(id="39", state="CANCELED", attached=0),
]


def test_jobs_as_a_table():
    assert jobs_table(JOBS, NOW) == (
        "ID  NAME      STATE        NODES        N  ELAPSED    CREATED  WATCH\n"
        "42  sh        active       n014         1  0:03:12  3 min ago  attached\n"
        "43  lu.C.64   active       n[020-023]  64  0:03:12  3 min ago  attached, 1 reader\n"
        "44  lu.D.256  queued       -            1        -  3 min ago  -\n"
        "41  lu.A.4    done 0       n014         1  0:00:33  3 min ago  attached\n"
        "40  sh        failed KILL  n014         1  0:03:12  3 min ago  attached\n"
        "39  sh        canceled     n014         1  0:03:12  3 min ago  -\n"
    )


def test_agents_as_a_table():
    assert agents_table([agent()], NOW) == (
        "ID  HOST  STATE    FREE  CPUS    MEMORY  TAGS    SINCE  VERSION\n"
        "a1  n014  waiting   3/8     8  64.0 GiB  gpu   2 h ago  0.1.0\n"
    )


def test_what_a_batch_job_has_beside_an_interactive_one_is_a_column():
    share = {"share": 0.0983, "how": "autogroup", "asked": 10}
    table = agents_table([agent(share=share), agent(id="a2", share=None)], NOW)
    assert "BATCH HAS" in table
    assert "9.8 % (asked 10)" in table
    for nothing in (None, {"share": None, "how": "none", "asked": 10}, "0.1", {"share": "x"}):
        assert "BATCH HAS" not in agents_table([agent(share=nothing)], NOW)


def test_nothing_is_said_in_words():
    assert jobs_table([], NOW) == "no jobs\n"
    assert agents_table([], NOW) == "no agents\n"


def test_a_second_user_brings_a_column():
    assert "USER" not in jobs_table(JOBS, NOW)
    assert "bob" in jobs_table([*JOBS, job(user="bob")], NOW)
    assert "bob" in agents_table([agent(), agent(user="bob")], NOW)


@pytest.mark.parametrize("width", [*range(1, 100)])
def test_no_line_is_wider_than_the_screen(width):
    jobs = [*JOBS, job(name="日本語" * 9), job(name="a" * 99)]
    for text in (jobs_table(jobs, NOW, width), agents_table([agent(host="h" * 99)], NOW, width)):
        for line in text.splitlines():
            assert display_width(line) <= width, line


def test_what_matters_least_goes_first_and_the_id_stays():
    titles = [jobs_table(JOBS, NOW, width).split("\n")[0].split() for width in (99, 60, 40, 30, 4)]
    assert titles == [
        ["ID", "NAME", "STATE", "NODES", "N", "ELAPSED", "CREATED", "WATCH"],
        ["ID", "NAME", "STATE", "NODES", "N", "ELAPSED"],
        ["ID", "NAME", "STATE", "ELAPSED"],
        ["ID", "NAME", "STATE"],
        ["ID"],
    ]


def test_what_comes_from_elsewhere_cannot_reach_the_terminal():
    evil = "\x1b]0;owned\x07\x1b[2J\n\u202e"
    text = jobs_table(
        [job(id=evil, name=evil, state=evil, hosts=[evil], tasks=evil, user=evil), job()], NOW
    )
    text += agents_table([agent(id=evil, host=evil, tags=[evil], state=evil, free=evil)], NOW, 70)
    text += error_text(GshellError(evil, evil))
    assert not [char for char in text if char != "\n" and not char.isprintable()]
    assert jobs_table([job(name=evil)], NOW).count("\n") == 2


def test_color_is_only_added():
    plain, colored = jobs_table(JOBS, NOW, 80), jobs_table(JOBS, NOW, 80, True)
    assert plain != colored
    for code in ("\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[m"):
        colored = colored.replace(code, "")
    assert colored == plain


def test_a_job_with_fields_missing_or_strange_is_still_shown():
    assert "7" in jobs_table([{"id": 7, "state": "NEW"}], NOW)
    assert state_text({"state": "FAILED", "signal": 64}) == ("failed signal 64", "red")
    assert state_text({"state": "FAILED", "code": 3}) == ("failed 3", "red")
    assert state_text({"state": "COMPLETED"}) == ("done", "dim")
    assert state_text({"state": "STAGE_IN"}) == ("stage in", "yellow")
    assert state_text({}) == ("", "dim")
    assert agents_table([{"id": "x"}], NOW).splitlines()[1].split()[:2] == ["x", "?/?"]


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        ([], ""),
        (["n1"], "n1"),
        (["n1", "n2", "n3"], "n[1-3]"),
        (["n09", "n10", "n12"], "n[09-10],n12"),
        (["n9", "n10"], "n9,n10"),
        (["a", "b", "a"], "a,b,a"),
        (["a.1", "b.2"], "a.1,b.2"),
        (["10.0.0.1", "10.0.0.2"], "10.0.0.[1-2]"),
    ],
)
def test_hosts_are_folded(hosts, text):
    assert hosts_text(hosts) == text


def test_durations_and_sizes():
    assert [duration_text(s) for s in (-1, 0, 192, 3600, 93784)] == [
        "0:00:00", "0:00:00", "0:03:12", "1:00:00", "1-02:03:04",
    ]  # fmt: skip
    assert [ago_text(s) for s in (-5, 1, 40, 200, 7300, 200000)] == [
        "now", "now", "40 s ago", "3 min ago", "2 h ago", "2 d ago",
    ]  # fmt: skip
    assert [bytes_text(n) for n in (0, 512, 999, 1000, 12_300_000, 999_960, 640e9, 5e15)] == [
        "0 B", "512 B", "999 B", "1.0 kB", "12.3 MB", "1.0 MB", "640 GB", "5000 TB",
    ]  # fmt: skip
    assert bytes_text(64 << 30, 1024) == "64.0 GiB"


@pytest.mark.parametrize(
    ("choice", "terminal", "environ", "wanted"),
    [
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", False, {"TERM": "xterm"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", True, {}, False),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        ("auto", False, {"FORCE_COLOR": "1"}, True),
        ("auto", False, {"FORCE_COLOR": "0"}, False),
        ("auto", False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("always", False, {"NO_COLOR": "1"}, True),
        ("never", True, {"TERM": "xterm", "FORCE_COLOR": "1"}, False),
    ],
)
def test_whether_there_is_color(choice, terminal, environ, wanted):
    assert wants_color(choice, terminal, environ) is wanted


def test_an_error_says_what_and_what_next():
    assert error_text(UsageError("run: CMD is missing", "gshell run hostname")) == (
        "gshell: run: CMD is missing\n  try:  gshell run hostname\n"
    )
    assert error_text(LrmsError("refused", "sbatch: a\nb\x1b")) == (
        "gshell: sbatch: a\n        b\\x1b\n"
    )
    assert "\x1b[31mgshell:\x1b[m" in error_text(GshellError("x"), True)


def test_every_color_has_a_code():
    assert render.painted("x", "", True) == "x"
    assert render.painted("", "red", True) == ""
