"""The toolbar, the pane and the news: what is seen of it."""

import pytest

from gshell.client.render import display_width
from gshell.repl import news, toolbar
from gshell.repl.facts import Facts

EVIL = "\x1b]0;x\x07\u202e\n\x9b"
AGENTS = ({"id": "a", "state": "waiting"}, {"id": "b", "state": "busy"})


def job(number, state="ACTIVE", ended=None, **more):
    return {"id": str(number), "name": f"job{number}", "state": state, "started_at": 10.0,
            "ended_at": ended, "hosts": ["n1"], "code": 0 if ended else None, **more}  # fmt: skip


def facts(**more):
    base = {"relay": "h:4433", "up": True, "known": True, "latency_s": 0.0123, "agents": AGENTS,
            "jobs": (job(1), job(2, "QUEUED"), job(3, "COMPLETED", 20.0))}  # fmt: skip
    return Facts(**{**base, **more})


def test_the_line_has_relay_latency_agents_and_jobs():
    assert toolbar.line(facts(), 80) == (
        "h:4433 12 ms │ agents 1 free, 1 busy │ jobs 1 running, 1 queued"
    )
    assert toolbar.line(facts(), 80, ascii_only=True).isascii()
    assert toolbar.line(facts(relay="unix:/x/relay.sock"), 80).startswith("private relay 12 ms")


def test_a_relay_that_is_away_says_so_and_why():
    shown = toolbar.line(facts(up=False, trouble="connection refused", latency_s=None), 80)
    assert shown.startswith("relay away: connection")
    assert toolbar.line(Facts(), 80).startswith("no relay runs")
    assert toolbar.line(Facts(trouble="no ticket"), 80) == "no ticket"


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 200])
def test_nothing_is_wider_than_the_screen(width):
    many = facts(
        relay="x" * 300, trouble="y" * 300, jobs=tuple(job(n, name="名" * 40) for n in range(30))
    )
    for known in (many, many._replace(up=False), Facts(trouble="z" * 300)):
        for ascii_only in (False, True):
            assert display_width(toolbar.line(known, width, ascii_only)) <= max(1, width - 1)
            for row in toolbar.pane(known, {"29": 4}, 50.0, width, ascii_only):
                assert display_width(row) <= max(40, width)


def test_the_pane_has_what_lives_and_the_numbers():
    rows = toolbar.pane(facts(), {"1": 1, "2": 2}, 70.0, 80)
    assert [row.split()[:4] for row in rows] == [
        ["%1", "1", "job1", "active"], ["%2", "2", "job2", "queued"],
    ]  # fmt: skip
    assert "0:01:00" in rows[0]
    assert toolbar.pane(facts(jobs=()), {}, 0.0, 80) == ["no jobs"]
    many = facts(jobs=tuple(job(n) for n in range(20)))
    assert len(toolbar.pane(many, {}, 0.0, 80)) == toolbar.PANE_ROWS


def test_hostile_texts_move_nothing():
    bad = facts(
        relay=EVIL, agents=({"id": EVIL, "state": EVIL},), jobs=(job(1, name=EVIL, hosts=[EVIL]),)
    )
    shown = [toolbar.line(bad, 80), *toolbar.pane(bad, {}, 0.0, 80), toolbar.meta(bad.jobs[0], 0.0),
             toolbar.line(bad._replace(up=False, trouble=EVIL), 80)]  # fmt: skip
    event = {"kind": "job", "job": job(1, "FAILED", 20.0, name=EVIL, error=EVIL)}
    shown += [one.text for one in news.of(event, job(1), facts(), 0.0)]
    gone = {"kind": "gone", "what": "agent", "id": EVIL}
    shown += [one.text for one in news.of(gone, {"state": "busy"}, facts(), 0.0)]
    assert len(shown) >= 6
    assert all(text.isprintable() for text in shown), shown


# --------------------------------------------------------------------------------------------- news


def said(message, before=None, known=None):
    return [one.text for one in news.of(message, before, known or facts(), 0.0)]


def test_the_end_of_a_job_is_news_once():
    ended = job(1, "COMPLETED", 70.0)
    assert said({"kind": "job", "job": ended}, job(1)) == ["job 1 job1: done 0, 0:01:00"]
    assert said({"kind": "job", "job": ended}, ended) == []


def test_a_job_that_begins_is_news_if_it_waited():
    now = {"kind": "job", "job": job(2)}
    assert said(now, job(2, "QUEUED", why="no agent is free")) == ["job 2 job2: active on n1"]
    assert said(now, job(2, "QUEUED")) == []
    assert said(now) == []


def test_agents_that_come_and_go():
    agent = {"id": "n1", "host": "h", "state": "waiting"}
    assert said({"kind": "agent", "agent": agent}) == ["agent n1 on h: waiting"]
    assert said({"kind": "agent", "agent": agent}, {**agent, "state": "busy"}) == []
    assert said({"kind": "agent", "agent": {**agent, "state": "away"}}, agent) == [
        "agent n1 on h: away"
    ]
    assert said({"kind": "gone", "what": "agent", "id": "n1"}, agent) == ["agent n1 has gone"]
    assert said({"kind": "gone", "what": "agent", "id": "n1"}, {**agent, "state": "away"}) == []


def test_what_ended_while_the_relay_was_away_is_said():
    resync = {"kind": "resync", "jobs": [job(2, "QUEUED")], "agents": []}
    assert said(resync) == ["job 1 job1 has ended meanwhile"]
    assert said(resync, known=Facts()) == []


def test_progress_is_no_news():
    assert said({"kind": "stats", "steps": []}) == []
