"""The door with real sockets: who is let in, who meets whom, what is copied."""

import os
import socket
import time

import pytest

from gshell.errors import AuthError
from gshell.net import rendezvous
from gshell.net.tls import Tls, client_context, server_context
from relay.door import limits, listener, meet, splice

A, B = "a" * 32, "b" * 32


def joined(relay, agent=None, att=A):
    """A joined pair: (client's socket, agent's socket, client, agent)."""
    agent = agent or relay.agent(spares=1)
    client = relay.client()
    visit = client.come(att=att, agent=agent.ticket.agent_id)
    assert relay.read(agent.spares[-1], 5) == b"HELLO"
    agent.spares[-1].send(b"!")
    assert relay.read(visit) == b"!"
    return visit, agent.spares[-1], client, agent


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


def silent(relay, sock):
    assert relay.ended(sock) == b""


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
        silent(relay, sock)
    assert relay.parked("n1") == 1


def test_the_wrong_key_is_answered_with_silence(relay):
    _, client = relay.agent(spares=1), relay.client()
    silent(relay, client.come(att=A, key=os.urandom(32)))
    other = relay.client("bob")
    client.welcome["mac_id"] = other.welcome["mac_id"]
    silent(relay, client.come(att=A))


def test_a_request_without_hello_could_be_replayed_by_a_thief_so_it_is_not_taken(relay):
    client = relay.client()
    silent(relay, client.come(att=A, hello=b""))


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
    silent(relay, evil.park(agent_id="n1"))
    silent(relay, evil.park(key=os.urandom(32)))
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
    silent(relay, again)
    silent(relay, agent.park(at=time.time() - 130))


def test_spares_belong_to_one_control_connection(relay):
    old = relay.agent(spares=2)
    new = relay.agent()  # the same process, on a new connection
    relay.until(lambda: relay.parked("n1") == 0)
    silent(relay, old.park())
    new.park()
    relay.until(lambda: relay.parked("n1") == 1)
    new.control.link.close()
    relay.until(lambda: relay.parked("n1") == 0)


# ------------------------------------------------------------------------------------------ copying


def inner_tls(client, agent):
    return (
        Tls(client_context(client.ticket), server_side=False),
        Tls(server_context(agent.ticket), server_side=True),
    )


def test_nothing_that_is_said_inside_can_be_read_outside(relay):
    agent, client = relay.agent(spares=1), relay.client()
    near, far = inner_tls(client, agent)
    visit = relay.dial()
    on_the_wire = client.preamble(att=A, hello=near.start())
    visit.send(on_the_wire)
    spare = agent.spares[0]
    heard = {"near": b"", "far": b""}

    def move(sock, tls, name):
        nonlocal on_the_wire
        try:
            data = sock.recv(1 << 16)
        except BlockingIOError:
            return
        on_the_wire += data
        heard[name] += b"".join(tls.feed(data))
        if answer := tls.outgoing():
            on_the_wire += answer
            sock.send(answer)

    def both(done):
        def step():
            move(spare, far, "far")
            move(visit, near, "near")
            return done()

        for sock in (spare, visit):
            relay.loop.add(sock.fileno(), 1, lambda _: None)
        relay.until(step)
        for sock in (spare, visit):
            relay.loop.remove(sock.fileno())

    both(lambda: near.ready and far.ready)
    assert far.peer_uris() == ["gshell:user:alice"]
    assert near.peer_uris() == ["gshell:agent:alice:n1"]
    for sock, tls, secret in ((visit, near, b"PLAINTEXT-IN "), (spare, far, b"PLAINTEXT-OUT ")):
        data = tls.write(secret * 50)
        on_the_wire += data
        sock.send(data)
    both(lambda: len(heard["far"]) >= 650 and len(heard["near"]) >= 700)
    assert heard == {"far": b"PLAINTEXT-IN " * 50, "near": b"PLAINTEXT-OUT " * 50}
    assert b"PLAINTEXT" not in on_the_wire


@pytest.mark.parametrize("towards", ["client", "agent"])
def test_a_slow_reader_stops_the_sender_and_loses_nothing(relay, towards):
    visit, spare, _, _ = joined(relay)
    source, sink = (spare, visit) if towards == "client" else (visit, spare)
    data = os.urandom(1 << 16)
    sent = 0
    while True:  # until the sender has not been read for many rounds
        try:
            sent += source.send(data[sent % len(data) :])
        except BlockingIOError:
            before = sent
            for _ in range(50):
                relay.loop.once(0.0)
            try:
                sent += source.send(data[sent % len(data) :])
            except BlockingIOError:
                break
            assert sent > before
    (pair,) = relay.door.meeting.pairs
    held = len(pair.client.pending) + len(pair.agent.pending)
    assert 0 < held <= splice.BUFFER_BYTES
    for _ in range(20):
        relay.loop.once(0.0)
    assert len(pair.client.pending) + len(pair.agent.pending) == held
    got = relay.read(sink, sent)
    assert got == (data * (sent // len(data) + 1))[:sent]


def test_the_last_bytes_arrive_before_the_end(relay):
    visit, spare, _, _ = joined(relay)
    data = os.urandom(1 << 18)
    sent = spare.send(data)
    spare.shutdown(socket.SHUT_WR)
    visit.send(b"into the void")
    assert relay.ended(visit) == data[:sent]
    visit.close()
    relay.until(lambda: not relay.door.meeting.pairs)


def test_what_was_said_before_the_end_arrives_although_nothing_can_be_answered(relay):
    visit, spare, _, _ = joined(relay)
    spare.send(b"last words")
    relay.loop.remove(relay.door.meeting.pairs.copy().pop().agent.fd)  # not read before ...
    spare.close()
    visit.send(b"x")  # ... this cannot be passed on
    (pair,) = relay.door.meeting.pairs
    for _ in range(5):
        relay.loop.once(0.01)
    relay.loop.add(pair.agent.fd, 1, pair.agent.on_event)
    assert relay.ended(visit) == b"last words"


@pytest.mark.parametrize("who", [0, 1])
def test_one_side_s_end_is_the_other_s(relay, who):
    ends = joined(relay)[:2]
    ends[who].close()
    assert relay.ended(ends[1 - who]) == b""
    ends[1 - who].close()
    relay.until(lambda: not relay.door.meeting.farewells._socks)
    assert relay.door.meeting.pairs == set()


def test_an_attachment_can_be_cut(relay):
    visit, spare, _, _ = joined(relay)
    relay.door.meeting.cut(B)
    assert len(relay.door.meeting.pairs) == 1
    relay.door.meeting.cut(A)
    assert relay.ended(visit) == relay.ended(spare) == b""


def test_pairs_outlive_the_broker_and_control_connections_do_not(relay):
    visit, spare, client, agent = joined(relay)
    relay.stop_broker()
    relay.start_broker()
    relay.until(lambda: client.control.error and agent.control.error)
    visit.send(b"still here")
    assert relay.read(spare, 10) == b"still here"
    relay.agent(spares=1)
    again = relay.client()
    assert again.control.ask("agents")["agents"][0]["state"] == "waiting"


# ---------------------------------------------------------------------------------------- strangers


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100, b"GSHELL/2" + b"\0" * 50,
                                   b"GSHELL/1C\xff\xff\xff\xff", b"GSHELL/1Z\0\0\0\0"])  # fmt: skip
def test_noise_is_answered_with_silence(relay, first):
    sock = relay.dial()
    sock.send(first)
    silent(relay, sock)
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
    silent(relay, sock)
    assert relay.door.listener.strangers == {}
    assert relay.door.controls.by_number == {}


def test_of_too_many_strangers_the_oldest_goes(relay, monkeypatch):
    monkeypatch.setattr(limits, "STRANGERS", 3)
    socks = [relay.dial() for _ in range(3)]
    relay.until(lambda: len(relay.door.listener.strangers) == 3)
    socks.append(relay.dial())
    silent(relay, socks[0])
    client = relay.client()
    assert client.welcome["user"] == "alice"


def test_who_talks_nonsense_is_shut_out_unless_somebody_is_known_there(relay, monkeypatch):
    monkeypatch.setattr(limits, "ENFORCED_S", 3.0)
    local = relay.address.startswith("unix:")  # a local process never is
    for _ in range(4):
        sock = relay.dial()
        sock.send(b"GET / HTTP/1.1")
        silent(relay, sock)
    sock = relay.dial()
    if not local:
        silent(relay, sock)
        assert relay.door.listener.limits.shut_out
        relay.door.listener.limits._sources.clear()
    client = relay.client()
    for _ in range(10):
        sock = relay.dial()
        sock.send(b"GET / HTTP/1.1")
        silent(relay, sock)
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
    visit, spare, *_ = joined(relay)
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
        silent(relay, sock)


# ---------------------------------------------------------------------------------------- enrolment


def enrol(relay, make_control, invite, role="client", name=""):
    one = make_control()
    one.say({"m": "enrol", "invite": invite, "role": role, "name": name})
    relay.until(lambda: one.error)
    return one.got[0]


def token(text):
    return text.partition("#")[2]


def test_an_invite_becomes_a_ticket(relay, make_control):
    from gshell.model.ticket import Ticket

    invite = relay.desk.invite("alice", "any", 2, 1.0, time.time())
    assert invite.startswith(f"gshell://{relay.address}/{relay.desk.pin}#")
    answer = enrol(relay, make_control, token(invite), "client", "alice")
    ticket = Ticket(**answer["ticket"])
    assert (ticket.kind, ticket.user, ticket.pin) == ("client", "alice", relay.desk.pin)
    assert make_control(ticket).ask("whoami")["user"] == "alice"
    agent = Ticket(**enrol(relay, make_control, token(invite), "agent")["ticket"])
    assert (agent.kind, agent.user, bool(agent.agent_id)) == ("agent", "alice", True)
    assert enrol(relay, make_control, token(invite))["code"] == "invite"  # used up


def test_an_invite_is_for_whom_and_what_it_says(relay, make_control):
    now = time.time()
    bobs = token(relay.desk.invite("bob", "agent", 9, 1.0, now))
    assert enrol(relay, make_control, bobs, "client")["code"] == "invite"
    assert enrol(relay, make_control, bobs, "agent", "alice")["code"] == "denied"
    old = token(relay.desk.invite("bob", "any", 9, 1.0, now - 3601))
    assert enrol(relay, make_control, old)["code"] == "invite"
    assert enrol(relay, make_control, "guess")["code"] == "invite"


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

    visit, spare, client, agent = joined(relay)
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


# ----------------------------------------------------------------------------- well-formed nonsense


def deep(levels):
    return [deep(levels - 1)] if levels else []


def test_what_would_break_the_door_is_answered_with_silence(relay):
    client = relay.client()
    mac_id = client.welcome["mac_id"]
    client.welcome["mac_id"] = "\ud800"
    silent(relay, client.come(att=A))
    client.welcome["mac_id"] = mac_id
    silent(relay, client.come(att=A, nonce="\ud800" * 32))
    silent(relay, client.come(att=A, more=deep(200)))
    assert rendezvous.parse_refusal(relay.ended(client.come(att=A, at=10**400)))[0] == "time"
    assert rendezvous.parse_refusal(relay.ended(client.come(att=A, at=float("nan"))))[0] == "time"
    assert client.control.ask("whoami")["ok"]


def test_what_would_break_the_broker_ends_one_connection_at_most(relay, make_control):
    client = relay.client()
    for invite in ("\ud800", "", 7, deep(3)):
        assert enrol(relay, make_control, invite)["m"] == "error"
    assert not client.control.ask("invite", uses=1, hours=10**400)["ok"]
    assert not client.control.ask("invite", uses=True, hours=float("nan"))["ok"]
    assert not client.control.ask("ticket", agent_id="\ud800")["ok"]
    client.control.say({"m": "jobs", "id": deep(3)})
    assert client.control.ask("whoami")["ok"]
    client.control.say({"m": "jobs", "id": 1, "ids": deep(400)})
    relay.until(lambda: client.control.error)
    assert relay.client().control.ask("whoami")["ok"]
