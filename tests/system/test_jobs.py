"""Jobs that were left running: their list, their output, signals for them, and their end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from kit.procs import Env, until


def detach(env: Env, script: str, *options: str, background: bool = True) -> str:
    """A detached job's id."""
    done = env.gshell("run", "--detach", *options, "--", "sh", "-c", script, background=background)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rb"\d+\n", done.stdout), done.stdout
    return done.stdout.decode().strip()


def job(env: Env, ident: str) -> dict[str, object]:
    return next(found for found in env.jobs() if found["id"] == ident)


def wait_state(env: Env, ident: str, state: str) -> dict[str, object]:
    until(
        lambda: job(env, ident)["state"] == state,
        f"job {ident} to be {state}",
        show=lambda: str(job(env, ident)),
    )
    return job(env, ident)


def wait_logs(env: Env, ident: str, text: bytes) -> None:
    until(lambda: text in env.gshell("logs", ident).stdout, f"{text!r} in the log")


def test_detach_prints_the_id_and_the_job_goes_on(
    env: Env, tmp_path: Path, background: bool
) -> None:
    ident = detach(
        env, f"until test -e {tmp_path}/go; do sleep 0.05; done; exit 3", background=background
    )
    assert wait_state(env, ident, "ACTIVE")["code"] is None
    (tmp_path / "go").touch()
    assert wait_state(env, ident, "FAILED")["code"] == 3


def test_a_detached_job_outlives_everything_of_the_client(relay: Env, tmp_path: Path) -> None:
    ident = detach(
        relay, f"echo first; until test -e {tmp_path}/go; do sleep 0.05; done; echo last"
    )
    assert relay.gshell("stop", "--force", "-q").returncode == 0
    (tmp_path / "go").touch()
    wait_state(relay, ident, "COMPLETED")
    assert relay.gshell("logs", ident).stdout == b"first\nlast\n"


def test_a_detached_start_that_fails_says_so(private: Env, background: bool) -> None:
    done = private.gshell("run", "--detach", "--", "/no/such/program", background=background)
    assert done.returncode == 127
    assert b"/no/such/program" in done.stderr


def test_logs_so_far_and_both_streams(env: Env, background: bool) -> None:
    ident = detach(env, "echo out; echo err >&2; sleep 600")
    wait_logs(env, ident, b"out\n")
    until(lambda: env.gshell("logs", ident, background=background).stderr == b"err\n", "stderr")
    assert env.gshell("logs", ident, background=background).stdout == b"out\n"
    assert env.gshell("logs", background=background).returncode == 0
    env.gshell("cancel", ident)


def test_logs_of_an_ended_job(env: Env, background: bool) -> None:
    ident = detach(env, "seq 20000; exit 5")
    wait_state(env, ident, "FAILED")
    done = env.gshell("logs", ident, background=background)
    assert done.stdout == b"".join(b"%d\n" % number for number in range(1, 20001))
    assert done.returncode == 0


def test_logs_since_a_time(env: Env, tmp_path: Path, background: bool) -> None:
    many = 60_000  # more than what a terminal would be shown
    ident = detach(env, f"seq {many}; until test -e {tmp_path}/go; do sleep 0.05; done; echo late")
    wait_logs(env, ident, b"\n%d\n" % many)
    everything = env.gshell("logs", "--since", "1h", ident, background=background)
    assert everything.stdout.startswith(b"1\n2\n")
    assert everything.stdout.endswith(b"%d\n" % many)
    until(
        lambda: not env.gshell("logs", "--since", "1s", ident, background=background).stdout,
        "a second of silence",
    )
    (tmp_path / "go").touch()
    wait_state(env, ident, "COMPLETED")
    assert env.gshell("logs", "--since", "1s", ident).stdout in (b"late\n", b"")


def test_logs_follow_to_the_end(env: Env, tmp_path: Path, background: bool) -> None:
    ident = detach(
        env, f"echo one; until test -e {tmp_path}/go; do sleep 0.05; done; echo two; exit 4"
    )
    run = env.popen("logs", "-f", ident, background=background)
    assert run.stdout is not None
    assert run.stdout.readline() == b"one\n"
    (tmp_path / "go").touch()
    out, err = run.communicate(timeout=20)
    assert (out, err) == (b"two\n", b"")
    assert run.returncode == 0


def test_interrupting_logs_leaves_the_job(private: Env, background: bool) -> None:
    ident = detach(private, "echo one; sleep 600")
    run = private.popen("logs", "-f", ident, background=background)
    assert run.stdout is not None
    assert run.stdout.readline() == b"one\n"
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=20)
    assert run.returncode == 130
    assert job(private, ident)["state"] == "ACTIVE"
    private.gshell("cancel", ident)


def test_a_reader_of_logs_that_leaves_ends_only_the_logs(private: Env, background: bool) -> None:
    ident = detach(private, "while :; do echo y; sleep 0.01; done")
    run = private.popen("logs", "-f", ident, background=background)
    assert run.stdout is not None
    run.stdout.readline()
    run.stdout.close()
    until(lambda: run.poll() is not None, "logs to end")
    for pipe in (run.stdin, run.stderr):
        assert pipe is not None
        pipe.close()
    assert job(private, ident)["state"] == "ACTIVE"
    private.gshell("cancel", ident)


def test_a_detached_job_has_no_input_and_never_waits_for_a_reader(private: Env) -> None:
    ident = detach(
        private,
        "wc -c; seq 2000000 > /dev/null; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end",
    )
    wait_state(private, ident, "COMPLETED")
    out = private.gshell("logs", ident).stdout
    assert out.startswith(b"0\n")
    assert out.endswith(b"x\nend\n")
    assert len(out) == len(b"0\n") + 3_000_000 + len(b"\nend\n")


def test_cancel_ends_it_and_says_so_in_the_list(env: Env) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    ident = detach(env, script)
    wait_logs(env, ident, b"ready\n")
    assert env.gshell("cancel", ident).returncode == 0
    assert wait_state(env, ident, "CANCELED")
    assert env.gshell("logs", ident).stdout == b"ready\nbye\n"


@pytest.mark.parametrize("script", ["exec bash -i", "kill -STOP $$"])
def test_a_shell_and_a_stopped_job_end_at_once(private: Env, script: str) -> None:
    options = ["-t"] if "bash" in script else []
    run = private.popen("run", *options, "--", "sh", "-c", f"echo ready; {script}")
    assert run.stdout is not None
    assert run.stdout.readline().strip() == b"ready"
    ident = next(found["id"] for found in private.jobs() if found["state"] == "ACTIVE")
    private.gshell("cancel", ident)
    run.communicate(timeout=20)
    assert run.returncode in (129, 143)  # who does not end at once is killed


def test_kill_sends_one_signal(private: Env) -> None:
    ident = detach(
        private,
        "trap 'echo got' USR1; trap 'exit 6' USR2; echo ready; while :; do sleep 0.02; done",
    )
    wait_logs(private, ident, b"ready\n")
    assert private.gshell("kill", "-s", "USR1", ident).returncode == 0
    wait_logs(private, ident, b"got\n")
    assert private.gshell("kill", "-USR2", ident).returncode == 0
    assert wait_state(private, ident, "FAILED")["code"] == 6


def test_kill_9_is_137(private: Env) -> None:
    ident = detach(private, "sleep 600")
    assert private.gshell("kill", "-9", ident).returncode == 0
    ended = wait_state(private, ident, "FAILED")
    assert (ended["code"], ended["signal"]) == (137, 9)


def test_a_job_that_ignores_term_is_killed(private: Env) -> None:
    ident = detach(private, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    wait_logs(private, ident, b"ready\n")
    private.gshell("cancel", ident)
    until(lambda: job(private, ident)["state"] == "CANCELED", "it to be killed")
    assert job(private, ident)["signal"] == signal.SIGKILL


def test_what_a_killed_job_left_behind_is_ended_too(private: Env, tmp_path: Path) -> None:
    ident = detach(private, f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 600' & wait")
    pid = int(
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "the child")
    )
    private.gshell("cancel", ident)
    until(lambda: not Path(f"/proc/{pid}").exists(), "the child to end")


# --------------------------------------------------------------------------------------- wrong ids


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["attach", "99999"], 125),
        (["logs", "99999"], 125),
        (["cancel", "99999"], 1),
        (["kill", "-9", "99999"], 1),
        (["attach", "x"], 2),
        (["logs", "-1"], 2),
        (["cancel"], 2),
        (["attach", "1", "2"], 2),
        (["kill", "-s", "NOSUCH", "1"], 2),
    ],
)
def test_wrong_ids_are_named(private: Env, words: list[str], status: int) -> None:
    done = private.gshell(*words)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(b"gshell: ")
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_a_job_that_ended_cannot_be_signalled(private: Env) -> None:
    ident = detach(private, "true")
    wait_state(private, ident, "COMPLETED")
    done = private.gshell("kill", "-9", ident)
    assert done.returncode == 1
    assert b"has ended" in done.stderr


# ------------------------------------------------------------------------------------------- lists


def test_jobs_shows_what_lives_and_with_a_all(private: Env) -> None:
    ended = detach(private, "true", "-J", "ended-one")
    live = detach(private, "sleep 600", "-J", "living")
    wait_state(private, ended, "COMPLETED")
    for verb in ("jobs", "ps"):
        table = private.gshell(verb).stdout.decode()
        assert "living" in table
        assert "ended-one" not in table
        assert "ended-one" in private.gshell(verb, "-a").stdout.decode()
    ids = private.gshell("jobs", "-q").stdout.decode().split()
    assert ids == [live]
    private.gshell("cancel", live)


def test_json_is_versioned_and_complete(private: Env) -> None:
    ident = detach(private, "exit 9", "-J", "ein Näme")
    wait_state(private, ident, "FAILED")
    listed = json.loads(private.gshell("jobs", ident, "--json").stdout)
    assert listed["schema"] == 1
    (found,) = listed["jobs"]
    assert (found["id"], found["name"], found["code"], found["argv0"]) == (
        ident,
        "ein Näme",
        9,
        "sh",
    )
    agents = json.loads(private.gshell("agents", "--json").stdout)["agents"]
    assert [agent["state"] for agent in agents] == ["waiting"]
    assert agents[0]["free"] == agents[0]["slots"]


def test_a_closed_reader_of_a_list_is_no_error(private: Env) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        done = subprocess.run(
            private.argv("jobs", "-a"), env=private.env, stdin=subprocess.DEVNULL, stdout=writes,
            stderr=subprocess.PIPE, timeout=20, check=False,
        )  # fmt: skip
    finally:
        os.close(writes)
    assert done.returncode in (0, 141)
    assert done.stderr == b""


def test_two_agents_are_both_used_and_listed(relay: Env) -> None:
    jobs = [detach(relay, "sleep 600", "-n", "40") for _ in range(2)]
    for ident in jobs:
        wait_state(relay, ident, "ACTIVE")
    hosts = {tuple(job(relay, ident)["agents"]) for ident in jobs}  # type: ignore[arg-type]
    assert len(hosts) == 2
    relay.gshell("cancel", *jobs)


def test_a_job_waits_while_all_is_full_and_then_runs(relay: Env) -> None:
    slots = sum(agent["slots"] for agent in relay.agents())
    full = [detach(relay, "sleep 600", "-n", str(slots // 2)) for _ in range(2)]
    run = relay.popen("run", "--", "echo", "at last")
    until(
        lambda: [j for j in relay.jobs() if j["state"] == "QUEUED"],
        "a queued job",
        show=lambda: str(relay.jobs()),
    )
    relay.gshell("cancel", full[0])
    out, err = run.communicate(timeout=20)
    assert out == b"at last\n", err
    relay.gshell("cancel", full[1])


def test_a_given_agent_is_taken_and_a_wrong_one_named(relay: Env) -> None:
    for agent in relay.agents():
        ident = detach(relay, "true", "--agent", agent["id"])
        assert job(relay, ident)["agents"] == [agent["id"]]
    done = relay.gshell("run", "--agent", "nobody", "--", "true")
    assert done.returncode == 125
    assert b"nobody" in done.stderr
