"""A run or an attachment, from the user's descriptors to the exit status.

Joins what the user types, what is shown and one conversation per agent. The same in a process of
its own and in the background process; who owns the terminal is behind ``Port``.
"""

from __future__ import annotations

import os

from gshell.client import joining
from gshell.client.asking import Asking
from gshell.client.conversation import Conversation, Dialler
from gshell.client.escape import EscapeKeys, EscapeLines
from gshell.client.input import Input
from gshell.client.opening import STDIN, Opening
from gshell.client.outage import Outage
from gshell.client.outlet import Outlet
from gshell.client.plan import Plan, Port
from gshell.client.screen import Screen
from gshell.client.seats import Nobody, Seat, within
from gshell.client.showing import Showing
from gshell.client.steering import Steering
from gshell.errors import GshellError, LinkLost, UsageError
from gshell.net.loop import Loop
from gshell.wire import peer as wire
from gshell.wire.constants import (
    INTERACTIVE_WINDOW,
    MAX_PIPE_WINDOW,
    PIPE_WINDOW,
    rank_streams,
    stderr_of,
    stdin_of,
    stdout_of,
)

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gshell.model.rankset import RankSet

SAY_WAITING_AFTER_S = 1.0
REPLACE_S = 0.05  # before asking for another agent when one turned out to be full


class Runner(Steering):
    """What agents say, and what becomes of it; its other parts are `Steering` and `Ending`."""

    asks: type[Asking] = Asking

    def __init__(
        self,
        dialler: Dialler,
        plan: Plan,
        descriptors: tuple[int, int, int],
        port: Port,
        on_done: Callable[[int], None],
        warm: Conversation | None = None,
    ) -> None:
        super().__init__(on_done)
        self._dialler = dialler
        self._loop: Loop = dialler.loop
        self._plan = plan
        self._port = port
        if plan.record is not None:
            from gshell.client.recording import Recording

            self.recording = Recording(self, plan.record, plan)  # or nothing is begun at all
        self.screen = Screen(self._loop, descriptors, port, self._settle, self._reader_gone)
        self._showing = Showing(self._loop, plan, port, self.screen, self._dropped)
        keys = EscapeKeys(plan.escape) if plan.pty else None
        self._input = Input(
            self._loop, descriptors[0], keys, lambda: self.screen.raw, self._command
        )
        self._in_is_tty = descriptors[0] >= 0 and os.isatty(descriptors[0])
        if not plan.pty:
            self._escape_by_lines()
        self._asking = self.asks(self, dialler, plan, self.screen)
        self._looked = False  # at what there is, for it did not fit
        self._ranks: RankSet | None = None
        if plan.rank:
            from gshell.model.rankset import RankSet

            self._ranks = RankSet.parse(plan.rank)
        self._outage = Outage(self._loop, self.screen, self.fail)
        self._opening = Opening(dialler, self, plan, port)
        self.seats = [
            self._opening.seat(index, warm if index == 0 else None) for index in range(plan.agents)
        ]
        self._writer = False
        self._set_writer(plan.verb == "run")
        if plan.verb == "run":
            self._showing.sized(sum(seat.ranks for seat in self.seats))
            if self.recording is not None:
                self.recording.sized(sum(seat.ranks for seat in self.seats))
            self._reach(plan.spec["mpi"]["input"] if plan.wish is not None else "0")

    # -- starting

    def start(self) -> None:
        plan = self._plan
        for seat in self.seats:
            if seat.talk.up:
                self.on_greeted(seat.talk, {})
                seat.talk.check_now(0.0)  # it was opened long ago: it may be dead by now
                seat.talk.pump()
            else:
                seat.talk.dial()
        if plan.verb == "run" and not plan.pty and not plan.detach:
            self._input.start()
        if plan.timeout_s is not None:
            self._loop.later(plan.timeout_s, self._time_out)
        if plan.verb == "run" and self.screen.err_is_tty and not plan.quiet:
            self._loop.later(SAY_WAITING_AFTER_S, self._say_waiting)

    def _time_out(self) -> None:
        if self.over:
            return
        self._timed_out = True
        if any(seat.talk.joined for seat in self.seats):
            self._tell({"t": "cancel"})
        else:
            words = f"nothing started within {self._plan.timeout_s:g} s"
            if self._plan.as_json:
                from gshell.client import asjson

                fields = {"message": words, "hint": None, "code": "time-out", "exit": 124}
                self.screen.say(asjson.line("error", fields))
            else:
                self.screen.say(f"gshell: {words}")
            self._finish(124)

    # -- conversations

    def _seat_of(self, talk: Conversation) -> Seat:
        for seat in self.seats:
            if seat.talk is talk:
                return seat
        raise AssertionError("a conversation that is not ours")

    def _reach(self, ranks: str) -> None:
        """What is typed goes to these."""
        if ranks == "0":  # nearly always
            self._input.to(self.seats[0], STDIN)
            return
        from gshell.model.rankset import RankSet

        wanted = RankSet.parse(ranks)
        for seat in self.seats:
            for number in range(seat.ranks):
                if seat.first + number in wanted:
                    self._input.to(seat, stdin_of(number))

    def _escape_by_lines(self) -> None:
        """The program has no terminal; the user, who may have one, has to be able to leave."""
        plan = self._plan
        if self._in_is_tty and plan.escape and plan.verb != "logs" and not plan.detach:
            self._input.lines = EscapeLines(plan.escape)

    def _set_writer(self, on: bool) -> None:
        """Whether it is us who types."""
        self._writer = self._input.on = self._showing.writer = on

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        self._asking.forget_note()
        seat = self._seat_of(talk)
        self.screen.clear_line()
        self._outage.ends()
        if self.recording is not None:
            self.recording.greeted(seat, welcome)
        first = seat is self.seats[0]
        if self._plan.forwards and first and self._forwards is None and not self.over:
            self._loop.soon(lambda: self._forward(seat))
        if self._plan.verb != "run" and not seat.tasks:
            self._joined_running(seat, welcome)
        plan = self._plan
        if plan.pty and not plan.detach and plan.verb != "logs" and not self.screen.raw:
            self.screen.make_raw()
            if plan.rights == "rw" or plan.verb == "attach":
                self._input.start()

    def _forward(self, seat: Seat) -> None:
        """Port forwarding beside the step; if it ends, the step goes on."""
        if self.over or self._forwards is not None:
            return
        from gshell.client.forwards import Forwards

        def ended(error: GshellError | None) -> None:
            if error is not None:
                self.screen.say(f"gshell: {error.message}")

        where = {"beside": f"{seat.talk.job}.{seat.talk.index}"}
        plan = self._plan
        self._forwards = Forwards(
            self._dialler, plan.forwards, where, self.screen.say, ended, plan.display
        )
        self._forwards.talk.trusts = seat.talk.trusts
        self._forwards.fresh = plan.verb == "run"
        self._forwards.start()

    def _joined_running(self, seat: Seat, welcome: dict[str, Any]) -> None:
        """WELCOME of an attachment tells what there is to see."""
        joined = joining.read(welcome)  # all of it is looked at before any of it counts
        if self._plan.whole and len(self.seats) == 1 and not self._join_others(seat, joined):
            return
        pty = joined.pty and (not self._plan.rank or len(self.seats) == 1)
        if self._plan.verb == "attach" and not pty and self._plan.pty:
            self._plan = self._showing.plan = self._plan._replace(pty=False)
            self._escape_by_lines()
        plan = self._plan
        self._showing.shows = pty and self.screen.out_is_tty and not plan.silent
        self._showing.sized(joined.size)
        if self.recording is not None:
            self.recording.sized(joined.size if not self._plan.rank else 1)
        seat.starter, seat.first, seat.tasks = joined.starter, joined.first, joined.tasks
        if self._ranks is not None:
            numbers = range(seat.ranks)
            seat.awaits = {n for n in numbers if seat.first + n in self._ranks}
        self._set_writer(joined.writer or (self._writer and seat is not self.seats[0]))
        seat.ended = joined.ended
        window = INTERACTIVE_WINDOW if pty else PIPE_WINDOW
        for stream, begins, present in joined.streams:
            seat.talk.peer.add_recv(stream, window, begins)
            seat.live[stream] = present
            if plan.verb == "logs" and not self._showing.wanted(seat, stream):
                seat.talk.peer.stop(stream)
                continue
            if not self._showing.shows:
                continue
            if begins:
                seat.torn.add(stream)
            if present > begins:
                seat.history[stream] = (present, [])
        if plan.verb == "logs":
            self._loop.soon(lambda: self._check(seat))
            return
        self._reach_joined(seat, joined)
        steers = self._writer or (self._input.lines is not None and not joined.ended)
        if steers and not pty and all(other.tasks for other in self.seats):
            self._input.start()
        if pty and self._writer and plan.pty:
            self._redraw()
        if seat is self.seats[0] and not plan.quiet and self.screen.err_is_tty:
            by_lines = self._input.lines is not None
            for words in joining.announced(plan, joined, seat.talk.job, self._writer, by_lines):
                self.screen.say(words)
        self._loop.soon(lambda: self._check(seat))

    def _join_others(self, seat: Seat, joined: joining.Joined) -> bool:
        """All members that have something to see; whether this one is among them."""
        if self._ranks is not None and self._ranks.beyond(joined.size):
            what, hint = joining.beyond(self._plan.job, self._plan.rank, joined.size)
            # Not now: what greeted is in the middle of it.
            self._loop.soon(lambda: self.fail(UsageError(what, hint=hint)))
            return False
        wanted = joined.members(self._ranks)
        stays = seat.talk.index in wanted or not wanted
        for index in wanted:
            if index != seat.talk.index:
                other = self._opening.seat(index, None)
                other.talk.trusts = seat.talk.trusts
                self.seats.append(other)
                other.talk.dial()
        if not stays:
            self.seats.remove(seat)
            seat.finished = True
            seat.talk.hand_over(Nobody())  # more of what it says may be here already
            self._loop.soon(lambda: seat.talk.close("detach"))
        return stays

    def _reach_joined(self, seat: Seat, joined: joining.Joined) -> None:
        """Where what is typed goes."""
        if joined.reads is None:
            if seat is self.seats[0] or not joined.starter:
                self._input.to(seat, STDIN)
            return
        from gshell.model.rankset import RankSet

        reads = RankSet.parse(joined.reads)
        for number in range(seat.ranks):
            if seat.first + number in reads:
                self._input.to(seat, stdin_of(number))

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        seat = self._seat_of(talk)
        if isinstance(event, wire.StreamData):
            if self.recording is not None:
                self.recording.output(seat, event.stream, event.offset, event.data)
            self._showing.output(seat, event.stream, event.offset, event.data)
        elif isinstance(event, wire.ControlReceived):
            self._control(seat, event.message)
        elif isinstance(event, wire.StreamGap):
            size = event.end - event.start
            if self.recording is not None:
                self.recording.gap(seat, event.stream, size)
            if self._showing.gap(seat, event.stream, size, event.end):
                self._redraw()
            self._dropped(seat, event.stream, size)
        elif isinstance(event, wire.StreamEnded):
            self._check(seat)
        elif isinstance(event, wire.StreamStopped):
            self._input.stopped(seat, event.stream)

    def _control(self, seat: Seat, message: dict[str, Any]) -> None:
        kind = message.get("t")
        if self.recording is not None:
            self.recording.control(seat, message)
        if kind == "exit":
            rank = within(message.get("rank", 0), 0, max(0, seat.tasks - 1))
            message["code"] = within(message.get("code", 0), 0, 255)
            finals = {
                within(int(key), *rank_streams(rank)[2:]): int(end)
                for key, end in message.get("final", {}).items()
            }
            seat.exits[rank] = message
            seat.finals.update(finals)
            self._check(seat)
        elif kind == "starved":
            self._widen(seat, int(message.get("stream", -1)))
        elif kind == "started":
            seat.started = True
            if self._plan.detach and all(s.started for s in self.seats):
                self._detached_start()
        elif kind == "modes" and self._plan.pty and self._plan.verb != "logs":
            prelude = bytes.fromhex(str(message.get("prelude", "")))
            self._showing.modes(prelude)
            if self.recording is not None:
                self.recording.prelude(prelude)
        elif kind == "writer" and self._plan.verb != "logs":
            self._now_writing(bool(message.get("on")))
        elif kind == "ranks" and (self.screen.raw or self._input.lines is not None):
            from gshell.client.ranksview import ranks_table

            host = str(message.get("host", ""))
            rows = [{**row, "host": host} for row in message.get("ranks") or ()]
            self.screen.say(ranks_table(rows, self._port.size()[1]).rstrip("\n"))
        elif kind == "notice" and not self._plan.quiet:
            self.screen.say(f"[{message.get('text', '')}]")

    def _widen(self, seat: Seat, stream: int) -> None:
        """The program waits for credit; more of it helps only if we are not the ones who are
        slow."""
        receiving = seat.talk.peer.receiving(stream)
        waiting = (self.screen.out if stream % 4 == 3 else self.screen.err).pending
        if receiving is not None and not waiting and receiving.consumed == receiving.have:
            seat.talk.peer.widen(stream, MAX_PIPE_WINDOW)

    def _now_writing(self, on: bool) -> None:
        """The agent says whether it is us who types."""
        if on == self._writer:
            return
        self._set_writer(on)
        if self.screen.err_is_tty and not self._plan.quiet:
            self.screen.say("[you type now]" if on else "[somebody else types now; you look on]")
        if on:
            if self._plan.pty:
                self._redraw()
            self._input.start()

    def on_flow(self, talk: Conversation) -> None:
        self._input.flow()

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        if self._all_here(self._seat_of(talk)):
            talk.close()  # nothing more is wanted of it
        elif talk.joined:
            self._outage.begins(error, self._plan)

    def on_queued(self, talk: Conversation) -> None:
        wish = self._plan.wish
        if wish is not None and not self._looked:
            self._looked = True
            self._asking.what_there_is(self._lay_out)
        self._asking.why_queued(talk)

    def _lay_out(self, agents: list[dict[str, Any]], more: bool) -> None:
        """It did not fit as it was asked for: as what there is allows, if it ever can.

        ``more``: agents may yet be made, by sites.
        """
        if any(seat.talk.joined for seat in self.seats) or not agents:
            return
        from gshell.client.layout import fit

        try:
            found = fit(self._plan.wish, agents)
        except UsageError as error:
            if not more:
                self.fail(error)
            return
        plan = self._plan
        same = (list(found.ranks), found.slots) == (plan.spec["mpi"]["layout"], plan.slots)
        if same or (more and not plan.wish.oversubscribe):
            return
        self._asking.forget_turns()
        for seat in self.seats:
            seat.talk.close()
        self._plan = self._showing.plan = self._plan.laid_out(found)
        self._opening = Opening(self._dialler, self, self._plan, self._port)
        self._showing.sized(sum(found.ranks))
        self.seats = [self._opening.seat(index, None) for index in range(self._plan.agents)]
        self._input.anew()
        self._reach(self._plan.spec["mpi"]["input"])
        for seat in self.seats:
            seat.talk.dial()

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        if talk.ended == "gone" and self._plan.job and not talk.joined:
            self._asking.why(talk, "gone")  # it has ended; the relay knows why nothing was kept
        elif not self._all_here(self._seat_of(talk)):
            self.fail(error)

    def on_refused(self, talk: Conversation, code: str) -> None:
        if code == "again":
            self._loop.later(REPLACE_S, lambda: self._replace(talk))
        elif code == "foreign":
            self._asking.whose(talk)
        else:
            self._asking.why(talk, code)  # what a door says in clear is never final

    def _replace(self, talk: Conversation) -> None:
        """An agent turned out to be full: the same opening anew, somewhere else."""
        if self.over:
            return
        seat = self._seat_of(talk)
        talk.close()
        if self._input.partly_gone:
            self.fail(LinkLost("the agent had no room and part of the input is gone"))
            return
        index = self.seats.index(seat)
        self.seats[index] = self._opening.seat(index, None)
        self._input.move(seat, self.seats[index])
        self.seats[index].talk.dial()

    def _say_waiting(self) -> None:
        joined = any(seat.talk.joined for seat in self.seats)
        if not self.over and not joined and not self._asking.begun:
            self.screen.say("[connecting ...]")

    # -- output

    def _settle(self, outlet: Outlet, count: int) -> None:
        for seat, stream, raw in outlet.written(count):
            seat.talk.peer.consume(stream, raw)
            if seat.finals or seat.live:
                self._check(seat)
            if not outlet.writing:
                seat.talk.pump()  # a grant may be due, and nothing else may happen for a while

    def _reader_gone(self, outlet: Outlet) -> None:
        """The reader of our stdout or stderr is gone, or a disk is full: so it is for the
        program."""
        if lost := self.screen.lost(outlet):
            from gshell.client import asjson

            fields = {"message": lost, "hint": None, "code": "error", "exit": 1}
            as_json = self._plan.as_json
            self.screen.say(asjson.line("error", fields) if as_json else f"gshell: {lost}")
        stream_of = stdout_of if outlet is self.screen.out else stderr_of
        for seat in self.seats:
            for rank in range(max(1, seat.tasks)):
                if seat.talk.peer.receiving(stream_of(rank)) is not None:
                    seat.talk.peer.stop(stream_of(rank))
            seat.talk.pump()
        for seat, stream, raw in outlet.drop():
            self._dropped(seat, stream, raw)
        if outlet is self.screen.out and not self._writer:
            self._loop.soon(lambda: self._finish(141))  # who only looks on has nobody to look for

    def _dropped(self, seat: Seat, stream: int, size: int) -> None:
        seat.talk.peer.consume(stream, size)
        self._check(seat)
