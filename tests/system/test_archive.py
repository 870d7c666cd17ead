"""What a job printed, after it has ended: from the relay's archive, whatever has been stopped since."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kit.procs import Env, below, until
from kit.pty import Pty

FAKETIME = shutil.which("faketime")
DAY = ["faketime", "-f", "+1d"]
SMALL_JOBS = int(os.environ.get("GSHELL_SMALL_JOBS", "300"))  # 1000 take half a minute


def archived(env: Env, job: str, patience_s: float = 20.0) -> dict[str, Any]:
    """The job, once the relay has its output."""

    def there() -> dict[str, Any] | None:
        found = next((one for one in env.jobs() if one["id"] == job), None)
        return found if found and found["archived"] else None

    found: dict[str, Any] = until(there, f"job {job} to be archived", patience_s, env.logs)
    return found


def newest(env: Env) -> str:
    found = [job for job in env.jobs() if job["started_at"]]
    return str(max(found, key=lambda job: job["started_at"])["id"])


def detached(env: Env, *words: str) -> str:
    done = env.gshell("run", "--detach", *words)
    assert done.returncode == 0, done.stderr.decode() + env.logs()
    return done.stdout.decode().strip()


def relay_state(env: Env) -> Path:
    return env.state if env.state.exists() else env.home / "state" / "private"


def test_a_job_that_has_ended_shows_its_output_and_its_status(env: Env, background: bool) -> None:
    env.gshell("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7", background=background)
    job = newest(env)
    facts = archived(env, job)
    assert facts["archived_bytes"] == 8
    done = env.gshell("attach", job, background=background)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    done = env.gshell("logs", job, background=background)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")


def test_every_task_and_every_agent_of_a_job_is_archived(relay: Env) -> None:
    relay.gshell(
        "run", "-n", "3", "-N", "2", "--", "sh", "-c", "echo $GSHELL_RANK; exit $GSHELL_RANK"
    )
    job = newest(relay)
    archived(relay, job)
    for part, ranks in (("0", b"012"), ("1", b"345")):
        done = relay.gshell("attach", f"{job}.{part}")
        assert sorted(done.stdout.split()) == [bytes([rank]) for rank in ranks]
        assert done.returncode == int(ranks[-1:])
    one = relay.gshell("logs", job, "--rank", "1")
    assert one.stdout == b"1\n"


def test_64_mib_come_back_the_same(private: Env, tmp_path: Path) -> None:
    data = hashlib.shake_256(b"64").digest(1 << 20) * 64
    (tmp_path / "data").write_bytes(data)
    sent = hashlib.sha256(data).digest()
    done = private.gshell("run", "--", "cat", str(tmp_path / "data"))
    assert hashlib.sha256(done.stdout).digest() == sent
    job = newest(private)
    assert archived(private, job)["archived_bytes"] == len(data)
    back = private.gshell("logs", job)
    assert hashlib.sha256(back.stdout).digest() == sent
    private.gshell("forget", job)
    until(
        lambda: not (relay_state(private) / "archive" / f"{job}.0").exists(), "it to be forgotten"
    )
    assert job not in [one["id"] for one in private.jobs()]
    gone = private.gshell("logs", job)
    assert gone.returncode == 125
    assert b"no job" in gone.stderr


def test_a_terminal_session_is_archived_only_if_that_is_asked_for(private: Env) -> None:
    jobs = []
    for options in ((), ("--keep",)):
        argv = private.argv("run", "-t", *options, "--", "sh", "-c", "echo in a terminal; exit 5")
        with Pty(argv, private.client_env()) as pty:
            pty.wait_for("terminal\r\n")
            assert pty.wait() == 5
        jobs.append(newest(private))
    archived(private, jobs[1])
    with Pty(private.argv("attach", jobs[1]), private.client_env()) as pty:
        pty.wait_for("terminal\r\n")
        assert pty.wait() == 5
        assert pty.modes() == pty.modes_at_start
    kept = private.gshell("logs", jobs[1])
    assert kept.stdout == b"in a terminal\r\n"
    assert not (relay_state(private) / "archive" / f"{jobs[0]}.0").exists()


def test_what_was_not_kept_is_said_with_the_reason(alone: Env) -> None:
    invite = alone.start_relay()
    agent = alone.start_agent("one", invite)
    alone.gshell("run", "--no-archive", "--", "echo", "once")
    plain = newest(alone)
    with Pty(alone.argv("run", "-t", "--", "echo", "there"), alone.client_env()) as pty:
        assert pty.wait() == 0
    terminal = newest(alone)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(15) == 0
    for job, why in ((plain, b"--no-archive"), (terminal, b"without --keep")):
        done = alone.gshell("logs", job)
        assert done.returncode == 125
        assert why in done.stderr
        assert b"\n  try:  " in done.stderr
        assert done.stderr.count(b"\n") == 2


def test_a_relay_with_the_archive_off_keeps_nothing_and_says_so(alone: Env) -> None:
    state = str(alone.state)
    start = ("relay", "start", "--listen", "127.0.0.1:0", "--state", state, "--user", "tester")
    assert alone.gshell(*start, "--archive", "off").returncode == 0
    assert alone.gshell("relay", "stop", "--state", state).returncode == 0
    invite = alone.start_relay()  # remembered
    agent = alone.start_agent("one", invite)
    alone.gshell("run", "--", "echo", "once")
    job = newest(alone)
    assert alone.gshell("logs", job).stdout == b"once\n"  # its agent has it for a while
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(15) == 0
    done = alone.gshell("logs", job)
    assert done.returncode == 125
    assert b"archives nothing" in done.stderr
    kept = [path for path in below(alone.state / "archive") if path.is_file()]
    assert not any(b"once" in path.read_bytes() for path in kept)


def test_an_agent_that_is_stopped_waits_for_its_archive(alone: Env) -> None:
    invite = alone.start_relay()
    agent = alone.start_agent("one", invite)
    jobs = [detached(alone, "--", "sh", "-c", f"echo {n}; exit {n}") for n in range(5)]
    until(lambda: all(job["ended_at"] for job in alone.jobs()), "them to end")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(20) == 0
    assert b"not archived" not in (alone.root / "one.log").read_bytes()
    for n, job in enumerate(jobs):
        done = alone.gshell("attach", job)
        assert (done.returncode, done.stdout) == (n, b"%d\n" % n)


def test_live_the_archive_has_it_even_if_the_agent_is_killed(alone: Env) -> None:
    state = str(alone.state)
    start = ("relay", "start", "--listen", "127.0.0.1:0", "--state", state, "--user", "tester")
    assert alone.gshell(*start, "--archive", "live").returncode == 0
    assert alone.gshell("relay", "stop", "--state", state).returncode == 0
    invite = alone.start_relay()
    alone.start_agent("one", invite)
    job = detached(alone, "--", "sh", "-c", "echo first; read x < /dev/null; exec sleep 1000")
    part = alone.state / "archive" / f"{job}.0" / "3.0"
    until(lambda: part.exists() and part.read_bytes() == b"first\n", "it to come", show=alone.logs)
    os.kill(int(alone.relay_facts()["archive_pid"]), signal.SIGKILL)
    alone.gshell("cancel", job)
    assert archived(alone, job)["archived_bytes"] == 6


@pytest.mark.parametrize("who", ["archive_pid", "broker_pid", "door_pid", "relay"])
def test_who_is_killed_amid_a_fetch_does_not_matter(alone: Env, tmp_path: Path, who: str) -> None:
    invite = alone.start_relay()
    alone.start_agent("one", invite)
    (tmp_path / "data").write_bytes(os.urandom(1 << 20) * 48)
    sent = hashlib.sha256((tmp_path / "data").read_bytes()).hexdigest()
    job = detached(alone, "--", "cat", str(tmp_path / "data"))
    folder = alone.state / "archive" / f"{job}.0"
    until(lambda: list(folder.glob("3.*")), "the fetch to begin", show=alone.logs)
    facts = alone.relay_facts()
    pids = [facts["pid"], facts["archive_pid"], facts["broker_pid"], facts["door_pid"]]
    for pid in pids if who == "relay" else [facts[who]]:
        os.kill(int(pid), signal.SIGKILL)
    if who == "relay":
        listen = ("--listen", facts["listen"], "--state", str(alone.state), "--user", "tester")
        again = alone.gshell("relay", "start", *listen)
        assert again.returncode == 0, again.stderr
    archived(alone, job, 40.0)
    back = alone.gshell("logs", job)
    assert hashlib.sha256(back.stdout).hexdigest() == sent
    assert back.stderr == b""


def test_a_reader_does_not_notice_that_the_archive_was_killed(relay: Env, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(1 << 20) * 40)
    sent = hashlib.sha256((tmp_path / "data").read_bytes()).digest()
    job = detached(relay, "--", "cat", str(tmp_path / "data"))
    archived(relay, job)
    with relay.popen("logs", job, background=False) as reader:
        assert reader.stdout is not None
        digest = hashlib.sha256(reader.stdout.read(1 << 20))
        os.kill(int(relay.relay_facts()["archive_pid"]), signal.SIGKILL)
        while data := reader.stdout.read(1 << 20):
            digest.update(data)
        assert reader.wait(30) == 0
    assert digest.digest() == sent


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_reader_goes_on_from_the_archive_when_the_agent_leaves(
    alone: Env, tmp_path: Path, how: signal.Signals
) -> None:
    invite = alone.start_relay()
    alone.start_agent("one", invite)
    (tmp_path / "data").write_bytes(os.urandom(1 << 20) * 24)
    sent = hashlib.sha256((tmp_path / "data").read_bytes()).digest()
    os.mkfifo(tmp_path / "go")
    script = f"cat {tmp_path}/data; touch {tmp_path}/said; read x < {tmp_path}/go"
    job = detached(alone, "--", "sh", "-c", script)
    until((tmp_path / "said").exists, "it to print", show=alone.logs)
    reader = alone.popen("logs", "-f", job, background=False, stdin=subprocess.DEVNULL)
    try:
        assert reader.stdout is not None
        assert reader.stderr is not None
        digest = hashlib.sha256(reader.stdout.read(1 << 20))
        (tmp_path / "go").write_text("\n")
        archived(alone, job)  # the reader has yet to read most of it, from the agent
        (agent,) = alone.agents()
        os.kill(int(agent["pid"]), how)
        until(lambda: not alone.agents(), "the agent to be gone", show=alone.logs)
        while data := reader.stdout.read(1 << 20):
            digest.update(data)
        assert reader.wait(60) == 0, reader.stderr.read().decode() + alone.logs()
        assert digest.digest() == sent
    finally:
        reader.kill()
        reader.communicate()


def test_hundreds_of_small_jobs_are_all_archived_and_readable(alone: Env) -> None:
    from gshell.model.ticket import Ticket
    from gshell.net.relaylink import ask

    invite = alone.start_relay()
    alone.start_agent("one", invite, "--slots", "8")
    ticket = Ticket.load((alone.home / "config/client.ticket").read_text(), "ticket")
    jobs = []
    for number in range(SMALL_JOBS):
        spec = {"argv": ["sh", "-c", f"echo {number}; exit {number % 100}"], "env": {}}
        answer = ask(ticket, {"m": "submit", "spec": spec, "n": 1, "size": 1})
        jobs.append(answer["job"])

    def left() -> int:
        return sum(not job["archived"] for job in ask(ticket, {"m": "jobs", "all": True})["jobs"])

    until(lambda: left() == 0, "all to be archived", 150.0, lambda: f"{left()}\n{alone.logs()}")
    for number in range(0, SMALL_JOBS, SMALL_JOBS // 11):
        done = alone.gshell("attach", jobs[number])
        assert (done.returncode, done.stdout) == (number % 100, b"%d\n" % number)
    metas = list((alone.state / "archive").glob("*.0/meta.json"))
    assert {json.loads(meta.read_text())["job"] for meta in metas} == set(map(int, jobs))


def test_logs_find_lines(private: Env) -> None:
    script = "echo one Two; echo two three >&2; printf 'a\\377two\\n'; printf 'last two'"
    private.gshell("run", "--", "sh", "-c", script)
    job = newest(private)
    done = private.gshell("logs", job, "--grep", "two")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\xfftwo\nlast two", b"two three\n")
    done = private.gshell("logs", job, "-i", "--grep", "^one TWO$")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"one Two\n", b"")
    done = private.gshell("logs", job, "--grep", "four")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    done = private.gshell("logs", job, "--grep", "(")
    assert done.returncode == 2
    assert b"not a regular expression" in done.stderr


def test_logs_find_lines_while_they_come(private: Env, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    job = detached(private, "--", "cat", str(tmp_path / "fifo"))
    with (
        open(tmp_path / "fifo", "wb", buffering=0) as words,
        private.popen("logs", "-f", job, "--grep", "yes") as reader,
    ):
        assert reader.stdout is not None
        for part in (b"no\n", b"yes 1\nno ", b"yes", b" 2\nno\n"):
            words.write(part)
        assert reader.stdout.readline() == b"yes 1\n"
        assert reader.stdout.readline() == b"no yes 2\n"
        words.close()
        assert reader.wait(20) == 0


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")
def test_a_job_that_ended_yesterday_shows_all_it_printed(alone: Env) -> None:
    invite = alone.start_relay()
    agent = alone.start_agent("one", invite)
    done = alone.gshell("run", "--", "sh", "-c", "seq 1 30000; echo problem >&2; exit 9")
    job, printed = newest(alone), done.stdout
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(20) == 0
    listen = alone.relay_facts()["listen"]
    assert alone.gshell("relay", "stop", "--state", str(alone.state)).returncode == 0

    plain = alone.argv
    alone.argv = lambda *words: [*DAY, *plain(*words)]  # type: ignore[method-assign]
    again = ("--listen", listen, "--state", str(alone.state), "--user", "tester")
    started = alone.gshell("relay", "start", *again)
    assert started.returncode == 0, started.stderr
    listed = alone.gshell("jobs", "-a")
    assert b"24 h ago" in listed.stdout or b"1 d ago" in listed.stdout
    done = alone.gshell("attach", job, background=False)
    assert (done.returncode, done.stdout, done.stderr) == (9, printed, b"problem\n")
    with Pty(alone.argv("attach", job), alone.client_env(background=False)) as pty:
        pty.wait_for("30000\r\n")
        assert pty.wait() == 9
