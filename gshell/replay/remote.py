"""A target on agents: a new step, the ranks of an MPI job, or a job that is there already.

It is a run as any other (`gshell.client.run`), but for who types and who reads: the engine does.
"""

from __future__ import annotations

import os
from typing import Any

from gshell.client.conversation import Conversation, Dialler
from gshell.client.plan import Plan
from gshell.client.run import Runner
from gshell.client.seats import Seat
from gshell.errors import GshellError, SpawnFailed, UsageError
from gshell.model.ticket import Ticket
from gshell.net.loop import Loop
from gshell.replay.targets import SIZE, Player, Waiting
from gshell.wire import peer as wire
from gshell.wire.constants import stderr_of, stdin_of, stdout_of

TELL_S = 3.0  # an agent that has not said by then when its program waits never will
END_S = 8.0  # an agent gives a program that was told to end five seconds


class NoTerminal:
    """What a run believes to be its user's terminal."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def raw(self) -> bool:
        return True

    def cooked(self) -> None: ...

    def size(self) -> tuple[int, int]:
        """Rows, columns: as the step's terminal shall have them."""
        return self._size[1], self._size[0]

    def suspend(self) -> None: ...

    def seen(self, data: bytes) -> None: ...

    def reset(self) -> bytes:
        return b""


class Remote:
    """Something on agents. Invariant: as `Target`."""

    def __init__(
        self, loop: Loop, ticket: Ticket, plan: Plan, size: tuple[int, int] = SIZE
    ) -> None:
        self.loop = loop
        self.echoes = plan.pty
        self.ranks = bool(plan.spec.get("mpi")) or plan.tasks * plan.agents > 1
        self.tells: bool | None = None
        self._player: Player | None = None
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        errors = os.dup(2)
        self._descriptors = (-1, self._null, errors)
        self._waits: dict[tuple[Seat, int], dict[str, Any]] = {}
        dialler = Dialler(loop, ticket)
        port = NoTerminal(size)
        self._run = _Run(self, dialler, plan, self._descriptors, port)
        self._attached = plan.verb != "run"
        self._over = False

    def start(self, player: Player) -> None:
        self._player = player
        self._run.start()

    # -- what the run says

    def greeted(self) -> None:
        self.loop.later(TELL_S, self._silent)

    def _silent(self) -> None:
        if self.tells is None and not self._over:
            self.tells = False
            self._changed()

    def output(self, seat: Seat, event: wire.StreamData) -> None:
        if self._player is not None:
            rank = seat.rank(event.stream)
            self._player.on_output(rank, event.stream % 4 == 0, bytes(event.data))

    def waits(self, seat: Seat, message: dict[str, Any]) -> None:
        self.tells = True
        rank = message.get("rank")
        if isinstance(rank, int) and 0 <= rank < max(1, seat.tasks):
            self._waits[seat, rank] = message
            self._changed()

    def exited(self, seat: Seat, rank: int) -> None:
        self._waits.pop((seat, rank), None)

    def _changed(self) -> None:
        if self._player is not None:
            self._player.on_change()

    def ended(self, code: int) -> None:
        self._over = True
        for fd in self._descriptors:
            if fd >= 0:
                os.close(fd)
        player, self._player = self._player, None
        if player is None:
            return
        error = self._run.error or self._run.never_ran
        if error is None:
            player.on_ended(code)
        else:
            player.on_failed(error)

    # -- what the engine wants

    def type(self, data: bytes) -> None:
        self._run.type(data)

    def end_input(self) -> None:
        self._run.end_typing()

    @property
    def readers(self) -> set[int]:
        return {seat.rank(stream) for seat, stream in self._run.typed}

    @property
    def waiting(self) -> Waiting | None:
        typed = self._run.typed
        found = None
        for (seat, rank), message in self._waits.items():
            if not message.get("on"):
                return None
            out, err = message.get("out"), message.get("err", 0)
            if not _here(seat, stdout_of(rank), out) or not _here(seat, stderr_of(rank), err):
                return None
            given = message.get("in")
            if not isinstance(given, int) or given < typed.get((seat, stdin_of(rank)), 0):
                return None
            who, where = str(message.get("who", "")), str(message.get("from", ""))
            found = Waiting(who, where, message.get("sure") is True)
        return found

    def close(self) -> None:
        if self._over:
            return
        self._player = None
        if not self._attached and self._run.joined:
            self._run.cancel()
            self.loop.run_until(lambda: self._over, END_S)
        if not self._over:
            self._run.leave()
            self.loop.run_until(lambda: self._over, 1.0)


def _here(seat: Seat, stream: int, end: object) -> bool:
    """Has everything of it below this arrived?"""
    receiving = seat.talk.peer.receiving(stream)
    return isinstance(end, int) and (receiving is None or receiving.consumed >= end)


class _Run(Runner):
    """A run whose output and input are the target's."""

    def __init__(
        self,
        target: Remote,
        dialler: Dialler,
        plan: Plan,
        descriptors: tuple[int, int, int],
        port: NoTerminal,
    ) -> None:
        self._target = target
        self._traced: set[int] = set()
        self.error: GshellError | None = None
        super().__init__(dialler, plan, descriptors, port, target.ended)
        self._input.by_hand()

    @property
    def never_ran(self) -> GshellError | None:
        """Why, if no rank of it did."""
        exits = [message for seat in self.seats for message in seat.exits.values()]
        why = next((message["error"] for message in exits if message.get("error")), None)
        ran = any(message.get("code") not in (126, 127) for message in exits)
        return SpawnFailed(str(why)) if why and not ran else None

    @property
    def joined(self) -> bool:
        return any(seat.talk.joined for seat in self.seats)

    @property
    def typed(self) -> dict[tuple[Seat, int], int]:
        return self._input.typed

    def type(self, data: bytes) -> None:
        self._input.type(data)

    def end_typing(self) -> None:
        self._input.end()

    def cancel(self) -> None:
        self._tell({"t": "cancel"})

    def leave(self) -> None:
        self._finish(0)

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        super().on_greeted(talk, welcome)
        if id(talk) not in self._traced:
            self._traced.add(id(talk))
            talk.peer.say({"t": "trace", "input": False, "waits": True})
            self._target.greeted()
        if self._plan.verb == "attach" and not self._writer and not self.over:
            what = f"somebody else types to job {self._plan.job}, or nobody can"
            hint = f"gshell replay FILE -- attach --steal {self._plan.job}"
            self._loop.soon(lambda: self.fail(UsageError(what, hint=hint)))

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if isinstance(event, wire.StreamData):
            seat = self._seat_of(talk)
            self._target.output(seat, event)
            self._dropped(seat, event.stream, len(event.data))
            return
        super().on_event(talk, event)

    def _control(self, seat: Seat, message: dict[str, Any]) -> None:
        if message.get("t") == "wait":
            self._target.waits(seat, message)
            return
        super()._control(seat, message)
        if message.get("t") == "exit":
            self._target.exited(seat, int(message.get("rank", 0)))

    def fail(self, error: GshellError) -> None:
        if not self.over:
            self.error = error
        super().fail(error)
