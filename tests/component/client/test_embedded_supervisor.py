"""The supervisor of the private relay and agent: starting again never stops the loop it lives on."""

import os

import pytest

from gshell.client import embedded
from gshell.net.loop import Loop

READY = "echo ready >&$0; exec sleep 60"
SLOW = "read x < {gate}; echo ready >&$0; exec sleep 60"
MUTE = "exec sleep 60"
DEAD = "exit 3"
WAIT_S = 30.0


@pytest.fixture
def supervisor(tmp_path, monkeypatch):
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path))
    os.makedirs(tmp_path / "state" / "private")
    one = embedded.Supervisor()
    one._loop = Loop()
    one.script = READY
    one.starts = 0

    def argv(name):
        one.starts += 1
        return ["/bin/bash", "-c", one.script], []

    one._argv = argv
    yield one
    one.stop()
    one._loop.close()


def until(supervisor, done):
    assert supervisor._loop.run_until(lambda: bool(done()), WAIT_S)


def pid(supervisor):
    return supervisor._relay.pid if supervisor._relay is not None else 0


def test_while_a_relay_starts_again_the_loop_goes_on(supervisor, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    supervisor.script = SLOW.format(gate=gate)
    supervisor._restart("relay")
    ticks = []

    def tick():
        ticks.append(1)
        supervisor._loop.later(0.01, tick)

    tick()
    until(supervisor, lambda: len(ticks) > 20)
    assert not (tmp_path / "state/private/relay.pid").exists()
    writer = os.open(gate, os.O_RDWR)
    os.write(writer, b"go\n")
    until(supervisor, (tmp_path / "state/private/relay.pid").exists)
    os.close(writer)


def test_one_that_does_not_get_ready_is_ended_and_tried_again(supervisor, monkeypatch):
    monkeypatch.setattr(embedded, "START_S", 0.2)
    supervisor.script = MUTE
    supervisor._restart("relay")
    first = pid(supervisor)
    supervisor.script = READY
    until(supervisor, lambda: pid(supervisor) not in (0, first))
    assert not os.path.exists(f"/proc/{first}")


def test_one_that_dies_at_once_is_tried_again(supervisor):
    supervisor.script = DEAD
    supervisor._restart("relay")
    until(supervisor, lambda: supervisor.starts >= 2)
    supervisor.script = READY
    until(supervisor, lambda: os.path.exists(f"{embedded.config.embedded_dir()}/relay.pid"))


def test_what_is_on_its_way_when_we_stop_is_ended_too(supervisor):
    supervisor.script = MUTE
    supervisor._restart("relay")
    child = supervisor._relay
    supervisor.stop()
    assert child.poll() is not None
