"""What a client makes of the feed: the mirror, its rates, lines of events, and `top`'s picture."""

import json

import pytest

from gshell.cli.keyboard import keys
from gshell.client import events
from gshell.client.feed import STALE_S, Mirror
from gshell.client.render import display_width, jobs_table, progress_text
from gshell.client.topview import View

NOW = 1_800_000_000.0
EVIL = "\x1b]0;owned\x07\x1b[2J\nx"


def job(id="1", state="ACTIVE", **more):
    return {"id": id, "name": "", "user": "u", "state": state, "agents": ["n1"], "hosts": ["h1"],
            "size": 1, "tasks": 1, "pty": False, "argv0": "prog", "created_at": NOW - 60,
            "started_at": NOW - 50, "ended_at": None, "code": None, "signal": None, "error": None,
            "watchers": 0, "attached": 0, **more}  # fmt: skip


def agent(id="n1", state="waiting", **more):
    return {"id": id, "host": "h1", "user": "u", "cpus": 2, "memory_bytes": 1 << 30, "tags": [],
            "slots": 4, "free": 3, "state": state, "since": NOW - 100, "pid": 1, "version": "1",
            **more}  # fmt: skip


def event(kind, seq=1, **fields):
    return {"m": "event", "seq": seq, "kind": kind, **fields}


def step(id="1", index=0, out=0, taken=0, cpu_s=0.0, waits=False):
    return {"job": id, "index": index, "out": out, "in": taken, "cpu_s": cpu_s,
            "rss_bytes": 1 << 20, "waits": waits}  # fmt: skip


@pytest.fixture
def mirror():
    one = Mirror()
    one.apply({"seq": 5, "jobs": [job()], "agents": [agent()]}, NOW)
    return one


def test_events_change_what_is_known_and_say_what_was_before(mirror):
    before = mirror.apply(event("job", 6, job=job(state="COMPLETED")), NOW)
    assert before["state"] == "ACTIVE"
    assert mirror.jobs["1"]["state"] == "COMPLETED"
    assert mirror.apply(event("gone", 7, what="agent", id="n1"), NOW)["id"] == "n1"
    assert (mirror.agents, mirror.seq) == ({}, 7)
    assert mirror.apply(event("novelty", 8), NOW) is None


@pytest.mark.parametrize(
    "message",
    [
        event("job"), event("job", job=None), event("job", job={"id": "x"}), event("agent", agent=[]),
        event("stats", steps=7), event("stats", steps=[{}]), event("resync", jobs=[{"id": None}]),
        event("gone", what="job"),
    ],
)  # fmt: skip
def test_an_event_that_makes_no_sense_is_an_error_of_a_known_kind(mirror, message):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        mirror.apply(message, NOW)


def test_a_resync_forgets_what_is_not_in_it(mirror):
    mirror.apply(event("resync", 90, jobs=[job("2")], agents=[]), NOW)
    assert (list(mirror.jobs), list(mirror.agents), mirror.seq) == (["2"], [], 90)


def test_rates_are_what_came_between_two_reports(mirror):
    assert mirror.use("1", NOW) is None
    mirror.apply(event("stats", steps=[step(out=1000), step(index=1, out=5)]), NOW)
    mirror.apply(event("stats", steps=[step(out=6000, taken=10, cpu_s=10.0)]), NOW + 5)
    use = mirror.use("1", NOW + 5)
    assert (use.out_rate, use.in_rate, use.cpu_rate, use.out) == (1000.0, 2.0, 2.0, 6005)
    assert use.moved_at == NOW + 5
    late = mirror.use("1", NOW + 5 + STALE_S)
    assert (late.out_rate, late.out) == (0.0, 6005)


def test_who_does_nothing_is_idle_since_it_last_did(mirror):
    mirror.apply(event("stats", steps=[step(out=1)]), NOW)
    mirror.apply(event("stats", steps=[step(out=1, cpu_s=1.0, waits=True)]), NOW + 20)
    assert mirror.use("1", NOW + 20).moved_at == NOW
    assert "asks" in "\n".join(frame(View(), mirror, now=NOW + 20))


@pytest.mark.parametrize(
    ("before", "news", "line"),
    [
        (None, event("job", job=job()), "job 1 prog: active on h1"),
        (job(), event("job", job=job(state="FAILED", code=3, name="n")), "job 1 n: failed 3"),
        (job(), event("job", job=job(state="FAILED", signal=9, error="agent lost")),
         "job 1 prog: failed KILL: agent lost"),
        (job(), event("job", job=job(attached=1)), "job 1 prog: somebody attached"),
        (job(watchers=2), event("job", job=job(watchers=1)), "job 1 prog: one reader less"),
        (job(), event("job", job=job()), ""),
        (None, event("agent", agent=agent()), "agent n1 on h1: waiting"),
        (agent(), event("agent", agent=agent(state="away")), "agent n1 on h1: away"),
        (agent(), event("agent", agent=agent(free=1)), ""),
        (agent(), event("gone", what="agent", id="n1"), "agent n1 is gone"),
        (job(ended_at=1.0), event("gone", what="job", id="1"), ""),
        (None, event("resync", jobs=[job()], agents=[]), "1 job, 0 agents"),
    ],
)  # fmt: skip
def test_an_event_is_a_line(before, news, line):
    assert events.text(news, before) == line


def test_json_lines_have_a_schema_and_nothing_of_the_transport():
    line = json.loads(events.json_line(event("job", 9, job=job()), 12.34567))
    assert line == {"schema": 1, "at": 12.346, "seq": 9, "kind": "job", "job": job()}


def test_what_others_have_named_obeys_no_terminal(mirror):
    nasty = job("2", name=EVIL, argv0=EVIL, hosts=[EVIL], error=EVIL)
    mirror.apply(event("job", job=nasty), NOW)
    mirror.apply(event("agent", agent=agent(EVIL, host=EVIL, tags=[EVIL], version=EVIL)), NOW)
    view = View()
    view.events.append((NOW, events.text(event("job", job=nasty), None)))
    view.selected, view.filter = "2", ""
    shown = "\n".join(frame(view, mirror)) + events.text(event("agent", agent=agent(EVIL)), None)
    assert "\x1b" not in shown
    assert "\x07" not in shown


# ---------------------------------------------------------------------------------------------- top


def frame(view, mirror, rows=24, columns=80, color=False, now=NOW):
    return view.frame(mirror, now, rows, columns, "1.0 ms", "relay:1", color)


def many(count):
    mirror = Mirror()
    jobs = [job(str(number), name=f"job-{number}") for number in range(1, count + 1)]
    mirror.apply({"jobs": jobs, "agents": [agent(f"n{i}") for i in range(count)]}, NOW)
    return mirror


@pytest.mark.parametrize("rows", [1, 2, 5, 9, 16, 24, 40, 100])
@pytest.mark.parametrize("columns", [1, 20, 80, 200])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_a_picture_has_the_screen_s_size(rows, columns, count):
    view = View()
    for number in range(30):
        view.events.append((NOW - number, "x" * 300))
    mirror = many(count)
    lines = frame(view, mirror, rows, columns)
    assert len(lines) == rows
    if columns >= 20:
        assert max(map(display_width, lines)) <= columns


def test_the_header_counts(mirror):
    mirror.apply(event("job", job=job("2", "QUEUED", started_at=None)), NOW)
    first, second, *_ = frame(View(), mirror)
    assert first == "gshell top  relay:1  1.0 ms"
    assert "agents 1 (1 busy), slots 3 free of 4   jobs 1 active, 1 waiting" in second


def press(view, mirror, *typed):
    for one in typed:
        action = view.key(one, [j["id"] for j in view.jobs(mirror, NOW)])
    return action


def test_keys_move_the_selection_and_it_stays_in_sight():
    view, mirror = View(), many(50)
    press(view, mirror, *["j"] * 40)
    assert view.selected == "40"
    assert any(line.startswith("> 40") for line in frame(view, mirror))
    press(view, mirror, "k", "home", "up")
    assert view.selected == "1"
    press(view, mirror, "end", "down")
    assert view.selected == "50"
    assert any(line.startswith("> 50") for line in frame(view, mirror))


def test_ending_a_job_asks_first():
    view, mirror = View(), many(2)
    press(view, mirror, "K")
    assert "no job is selected" in frame(view, mirror)[-1]
    assert press(view, mirror, "j", "K") == ""
    assert "end job 1?" in frame(view, mirror)[-1]
    assert press(view, mirror, "q") == ""
    assert "nothing was ended" in frame(view, mirror)[-1]
    assert press(view, mirror, "K", "y") == "kill"


def test_a_filter_is_typed_kept_and_cleared():
    view, mirror = View(), many(12)
    press(view, mirror, "/", "b", "x", "\x7f", "-", "1", "2")
    assert [j["id"] for j in view.jobs(mirror, NOW)] == ["12"]
    press(view, mirror, "\r")
    assert press(view, mirror, "q") == "quit"
    press(view, mirror, "esc")
    assert len(view.jobs(mirror, NOW)) == 12


def test_sorting_goes_round_and_keeps_the_selection():
    view, mirror = View(), many(3)
    mirror.apply(event("stats", steps=[step("2")]), NOW)
    mirror.apply(event("stats", steps=[step("2", out=100)]), NOW + 1)
    press(view, mirror, "j", "s")
    assert view.sort == "io"
    assert [j["id"] for j in view.jobs(mirror, NOW)] == ["2", "1", "3"]
    assert view.selected == "1"
    press(view, mirror, *["s"] * 5)
    assert view.sort == "id"


def test_a_job_that_goes_takes_the_selection_with_it():
    view, mirror = View(), many(2)
    press(view, mirror, "j")
    mirror.apply(event("gone", what="job", id="1"), NOW)
    view.jobs(mirror, NOW)
    assert view.selected == ""


def test_without_color_nothing_is_said_in_color_alone(mirror):
    view = View()
    press(view, mirror, "j")
    assert "\x1b" not in "".join(frame(view, mirror))
    assert "\x1b[7m" in "".join(frame(view, mirror, color=True))


def test_all_of_it_is_ascii_where_the_names_are(mirror):
    assert "\n".join(frame(View(), mirror)).isascii()


def test_typed_bytes_are_keys():
    data = b"j\x1b[A\x1bOB\x1b[5~\x1b[99;9u\xc3\xbc\x1b"
    assert keys(data) == ["j", "up", "down", "pgup", "ü", "esc"]
    assert keys(b"\xff\xfe") == ["\ufffd"] or keys(b"\xff\xfe")


def test_how_far_a_job_is_stands_in_both_tables(mirror):
    assert "PROGRESS" not in View().once(mirror, NOW, 200, "", "")
    said = {**step(), "progress": {"done": 20, "of": 250}}
    mirror.apply(event("stats", 6, at=NOW - 10, steps=[said]), NOW)
    assert mirror.jobs["1"]["progress"] == {"done": 20, "of": 250, "at": NOW - 10}
    # 20 steps took 40 s, so the other 230 take 460 s, of which 10 s have gone by
    assert "20/250, 0:07:30 left" in View().once(mirror, NOW, 200, "", "")
    assert "20/250, 0:07:30 left" in jobs_table(list(mirror.jobs.values()), NOW)
    mirror.apply(event("stats", 7, at=NOW, steps=[step()]), NOW)
    assert "PROGRESS" not in jobs_table(list(mirror.jobs.values()), NOW)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"done": 8, "of": 100, "at": NOW - 50}, "8%"),  # it has just begun: no rate yet
        ({"done": 100, "of": 100, "at": NOW}, "100%"),
        ({"done": 0, "of": 7, "at": NOW}, "0/7"),
        ({"done": 6, "of": 7, "at": NOW - 20}, "6/7"),  # it should have been over by now
        ({"done": 5, "of": 10, "at": NOW}, "5/10, 0:00:50 left"),
        ({"done": "x", "of": 7}, "-"),
        ({"done": 1, "of": 7}, "1/7"),
        ({"done": 1, "of": 250, "at": NOW}, "1/250"),  # 50 s, mostly of starting
        (None, "-"),
        ("1/2", "-"),
    ],
)
def test_how_long_yet_is_said_when_it_can_be_known(said, wanted):
    assert progress_text(job(progress=said), NOW) == wanted
    assert progress_text(job(progress=said, ended_at=NOW), NOW) == "-"
