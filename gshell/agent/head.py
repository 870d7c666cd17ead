"""A pilot's head hands its other nodes' connections on to the relay. Knows no message of theirs.

Where nodes have no way out, the one on which the batch job began has: they dial it, say a word that
only who has the pilot's invite knows, and from then on it copies bytes. These are TLS between node
and relay, whose certificate is pinned: nothing can be read or changed here.
"""

from __future__ import annotations

import hmac
import logging
import socket
from typing import Callable

from gshell.net import address
from gshell.net.loop import IN, OUT, Loop, Timer

WORD_S = 10.0  # from connecting to having said the word
CONNECT_S = 10.0
PIECE_BYTES = 1 << 16
CONNECTIONS = 64  # of each node at a time: an agent's control, its spares, and sessions

log = logging.getLogger("gshell.agent.head")


def word(token: str) -> str:
    """What nodes of the pilot with this invite say first. Not the token, from which it is made:
    who overhears it on the site's network can reach the relay by us, as anybody with a way out
    can, and enrol nobody."""
    return hmac.new(token.encode(), b"gshell head", "sha256").hexdigest()


def address_of(where: str, token: str) -> str:
    """The address of a head that listens on ``where`` (``host:port``)."""
    return f"{address.HEAD}{where}/{word(token)}"


def listen(host: str) -> socket.socket:
    """Where the batch system's name for us is an address of ours that others can reach, there;
    else everywhere."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        if not str(found[4][0]).startswith(("127.", "::1")):
            return address.listen(f"[{found[4][0]}]:0" if ":" in str(found[4][0])
                                  else f"{found[4][0]}:0")  # fmt: skip
    except OSError:
        pass
    return address.listen("0.0.0.0:0")


class Head:
    """Listens until closed."""

    def __init__(
        self, loop: Loop, listener: socket.socket, relays: list[str], token: str, nodes: int
    ) -> None:
        """``relays``: tried in order, the one that worked last first."""
        self.loop = loop
        self.relays = list(relays)
        self.word = word(token).encode() + b"\n"
        self._listener = listener
        self._most = CONNECTIONS * max(1, nodes)
        self.pairs: set[_Pair] = set()
        loop.add(listener.fileno(), IN, self._accept)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self.loop.remove(self._listener.fileno())
        self._listener.close()
        for pair in list(self.pairs):
            pair.close()

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if len(self.pairs) >= self._most:
            sock.close()
            return
        sock.setblocking(False)
        address.tune(sock)
        self.pairs.add(_Pair(self, sock))

    def worked(self, relay: str) -> None:
        if self.relays[0] != relay:
            self.relays.remove(relay)
            self.relays.insert(0, relay)


class _Side:
    """One socket of a pair. Invariant: it is read only while the other one takes what it gives."""

    __slots__ = ("connecting", "ended", "out", "sock")

    def __init__(self, sock: socket.socket, connecting: bool) -> None:
        self.sock = sock
        self.connecting = connecting
        self.out = bytearray()
        self.ended = False  # it will say no more


class _Pair:
    """A node's connection, and ours to the relay once the word was said."""

    def __init__(self, head: Head, sock: socket.socket) -> None:
        self._head = head
        self._loop = head.loop
        self._node = _Side(sock, False)
        self._relay: _Side | None = None
        self._said = bytearray()
        self._untried: list[str] = []
        self._dialled = ""
        self._timer: Timer = self._loop.later(WORD_S, self.close)
        self._loop.add(sock.fileno(), IN, self._on_word)

    def _on_word(self, mask: int) -> None:
        try:
            data = self._node.sock.recv(PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._said += data
        wanted = self._head.word
        if not data or (
            len(self._said) >= len(wanted)
            and not hmac.compare_digest(bytes(self._said[: len(wanted)]), wanted)
        ):
            self.close()
        elif len(self._said) >= len(wanted):
            self._timer.cancel()
            self._loop.modify(self._node.sock.fileno(), 0)
            self._untried = list(self._head.relays)
            self._dial()

    def _dial(self) -> None:
        while self._untried:
            self._dialled = self._untried.pop(0)
            try:
                sock, connected = address.start_connect(self._dialled)
            except OSError:
                continue
            self._relay = _Side(sock, not connected)
            self._relay.out += self._said[len(self._head.word) :]
            self._timer = self._loop.later(CONNECT_S, self._not_connected)
            self._loop.add(sock.fileno(), OUT, self._mover(self._relay, self._node))
            return
        self.close()

    def _not_connected(self) -> None:
        assert self._relay is not None
        log.info("the relay at %s does not answer", self._dialled)
        self._loop.remove(self._relay.sock.fileno())
        self._relay.sock.close()
        self._relay = None
        self._dial()

    def _mover(self, side: _Side, other: _Side) -> Callable[[int], None]:
        def ready(mask: int) -> None:
            if side.connecting and not self._connected(side):
                return
            try:
                if mask & OUT and side.out:
                    del side.out[: side.sock.send(side.out)]
                if mask & IN and not side.ended and len(other.out) < PIECE_BYTES:
                    data = side.sock.recv(PIECE_BYTES)
                    side.ended = not data
                    other.out += data
                    if other.out and not other.connecting:
                        del other.out[: other.sock.send(other.out)]
            except BlockingIOError:
                pass
            except OSError:
                self.close()
                return
            self._interest()

        return ready

    def _connected(self, side: _Side) -> bool:
        self._timer.cancel()
        if side.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._not_connected()
            return False
        side.connecting = False
        self._head.worked(self._dialled)
        self._loop.remove(self._node.sock.fileno())
        self._loop.add(self._node.sock.fileno(), IN, self._mover(self._node, side))
        return True

    def _interest(self) -> None:
        """What each waits for now; both have ended and nothing is left: over."""
        assert self._relay is not None
        for side, other in ((self._node, self._relay), (self._relay, self._node)):
            if side.ended and not other.out:
                # No half-open state: TLS says its own goodbye, and nothing follows it.
                self.close()
                return
            mask = IN if not side.ended and len(other.out) < PIECE_BYTES else 0
            self._loop.modify(side.sock.fileno(), mask | (OUT if side.out else 0))

    def close(self) -> None:
        self._timer.cancel()
        self._head.pairs.discard(self)
        for side in (self._node, self._relay):
            if side is not None and side.sock.fileno() >= 0:
                self._loop.remove(side.sock.fileno())
                side.sock.close()
