"""Door and broker talk here: JSON over ZeroMQ, over a socket file in the relay's own directory.

The one module that knows zmq. Its descriptor is edge-triggered: after it woke the loop, and after
every send, `drain` until it gives nothing.
"""

from __future__ import annotations

import json
from typing import Any

import zmq

from gshell.errors import GshellError

Message = dict[str, Any]

_RECONNECT_MS = 20  # the broker's restart should not be waited for
_FEED_HWM = 4096  # messages of the feed that wait for a door


_encode = json.JSONEncoder(separators=(",", ":")).encode  # made once: that costs as much as a use


def _endpoint(path: str) -> str:
    return f"ipc://{path}"


class _Socket:
    __slots__ = ("_context", "_socket", "fd")

    def __init__(self, kind: int) -> None:
        self._context = zmq.Context(1)
        self._socket: zmq.Socket[bytes] = self._context.socket(kind)
        self._socket.setsockopt(zmq.LINGER, 0)
        # Nothing may be dropped silently, and nobody may block: what bounds the queues is that a
        # client has few requests under way, and a door few connections not authenticated yet.
        # (The feed is another matter: it may be lost, and says so.)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self.fd = int(self._socket.getsockopt(zmq.FD))

    def close(self) -> None:
        self._socket.close()
        self._context.term()


class FeedOut(_Socket):
    """The broker's end of the event feed: to all doors at once. What a door is too slow for is
    dropped; it sees the gap."""

    __slots__ = ()

    def __init__(self, path: str) -> None:
        """
        Raises:
            GshellError: the socket file cannot be made.
        """
        super().__init__(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, _FEED_HWM)
        try:
            self._socket.bind(_endpoint(path))
        except zmq.ZMQError as error:
            self.close()
            raise GshellError(f"cannot open the relay's feed {path}: {error}") from None

    def publish(self, message: Message) -> None:
        self._socket.send(_encode(message).encode(), zmq.DONTWAIT)


class FeedIn(_Socket):
    """A door's end of the event feed."""

    __slots__ = ()

    def __init__(self, path: str) -> None:
        super().__init__(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, _FEED_HWM)
        self._socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(_endpoint(path))

    def drain(self) -> list[Message]:
        out: list[Message] = []
        while True:
            try:
                out.append(json.loads(self._socket.recv(zmq.DONTWAIT)))
            except zmq.Again:
                return out


class BrokerBus(_Socket):
    """The broker's end: many doors, by name."""

    __slots__ = ()

    def __init__(self, path: str) -> None:
        """
        Raises:
            GshellError: the socket file cannot be made.
        """
        super().__init__(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a door's successor has its name
        try:
            self._socket.bind(_endpoint(path))
        except zmq.ZMQError as error:
            self.close()
            raise GshellError(f"cannot open the relay's bus {path}: {error}") from None

    def drain(self) -> list[tuple[str, list[Message]]]:
        """All that has come: (door, messages). No messages: the door has (again) connected."""
        out: list[tuple[str, list[Message]]] = []
        receive = self._socket.recv_multipart
        while True:
            try:
                name, *parts = receive(zmq.DONTWAIT)
            except zmq.Again:
                return out
            body = parts[-1] if parts else b""
            out.append((name.decode("ascii", "replace"), json.loads(body) if body else []))

    def send(self, door: str, messages: list[Message]) -> bool:
        """False: the door is not there."""
        body = _encode(messages).encode()
        try:
            self._socket.send_multipart([door.encode(), body], zmq.DONTWAIT)
        except zmq.ZMQError:  # EHOSTUNREACH; with no high-water mark EAGAIN cannot be
            return False
        return True


class DoorBus(_Socket):
    """A door's end. It greets every broker it reaches by itself, a restarted one too."""

    __slots__ = ()

    def __init__(self, path: str, name: str) -> None:
        super().__init__(zmq.DEALER)
        self._socket.setsockopt(zmq.IDENTITY, name.encode())
        # Without IMMEDIATE a lost broker's queue would be kept for the next one, which would not be
        # greeted either: the greeting is sent when a queue is made.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.PROBE_ROUTER, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
        self._socket.connect(_endpoint(path))

    def drain(self) -> list[Message]:
        out: list[Message] = []
        receive = self._socket.recv
        while True:
            try:
                body = receive(zmq.DONTWAIT)
            except zmq.Again:
                return out
            if body:
                out += json.loads(body)

    def send(self, messages: list[Message]) -> bool:
        """False: there is no broker now; the next one will not want to know."""
        try:
            self._socket.send(_encode(messages).encode(), zmq.DONTWAIT)
        except zmq.Again:
            return False
        return True

    def wait(self, timeout_s: float) -> bool:
        """For programs without a loop: is there something to drain?"""
        return bool(self._socket.poll(int(timeout_s * 1000)))
