"""The supervisor of the private relay and agent: starting again never stops the loop it lives on."""

import os

import pytest

from gshell.client import adopted, embedded
from gshell.client.embedded import Supervisor
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

    def has(name, process):
        one.served.append(process.pid)
        Supervisor._has(one, name, process)

    one._argv = argv
    one._has = has
    one.served = []
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
    assert not supervisor.served
    writer = os.open(gate, os.O_RDWR)
    os.write(writer, b"go\n")
    until(supervisor, lambda: supervisor.served)
    os.close(writer)


@pytest.mark.parametrize("name", ["relay", "agent"])
def test_one_that_has_yet_to_serve_is_known_to_who_comes_after_us(supervisor, name):
    """We may be killed before it does: it would be nobody's, for ever."""
    supervisor.script = MUTE
    process, reads = supervisor._spawn(name)
    os.close(reads)
    found = adopted.find(name)
    assert found is not None
    assert found.pid == process.pid
    found.forget()
    process.kill()
    process.wait()


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
    until(supervisor, lambda: supervisor.served)


def test_what_is_on_its_way_when_we_stop_is_ended_too(supervisor):
    supervisor.script = MUTE
    supervisor._restart("relay")
    child = supervisor._relay
    supervisor.stop()
    assert child.poll() is not None
