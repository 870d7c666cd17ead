"""What a gateway gives to whom, before anybody has shown the token of a share."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator

import pytest

websockets = pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from gshell.model.ticket import Ticket  # noqa: E402
from gshell.web import gateway as module  # noqa: E402
from gshell.web import pages  # noqa: E402
from gshell.web.gateway import Gateway, Settings  # noqa: E402


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a gateway whose relay is away."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = f"127.0.0.1:{nobody.getsockname()[1]}"
        there = Ticket("", "", "", [away], "0" * 64, "", "", "", "", "")
        started, ready = threading.Event(), []

        def serve() -> None:
            async def main() -> None:
                one = Gateway(Settings(there, "me", frozenset({"gate.example"})))
                server = await one.start("127.0.0.1", 0)
                ready.extend([asyncio.get_running_loop(), one, server.sockets[0].getsockname()[1]])
                started.set()
                await one.over.wait()
                server.close()
                await server.wait_closed()

            asyncio.run(main())

        thread = threading.Thread(target=serve)
        thread.start()
        assert started.wait(20)
        loop, one, number = ready
        yield number
        loop.call_soon_threadsafe(one.over.set)
        thread.join(20)
        assert not thread.is_alive()


def get(port: int, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
    talk = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    talk.putrequest("GET", path, skip_host="Host" in named, skip_accept_encoding=True)
    for key, value in named.items():
        talk.putheader(key, value)
    talk.endheaders()
    answer = talk.getresponse()
    body = answer.read()
    talk.close()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, body


def test_the_page_and_all_that_it_names_is_served(port: int) -> None:
    status, headers, body = get(port)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    wanted = re.findall(rb'(?:src|href)="([^":]+)"', body)
    for name in ("page.js", "session.js", "terminal.js"):
        _, _, script = get(port, f"/{name}")
        wanted += re.findall(rb'(?:from |import\()"\./([^"]+)"', script)
    assert len(wanted) >= 8
    for path in {word.decode() for word in wanted}:
        status, headers, plain = get(port, f"/{path}")
        assert status == 200, path
        assert headers["x-content-type-options"] == "nosniff"
        _, packed, body = get(port, f"/{path}", Accept_Encoding="gzip")
        assert (packed["content-encoding"], gzip.decompress(body)) == ("gzip", plain)


def test_the_page_may_do_nothing_but_be_itself(port: int) -> None:
    _, headers, body = get(port)
    policy = dict(
        part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert (headers["x-frame-options"], headers["referrer-policy"]) == ("DENY", "no-referrer")
    nonce = re.search(rb'name="nonce" content="([\w-]{20,})"', body)
    assert nonce is not None
    assert f"'nonce-{nonce[1].decode()}'" in policy["style-src-elem"]
    assert nonce[1] not in get(port)[2]  # another one each time
    assert b"<script>" not in body
    assert b"style=" not in body


@pytest.mark.parametrize(
    "path",
    ["/../pages.py", "/vendor/../../main.py", "/%2e%2e/pages.py", "//etc/passwd", "/static/page.js",
     "/vendor/", "/vendor/LICENSE.xterm", "/page.js/", "/index.html", "/.", "/ws/x", "/\x7f"],
)  # fmt: skip
def test_there_is_nothing_else(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        said = b""
        while piece := raw.recv(65536):
            said += piece
    assert re.match(rb"HTTP/1.1 (404|400) ", said), said[:200]
    assert b"import" not in said


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("127.0.0.1:1234", 200), ("localhost:80", 200), ("[::1]:80", 200),
     ("GATE.example", 200), ("gate.example:443", 200), ("10.1.2.3:80", 200),
     ("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421),
     ("gate.example.evil:80", 421), ("", 421), ("127.0.0.1@evil", 421)],
)  # fmt: skip
def test_it_answers_only_to_its_names(port: int, host: str, status: int) -> None:
    assert get(port, Host=host)[0] == status


def dialled(port: int, **more: object):
    return connect(f"ws://127.0.0.1:{port}/ws", **{"origin": f"http://127.0.0.1:{port}", **more})


@pytest.mark.parametrize(
    "origin", [None, "http://evil.example", "null", "http://localhost", "http://127.0.0.1:1"]
)
def test_a_page_from_elsewhere_gets_no_conversation(port: int, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as refused, dialled(port, origin=origin):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    "first",
    [
        "",
        "nonsense",
        "[]",
        '{"v":2,"token":"x"}',
        "x" * 5000,
        b"\x05\x00\x00\x00\x02{}",
        "[" * 4000,
    ],
)
def test_who_does_not_say_what_visitors_say_is_sent_away(port: int, first: str | bytes) -> None:
    with dialled(port) as talk:
        talk.send(first)
        with pytest.raises(ConnectionClosed) as closed:
            talk.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_message_without_end_is_not_collected(port: int) -> None:
    with dialled(port) as talk:
        talk.send("x" * (module.MESSAGE_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            talk.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_who_says_nothing_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOKEN_S", 0.05)
    with dialled(port) as talk, pytest.raises(ConnectionClosed) as closed:
        talk.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_who_crowd_at_the_door_are_told_so(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNKNOWN", 0)
    with pytest.raises(InvalidStatus) as refused, dialled(port):
        pass
    assert refused.value.response.status_code == 503


@pytest.mark.parametrize(
    ("first", "t", "code"),
    [
        ({"v": 1, "token": ""}, "over", "link"),
        ({"v": 1, "token": "é" * 20}, "over", "link"),
        ({"v": 1, "token": ["x"]}, "over", "link"),
        ({"v": 1, "token": "0" * 64}, "again", ""),  # the relay is away: it passes
        ({"v": 1, "resume": "0" * 64}, "unknown", ""),
        ({"v": 1, "resume": "no hex"}, "unknown", ""),
        ({"v": 1, "resume": {"a": 1}}, "unknown", ""),
        ({"v": 1, "again": "0" * 64, "token": "x"}, "over", "link"),
    ],
)
def test_who_has_no_share_is_told_what_to_do(
    port: int, monkeypatch: pytest.MonkeyPatch, first: dict[str, object], t: str, code: str
) -> None:
    monkeypatch.setattr(module, "WRONG_S", 0.0)
    with dialled(port) as talk:
        talk.send(json.dumps(first))
        said = json.loads(talk.recv(timeout=20))
    assert (said["t"], said["code"]) == (t, code)


def test_files_are_found_at_the_start_and_are_all_that_a_page_needs() -> None:
    found = pages.load()
    assert {"/", "/page.js", "/wire.js", "/style.css", "/vendor/xterm.mjs"} <= set(found)
    assert not [path for path in found if "LICENSE" in path or path.endswith(".md")]
