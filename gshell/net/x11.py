"""What port forwarding must know of X11: displays' names, authority files, and the first message of
a client, in which one cookie takes another's place. Pure, bytes and text only.
"""

from __future__ import annotations

import hmac
import struct

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Iterator

COOKIE = b"MIT-MAGIC-COOKIE-1"
COOKIE_BYTES = 16
FIRST_TCP_PORT = 6000
FAMILY_INTERNET, FAMILY_INTERNET6, FAMILY_LOCAL, FAMILY_WILD = 0, 6, 256, 65535
_MOST = 1024  # bytes of a name or of a cookie in a first message


def parse_display(text: str) -> tuple[str, int] | None:
    """(host, number) of a DISPLAY, host empty for a local one; None: it names none.

    >>> parse_display(":10.0"), parse_display("host:3"), parse_display("unix:1"), parse_display("x")
    (('', 10), ('host', 3), ('', 1), None)
    """
    host, colon, rest = text.rpartition(":")
    number = rest.partition(".")[0]
    if not colon or not (number.isascii() and number.isdigit()) or len(number) > 5:
        return None
    return ("" if host == "unix" else host.strip("[]")), int(number)


def authority(number: int, cookie: bytes) -> bytes:
    """A whole authority file for one display, under whatever name a program knows it."""
    out = struct.pack("!H", FAMILY_WILD)
    for field in (b"", str(number).encode(), COOKIE, cookie):
        out += struct.pack("!H", len(field)) + field
    return out


def entries(data: bytes) -> Iterator[tuple[int, bytes, bytes, bytes, bytes]]:
    """(family, address, number, name, data) of an authority file, as far as it can be read."""
    at = 0
    while at + 2 <= len(data):
        (family,) = struct.unpack_from("!H", data, at)
        at += 2
        fields = []
        for _ in range(4):
            if at + 2 > len(data):
                return
            (size,) = struct.unpack_from("!H", data, at)
            fields.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        if at > len(data):
            return
        yield family, fields[0], fields[1], fields[2], fields[3]


def cookie_for(data: bytes, hostname: str, host: str, number: int) -> bytes:
    """The cookie for a display in an authority file; empty if there is none."""
    best = b""
    for family, where, display, name, cookie in entries(data):
        if name != COOKIE or display not in (b"", str(number).encode()):
            continue
        if family == FAMILY_LOCAL and where == hostname.encode() and host in ("", "localhost"):
            return cookie
        if family == FAMILY_WILD or not best:
            best = cookie
    return best


class Substitution:
    """At the user's side: lets a client through that knows the cookie made for this forwarding, and
    gives it the display's own instead."""

    def __init__(self, expected: bytes, real: bytes) -> None:
        self._expected = expected
        self._real = real
        self._in = b""

    def feed(self, data: bytes) -> bytes | None:
        """What the display is told; None: more is needed.

        Raises:
            ValueError: it knows no such cookie.
        """
        self._in += data
        if len(self._in) < 12:
            return None
        order = {0x42: ">", 0x6C: "<"}.get(self._in[0])
        if order is None:
            raise ValueError("no X11 client")
        name_size, data_size = struct.unpack_from(order + "HH", self._in, 6)
        if name_size > _MOST or data_size > _MOST:
            raise ValueError("no X11 cookie")
        data_at = 12 + _padded(name_size)
        end = data_at + _padded(data_size)
        if len(self._in) < end:
            return None
        name = self._in[12 : 12 + name_size]
        cookie = self._in[data_at : data_at + data_size]
        if name != COOKIE or not hmac.compare_digest(cookie, self._expected):
            raise ValueError("another X11 cookie")
        name = COOKIE if self._real else b""
        head = self._in[:6] + struct.pack(order + "HH", len(name), len(self._real)) + b"\0\0"
        return head + _pad(name) + _pad(self._real) + self._in[end:]


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _pad(data: bytes) -> bytes:
    return data + bytes(_padded(len(data)) - len(data))
