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
_SORRY = b"gshell relay: its SSH door is closed; gshell itself works\r\n"


def hand_over(loop: Loop, listener: Listener, path: str, sock: socket.socket, source: str) -> None:
    """Give ``sock`` away; nothing of it was read."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.setblocking(False)
    try:
        line.connect(path)
        said = json.dumps({"from": peer_name(sock)}).encode()
        socket.send_fds(line, [said], [sock.fileno()])
    except OSError:  # it starts anew, or there are too many at once
        line.close()
        try:
            sock.send(_SORRY)
        except OSError:
            pass
        listener.farewells.take(sock)
        return
    sock.close()
    _Stranger(loop, listener, line, source)


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
