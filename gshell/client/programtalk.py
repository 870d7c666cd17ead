"""One conversation with a program at an agent, without a terminal: bytes to its stdin, its stdout
and stderr apart, and how it ended. Knows no descriptors: whoever talks is a piece of code.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gshell.client.conversation import Conversation, Dialler
from gshell.errors import AuthError, BrokerError, GshellError, LinkLost
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
    from gshell.net.relaylink import RelayLink

AGAIN_S = 0.3  # between two tries to be let in
REPLACE_S = 0.05  # before another agent is asked for, when one turned out to be full
PATIENCE_S = 3600.0  # a link that does not come back
LEAVE_S = 5.0  # for what is to end to tell its number first
STDIN, STDOUT, STDERR = stdin_of(0), stdout_of(0), stderr_of(0)
CHANNELS = {STDOUT: 1, STDERR: 2}


class Exit(NamedTuple):
    """How a program ended."""

    code: int
    signal: int | None = None
    timed_out: bool = False
    error: str = ""
    """Why it never ran."""


class User(Protocol):
    """Who talks with it. All in the loop's thread."""

    def on_job(self, job: str, agent: str) -> None:
        """It has a number, and a place."""

    def on_bytes(self, channel: int, data: bytes) -> None:
        """Of stdout (1) or stderr (2); they count as taken when this returns, or, if it is held
        (`ProgramTalk.hold`), when it goes on."""

    def on_read(self, offset: int) -> None:
        """The program has had its stdin up to there, or does not read it any more."""

    def on_over(self, ended: Exit | GshellError) -> None:
        """All that it said was handed over; or why nobody will know how it ended."""


class Questions:
    """To the relay, of all talks of a loop. Invariant: at most one connection."""

    def __init__(self, dialler: Dialler) -> None:
        self._dialler = dialler
        self._link: RelayLink | None = None
        self._lost: dict[int, Callable[[GshellError], None]] = {}
        self._count = 0

    def ask(
        self,
        message: dict[str, Any],
        told: Callable[[dict[str, Any]], None],
        lost: Callable[[GshellError], None] = lambda error: None,
    ) -> None:
        """One of ``told`` and ``lost`` is called."""
        self._count += 1
        number = self._count
        self._lost[number] = lost

        def answered(answer: dict[str, Any]) -> None:
            if self._lost.pop(number, None) is not None:
                told(answer)

        self._opened().request(message, answered)

    def _opened(self) -> RelayLink:
        if self._link is None:
            from gshell.net.relaylink import RelayLink

            self._link = RelayLink(self._dialler.loop, self._dialler.ticket, self._broken)
            try:
                self._link.open()
            except LinkLost as error:
                self._dialler.loop.soon(lambda error=error: self._broken(error))  # type: ignore[misc]
        return self._link

    def _broken(self, error: GshellError) -> None:
        self._link = None
        lost, self._lost = self._lost, {}
        for call in lost.values():
            call(error)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class ProgramTalk:
    """A `Talker`. Invariant: ``on_over`` is called once, and nothing after it."""

    def __init__(
        self,
        dialler: Dialler,
        questions: Questions,
        user: User,
        request: dict[str, Any],
        spec: dict[str, Any],
    ) -> None:
        """``request``: where, fields of an ``open``; ``spec``: what (PROTOCOL.md)."""
        self._dialler, self._questions, self._user = dialler, questions, user
        self._request = {"op": "open", "tasks": 1, "index": 0, "size": 1, **request}
        self._spec = {**spec, "t": "open", "tasks": 1, "first": 0, "size": 1}
        self._input = SendBuffer()
        self._exit: dict[str, Any] | None = None
        self._patience: Timer | None = None
        self._ending = 0  # a signal that came before it began
        self._given_up = 0  # the first of these: what comes later changes nothing of how it ended
        self._held = False
        self._untaken: dict[int, int] = {}  # bytes that count as taken when it is not held any more
        self.over = False
        self.talk = self._conversation()

    def _conversation(self) -> Conversation:
        talk = Conversation(self._dialler, self, self._request, {})
        talk.peer.add_send(STDIN, self._input, INPUT_WINDOW)
        talk.peer.add_recv(STDOUT, PIPE_WINDOW)
        talk.peer.add_recv(STDERR, PIPE_WINDOW)
        talk.peer.say(self._spec)
        return talk

    def start(self) -> None:
        self.talk.dial()

    # -- sending

    def send(self, data: bytes | None) -> None:
        """To its stdin; None: the end."""
        if self.over or self._input.closed:
            return
        if data is None:
            self._input.closed = True
        else:
            self._input.append(data)
        self.talk.pump()

    def hold(self, held: bool) -> None:
        """Whoever gets its output has enough for now: no more is asked for, and when all is full
        on the way the program waits. Or: it goes on."""
        self._held = held
        if held or self.over:
            return
        untaken, self._untaken = self._untaken, {}
        for stream, count in untaken.items():
            self.talk.peer.consume(stream, count)
        self.talk.pump()
        self._check()

    def signal(self, name: str, number: int) -> None:
        """To its foreground group; KILL, to all of it."""
        if self.over:
            return
        if self.talk.joined:
            self._say_signal(name)
            return
        self._ending = number
        self._given_up = self._given_up or number
        loop = self._dialler.loop
        self._questions.ask({"m": "cancel", "att": self.talk.att}, self._canceled)
        loop.later(LEAVE_S, self._gone)

    def _say_signal(self, name: str) -> None:
        self.talk.peer.say({"t": "signal", "sig": name})
        if name == "KILL":
            self.talk.peer.say({"t": "cancel"})
        self.talk.pump()

    def _canceled(self, answer: dict[str, Any]) -> None:
        if not self.talk.joined and (answer.get("ok") or not self.talk.up):
            self._gone()

    def _gone(self) -> None:
        """It had not begun."""
        if not self.over and not self.talk.joined:
            self._finish(Exit(128 + self._given_up, self._given_up))

    # -- the conversation

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if self.over:
            return
        self._user.on_job(talk.job, talk.agent_id)
        if self._ending:
            number, self._ending = self._ending, 0
            self._say_signal("KILL" if number == 9 else "TERM")

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if self.over or talk is not self.talk:
            return
        if isinstance(event, wire.StreamData):
            self._user.on_bytes(CHANNELS[event.stream], event.data)
            if self._held:
                known = self._untaken.get(event.stream, 0)
                self._untaken[event.stream] = known + len(event.data)
            else:
                talk.peer.consume(event.stream, len(event.data))
        elif isinstance(event, wire.ControlReceived):
            self._control(talk, event.message)
        elif isinstance(event, wire.StreamGap):
            self._finish(LinkLost("a part of its output is lost", transient=False))
        self._check()

    def _control(self, talk: Conversation, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if kind == "exit":
            for key, end in message.get("final", {}).items():
                if int(key) not in CHANNELS or not isinstance(end, int):
                    raise ValueError(key)
            if not isinstance(message.get("code", 0), int):
                raise ValueError(message["code"])
            self._exit = message
        elif kind == "starved":
            stream = int(message.get("stream", -1))
            receiving = talk.peer.receiving(stream)
            if receiving is not None and receiving.consumed == receiving.have:
                talk.peer.widen(stream, MAX_PIPE_WINDOW)

    def _check(self) -> None:
        """Has it ended, and is all here?"""
        if self.over or self._exit is None:
            return
        for key, end in self._exit.get("final", {}).items():
            receiving = self.talk.peer.receiving(int(key))
            if receiving is not None and receiving.consumed < end:
                return
        number = self._exit.get("signal")
        self._finish(
            Exit(
                int(self._exit.get("code", 0)) & 255,
                number if isinstance(number, int) else None,
                bool(self._exit.get("timed_out")),
                str(self._exit.get("error") or ""),
            )
        )

    def on_flow(self, talk: Conversation) -> None:
        if not self.over:
            self._user.on_read(self._input.start)

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        if self._patience is None and talk.joined:
            self._patience = self._dialler.loop.later(PATIENCE_S, lambda: self._finish(error))

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        self._finish(error)

    def _finish(self, ended: Exit | GshellError) -> None:
        if self.over:
            return
        if self._ending and not self.talk.joined:  # we gave it up: whatever is said of that now
            ended = Exit(128 + self._given_up, self._given_up)
        self.over = True
        if self._patience is not None:
            self._patience.cancel()
        if not self.talk.over:
            unwanted = self._given_up and not self.talk.joined  # though it may begin this moment
            over = "done" if isinstance(ended, Exit) else "detach"
            self.talk.close("unwanted" if unwanted else over)
        self._user.on_over(ended)

    # -- not let in

    def on_queued(self, talk: Conversation) -> None:
        from gshell.client import upkeep

        try:
            upkeep.ensure(self._dialler.ticket.pin)  # whoever makes agents must be there
        except GshellError as error:
            self._finish(error)
            return

        def placed(answer: dict[str, Any]) -> None:
            if self.over or talk is not self.talk:
                return
            if answer.get("ok"):
                talk.dial()
            else:
                from gshell.net.relaylink import said_no

                self._finish(said_no(answer))

        self._questions.ask({"m": "await", "att": talk.att}, placed, self._relay_lost)

    def on_refused(self, talk: Conversation, code: str) -> None:
        if code == "again":
            self._dialler.loop.later(REPLACE_S, lambda: self._replace(talk))
        elif code == "queued":
            self._later()
        elif code == "time":
            self._finish(BrokerError("this machine's clock and the relay's differ too much"))
        else:
            self._questions.ask(
                {"m": "whynot", "att": talk.att},
                lambda answer: self._told(talk, code, answer),
                self._relay_lost,
            )

    def _told(self, talk: Conversation, code: str, answer: dict[str, Any]) -> None:
        if self.over or talk is not self.talk:
            return
        known, why = str(answer.get("code")), str(answer.get("message") or "")
        if known in ("again", "used", "queued") or (known == "unknown" and talk.patient):
            self._later()
        elif known == "revoked":
            self._finish(AuthError(why))
        elif talk.joined and "gone" in (known, code):
            self._finish(LinkLost(f"its agent has gone: {why}", transient=False))
        else:
            self._finish(BrokerError(why or f"the relay refused: {code}", hint="gshell doctor"))

    def _replace(self, talk: Conversation) -> None:
        """The same anew, somewhere else."""
        if self.over or talk is not self.talk:
            return
        talk.close()
        if self._input.start:
            self._finish(LinkLost("the agent had no room, and part of the input is gone"))
            return
        self.talk = self._conversation()
        self.talk.dial()

    def _later(self) -> None:
        delay_s = AGAIN_S * (0.5 + os.urandom(1)[0] / 255.0)
        self._dialler.loop.later(delay_s, lambda: None if self.over else self.talk.dial())

    def _relay_lost(self, error: GshellError) -> None:
        if self.over or self.talk.up:
            return
        if isinstance(error, AuthError) or not self.talk.patient:
            self._finish(error)
        else:
            self._later()
