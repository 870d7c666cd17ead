"""The user's end of port forwarding: listeners here, requests to a *forward* service there, over a
conversation of its own (gshell/net/FORWARD.md).

Knows nothing of the session beside it: who owns it closes it. A broken link is resumed as any
session's; a listener that cannot be is an error of its own.
"""

from __future__ import annotations

import os
import socket

from gshell.client.conversation import Conversation, Dialler
from gshell.client.forwardspec import Display, Forward, Tcp, Unix
from gshell.errors import BrokerError, GshellError, RemoteProtocolError
from gshell.model.sanitize import sanitize
from gshell.net import mux
from gshell.net.channels import Channel, Channels, accept_all, listen, listen_unix
from gshell.net.loop import IN
from gshell.net.socks import BadSocks, Socks
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, MAX_PIPE_WINDOW, PIPE_WINDOW, stdin_of
from gshell.wire.streams import SendBuffer

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

STDIN, STDOUT, STDERR = stdin_of(0), stdin_of(0) + 1, stdin_of(0) + 2
AGAIN_S = 0.2
START_S = 5.0  # until the relay knows of a step that has just begun


class Forwards:
    """Invariant: after ``close`` no listener and no connection of ours is left."""

    def __init__(
        self,
        dialler: Dialler,
        forwards: list[Forward],
        where: dict[str, str],
        say: Callable[[str], None],
        on_end: Callable[[GshellError | None], None],
        display: Display | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        """``where``: ``beside`` or ``agent``. ``say``: a line for the person. ``on_end``: the
        service there has ended, or cannot be had. ``show``: a line that was asked for."""
        self._loop = dialler.loop
        self._dialler = dialler
        self._say = say
        self._on_end = on_end
        self._show = show or say
        self._display = display
        self._cookie = os.urandom(16)  # of the display there
        self._began_at = self._loop.clock()
        self._forwards = forwards
        self._listeners: list[socket.socket] = []
        self._unlink: list[str] = []
        self._targets: dict[int, Forward] = {}  # listeners there, by their numbers
        self._input = SendBuffer()
        self._pumping = False
        self._over = False
        self._where = where
        self.fresh = False
        """The step has only just begun."""
        self.listening = 0
        """How many forwardings work."""
        self._unanswered = 0
        request = {"op": "open", "tasks": 1, "index": 0, "size": 1, "service": "forward", **where}
        self.talk = Conversation(dialler, self, request, {})
        self.talk.trusts = "*" if where.get("pool") else self.talk.trusts
        peer = self.talk.peer
        peer.add_send(STDIN, self._input, INPUT_WINDOW)
        peer.add_recv(STDOUT, PIPE_WINDOW)
        peer.add_recv(STDERR, PIPE_WINDOW)
        peer.say(
            {"t": "open", "argv": ["forward"], "service": "forward", "name": "forward",
             "archive": False, "tasks": 1, "first": 0, "size": 1}
        )  # fmt: skip
        self._channels = Channels(self._loop, self, first=1)
        self._channels.on_open = self._opened_there
        self._channels.on_frame = self._frame

    def start(self) -> bool:
        """Listen here, ask for listeners there, dial; whether there is anything to wait for."""
        for number, forward in enumerate(self._forwards):
            if forward.kind in ("L", "D"):
                self._listen_here(forward)
            else:
                self._listen_there(number, forward)
        if self.listening or self._unanswered:
            self.talk.dial()
            self._loop.later(mux.KEEP_S, self._keep)
            return True
        return False

    def close(self) -> None:
        """End it, there too."""
        if self._over:
            return
        self._over = True
        for sock in self._listeners:
            self._loop.remove(sock.fileno())
            sock.close()
        for path in self._unlink:
            try:
                os.unlink(path)
            except OSError:
                pass
        self._channels.close()
        self._input.closed = True
        self.talk.pump()  # the end of its input goes ahead of BYE
        self.talk.close("detach")

    # -- listeners

    def _listen_here(self, forward: Forward) -> None:
        try:
            if isinstance(forward.at, Unix):
                sock = listen_unix(forward.at.path)
                self._unlink.append(forward.at.path)
                at = forward.at.path
            else:
                assert forward.at is not None
                sock = listen(forward.at.host, forward.at.port)
                at = str(Tcp(forward.at.host, sock.getsockname()[1]))
        except OSError as error:
            self._say(f"gshell: {forward}: cannot listen: {error.strerror or error}")
            return
        self.listening += 1
        self._listeners.append(sock)
        came = self._came_for_socks if forward.kind == "D" else self._came_for(forward)
        self._loop.add(sock.fileno(), IN, lambda mask: accept_all(sock, came))
        if isinstance(forward.at, Tcp) and not forward.at.port:
            self._say(f"[-{forward.kind}: listening here at {at}]")

    def _came_for(self, forward: Forward) -> Callable[[socket.socket], None]:
        to = forward.to
        if isinstance(to, Unix):
            message: dict[str, Any] = {"unix": to.path}
        else:
            assert to is not None
            message = {"host": to.host, "port": to.port}

        def told(channel: Channel, why: dict[str, Any] | None) -> None:
            if why is not None:
                self._say(f"[{forward}: {_words(why)}]")

        def came(sock: socket.socket) -> None:
            self._channels.offer(sock, message, told)

        return came

    def _listen_there(self, number: int, forward: Forward) -> None:
        self._unanswered += 1
        self._targets[number] = forward
        message: dict[str, Any]
        if forward.kind == "X":
            display = self._display
            assert display is not None
            message = {"x11": {"cookie": self._cookie.hex(), "display": display.there,
                               "authority": display.file}}  # fmt: skip
        elif isinstance(forward.at, Unix):
            message = {"unix": forward.at.path}
        else:
            assert forward.at is not None
            message = {"host": forward.at.host, "port": forward.at.port}
        self.send(mux.encode(mux.LISTEN, number, message))

    def _frame(self, frame: mux.Frame) -> None:
        forward = self._targets.get(frame.channel)
        if frame.kind != mux.LISTENING or forward is None:
            raise RemoteProtocolError("bad-mux", f"type {frame.kind}")
        message = frame.message
        self._unanswered -= 1
        if "error" in message:
            self._say(f"gshell: {forward}: cannot listen there: {sanitize(str(message['error']))}")
        else:
            self.listening += 1
            if forward.kind == "X" and self._display is not None and not self._display.file:
                display = sanitize(str(message.get("display")))
                file = sanitize(str(message.get("authority")))
                self._show(f"export DISPLAY={display} XAUTHORITY={file}")
            elif isinstance(forward.at, Tcp) and not forward.at.port:
                self._say(f"[-R: listening there at {Tcp(forward.at.host, int(message['port']))}]")
        if not self.listening and not self._unanswered:
            self._failed(GshellError("nothing is forwarded"))

    # -- connections

    def _opened_there(self, channel: Channel, message: dict[str, Any]) -> None:
        """Somebody came to a listener there; where it leads was said here."""
        number = message.get("listener")
        forward = self._targets.get(number) if isinstance(number, int) else None
        if forward is None:
            self._channels.refuse(channel, "no such listener", "")
        elif forward.kind == "X":
            self._to_display(channel)
        elif isinstance(forward.to, Unix):
            self._channels.connect_unix(channel, forward.to.path)
        else:
            assert forward.to is not None
            self._channels.connect(channel, forward.to.host, forward.to.port)

    def _to_display(self, channel: Channel) -> None:
        from gshell.net import x11

        display = self._display
        place = x11.parse_display(display.display) if display is not None else None
        if display is None or place is None:
            self._channels.refuse(channel, "no display here", "")
            return
        host, number = place
        try:
            with open(display.authority, "rb") as file:
                real = x11.cookie_for(file.read(1 << 20), socket.gethostname(), host, number)
        except OSError:
            real = b""  # a display that needs none
        channel.gate = x11.Substitution(self._cookie, real)
        if host:
            self._channels.connect(channel, host, x11.FIRST_TCP_PORT + number)
        else:
            self._channels.connect_unix(channel, f"/tmp/.X11-unix/X{number}")  # noqa: S108 - there

    def _came_for_socks(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        _Asking(self, sock)

    def socks_open(self, sock: socket.socket, socks: Socks, host: str, port: int) -> None:
        """A SOCKS client has said where to."""

        def told(channel: Channel, why: dict[str, Any] | None) -> None:
            code = str(why.get("code")) if why is not None else ""
            answer = socks.granted if why is None else socks.refused(code)
            self._channels.answer(channel, answer)

        channel = self._channels.offer(sock, {"host": host, "port": port}, told)
        if channel is not None and socks.rest:
            self._channels.send_first(channel, socks.rest)

    # -- the way

    @property
    def room(self) -> bool:
        return self._input.end - self._input.start < INPUT_WINDOW

    def send(self, data: bytes) -> None:
        if self._over:
            return
        self._input.append(data)
        if not self._pumping:
            self._pumping = True
            self._loop.soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        self.talk.pump()

    def _keep(self) -> None:
        if not self._over:
            self.send(mux.encode(mux.KEEP, 0))
            self._loop.later(mux.KEEP_S, self._keep)

    # -- the conversation

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        pass

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if self._over:
            return
        if isinstance(event, wire.StreamData):
            if event.stream == STDOUT:
                try:
                    self._channels.feed(event.data)
                except (RemoteProtocolError, ValueError, TypeError, KeyError) as error:
                    self._failed(GshellError(f"the forward service talks nonsense: {error}"))
                    return
            else:
                text = event.data.decode(errors="replace").strip()
                self._say(f"[{sanitize(text)}]")
            talk.peer.consume(event.stream, len(event.data))
        elif isinstance(event, wire.ControlReceived):
            self._control(event.message)

    def _control(self, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if kind == "exit":
            why = message.get("error")
            self._failed(GshellError(f"port forwarding ended there: {why}") if why else None)
        elif kind == "starved" and message.get("stream") == STDOUT:
            self.talk.peer.widen(STDOUT, MAX_PIPE_WINDOW)

    def on_flow(self, talk: Conversation) -> None:
        if not self._over:
            self._channels.flow()

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        pass  # the session beside it says so; what is on its way waits

    def on_queued(self, talk: Conversation) -> None:
        self._again()

    def on_refused(self, talk: Conversation, code: str) -> None:
        if code in ("again", "silent") and talk.patient:
            self._again()
        elif code == "none" and self.fresh and self._loop.clock() - self._began_at < START_S:
            self._again()  # the relay has yet to hear that the step runs
        elif code == "none":
            what = " ".join(f"{self._where.get(key, '')}" for key in ("beside", "agent")).strip()
            self._failed(
                BrokerError(f"{what}: no such job of yours runs, and no agent is called so")
            )
        elif code in ("full", "draining"):
            self._failed(BrokerError("the relay or the agent has no room for port forwarding"))
        else:
            self._failed(BrokerError(f"no port forwarding: the relay refused ({sanitize(code)})"))

    def _again(self) -> None:
        self._loop.later(AGAIN_S, self.talk.dial)

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        self._failed(error)

    def _failed(self, error: GshellError | None) -> None:
        if not self._over:
            self.close()
            self._on_end(error)


class _Asking:
    """A SOCKS client until it has said where to."""

    def __init__(self, forwards: Forwards, sock: socket.socket) -> None:
        self._forwards = forwards
        self._loop = forwards._loop
        self._sock = sock
        self._socks = Socks()
        self._loop.add(sock.fileno(), IN, self._read)
        self._deadline = self._loop.later(30.0, self._close)

    def _close(self) -> None:
        self._deadline.cancel()
        self._loop.remove(self._sock.fileno())
        self._sock.close()

    def _read(self, mask: int) -> None:
        try:
            data = self._sock.recv(1024)
            place = self._socks.feed(data) if data else None
        except BlockingIOError:
            return
        except (OSError, BadSocks) as error:
            if isinstance(error, BadSocks) and error.answer:
                try:
                    self._sock.send(error.answer)
                except OSError:
                    pass
            self._close()
            return
        if not data:
            self._close()
            return
        if self._socks.out:
            try:
                self._sock.send(self._socks.out)
            except OSError:
                pass
            self._socks.out = b""
        if place is not None:
            self._deadline.cancel()
            self._loop.remove(self._sock.fileno())
            self._forwards.socks_open(self._sock, self._socks, *place)


def _words(why: dict[str, Any]) -> str:
    return sanitize(str(why.get("why", "refused")))
