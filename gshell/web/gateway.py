"""The gateway: serves the page, and carries frames between a browser's WebSocket and an agent.

It speaks TLS to both, so it could read all that passes; it passes frames on as they are and keeps
nothing. One WebSocket is one link: when either half breaks both end, and the page dials again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from socket import gethostname
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from gshell.errors import AuthError, BrokerError, GshellError, LinkLost
from gshell.web import pages, relaytalk
from gshell.web.door import Over, reach
from gshell.web.visits import Visit, Visits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from websockets.asyncio.server import Server
    from websockets.http11 import Request

    from gshell.model.ticket import Ticket
    from gshell.web.pipe import Pipe

WEBSOCKETS = 200  # at once, in all
UNKNOWN = 32  # of them, who have not shown a share yet
TOKEN_S = 10.0  # for the first message
FIRST_BYTES = 4096
MESSAGE_BYTES = 1 << 18  # of one WebSocket message; the page sends frames one by one
REDEEMING = 4  # asked of the relay at once: guessing is slow
WRONG_S = 1.0  # before somebody is told that a token is wrong
PING_S = 20.0
ONCE_S = 15.0  # a page that is loaded again is the same visit
LOST, FULL = 4000, 4001  # WebSocket close codes: try again


@dataclass
class Settings:
    """What the gateway was started with."""

    there: Ticket
    """The relay's addresses and pin: nothing of who runs the gateway."""
    runs: str
    """Who runs it, for the page to say."""
    names: frozenset[str] = field(default_factory=frozenset)
    """By which it may be called, besides addresses and localhost; lower case."""
    context: ssl.SSLContext | None = None
    once: bool = False
    log: Callable[[str], None] = lambda line: None


class Gateway:
    """Invariant: who has not shown the token of a share gets files and nothing else."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pages = pages.load()
        self._visits = Visits()
        self._sockets = 0
        self._unknown = 0
        self._redeeming = asyncio.Semaphore(REDEEMING)
        self._first: Visit | None = None
        self.over = asyncio.Event()
        """With ``once``: the one visit has been."""

    async def start(self, host: str, port: int) -> Server:
        return await serve(
            self._visit,
            host,
            port,
            process_request=self._request,
            ssl=self._settings.context,
            compression=None,  # what is typed and what is shown must not share a dictionary
            open_timeout=TOKEN_S,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=2.0,
            max_size=MESSAGE_BYTES,
            max_queue=8,
            server_header=None,
        )

    # -- plain requests

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        """None: go on and make it a WebSocket."""
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or not self._is_us(hosts[0]):
            # Else another site's name, pointed at this address, would make its pages ours.
            return _text(HTTPStatus.MISDIRECTED_REQUEST, "this is not what I am called\n")
        path = request.path.partition("?")[0]
        if path == "/ws":
            scheme = "https" if self._settings.context else "http"
            wanted = {f"{scheme}://{hosts[0]}", f"https://{hosts[0]}"}  # behind a proxy with TLS
            origins = request.headers.get_all("Origin")
            if len(origins) != 1 or origins[0] not in wanted:
                return _text(HTTPStatus.FORBIDDEN, "only for pages from here\n")
            if self._sockets >= WEBSOCKETS or self._unknown >= UNKNOWN:
                return _text(HTTPStatus.SERVICE_UNAVAILABLE, "too many visitors\n")
            return None
        page = self._pages.get(path)
        if page is None:
            return _text(HTTPStatus.NOT_FOUND, "no such page\n")
        headers, body = pages.answer(page, "gzip" in request.headers.get("Accept-Encoding", ""))
        return Response(200, "OK", Headers(headers), body)

    def _is_us(self, host: str) -> bool:
        name = host.lower()
        if not name.endswith("]"):
            before, colon, port = name.rpartition(":")
            name = before if colon and port.isdigit() else name
        try:
            ipaddress.ip_address(name.strip("[]"))
            return True
        except ValueError:
            return name == "localhost" or name in self._settings.names

    # -- visits

    async def _visit(self, socket: ServerConnection) -> None:
        self._sockets += 1
        try:
            with contextlib.suppress(ConnectionClosed):
                await self._serve(socket)
        finally:
            self._sockets -= 1

    async def _serve(self, socket: ServerConnection) -> None:
        self._unknown += 1
        try:
            asked = await self._asked(socket)
            if asked is None:
                return
            visit = await self._whose_visit(socket, asked)
        finally:
            self._unknown -= 1
        if visit is None:
            return
        op = "resume" if asked.get("op") == "resume" else "attach"
        visit.pages += 1
        try:
            await socket.send(json.dumps(self._greeting(visit)))
            pipe = await reach(visit, op)
            try:
                await _carry(socket, pipe)
            finally:
                pipe.close()
            await socket.close(LOST, "the agent's half is gone")
        except Over as over:
            self._visits.forget(visit)
            await _say(socket, "over", over.message, over.code)
        except LinkLost as error:
            await _say(socket, "again", error.message)
        finally:
            self._left(visit)

    async def _asked(self, socket: ServerConnection) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(TOKEN_S):
                first = await socket.recv()
            asked = json.loads(first) if isinstance(first, str) and len(first) < FIRST_BYTES else 0
        except (TimeoutError, ValueError, RecursionError):
            asked = 0
        if not isinstance(asked, dict) or asked.get("v") != 1:
            await socket.close(1008, "that is no visitor")
            return None
        return asked

    async def _whose_visit(self, socket: ServerConnection, asked: dict[str, Any]) -> Visit | None:
        """None: nobody's; the page has been told."""
        known = self._visits.find(str(asked.get("resume") or asked.get("again") or ""))
        if asked.get("resume"):
            if known is None:
                await _say(socket, "unknown", "")
            return known
        if self._settings.once and self._first is not None and known is not self._first:
            await _say(socket, "over", "this gateway is for one visit, which has begun", "link")
            return None
        try:
            if known is not None:
                visit = known.again()
                self._visits.forget(known)
            else:
                visit = await self._redeemed(str(asked.get("token") or ""))
        except LinkLost as error:
            await _say(socket, "again", error.message)
            return None
        except GshellError as error:
            await asyncio.sleep(WRONG_S)
            await _say(socket, "over", error.message, "link")
            return None
        self._first = visit
        self._visits.add(visit, time.monotonic())
        peer = socket.remote_address
        doing = "may type in" if visit.rights == "rw" else "looks on at"
        self._settings.log(f"{_name(peer)} {doing} job {visit.job} (share {visit.share})")
        return visit

    async def _redeemed(self, token: str) -> Visit:
        """
        Raises:
            BrokerError: the token is no share's (any more). LinkLost: the relay is away.
        """
        if not token.isascii() or not 8 <= len(token) <= 200:
            raise BrokerError("that is not the link of a share")
        async with self._redeeming:
            ticket = await relaytalk.enrol(self._settings.there, token)
            try:
                found, _ = await relaytalk.ask(ticket, {"m": "redeem", "token": token})
            except AuthError:
                raise BrokerError("the share has ended") from None
        if not found.get("ok"):
            raise BrokerError(str(found.get("message") or "the share has ended"))
        until = found.get("until")
        return Visit(
            ticket,
            str(found["job"]),
            str(found["owner"]),
            "rw" if found.get("rights") == "rw" else "r",
            str(found["share"]),
            float(until) if isinstance(until, (int, float)) else None,
        )

    def _greeting(self, visit: Visit) -> dict[str, Any]:
        return {
            "t": "visit",
            "secret": visit.secret.hex(),
            "job": visit.job,
            "owner": visit.owner,
            "rights": visit.rights,
            "until": visit.until,
            "gateway": {"user": self._settings.runs, "host": gethostname()},
        }

    def _left(self, visit: Visit) -> None:
        visit.pages -= 1
        visit.left_at = time.monotonic()
        if self._settings.once and visit is self._first:
            asyncio.get_running_loop().call_later(ONCE_S, self._is_over, visit)

    def _is_over(self, visit: Visit) -> None:
        if visit is self._first and not visit.pages:
            self.over.set()


async def _carry(socket: ServerConnection, pipe: Pipe) -> None:
    """Both ways, untouched, until one half ends. Neither reads more than the other takes."""

    async def up() -> None:
        async for message in socket:
            if isinstance(message, str):
                return  # frames only, from here on
            await pipe.write(message)

    async def down() -> None:
        while True:
            await socket.send(await pipe.read())

    both = [asyncio.create_task(up()), asyncio.create_task(down())]
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)


async def _say(socket: ServerConnection, what: str, message: str, code: str = "") -> None:
    await socket.send(json.dumps({"t": what, "message": message, "code": code}))
    await socket.close(LOST if what == "again" else 1000)


def _text(status: HTTPStatus, text: str) -> Response:
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    headers += pages.security("none")
    return Response(status.value, status.phrase, Headers(headers), text.encode())


def _name(peer: Any) -> str:
    return str(peer[0]) if isinstance(peer, tuple) and peer else "somebody"
