"""How a run ends: when all is here and written, when its user leaves, when it cannot go on; what is
said then, and with which status. Knows neither how it began nor what the user types."""

from __future__ import annotations

from gshell.client import joining
from gshell.errors import UsageError

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gshell.client.asking import Asking
    from gshell.client.input import Input
    from gshell.client.plan import Plan
    from gshell.client.recording import Recording
    from gshell.client.screen import Screen
    from gshell.client.seats import Seat
    from gshell.client.showing import Showing
    from gshell.errors import GshellError
    from gshell.net.loop import Loop


class Ending:
    """The part of a run that has an end. Invariant: ``on_done`` is called once, after the terminal
    is as it was and all output is written. Whoever makes one has these:"""

    seats: list[Seat]
    screen: Screen
    _asking: Asking
    _input: Input
    _loop: Loop
    _plan: Plan
    _showing: Showing

    def __init__(self, on_done: Callable[[int], None]) -> None:
        self._on_done = on_done
        self.over = False
        self.recording: Recording | None = None
        self._forwards: Any = None
        self._timed_out = False
        self._ending: int | None = None  # the status, once the terminal is raw
        self._whys: set[object] = set()  # said already
        self._sent: set[str] = set()  # signals to the program, by name

    def abandon(self) -> None:
        """The front process is gone: nobody reads or is told any more, the job goes on."""
        if self.over:
            return
        self.over = True
        if self.recording is not None:
            self.recording.close(False)
        if self._forwards is not None:
            self._forwards.close()
        self._input.close()
        for seat in self.seats:
            seat.talk.close("detach")
        self._asking.leave()
        self.screen.close()

    def detach(self) -> None:
        """Leave; the job goes on."""
        job = self.seats[0].talk.job
        for seat in self.seats:
            seat.talk.close("detach")
        self.screen.leave()
        if not self._plan.quiet and (self.screen.err_is_tty or self.screen.raw):
            rank = f" --rank {self._plan.rank}" * bool(self._plan.rank)
            again = "the link" if self._plan.share else f"`gshell attach {job}{rank}`"
            self.screen.say(f"[detached from {job}; it goes on. {again} returns]")
        self._finish(0)

    def _detached_start(self) -> None:
        job = self.seats[0].talk.job
        for seat in self.seats:
            seat.talk.close("detach")
        line = job
        if self._plan.as_json:
            from gshell.client import asjson

            line = asjson.line("job", {"id": job})
        self.screen.out.write(line.encode() + b"\n", None, 0, 0)
        self._finish(0)

    # -- by itself

    def _check(self, seat: Seat) -> None:
        """Is everything of this conversation here and written?"""
        if seat.finished:
            return
        if self._plan.verb == "logs" and not self._plan.follow:
            if not seat.history and seat.has(seat.live):
                self._seat_done(seat)
        elif seat.over and seat.has(seat.finals):
            self._seat_done(seat)

    def _all_here(self, seat: Seat) -> bool:
        """Has all that will be shown of this conversation arrived, though it may not be written
        yet? Then it does not matter any more who leaves."""
        if self._plan.verb == "logs" and not self._plan.follow:
            return seat.talk.joined and seat.has(seat.live, arrived=True)
        return seat.over and seat.has(seat.finals, arrived=True)

    def _seat_done(self, seat: Seat) -> None:
        seat.finished = True
        seat.talk.close("done")
        whys = {message.get("error"): message.get("code") for message in seat.exits.values()}
        for why, status in whys.items():
            if why and why not in self._whys:  # once, of however many ranks
                self._whys.add(why)
                self._say_why(str(why), status)
        if all(other.finished for other in self.seats):
            self._showing.flush()
            exits = [message for s in self.seats for message in s.exits.values()]
            code = max((int(message.get("code", 0)) for message in exits), default=0)
            if self._showing.matching is not None:
                code = 0 if self._showing.matching.found else 1
            elif self._plan.verb == "logs":
                code = 0
            elif self._timed_out or any(message.get("timed_out") for message in exits):
                code = 124
            if self._plan.verb == "attach" and self.seats[0].ended:
                self._say_ended(code)
            if code and self._plan.verb != "logs" and not self._plan.quiet:
                from gshell.client import outcome

                for words in outcome.complaints(self.seats, self._sent):
                    self.screen.say(f"gshell: {words}")
            if self._plan.as_json:
                from gshell.client import asjson

                cause = "time-out" if code == 124 and self._timed_out else "program"
                end = {"job": self.seats[0].talk.job, "cause": cause, "exit": code}
                self.screen.say(asjson.line("end", end))
            self._end(code)

    def _say_why(self, why: str, status: int | None) -> None:
        if not self._plan.as_json:
            self.screen.say(f"gshell: {why}")
            return
        from gshell.client import asjson

        fields = {"message": why, "hint": None, "code": "launch", "exit": status}
        self.screen.say(asjson.line("error", fields))

    def _say_ended(self, code: int) -> None:
        """Its output might be taken for what happens now."""
        if not self._plan.quiet and self.screen.err_is_tty:
            rank = f" {joining.named(self._plan.rank)}" * bool(self._plan.rank)
            self.screen.say(f"[job {self.seats[0].talk.job}{rank} ended with status {code}]")

    def _end(self, code: int) -> None:
        """All is here; what was printed before we came may still wait for a raw terminal."""
        self._stop_recording(True)
        if self.screen.awaiting_raw:
            self._ending = code
            return
        self.screen.leave()
        self._finish(code)

    # -- in any case

    def fail(self, error: GshellError) -> None:
        if self.over:
            return
        joined = any(seat.talk.joined for seat in self.seats)
        for seat in self.seats:
            seat.talk.close()
        self.screen.leave()
        from gshell.model.sanitize import sanitize

        lost = joined and not isinstance(error, UsageError)
        status = 255 if lost else error.exit_code
        if self._plan.as_json:
            from gshell.client import asjson

            self.screen.say(asjson.error_line(error, status))
        else:
            self.screen.say("gshell: " + sanitize(error.message))
            if error.hint:
                self.screen.say("  try:  " + sanitize(error.hint))
        self._finish(status)

    def _finish(self, code: int) -> None:
        if self.over:
            return
        self.over = True
        self._asking.forget_note()
        self.screen.clear_line()
        self.screen.leave()
        if self._forwards is not None:
            self._forwards.close()
        self._input.close()
        begun = self._plan.verb != "run" or any(seat.talk.joined for seat in self.seats)
        for seat in self.seats:
            if not seat.talk.over:  # it may begin this moment, and nobody would know of it
                seat.talk.close("detach" if begun else "unwanted")
        self._asking.leave()
        self._stop_recording(False)
        self._drain(code)

    def _stop_recording(self, ended: bool) -> None:
        recording = self.recording
        if recording is not None and not recording.over:
            recording.close(ended)
            told = recording.told()
            if told and (recording.spec.told or (self.screen.err_is_tty and not self._plan.quiet)):
                self.screen.say(f"[recorded: {told}]")

    def _drain(self, code: int) -> None:
        """Our own last words may still wait for a slow descriptor."""
        if self.screen.pending:
            self._loop.later(0.01, lambda: self._drain(code))
            return
        self.screen.close()
        self._on_done(self.screen.status(code))
