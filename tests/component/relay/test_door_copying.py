"""The door with real sockets: what is copied between two who have met."""

import os
import socket

import pytest

from gshell.net.tls import Tls, client_context, server_context
from relay.door import splice

A, B = "a" * 32, "b" * 32


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
    visit, spare, _, _ = relay.joined()
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
    visit, spare, _, _ = relay.joined()
    data = os.urandom(1 << 18)
    sent = spare.send(data)
    spare.shutdown(socket.SHUT_WR)
    visit.send(b"into the void")
    assert relay.ended(visit) == data[:sent]
    visit.close()
    relay.until(lambda: not relay.door.meeting.pairs)


def test_what_was_said_before_the_end_arrives_although_nothing_can_be_answered(relay):
    visit, spare, _, _ = relay.joined()
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
    ends = relay.joined()[:2]
    ends[who].close()
    assert relay.ended(ends[1 - who]) == b""
    ends[1 - who].close()
    relay.until(lambda: not relay.door.meeting.farewells._socks)
    assert relay.door.meeting.pairs == set()


def test_an_attachment_can_be_cut(relay):
    visit, spare, _, _ = relay.joined()
    relay.door.meeting.cut(B)
    assert len(relay.door.meeting.pairs) == 1
    relay.door.meeting.cut(A)
    assert relay.ended(visit) == relay.ended(spare) == b""


def test_pairs_outlive_the_broker_and_control_connections_do_not(relay):
    visit, spare, client, agent = relay.joined()
    relay.stop_broker()
    relay.start_broker()
    relay.until(lambda: client.control.error and agent.control.error)
    visit.send(b"still here")
    assert relay.read(spare, 10) == b"still here"
    relay.agent(spares=1)
    again = relay.client()
    assert again.control.ask("agents")["agents"][0]["state"] == "waiting"
