"""The far end of port forwarding as a service: it leaves nothing behind, whatever its client does."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gshell.agent.forward import Node
from gshell.net import mux
from gshell.net.loop import Loop

PATIENCE_S = 30.0


class Client:
    """What a client says to a node over pipes, and hears."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.closed = False
        there, self.writes = os.pipe()
        self.reads, back = os.pipe()
        os.set_blocking(self.reads, False)
        self.node = Node(self.loop, there, back)
        self._fds = [there, back, self.reads]
        self._decoder = mux.Decoder()

    def say(self, data: bytes) -> None:
        os.write(self.writes, data)

    def hear(self) -> mux.Frame:
        found: list[mux.Frame] = []

        def heard() -> bool:
            try:
                found.extend(self._decoder.feed(os.read(self.reads, 1 << 16)))
            except BlockingIOError:
                pass
            return bool(found)

        assert self.loop.run_until(heard, PATIENCE_S)
        return found[0]

    def ended(self) -> int | None:
        assert self.loop.run_until(lambda: self.node.status is not None, PATIENCE_S)
        return self.node.status

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.node.close()
        for fd in (*self._fds, self.writes):
            if fd >= 0:
                os.close(fd)
        self.loop.close()


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


def test_the_end_of_its_input_is_the_end_of_its_listeners(client, tmp_path: Path):
    path = tmp_path / "s"
    client.say(mux.encode(mux.LISTEN, 1, {"unix": str(path)}))
    assert client.hear().message == {"at": str(path)}
    os.close(client.writes)
    client.writes = -1
    assert client.ended() == 0
    client.close()
    assert not path.exists()


def test_a_client_that_is_silent_for_long_is_gone(monkeypatch):
    monkeypatch.setattr(mux, "KEEP_S", 0.02)
    monkeypatch.setattr(mux, "SILENT_S", 0.1)
    client = Client()
    try:
        client.say(mux.encode(mux.KEEP, 0))
        assert client.ended() == 0
    finally:
        client.close()


def test_a_file_that_is_no_socket_is_left_alone(client, tmp_path: Path):
    path = tmp_path / "thesis"
    path.write_text("years of work")
    client.say(mux.encode(mux.LISTEN, 1, {"unix": str(path)}))
    assert "exists" in client.hear().message["error"]
    assert path.read_text() == "years of work"


@pytest.mark.parametrize(
    "wanted",
    [
        {"host": "192.0.2.1", "port": 0}, {"host": "localhost", "port": 70000}, {"port": "x"},
        {"unix": "/no/such/place/s"}, {"x11": 5}, {"x11": {"cookie": "zz"}},
        {"x11": {"cookie": "", "authority": "/no/such/folder/x"}}, {"host": "a" * 300},
    ],
)  # fmt: skip
def test_what_cannot_listen_is_an_error_of_its_own(client, wanted):
    client.say(mux.encode(mux.LISTEN, 1, wanted))
    assert client.hear().message["error"]
    client.say(mux.encode(mux.LISTEN, 2, {"port": 0}))
    port = client.hear().message["port"]
    socket.create_connection(("localhost", port)).close()


@pytest.mark.parametrize(
    "wanted", [{}, {"host": "h"}, {"host": "h", "port": 0}, {"unix": ""}, {"unix": 5}, {"port": 1}]
)
def test_what_is_no_place_is_refused(client, wanted):
    client.say(mux.encode(mux.OPEN, 1, wanted))
    assert client.hear().kind == mux.REFUSED


def test_nonsense_ends_it(client):
    client.say(b"GET / HTTP/1.0\r\n\r\n")
    assert client.ended() == 1


def test_a_display_has_its_cookie_in_a_file_of_its_own(client, tmp_path: Path):
    path = tmp_path / "new" / "authority"
    client.say(mux.encode(mux.LISTEN, 1, {"x11": {"cookie": "00" * 16, "authority": str(path)}}))
    said = client.hear().message
    assert said["authority"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    client.say(mux.encode(mux.UNLISTEN, 1))
    assert client.loop.run_until(lambda: not path.parent.exists(), PATIENCE_S)
