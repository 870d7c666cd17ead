"""i2glogin's two ends in one process, over loopback: who is let in, and what a break costs."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gshell.agent.glogin import FarEnd
from gshell.agent.gloginwords import Place, Words
from gshell.glogin import certificate, listener
from gshell.glogin.line import Line, NoRelay
from gshell.glogin.listener import Listener
from gshell.glogin.secret import burn, secret_for
from gshell.net import address, handshake
from gshell.net.link import Link
from gshell.net.loop import Loop
from gshell.net.tls import lone_server_context
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, PIPE_WINDOW
from gshell.wire.streams import SendBuffer

PATIENCE_S = 30.0
KEY, OTHER = (
    handshake.key_of(b"a secret of many letters"),
    handshake.key_of(b"another one of these"),
)


@pytest.fixture(scope="module")
def cert() -> tuple[str, str, bytes]:
    return certificate.make()


class User:
    """The user's side: a listener, a line, and what came over it."""

    def __init__(
        self,
        loop: Loop,
        cert: tuple[str, str, bytes],
        key: bytes = KEY,
        sock: socket.socket | None = None,
    ) -> None:
        self.loop = loop
        self.out = b""
        self.exit: dict[str, Any] | None = None
        self.failed: Exception | None = None
        self.notes: list[str] = []
        self.breaks = 0
        sock = sock or address.listen("127.0.0.1:0")
        self.place = Place("127.0.0.1", sock.getsockname()[1])
        self.line = Line(NoRelay(loop), self, 5.0)
        context = lone_server_context(*cert[:2])
        self.listener = Listener(loop, sock, context, cert[2], key, self.called, self.notes.append)
        self.input = SendBuffer()

    def called(self, link: Link) -> None:
        first = not self.line._wanted
        self.line.called(link)
        if first:
            peer = self.line.peer
            peer.add_send(2, self.input, INPUT_WINDOW)
            peer.add_recv(3, PIPE_WINDOW)
            peer.add_recv(4, PIPE_WINDOW)
            peer.say({"t": "open", "argv": ["sh"], "env": {"TERM": "vt100"}})
            self.line.dial()

    def on_greeted(self, talk: Line, welcome: dict[str, Any]) -> None: ...
    def on_flow(self, talk: Line) -> None: ...

    def on_lost(self, talk: Line, error: Exception) -> None:
        self.breaks += 1

    def on_failed(self, talk: Line, error: Exception) -> None:
        self.failed = error

    def on_event(self, talk: Line, event: wire.Event) -> None:
        if isinstance(event, wire.StreamData):
            self.out += event.data
            talk.peer.consume(event.stream, len(event.data))
        elif isinstance(event, wire.ControlReceived) and event.message.get("t") == "exit":
            self.exit = event.message
            talk.close("done")

    def type(self, data: bytes) -> None:
        self.input.append(data)
        self.line.pump()

    def close(self) -> None:
        self.line.close("detach")
        self.listener.close()


class Stage:
    """A loop, and all that was put on it."""

    def __init__(self, cert: tuple[str, str, bytes]) -> None:
        self.loop = Loop()
        self.cert = cert
        self.user = User(self.loop, cert)
        self.far: FarEnd | None = None

    def call(self, *command: str, key: bytes = KEY, wait_s: float = 5.0, **more: Any) -> FarEnd:
        words = Words(self.user.place, remote=True, command=command, wait_s=wait_s, **more)
        far = self.far = FarEnd(self.loop, words, key, {})
        far.start()
        return far

    def until(self, done: Callable[[], object]) -> None:
        assert self.loop.run_until(lambda: bool(done()), PATIENCE_S), (
            self.user.out,
            self.user.failed,
        )

    def close(self) -> None:
        self.user.close()
        if self.far is not None and self.far.session.state == "running":
            self.far.session.signal_all(9)
            self.until(lambda: self.far is not None and self.far.session.state == "ended")
        if self.far is not None:
            self.far.close()
        self.loop.close()


@pytest.fixture
def stage(cert: tuple[str, str, bytes]) -> Iterator[Stage]:
    made = Stage(cert)
    yield made
    made.close()


def test_output_input_and_the_exit_status_go_through(stage):
    far = stage.call("sh", "-c", "read a; echo got $a; exit 7")
    stage.until(lambda: stage.user.line.up)
    stage.user.type(b"this\n")
    stage.until(lambda: far.status is not None)
    assert stage.user.out == b"got this\n"
    assert (stage.user.exit["code"], far.status) == (7, 7)


def test_t_makes_a_terminal_where_the_user_has_none(stage):
    stage.call("sh", "-c", "test -t 0 && test -t 1 && echo line", tty=True)
    stage.until(lambda: stage.user.exit)
    assert stage.user.out == b"line\r\n"


def test_a_program_that_cannot_be_started_says_why(stage):
    far = stage.call("/no/such/program")
    stage.until(lambda: far.status is not None)
    assert far.status == 127
    assert "/no/such/program" in stage.user.exit["error"]


def test_a_broken_connection_is_another_call_and_nothing_is_lost(stage):
    count = "import sys\nfor n in range(60000): print(n)\nsys.stdin.readline(); sys.exit(5)"
    far = stage.call(sys.executable, "-I", "-S", "-c", count)
    for at in (20_000, 120_000, 220_000):
        stage.until(lambda at=at: len(stage.user.out) > at)
        stage.user.line._link.sock.shutdown(socket.SHUT_RDWR)  # the cable
        before = stage.user.breaks
        stage.until(lambda before=before: stage.user.breaks > before)
        stage.until(lambda: stage.user.line.up)
    stage.user.type(b"end\n")
    stage.until(lambda: far.status is not None)
    assert stage.user.out == b"".join(b"%d\n" % n for n in range(60000))
    assert far.status == 5


def test_a_user_who_is_late_is_called_until_he_is_there(stage):
    place = stage.user.place
    stage.user.close()
    far = stage.call("true")
    stage.loop.run_until(lambda: far._attempts >= 2, PATIENCE_S)
    sock = address.listen(place.address)
    stage.user = User(stage.loop, stage.cert, sock=sock)
    stage.until(lambda: far.status == 0)


def test_nobody_there_is_said_after_a_while(stage):
    stage.user.close()
    far = stage.call("true", wait_s=0.3)
    stage.until(lambda: far.status is not None)
    assert far.status == 125
    assert str(stage.user.place) in far.error.message
    stage.user = User(stage.loop, stage.cert)


def test_the_user_hangs_up_and_so_does_the_command(stage):
    far = stage.call("sh", "-c", "echo here; exec sleep 100")
    stage.until(lambda: stage.user.out)
    stage.user.line.close("detach")
    stage.until(lambda: far.status is not None)
    assert far.status == 143


def test_a_user_who_never_comes_back_costs_the_job_no_more_than_its_patience(stage):
    far = stage.call("sh", "-c", "echo here; exec sleep 100", wait_s=0.5)
    stage.until(lambda: stage.user.out)
    stage.user.listener.close()
    stage.user.line._drop()
    stage.until(lambda: far.status is not None)
    assert far.status == 255
    stage.user = User(stage.loop, stage.cert)


# ------------------------------------------------------------------------------------- strangers


def test_another_secret_gets_nothing_and_gives_up(stage, monkeypatch):
    monkeypatch.setattr(listener, "PENALTY_S", 0.01)
    far = stage.call("touch", "/tmp/never", key=OTHER)
    stage.until(lambda: far.status is not None)
    assert far.status == 125
    assert "secret" in far.error.message
    assert far.session.state == "new"
    assert not stage.user.listener.caller
    assert len(stage.user.notes) == 1  # said once, however often they come


def test_a_listener_with_another_secret_gets_no_session(stage, monkeypatch):
    monkeypatch.setattr(listener, "PENALTY_S", 0.01)
    stage.user.close()
    stage.user = User(stage.loop, stage.cert, OTHER)
    far = stage.call("true")
    stage.until(lambda: far.status is not None)
    assert far.session.state == "new"


def test_the_job_gets_in_though_strangers_sit_in_the_queue(stage, monkeypatch):
    strangers = [socket.create_connection(tuple(stage.user.place)) for _ in range(40)]
    for number, sock in enumerate(strangers):
        sock.send([b"", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01", b"\0" * 3000][number % 4])
    stage.loop.once(0.05)
    far = stage.call("echo", "through")
    stage.until(lambda: far.status == 0)
    assert stage.user.out == b"through\n"
    assert len(stage.user.listener._strangers) <= listener.STRANGERS
    for sock in strangers:
        sock.close()


def test_who_says_nothing_is_sent_away(stage, monkeypatch):
    monkeypatch.setattr(listener, "PATIENCE_S", 0.1)
    with socket.create_connection(tuple(stage.user.place)) as sock:
        stage.until(lambda: len(stage.user.listener._strangers) == 1)
        stage.until(lambda: not stage.user.listener._strangers)
        assert sock.recv(10) == b""


def test_a_wrong_secret_closes_the_door_for_a_while(stage, monkeypatch):
    monkeypatch.setattr(listener, "PENALTY_S", 60.0)
    far = stage.call("true", key=OTHER)
    stage.until(lambda: stage.user.notes)
    with socket.create_connection(tuple(stage.user.place)) as sock:
        sock.settimeout(PATIENCE_S)
        stage.loop.run_until(lambda: False, 0.1)
        assert sock.recv(10) == b""  # closed without a word: not even a handshake
    far.finish(0)


def test_one_session_only(stage):
    far = stage.call("sh", "-c", "echo first; read x")
    stage.until(lambda: stage.user.out)
    second = FarEnd(stage.loop, far._words._replace(command=("true",)), KEY, {})
    second.start()
    stage.until(lambda: second.status is not None)
    assert second.status == 125
    assert "another job" in second.error.message
    second.close()
    stage.user.type(b"\n")
    stage.until(lambda: far.status == 0)


def test_what_a_caller_said_once_opens_nothing_again(stage):
    """Somebody in the middle, who has seen all that was said inside TLS (a leak of one end)."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    calls = []

    def play(said: bytes | None) -> tuple[bytes, bytes]:
        sock = socket.create_connection(tuple(stage.user.place))
        sock.setblocking(False)
        tls = context.wrap_socket(sock, do_handshake_on_connect=False)

        def step(call: Callable[[], Any]) -> Any:
            end = stage.loop.clock() + PATIENCE_S
            while stage.loop.clock() < end:
                try:
                    return call()
                except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    stage.loop.once(0.01)
            raise AssertionError

        step(tls.do_handshake)
        magic = step(lambda: tls.recv(100))
        caller = handshake.Caller(KEY, stage.cert[2], b"i" * 16, b"n" * 32)
        if said is None:
            caller.feed(magic)
            said = caller.out
        tls.send(said)
        calls.append(tls)
        return said, step(lambda: tls.recv(100))

    said, answer = play(None)
    assert answer[:1] == b"\1"
    _, answer = play(said)
    assert answer == b"\0w"
    for tls in calls:
        tls.close()


# ---------------------------------------------------------------------------------------- secrets


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GSHELL_HOME", str(tmp_path))
    return tmp_path


def test_whoever_comes_first_makes_the_secret_and_the_other_finds_it(home):
    path, secret = secret_for("24599:127.0.0.1")
    assert secret_for("127.0.0.1:24599") == (path, secret)
    assert len(secret.strip()) == 64
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert secret_for("24600:127.0.0.1")[1] != secret
    assert not [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".new")]


def test_a_used_secret_is_gone_and_the_next_is_another(home):
    path, secret = secret_for("1:host")
    burn(path)
    burn(path)
    assert secret_for("1:host")[1] != secret
