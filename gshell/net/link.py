"""One connection's life: a non-blocking socket, with or without TLS inside, on a Loop.

Knows nothing of what the bytes mean. Back-pressure is a read that doesn't happen: the owner pauses
reading, and writes only while ``room`` says so.
"""

from __future__ import annotations

import os

from gshell.errors import GshellError, LinkLost, RemoteProtocolError
from gshell.net.address import half_open
from gshell.net.loop import IN, OUT, Loop
from gshell.net.tls import Tls

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    import socket
    from typing import Protocol
else:
    import _socket as socket  # as in address

    Protocol = object

READ_BYTES = 1 << 18  # one recv; feeds up to sixteen TLS records
HIGH_WATER_BYTES = 1 << 18  # encrypted bytes that may wait for the socket; more is not asked for

_TLS = 0x16  # the first byte of a handshake

_buffer = bytearray(
    READ_BYTES
)  # one thread, one loop: what is read is handed on before the next read
_view = memoryview(_buffer)


class Owner(Protocol):
    """Who a Link belongs to; the things that happen to it."""

    def link_ready(self, link: Link) -> None:
        """Connected and, with TLS, verified."""

    # An owner may also have link_first(link): the first bytes on a connection with TLS arrived; and
    # link_plain(link, data): they are not TLS. It takes the socket by `release`, or closes.

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        """Bytes arrived (decrypted, if there is TLS)."""

    def link_room(self, link: Link) -> None:
        """All that was sent has left us."""

    def link_closed(self, link: Link, error: GshellError) -> None:
        """It is over; ``error`` says why. Called once, and not after ``close()``."""


class Link:
    """Owns its socket: closed by ``close()`` or when ``link_closed`` is called."""

    __slots__ = (
        "_connecting",
        "_loop",
        "_mask",
        "_out",
        "_paused",
        "closed",
        "first",
        "owner",
        "sock",
        "tls",
    )

    def __init__(
        self, loop: Loop, sock: socket.socket, owner: Owner, tls: Tls | None = None
    ) -> None:
        self._loop = loop
        self.sock = sock
        self.owner = owner
        self.tls = tls
        self.closed = False
        self.first: bytes | None = None  # clear bytes a door may answer with instead of TLS
        self._out = bytearray()
        self._paused = False
        self._connecting = False
        self._mask = IN

    def begin(
        self, connected: bool = True, send: bytes = b"", connect_s: float | None = None
    ) -> None:
        """Start; ``send`` goes out first, in clear (a preamble, a ClientHello). ``connect_s``: how
        long connecting may take (the kernel tries for two minutes)."""
        self._out += send
        self._connecting = not connected
        self._mask = IN if connected and not send else IN | OUT
        self._loop.add(self.sock.fileno(), self._mask, self._on_event)
        if not connected and connect_s is not None:
            self._loop.later(connect_s, self._not_connected)
        if connected and send:
            self._flush()
        if connected and self.tls is None and not self.closed:
            self.owner.link_ready(self)

    @property
    def connected(self) -> bool:
        """Somebody took the connection, whatever became of it."""
        return not self._connecting

    @property
    def room(self) -> bool:
        return len(self._out) < HIGH_WATER_BYTES and not self.closed

    @property
    def unsent(self) -> int:
        return len(self._out)

    def send(self, data: bytes) -> None:
        """Send ``data`` (encrypted, if there is TLS); what the socket does not take waits here."""
        if self.closed:
            return
        if self.tls is not None:
            data = self.tls.write(data)
        self._send_raw(data)

    def _send_raw(self, data: bytes) -> None:
        if self._out or self._connecting:
            self._out += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lost(f"connection lost: {error.strerror}")
            return
        if sent < len(data):
            self._out += memoryview(data)[sent:]
            self._want()

    def pause(self, paused: bool) -> None:
        """Stop or resume reading."""
        if paused != self._paused and not self.closed:
            self._paused = paused
            self._want()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.remove(self.sock.fileno())
            self.sock.close()
            self._out = bytearray()  # a stalled one's, which nobody would free for long: a cycle

    def release(self) -> socket.socket:
        """Its socket, which is the caller's from now on."""
        self.closed = True
        self._loop.remove(self.sock.fileno())
        return self.sock

    def _not_connected(self) -> None:
        if self._connecting:
            self._lost("cannot connect: no answer")

    def check(self) -> None:
        """End it if the other side's kernel does not answer any more."""
        if not self.closed and not self._connecting and half_open(self.sock):
            self._lost("connection lost: no answer")

    def _want(self) -> None:
        if self.closed:
            return
        mask = (0 if self._paused else IN) | (OUT if self._out or self._connecting else 0)
        if mask != self._mask:
            self._mask = mask
            self._loop.modify(self.sock.fileno(), mask)

    def _lost(self, why: str) -> None:
        self._fail(LinkLost(why))

    def _fail(self, error: GshellError) -> None:
        if not self.closed:
            self.close()
            self.owner.link_closed(self, error)

    def _flush(self) -> None:
        try:
            sent = self.sock.send(self._out)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(f"connection lost: {error.strerror}")
            return
        del self._out[:sent]
        if not self._out:
            self._want()
            if self.tls is None or self.tls.ready:
                self.owner.link_room(self)

    def _on_event(self, mask: int) -> None:
        if mask & OUT:
            if self._connecting:
                code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    self._lost(f"cannot connect: {os.strerror(code)}")
                    return
                self._connecting = False
                if not self._out:
                    self._want()
                if self.tls is None:
                    self.owner.link_ready(self)
            if self._out and not self.closed:
                self._flush()
        if mask & IN and not self._paused and not self.closed and not self._connecting:
            self._read()

    def _read(self) -> None:
        try:
            count = self.sock.recv_into(_buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(f"connection lost: {error.strerror}")
            return
        if not count:
            self._lost("connection closed by the other side")
            return
        tls = self.tls
        if tls is None:
            try:
                self.owner.link_data(self, [bytes(_view[:count])])
            except RemoteProtocolError as error:
                self._fail(error)
            return
        was_ready = tls.ready
        if not was_ready and self.first is None:
            self.first = bytes(_view[: min(count, 200)])
            on_plain = getattr(self.owner, "link_plain", None)
            if on_plain is not None and _view[0] != _TLS:
                on_plain(self, bytes(_view[:count]))
                return
            on_first = getattr(self.owner, "link_first", None)
            if on_first is not None:
                on_first(self)
        try:
            chunks = tls.feed(_view[:count])  # type: ignore[arg-type]
        except GshellError as error:
            answer = tls.outgoing()
            if answer:  # the alert that tells the other side why
                try:
                    self.sock.send(answer)
                except OSError:
                    pass
            self._fail(error)
            return
        answer = tls.outgoing()
        if answer:
            self._send_raw(answer)
        try:
            if not was_ready and tls.ready and not self.closed:
                self.owner.link_ready(self)
            if chunks and not self.closed:
                ended = not chunks[-1]
                if ended:
                    chunks.pop()
                if chunks:
                    self.owner.link_data(self, chunks)
                if ended:
                    self._lost("connection closed by the other side")
        except RemoteProtocolError as error:  # theirs: the link ends, nothing else
            self._fail(error)
