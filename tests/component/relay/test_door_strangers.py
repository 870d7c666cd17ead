"""The door with real sockets: who is let in at all, and what nonsense does to it."""

import os
import time

import pytest

from gshell.errors import AuthError
from gshell.net import rendezvous
from relay.door import limits, listener, meet

A = "a" * 32


# ---------------------------------------------------------------------------------------- strangers


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"GSHELL/2" + b"\0" * 50,
                                   b"GSHELL/1C\xff\xff\xff\xff", b"GSHELL/1Z\0\0\0\0"])  # fmt: skip
def test_noise_is_answered_with_silence(relay, first):
    sock = relay.dial()
    sock.send(first)
    relay.silent(sock)
    assert relay.door.listener.strangers == {}


def test_ssh_is_told_that_this_is_not_it(relay):
    sock = relay.dial()
    sock.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert b"no SSH door" in relay.ended(sock)


@pytest.mark.parametrize("first", [b"", b"G", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"GSHELL/1C"])
def test_who_does_not_say_who_it_is_has_little_time(relay, monkeypatch, first):
    monkeypatch.setattr(limits, "DEADLINE_S", 0.05)
    sock = relay.dial()
    if first:
        sock.send(first)
    relay.silent(sock)
    assert relay.door.listener.strangers == {}
    assert relay.door.controls.by_number == {}


def test_of_too_many_strangers_the_oldest_goes(relay, monkeypatch):
    monkeypatch.setattr(limits, "STRANGERS", 3)
    socks = [relay.dial() for _ in range(3)]
    relay.until(lambda: len(relay.door.listener.strangers) == 3)
    socks.append(relay.dial())
    relay.silent(socks[0])
    client = relay.client()
    assert client.welcome["user"] == "alice"


def test_who_talks_nonsense_is_shut_out_unless_somebody_is_known_there(relay, monkeypatch):
    monkeypatch.setattr(limits, "ENFORCED_S", 3.0)
    local = relay.address.startswith("unix:")  # a local process never is
    for _ in range(4):
        sock = relay.dial()
        sock.send(b"GET / HTTP/1.1")
        relay.silent(sock)
    sock = relay.dial()
    if not local:
        relay.silent(sock)
        assert relay.door.listener.limits.shut_out
        relay.door.listener.limits._sources.clear()
    client = relay.client()
    for _ in range(10):
        sock = relay.dial()
        sock.send(b"GET / HTTP/1.1")
        relay.silent(sock)
    assert client.control.ask("whoami")["user"] == "alice"
    assert relay.client().welcome["user"] == "alice"


def test_a_crowd_of_greetings_is_taken_a_few_at_a_time(relay, monkeypatch):
    begun, rounds = [], []
    take = relay.door.controls.take
    monkeypatch.setattr(relay.door.controls, "take", lambda sock: (begun.append(1), take(sock))[1])
    socks = [relay.dial() for _ in range(20)]
    for sock in socks:
        sock.send(b"\x16\x03\x01")
    while len(begun) < 20:
        before = len(begun)
        relay.loop.once(0.5)
        rounds.append(len(begun) - before)
    assert max(rounds) <= limits.HELLOS_A_ROUND


def test_what_a_crowd_of_strangers_took_is_given_back(relay, monkeypatch):
    given = []
    monkeypatch.setattr(listener, "give_back", lambda: given.append(1))
    monkeypatch.setattr(limits, "DEADLINE_S", 0.2)
    socks = [relay.dial() for _ in range(80)]
    relay.until(lambda: len(relay.door.listener.strangers) == 80)
    relay.until(lambda: not relay.door.listener.strangers)
    relay.until(lambda: given == [1])
    assert all(relay.ended(sock) == b"" for sock in socks)


def test_memory_can_be_given_back():
    listener.give_back()


def test_a_spare_whose_client_does_not_answer_any_more_is_cut(relay, monkeypatch):
    visit, spare, *_ = relay.joined()
    monkeypatch.setattr(meet, "half_open", lambda sock: True)
    relay.door.meeting._look()
    assert relay.ended(visit) == relay.ended(spare) == b""


def test_a_stranger_over_tls_gets_nothing_but_the_end(relay, make_control):
    stranger = make_control()
    stranger.say({"m": "jobs", "id": 1})
    relay.until(lambda: stranger.error)
    assert stranger.got == []


def test_a_certificate_of_another_authority_is_refused_as_such(relay, make_control, tmp_path):
    from relay import auth

    other = tmp_path / "other"
    other.mkdir()
    auth.ensure(str(other))
    issued = auth.issue(str(other), "gshell:user:alice", agent=False)
    ticket = relay.ticket()._replace(cert=issued.cert, key=issued.key)
    liar = make_control(ticket)
    relay.until(lambda: liar.error)
    assert isinstance(liar.error, AuthError)
    assert relay.broker._core.books.conns == {}


def test_an_agent_cannot_act_as_a_client(relay):
    agent = relay.agent()
    assert agent.ticket.mac_key == ""
    agent.control.say({"m": "jobs", "id": 1})
    agent.control.say({"m": "ping"})
    agent.control.get("pong")
    assert [m for m in agent.control.got if "re" in m] == []


def test_the_door_answers_pings_itself(relay):
    client = relay.client()
    client.control.say({"m": "ping"})
    assert abs(client.control.get("pong")["now"] - time.time()) < 5


def test_an_agent_that_falls_silent_is_given_up(relay):
    agent = relay.agent()
    agent.control.say({"m": "ping"})
    agent.control.get("pong")
    for _ in range(4):
        relay.door.controls._sweep()
    relay.until(lambda: agent.control.error)


def test_an_oversized_message_ends_the_connection_only(relay):
    client, other = relay.client(), relay.client()
    client.control.link.send(b"\xff\xff\xff\xff")
    relay.until(lambda: client.control.error)
    assert other.control.ask("whoami")["user"] == "alice"


def test_only_its_own_user_may_connect_where_that_is_asked(relay):
    if not relay.address.startswith("unix:"):
        return  # uids are known of unix sockets only
    relay.door.listener.only_uid = os.geteuid() + 1
    sock = relay.dial()
    if os.geteuid() == 0:  # root may do everything anyway
        relay.until(lambda: relay.door.listener.strangers)
    else:
        relay.silent(sock)


# ----------------------------------------------------------------------------- well-formed nonsense


def deep(levels):
    return [deep(levels - 1)] if levels else []


def test_what_would_break_the_door_is_answered_with_silence(relay):
    client = relay.client()
    mac_id = client.welcome["mac_id"]
    client.welcome["mac_id"] = "\ud800"
    relay.silent(client.come(att=A))
    client.welcome["mac_id"] = mac_id
    relay.silent(client.come(att=A, nonce="\ud800" * 32))
    relay.silent(client.come(att=A, more=deep(200)))
    assert rendezvous.parse_refusal(relay.ended(client.come(att=A, at=10**400)))[0] == "time"
    assert rendezvous.parse_refusal(relay.ended(client.come(att=A, at=float("nan"))))[0] == "time"
    assert client.control.ask("whoami")["ok"]


def test_what_would_break_the_broker_ends_one_connection_at_most(relay):
    client = relay.client()
    for invite in ("\ud800", "", 7, deep(3)):
        assert relay.enrol(invite)["m"] == "error"
    assert not client.control.ask("invite", uses=1, hours=10**400)["ok"]
    assert not client.control.ask("invite", uses=True, hours=float("nan"))["ok"]
    assert not client.control.ask("ticket", agent_id="\ud800")["ok"]
    client.control.say({"m": "jobs", "id": deep(3)})
    assert client.control.ask("whoami")["ok"]
    client.control.say({"m": "jobs", "id": 1, "ids": deep(400)})
    relay.until(lambda: client.control.error)
    assert relay.client().control.ask("whoami")["ok"]
