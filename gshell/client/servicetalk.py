"""One conversation with a program of an agent's own: bytes to its stdin, bytes of its stdout, and
how it ended. Knows not what they mean.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from gshell.client.conversation import Conversation, Dialler
from gshell.errors import AuthError, BrokerError, GshellError, LinkLost
from gshell.model.sanitize import sanitize
from gshell.wire import peer as wire
from gshell.wire.constants import (
    INPUT_WINDOW,
    MAX_PIPE_WINDOW,
    PIPE_WINDOW,
    stderr_of,
    stdin_of,
    stdout_of,
)
from gshell.wire.streams import SendBuffer

if TYPE_CHECKING:
    from gshell.net.loop import Timer

AGAIN_S = 0.3  # between two tries to be let in
PATIENCE_S = 3600.0  # a link that does not come back
SAID_BYTES = 4096  # of its stderr: the last words count
STDIN, STDOUT, STDERR = stdin_of(0), stdout_of(0), stderr_of(0)


class User(Protocol):
    """Who talks with it."""

    def on_bytes(self, data: bytes) -> None:
        """Of its stdout; they count as taken when this returns."""

    def on_room(self) -> None:
        """More may be sent, perhaps."""

    def on_over(self, error: GshellError | None) -> None:
        """It has ended; None: with status 0 and all that it said was handed over."""


class ServiceTalk:
    """A `Talker`. Invariant: ``on_over`` is called once, and nothing after it; not at all after
    `close`."""

    def __init__(
        self,
        dialler: Dialler,
        user: User,
        request: dict[str, Any],
        words: list[str],
        agents_of: str = "",
        patience_s: float = PATIENCE_S,
    ) -> None:
        """``request``: of the preamble; ``words``: its arguments."""
        self._dialler = dialler
        self._user = user
        self._patience_s = patience_s
        self._patience: Timer | None = None
        self._input = SendBuffer()
        self._said = b""
        self._exit: dict[str, Any] | None = None
        self._relay: Any = None
        self.over = False
        self.lost: GshellError | None = None
        """Why there is no link now, if there is none."""
        self._request = {"op": "open", "tasks": 1, "index": 0, "size": 1, **request}
        self._words = words
        self._agents_of = agents_of
        self.talk = self._conversation()

    def _conversation(self) -> Conversation:
        talk = Conversation(self._dialler, self, self._request, {}, self._agents_of)
        talk.peer.add_send(STDIN, self._input, INPUT_WINDOW)
        talk.peer.add_recv(STDOUT, PIPE_WINDOW)
        talk.peer.add_recv(STDERR, PIPE_WINDOW)
        service = str(self._request["service"])
        umask = os.umask(0o077)
        os.umask(umask)
        talk.peer.say({"t": "open", "argv": [service, *self._words], "name": service, "tasks": 1,
                       "umask": umask, "archive": False})  # fmt: skip
        return talk

    def start(self) -> None:
        self._lost(LinkLost("the agent does not answer"))  # until it does
        self.talk.dial()

    def close(self) -> None:
        """Leave it: it ends, too."""
        self._close("done")

    def _close(self, code: str) -> None:
        self.over = True
        if self._patience is not None:
            self._patience.cancel()
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        if not self.talk.over:
            self.talk.close(code)

    # -- sending

    @property
    def room(self) -> bool:
        return not self.over and self._input.end - self._input.start < INPUT_WINDOW

    def send(self, data: bytes) -> None:
        """To its stdin; `flush` when that is all for now."""
        self._input.append(data)

    def flush(self) -> None:
        self.talk.pump()

    def end(self) -> None:
        """No more: its stdin ends, and then it does."""
        if not self._input.closed:
            self._input.closed = True
            self.talk.pump()

    # -- the conversation

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        self.lost = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if self.over:
            return
        if isinstance(event, wire.StreamData):
            if event.stream == STDOUT:
                self._user.on_bytes(event.data)
            else:
                self._said = (self._said + event.data)[-SAID_BYTES:]
            if not self.over:
                talk.peer.consume(event.stream, len(event.data))
        elif isinstance(event, wire.ControlReceived):
            self._control(talk, event.message)
        elif isinstance(event, wire.StreamGap):
            self._fail(LinkLost("a part of what the agent sent is lost", transient=False))
        self._check()

    def _control(self, talk: Conversation, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if kind == "exit":
            self._exit = message
            for key, end in message.get("final", {}).items():
                if int(key) not in (STDOUT, STDERR) or not isinstance(end, int):
                    raise ValueError(key)
        elif kind == "starved":
            receiving = talk.peer.receiving(int(message.get("stream", -1)))
            if receiving is not None and receiving.consumed == receiving.have:
                talk.peer.widen(int(message["stream"]), MAX_PIPE_WINDOW)

    def _check(self) -> None:
        """Has it ended, and is all here?"""
        if self.over or self._exit is None:
            return
        for key, end in self._exit.get("final", {}).items():
            receiving = self.talk.peer.receiving(int(key))
            if receiving is not None and receiving.consumed < end:
                return
        code, signal = self._exit.get("code"), self._exit.get("signal")
        if code == 0 and not signal:
            self._finish(None)
            return
        said = sanitize(self._said.decode(errors="replace").strip())
        why = str(self._exit.get("error") or said or f"it ended with status {code}")
        self._finish(BrokerError(why))

    def on_flow(self, talk: Conversation) -> None:
        if not self.over:
            self._user.on_room()

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        self._lost(error)

    def _lost(self, error: GshellError) -> None:
        self.lost = error
        if self._patience is None:
            self._patience = self._dialler.loop.later(
                self._patience_s, lambda: self._fail(self.lost or error)
            )

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        self._fail(error)

    def _fail(self, error: GshellError) -> None:
        if not self.over:
            self._finish(error)

    def _finish(self, error: GshellError | None) -> None:
        self._close("done")
        self._user.on_over(error)

    # -- not let in

    def on_queued(self, talk: Conversation) -> None:
        if self._agents_of == "*":
            self._later()
            return
        relay = self._with_relay()
        relay.request({"m": "await", "att": talk.att}, self._placed)

    def _placed(self, answer: dict[str, Any]) -> None:
        if self.over:
            return
        if answer.get("ok"):
            self.talk.dial()
        else:
            from gshell.net.relaylink import said_no

            self._fail(said_no(answer))

    def on_refused(self, talk: Conversation, code: str) -> None:
        if code in ("again", "queued"):
            self._later()
            return
        if code == "time":
            self._fail(BrokerError("this machine's clock and the relay's differ too much"))
            return

        def told(answer: dict[str, Any]) -> None:
            if self.over:
                return
            known, why = str(answer.get("code")), str(answer.get("message") or "")
            if known in ("again", "used", "queued") or (known == "unknown" and talk.patient):
                self._later()
            elif known == "unknown":
                self._fail(BrokerError(f"the relay refused: {code}", hint="gshell doctor"))
            elif known == "revoked":
                self._fail(AuthError(why))
            else:
                self._fail(BrokerError(why, hint="gshell jobs    and    gshell agents"))

        self._with_relay().request({"m": "whynot", "att": talk.att}, told)

    def _later(self) -> None:
        delay_s = AGAIN_S * (0.5 + os.urandom(1)[0] / 255.0)
        self._dialler.loop.later(delay_s, lambda: None if self.over else self.talk.dial())

    def _with_relay(self) -> Any:
        if self._relay is None:
            from gshell.net.relaylink import RelayLink

            self._relay = RelayLink(self._dialler.loop, self._dialler.ticket, self._relay_lost)
            try:
                self._relay.open()
            except LinkLost as error:
                self._dialler.loop.soon(lambda error=error: self._relay_lost(error))  # type: ignore[misc]
        return self._relay

    def _relay_lost(self, error: GshellError) -> None:
        self._relay = None
        if self.over:
            return
        if isinstance(error, AuthError) or not (self.talk.up or self.talk.patient):
            self._fail(error)
        elif not self.talk.up:
            self._later()
