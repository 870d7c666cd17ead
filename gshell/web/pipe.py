"""A TLS connection to a relay or, through its door, to an agent; for asyncio. Knows no messages.

Back-pressure is a read that doesn't happen: what was read is taken before more is.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, cast

from gshell.errors import GshellError, LinkLost
from gshell.net import address, rendezvous
from gshell.net.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.net.tls import Context

CONNECT_S = 10.0
READY_S = 20.0  # for both handshakes and the agent to be joined: longer than a door waits
HIGH_WATER_BYTES = 1 << 18


class Refused(GshellError):
    """A door said no in clear. Never final: it is not known who said it."""

    def __init__(self, code: str, retry_s: float) -> None:
        super().__init__(f"the relay's door says {code}")
        self.code = code
        self.retry_s = retry_s


class Pipe(asyncio.Protocol):
    """Invariant: at most what one read brought waits to be taken."""

    def __init__(self, tls: Tls, first: bytes) -> None:
        """``first``: what is sent in clear before the handshake goes on, with its beginning."""
        self.tls = tls
        self._first = first
        self._heard = False
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._error: GshellError | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    # -- for the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES)
        self._transport.write(self._first)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._heard:
            self._heard = True
            if data.startswith(rendezvous.MAGIC):
                self._end(Refused(*rendezvous.parse_refusal(data)))
                return
        try:
            chunks = self.tls.feed(data)
        except GshellError as error:
            self._transport.write(self.tls.outgoing())  # the alert that says why
            self._end(error)
            return
        answer = self.tls.outgoing()
        if answer:
            self._transport.write(answer)
        ended = bool(chunks) and not chunks[-1]
        self._chunks += [chunk for chunk in chunks if chunk]
        if self._chunks:
            self._transport.pause_reading()
        if ended:
            self._end(LinkLost("connection closed by the other side"))
        self._news.set()

    def eof_received(self) -> None:
        self._end(LinkLost("connection closed by the other side"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(LinkLost(f"connection lost: {exc}" if exc else "connection closed"))

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def _end(self, error: GshellError) -> None:
        self._error = self._error or error
        self._news.set()
        self._room.set()
        if self._transport is not None:
            self._transport.close()

    # -- for the owner

    async def ready(self) -> None:
        """Until the other side has been verified.

        Raises:
            Refused, AuthError, LinkLost: it will not be.
        """
        while not self.tls.ready:
            await self._wait()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._news.clear()
        await self._news.wait()

    async def read(self) -> bytes:
        """The next bytes.

        Raises:
            AuthError, LinkLost: there are no more.
        """
        while not self._chunks:
            await self._wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send; returns when there is room for more.

        Raises:
            LinkLost: nobody is there.
        """
        if self._error is not None or self._transport is None:
            raise self._error or LinkLost("not connected")
        self._transport.write(self.tls.write(data))
        await self._room.wait()

    def close(self) -> None:
        self._end(LinkLost("closed"))


async def dial(
    where: str, context: Context, preamble: Callable[[bytes], bytes] | None = None
) -> Pipe:
    """Connect to a relay; ``preamble`` makes of our ClientHello what goes before it.

    Raises:
        LinkLost, AuthError, Refused: no way there.
    """
    tls = Tls(context, server_side=False)
    hello = tls.start()
    first = address.preface(where) + hello if preamble is None else preamble(hello)
    loop = asyncio.get_running_loop()
    pipe = Pipe(tls, first)
    try:
        async with asyncio.timeout(CONNECT_S):
            sock, connected = await asyncio.to_thread(address.start_connect, where)  # may ask a DNS
            if not connected:
                await _connected(sock)
            await loop.create_connection(lambda: pipe, sock=sock)
    except TimeoutError:
        raise LinkLost(f"cannot reach {where}: no answer") from None
    except OSError as error:
        raise LinkLost(f"cannot reach {where}: {error.strerror or error}") from None
    try:
        async with asyncio.timeout(READY_S):
            await pipe.ready()
    except TimeoutError:
        pipe.close()
        raise LinkLost(f"{where} does not answer") from None
    except BaseException:
        pipe.close()
        raise
    return pipe


def _settle(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


async def _connected(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    loop.add_writer(sock.fileno(), _settle, done)
    try:
        await done
    except BaseException:
        loop.remove_writer(sock.fileno())
        sock.close()
        raise
    loop.remove_writer(sock.fileno())
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        sock.close()
        raise OSError(code, os.strerror(code))
