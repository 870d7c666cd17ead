"""Both ends of port forwarding over real sockets, the way between them in memory."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from gshell.errors import RemoteProtocolError
from gshell.net import mux
from gshell.net.channels import Channel, Channels, accept_all, listen
from gshell.net.loop import IN, Loop

PATIENCE_S = 30.0
MUCH = 4 * mux.WINDOW


class Way:
    """Frames on their way to the other end, as long as it is not ``cut``."""

    room = True

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.other: Channels | None = None
        self.cut = False
        self.said = b""

    def send(self, data: bytes) -> None:
        self.said += data
        self.loop.soon(self.carry)

    def carry(self) -> None:
        if self.said and not self.cut and self.other is not None:
            data, self.said = self.said, b""
            self.other.feed(data)


class Both:
    """A listener here whose connections are opened there, to ``server``."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.out, self.back = Way(self.loop), Way(self.loop)
        self.here, self.there = Channels(self.loop, self.out, 1), Channels(self.loop, self.back, 2)
        self.out.other, self.back.other = self.there, self.here
        self.server = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.listener = listen("localhost", 0)
        self.refusals: list[dict[str, object]] = []
        port = self.server.getsockname()[1]
        self.there.on_open = lambda channel, message: self.there.connect(channel, "127.0.0.1", port)
        self.loop.add(self.listener.fileno(), IN, lambda mask: accept_all(self.listener, self.came))
        self.open: list[socket.socket] = []

    def came(self, sock: socket.socket) -> None:
        def told(channel: Channel, why: dict[str, object] | None) -> None:
            if why is not None:
                self.refusals.append(why)

        self.here.offer(sock, {}, told)

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client's socket and the server's, joined by a channel."""
        client = socket.create_connection(self.listener.getsockname()[:2])
        self.server.setblocking(False)
        found: list[socket.socket] = []

        def accepted() -> bool:
            try:
                found.append(self.server.accept()[0])
            except BlockingIOError:
                return False
            return True

        self.until(accepted)
        for sock in (client, found[0]):
            sock.setblocking(False)
            self.open.append(sock)
        return client, found[0]

    def until(self, done: Callable[[], bool]) -> None:
        end = self.loop.clock() + PATIENCE_S
        while not done():
            self.loop.once(0.01)
            assert self.loop.clock() < end, (len(self.here), len(self.there))

    def write(self, sock: socket.socket, data: bytes) -> int:
        """As much as it takes until nothing moves; how much."""
        sent, idle = 0, 0
        left = memoryview(data)
        while sent < len(data) and idle < 20:
            try:
                sent += sock.send(left[sent:])
                idle = 0
            except BlockingIOError:
                idle += 1
            self.loop.once(0.005)
        return sent

    def read(self, sock: socket.socket, size: int) -> bytes:
        got = bytearray()

        def done() -> bool:
            while len(got) < size:
                try:
                    data = sock.recv(1 << 16)
                except BlockingIOError:
                    return False
                if not data:
                    return True
                got.extend(data)
            return True

        self.until(done)
        return bytes(got)

    def close(self) -> None:
        for sock in (*self.open, self.server):
            sock.close()
        self.until(lambda: not len(self.here) and not len(self.there))  # nothing is left
        self.loop.remove(self.listener.fileno())
        self.listener.close()
        self.here.close()
        self.there.close()
        self.loop.close()


@pytest.fixture
def both() -> Iterator[Both]:
    made = Both()
    yield made
    made.close()


def test_bytes_go_both_ways_and_one_way_may_end_before_the_other(both):
    client, server = both.pair()
    client.send(b"question")
    client.shutdown(socket.SHUT_WR)  # nc -N
    assert both.read(server, 100) == b"question"  # to its end
    server.send(b"answer, long after")
    server.close()
    assert both.read(client, 100) == b"answer, long after"


def test_a_hundred_at_once_are_not_mixed_up(both):
    pairs = [both.pair() for _ in range(100)]
    for number, (client, server) in enumerate(pairs):
        client.send(b"to %d" % number)
        server.send(b"from %d" % number)
    for number, (client, server) in enumerate(pairs):
        assert both.read(server, len(b"to %d" % number)) == b"to %d" % number
        assert both.read(client, len(b"from %d" % number)) == b"from %d" % number


def test_one_that_nobody_reads_holds_its_window_and_delays_no_other(both):
    stalled, unread = both.pair()
    unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = both.write(stalled, bytes(32 << 20))
    assert sent < 32 << 20
    held = sum(len(c.out) for c in both.there._all.values())
    assert held <= mux.WINDOW
    client, server = both.pair()
    for _ in range(MUCH // 65536):
        both.write(client, b"x" * 65536)
        assert both.read(server, 65536) == b"x" * 65536


def test_much_arrives_whole(both):
    client, server = both.pair()
    data = bytes(range(256)) * (MUCH // 256)
    at, got = 0, bytearray()

    def done() -> bool:
        nonlocal at
        try:
            at += client.send(data[at : at + 65536])
        except BlockingIOError:
            pass
        try:
            got.extend(server.recv(1 << 20))
        except BlockingIOError:
            pass
        return len(got) == len(data)

    both.until(done)
    assert got == data


def test_while_the_way_is_cut_everything_waits_and_then_goes_on(both):
    client, server = both.pair()
    both.out.cut = True
    client.send(b"during the break")
    both.loop.once(0.05)
    with pytest.raises(BlockingIOError):
        server.recv(10)
    both.out.cut = False
    both.out.carry()
    assert both.read(server, 16) == b"during the break"


def test_a_full_way_reads_no_socket(both):
    client, server = both.pair()
    both.out.room = False
    both.write(client, b"x" * 1000)
    assert both.out.said == b""
    with pytest.raises(BlockingIOError):
        server.recv(10)
    both.out.room = True
    both.here.flow()
    assert both.read(server, 1000) == b"x" * 1000


def test_a_reset_on_one_side_is_one_on_the_other(both):
    client, server = both.pair()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    def reset() -> bool:
        try:
            return server.recv(10) == b"never"
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    both.until(reset)


def test_who_cannot_be_reached_is_said_and_the_client_is_closed(both):
    both.server.close()
    client = socket.create_connection(both.listener.getsockname()[:2])
    both.open.append(client)
    both.until(lambda: bool(both.refusals))
    assert both.refusals[0]["code"] == "ECONNREFUSED"
    assert client.recv(10) == b""


def test_a_unix_socket_too(both, tmp_path):
    path = str(tmp_path / ("long" * 30) / "s")
    (tmp_path / ("long" * 30)).mkdir()
    from gshell.net import address

    server = address.listen("unix:" + path)
    both.there.on_open = lambda channel, message: both.there.connect_unix(channel, path)
    client = socket.create_connection(both.listener.getsockname()[:2])
    both.until(lambda: len(both.there) == 1)
    connection = server.accept()[0]
    connection.send(b"hello")
    connection.close()
    server.close()
    client.setblocking(False)
    assert both.read(client, 100) == b"hello"
    client.close()


@pytest.mark.parametrize(
    "wrong",
    [
        mux.data(1, b"x" * mux.MAX_DATA) * 300,  # beyond its credit
        mux.credit(1, 1),  # of more than was sent
        mux.encode(mux.OPEN, 3, {}) * 2,
        mux.encode(mux.OPEN, 4, {}),  # a number of ours
        mux.encode(mux.EOF, 1) + mux.data(1, b"x"),
    ],
)
def test_who_breaks_a_rule_is_told_and_nothing_is_held_for_him(both, wrong):
    _, server = both.pair()
    both.back.cut = True
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with pytest.raises(RemoteProtocolError):
        both.there.feed(wrong)
    for end in (both.here, both.there):  # its owner gives it up
        for channel in list(end._all.values()):
            end._drop(channel)


def test_frames_of_what_is_over_were_on_their_way(both):
    for late in (mux.data(9, b"x"), mux.credit(9, 5), mux.encode(mux.EOF, 9),
                 mux.encode(mux.RESET, 9), mux.encode(mux.OPENED, 9)):  # fmt: skip
        both.there.feed(late)
        both.here.feed(late)
