"""`gshell why` on jobs that really wait: what it names, and that what it says to type does run."""

import contextlib
import json
import shlex
import signal

import pytest

from kit.procs import Env, until


@pytest.fixture(scope="module")
def place():
    """A relay, an agent with two slots, and a site whose walltime is ten minutes."""
    with contextlib.closing(Env()) as env:
        invite = env.start_relay()
        env.start_agent("one", invite, "--slots", "2")
        yield env


@pytest.fixture
def waiting(place):
    """Starts a command that has to wait; its id and its process. None of them is left."""
    with contextlib.ExitStack() as stack:

        def start(*words):
            known = {job["id"] for job in place.jobs()}
            client = place.popen(*words)
            stack.callback(client.communicate, timeout=20)
            stack.callback(client.send_signal, signal.SIGINT)
            new = until(
                lambda: [j["id"] for j in place.jobs() if j["id"] not in known],
                "its job",
                show=place.logs,
            )
            return new[0]

        yield start
    until(
        lambda: not [job for job in place.jobs() if job["state"] == "QUEUED"],
        "the end of those that waited",
    )


def why(env, job):
    done = env.gshell("why", job, "--json")
    assert done.returncode == 0, done.stderr.decode() + env.logs()
    return json.loads(done.stdout)["why"]


def page(env, job):
    done = env.gshell("why", job)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def type_it(env, command):
    words = shlex.split(command)
    assert words[0] == "gshell"
    return env.gshell(*words[1:], timeout_s=20)


WANTED = ("-l", "--env", "WHAT=two words", "--", "sh", "-c", 'echo "$WHAT, $0"', "it's")


@pytest.mark.parametrize(
    ("words", "what", "wanted", "command"),
    [
        (["--req", "cpus > 1000"], "requirement", "cpus > 1000", "gshell run"),
        (["--memory", "10T"], "memory", "10T", "gshell run --memory "),
        (["-n", "64"], "slots on one agent", "64", "gshell run -n 2 "),
        (["-N", "20"], "agents", "20", "gshell run -l"),
        (["-n", "64", "--memory", "10T"], "slots on one agent", "64", "gshell run -n 2 --memory "),
    ],
)
def test_what_nobody_offers_is_named_with_a_command_that_runs_when_typed(
    place, waiting, words, what, wanted, command
):
    job = waiting("run", *words, *WANTED)
    said = until(lambda: [a := why(place, job), a["now"] and "COMMAND" not in a["now"][0]["command"]][1] and a, "why",
                 show=lambda: str(why(place, job)))  # fmt: skip
    lacks = {one["what"]: one for one in said["missing"]}
    assert lacks[what]["wanted"] == wanted
    assert "(agent " in lacks[what]["best"] or what == "agents"
    assert said["eta"] is None
    shown = page(place, job)
    typed = said["now"][0]["command"]
    assert typed.startswith(command)
    assert typed in shown
    assert wanted in shown.splitlines()[1]
    done = type_it(place, typed)
    assert done.returncode == 0, (typed, done.stderr.decode())
    tasks = 2 if "-n" in words else 1
    assert sorted(done.stdout.decode().splitlines()) == [
        f"{rank}: two words, it's" for rank in range(tasks)
    ]


def test_who_is_behind_others_is_told_of_them(place, waiting):
    full = waiting("run", "-n", "2", "--walltime", "0:01:00", "--", "sleep", "30")
    until(lambda: why(place, full)["state"] == "ACTIVE", "it to run")
    first = waiting("run", "-n", "2", "--", "true")
    second = waiting("run", "--", "true")
    assert "all slots are in use" in page(place, first)
    assert "starts in" in page(place, first)  # at the latest: what runs said how long it takes
    assert "1 of yours ahead of it" in page(place, second)
    assert why(place, second)["position"] == 2
    assert "it runs on agent" in page(place, full)


def test_what_has_ended_says_how_and_what_there_never_was_says_so(place):
    assert place.gshell("run", "--", "sh", "-c", "exit 3").returncode == 3
    ended = place.jobs()[-1]["id"]
    assert "failed" in page(place, ended) or "completed" in page(place, ended)
    assert why(place, ended)["now"] == []
    none = place.gshell("why", "987654")
    assert (none.returncode, none.stdout) == (1, b"")
    assert b"987654" in none.stderr
    assert b"Traceback" not in none.stderr


def test_a_site_that_is_paused_is_said_with_the_command_that_ends_that(place, waiting):
    done = place.gshell("site", "add", "here", "--lrms", "local", "-t", "10")
    assert done.returncode == 0, done.stderr.decode() + place.logs()
    assert place.gshell("site", "pause", "here").returncode == 0
    job = waiting("run", "--site", "here", "--", "true")
    said = until(lambda: why(place, job)["now"], "a way out", show=place.logs)
    assert "site here is paused by its user" in page(place, job)
    assert said[-1]["command"] == "gshell site resume here"
    assert type_it(place, said[-1]["command"]).returncode == 0
    until(lambda: why(place, job)["state"] == "COMPLETED", "it to run", show=place.logs)

    # Paused before it comes: else its own pilot might be on its way already.
    assert place.gshell("site", "pause", "here").returncode == 0
    long = waiting("run", "--site", "here", "--walltime", "5:00:00", "--", "echo", "short")
    said = until(
        lambda: [x for x in why(place, long)["now"] if "--walltime" in x["command"]],
        "a way",
        show=place.logs,
    )
    assert type_it(place, said[0]["command"]).stdout == b"short\n"
    place.gshell("site", "remove", "here", "--force")


def test_a_submitter_that_is_away_is_said_with_the_command_that_starts_it(
    place, waiting, monkeypatch
):
    monkeypatch.setitem(place.env, "GSHELL_BACKGROUND", "0")  # it would start another one by itself
    place.gshell("stop", "--force")
    done = place.gshell("site", "add", "here", "--lrms", "local", "-t", "10", "--slots", "2")
    assert done.returncode == 0, done.stderr.decode() + place.logs()
    job = waiting("run", "--site", "here", "-n", "64", "--", "true")
    until(
        lambda: "a node has 2" in why(place, job)["text"],
        "what it lacks",
        show=lambda: str(why(place, job)),
    )
    place.gshell("stop", "--force")
    said = until(lambda: [one for one in why(place, job)["now"] if "is away" in one["change"]], "the news",
                 show=lambda: str(why(place, job)))  # fmt: skip
    assert said[0]["command"] == "gshell sites"
    assert type_it(place, said[0]["command"]).returncode == 0
    until(lambda: "is away" not in str(why(place, job)), "its return", show=place.logs)
    place.gshell("site", "remove", "here", "--force")
