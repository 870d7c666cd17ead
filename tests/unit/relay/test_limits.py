"""What strangers may cost, decided without sockets and clocks."""

import pytest

from relay.door import limits
from relay.door.limits import Limits, Turns, source_of


@pytest.fixture
def door():
    return Limits()


def test_of_too_many_strangers_the_oldest_of_the_biggest_crowd_goes(door, monkeypatch):
    monkeypatch.setattr(limits, "STRANGERS", 10)
    honest = door.arrive("1.1.1.1", 0.0)
    flood = [door.arrive("6.6.6.6", 1.0 + n) for n in range(9)]
    assert door.too_many("6.6.6.6") == 0
    for n in range(1000):
        flood.append(door.arrive("6.6.6.6", 20.0))
        victim = door.too_many("6.6.6.6")
        assert victim == flood[n] != honest
        door.gone(victim, 20.0)
    assert len(door) == 10


def test_one_source_has_a_share_only(door, monkeypatch):
    monkeypatch.setattr(limits, "PER_SOURCE", 3)
    keys = [door.arrive("6.6.6.6", 0.0) for _ in range(4)]
    assert door.too_many("6.6.6.6") == keys[0]
    assert door.too_many("6.6.6.6") == keys[0]
    door.gone(keys[0], 0.0)
    assert door.too_many("6.6.6.6") == 0


def test_who_wastes_enough_is_shut_out_until_it_has_waited(door):
    for n in range(15):
        assert door.may_come("6.6.6.6", n / 10)
        door.gone(door.arrive("6.6.6.6", n / 10), n / 10, limits.GARBAGE)
    assert door.may_come("6.6.6.6", 1.4), "15 s, less what has passed"
    for _ in range(2):
        door.gone(door.arrive("6.6.6.6", 2.0), 2.0, limits.GARBAGE)
    assert not door.may_come("6.6.6.6", 2.0)
    assert door.may_come("1.1.1.1", 2.0)
    assert not door.may_come("6.6.6.6", 16.0), "not before all is paid"
    assert door.may_come("6.6.6.6", 17.1)


def test_penalties_have_an_end(door):
    for _ in range(10_000):
        door.blame("6.6.6.6", limits.REFUSED, 0.0)
    assert not door.may_come("6.6.6.6", limits.MOST_S - 1)
    assert door.may_come("6.6.6.6", limits.MOST_S + 1)


def test_where_somebody_is_known_nobody_is_shut_out(door):
    for _ in range(100):
        door.blame("1.1.1.1", limits.GARBAGE, 0.0)
    assert not door.may_come("1.1.1.1", 1.0)
    door.known("1.1.1.1", 1.0)
    for _ in range(100):
        door.blame("1.1.1.1", limits.GARBAGE, 2.0)
    assert door.may_come("1.1.1.1", 2.0)
    assert door.may_come("1.1.1.1", 2.0 + limits.KNOWN_S), "what was wasted meanwhile is forgiven"


def test_a_local_process_is_never_shut_out(door):
    for _ in range(100):
        door.gone(door.arrive("", 0.0), 0.0, limits.TOO_SLOW)
    assert door.may_come("", 0.0)


def test_deadlines_come_in_order(door):
    first, second = door.arrive("a", 0.0), door.arrive("b", 1.0)
    assert door.overdue(9.9) == 0
    assert door.next_deadline() == limits.DEADLINE_S
    assert door.overdue(10.0) == first
    door.gone(first, 10.0)
    assert door.overdue(10.5) == 0
    assert door.overdue(11.0) == second
    door.gone(second, 11.0)
    assert door.next_deadline() is None


def test_a_million_sources_fill_no_memory(door):
    for n in range(20_000):
        source = f"10.0.{n >> 8}.{n & 255}"
        door.gone(door.arrive(source, n / 1e4), n / 1e4, limits.GARBAGE)
    assert door.sources <= limits.SOURCES
    assert len(door) == 0


def test_who_owes_most_is_remembered_longest(door):
    for _ in range(100):
        door.blame("6.6.6.6", limits.GARBAGE, 0.0)
    for n in range(20_000):
        door.blame(f"10.0.{n >> 8}.{n & 255}", limits.GARBAGE, 1.0)
    assert not door.may_come("6.6.6.6", 2.0)


def test_who_left_in_order_is_forgotten(door):
    door.gone(door.arrive("1.1.1.1", 0.0), 0.1)
    assert door.sources == 0


@pytest.mark.parametrize(
    ("inet6", "host", "source"),
    [
        (False, "192.0.2.7", "192.0.2.7"),
        (True, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (True, "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        (True, "::ffff:192.0.2.7", "192.0.2.7"),
        (True, "fe80::1%eth0", "fe80::/64"),
        (True, "nonsense", "nonsense"),
    ],
)
def test_a_source_is_an_address_or_a_network_of_ipv6(inet6, host, source):
    assert source_of(inet6, host) == source


def test_everybody_in_turn():
    turns, done = Turns(), []
    for n in range(1000):
        turns.add("flood", lambda n=n: done.append(("flood", n)))
    turns.add("honest", lambda: done.append(("honest", 0)))
    for call in turns.take(4):
        call()
    assert ("honest", 0) in done
    assert [n for who, n in done if who == "flood"] == [0, 1, 2]
    while turns:
        for call in turns.take(64):
            call()
    assert [n for who, n in done if who == "flood"] == list(range(1000))
