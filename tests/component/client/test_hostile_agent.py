"""An agent that lies: it ends links, not the session, and not for ever."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gshell.client.conversation import WRONG_MOST
from gshell.client.outlet import Outlet
from kit.hostilerelay import Agent, HostileRelay
from kit.procs import gshell_argv

RUNNING = {"job": "1", "index": 0, "size": 1, "state": "running", "writer": True, "pty": False,
           "tasks": 1, "name": "x", "start": {"3": 0}, "live": {"3": 0}}  # fmt: skip
EXIT = {"t": "exit", "rank": 0, "code": 7, "signal": None, "core": False, "final": {"3": 4}}
NONSENSE = b"\xee\0\0\0\1x"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[HostileRelay]:
    with HostileRelay(tmp_path / "relay") as made:
        made.install(tmp_path / "home")
        yield made


def popen(relay: HostileRelay, *words: str, stdout: int) -> subprocess.Popen[bytes]:
    home = Path(relay.folder).parent / "home"
    env = {**os.environ, "GSHELL_HOME": str(home), "GSHELL_BACKGROUND": "0"}
    return subprocess.Popen(
        [*gshell_argv(), *words], env=env, stdin=subprocess.DEVNULL, stdout=stdout,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def gshell(relay: HostileRelay, *words: str) -> subprocess.CompletedProcess[bytes]:
    home = Path(relay.folder).parent / "home"
    env = {**os.environ, "GSHELL_HOME": str(home), "GSHELL_BACKGROUND": "0"}
    return subprocess.run(
        [*gshell_argv(), *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_one_broken_rule_costs_a_link_and_nothing_else(relay):
    links = []

    def serve(agent: Agent) -> None:
        links.append(agent.body["op"])
        agent.greet(RUNNING, b"out\n")
        if len(links) < 3:
            agent.line.send(NONSENSE)
        else:
            agent.say(EXIT)
        with contextlib.suppress(Exception):
            agent.listen()

    relay.serve = serve
    done = gshell(relay, "attach", "1")
    assert (done.returncode, done.stdout) == (7, b"out\n"), done.stderr
    assert links == ["attach", "resume", "resume"]


def full_pipe() -> tuple[int, int, int]:
    """(its reading end, its writing end, how much is in it)."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, 1031, 1 << 20)  # F_SETPIPE_SZ: as large as anybody may make it
    os.set_blocking(writes, False)
    much = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            much += os.write(writes, bytes(1 << 16))
    os.set_blocking(writes, True)
    return reads, writes, much


@pytest.mark.parametrize("verb", ["attach", "logs"])
def test_when_all_has_come_it_does_not_matter_who_leaves_before_it_is_read(relay, verb):
    """A pager is left open while the agent goes."""
    much = 100_000
    seen = threading.Event()
    links = []

    def serve(agent: Agent) -> None:
        links.append(agent.body["op"])
        with contextlib.suppress(Exception):
            agent.greet({**RUNNING, "live": {"3": much}, "state": "ended"}, b"x" * much)
            agent.say({**EXIT, "final": {"3": much}})
            agent.bye("shutdown", "")
            agent.listen()
        seen.set()  # the client has hung up

    relay.serve = serve
    reads, writes, before = full_pipe()
    done = popen(relay, verb, "1", stdout=writes)
    os.close(writes)
    try:
        assert seen.wait(60.0)
        with os.fdopen(reads, "rb") as pipe:
            assert len(pipe.read()) == before + much
        _, err = done.communicate(timeout=60)
        assert (done.returncode, err) == (7 if verb == "attach" else 0, b"")
        assert links == ["attach"]
    finally:
        done.kill()


@pytest.mark.parametrize(
    "says",
    [
        lambda agent: agent.line.send(NONSENSE),
        lambda agent: agent.say({"t": "exit", "rank": 5}),
        lambda agent: agent.say({"t": "exit", "rank": 0, "code": 10**9}),
        lambda agent: agent.say({"t": "exit", "rank": 0, "final": {"9999": 1}}),
        lambda agent: agent.say({"t": "exit", "rank": 0, "final": [1]}),
    ],
    ids=["a frame", "a rank", "a code", "a stream", "a type"],
)
def test_who_breaks_rules_on_every_link_is_given_up_soon_and_said_so(relay, says):
    links = []

    def serve(agent: Agent) -> None:
        links.append(1)
        agent.greet(RUNNING)
        says(agent)
        with contextlib.suppress(Exception):
            agent.listen()

    relay.serve = serve
    done = gshell(relay, "attach", "1")
    assert done.returncode == 255
    assert b"gshell: the agent evil keeps breaking the protocol (" in done.stderr
    assert b"try:" in done.stderr
    assert len(links) == WRONG_MOST


@pytest.mark.parametrize(
    "lie",
    [{"tasks": 10**9}, {"tasks": -1}, {"start": {"3": 0, "4000003": 0}}, {"start": {"2": 0}},
     {"start": {"x": 0}}, {"start": 5}, {"tasks": "many"}],
    ids=str,
)  # fmt: skip
def test_a_welcome_that_makes_no_sense_is_no_reason_to_count_for_ever(relay, lie):
    def serve(agent: Agent) -> None:
        agent.greet({**RUNNING, **lie})
        with contextlib.suppress(Exception):
            agent.listen()

    relay.serve = serve
    done = gshell(relay, "attach", "1")
    assert done.returncode == 255
    assert b"keeps breaking the protocol" in done.stderr


def test_single_bytes_that_wait_are_not_a_list_each():
    class Sink:
        pending = 0

        def write(self, data: bytes) -> None: ...

    outlet = Outlet(Sink())  # type: ignore[arg-type]
    for _ in range(100_000):
        outlet.write(b"x", "a seat", 3, 1)
    assert len(outlet._queue) <= 100_000 // 4096 + 1
    settled = outlet.written(100_000)
    assert sum(raw for _, _, raw in settled) == 100_000
