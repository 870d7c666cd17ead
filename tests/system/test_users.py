"""Two accounts of the operating system on one relay: neither sees, attaches to, signals or guesses
the other's jobs; and a revocation reaches what is connected.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator

import pytest

from kit.people import Person, become, possible
from kit.procs import Env, until

pytestmark = pytest.mark.skipif(not possible(), reason="wants root, setpriv and a public python")

DEAD_WITHIN_S = 15.0  # at once, on a busy machine; a link that fell silent would take 45
TICK = ["sh", "-c", "while :; do echo tick; sleep 0.1; done"]


@pytest.fixture
def env() -> Iterator[Env]:
    one = Env()
    try:
        one.start_relay()
        yield one
    finally:
        one.close()


@pytest.fixture
def people(env: Env) -> Iterator[tuple[Person, Person]]:
    alice, bob = Person(env, "alice", 1), Person(env, "bob", 2)
    try:
        for one in (alice, bob):
            one.enrol()
            one.start_agent()
        yield alice, bob
    finally:
        alice.close()
        bob.close()


def test_neither_sees_attaches_to_signals_or_guesses_the_other_s_jobs(
    env: Env, people: tuple[Person, Person]
) -> None:
    alice, bob = people
    done = alice.gshell("run", "--detach", "--", "sleep", "60")
    job = done.stdout.decode().strip()
    assert job.isdigit(), done
    agent = alice.gshell("agents", "-q").stdout.decode().strip()
    assert bob.gshell("jobs", "-a", "-q").stdout == b""
    assert agent not in bob.gshell("agents", "-q").stdout.decode()
    for words in (
        ["cancel", "JOB"], ["kill", "-9", "JOB"], ["kill", "-s", "USR1", "JOB"], ["logs", "JOB"],
        ["attach", "JOB"], ["attach", "-r", "JOB"], ["jobs", "-q", "JOB"], ["agent", "drain", "AGENT"],
        ["agent", "stop", "--force", "AGENT"], ["run", "--agent", "AGENT", "--", "true"],
    ):  # fmt: skip
        theirs = [word.replace("JOB", job).replace("AGENT", agent) for word in words]
        none = [word.replace("JOB", "999").replace("AGENT", "a9999999") for word in words]
        one, other = bob.gshell(*theirs), bob.gshell(*none)
        neutral = rb"\b(%s|%s|999|a9999999)\b" % (job.encode(), agent.encode())
        said, said_of_none = (re.sub(neutral, b"ID", done.stderr) for done in (one, other))
        assert (one.returncode, one.stdout, said) == (other.returncode, other.stdout, said_of_none)
        assert one.returncode != 0 or words[0] == "jobs", words
    for path in (env.state, alice.home, alice.home / "g" / "run" / "bg.sock"):
        probe = ["test", "-r", str(path)]
        assert os.spawnvp(os.P_WAIT, "setpriv", [*become(bob.uid), *probe]) != 0, path
    (mine,) = json.loads(alice.gshell("jobs", "--json").stdout)["jobs"]
    assert (mine["id"], mine["state"]) == (job, "ACTIVE")
    assert alice.gshell("cancel", job).returncode == 0
    refused = env.gshell("audit", "show", "--user", "bob", "--job", job, "--state", str(env.state))
    assert b"attach" in refused.stdout
    assert b"cancel" in refused.stdout


def test_nor_their_files_sites_pilots_and_waiting(env: Env, people: tuple[Person, Person]) -> None:
    alice, bob = people
    (alice.home / "in.txt").write_text("hers\n")
    os.chown(alice.home / "in.txt", alice.uid, alice.uid)
    jdl = alice.home / "a.jdl"
    jdl.write_text(
        'Executable = "/bin/sleep"; Arguments = "60"; StdOutput = "out";\n'
        'InputSandbox = {"in.txt"}; OutputSandbox = {"out"};\n'
    )
    done = alice.gshell("submit", "-q", "a.jdl")
    job = done.stdout.decode().strip()
    assert job.isdigit(), done
    until(lambda: b"active" in alice.gshell("jobs").stdout, "it to run", show=env.logs)
    added = alice.gshell("site", "add", "hers", "--lrms", "local", "-t", "10")
    assert added.returncode == 0, added.stderr.decode() + env.logs()
    asked = alice.gshell("agent", "start", "--site", "hers")
    assert asked.returncode == 0, asked.stderr.decode() + env.logs()
    pilot = until(
        lambda: alice.gshell("pilots", "-a", "-q").stdout.decode().strip().partition("\n")[0],
        "a pilot", show=env.logs,
    )  # fmt: skip
    agent = alice.gshell("agents", "-q").stdout.decode().split()[0]
    assert bob.gshell("sites", "-q").stdout + bob.gshell("pilots", "-a", "-q").stdout == b""
    for words in (
        ["why", "JOB"], ["get", "JOB:in.txt", "."], ["put", "/etc/hostname", "JOB:x"],
        ["cp", "JOB:out", "."], ["fetch", "JOB"], ["fetch", "--now", "JOB"], ["fetch", "-l", "JOB"],
        ["fwd", "JOB", "-D", "0"], ["fwd", "AGENT", "-D", "0"], ["get", "AGENT:in.txt", "."],
        ["run", "--site", "SITE", "--", "true"], ["get", "site:SITE:in.txt", "."],
        ["site", "remove", "SITE"], ["site", "pause", "SITE"], ["site", "show", "SITE"],
        ["agent", "start", "--site", "SITE"], ["pilot", "cancel", "PILOT"], ["forget", "JOB"],
    ):  # fmt: skip
        names = {"JOB": job, "AGENT": agent, "SITE": "hers", "PILOT": pilot}
        nobody = {"JOB": "999", "AGENT": "a9999999", "SITE": "nowhere", "PILOT": "p9abc"}
        said = []
        for those in (names, nobody):
            line = [re.sub("JOB|AGENT|SITE|PILOT", lambda m, t=those: t[m[0]], w) for w in words]
            done = bob.gshell(*line)
            known = "|".join(map(re.escape, those.values())).encode()
            text = re.sub(rb"\b(%s)\b" % known, b"ID", done.stdout + done.stderr)
            said.append((done.returncode, re.sub(rb"localhost:\d+", b"", text)))
        assert said[0] == said[1], words
        assert said[0][0] != 0, words
    assert b"active" in alice.gshell("jobs").stdout
    assert alice.gshell("site", "remove", "--force", "hers").returncode == 0
    assert alice.gshell("cancel", job).returncode == 0


def test_a_user_who_is_no_administrator_manages_nobody(people: tuple[Person, Person]) -> None:
    alice, _ = people
    for words in (["add", "eve"], ["list"], ["revoke", "bob"]):
        done = alice.gshell("relay", "user", *words)
        assert done.returncode == 125, done
        assert b"alice is no administrator of this relay" in done.stderr
    assert b'"user": "bob"' not in alice.gshell("relay", "key", "list", "--json").stdout


def test_a_revoked_key_ends_a_session_that_is_attached(
    env: Env, people: tuple[Person, Person], background: bool
) -> None:
    alice, bob = people
    state = ["--state", str(env.state)]
    running = alice.popen("run", "--", *TICK, background=background)
    others = bob.popen("run", "--", *TICK)
    for process in (running, others):
        assert process.stdout is not None
        assert process.stdout.readline() == b"tick\n"
    keys = json.loads(
        env.gshell("relay", "key", "list", "--user", "alice", "--json", *state).stdout
    )
    (mine,) = [key["serial"] for key in keys["keys"] if key["kind"] == "client"]
    began = time.monotonic()
    done = env.gshell("relay", "key", "revoke", mine[:10], *state)
    assert done.returncode == 0, done.stderr
    _, errors = running.communicate(timeout=20)
    assert time.monotonic() - began < DEAD_WITHIN_S
    assert running.returncode == 255, errors
    assert b"withdrawn" in errors
    after = alice.gshell("jobs", background=background)
    assert after.returncode == 125
    assert b"these credentials were withdrawn" in after.stderr
    assert b"gshell login" in after.stderr
    again = alice.gshell("run", "--", "true", background=background)
    assert again.returncode == 125, again
    assert b"withdrawn" in again.stderr
    assert others.poll() is None
    alice.enrol()  # with a new key she finds her job, and can end it
    (job,) = json.loads(alice.gshell("jobs", "--json").stdout)["jobs"]
    assert job["state"] == "ACTIVE"
    assert alice.gshell("cancel", job["id"]).returncode == 0
    fresh = alice.gshell("run", "--", "echo", "here", background=background)
    assert fresh.stdout == b"here\n", fresh


def test_a_revoked_user_is_gone_with_agents_and_jobs_and_the_log_shows_it(
    env: Env, people: tuple[Person, Person]
) -> None:
    alice, bob = people
    state = ["--state", str(env.state)]
    running = alice.popen("run", "--", *TICK)
    assert running.stdout is not None
    assert running.stdout.readline() == b"tick\n"
    agent = alice.processes[0]
    began = time.monotonic()
    assert env.gshell("relay", "user", "revoke", "alice", *state).returncode == 0
    _, errors = running.communicate(timeout=20)
    assert running.returncode == 255, errors
    assert time.monotonic() - began < DEAD_WITHIN_S
    until(lambda: agent.poll() is not None, "alice's agent to end", show=env.logs)
    listed = json.loads(env.gshell("relay", "user", "list", "--json", *state).stdout)["users"]
    assert {user["name"]: user["role"] for user in listed} == {"bob": "user", "tester": "admin"}
    assert bob.gshell("run", "--", "echo", "still here").stdout == b"still here\n"
    good = env.gshell("audit", "verify", *state)
    assert good.returncode == 0, good.stderr
    log = env.state / "audit.log"
    text = log.read_bytes()
    assert b"user-revoke" in text
    assert b"echo" not in text  # what they ran is nobody's business
    log.write_bytes(text.replace(b'"alice"', b'"carol"', 1))
    bad = env.gshell("audit", "verify", *state)
    assert bad.returncode == 1
    assert b"audit.log:" in bad.stderr
    log.write_bytes(text)


def test_an_administrator_manages_over_the_network(env: Env, people: tuple[Person, Person]) -> None:
    done = env.gshell("relay", "user", "add", "carol", "--role", "admin", "--group", "gpu")
    assert done.returncode == 0, done.stderr
    assert b"gshell login 'gshell://" in done.stdout
    assert b"carol" in env.gshell("relay", "user", "list").stdout
    assert env.gshell("relay", "user", "revoke", "carol").returncode == 0
    assert b"carol" not in env.gshell("relay", "user", "list").stdout
