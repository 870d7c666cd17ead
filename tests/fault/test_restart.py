"""`gshell relay restart`: another program takes over the running relay, under sessions in full flow."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from fault.talks import STATUS, TALK, Known, Talk, closing, drive

import gshell
from kit.procs import Env, running, until

ROOT = Path(gshell.__file__).resolve().parents[1]


@pytest.fixture
def env():
    with running() as one:
        yield one


def another(env: Env, *changes: tuple[str, str, str]) -> list[str]:
    """The start of a command line of a copy of ours with other words in it: (file, ours, its)."""
    tree = env.root / f"tree{len(list(env.root.glob('tree*')))}"
    for package in ("gshell", "relay"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("*.pyc"))
    for name, ours, its in changes:
        path = tree / name
        text = path.read_text()
        assert ours in text, (name, ours)
        path.write_text(text.replace(ours, its))
    return [sys.executable, "-I", "-S", str(tree / "gshell" / "front.py")]


OLDER = (
    ("gshell/__init__.py", '__version__ = "', '__version__ = "0.'),
    ("relay/journal.py", "\n_VERSION = ", "\n_VERSION = -1 + "),
)


def start_from(env: Env, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that another program runs, with an agent of ours."""
    with monkeypatch.context() as patch:
        patch.setattr(Env, "argv", lambda self, *words: [*command, *words])
        invite = env.start_relay()
    env.start_agent("agent", invite)


def talks_in(env: Env) -> list[Talk]:
    out = []
    for number in range(2):
        ledger = env.root / f"t{len(list(env.root.glob('t*.err')))}"
        words = ("run", "--name", ledger.name, "--", sys.executable, "-I", "-S", TALK, str(ledger))
        out.append(Talk(env, ledger, 30_000, bool(number), *words))
    return out


def flow_through(env: Env, restart, expect: int = 0) -> str:
    """Restart it with sessions that have come half way; what the command said."""
    known = Known(env)
    with closing(talks_in(env)) as talks:
        for talk in talks:
            talk.held = len(talk.due) // 2
        drive(talks, lambda: all(len(t.came) + t.held >= len(t.due) for t in talks), "half", 20,
              env.logs)  # fmt: skip
        for talk in talks:
            talk.held = 0
        done = restart()
        assert done.returncode == expect, done.stderr.decode() + env.logs()
        drive(talks, lambda: all(talk.over for talk in talks), "all to end", 30, env.logs)
        assert [talk.wrong() for talk in talks] == ["", ""]
        jobs = known.look()
        for talk in talks:
            job = known.job_of(talk.ledger, jobs)
            assert job is not None
            assert (job["state"], job["code"]) == ("FAILED", STATUS)
    return (done.stdout + done.stderr).decode()


def relay_restart(env: Env):
    return env.gshell("relay", "restart", "--state", str(env.state))


def journal_version(env: Env) -> int:
    with sqlite3.connect(env.state / "journal.sqlite") as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def test_sessions_go_on_when_a_newer_program_takes_over_and_the_journal_comes_along(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_from(env, another(env, *OLDER), monkeypatch)
    before, version = env.relay_facts(), journal_version(env)
    assert before["version"] == f"0.{gshell.__version__}"
    said = flow_through(env, lambda: relay_restart(env))
    assert f"runs gshell {gshell.__version__} now; it was 0.{gshell.__version__}." in said
    after = env.relay_facts()
    assert after["version"] == gshell.__version__
    assert journal_version(env) == version + 1
    assert [after[k] == before[k] for k in ("pid", "listen", "door_pid", "broker_pid")] == [
        True, True, False, False,
    ]  # fmt: skip
    said = flow_through(env, lambda: relay_restart(env))  # and itself
    assert f"it was {gshell.__version__}." in said


def test_a_program_that_cannot_serve_gives_the_relay_back(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.start_agent("agent", env.start_relay())
    broken = another(
        env, ("relay/children.py", "    journal = Journal(state.JOURNAL)", "    raise OSError")
    )

    def restart():
        with monkeypatch.context() as patch:
            patch.setattr(Env, "argv", lambda self, *words: [*broken, *words])
            return relay_restart(env)

    said = flow_through(env, restart, 125)
    assert "could not take over" in said
    assert "relay.log" in said
    assert env.relay_facts()["program"][-1] == str(ROOT / "relay" / "takeover.py")


def all_of_them(facts: dict[str, object]) -> dict[str, object] | None:
    return facts if all(pid for name, pid in facts.items() if name.endswith("pid")) else None


def test_what_cannot_be_taken_over_is_said_before_anything_is_touched(env: Env) -> None:
    env.start_relay()
    facts = until(lambda: all_of_them(env.relay_facts()), "all its processes to begin")
    path = env.state / "relay.json"
    older = {k: v for k, v in facts.items() if k not in ("takeover", "program", "boot")}
    path.write_text(json.dumps(older))
    done = relay_restart(env)
    assert done.returncode == 125
    assert b"cannot be taken over" in done.stderr
    assert f"relay start --state {env.state} --listen {facts['listen']}".encode() in done.stderr
    path.write_text(json.dumps(facts))
    version = journal_version(env)
    with sqlite3.connect(env.state / "journal.sqlite") as db:
        db.execute("PRAGMA user_version=1000")
    done = relay_restart(env)
    assert done.returncode == 125
    assert b"written by another version of gshell (1000)" in done.stderr
    with sqlite3.connect(env.state / "journal.sqlite") as db:
        db.execute(f"PRAGMA user_version={version}")
    assert env.relay_facts() == facts
    assert env.agents() == []


def test_who_dials_while_it_restarts_is_served(env: Env) -> None:
    env.start_agent("agent", env.start_relay())
    restarting = env.popen("relay", "restart", "--state", str(env.state))
    runs = 0
    while restarting.poll() is None or runs < 5:
        done = env.gshell("run", "--", "sh", "-c", "echo yes; exit 6", background=runs % 2 == 0)
        assert (done.returncode, done.stdout) == (6, b"yes\n"), done.stderr.decode() + env.logs()
        runs += 1
    restarting.communicate()
    assert restarting.returncode == 0
    until(lambda: {job["code"] for job in env.jobs()} == {6}, "the ends to be known")
