"""A relay with several addresses: the first is dead, or dies; everybody comes by the second."""

import socket
import time

import pytest

from gshell.agent.uplink import Uplink
from gshell.client.conversation import Conversation, Dialler
from gshell.net import address, relaylink, relays
from gshell.net.loop import Loop
from gshell.net.relaylink import RelayLink
from kit.faultproxy import FaultProxy

SOON_S = 30.0


@pytest.fixture
def relay(tmp_path):
    from component.relay.conftest import InProcessRelay

    relays._all.clear()
    one = InProcessRelay(tmp_path / "state", "127.0.0.1:0")
    yield one
    one.close()


@pytest.fixture(params=["refused", "silent", "nameless", "unix"])
def dead(request, tmp_path, monkeypatch):
    """An address where no relay is."""
    monkeypatch.setattr("gshell.net.relays.ANSWER_S", 1.5)  # half of it is enough to see it
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{sock.getsockname()[1]}"
        if request.param == "silent":
            sock.listen(8)  # the kernel takes them, nobody answers
            yield where
            return
    yield {"refused": where, "nameless": "no-such-host.invalid:7", "unix": f"unix:{tmp_path}/no"}[
        request.param
    ]


class Owner:
    """Of an Uplink, or of a Conversation."""

    def __init__(self, ticket):
        self.ticket, self.said, self.failed = ticket, [], None

    def hello(self):
        return {"m": "hello", "role": "agent", "v": 1, "agent_id": self.ticket.agent_id, "boot": "b",
                "host": "h", "slots": 1, "sessions": []}  # fmt: skip

    def on_control(self, message):
        self.said.append(message)

    def on_failed(self, talk, error):
        self.failed = error

    def __getattr__(self, name):
        if name.startswith("on_"):
            return lambda *_: None
        raise AttributeError(name)


def until(done, *loops, patience_s=SOON_S):
    end = time.monotonic() + patience_s
    while not done():
        assert time.monotonic() < end, f"waited {patience_s} s"
        for loop in loops:
            loop.once(0.005)


def uplink(relay, where, loop=None):
    ticket = relay.ticket("agent", agent_id="n1")._replace(relays=where)
    one = Uplink(loop or relay.loop, ticket, Owner(ticket))
    relay.closers.append(one.close)
    one.start()
    return one


def test_an_agent_comes_by_the_second_address_and_parks_there(relay, dead):
    one = uplink(relay, [dead, relay.address])
    until(lambda: one.welcomed and relay.parked("n1") == 2, relay.loop)


def test_a_request_is_answered_by_the_second_address(relay, dead):
    ticket = relay.ticket()._replace(relays=[dead, relay.address])
    answers, errors = [], []
    link = RelayLink(relay.loop, ticket, errors.append)
    link.open()
    link.request({"m": "whoami"}, answers.append)
    until(lambda: answers or errors, relay.loop)
    assert answers[0]["user"] == "alice"
    link.close()
    again = RelayLink(relay.loop, ticket, errors.append)
    again.open()
    assert again._dialled == relay.address, "what worked is remembered"
    again.request({"m": "whoami"}, answers.append)
    until(lambda: len(answers) == 2, relay.loop)
    again.close()


def test_a_client_comes_by_the_second_address(relay, dead):
    relay.agent()
    ticket = relay.ticket()._replace(relays=[dead, relay.address])
    owner = Owner(ticket)
    talk = Conversation(Dialler(relay.loop, ticket), owner, {"op": "open", "tasks": 1}, {})
    talk.dial()
    until(lambda: relay.door.meeting.visits, relay.loop)
    talk.close()


def test_all_dead_is_said_of_all_and_soon(relay, dead):
    ticket = relay.ticket()._replace(relays=[dead, "127.0.0.1:1"])
    errors = []
    try:
        link = RelayLink(relay.loop, ticket, errors.append)
        link.open()
    except relaylink.LinkLost as error:
        errors.append(error)
    until(lambda: errors, relay.loop, patience_s=25.0)
    assert dead in errors[0].message
    assert "127.0.0.1:1" in errors[0].message


@pytest.mark.parametrize("how", ["hole", "refuse"])
def test_an_agent_whose_way_dies_comes_by_the_other_one(relay, how):
    offset = 0.0
    loop = Loop(lambda: time.monotonic() + offset)
    with FaultProxy(relay.address) as way:
        one = uplink(relay, [way.address, relay.address], loop)
        until(lambda: one.welcomed and relay.parked("n1") == 2, relay.loop, loop)
        before = one._link
        if how == "refuse":
            way.refuse(True)
            way.cut("rst")
        else:
            way.hole()
            offset += 35.1  # nothing was heard for so long
            until(lambda: one._link is not before, relay.loop, loop, patience_s=11.0)
        until(
            lambda: one.welcomed and one._link is not before and relay.parked("n1") == 2,
            relay.loop, loop, patience_s=15.0,
        )  # fmt: skip
        assert one._dialled == relay.address
        one.close()
    loop.close()


def test_many_agents_do_not_come_back_in_the_same_instant(relay, monkeypatch):
    waits = []
    monkeypatch.setattr(relay.loop, "later", lambda delay_s, call: waits.append(delay_s))
    ticket = relay.ticket("agent", agent_id="n1")._replace(relays=["unix:/nonexistent"])
    for _ in range(100):
        one = Uplink(relay.loop, ticket, Owner(ticket))
        one._dial()
    assert max(waits) / min(waits) > 2.0
    assert len({round(wait, 4) for wait in waits}) > 30


def test_a_wall_clock_that_jumps_does_not_make_an_agents_spares_too_old(relay, monkeypatch):
    from gshell.agent import uplink as module

    one = uplink(relay, [relay.address])
    until(lambda: relay.parked("n1") == 2, relay.loop)
    real = time.time
    monkeypatch.setattr(module, "time", type("T", (), {"time": lambda: real() + 7200.0}))
    one._drop_spares()
    until(lambda: relay.parked("n1") == 0, relay.loop)
    one._top_up()
    until(lambda: relay.parked("n1") == 2, relay.loop)


def test_a_client_with_a_wrong_clock_goes_by_the_relays(relay, monkeypatch):
    from gshell.client import conversation
    from gshell.client.asking import Asking

    relay.agent()
    real = time.time
    monkeypatch.setattr(conversation, "time", type("T", (), {"time": lambda: real() + 7200.0}))
    ticket = relay.ticket()
    asking = object.__new__(Asking)
    asking._dialler = Dialler(relay.loop, ticket)
    refused = []

    class Refused(Owner):
        def on_refused(self, talk, code):
            refused.append(code)

    request = {"op": "open", "tasks": 1}
    talk = Conversation(asking._dialler, Refused(ticket), request, {})
    talk.dial()
    until(lambda: refused == ["time"], relay.loop)
    asking._relay = RelayLink(relay.loop, ticket, refused.append)
    asking._relay.open()
    until(lambda: asking._relay.welcome is not None, relay.loop)
    monkeypatch.setattr("gshell.client.asking.time.time", lambda: real() + 7200.0)
    assert asking.set_clock()
    assert not asking.set_clock(), "a second time it is no news"
    monkeypatch.setattr("gshell.client.asking.time.time", real)
    talk.dial()
    until(lambda: relay.door.meeting.visits, relay.loop)
    talk.close()
    asking._relay.close()


def test_a_relay_whose_clock_is_set_is_followed(relay, monkeypatch):
    one = uplink(relay, [relay.address])
    until(lambda: relay.parked("n1") == 2, relay.loop)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 7200.0)
    one._heartbeat()  # ten seconds at most
    epoch = one._relay_epoch
    until(lambda: one._relay_epoch != epoch, relay.loop)
    one._drop_spares()
    until(lambda: relay.parked("n1") == 0, relay.loop)
    one._top_up()
    until(lambda: relay.parked("n1") == 2, relay.loop)


def test_a_name_server_that_is_away_costs_a_known_relay_nothing(monkeypatch):
    known = socket.getaddrinfo("127.0.0.1", 7, type=socket.SOCK_STREAM)

    def look_up(host, port, flags=0, **_):
        if flags or not there:
            raise socket.gaierror(socket.EAI_AGAIN, "away")
        return known

    there = True
    monkeypatch.setattr(address, "_resolved", {})
    monkeypatch.setattr(address.socket, "getaddrinfo", look_up)
    assert address._resolve("relay.example", 7) == known
    there = False
    assert address._resolve("relay.example", 7) == known
    with pytest.raises(OSError, match="away"):
        address._resolve("other.example", 7)


def test_a_silent_name_server_does_not_stop_the_loop(monkeypatch):
    import threading

    release = threading.Event()

    def look_up(host, port, flags=0, **_):
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        release.wait(20)
        raise socket.gaierror(socket.EAI_AGAIN, "away")

    monkeypatch.setattr(address.socket, "getaddrinfo", look_up)
    monkeypatch.setattr(address, "RESOLVE_S", 0.1)
    begun = time.monotonic()
    with pytest.raises(OSError, match="silent"):
        address._resolve("silent.example", 7)
    assert time.monotonic() - begun < 5.0
    release.set()
