"""Sites, from `site add` to the end of a pilot, with real processes and no batch system but this machine."""

import contextlib
import json
import os
import signal

import pytest

from kit.procs import Env, until


@pytest.fixture
def env():
    with contextlib.closing(Env()) as env:
        env.start_relay()
        yield env


def pilots(env, *words):
    done = env.gshell("pilots", "--json", *words)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)["pilots"]


def submitter(env):
    """Its process; 0: there is none."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
                if b"submitter" in words and f"GSHELL_HOME={env.home}" in environment(name):
                    return int(name)
    return 0


def environment(pid):
    with open(f"/proc/{pid}/environ", errors="replace") as file:
        return file.read().split("\0")


def test_a_job_makes_its_agent_and_the_next_one_finds_it(env):
    added = env.gshell("site", "add", "here", "--lrms", "local", "-t", "10")
    assert added.returncode == 0, added.stderr.decode() + env.logs()
    assert b"site here: local here; queue local" in added.stdout
    first = env.gshell("run", "--site", "here", "--", "echo", "done")
    assert first.returncode == 0, first.stderr.decode() + env.logs()
    pilot = pilots(env)[0]
    assert (first.stdout, pilot["state"], pilot["site"]) == (b"done\n", "running", "here")
    assert b"gshell: waiting: " in first.stderr
    second = env.gshell("run", "--site", "here", "--", "true")
    assert (second.returncode, second.stderr) == (0, b"")
    assert [agent["site"] for agent in env.agents()] == ["here"]

    killed = submitter(env)
    os.kill(killed, signal.SIGKILL)
    until(lambda: submitter(env) != killed, "its end", show=env.logs)
    asked = env.gshell("agent", "start", "--site", "here", "--slots", "1")  # starts another one
    if asked.returncode:  # it was not registered yet
        until(
            lambda: env.gshell("agent", "start", "--site", "here").returncode == 0,
            "another",
            show=env.logs,
        )
    until(lambda: len(env.agents()) == 2, "the second agent", show=env.logs)
    assert pilot["pilot"] in [one["pilot"] for one in pilots(env)]  # the new one knows of it

    env.gshell("pilot", "cancel", *(one["pilot"] for one in pilots(env)))
    until(lambda: not pilots(env), "their end", show=env.logs)
    until(lambda: not env.agents(), "their agents' end", show=env.logs)
    ended = {one["pilot"]: one["reason"] for one in pilots(env, "-a")}
    assert ended[pilot["pilot"]] == "canceled"
    assert not list((env.home / "cache").glob("*.invite"))

    assert env.gshell("site", "remove", "here").returncode == 0
    until(lambda: not submitter(env), "the submitter to end with its last site", show=env.logs)


def test_what_is_not_there_is_said_before_anything_is_kept(env):
    none = env.gshell("site", "add", "alpha", "--lrms", "slurm", env={"PATH": "/nowhere"})
    assert none.returncode == 125
    assert b"the commands of slurm are not there" in none.stderr
    for words in (["a/b", "--lrms", "local"], ["alpha", "--lrms", "what"], ["alpha", "extra"]):
        refused = env.gshell("site", "add", *words)
        assert refused.returncode in (2, 125), refused.stderr
        assert b"Traceback" not in refused.stderr
    assert b"no sites" in env.gshell("sites").stdout
    unknown = env.gshell("run", "--site", "alpha", "--", "true")
    assert unknown.returncode == 125
    assert b"there is no site alpha" in unknown.stderr


def test_a_batch_system_that_there_is_not_is_wrong_usage_and_those_there_are_are_named(env):
    done = env.gshell("site", "add", "x", "--lrms", "nonsense")
    assert done.returncode == 2
    assert b"'nonsense'" in done.stderr
    assert b"slurm" in done.stderr
    assert b"try:" in done.stderr
