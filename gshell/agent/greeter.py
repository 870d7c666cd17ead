"""A data link that was joined, until its client has said which attachment it is for.

Knows neither sessions nor rights: those are its host's.
"""

from __future__ import annotations

from typing import Any, Protocol

from gshell.errors import GshellError, RemoteProtocolError
from gshell.net.link import Link
from gshell.net.loop import Loop, Timer
from gshell.net.rendezvous import public_id
from gshell.wire import peer as wire

EXPECT_WAIT_S = 2.0  # a client may be joined before the broker's word about it arrives


class Host(Protocol):
    """Whom a greeter asks: an agent, or the relay's archive."""

    loop: Loop

    def welcome(
        self, greeter: Greeter, att: str, hello: dict[str, Any], probe: wire.Peer
    ) -> None: ...

    def expect_later(self, att: str, greeter: Greeter) -> None: ...

    def expect_no_more(self, att: str, greeter: Greeter) -> None: ...


class Greeter:
    """Invariant: its host hears of the attachment once a greeting is whole, and again when the
    relay's word about it has come."""

    def __init__(self, host: Host, user: str) -> None:
        self._host = host
        self.user = user
        self.link: Link | None = None
        self._probe = wire.Peer(client=False)
        self._hello: dict[str, Any] | None = None
        self._att = ""
        self._timer: Timer | None = None

    def link_ready(self, link: Link) -> None:
        self.link = link
        if not self.user:
            raise RemoteProtocolError("denied", "no user's certificate")

    def link_data(self, link: Link, chunks: list[bytes]) -> None:
        for chunk in chunks:
            for event in self._probe.receive(chunk):
                if isinstance(event, wire.Greeted):
                    self._hello = event.message
                else:
                    raise RemoteProtocolError("unexpected-frame", "before HELLO")
        if self._hello is None:
            out = self._probe.pull(1 << 16)  # an answer to a PING
            if out:
                link.send(b"".join(out))
        elif not self._att:
            try:
                secret = bytes.fromhex(str(self._hello.get("secret")))
            except ValueError:
                raise RemoteProtocolError("bad-greeting", "secret") from None
            if len(secret) != 32:
                raise RemoteProtocolError("bad-greeting", "secret")
            self._att = public_id(secret)
            self._host.welcome(self, self._att, self._hello, self._probe)

    def wait_for(self, att: str) -> None:
        """The relay's announcement is still on its way."""
        assert self.link is not None
        self.link.pause(True)
        self._host.expect_later(att, self)
        self._timer = self._host.loop.later(EXPECT_WAIT_S, self.give_up)

    def go_on(self) -> None:
        assert self._hello is not None
        assert self.link is not None
        if self._timer is not None:
            self._timer.cancel()
        self.link.pause(False)
        try:
            self._host.welcome(self, self._att, self._hello, self._probe)
        except RemoteProtocolError as error:
            self.refuse("denied", error.message)

    def give_up(self) -> None:
        self._host.expect_no_more(self._att, self)
        if self._timer is not None:
            self._timer.cancel()
        self.refuse("again", "nobody announced this attachment")

    def refuse(self, code: str, reason: str) -> None:
        link = self.link
        if link is not None and not link.closed:
            self._probe.bye(code, reason)
            link.send(b"".join(self._probe.pull(1 << 16)))
            link.close()

    def link_room(self, link: Link) -> None:
        pass

    def link_closed(self, link: Link, error: GshellError) -> None:
        self._host.expect_no_more(self._att, self)
        if self._timer is not None:
            self._timer.cancel()
