"""`jobs -w` and `agents -w`: by the feed, or by asking again where the relay has none."""

import pytest

from gshell.cli import commands, launch, top, verbs


@pytest.fixture
def parsed(monkeypatch):
    monkeypatch.setattr(launch, "ticket_or_none", lambda: "a ticket")
    monkeypatch.setattr(verbs.time, "sleep", lambda seconds: None)
    return commands.read(["jobs", "-w", "-q"])


def job(id, ended_at=None):
    return {"id": id, "created_at": 1.0, "started_at": 1.0, "ended_at": ended_at}


def test_an_older_relay_is_asked_again_and_again(parsed, monkeypatch, capsys):
    def follow(*_):
        raise top.Unsupported("no feed")

    answers = [[job("1")], [job("1"), job("2")]]

    def ask(parsed, message, start=False):
        if not answers:
            raise KeyboardInterrupt
        return {"jobs": answers.pop(0)}

    monkeypatch.setattr(top, "follow", follow)
    monkeypatch.setattr(verbs, "_ask", ask)
    assert verbs.jobs(parsed) == 0
    assert capsys.readouterr().out == "1\n1\n2\n"


def test_the_feed_s_ended_jobs_are_shown_to_who_asked_for_them(parsed, monkeypatch):
    shown = []

    def follow(parsed, ended_too, show):
        shown.append((ended_too, show([job("1"), job("2", 2.0), job("3", 2.0)], [])))
        return 0

    monkeypatch.setattr(top, "follow", follow)
    for words in (["jobs", "-w", "-q"], ["jobs", "-w", "-q", "-a"]):
        assert verbs.jobs(commands.read(words)) == 0
    assert shown == [(False, "1\n"), (True, "1\n2\n3\n")]
