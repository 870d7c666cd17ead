"""TLS 1.3 over memory buffers: bytes in, bytes out. Knows nothing of sockets.

A memory BIO instead of the ssl module's sockets: one recv feeds many records, one send carries them
(measured equal or better in MB/s and CPU), the same code serves any transport, and a ClientHello
can be had before there is a connection, so that the rendezvous preamble's MAC can cover it.
"""

from __future__ import annotations

import _ssl as ssl  # what `ssl` is made of: it loads `enum`, `socket` and more, and costs 12 ms
import os

from gshell.errors import AuthError, LinkLost
from gshell.model.ticket import Ticket

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

    Context = ssl._SSLContext  # an ssl.SSLContext is one

_READ = 1 << 16


def _context(protocol: int, ticket: Ticket | None) -> Context:
    context = ssl._SSLContext(protocol)
    context.minimum_version = ssl.PROTO_TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ticket is not None:
        context.load_verify_locations(cadata=ticket.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        if ticket.cert:
            _load_chain(context, ticket.cert, ticket.key)
    return context


def client_context(ticket: Ticket | None) -> Context:
    """For dialling, with the ticket's certificate; without a ticket nothing is verified and the
    caller compares :func:`pin_of` before it sends anything."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, ticket)


def server_context(ticket: Ticket) -> Context:
    """For the agent's end of a data connection: clients must show a certificate of the relay's
    CA."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, ticket)
    context.num_tickets = 0  # no session resumption: nothing but our own bytes after the handshake
    return context


def lone_server_context(cert: str, key: str) -> Context:
    """For a listener with a certificate of its own that nobody has to believe: who calls proves
    itself afterwards (:mod:`gshell.net.handshake`)."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, None)
    _load_chain(context, cert, key)
    context.num_tickets = 0
    return context


def _load_chain(context: Context, cert: str, key: str) -> None:
    fd = os.memfd_create("gshell-key")  # the ssl module loads keys from files only; none is written
    try:
        os.write(fd, (cert + "\n" + key).encode())
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


class Tls:
    """One TLS connection. Feed it what arrives, send what ``outgoing()`` gives.

    Invariant: after ``ready`` the peer has been verified as the context demands.
    """

    __slots__ = ("_in", "_object", "_out", "ready")

    def __init__(self, context: Context, server_side: bool) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context._wrap_bio(  # type: ignore[attr-defined]
            self._in, self._out, server_side=server_side
        )
        self.ready = False

    def start(self) -> bytes:
        """The client's first flight."""
        self._handshake()
        return self._out.read()

    def feed(self, data: bytes) -> list[bytes]:
        """Decrypt; ``outgoing()`` may have something to send afterwards.

        Returns the decrypted chunks, ``b""`` last if the other side closed properly.

        Raises:
            AuthError: a certificate was refused, by us or by them. Never retried.
            LinkLost: the bytes are not what the other side sent (or nonsense).
        """
        self._in.write(data)
        chunks: list[bytes] = []
        try:
            if not self.ready:
                self._object.do_handshake()
                self.ready = True
            read = self._object.read
            while True:
                chunk = read(_READ)
                chunks.append(chunk)
                if not chunk:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            chunks.append(b"")
        except ssl.SSLError as error:
            raise _translated(error) from None
        if len(chunks) > 2:  # a record is 16 KiB: one big piece costs fewer calls all the way up
            ended = not chunks[-1]
            chunks = [b"".join(chunks), b""] if ended else [b"".join(chunks)]
        return chunks

    def _handshake(self) -> None:
        try:
            self._object.do_handshake()
            self.ready = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise _translated(error) from None

    def write(self, data: bytes) -> bytes:
        """Encrypt; returns what is to be sent."""
        self._object.write(data)
        return self._out.read()

    def outgoing(self) -> bytes:
        return self._out.read() if self._out.pending else b""

    def peer_uris(self) -> list[str]:
        """The URIs in the verified peer certificate's subject alternative name."""
        cert: dict[str, Any] = self._object.getpeercert() or {}
        return [str(name[1]) for name in cert.get("subjectAltName", ()) if name[0] == "URI"]

    def peer_serial(self) -> str:
        """The serial number of the verified peer certificate, in hex as the ssl module writes
        it."""
        cert = self._object.getpeercert() or {}
        return str(cert.get("serialNumber", ""))

    def peer_until(self) -> float:
        """When the verified peer certificate ends; 0 if there is none."""
        cert = self._object.getpeercert() or {}
        until = cert.get("notAfter")
        if not until:
            return 0.0
        from ssl import cert_time_to_seconds  # only a relay asks

        return float(cert_time_to_seconds(str(until)))

    def peer_pin(self) -> str:
        der = self._object.getpeercert(True)
        return pin_of(der) if der else ""


def pin_of(der: bytes) -> str:
    """How a certificate is written in an invite: the SHA-256 of its DER form, in hex."""
    from _hashlib import openssl_sha256  # hashlib's own: that loads all the others, for 3 ms

    return str(openssl_sha256(der).hexdigest())


def _translated(error: ssl.SSLError) -> Exception:
    reason = error.reason or "TLS error"
    if "CERTIFICATE_EXPIRED" in reason:  # the other side says it of ours
        return AuthError("our certificate has expired", hint="gshell login INVITE")
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthError(
            f"the certificate of the other side is not valid here: {error.verify_message}"
        )
    if "ALERT" in reason and (
        "CERTIFICATE" in reason or "UNKNOWN_CA" in reason or "ACCESS" in reason
    ):
        return AuthError(f"the other side refused our certificate ({reason.lower()})")
    return LinkLost(f"TLS: {reason.lower()}")
