"""A channel of somebody's SSH connection, joined with a fresh data connection to an agent. Copies
bytes, looks at none.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any

import asyncssh

from gshell.errors import GshellError
from gshell.model.sanitize import sanitize
from gshell.net import address, rendezvous, sshline

PATIENCE_S = 30.0  # for an agent that is away for a moment, or starts its SSH server
AGAIN_S = 0.2  # between two tries to be let in
READ_BYTES = 1 << 16
BUFFER_BYTES = 1 << 20


class Who:
    """Who has logged in, by which credential of gshell's."""

    def __init__(self, user: str, serial: str) -> None:
        self.user = user
        self.serial = serial


class Joiner:
    """Dials the door, in the name of who asks: the broker judges it as it would judge them."""

    def __init__(self, door: str, secret: bytes) -> None:
        """``door``: its address, as near as possible; ``secret``: of the preambles' MACs."""
        self._door = door
        self._secret = secret

    async def join(self, who: Who, place: dict[str, str]) -> tuple[socket.socket, bytes]:
        """A socket on which the agent's SSH server speaks, and what it said already.

        Raises:
            asyncssh.ChannelOpenError: nothing comes of it; says why.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            sock, reply = await self._try(who, place, max(1.0, end - time.monotonic()))
            if sock is not None:
                return sock, reply.rest
            if reply.code not in sshline.AGAIN or time.monotonic() > end:
                why = sanitize(reply.reason())
                raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, why)
            await asyncio.sleep(AGAIN_S)

    async def _try(
        self, who: Who, place: dict[str, str], patience_s: float
    ) -> tuple[socket.socket | None, sshline.Reply]:
        att = rendezvous.public_id(os.urandom(32))
        body = sshline.opening(who.serial, time.time(), os.urandom(16).hex(), att, place)
        key = rendezvous.client_key(self._secret, who.serial)
        preamble = rendezvous.encode(rendezvous.CLIENT, body, sshline.hello(att), key)
        reply = sshline.Reply()
        loop = asyncio.get_running_loop()
        try:
            sock = await self._connected(loop)
        except (OSError, GshellError):
            reply.code = "again"
            return None, reply
        try:
            async with asyncio.timeout(patience_s):
                await loop.sock_sendall(sock, preamble)
                data = b"-"
                while data and not reply.code:
                    data = await loop.sock_recv(sock, READ_BYTES)
                    reply.feed(data)
        except (OSError, TimeoutError):
            pass
        except BaseException:
            sock.close()
            raise
        if reply.code == "ok":
            return sock, reply
        sock.close()
        reply.code = reply.code or "again"
        return None, reply

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        family, target = address.split(self._door)
        if family == socket.AF_UNIX:
            sock, _ = address.start_connect(self._door)
            return sock
        assert isinstance(target, tuple)
        kind = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        sock = socket.socket(kind, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            address.tune(sock)
            await loop.sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        return sock


class Near(asyncssh.SSHTCPSession):  # type: ignore[type-arg]
    """The channel's end of a pair. What the agent sends goes to the channel, and back."""

    def __init__(self, sock: socket.socket, first: bytes) -> None:
        self._sock = sock
        self._first = first
        self._chan: Any = None
        self._far: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._ended = self._over = False
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, chan: Any) -> None:
        self._chan = chan
        chan.set_write_buffer_limits(high=BUFFER_BYTES)

    def session_started(self) -> None:
        self._task = asyncio.ensure_future(self._begin())

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        far, _ = await loop.create_connection(lambda: _Far(self, self._chan), sock=self._sock)
        self._far = far
        self._far.set_write_buffer_limits(high=BUFFER_BYTES)
        if self._over:
            self._far.abort()
            return
        if self._first:
            self._chan.write(self._first)
        for data in self._early:
            self._far.write(data)
        self._early.clear()
        if self._ended:
            self._far.write_eof()

    def data_received(self, data: bytes, datatype: Any) -> None:
        if self._far is None:
            self._early.append(data)
        else:
            self._far.write(data)

    def eof_received(self) -> bool:
        self._ended = True
        if self._far is not None:
            self._far.write_eof()
        return True

    def pause_writing(self) -> None:
        if self._far is not None:
            self._far.pause_reading()

    def resume_writing(self) -> None:
        if self._far is not None:
            self._far.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        if self._far is not None:
            self._far.close()
        elif self._task is None:
            self._sock.close()


class _Far(asyncio.Protocol):
    """The agent's end."""

    def __init__(self, near: Near, chan: Any) -> None:
        self._near = near
        self._chan = chan

    def data_received(self, data: bytes) -> None:
        self._chan.write(data)

    def eof_received(self) -> bool:
        self._chan.write_eof()
        return False  # a door's pair ends as a whole

    def pause_writing(self) -> None:
        self._chan.pause_reading()

    def resume_writing(self) -> None:
        self._chan.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._chan.close()
