"""``i2glogin``: the user's side, and the way to the remote end where gshell is installed."""

from __future__ import annotations

import errno
import os
import socket
import sys

from gshell import sitepath
from gshell.agent import glogin
from gshell.agent.glogin import NO_KEY, read_key
from gshell.agent.gloginwords import USAGE, Place, Words, parse
from gshell.client.asking import Asking
from gshell.client.direct import drive
from gshell.client.escape import escape_char
from gshell.client.plan import Plan
from gshell.client.run import Runner
from gshell.errors import GshellError, UsageError
from gshell.glogin.line import Line, NoRelay
from gshell.glogin.listener import Listener
from gshell.glogin.secret import burn, secret_for
from gshell.net import address
from gshell.net.handshake import key_of
from gshell.net.loop import Loop
from gshell.net.tls import lone_server_context
from gshell.wire import peer as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gshell.net.link import Link

CLOSED = "Connection closed by foreign host"  # as the tutorial prints it
OF_THE_TERMINAL = ("TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ", "NO_COLOR", "FORCE_COLOR")


def main(argv: list[str], descriptors: tuple[int, int, int]) -> int:
    """Wait for a job, or with -r be one; the exit status.

    Raises:
        GshellError: it could not even begin.
    """
    words = parse(argv)
    if words.help:
        sys.stdout.write(USAGE)
        return 0
    if words.remote:
        return glogin.call(words)
    return wait(words, descriptors)


def wait(words: Words, descriptors: tuple[int, int, int]) -> int:
    """Listen, and be the terminal of the job that calls."""
    sock, place = listen(words.place, _noter(words))
    return serve(words, place, sock, descriptors)


def serve(
    words: Words,
    place: Place,
    sock: socket.socket,
    descriptors: tuple[int, int, int],
    look: Callable[[], None] = lambda: None,
) -> int:
    """The same, with the socket that listens there. ``look`` is called each second until somebody
    has called; what it raises ends the wait.
    """
    loop = Loop()
    key, used = _key(words, place)
    sitepath.enable()
    from gshell.glogin import certificate

    cert, private, digest = certificate.make()
    line = Line(NoRelay(loop), _Nobody(), words.wait_s)

    def call(link: Link) -> None:
        if used:
            burn(used)
        line.called(link)

    context = lone_server_context(cert, private)
    listener = Listener(loop, sock, context, digest, key, call, _noter(words))
    try:
        while not listener.caller:
            loop.once(1.0)
            look()
        pty = all(fd >= 0 and os.isatty(fd) for fd in descriptors[:2])
        plan = _plan(pty, words.quiet)
        return drive(
            loop,
            plan,
            descriptors,
            lambda port, done: Session(line, plan, descriptors, port, done),
        )
    finally:
        listener.close()


def _noter(words: Words) -> Callable[[str], None]:
    def note(text: str) -> None:
        if not words.quiet:
            sys.stderr.write(f"i2glogin: {text}\n")
            sys.stderr.flush()

    return note


class _Nobody:
    """Whose a line is before anybody has called."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def _key(words: Words, place: Place) -> tuple[bytes, str]:
    """The key, and the file to delete once it was used."""
    if words.insecure:
        sys.stderr.write("i2glogin: --insecure: whoever calls first gets this terminal\n")
        return NO_KEY, ""
    if words.secret_file:
        return read_key(words.secret_file), ""
    path, content = secret_for(place)
    return key_of(content), "" if words.keep else path


def listen(place: Place, note: Callable[[str], None]) -> tuple[socket.socket, Place]:
    """A listening socket, and what to call it.

    Raises:
        UsageError: nobody can listen there.
    """
    try:
        sock = _listen_at(place.host, place.port)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise UsageError(
                f"i2glogin: cannot listen on {place}: {error.strerror or error}",
                hint=f"i2glogin -p 0:{place.host or 'IP'}    takes a free port",
            ) from None
        note(f"{place.host} is no address of this machine: listening on all of them")
        try:
            sock = _listen_at("", place.port)
        except OSError as second:
            raise UsageError(
                f"i2glogin: cannot listen on port {place.port}: {second.strerror}"
            ) from None
    port = sock.getsockname()[1]
    if place.port != port or not place.host:
        place = Place(place.host or own_address(), port)
        note(f"waiting at {place}")
    return sock, place


def _listen_at(host: str, port: int) -> socket.socket:
    if host:
        return address.listen(Place(host, port).address, 16)
    try:
        return address.listen(f"[::]:{port}", 16)  # IPv4 too, as Linux is set up
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return address.listen(f"0.0.0.0:{port}", 16)


def own_address() -> str:
    """The address of ours from which others are reached; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
            return str(sock.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _plan(pty: bool, quiet: bool) -> Plan:
    env = {
        name: value
        for name, value in os.environ.items()
        if name in OF_THE_TERMINAL or name.startswith("LC_")
    }
    spec = {"argv": ["sh"], "env": env, "name": "i2glogin"}
    return Plan(verb="run", spec=spec, pty=pty, escape=escape_char("~"), quiet=quiet)


class NoAsking(Asking):
    """There is no relay here."""

    def _with_relay(self) -> Any:
        raise GshellError("there is no relay here")


class Session(Runner):
    """A Runner on a line: there is no job to come back to, and the end has the tutorial's words."""

    asks = NoAsking

    def __init__(
        self,
        line: Line,
        plan: Plan,
        descriptors: tuple[int, int, int],
        port: Any,
        on_done: Callable[[int], None],
    ) -> None:
        self._ended_with = b"\n"
        self._mute = plan.quiet
        super().__init__(NoRelay(line.loop), plan, descriptors, port, on_done, line)

    def on_event(self, talk: Any, event: wire.Event) -> None:
        if isinstance(event, wire.StreamData):
            self._ended_with = event.data[-1:] or self._ended_with
        super().on_event(talk, event)

    def _end(self, code: int) -> None:
        self.screen.leave()
        self.screen.was_raw = False  # the terminal is this very process's: it is as it was
        if self._ended_with != b"\n" and self.screen.err_is_tty and self.screen.out_is_tty:
            self.screen.out.write(b"\n", None, 0, 0)
            self.screen.out.sink.flush_blocking(2.0)
        if not self._mute:
            self.screen.say(CLOSED)
        self._finish(code)

    def detach(self) -> None:
        """Leaving hangs up: nobody can come back to what runs there."""
        for seat in self.seats:
            seat.talk.close("detach")
        self.screen.leave()
        self.screen.say("[left; the command is hung up]")
        self._finish(0)
