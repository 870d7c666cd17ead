"""The bus on a real socket file: greetings, loss of either end, nothing dropped."""

import select

import pytest

from relay.bus import BrokerBus, DoorBus

WAIT_S = 30.0


class Ends:
    """A broker's and a door's end in one thread; each must run for the other to connect."""

    def __init__(self):
        self.broker = self.door = None

    def open_broker(self):
        self.broker = BrokerBus("bus")

    def open_door(self):
        self.door = DoorBus("bus", "door0")

    def get(self, bus, count):
        """At least ``count`` things that come to ``bus``, waiting on descriptors as a loop does."""
        out = []
        poll = select.poll()
        ends = [end for end in (self.broker, self.door) if end is not None]
        for end in ends:
            poll.register(end.fd, select.POLLIN)
        while True:
            for end in ends:
                got = end.drain()
                if end is bus:
                    out += got
            if len(out) >= count:
                return out
            assert poll.poll(WAIT_S * 1000), f"only {out}"


@pytest.fixture
def ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    both = Ends()
    both.open_broker()
    both.open_door()
    assert both.get(both.broker, 1) == [("door0", [])]
    yield both
    for end in (both.broker, both.door):
        if end is not None:
            end.close()


def test_messages_keep_their_order_and_none_is_lost(ends):
    for i in range(2000):
        assert ends.broker.send("door0", [{"i": i}])
    assert [m["i"] for m in ends.get(ends.door, 2000)] == list(range(2000))
    for i in range(2000):
        assert ends.door.send([{"i": i}, {"and": i}])
    got = ends.get(ends.broker, 2000)
    assert [messages[0]["i"] for _, messages in got] == list(range(2000))


def test_the_next_broker_is_greeted_and_does_not_get_what_was_meant_for_the_last(ends):
    ends.broker.close()
    ends.door.send([{"for": "nobody"}])
    ends.open_broker()
    assert ends.get(ends.broker, 1) == [("door0", [])]
    ends.door.send([{"for": "you"}])
    assert ends.get(ends.broker, 1) == [("door0", [{"for": "you"}])]


def test_a_door_s_successor_takes_its_name(ends):
    ends.door.close()
    ends.open_door()
    assert ends.get(ends.broker, 1) == [("door0", [])]
    assert ends.broker.send("door0", [{"m": 1}])
    assert ends.get(ends.door, 1) == [{"m": 1}]


def test_sending_to_a_door_that_is_not_there_is_noticed(ends):
    assert not ends.broker.send("door7", [{"m": 1}])


def test_sending_without_a_broker_is_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    door = DoorBus("bus", "door0")
    assert not door.send([{"m": 1}])
    door.close()
