"""Invites, tickets, and what a relay says of itself, over real connections."""

import os
import socket
import time

from gshell.model.ticket import Ticket


def token(text):
    return text.partition("#")[2]


def test_an_invite_becomes_a_ticket(relay, make_control):
    invite = relay.desk.invite("alice", "any", 2, 1.0, time.time())
    assert invite.startswith(f"gshell://{relay.address}/{relay.desk.pin}#")
    answer = relay.enrol(token(invite), "client", "alice")
    ticket = Ticket(**answer["ticket"])
    assert (ticket.kind, ticket.user, ticket.pin) == ("client", "alice", relay.desk.pin)
    assert make_control(ticket).ask("whoami")["user"] == "alice"
    agent = Ticket(**relay.enrol(token(invite), "agent")["ticket"])
    assert (agent.kind, agent.user, bool(agent.agent_id)) == ("agent", "alice", True)
    assert relay.enrol(token(invite))["code"] == "invite"  # used up


def test_an_invite_is_for_whom_and_what_it_says(relay):
    now = time.time()
    bobs = token(relay.desk.invite("bob", "agent", 9, 1.0, now))
    assert relay.enrol(bobs, "client")["code"] == "invite"
    assert relay.enrol(bobs, "agent", "alice")["code"] == "denied"
    old = token(relay.desk.invite("bob", "any", 9, 1.0, now - 3601))
    assert relay.enrol(old)["code"] == "invite"
    assert relay.enrol("guess")["code"] == "invite"


def test_a_client_makes_tickets_for_agents_of_its_own_only(relay):
    alice, bob = relay.client(), relay.client("bob")
    made = alice.control.ask("ticket", role="agent", agent_id="mine")["ticket"]
    assert (made["user"], made["agent_id"]) == ("alice", "mine")
    assert not bob.control.ask("ticket", role="agent", agent_id="mine")["ok"]
    assert not bob.control.ask("ticket", role="client")["ok"]
    assert not bob.control.ask("ticket", role="agent", agent_id="a/b:c")["ok"]
    assert "gshell://" in bob.control.ask("invite", uses=1, hours=1)["invite"]
    assert not bob.control.ask("invite", uses=10**9, hours=1)["ok"]


def test_status_says_what_there_is(relay):
    relay.agent()
    facts = relay.client().control.ask("status")["relay"]
    assert (facts["agents"], facts["jobs"], facts["broker_pid"]) == (1, 0, os.getpid())


def test_descriptors_are_not_leaked(relay):
    def count():
        return len(os.listdir("/proc/self/fd"))

    visit, spare, client, agent = relay.joined()
    for sock in (visit, spare):
        sock.close()
    relay.until(lambda: not relay.door.meeting.pairs)
    before = count()
    for i in range(20):
        spare = agent.park()
        relay.until(lambda: relay.parked("n1"))
        visit = client.come(att=f"{i:032x}")
        relay.read(spare, 5)
        spare.send(b"!")
        relay.read(visit)
        visit.close()
        assert relay.ended(spare) == b""
        spare.close()
        agent.control.say({"m": "unused", "job": str(i + 2), "index": 0, "att": f"{i:032x}"})
    relay.until(lambda: not relay.door.meeting.pairs and not relay.door.meeting.farewells._socks)
    relay.until(lambda: count() == before, lambda: f"{before} -> {count()}")
    assert isinstance(visit, socket.socket)
