from typing import NamedTuple

import pytest

from gshell.repl import completing
from gshell.repl.completing import Wanted, candidates
from gshell.repl.facts import Facts
from gshell.repl.places import Place

NOW = 1000.0
EVIL = "\x1b]0;x\x07\u202e\n"


def job(number, name, state="ACTIVE", ended=None):
    return {"id": str(number), "name": name, "state": state, "started_at": 940.0, "ended_at": ended,
            "code": 0 if ended else None}  # fmt: skip


JOBS = (job(41, "old", "COMPLETED", 990.0), job(42, "lu.C"), job(43, "bt"))
AGENTS = ({"id": "n014", "host": "n014.site", "state": "waiting", "free": 3, "slots": 4},)


class World(NamedTuple):
    facts: Facts = Facts("h:1", True, True, jobs=JOBS, agents=AGENTS)
    now: float = NOW
    aliases: dict = {"j": "jobs -a", "at": "attach"}  # noqa: RUF012
    place: Place = Place()
    numbers: dict = {"42": 1, "43": 2}  # noqa: RUF012
    folders: dict = {}  # noqa: RUF012
    lists: dict = {}  # noqa: RUF012

    def folder(self, place):
        if place not in self.folders:
            raise Wanted(place)
        return self.folders[place]

    def items(self, kind):
        if kind not in self.lists:
            raise Wanted(kind)
        return self.lists[kind]


def texts(line, **world):
    return [one.text for one in candidates(line, World(**world))]


def test_verbs_words_of_the_prompt_and_aliases():
    assert texts("at") == ["at ", "attach "]
    assert texts("jo") == ["jobs "]
    assert texts("ca") == ["cancel ", "cast ", "cat "]
    assert {"run ", "help ", "exit ", "j ", "agent "} <= set(texts(""))
    assert "bg " not in texts("")
    assert texts("agent s") == ["start ", "stop "]
    assert texts("help jo") == ["jobs "]


def test_options_have_their_help_and_no_option_comes_twice():
    found = {one.text: one for one in candidates("run --det", World())}
    assert "leave it running" in found["--detach "].meta
    assert texts("jobs -") == list(dict.fromkeys(texts("jobs -")))
    assert texts("run -- --det") == []
    assert texts("run ls --det") == []


def test_jobs_with_name_age_and_state():
    found = candidates("attach ", World())
    assert [(one.text, one.meta) for one in found] == [
        ("43 ", "bt 0:01:00 active"), ("42 ", "lu.C 0:01:00 active"),
    ]  # fmt: skip
    assert texts("logs ") == ["43 ", "42 ", "41 "]
    assert texts("attach lu") == ["42 "]
    assert texts("attach %") == ["%1 ", "%2 "]
    assert texts("%") == ["%1 ", "%2 "]
    assert texts("at 4") == ["43 ", "42 "]


def test_values_of_options():
    assert texts("run --agent n") == ["n014 "]
    assert texts("kill -s HU") == ["HUP "]
    assert texts("run --on-full g") == ["gap "]
    assert texts("run --on-full=g") == ["--on-full=gap "]
    sites = {"sites": [{"name": "alpha", "state": "ok"}, {"name": "beta"}]}
    assert texts("run --site a", lists=sites) == ["alpha "]
    assert texts("run --site alpha,b", lists=sites) == ["alpha,beta "]
    assert texts("site show b", lists=sites) == ["beta "]
    assert texts("agent stop n") == ["n014 "]


def test_what_is_not_known_is_wanted():
    with pytest.raises(Wanted) as wanted:
        texts("run --site a")
    assert wanted.value.what == "sites"
    with pytest.raises(Wanted) as wanted:
        texts("get 42:out/x")
    assert wanted.value.what == Place("42", "out")


def test_paths_there():
    there = {
        Place("42"): [("a b", "f"), ("out", "d"), (".x", "f")],
        Place("42", "out"): [("f1", "f")],
    }
    assert texts("get 42:", folders=there) == ["42:a\\ b ", "42:out/"]
    assert texts("get 42:out/", folders=there) == ["42:out/f1 "]
    assert texts("get 42:.", folders=there) == ["42:.x "]
    at = Place("42")
    assert texts("cat ", place=at, folders=there) == ["a\\ b ", "out/"]
    assert texts("cd ", place=at, folders=there) == ["out/", "43:", "42:", "n014:"]
    assert texts("cat out/", place=at, folders=there) == ["out/f1 "]


def test_paths_here(tmp_path, monkeypatch):
    (tmp_path / "my file").write_text("")
    (tmp_path / "dir").mkdir()
    monkeypatch.chdir(tmp_path)
    assert texts("submit ") == ["dir/", "my\\ file "]
    assert texts("!cat m") == ["my\\ file "]
    assert texts("jobs > d") == ["dir/"]
    assert texts("cp d") == ["dir/"]


def test_a_hostile_name_is_shown_harmlessly_or_not_offered():
    facts = Facts("h:1", True, True, jobs=(job(7, EVIL),), agents=({"id": EVIL, "host": EVIL},))
    there = {Place("42"): [(EVIL, "f"), ("ok", "f")]}
    for line in ("attach ", "run --agent ", "get 42:", "%"):
        for one in candidates(line, World(facts, folders=there, numbers={"7": 1})):
            assert one.shown.isprintable()
            assert one.meta.isprintable()
            assert one.text.strip().isprintable() or "\x1b" not in one.shown
    assert texts("get 42:", folders=there) == ["42:ok "]


@pytest.mark.parametrize(
    "line", ["run '", "attach \\", "kill -s", "--relay", "site:", "cd site:", "))"]
)
def test_half_a_line_has_no_completion_but_breaks_nothing(line):
    candidates(line, World(lists={}, folders={}))


def test_no_more_are_offered_than_can_be_looked_at():
    there = {Place("42"): [(f"f{number}", "f") for number in range(5000)]}
    assert len(texts("get 42:", folders=there)) == completing.MAX_SHOWN
