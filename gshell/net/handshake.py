"""How the two ends of a TLS connection show each other that they share a secret, without saying it.

One end (the *host*) has a certificate that nobody knows, made for this one listener; the other (the
*caller*) verifies nothing while TLS is set up. Then, before anything else:

    host   -> caller   MAGIC, nonce (32)
    caller -> host     id (16), nonce (32), HMAC(secret, "caller" + all of this + the certificate)
    host   -> caller   0x01, HMAC(secret, "host" + the same)      or 0x00 and a letter: why not

The certificate's hash in both MACs binds them to this very TLS connection (RFC 5929's
tls-server-end-point): who sits in between has another key, so another certificate, and both ends
see a MAC that is none. Pre-shared keys in TLS itself would do, but `ssl` has them from Python 3.13
on only, and it has no exporter. Pure: bytes in, bytes out.
"""

from __future__ import annotations

import hashlib
import hmac

from gshell.errors import AuthError, RemoteProtocolError

MAGIC = b"GLOGIN/1"
ID_BYTES = 16
NONCE_BYTES = 32
MAC_BYTES = 32
LEAST_SECRET_BYTES = 16
WRONG, TAKEN = b"w", b"t"  # why not: another secret; somebody else's session
_REASONS = {
    WRONG: "the other side has another secret",
    TAKEN: "the other side has a session with another job already",
}


class Refused(AuthError):
    """The host said no. ``reason`` is one of the letters; anybody on the way may have said it."""

    def __init__(self, reason: bytes) -> None:
        super().__init__(_REASONS.get(reason, "the other side refused"))
        self.reason = reason


def key_of(secret: bytes) -> bytes:
    """The key that a secret file's content stands for.

    Raises:
        AuthError: too short to be one.
    """
    secret = secret.strip()
    if len(secret) < LEAST_SECRET_BYTES:
        raise AuthError(f"a secret has at least {LEAST_SECRET_BYTES} characters")
    return hashlib.sha256(b"gshell glogin\0" + secret).digest()


def _mac(key: bytes, who: bytes, said: bytes) -> bytes:
    return hmac.new(key, who + b"\0" + said, "sha256").digest()


class Host:
    """The listening end. ``feed`` what arrives until ``done``; ``out`` is to be sent each time."""

    def __init__(self, key: bytes, certificate: bytes, nonce: bytes, only: bytes = b"") -> None:
        """``certificate``: the hash of ours. ``only``: the id of the caller that has the session,
        if one has."""
        self._key = key
        self._certificate = certificate
        self._nonce = nonce
        self._only = only
        self._in = b""
        self.done = False
        self.id = b""
        self.out = MAGIC + nonce

    def feed(self, data: bytes) -> bytes:
        """Returns what came behind the handshake.

        Raises:
            Refused: the caller is not the one; ``out`` tells it.
        """
        self._in += data
        size = ID_BYTES + NONCE_BYTES + MAC_BYTES
        if len(self._in) < size:
            return b""
        said, rest = self._in[:size], self._in[size:]
        fresh, mac = said[:-MAC_BYTES], said[-MAC_BYTES:]
        bound = self._nonce + fresh + self._certificate
        reason = b""
        if not hmac.compare_digest(mac, _mac(self._key, b"caller", bound)):
            reason = WRONG
        elif self._only not in (b"", fresh[:ID_BYTES]):
            reason = TAKEN
        if reason:
            self.out = b"\0" + reason
            raise Refused(reason)
        self.id = fresh[:ID_BYTES]
        self.out = b"\1" + _mac(self._key, b"host", bound)
        self.done = True
        return rest


class Caller:
    """The end that dialled."""

    def __init__(self, key: bytes, certificate: bytes, id: bytes, nonce: bytes) -> None:
        """``certificate``: the hash of the one that was shown. ``id`` names this caller on every
        connection that it makes."""
        self._key = key
        self._certificate = certificate
        self._fresh = id + nonce
        self._in = b""
        self._bound = b""
        self.done = False
        self.out = b""

    def feed(self, data: bytes) -> bytes:
        """Returns what came behind the handshake; ``out`` may have something to send.

        Raises:
            Refused: the host said no.
            AuthError: it does not know the secret.
            RemoteProtocolError: it is something else.
        """
        self._in += data
        if not self._bound:
            size = len(MAGIC) + NONCE_BYTES
            if not MAGIC.startswith(self._in[: len(MAGIC)]):
                raise RemoteProtocolError("no-glogin", "what answers there is no i2glogin")
            if len(self._in) < size:
                return b""
            self._bound = self._in[len(MAGIC) : size] + self._fresh + self._certificate
            self._in = self._in[size:]
            self.out = self._fresh + _mac(self._key, b"caller", self._bound)
        if self._in[:1] == b"\0" and len(self._in) >= 2:
            raise Refused(self._in[1:2])
        if len(self._in) <= MAC_BYTES:
            return b""
        mac, rest = self._in[1 : 1 + MAC_BYTES], self._in[1 + MAC_BYTES :]
        if self._in[:1] != b"\1" or not hmac.compare_digest(
            mac, _mac(self._key, b"host", self._bound)
        ):
            raise AuthError("what answers there does not know the secret")
        self.done = True
        return rest
