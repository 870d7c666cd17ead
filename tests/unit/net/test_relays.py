"""Which of a relay's addresses is dialled, and for how long."""

import struct

import pytest

from gshell.net import address, relays
from gshell.net.relays import ANSWER_S, CONNECT_S, Relays


def test_the_first_comes_first_and_a_cut_sends_nobody_elsewhere():
    every = Relays(["a", "b"])
    every.worked("a")
    assert every.address == "a"


def test_many_that_fail_at_the_same_address_move_one_further():
    every = Relays(["a", "b", "c"])
    for _ in range(10):
        every.failed("a")
    assert every.address == "b"


def test_what_worked_stays_in_use():
    every = Relays(["a", "b"])
    every.failed("a")
    every.worked("b")
    every.failed("a")  # of a link that is older
    assert every.address == "b"


def test_each_is_given_little_time_until_all_have_failed():
    every = Relays(["a", "b"])
    assert (every.connect_s(15.0), every.answer_s(15.0)) == (CONNECT_S, ANSWER_S)
    every.failed("a")
    assert every.answer_s(15.0) == ANSWER_S
    every.failed("b")
    assert every.answer_s(15.0) == 15.0
    every.worked("a")
    assert every.answer_s(15.0) == ANSWER_S


def test_one_alone_gets_all_the_time_there_is():
    assert (Relays(["a"]).connect_s(15.0), Relays(["a"]).answer_s(15.0)) == (15.0, 15.0)


def test_what_worked_is_kept_for_the_next_process_when_it_changes(monkeypatch):
    kept = []
    monkeypatch.setattr(relays, "remember", kept.append)
    every = Relays(["a", "b"])
    every.worked("a")
    every.failed("a")
    every.worked("b")
    every.worked("b")
    assert kept == ["b"]


def test_who_shares_a_ticket_shares_what_was_found_out():
    relays.relays_of(["x:1", "y:1"]).failed("x:1")
    assert relays.relays_of(["x:1", "y:1"]).address == "y:1"


def info(unacked=0, probes=0, last_ack_ms=0):
    head, numbers = [0] * 8, [0] * 13
    head[3], numbers[4], numbers[12] = probes, unacked, last_ack_ms
    return struct.pack("8B13I", *head, *numbers)


@pytest.mark.parametrize(
    ("facts", "dead"),
    [
        ({"unacked": 3, "last_ack_ms": 36_000}, True),
        ({"unacked": 3, "last_ack_ms": 30_000}, False),
        ({"probes": 2, "last_ack_ms": 36_000}, True),
        ({"last_ack_ms": 3_600_000}, False),  # nothing was asked
        ({"probes": 1, "last_ack_ms": 3_600_000}, False),  # a stopped program: asked just now
    ],
)
def test_who_leaves_what_we_sent_unanswered_is_half_open(facts, dead):
    assert address._unanswered(info(**facts)) is dead


def test_every_half_open_connection_is_noticed_in_time():
    from gshell.agent import uplink
    from gshell.wire.constants import DEAD_AFTER_S
    from relay.door import control, meet

    for looked_at_every, patience in (
        (meet.LOOK_S, address.HALF_OPEN_S),
        (uplink.CONTROL_PING_S, address.HALF_OPEN_S),
        (uplink.CONTROL_PING_S, uplink.CONTROL_DEAD_S),
        (0.0, control.SILENT_S),
        (0.0, DEAD_AFTER_S),
    ):
        assert looked_at_every + patience <= 45.0
