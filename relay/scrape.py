"""A small HTTP/1.1 server for whoever scrapes: GET /metrics, GET /healthz, nothing else.

It lives on the broker's own loop: a page is made in a millisecond, every connection has limits and
a deadline, and there is no second thread that could look at the books while they change.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable

from gshell.net.loop import IN, OUT, Loop
from relay.metrics import CONTENT_TYPE

REQUEST_BYTES = 8192  # a scraper sends 300
CONNECTIONS = 16  # at a time; beyond that the oldest goes
DEADLINE_S = 5.0  # for a request, and for taking the answer

_LINE = re.compile(rb"([A-Z]{1,16}) (/[\x21-\x7e]{0,1024}) HTTP/1\.([01])")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
            431: "Request Header Fields Too Large", 503: "Service Unavailable"}  # fmt: skip

_log = logging.getLogger("relay.metrics")


class BadRequest(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def parse(data: bytes) -> tuple[str, str] | None:
    """(method, path) of a request that is complete; None if more is to come.

    Raises:
        BadRequest: it never will be one of ours.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) >= REQUEST_BYTES:
            raise BadRequest(431)
        if not re.match(rb"[A-Z]{0,16}( |$)", data[:18]):
            raise BadRequest(400)
        return None
    first, *fields = data[:end].split(b"\r\n")
    found = _LINE.fullmatch(first)
    if found is None or any(_FIELD.fullmatch(field) is None for field in fields):
        raise BadRequest(400)
    path = found[2].decode("ascii").partition("?")[0]
    return found[1].decode("ascii"), path


def answer(
    status: int, body: str, kind: str = "text/plain; charset=utf-8", head: bool = False
) -> bytes:
    raw = body.encode()
    lines = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(raw)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return lines.encode() + (b"" if head else raw)


class Scraped:
    """Serves on a listening socket, which it does not own. ``page`` makes the text; ``healthy``
    says what is wrong, or nothing."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        page: Callable[[], str],
        healthy: Callable[[], str],
    ) -> None:
        self.loop = loop
        self._sock = sock
        self._page = page
        self._healthy = healthy
        self.guests: dict[_Guest, None] = {}  # in order of arrival
        loop.add(sock.fileno(), IN, self._accept)

    def _accept(self, _: int) -> None:
        try:
            sock, _address = self._sock.accept()
        except OSError:
            return
        sock.setblocking(False)
        if len(self.guests) >= CONNECTIONS:
            next(iter(self.guests)).close()
        self.guests[_Guest(self, sock)] = None

    def respond(self, data: bytes) -> bytes | None:
        """What to send, once the request is whole."""
        try:
            request = parse(data)
        except BadRequest as error:
            return answer(error.status, _REASONS[error.status] + "\n")
        if request is None:
            return None
        method, path = request
        head = method == "HEAD"
        if method not in ("GET", "HEAD"):
            return answer(405, "only GET\n")
        if path == "/metrics":
            return answer(200, self._page(), CONTENT_TYPE, head)
        if path == "/healthz":
            wrong = self._healthy()
            return answer(503 if wrong else 200, (wrong or "ok") + "\n", head=head)
        return answer(404, "there is /metrics and /healthz\n", head=head)

    def close(self) -> None:
        self.loop.remove(self._sock.fileno())
        for guest in list(self.guests):
            guest.close()


class _Guest:
    """One connection, for one request. Owns its socket."""

    def __init__(self, server: Scraped, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._data = b""
        self._out = b""
        self._timer = server.loop.later(DEADLINE_S, self.close)
        server.loop.add(sock.fileno(), IN, self._on_event)

    def close(self) -> None:
        if self in self._server.guests:
            del self._server.guests[self]
            self._timer.cancel()
            self._server.loop.remove(self._sock.fileno())
            self._sock.close()

    def _on_event(self, mask: int) -> None:
        try:
            if self._out:
                self._write()
            elif mask & IN:
                self._read()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _read(self) -> None:
        data = self._sock.recv(REQUEST_BYTES - len(self._data))
        self._data += data
        if not data:
            self.close()
            return
        out = self._server.respond(self._data)
        if out is not None:
            self._out = out
            self._server.loop.modify(self._sock.fileno(), OUT)
            self._write()

    def _write(self) -> None:
        self._out = self._out[self._sock.send(self._out) :]
        if not self._out:
            try:
                self._sock.shutdown(socket.SHUT_WR)  # before the close: unread bytes would reset
            except OSError:
                pass
            self.close()
