"""Who may log in at the first hop, and what they may there: be joined with what is theirs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import asyncssh

from gshell.model import sshname
from relay.ssh.joiner import Joiner, Near, Who

LOGIN_S = 10.0  # as the door's deadline for strangers
ALIVE_S = 60.0
MISSED = 5
CHANNELS = 32  # of one connection at once
KEY = "key:"  # of the principal that names a credential
# As in gshell/sshd/server.py: the others would be done in Python here.
CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]


class Admission:
    """Stands where asyncssh asks for authorized keys: there it shows a certificate's principals.

    Who has a certificate of our CA with a user and a credential is let in; whether these still
    count, the broker says whenever they want something.
    """

    def __init__(self, ca: asyncssh.SSHKey) -> None:
        self._ca = ca
        self.who: Who | None = None
        """Of the last certificate shown; who proves to have its key is them."""

    def validate(
        self,
        key: asyncssh.SSHKey,
        client_host: str,
        client_addr: str,
        cert_principals: Sequence[str] | None = None,
        ca: bool = False,
    ) -> dict[str, object] | None:
        self.who = who_of(cert_principals or ()) if ca and key == self._ca else None
        # With principals of its own asyncssh does not compare them with the login name, which
        # means nothing here.
        return None if self.who is None else {"principals": True}


def who_of(principals: Sequence[str]) -> Who | None:
    """Whose certificate it is; None: not one that we gave a user.

    >>> who_of(["alice", "key:ab12"]).user
    'alice'
    """
    users = [name for name in principals if not name.startswith(KEY)]
    serials = [name[len(KEY) :] for name in principals if name.startswith(KEY)]
    return Who(users[0], serials[0]) if len(users) == len(serials) == 1 else None


class Server(asyncssh.SSHServer):
    """One connection. Everything that is not here is refused by asyncssh's own answers."""

    def __init__(self, ca: asyncssh.SSHKey, joiner: Joiner, known: Callable[[], None]) -> None:
        """``known`` is called once somebody has logged in."""
        self._admission = Admission(ca)
        self._joiner = joiner
        self._known = known
        self._conn: Any = None
        self._who: Who | None = None
        self._channels = 0

    def connection_made(self, conn: Any) -> None:
        self._conn = conn
        _plain(conn)

    def begin_auth(self, username: str) -> bool:
        self._conn.set_authorized_keys(self._admission)
        return True

    def auth_completed(self) -> None:
        self._who = self._admission.who
        self._known()

    def session_requested(self) -> NoReturn:
        raise _no("this relay runs nothing: ssh -J gshell-relay job42, or gshell attach 42")

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Any:
        place = sshname.place_of(dest_host)
        if place is None or dest_port != sshname.PORT:
            raise _no("this relay leads to jobs (job42) and agents, port 22, and nowhere else")
        who = self._who
        if who is None or self._channels >= CHANNELS:
            raise _no("too many connections")
        self._channels += 1
        return self._join(who, place)

    async def _join(self, who: Who, place: dict[str, str]) -> asyncssh.SSHTCPSession[bytes]:
        try:
            sock, first = await self._joiner.join(who, place)
        except BaseException:
            self._channels -= 1
            raise
        return _Counted(sock, first, self._left)

    def _left(self) -> None:
        self._channels -= 1


class _Counted(Near):
    def __init__(self, sock: socket.socket, first: bytes, left: Callable[[], None]) -> None:
        super().__init__(sock, first)
        self._left = left

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._left()


def _plain(conn: Any) -> None:
    """As in gshell/sshd/server.py: without an empty packet before each one."""
    send = conn.send_packet

    def send_packet(pkttype: int, *args: Any, **more: Any) -> None:
        if pkttype != asyncssh.constants.MSG_IGNORE:
            send(pkttype, *args, **more)

    conn.send_packet = send_packet


def _no(why: str) -> asyncssh.ChannelOpenError:
    return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, why)


async def serve(sock: socket.socket, options: Any) -> None:
    """One connection, until it is over."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn = await asyncssh.run_server(sock, options=options)
    try:
        await conn.wait_closed()
    except asyncio.CancelledError:
        conn.abort()
        raise
