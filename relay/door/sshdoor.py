"""Passes connections to the process that speaks SSH, and counts them as strangers until somebody
has logged in there. Reads nothing of them. (gshell/net/SSH.md)
"""

from __future__ import annotations

import json
import socket

from gshell.net.address import peer_name
from gshell.net.loop import IN, Loop
from relay.door import limits
from relay.door.listener import Listener

KNOWN = b"k"
WAIT_S = 5.0  # for a process that starts, with its relay or anew
AGAIN_S = 0.05
_SORRY = b"gshell relay: its SSH door is closed; gshell itself works\r\n"


def hand_over(loop: Loop, listener: Listener, path: str, sock: socket.socket, source: str) -> None:
    """Give ``sock`` away; nothing of it was read."""
    line = _passed(path, sock)
    if line is None:
        _Early(loop, listener, path, sock, source)
    else:
        _Stranger(loop, listener, line, source)


def _passed(path: str, sock: socket.socket) -> socket.socket | None:
    """The line to the process that has ``sock`` now; None: there is none yet, or none any more."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.setblocking(False)
    try:
        line.connect(path)
        said = json.dumps({"from": peer_name(sock)}).encode()
        socket.send_fds(line, [said], [sock.fileno()])
    except OSError:  # it starts, or there are too many at once
        line.close()
        return None
    sock.close()
    return line


class _Early:
    """Came before the other process was there. A stranger like any other meanwhile."""

    __slots__ = ("_key", "_listener", "_loop", "_path", "_sock", "_source", "_timer", "_until")

    def __init__(
        self, loop: Loop, listener: Listener, path: str, sock: socket.socket, source: str
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._path = path
        self._sock = sock
        self._source = source
        self._until = loop.clock() + WAIT_S
        self._timer = loop.later(AGAIN_S, self._try)
        self._key = listener.admit(self, source)

    def expire(self) -> None:
        """There are too many strangers."""
        self._timer.cancel()
        self._sock.close()

    def _try(self) -> None:
        line = _passed(self._path, self._sock)
        if line is None and self._loop.clock() < self._until:
            self._timer = self._loop.later(AGAIN_S, self._try)
            return
        self._listener.leave(self._key)  # nothing of this was their fault
        if line is not None:
            _Stranger(self._loop, self._listener, line, self._source)
            return
        try:
            self._sock.send(_SORRY)
        except OSError:
            pass
        self._listener.farewells.take(self._sock)


class _Stranger:
    """Somebody who has not logged in. Owns the line to the process that has the connection: both
    ends close it when it is over."""

    __slots__ = ("_key", "_line", "_listener", "_loop", "_source")

    def __init__(self, loop: Loop, listener: Listener, line: socket.socket, source: str) -> None:
        self._loop = loop
        self._listener = listener
        self._line = line
        self._source = source
        loop.add(line.fileno(), IN, self._on_event)
        self._key = listener.admit(self, source)

    def expire(self) -> None:
        """Its time is up: the other process sees the line's end, and ends the connection."""
        self._close()

    def _close(self) -> None:
        self._loop.remove(self._line.fileno())
        self._line.close()

    def _on_event(self, _: int) -> None:
        try:
            said = self._line.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        known = said == KNOWN
        self._listener.leave(self._key, 0.0 if known else limits.GARBAGE)
        if known and self._source:
            self._listener.limits.known(self._source, self._loop.clock())
        self._close()
