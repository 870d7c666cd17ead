"""The head's forwarder between real sockets: who knows the word gets through, byte for byte."""

import contextlib
import os
import socket
import threading

import pytest

from gshell.agent import head
from gshell.net import address
from gshell.net.loop import Loop

TOKEN = "the-pilot's-token"
WORD = address.preface(head.address_of("x:1", TOKEN))


@pytest.fixture
def relay():
    """What listens where the relay would, and says everything back."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)
    yield server
    server.close()


@contextlib.contextmanager
def forwarding(relays):
    loop = Loop()
    forwarder = head.Head(loop, address.listen("127.0.0.1:0"), relays, TOKEN, 2)
    over = threading.Event()

    def live():
        while not over.is_set():
            loop.once(0.02)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield forwarder
    finally:
        over.set()
        thread.join(10)
        forwarder.close()
        assert not forwarder.pairs
        loop.close()


def where(server):
    return "{}:{}".format(*server.getsockname())


def dial(forwarder):
    sock = socket.create_connection(("127.0.0.1", forwarder.port), 10)
    sock.settimeout(10)
    return sock


def read_all(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(1 << 16)
        assert piece, f"ended after {len(data)} of {count} bytes"
        data += piece
    return data


def test_a_node_with_the_word_talks_to_the_relay(relay):
    with forwarding([where(relay)]) as forwarder, dial(forwarder) as node:
        node.sendall(WORD + b"hello")
        there, _ = relay.accept()
        with there:
            there.settimeout(10)
            assert read_all(there, 5) == b"hello"
            there.sendall(b"welcome")
            assert read_all(node, 7) == b"welcome"


def test_the_word_may_come_in_pieces(relay):
    with forwarding([where(relay)]) as forwarder, dial(forwarder) as node:
        for at in range(len(WORD)):
            node.sendall(WORD[at : at + 1])
        node.sendall(b"x")
        there, _ = relay.accept()
        with there:
            assert there.recv(10) == b"x"


@pytest.mark.parametrize("said", [b"0" * 64 + b"\n", b"GSHELL/1 ...", WORD[:-1] + b"x"])
def test_without_the_word_nobody_gets_anywhere(relay, said):
    relay.settimeout(0.05)
    with forwarding([where(relay)]) as forwarder, dial(forwarder) as node:
        node.sendall(said + b"x" * 100)
        with contextlib.suppress(ConnectionResetError):
            assert node.recv(1) == b""
        with pytest.raises(TimeoutError):
            relay.accept()


def test_much_goes_both_ways_while_nobody_holds_it_all(relay):
    data = os.urandom(3 << 20)
    with forwarding([where(relay)]) as forwarder, dial(forwarder) as node:
        node.sendall(WORD)
        got = []

        def echo():
            there, _ = relay.accept()
            with there:
                there.settimeout(10)
                left = len(data)
                while left:
                    piece = there.recv(1 << 16)
                    there.sendall(piece)
                    left -= len(piece)

        echoing = threading.Thread(target=echo)
        echoing.start()
        reading = threading.Thread(target=lambda: got.append(read_all(node, len(data))))
        reading.start()
        node.sendall(data)
        reading.join(20)
        echoing.join(20)
        assert got == [data]


def test_an_address_of_the_relay_that_is_dead_is_left_for_the_next(relay):
    dead = socket.create_server(("127.0.0.1", 0))
    gone = where(dead)
    dead.close()
    with forwarding([gone, where(relay)]) as forwarder, dial(forwarder) as node:
        node.sendall(WORD + b"x")
        there, _ = relay.accept()
        with there:
            assert there.recv(1) == b"x"
        assert forwarder.relays[0] == where(relay)


def test_the_end_of_one_side_is_the_end_of_the_other(relay):
    with forwarding([where(relay)]) as forwarder, dial(forwarder) as node:
        node.sendall(WORD + b"x")
        there, _ = relay.accept()
        assert there.recv(1) == b"x"
        there.sendall(b"bye")
        there.close()
        assert read_all(node, 3) == b"bye"
        assert node.recv(1) == b""


def test_a_relay_that_does_not_read_stops_the_node_and_fills_no_memory(relay):
    with forwarding([where(relay)]) as forwarder, dial(forwarder) as node:
        node.sendall(WORD + b"x")
        there, _ = relay.accept()
        with there:
            there.settimeout(10)
            assert there.recv(1) == b"x"  # it is connected, and reads no more
            node.settimeout(0.3)
            with contextlib.suppress(TimeoutError):  # the kernels' buffers are full
                while sum(len(pair._relay.out) for pair in forwarder.pairs) <= 4 * head.PIECE_BYTES:
                    node.send(b"x" * (1 << 20))
            (pair,) = forwarder.pairs
            assert len(pair._relay.out) <= 2 * head.PIECE_BYTES
