"""The door with real sockets: who meets whom."""

import os
import time

from gshell.net import rendezvous
from relay.door import meet

A, B = "a" * 32, "b" * 32


# ------------------------------------------------------------------------------------------ meeting


def test_a_client_and_an_agent_meet(relay):
    agent, client = relay.agent(spares=1), relay.client()
    visit = client.come(att=A)
    expect = agent.control.get("expect")
    assert (expect["att"], expect["op"], expect["rights"]) == (A, "open", "rw")
    assert relay.read(agent.spares[0], 5) == b"HELLO"
    agent.spares[0].send(b"from the agent")
    assert relay.read(visit, 14) == b"from the agent"
    visit.send(b"from the client")
    assert relay.read(agent.spares[0], 15) == b"from the client"


def test_what_follows_the_preamble_belongs_to_the_agent(relay):
    agent, client = relay.agent(spares=1), relay.client()
    sock = relay.dial()
    sock.send(client.preamble(att=A) + b" and more")
    assert relay.read(agent.spares[0], 14) == b"HELLO and more"


def test_a_preamble_may_come_byte_by_byte(relay):
    agent, client = relay.agent(spares=1), relay.client()
    sock = relay.dial()
    preamble = client.preamble(att=A)
    for i in range(len(preamble)):
        sock.send(preamble[i : i + 1])
        relay.loop.once(0.0)
    assert relay.read(agent.spares[0], 5) == b"HELLO"


def test_a_spare_that_comes_late_is_used_at_once(relay):
    agent, client = relay.agent(), relay.client()
    client.come(att=A)
    agent.control.get("expect")
    assert relay.read(agent.park(), 5) == b"HELLO"


def test_without_a_spare_the_client_is_told_to_come_again_and_the_agent_to_forget_it(
    relay, monkeypatch
):
    monkeypatch.setattr(meet, "SPARE_WAIT_S", 0.05)
    agent, client = relay.agent(), relay.client()
    visit = client.come(att=A)
    assert rendezvous.parse_refusal(relay.ended(visit)) == ("again", meet.RETRY_S)
    assert agent.control.get("unexpect")["att"] == A
    assert client.control.ask("whynot", att=A)["code"] == "again"


def test_a_dead_spare_is_replaced_by_the_next_one(relay):
    agent, client = relay.agent(spares=2), relay.client()
    visit = client.come(att=A)
    assert relay.read(agent.spares[0], 5) == b"HELLO"
    agent.spares[0].close()
    assert relay.read(agent.spares[1], 5) == b"HELLO"
    agent.spares[1].send(b"alive")
    assert relay.read(visit, 5) == b"alive"


def test_a_spare_that_does_not_answer_is_taken_for_dead(relay, monkeypatch):
    monkeypatch.setattr(meet, "FIRST_BYTE_S", 0.05)
    agent, client = relay.agent(spares=2), relay.client()
    client.come(att=A)
    assert relay.read(agent.spares[1], 5) == b"HELLO"


def test_one_client_does_not_use_up_all_spares(relay):
    agent, client = relay.agent(spares=10), relay.client()
    visit = client.come(att=A)
    for spare in agent.spares[: meet.TRIES]:
        assert relay.read(spare, 5) == b"HELLO"
        spare.close()
    assert rendezvous.parse_refusal(relay.ended(visit))[0] == "again"
    assert relay.parked("n1") == 10 - meet.TRIES


def test_a_parked_spare_that_closes_is_forgotten(relay):
    agent = relay.agent(spares=2)
    agent.spares[0].close()
    relay.until(lambda: relay.parked("n1") == 1)
    agent.spares[1].send(b"too early")
    relay.until(lambda: relay.parked("n1") == 0)


def test_a_client_that_leaves_while_it_waits_is_forgotten(relay):
    agent, client = relay.agent(), relay.client()
    visit = client.come(att=A)
    agent.control.get("expect")
    visit.close()
    assert agent.control.get("unexpect")["att"] == A
    assert relay.door.meeting.visits == {}
    assert relay.door.meeting._waiting == {}


def test_an_agent_parks_only_so_many(relay):
    agent = relay.agent(spares=meet.SPARES_PER_AGENT)
    assert relay.ended(agent.park()) == b""
    assert relay.parked("n1") == meet.SPARES_PER_AGENT


# -------------------------------------------------------------------------------------- not genuine


def test_a_replayed_preamble_joins_nothing(relay):
    agent, client = relay.agent(spares=2), relay.client()
    preamble = client.preamble(att=A)
    first = relay.dial()
    first.send(preamble)
    assert relay.read(agent.spares[0], 5) == b"HELLO"
    second = relay.dial()
    second.send(preamble)
    assert rendezvous.parse_refusal(relay.ended(second)) == ("used", 0.0)
    assert relay.parked("n1") == 1


def test_a_preamble_replayed_at_a_door_without_memory_joins_nothing(relay):
    _, client = relay.agent(spares=2), relay.client()
    preamble = client.preamble(att=A)
    relay.dial().send(preamble)
    relay.until(lambda: relay.parked("n1") == 1)
    relay.door.meeting._nonces = type(relay.door.meeting._nonces)(240.0)
    second = relay.dial()
    second.send(preamble)
    assert rendezvous.parse_refusal(relay.ended(second)) == ("used", 0.0)


def test_a_stolen_preamble_cannot_be_given_another_hello_or_another_request(relay):
    _, client = relay.agent(spares=1), relay.client()
    preamble = client.preamble(att=A, hello=b"HELLO")
    for stolen in (preamble.replace(b"HELLO", b"EVIL!"), preamble.replace(A.encode(), B.encode())):
        sock = relay.dial()
        sock.send(stolen)
        relay.silent(sock)
    assert relay.parked("n1") == 1


def test_the_wrong_key_is_answered_with_silence(relay):
    _, client = relay.agent(spares=1), relay.client()
    relay.silent(client.come(att=A, key=os.urandom(32)))
    other = relay.client("bob")
    client.welcome["mac_id"] = other.welcome["mac_id"]
    relay.silent(client.come(att=A))


def test_a_request_without_hello_could_be_replayed_by_a_thief_so_it_is_not_taken(relay):
    client = relay.client()
    relay.silent(client.come(att=A, hello=b""))


def test_clocks_may_differ_by_two_minutes_and_no_more(relay):
    relay.agent(spares=1)
    client = relay.client()
    late = client.come(att=A, at=time.time() - 130)
    assert rendezvous.parse_refusal(relay.ended(late))[0] == "time"
    assert client.control.ask("whynot", att=A)["code"] == "time"
    early = client.come(att=A, at="yesterday")
    assert rendezvous.parse_refusal(relay.ended(early))[0] == "time"


def test_a_revoked_credential_joins_nothing_and_controls_nothing(relay):
    relay.agent(spares=1)
    client = relay.client()
    assert relay.journal.revoke(client.welcome["mac_id"], time.time())
    visit = client.come(att=A)
    assert rendezvous.parse_refusal(relay.ended(visit))[0] == "denied"
    again = type(client.control)(relay, client.ticket)
    assert again.get("error")["code"] == "revoked"
    relay.until(lambda: again.error)


def test_a_spare_parked_for_another_agent_is_not_taken(relay):
    relay.agent("n1")
    evil = relay.agent("n2", spares=1)
    relay.silent(evil.park(agent_id="n1"))
    relay.silent(evil.park(key=os.urandom(32)))
    assert relay.parked("n1") == 0
    client = relay.client()
    client.come(att=A, agent="n1")
    assert relay.parked("n2") == 1


def test_a_spare_can_be_parked_once_and_not_too_late(relay):
    agent = relay.agent()
    preamble = agent.preamble()
    relay.dial().send(preamble)
    relay.until(lambda: relay.parked("n1") == 1)
    again = relay.dial()
    again.send(preamble)
    relay.silent(again)
    relay.silent(agent.park(at=time.time() - 130))


def test_spares_belong_to_one_control_connection(relay):
    old = relay.agent(spares=2)
    new = relay.agent()  # the same process, on a new connection
    relay.until(lambda: relay.parked("n1") == 0)
    relay.silent(old.park())
    new.park()
    relay.until(lambda: relay.parked("n1") == 1)
    new.control.link.close()
    relay.until(lambda: relay.parked("n1") == 0)
