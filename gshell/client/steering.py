"""What the user does at a run: escape keys, signals, stops, other sizes. Knows no output."""

from __future__ import annotations

from gshell.client.ending import Ending
from gshell.client.escape import help_text

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gshell.client.plan import Port

HAMMER_S = 2.0  # Ctrl-C three times within this ends a program that does not listen


class Steering(Ending):
    """The part of a run that its user's hands reach. Whoever makes one has this, too:"""

    _port: Port
    _writer: bool

    def __init__(self, on_done: Callable[[int], None]) -> None:
        super().__init__(on_done)
        self._interrupts: list[float] = []

    def _command(self, action: str) -> bool:
        """An escape; whether the user is still there."""
        if not any(seat.talk.joined for seat in self.seats):
            self.screen.say("[nothing has started yet: Ctrl-C gives it up]")
        elif action == "detach":
            self.detach()
        elif action == "suspend":
            self._suspend()
        elif action == "help":
            by_lines = self._input.lines is not None
            self.screen.say(help_text(self._plan.escape, by_lines).rstrip("\n"))
        elif action == "redraw":
            self._redraw()
        elif action == "status":
            talk = self.seats[0].talk
            self.screen.say(
                f"[job {talk.job} on {talk.agent_id}, {'connected' if talk.up else 'reconnecting'}]"
            )
        elif action == "ranks":
            self._tell({"t": "ranks"})
        elif action in ("record", "marker"):
            from gshell.client import recording

            (recording.toggle if action == "record" else recording.mark)(self)  # type: ignore[arg-type]
        elif action == "kill":
            if self._plan.share:
                self.screen.say(f"[only {self._plan.owner} can end it]")
            else:
                self.screen.say(f"[ending job {self.seats[0].talk.job}]")
                self._tell({"t": "cancel"})
        return not self.over

    def is_raw(self) -> None:
        """The front process has made the terminal raw."""
        self.screen.is_raw()
        if self._ending is not None:
            self._end(self._ending)

    def _suspend(self) -> None:
        self._input.suspend()
        self.hold_output(True)
        self._port.cooked()
        self._port.suspend()

    @property
    def in_terminal(self) -> bool:
        """A terminal session, which draws on a raw terminal only."""
        return self.screen.raw

    def hold_output(self, held: bool) -> None:
        """While the front process is stopped nothing is written over what the shell shows."""
        self.screen.hold(held)

    def resumed(self) -> None:
        """The front process goes on (SIGCONT), in the foreground."""
        if self.over:
            return
        if self.screen.raw:
            self.screen.make_raw()
            self._redraw()
        self._input.flow()

    def pause_input(self, paused: bool) -> None:
        """The front process is about to stop, or not in the foreground: leave the user's typing
        alone."""
        self._input.pause(paused)

    def resized(self) -> None:
        if self._plan.pty:
            self._send_size()
            if self.recording is not None and not self.recording.over:
                self.recording.resized()

    def _send_size(self) -> None:
        rows, columns = self._port.size()
        self._tell({"t": "resize", "rows": rows, "cols": columns})

    def _redraw(self) -> None:
        """Have the terminal's modes told again and the program draw anew, in the present size."""
        rows, columns = self._port.size()
        self._tell({"t": "redraw", "rows": rows, "cols": columns})

    def _tell(self, message: dict[str, Any]) -> None:
        for seat in self.seats:
            if not seat.finished:
                seat.talk.peer.say(message)
                seat.talk.pump()

    def signalled(self, name: str) -> None:
        """A signal for the program arrived at the front process (INT, TERM, QUIT, USR1, ...)."""
        if self.over:
            return
        if self._plan.silent and any(seat.talk.joined for seat in self.seats):
            self._finish(0)  # who records from beside has enough
            return
        if not any(seat.talk.joined for seat in self.seats) or self._plan.verb == "logs":
            self._finish(130 if name == "INT" else 143)
            return
        if name == "HUP":
            self.detach()
            return
        if not self._writer or (self._plan.share and name not in ("INT", "QUIT")):
            self._finish(130 if name == "INT" or not self._plan.share else 143)
            return
        if name == "INT":
            now = self._loop.clock()
            self._interrupts = [then for then in self._interrupts if now - then < HAMMER_S] + [now]
            if len(self._interrupts) >= 3 and self._plan.share:
                self._finish(130)
                return
            if len(self._interrupts) >= 3:
                name = "KILL"
        self._sent.add(name)
        self._tell({"t": "signal", "sig": name})
