"""The server's part of SOCKS4, 4a and 5 (CONNECT, no authentication): bytes in, where to out."""

from __future__ import annotations

import socket

MOST_BYTES = 1024  # a request that is longer is none


class BadSocks(Exception):
    """This is no SOCKS, or not what we do; ``answer`` says so in its own tongue."""

    def __init__(self, why: str, answer: bytes = b"") -> None:
        super().__init__(why)
        self.answer = answer


class Socks:
    """One client's request. ``feed`` until it returns where to; then ``granted`` or ``refused`` is
    what to answer."""

    def __init__(self) -> None:
        self.out = b""
        """To be sent now."""
        self.rest = b""
        """What came behind the request: the connection's first bytes."""
        self._in = b""
        self._version = 0
        self._greeted = False

    def feed(self, data: bytes) -> tuple[str, int] | None:
        """(host, port), or None: more is needed.

        Raises:
            BadSocks: close it.
        """
        self._in += data
        if not self._in:
            return None
        first = self._in[0]
        if first == 4 and not self._greeted:
            return self._four()
        if first == 5:
            return self._five()
        raise BadSocks(f"not SOCKS: it begins with {first}")

    def _four(self) -> tuple[str, int] | None:
        self._version = 4
        text = self._in
        end = text.find(b"\0", 8)
        if len(text) < 9 or end < 0:
            self._check_size()
            return None
        if text[1] != 1:
            raise BadSocks("SOCKS4: CONNECT only", _answer4(91))
        port, host = int.from_bytes(text[2:4], "big"), socket.inet_ntoa(text[4:8])
        if text[4:7] == b"\0\0\0" and text[7]:  # 4a: a name follows
            last = text.find(b"\0", end + 1)
            if last < 0:
                self._check_size()
                return None
            host, end = _name(text[end + 1 : last], _answer4(91)), last
        self.rest = text[end + 1 :]
        return host, port

    def _five(self) -> tuple[str, int] | None:
        self._version = 5
        if not self._greeted:
            if len(self._in) < 2 or len(self._in) < 2 + self._in[1]:
                return None
            methods = self._in[2 : 2 + self._in[1]]
            if 0 not in methods:
                raise BadSocks("SOCKS5: without authentication only", b"\x05\xff")
            self._greeted = True
            self._in = self._in[2 + len(methods) :]
            self.out = b"\x05\x00"
        text = self._in
        if text[:1] not in (b"", b"\x05"):
            raise BadSocks("SOCKS5: another version within", _answer5(1))
        if len(text) < 5:
            return None
        if text[1] != 1:
            raise BadSocks("SOCKS5: CONNECT only", _answer5(7))
        kind, at = text[3], 4
        size = {1: 4, 3: 1 + text[4], 4: 16}.get(kind)
        if size is None:
            raise BadSocks("SOCKS5: an unknown kind of address", _answer5(8))
        if len(text) < at + size + 2:
            return None
        raw = text[at : at + size]
        if kind == 3:
            host = _name(raw[1:], _answer5(1))
        else:
            host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, raw)
        at += size
        self.rest = text[at + 2 :]
        return host, int.from_bytes(text[at : at + 2], "big")

    def _check_size(self) -> None:
        if len(self._in) > MOST_BYTES:
            raise BadSocks("SOCKS4: no end of it", _answer4(91))

    @property
    def granted(self) -> bytes:
        return _answer4(90) if self._version == 4 else _answer5(0)

    def refused(self, code: str) -> bytes:
        """``code``: the errno's name, where it is known."""
        if self._version == 4:
            return _answer4(91)
        known = {"ECONNREFUSED": 5, "EHOSTUNREACH": 4, "ENETUNREACH": 3, "name": 4}
        return _answer5(known.get(code, 1))


def _name(raw: bytes, answer: bytes) -> str:
    try:
        name = raw.decode("ascii")
    except UnicodeDecodeError:
        raise BadSocks("a name that is not ASCII", answer) from None
    if not name or not name.isprintable():
        raise BadSocks("a name that is none", answer)
    return name


def _answer4(code: int) -> bytes:
    return bytes((0, code)) + bytes(6)


def _answer5(code: int) -> bytes:
    return bytes((5, code, 0, 1)) + bytes(6)
