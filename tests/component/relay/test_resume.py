"""A real agent, a real client and a relay with two addresses, in one process with moved clocks:
what is in the middle of a session when its way dies."""

import time

import pytest
from component.relay.conftest import InProcessRelay
from fault.crowd import Cat

from gshell.agent.agent import Agent
from gshell.agent.slots import Facts
from gshell.client.conversation import Dialler
from gshell.net import link, relays
from gshell.net.loop import Loop
from kit.faultproxy import FaultProxy

RESUMED_S = 15.0


class Scene:
    """One session of ``cat``; the client's clock can be moved."""

    def __init__(self, tmp_path, way):
        self.relay, self.offset = way.relay, 0.0
        self.loop = Loop(lambda: time.monotonic() + self.offset)
        ticket = self.relay.ticket("agent", agent_id="n1")
        self.agent = Agent(self.relay.loop, ticket, Facts(4, []), "0", str(tmp_path))
        self.agent.start()
        client = self.relay.ticket()._replace(relays=[way.address, self.relay.address])
        self.until(lambda: self.relay.parked("n1") == 2)
        self.cat = Cat(self, Dialler(self.loop, client))
        self.cat.talk.dial()
        self.until(lambda: self.cat.came == 1)

    def alive(self, cat):
        pass

    def until(self, done, patience_s=RESUMED_S):
        end = time.monotonic() + patience_s
        while not done():
            assert time.monotonic() < end, f"waited {patience_s} s; {self.cat.wrong}"
            self.loop.once(0.005)
            self.relay.loop.once(0.005)

    def echo(self, count=1000):
        self.cat.send(count)
        self.until(lambda: self.cat.came == self.cat.sent)
        assert not self.cat.wrong

    def close(self):
        self.cat.input.closed = True
        self.cat.talk.pump()
        self.until(lambda: self.cat.exited)
        self.cat.talk.close("done")
        self.agent._uplink.close()
        for one in self.agent._uplink._joined:
            one.close()
        self.loop.close()


@pytest.fixture
def scene(tmp_path):
    relays._all.clear()
    relay = InProcessRelay(tmp_path / "state", "127.0.0.1:0")
    with FaultProxy(relay.address) as way:
        way.relay = relay
        one = Scene(tmp_path, way)
        one.way = way
        yield one
        one.close()
    relay.close()


def test_a_session_goes_on_by_the_second_address_when_the_first_refuses(scene):
    scene.way.refuse(True)
    scene.way.cut("rst")
    begun = time.monotonic()
    scene.echo()
    assert time.monotonic() - begun < 10.0


def test_nobody_types_and_the_hole_is_noticed_in_time(scene):
    scene.way.hole()
    before = scene.cat.talk._link
    for _ in range(9):  # 45 s, in the steps of its heart
        scene.offset += 5.0
        scene.loop.once(0.0)
    assert scene.cat.talk._link is not before
    scene.until(lambda: scene.cat.talk.up)
    assert scene.cat.talk._dialled == scene.relay.address
    scene.echo()


def test_who_types_into_a_hole_waits_less_than_a_quarter_of_a_minute(scene):
    scene.way.hole()
    before, moved = scene.cat.talk._link, 0.0
    scene.cat.send(1)
    while scene.cat.talk._link is before:
        scene.offset += 0.5
        moved += 0.5
        scene.cat.talk.check_now()  # as every key does
        scene.loop.once(0.0)
    assert moved < RESUMED_S - 1.0
    scene.until(lambda: scene.cat.came == scene.cat.sent)


def test_an_agent_lets_go_of_a_client_that_does_not_answer_and_takes_it_back(scene, monkeypatch):
    (session,) = scene.agent.steps.by_key.values()
    attachment = session.primary
    assert attachment.link is not None
    monkeypatch.setattr(link, "half_open", lambda sock: True)
    scene.agent._uplink._heartbeat()
    assert attachment.link is None
    monkeypatch.undo()
    scene.echo()
    assert attachment.link is not None


def test_an_ordinary_cut_stays_with_the_address_that_works(scene):
    scene.way.cut("rst")
    scene.echo()
    assert scene.cat.talk._dialled == scene.way.address
