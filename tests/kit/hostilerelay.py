"""A relay, and an agent behind it, that say what a test tells them to. Speaks TLS with real keys.

One thread per connection, blocking. What each side says is a function of what it was asked, so
nothing that a real one would refuse to say is left out.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gshell.errors import GshellError
from gshell.model.ticket import Ticket
from gshell.net import control, rendezvous
from gshell.net.tls import Tls, server_context
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, INTERACTIVE_WINDOW, stdin_of
from gshell.wire.streams import SendBuffer
from relay import auth

Message = dict[str, Any]
USER = "tester"
AGENT = "evil"


class HostileRelay:
    """Listens on loopback from the beginning. ``answer`` gets each request and gives what is said;
    ``meet`` gets each data connection's preamble: bytes to say in clear and close, or None to be
    an agent, whose conversation ``serve`` leads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        state = str(folder)
        auth.ensure(state)
        self.answer: Callable[[Message], list[Message]] = lambda message: []
        self.meet: Callable[[Message], bytes | None] = lambda body: None
        self.serve: Callable[[Agent], None] = lambda agent: None
        self.line: Line | None = None
        """The newest control connection."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._context = auth.server_context(state)
        secret = auth.mac_secret(state)

        def ticket(kind: str, agent_id: str) -> Ticket:
            uri = f"gshell:agent:{USER}:{agent_id}" if agent_id else f"gshell:user:{USER}"
            made = auth.issue(state, uri, agent=kind == "agent")
            key = rendezvous.client_key(secret, made.serial).hex()
            return Ticket(kind, USER, agent_id, [self.address], auth.pin(state),
                          auth.ca_text(state), made.cert, made.key, made.serial, key)  # fmt: skip

        self.ticket = ticket("client", "")
        self._agent = server_context(ticket("agent", AGENT))
        self._open: set[socket.socket] = set()
        self._peers: dict[str, wire.Peer] = {}  # by attachment: a resume goes on with it
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def install(self, home: Path) -> None:
        """From now on clients with this GSHELL_HOME are ours."""
        config = home / "config"
        config.mkdir(parents=True, exist_ok=True)
        for path in (home, config):
            path.chmod(0o700)
        path = config / "client.ticket"
        path.write_text(self.ticket.dump())
        path.chmod(0o600)

    def close(self) -> None:
        self._closed = True
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> HostileRelay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(sock)
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        try:
            with sock:
                if sock.recv(1, socket.MSG_PEEK) == b"G":
                    self._data(sock)
                else:
                    self._control(sock)
        except (OSError, GshellError, StopIteration):
            pass  # the client left, or did not like what it was told
        finally:
            self._open.discard(sock)

    def _control(self, sock: socket.socket) -> None:
        self.line = line = Line(sock, Tls(self._context, server_side=True))
        decoder = control.ControlDecoder(1 << 20)
        for data in line.chunks():
            for message in decoder.feed(data):
                for said in self.answer(message):
                    line.send(control.encode(said))

    def _data(self, sock: socket.socket) -> None:
        got = b""
        preamble = None
        while preamble is None:
            data = sock.recv(1 << 16)
            if not data:
                return
            got += data
            preamble = rendezvous.parse(got)
        refused = self.meet(preamble.body)
        if refused is not None:
            sock.sendall(refused)
            return
        line = Line(sock, Tls(self._agent, server_side=True))
        line.first(preamble.hello + got[preamble.size :])
        att = str(preamble.body.get("att"))
        known = self._peers.get(att) if preamble.body.get("op") == "resume" else None
        agent = Agent(line, preamble.body, known)
        self._peers[att] = agent.peer
        self.serve(agent)


class Line:
    """TLS over a blocking socket."""

    def __init__(self, sock: socket.socket, tls: Tls) -> None:
        self.sock = sock
        self._tls = tls
        self._early: list[bytes] = []

    def first(self, data: bytes) -> None:
        self._early = self._tls.feed(data)
        self.sock.sendall(self._tls.outgoing())

    def chunks(self) -> Iterator[bytes]:
        yield from self._early
        while data := self.sock.recv(1 << 16):
            chunks = self._tls.feed(data)
            answer = self._tls.outgoing()
            if answer:
                self.sock.sendall(answer)
            yield from chunks

    def send(self, data: bytes) -> None:
        self.sock.sendall(self._tls.write(data))


class Agent:
    """One conversation's other end; greets as it is told, says what it is told, hears the rest."""

    def __init__(self, line: Line, body: Message, known: wire.Peer | None = None) -> None:
        self.body = body
        self.line = line
        self.peer = known or wire.Peer(client=False)
        self._known = known is not None
        if known is not None:
            known.link_lost()
        self.heard: list[wire.Event] = []
        self._events = self._read()

    def _read(self) -> Iterator[wire.Event]:
        for data in self.line.chunks():
            yield from self.peer.receive(data)
            self.flush()

    def greet(self, welcome: Message, output: bytes = b"", stream: int = 3) -> None:
        """Wait for the HELLO; answer. ``output``: what a terminal printed, all of it in the present."""
        hello = next(event for event in self._events if isinstance(event, wire.Greeted))
        if not self._known:
            source = SendBuffer()
            source.append(output)
            self.peer.add_send(stream, source, INTERACTIVE_WINDOW)
            self.peer.add_recv(stdin_of(0), INPUT_WINDOW)
        self.peer.link_up(welcome)
        self.heard += self.peer.adopt(hello.message)
        self.flush()

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.peer.say(message)
        self.flush()

    def bye(self, code: str, reason: str) -> None:
        self.peer.bye(code, reason)
        self.flush()

    def flush(self) -> None:
        while out := self.peer.pull(1 << 18):
            self.line.send(b"".join(out))

    def listen(self) -> None:
        """Until the client has left."""
        for event in self._events:
            self.heard.append(event)
            if isinstance(event, wire.StreamData):
                self.peer.consume(event.stream, len(event.data))
            if isinstance(event, wire.Ended):
                return
