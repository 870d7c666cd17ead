"""Where the job calls: lets in who knows the secret, and nobody else, once.

A stranger gets a TLS handshake and ten seconds. Of too many the oldest goes; an address that shows
a wrong secret is not listened to for a while, twice as long each time. There is one caller: after
the first only the same one may call again, when its connection broke.
"""

from __future__ import annotations

import os
import socket

from gshell.errors import AuthError, GshellError
from gshell.net import address, handshake
from gshell.net.link import Link
from gshell.net.loop import IN, Loop
from gshell.net.tls import Tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.net.tls import Context

STRANGERS = 16  # at a time
OF_ONE_ADDRESS = 8
PATIENCE_S = 10.0
PENALTY_S, MOST_PENALTY_S = 0.5, 60.0
REMEMBERED = 256  # addresses with a penalty


class Listener:
    """Calls ``on_call(link, rest)`` for each connection of the one caller; ``rest`` came behind
    its proof."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        context: Context,
        certificate: bytes,
        key: bytes,
        on_call: Callable[[Link], None],
        note: Callable[[str], None],
    ) -> None:
        self.loop = loop
        self.context = context
        self.certificate = certificate
        self.key = key
        self.caller = b""  # the id of the one that has the session
        self._sock = sock
        self._on_call = on_call
        self._note = note
        self._strangers: list[Stranger] = []  # oldest first
        self._penalties: dict[str, tuple[int, float]] = {}  # address -> how often, until when
        self._noted = False
        loop.add(sock.fileno(), IN, self._accept)

    def close(self) -> None:
        self.loop.remove(self._sock.fileno())
        self._sock.close()
        for stranger in list(self._strangers):
            stranger.go()

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:  # gone again, or no descriptor left: the next one may do
            return
        sock.setblocking(False)
        try:
            address.tune(sock)
            host = str(sock.getpeername()[0])
        except OSError:
            sock.close()
            return
        until = self._penalties.get(host, (0, 0.0))[1]
        if self.loop.clock() < until:
            sock.close()
            return
        same = [stranger for stranger in self._strangers if stranger.host == host]
        if len(same) >= OF_ONE_ADDRESS:
            same[0].go()
        elif len(self._strangers) >= STRANGERS:
            self._strangers[0].go()
        self._strangers.append(Stranger(self, sock, host))

    def forget(self, stranger: Stranger) -> None:
        if stranger in self._strangers:
            self._strangers.remove(stranger)

    def wrong(self, host: str, error: AuthError) -> None:
        """Somebody came who is not the one."""
        count = self._penalties.pop(host, (0, 0.0))[0]
        until = self.loop.clock() + min(MOST_PENALTY_S, PENALTY_S * 2.0 ** min(count, 20))
        self._penalties[host] = (count + 1, until)
        if len(self._penalties) > REMEMBERED:
            del self._penalties[next(iter(self._penalties))]
        if not self._noted and not self.caller:
            self._noted = True
            self._note(f"somebody called from {host} with another secret; still waiting")

    def known(self, stranger: Stranger, caller: bytes) -> None:
        self.caller = caller
        self._on_call(stranger.link)


class Stranger:
    """A connection until it is known whose it is."""

    def __init__(self, listener: Listener, sock: socket.socket, host: str) -> None:
        self.host = host
        self._listener = listener
        self._proof: handshake.Host | None = None
        self._over = False  # it is known whose it is
        loop = listener.loop
        self._deadline = loop.later(PATIENCE_S, self.go)
        self.link = Link(loop, sock, self, Tls(listener.context, server_side=True))
        self.link.begin()

    def go(self) -> None:
        """It had its chance."""
        self._deadline.cancel()
        self.link.close()
        self._listener.forget(self)

    def link_ready(self, link: Link) -> None:
        listener = self._listener
        nonce = os.urandom(handshake.NONCE_BYTES)
        self._proof = handshake.Host(listener.key, listener.certificate, nonce, listener.caller)
        link.send(self._proof.out)

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        proof = self._proof
        if proof is None or self._over:
            return
        for at, chunk in enumerate(chunks):
            try:
                rest = proof.feed(chunk)
            except handshake.Refused as error:
                link.send(proof.out)
                if error.reason == handshake.WRONG:
                    self._listener.wrong(self.host, error)
                self.go()
                return
            if proof.done:
                self._over = True
                self._deadline.cancel()
                self._listener.forget(self)
                link.send(proof.out)
                self._listener.known(self, proof.id)
                later = [rest, *chunks[at + 1 :]] if rest else chunks[at + 1 :]
                if later and link.owner is not self:
                    link.owner.link_data(link, later)
                return

    def link_room(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link, error: GshellError) -> None:
        self._deadline.cancel()
        self._listener.forget(self)
