"""The preamble of a data connection: who wants to meet whom, under a keyed MAC. Nothing in it is
secret.

A data connection begins with one preamble in clear::

    "GSHELL/1"  kind: u8  body: u16  hello: u16   body (JSON)   hello (bytes)   MAC: 32 bytes

``kind`` is ``C`` (a client asks) or ``A`` (an agent parks a spare). The MAC is BLAKE2b, keyed,
over all that stands before it. A client's ``hello`` is its first flight of the inner TLS, so that
a stolen preamble is worth nothing without the private half of that ClientHello. ``body`` carries
the time, a nonce (the rendezvous id; used once) and the request. Knows no sockets and keeps no
state but a parser's.
"""

from __future__ import annotations

import struct

# What hashlib and hmac hand out; themselves they load all of OpenSSL's digests first.
from _blake2 import blake2b
from _operator import _compare_digest as compare_digest

from gshell.errors import RemoteProtocolError
from gshell.model import quickjson
from gshell.model.record import Record

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

MAGIC = b"GSHELL/1"
CLIENT = ord("C")
AGENT = ord("A")
MAX_BODY_BYTES = 2048
MAX_HELLO_BYTES = 4096  # a ClientHello with post-quantum shares is about 1.8 KiB
MAC_BYTES = 32
SKEW_S = 120.0  # clocks may differ by this much; a nonce must be remembered twice as long

_HEAD = struct.Struct("!8sBHH")


class Preamble(Record):
    kind: int
    body: dict[str, Any]
    hello: bytes
    covered: bytes
    """What the MAC is over."""
    mac: bytes
    size: int
    """Bytes of the whole preamble; what follows belongs to the other side."""

    def genuine(self, key: bytes) -> bool:
        return compare_digest(self.mac, _mac(key, self.covered))


def client_key(relay_secret: bytes, mac_id: str) -> bytes:
    """The MAC key of a credential, derived: a door needs no table of users to check a preamble."""
    return blake2b(
        mac_id.encode(), key=relay_secret[:64], digest_size=32, person=b"gshell-client"
    ).digest()


def public_id(secret: bytes) -> str:
    """The name of an attachment: a hash of its secret, which only its client and the agent know."""
    return blake2b(secret, digest_size=16, person=b"gshell-attach").hexdigest()


def encode(kind: int, body: dict[str, Any], hello: bytes, key: bytes) -> bytes:
    text = quickjson.dumps(body).encode()
    covered = _HEAD.pack(MAGIC, kind, len(text), len(hello)) + text + hello
    return covered + _mac(key, covered)


def parse(data: bytes) -> Preamble | None:
    """The preamble at the start of ``data``; None while it is incomplete.

    Raises:
        RemoteProtocolError: it cannot become one.
    """
    if not MAGIC.startswith(data[:8]):
        raise RemoteProtocolError("bad-preamble", "magic")
    if len(data) < _HEAD.size:
        return None
    _, kind, body_size, hello_size = _HEAD.unpack_from(data)
    if kind not in (CLIENT, AGENT) or body_size > MAX_BODY_BYTES or hello_size > MAX_HELLO_BYTES:
        raise RemoteProtocolError("bad-preamble", "sizes")
    hello_at = _HEAD.size + body_size
    mac_at = hello_at + hello_size
    if len(data) < mac_at + MAC_BYTES:
        return None
    try:
        body = quickjson.loads(data[_HEAD.size : hello_at].decode())
    except (ValueError, RecursionError):
        raise RemoteProtocolError("bad-preamble", "body") from None
    if not isinstance(body, dict):
        raise RemoteProtocolError("bad-preamble", "body")
    return Preamble(
        kind,
        body,
        data[hello_at:mac_at],
        data[:mac_at],
        data[mac_at : mac_at + MAC_BYTES],
        mac_at + MAC_BYTES,
    )


def refusal(code: str, retry_s: float = 0.0) -> bytes:
    """What a door may say in clear before it closes. Never final: the client asks over control
    TLS."""
    return f"GSHELL/1 NO {code} {retry_s:.3f}\n".encode()


def parse_refusal(data: bytes) -> tuple[str, float]:
    """The (code, retry after seconds) of a door's clear answer; ("garbled", 0) for anything
    else."""
    words = data[:200].decode("ascii", "replace").split()
    if len(words) >= 4 and words[0] == "GSHELL/1" and words[1] == "NO":
        try:
            return words[2], max(0.0, min(float(words[3]), 60.0))
        except ValueError:
            pass
    return "garbled", 0.0


def _mac(key: bytes, covered: bytes) -> bytes:
    return blake2b(covered, key=key, digest_size=MAC_BYTES).digest()
