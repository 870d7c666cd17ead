"""What can be seen of a relay and of one's jobs: figures, events, top, logs, the doctor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import IO

import pytest

from kit.exposition import read
from kit.procs import Env, below, until

WAIT_S = 20.0


@pytest.fixture
def seen(alone: Env):
    """A relay with figures, a JSON log with everything in it, and an agent that says all it can."""
    path = alone.root / "m.sock"
    alone.env["GSHELL_LOG_FORMAT"] = "json"
    done = alone.gshell(
        "relay", "start", "--listen", "127.0.0.1:0", "--state", str(alone.state), "--user",
        "tester", "--metrics", f"unix:{path}", "--log-format", "json", "--log-level", "debug",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode() + alone.logs()
    alone.gshell("login", alone.invite())
    alone.start_agent("one", alone.invite())
    return alone


@contextlib.contextmanager
def following(env: Env, *words: str) -> Iterator[IO[bytes]]:
    """The lines that a command prints until it is interrupted; it ends well."""
    process = env.popen(*words)
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(WAIT_S) == 0


def scraped(env: Env, figure: str, *label: tuple[str, str]) -> float | None:
    """None while there is nobody to ask, or it is not known yet."""
    try:
        return scrape(env)[figure].get(label)
    except (OSError, KeyError, AssertionError):
        return None


def scrape(env: Env) -> dict:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(WAIT_S)
        sock.connect(str(env.root / "m.sock"))
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while chunk := sock.recv(1 << 16):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return read(body.decode())


def test_figures_count_what_was_run_and_survive_the_broker(seen: Env) -> None:
    for _ in range(3):
        assert seen.gshell("run", "true").returncode == 0
    until(lambda: scraped(seen, "gshell_jobs_ended_total", ("result", "completed")) == 3)
    assert scrape(seen)["gshell_jobs_started_total"][()] == 3
    until(lambda: scraped(seen, "gshell_door_bytes_total", ("direction", "down")))
    broker = seen.relay_facts()["broker_pid"]
    os.kill(broker, signal.SIGKILL)
    until(lambda: seen.relay_facts()["broker_pid"] != broker)
    until(lambda: scraped(seen, "gshell_agents", ("state", "waiting")) == 1)


def test_figures_are_for_this_machine_unless_asked(alone: Env) -> None:
    words = ["relay", "start", "--listen", "127.0.0.1:0", "--state", str(alone.state)]
    done = alone.gshell(*words, "--metrics", "0.0.0.0:0")
    assert done.returncode == 2
    assert b"--metrics-anywhere" in done.stderr
    done = alone.gshell(*words, "--metrics", "0.0.0.0:0", "--metrics-anywhere")
    assert done.returncode == 0, done.stderr
    assert alone.relay_facts()["metrics"].startswith("0.0.0.0:")


def test_events_follow_a_job_from_its_start_to_its_end(relay: Env) -> None:
    with following(relay, "events", "-f", "--json") as lines:
        first = json.loads(lines.readline())
        assert (first["schema"], first["kind"]) == (1, "resync")
        assert (
            relay.gshell("run", "-J", "seen-by-events", "--", "sh", "-c", "exit 3").returncode == 3
        )
        states = []
        while "FAILED" not in states:
            event = json.loads(lines.readline())
            if event["kind"] == "job" and event["job"]["name"] == "seen-by-events":
                states.append(event["job"]["state"])
        assert list(dict.fromkeys(states)) == ["ACTIVE", "FAILED"]


def test_a_watched_list_changes_when_something_does(relay: Env) -> None:
    with following(relay, "jobs", "-w", "-q") as lines:
        done = relay.gshell("run", "--detach", "--", "sleep", "60")
        job = done.stdout.decode().strip()
        while job not in lines.readline().decode().split():
            pass
        relay.gshell("kill", "-9", job)


def test_events_go_on_over_a_new_broker(seen: Env) -> None:
    with following(seen, "events", "-f", "--json") as lines:
        lines.readline()
        broker = seen.relay_facts()["broker_pid"]
        os.kill(broker, signal.SIGKILL)
        while json.loads(lines.readline())["kind"] != "resync":
            pass
        seen.gshell("run", "-J", "afterwards", "true")
        while b"afterwards" not in lines.readline():
            pass


def test_what_a_step_writes_is_told_while_somebody_looks(relay: Env) -> None:
    done = relay.gshell("run", "--detach", "--", "sh", "-c", "echo 123456789; exec sleep 60")
    job = done.stdout.decode().strip()
    with following(relay, "events", "-f", "--json") as lines:
        while True:
            event = json.loads(lines.readline())
            steps = [s for s in event.get("steps", ()) if s["job"] == job]
            if event["kind"] == "stats" and steps and steps[0]["out"]:  # it may not have begun
                break
        assert steps[0]["out"] == 10
    relay.gshell("kill", "-9", job)


def test_top_without_a_terminal_is_one_picture(relay: Env) -> None:
    done = relay.gshell("top")
    assert done.returncode == 0, done.stderr
    assert b"gshell top" in done.stdout
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize("end", ["q", "TERM", "HUP", "KILL"])
def test_top_gives_the_terminal_back(relay: Env, end: str) -> None:
    import pty
    import termios

    master, slave = pty.openpty()
    termios.tcsetwinsize(master, (24, 80))
    before = termios.tcgetattr(slave)
    process = relay.popen("top", stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                          env={"TERM": "xterm-256color"})  # fmt: skip
    shown = b""
    try:
        while b"F10" not in shown:
            shown += os.read(master, 1 << 16)
        assert termios.tcgetattr(slave) != before
        if end == "q":
            os.write(master, b"q")
        else:
            process.send_signal(getattr(signal, f"SIG{end}"))
        process.wait(WAIT_S)
        os.set_blocking(master, False)

        def restored() -> bool:
            nonlocal shown
            try:
                shown += os.read(master, 1 << 16)
            except OSError:
                pass
            return termios.tcgetattr(slave) == before and shown.rfind(b"\x1b[?1049l") > shown.rfind(
                b"\x1b[?1049h"
            )

        until(restored, show=lambda: repr(shown[-300:]))
        assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
    finally:
        os.close(master)
        os.close(slave)


CANARIES = {
    "argv": "canary-argv-1f", "env": "canary-env-2e", "typed": "canary-typed-3d",
    "output": "canary-output-4c", "token": "canary-token-5b", "name": "canary-file-6a",
}  # fmt: skip


def test_no_log_at_any_level_says_what_was_run_typed_printed_or_secret(seen: Env) -> None:
    script = "cat > /dev/null; printf 'canary-out'; printf 'put-4c\\n'; exit 7"
    done = seen.gshell(
        "run", "--env", f"SECRET={CANARIES['env']}", "--", "sh", "-c", script, CANARIES["argv"],
        input=CANARIES["typed"].encode() * 100,
    )  # fmt: skip
    assert done.returncode == 7
    assert CANARIES["output"].encode() in done.stdout
    spec_job = seen.gshell("run", "--detach", "--", "/nowhere/" + CANARIES["argv"])
    assert spec_job.returncode in (0, 125, 126, 127)
    pin = seen.relay_facts()["pin"]
    wrong = f"gshell://{seen.address or seen.relay_facts()['listen']}/{pin}#{CANARIES['token']}"
    assert seen.gshell("login", wrong).returncode != 0
    until(lambda: "invite is not valid" in (seen.state / "relay.log").read_text())
    ticket = json.loads((seen.home / "config" / "client.ticket").read_text())
    secrets = [*CANARIES.values(), ticket["mac_key"], ticket["key"].splitlines()[1]]
    secrets.append((seen.state / "mac.secret").read_text().strip())
    logs = [p for p in below(seen.root) if p.suffix in (".log", ".out") and p.is_file()]
    assert {p.name for p in logs} >= {"relay.log", "one.log"}
    for path in logs:
        text = path.read_text(errors="replace")
        for secret in secrets:
            assert secret not in text, f"{path}: {secret[:20]}"
    lines = [json.loads(line) for line in (seen.state / "relay.log").read_text().splitlines()]
    assert {"debug", "info"} <= {line["level"] for line in lines}
    json.loads((seen.root / "one.log").read_text().splitlines()[0])


def test_the_doctor_of_a_relay_finds_it_well_and_then_not(seen: Env) -> None:
    done = seen.gshell("relay", "doctor", "--state", str(seen.state))
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    seen.gshell("relay", "stop", "--state", str(seen.state))
    (seen.state / "ca.key").chmod(0o644)
    done = seen.gshell("relay", "doctor", "--state", str(seen.state), "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)["findings"]
    assert [f["check"] for f in found if f["level"] == "bad"] == ["state"]


def test_the_doctor_says_that_the_relay_is_gone(seen: Env) -> None:
    assert seen.gshell("doctor").returncode == 0
    seen.gshell("relay", "stop", "--state", str(seen.state))
    done = seen.gshell("doctor", "--json")
    assert done.returncode == 1
    bad = [f for f in json.loads(done.stdout)["findings"] if f["level"] == "bad"]
    assert [f["check"] for f in bad] == ["relay"]
    assert "nobody listens" in bad[0]["text"]


def test_how_far_a_program_says_to_be_is_seen_wherever_jobs_are_listed(seen: Env) -> None:
    steps = seen.root / "steps"  # the program goes on when it is told to
    os.mkfifo(steps)
    words = "echo ' Iterations:  250'; while read n; do echo \" Time step $n\"; done"
    done = seen.gshell("run", "--detach", "sh", "-c", f"exec < {steps}; {words}")
    assert done.returncode == 0, done.stderr
    with open(steps, "w") as to, following(seen, "jobs", "-w") as lines:
        until(lambda: b"ACTIVE" in seen.gshell("jobs").stdout.upper())
        assert b"PROGRESS" not in seen.gshell("jobs").stdout
        for step in (20, 40):
            to.write(f"{step}\n")
            to.flush()
            until(lambda n=step: f" {n}/250".encode() in seen.gshell("jobs").stdout)  # type: ignore[misc]
        (job,) = seen.jobs()
        assert (job["progress"]["done"], job["progress"]["of"]) == (40, 250)
        assert b" 40/250" in seen.gshell("top", "--once").stdout
        while b"/250" not in lines.readline():
            pass
    until(lambda: seen.jobs()[0]["progress"] is None)
