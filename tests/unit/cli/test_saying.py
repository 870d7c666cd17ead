"""Errors and done deeds, to people and to programs."""

import json

import pytest

from gshell import errors
from gshell.cli import main, saying, show, verbs, why
from gshell.client import asjson
from gshell.client.render import error_text
from gshell.model.sanitize import sanitize_all
from kit import hostile

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.UsageError("x"), "usage", 2), (errors.AuthError("x"), "auth", 125),
        (errors.LinkLost("x"), "link", 125), (errors.Unsatisfiable("x"), "broker", 125),
        (errors.SpawnFailed("x", not_found=True), "launch", 127),
        (errors.LrmsError("busy", "x"), "lrms", 125), (errors.GshellError("x"), "error", 125),
    ],
)  # fmt: skip
def test_an_error_is_a_word_and_a_status(error, code, status):
    error.hint = "do this"
    assert json.loads(asjson.error_line(error)) == {
        "schema": 1, "error": {"message": "x", "hint": "do this", "code": code, "exit": status},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("jobs --json", (True, "auto")),
        ("jobs", (False, "auto")),
        ("run -- x --json", (False, "auto")),
        ("--json run -- x", (True, "auto")),
        ("--color never x --json", (True, "never")),
        ("x --color=always", (False, "always")),
    ],
)
def test_what_a_line_asks_for_that_cannot_be_read(line, wanted):
    assert saying.asked_for(line.split()) == wanted


@pytest.mark.parametrize("line", ["jbos --json", "jobs --json --nonsense", "--json help nothing"])
def test_a_wrong_line_is_one_object_on_stderr(line, capsys):
    assert main.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == "usage"


def test_what_became_of_each_is_told_whatever_became_of_the_others(monkeypatch, capsys):
    def ask(parsed, message, start=False):
        if message["job"] == "2":
            raise errors.BrokerError("there is no job 2")
        return {"ok": True}

    monkeypatch.setattr(verbs, "_ask", ask)
    assert main.main(["cancel", "1", "2", "3", "--json"]) == 1
    out, err = capsys.readouterr()
    done = json.loads(out)["done"]
    assert [(one["id"], one["ok"]) for one in done] == [("1", True), ("2", False), ("3", True)]
    assert done[1]["error"]["message"] == "there is no job 2"
    assert err == ""
    assert main.main(["cancel", "1", "2", "3"]) == 1
    assert "no job 2" in capsys.readouterr().err


def clean(text):
    return all(char == "\n" or char.isprintable() for char in text)


def test_what_comes_from_elsewhere_obeys_nothing_in_pages_and_errors():
    keys = [*show._TOLD, "surprise", "text", "change", "command", "what", "wanted", "best"]
    for text in hostile.strings(300):
        came = sanitize_all(dict.fromkeys(keys, text) | {
            "hosts": [text], "layout": [text, text], "outputs": [{"error": text, "missing": [text]}],
            "after": [text], "agents": [text], "now": [{"command": text, "change": text}],
            "waits": [{"text": text, "for": text}], "missing": [{"what": text}],
        })  # fmt: skip
        assert all(clean(line) for line in show.page(came, NOW))
        assert all(clean(line) for line in why.page(came, NOW))
        error = errors.BrokerError(text, hint=text)
        assert clean(error_text(error))
        assert asjson.error_line(error).isascii()
        assert asjson.error_line(error).isprintable()


def test_a_page_has_what_a_person_asks_for_and_what_a_newer_relay_tells():
    job = {"id": "7", "name": "lu", "state": "FAILED", "signal": 9, "hosts": ["n1", "n2"],
           "tasks": 4, "size": 2, "layout": [3, 1], "created_at": NOW - 90, "ended_at": NOW - 5,
           "started_at": NOW - 65, "walltime": 3600.0, "user": "u", "argv0": "lu.A.4",
           "archived": True, "archived_bytes": 12_300, "error": "agent lost", "fresh": "new",
           "outputs": [{"files": 2, "bytes": 10, "missing": ["a"], "error": ""}]}  # fmt: skip
    page = "\n".join(show.page(job, NOW))
    for words in ("job 7  lu  failed KILL", "error       agent lost", "4 tasks on 2 agents: 3 + 1",
                  "n[1-2]", "ran         0:01:00 of 1:00:00", "by signal KILL", "12.3 kB of output",
                  "2 files, 10 B; missing: a", "fresh       new", "gshell fetch 7"):  # fmt: skip
        assert words in page


@pytest.mark.parametrize("verb", ["agent ticket", "agent pilot", "agent pack"])
def test_what_is_no_file_is_not_replaced_by_one(verb, capsys):
    assert main.main([*verb.split(), "--force", "/dev/null"]) == 125
    assert capsys.readouterr().err.startswith("gshell: /dev/null is there and is no file\n")
