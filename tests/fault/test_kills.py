"""Somebody is killed with -9, or falls silent: sessions go on, or end with a word."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault.lab import Console, descendants_of, flow, two_legs, warm

from gshell.client.conversation import Conversation, Dialler
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from gshell.wire import peer as wire
from gshell.wire.constants import DEAD_AFTER_S, PIPE_WINDOW, stderr_of, stdout_of
from kit.procs import Env, alive, until

PATIENCE_S = 30.0
BOTH = pytest.mark.parametrize("background", [False, True], ids=["direct", "background"])


@contextlib.contextmanager
def relay_and_agent() -> Iterator[Env]:
    env = Env()
    try:
        env.start_agent("agent", env.start_relay())
        yield env
    finally:
        env.close()


def restart_relay(env: Env) -> None:
    done = env.gshell(
        "relay", "start", "--listen", env.address, "--state", str(env.state), "--user", "tester"
    )
    assert done.returncode == 0, done.stderr.decode() + env.logs()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def agent_pid(env: Env) -> int:
    """Of the agent itself: the process that was started is its keeper."""
    (pid,) = [one["pid"] for one in env.agents()]
    assert pid in descendants_of(env.processes["agent"].pid)
    return int(pid)


class Numbers:
    """Both ends of a program that answers every numbered line."""

    def __init__(self, client: subprocess.Popen[bytes], env: Env) -> None:
        self.client = client
        self.env = env
        self.sent = self.came = 0
        self._left = b""
        for pipe in (client.stdin, client.stdout, client.stderr):
            os.set_blocking(pipe.fileno(), False)

    def go_on(self, until: int, ahead: int = 500) -> None:
        """Until so many answers have come, with at most ``ahead`` lines on their way."""
        end = time.monotonic() + PATIENCE_S
        while self.came < until:
            due = b"".join(b"%d\n" % n for n in range(self.sent, min(until, self.came + ahead)))
            if due:
                with contextlib.suppress(BlockingIOError):
                    written = os.write(self.client.stdin.fileno(), due[:4096])
                    assert due[:written].endswith(b"\n") or written == len(due[:4096])
                    whole, _, rest = due[:written].rpartition(b"\n")
                    self.sent += whole.count(b"\n") + 1
                    if rest:
                        line = due[len(whole) + 1 :].partition(b"\n")[0] + b"\n"
                        self._finish(line[len(rest) :])
            self._read()
            assert time.monotonic() < end, f"{self.came} of {self.sent} came\n{self._words()}"

    def _finish(self, rest: bytes) -> None:
        """The end of a line whose beginning has gone out."""
        os.set_blocking(self.client.stdin.fileno(), True)
        os.write(self.client.stdin.fileno(), rest)
        os.set_blocking(self.client.stdin.fileno(), False)
        self.sent += 1

    def _read(self) -> None:
        if select.select([self.client.stdout], [], [], 0.05)[0]:
            data = os.read(self.client.stdout.fileno(), 1 << 16)
            assert data, self._words()  # its end is the client's: what it wrote last is read first
            *lines, self._left = (self._left + data).split(b"\n")
            for line in lines:
                assert line == b"%d" % self.came, (line, self.came)
                self.came += 1

    def _words(self) -> str:
        words = self.client.stderr.read() or b""
        return words.decode() + self.env.logs()

    def end(self) -> int:
        status = self.client.wait(PATIENCE_S)
        for pipe in (self.client.stdin, self.client.stdout, self.client.stderr):
            pipe.close()
        return status


# ---------------------------------------------------------------------------------------- the relay


@BOTH
@pytest.mark.parametrize("victim", ["pid", "door_pid", "broker_pid"])
def test_a_session_outlives_a_killed_relay(victim: str, background: bool) -> None:
    with relay_and_agent() as env:
        if background:
            warm(env)
        client = env.popen("run", "--", *flow("lines", 9000), background=background)
        numbers = Numbers(client, env)
        numbers.go_on(3000)
        facts = env.relay_facts()
        kill(facts[victim])
        if victim == "pid":
            until(
                lambda: not alive(facts["door_pid"]) and not alive(facts["broker_pid"]),
                "both to end",
            )
            restart_relay(env)
        numbers.go_on(6000)
        new = until(
            lambda: env.relay_facts()[victim] != facts[victim] and env.relay_facts(), "a new one"
        )
        kill(new["door_pid"])  # and once more, now the door
        numbers.go_on(9000)
        assert numbers.end() == 5
        (job,) = (job for job in env.jobs() if job["code"] == 5)
        assert job["state"] == "FAILED"


@BOTH
def test_the_end_of_a_job_that_ended_without_a_relay_is_told(background: bool) -> None:
    with relay_and_agent() as env:
        if background:
            warm(env)
        go, gone = env.root / "go", env.root / "gone"
        waiting = f"while [ ! -e {go} ]; do sleep 0.02; done"
        program = f"echo begun; {waiting}; echo end; echo $$ >{gone}; exit 6"
        client = env.popen("run", "--", "sh", "-c", program, background=background)
        assert client.stdout.readline() == b"begun\n"
        facts = env.relay_facts()
        kill(facts["pid"])
        until(lambda: not alive(facts["door_pid"]), "the door to end")
        go.touch()
        until(lambda: gone.exists() and gone.read_text().strip(), "the program's end")
        until(lambda: not alive(int(gone.read_text())), "the program's end")
        restart_relay(env)
        out, err = client.communicate(timeout=PATIENCE_S)
        assert (client.returncode, out) == (6, b"end\n"), err
        done = until(lambda: [j for j in env.jobs() if j["code"] == 6], "the broker to know")
        assert done[0]["state"] == "FAILED"


# ---------------------------------------------------------------------------------------- the agent

STUBBORN = """trap '' TERM HUP; (sleep 1000; sleep 1) & setsid sleep 1000 &
setsid setsid sleep 1000 & echo up; wait"""


@BOTH
def test_a_killed_agent_takes_its_descendants_along_and_the_client_is_told(
    background: bool,
) -> None:
    with relay_and_agent() as env:
        if background:
            warm(env)
        client = env.popen("run", "--", "sh", "-c", STUBBORN, background=background)
        assert client.stdout.readline() == b"up\n"
        agent = agent_pid(env)
        keeper = env.processes["agent"].pid  # a daemon's parent by now
        below = until(
            lambda: len(found := descendants_of(keeper)) >= 6 and found, "all of its processes"
        )
        kill(agent)
        began = time.monotonic()
        until(lambda: not any(map(alive, below)), "its descendants to end")
        _, err = client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 255, err
        assert b"gshell: " in err, err
        assert time.monotonic() - began < 15
        (job,) = (job for job in env.jobs() if job["name"] == "sh")
        assert (job["state"], job["error"]) == ("FAILED", "agent died")
        assert env.processes["agent"].wait(PATIENCE_S) == 128 + 9


def test_a_killed_keeper_ends_the_agent_and_its_jobs() -> None:
    with relay_and_agent() as env:
        client = env.popen("run", "--", "sh", "-c", "sleep 1000 & echo up; wait", background=False)
        assert client.stdout.readline() == b"up\n"
        agent = agent_pid(env)
        below = descendants_of(agent)
        kill(env.processes["agent"].pid)
        until(
            lambda: not any(map(alive, [agent, *below])),
            "agent and job to end",
            show=lambda: f"{below} {agent}",
        )
        client.communicate(timeout=PATIENCE_S)
        assert client.returncode == 128 + 15  # it was asked to end, and did: its own status
        job = until(
            lambda: [j for j in env.jobs() if j["state"] == "FAILED"], "the broker to know"
        )[0]
        assert (job["code"], job["signal"]) == (128 + 15, 15)


# --------------------------------------------------------------------------------------- the client

ECHO = 'stty -echo; i=0; while read line; do i=$((i+1)); echo "got $i $line"; done; exit 7'


def victim_of(console: Console, env: Env, who: str) -> int:
    if who == "background":
        return int((env.home / "run" / "bg.sock.pid").read_text())
    return console.process.pid


@pytest.mark.parametrize("who", ["direct", "front", "background"])
def test_a_killed_client_leaves_a_sane_terminal_and_a_living_job(who: str) -> None:
    with relay_and_agent() as env:
        if who != "direct":
            warm(env)
        with Console(
            env, "run", "-t", "--", "sh", "-c", ECHO, background=who != "direct"
        ) as console:
            until(lambda: console.is_raw, "the terminal to be raw")
            for number in range(1, 40):
                console.type(b"%d\r" % number)
                console.until(b"got %d %d\r\n" % (number, number))
            (job,) = (job for job in env.jobs() if job["name"] == "sh")
            kill(victim_of(console, env, who))
            if who == "background":
                assert console.wait() == 255
                assert b"the job goes on" in console.seen
            until(
                lambda: termios.tcgetattr(console.slave) == console.modes,
                "the terminal's modes to be as before",
                show=lambda: f"{console.modes}\n{termios.tcgetattr(console.slave)}",
            )
        assert next(j for j in env.jobs() if j["id"] == job["id"])["state"] == "ACTIVE"
        with Console(env, "attach", job["id"], background=who != "direct") as console:
            console.until(b"got 39 39\r\n")
            assert [b"got %d %d\r\n" % (n, n) in console.seen for n in range(1, 40)] == [True] * 39
            console.type(b"again\r")
            console.until(b"got 40 again\r\n")
            console.type(b"\x04")
            assert console.wait() == 7
            assert termios.tcgetattr(console.slave) == console.modes


@pytest.mark.parametrize("who", ["direct", "front"])
def test_a_job_in_pipes_keeps_what_it_wrote_after_its_client_was_killed(who: str) -> None:
    with relay_and_agent() as env:
        if who == "front":
            warm(env)
        go = env.root / "go"
        program = f"seq 1 20000; while [ ! -e {go} ]; do sleep 0.02; done; seq 20001 40000; exit 4"
        client = env.popen("run", "--", "sh", "-c", program, background=who == "front")
        assert client.stdout.read(9) == b"1\n2\n3\n4\n5"[:9]
        (job,) = (job for job in env.jobs() if job["name"] == "sh")
        kill(client.pid)
        client.communicate()
        go.touch()
        until(lambda: [j for j in env.jobs() if j["code"] == 4], "the job's end", show=env.logs)
        done = env.gshell("logs", job["id"], background=who == "front")
        assert done.returncode == 0, done.stderr
        assert done.stdout == b"".join(b"%d\n" % n for n in range(1, 40001)), len(done.stdout)


def test_the_private_relay_and_agent_outlive_the_background_process_and_each_other() -> None:
    env = Env()  # nothing configured: the embedded default
    try:
        assert env.gshell("run", "--", "true").returncode == 0
        with Console(env, "run", "-t", "--", "sh", "-c", ECHO) as console:
            until(lambda: console.is_raw, "the terminal to be raw")
            console.type(b"one\r")
            console.until(b"got 1 one\r\n")
            kill(int((env.home / "run" / "bg.sock.pid").read_text()))
            assert console.wait() == 255
        before = env.agents()
        assert env.gshell("run", "--", "sh", "-c", "exit 4").returncode == 4
        until(lambda: (env.home / "run" / "bg.sock.pid").exists(), "the next background process")
        (job,) = (job for job in env.jobs() if job["state"] == "ACTIVE")
        with Console(env, "attach", job["id"]) as console:
            console.until(b"got 1 one\r\n")
            relay = json.loads((env.home / "state" / "private" / "relay.json").read_text())
            kill(relay["pid"])
            console.type(b"two\r")
            console.until(b"got 2 two\r\n")
            console.type(b"\x04")
            assert console.wait() == 7
        assert [agent["id"] for agent in env.agents()] == [agent["id"] for agent in before]
        kill(env.agents()[0]["pid"])
        until(lambda: env.gshell("run", "--", "sh", "-c", "exit 5").returncode == 5, "a new agent")
        kill(int((env.home / "run" / "bg.sock.pid").read_text()))
        assert env.gshell("stop", "--force").stdout == b"gshell: stopped\n"
        until(lambda: not env.leftovers(), "all to end", show=env.logs)
    finally:
        env.close()


# -------------------------------------------------------------------------------------- black holes


class Listener:
    """Owns a Conversation and remembers what it was told."""

    def __init__(self) -> None:
        self.greeted = 0
        self.lost: list[str] = []
        self.output = b""
        self.failed = ""

    def on_greeted(self, talk: Conversation, welcome: dict) -> None:
        self.greeted += 1

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if isinstance(event, wire.StreamData):
            self.output += event.data
            talk.peer.consume(event.stream, len(event.data))

    def on_flow(self, talk: Conversation) -> None:
        pass

    def on_lost(self, talk: Conversation, error: Exception) -> None:
        self.lost.append(str(error))

    def on_queued(self, talk: Conversation) -> None:
        pass

    def on_refused(self, talk: Conversation, code: str) -> None:
        self.failed = code

    def on_failed(self, talk: Conversation, error: Exception) -> None:
        self.failed = str(error)


def test_a_half_open_link_is_noticed_within_45_seconds() -> None:
    with two_legs() as lab:
        skipped = 0.0
        loop = Loop(clock=lambda: time.monotonic() + skipped)
        text = (lab.env.home / "config" / "client.ticket").read_text()
        listener = Listener()
        talk = Conversation(
            Dialler(loop, Ticket.load(text, "the client's")), listener,
            {"op": "open", "tasks": 1, "index": 0, "size": 1}, {},
        )  # fmt: skip
        talk.peer.add_recv(stdout_of(0), PIPE_WINDOW)
        talk.peer.add_recv(stderr_of(0), PIPE_WINDOW)
        talk.peer.say({"t": "open", "argv": ["sh", "-c", "echo one; sleep 1000"], "tasks": 1})
        talk.dial()
        assert loop.run_until(lambda: listener.output == b"one\n", PATIENCE_S), lab.env.logs()
        lab.clients.hole("data")
        noticed = 0.0
        for second in range(1, 60):
            skipped += 1.0
            loop.once(0.001)
            if listener.lost:
                noticed = second
                break
        assert 30 < noticed <= DEAD_AFTER_S, noticed
        assert loop.run_until(lambda: listener.greeted == 2, PATIENCE_S), lab.env.logs()
        talk.peer.say({"t": "cancel"})
        talk.pump()
        until(lambda: loop.once(0.01) or lab.jobs()[0]["state"] == "FAILED", "the end of the job")
        talk.close("done")
        loop.close()


def test_a_key_that_nothing_answers_finds_a_dead_link_sooner() -> None:
    with (
        two_legs() as lab,
        Console(lab.env, "run", "-t", "--", "sh", "-c", ECHO, background=False) as console,
    ):
        until(lambda: console.is_raw, "the terminal to be raw")
        console.type(b"1\r")
        console.until(b"got 1 1\r\n")
        lab.clients.hole("data")
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 3.1, "the link to be silent for a while")
        console.type(b"2\r")
        console.until(b"got 2", 30.0)
        assert time.monotonic() - began < 20.0
        console.type(b"\x04")
        assert console.wait() == 7


def test_an_agent_notices_a_relay_that_fell_silent(tmp_path: Path) -> None:
    """At the agent's uplink, with a clock that is told the time."""
    from gshell.agent.agent import Agent
    from gshell.agent.slots import Facts

    with two_legs() as lab:
        invite = lab.env.invite()
        ticket_path = tmp_path / "agent.ticket"
        done = lab.env.gshell("agent", "ticket", str(ticket_path), env=lab.direct)
        assert done.returncode == 0, done.stderr
        assert invite
        ticket = Ticket.load(ticket_path.read_text(), "the agent's")
        ticket = ticket._replace(relays=[lab.clients.address])
        skipped = 0.0
        loop = Loop(clock=lambda: time.monotonic() + skipped)
        agent = Agent(loop, ticket, Facts(1, []), "test", str(tmp_path))
        agent.start()
        assert loop.run_until(lambda: agent.connected_once, PATIENCE_S)
        lab.clients.hole()
        agent.connected_once = False
        while agent._uplink.welcomed:
            skipped += 1.0
            assert skipped <= 45, "a look every ten seconds"
            loop.once(0.001)
        assert loop.run_until(lambda: agent.connected_once, PATIENCE_S)
        agent.shut_down()
        loop.close()
