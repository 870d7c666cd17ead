"""Copies bytes between two sockets, both ways, until either side ends. Looks at none of them.

The fast path of every session: one shared buffer, a recv and a send per event, nothing allocated.
Where the receiver is slow, the rest is kept and the sender is not read: at most one buffer's worth
per direction.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from gshell.net.loop import IN, OUT, Loop, Timer

BUFFER_BYTES = 1 << 18  # one recv; kernel buffers of a busy connection hold this and more
LINGER_S = 2.0  # after our FIN: a close with unread bytes would reset, and lose what we sent last

_buffer = bytearray(BUFFER_BYTES)
_view = memoryview(_buffer)


class Side:
    """One socket of a pair. Invariant: while something is ``pending`` the other is not read."""

    __slots__ = ("_loop", "_mask", "_pair", "fd", "got", "other", "pending", "reading", "sock")

    other: Side

    def __init__(self, pair: Pair, loop: Loop, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.got = 0  # bytes that came from it
        self.pending = b""  # read from the other side, not taken by this one yet
        self.reading = True
        self._pair = pair
        self._loop = loop
        self._mask = 0

    def on_event(self, mask: int) -> None:
        if mask & OUT and self.pending:
            self._flush()
        if mask & IN and self.reading:
            try:
                count = self.sock.recv_into(_buffer)
            except BlockingIOError:
                return
            except OSError:
                count = 0
            if not count:
                self._pair.ended(self)
                return
            self.got += count
            other = self.other
            try:
                sent = other.sock.send(_view[:count])
            except BlockingIOError:
                sent = 0
            except OSError:
                other.deaf()
                return
            if sent != count:
                other.pending = bytes(_view[sent:count])
                self.reading = False
                other.want()
                self.want()

    def want(self) -> None:
        """Ask the loop for what we can use. Not registered for nothing: a hang-up would be reported
        over and over."""
        mask = (IN if self.reading else 0) | (OUT if self.pending else 0)
        if mask == self._mask:
            return
        if not mask:
            self._loop.remove(self.fd)
        elif self._mask:
            self._loop.modify(self.fd, mask)
        else:
            self._loop.add(self.fd, mask, self.on_event)
        self._mask = mask

    def leave(self) -> None:
        """Off the loop."""
        if self._mask:
            self._loop.remove(self.fd)
            self._mask = 0

    def deaf(self) -> None:
        """It takes nothing any more. What it said before that may still wait to be read."""
        self.pending = b""
        other = self.other
        if self._pair.over is other:
            self._pair.cut()
            return
        other.reading = False
        other.want()
        self.want()

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self.pending)
        except BlockingIOError:
            return
        except OSError:
            self.deaf()
            return
        self.pending = self.pending[sent:]
        if not self.pending:
            other = self.other
            if self._pair.over is other:
                self._pair.finish()
                return
            other.reading = True
            other.want()
            self.want()


class Pair:
    """Two joined connections. Owns both sockets; says once that it is over."""

    __slots__ = ("_farewells", "_gone", "agent", "att", "client", "over", "since")

    def __init__(
        self,
        loop: Loop,
        att: str,
        client: socket.socket,
        agent: socket.socket,
        gone: Callable[[Pair], None],
        farewells: Farewells,
    ) -> None:
        self.att = att
        self.since = loop.clock()
        self.client = Side(self, loop, client)
        self.agent = Side(self, loop, agent)
        self.client.other, self.agent.other = self.agent, self.client
        self.over: Side | None = (
            None  # the side that has ended; the other may have bytes to take yet
        )
        self._farewells = farewells
        self._gone = gone

    def begin(self, to_client: bytes) -> None:
        """Start copying, with what the agent has said already."""
        self.client.pending = to_client
        self.agent.reading = not to_client
        self.client.want()
        self.agent.want()

    def ended(self, side: Side) -> None:
        """``side`` is gone: its socket closes now, the other's when it has what it is owed."""
        if self.over is not None:  # the other one has gone, too
            self.cut()
            return
        self.over = side
        side.leave()
        side.sock.close()
        other = side.other
        other.reading = False
        if other.pending:
            other.want()
        else:
            self.finish()

    def finish(self) -> None:
        """The side that is left has got everything: say so, and let it go."""
        assert self.over is not None
        last = self.over.other
        last.leave()
        self._farewells.take(last.sock)
        self._gone(self)

    def cut(self) -> None:
        """Close both at once."""
        for side in (self.client, self.agent):
            side.leave()
            side.sock.close()
        self._gone(self)


class Farewells:
    """Connections on their way out: FIN sent, what still comes is read and forgotten until theirs.

    Owns the sockets it is given.
    """

    __slots__ = ("_loop", "_socks")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._socks: dict[socket.socket, Timer] = {}

    def take(self, sock: socket.socket) -> None:
        """Close a connection so that its last bytes arrive."""
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()
            return
        self._socks[sock] = self._loop.later(LINGER_S, lambda: self._done(sock))
        self._loop.add(sock.fileno(), IN, lambda _: self._forget(sock))

    def _forget(self, sock: socket.socket) -> None:
        try:
            if sock.recv_into(_buffer):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._done(sock)

    def _done(self, sock: socket.socket) -> None:
        self._socks.pop(sock).cancel()
        self._loop.remove(sock.fileno())
        sock.close()

    def close(self) -> None:
        for sock in list(self._socks):
            self._done(sock)
