"""The user's stdout, stderr and terminal as a run has them. Knows no agents and no streams.

Our own lines go to stderr; while the terminal is not raw yet, or the front process is stopped, all
waits.
"""

from __future__ import annotations

import errno
import os

from gshell.client.outlet import Outlet
from gshell.client.plan import Port
from gshell.client.stdio import Sink
from gshell.net.loop import Loop

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.client.waitline import WaitLine


# Of a file: not that its reader has gone, but that it can hold no more.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Screen:
    """Invariant: ``raw`` is whether the terminal is, or will be as soon as the front process says
    so."""

    def __init__(
        self,
        loop: Loop,
        descriptors: tuple[int, int, int],
        port: Port,
        written: Callable[[Outlet, int], None],
        broken: Callable[[Outlet], None],
    ) -> None:
        """``written(outlet, n)``: n more bytes reached it; ``broken(outlet)``: nobody reads it."""
        self._port = port
        _, out, err = descriptors
        self.out: Outlet = Outlet(
            Sink(loop, out, lambda n: written(self.out, n), lambda number: broken(self.out))
        )
        self.err: Outlet = Outlet(
            Sink(loop, err, lambda n: written(self.err, n), lambda number: broken(self.err))
        )
        self._err_fd = err
        self.err_is_tty = err >= 0 and os.isatty(err)
        self.out_is_tty = out >= 0 and os.isatty(out)
        self.raw = False
        self.awaiting_raw = False
        self.was_raw = False
        """The terminal may still be raw for a moment: its lines need CR."""
        self._wait_line: WaitLine | None = None

    @property
    def pending(self) -> bool:
        return bool(self.out.pending or self.err.pending)

    def lost(self, outlet: Outlet) -> str:
        """Why not all of the output is where it was to be; empty: it is, or nobody reads it."""
        if outlet.sink.broken not in FULL:
            return ""
        name = "stdout" if outlet is self.out else "stderr"
        return f"{name}: {os.strerror(outlet.sink.broken)}: not all of the output is there"

    def status(self, code: int) -> int:
        """``code``, but not that all is well where stdout is not whole: as a program here would."""
        return 1 if code in (0, 141) and self.lost(self.out) else code

    # -- the terminal

    def make_raw(self) -> None:
        """Nothing is shown before the terminal is raw: it would be edited on its way."""
        self.raw = self.was_raw = True
        self.awaiting_raw = held = not self._port.raw()
        self.out.sink.hold(held)
        if self.err_is_tty:
            self.err.sink.hold(held)

    def is_raw(self) -> None:
        """The front process has made it raw."""
        self.awaiting_raw = False
        self.hold(False)

    def hold(self, held: bool) -> None:
        """While the front process is stopped nothing is written over what the shell shows."""
        self.out.sink.hold(held)
        self.err.sink.hold(held)

    def leave(self) -> None:
        """Put the terminal's modes back."""
        if self.raw:
            reset = self._port.reset()
            if reset:
                self.out.write(reset, None, 0, 0)
            self.out.sink.flush_blocking(2.0)
            self.err.sink.hold(False)
            self.raw = False
            self._port.cooked()

    def close(self) -> None:
        self.out.sink.close()
        self.err.sink.close()

    # -- what we say ourselves

    def say(self, text: str) -> None:
        self.clear_line()
        end = "\r\n" if self.was_raw and self.err_is_tty else "\n"
        self.err.write((text.replace("\n", end) + end).encode(), None, 0, 0)

    def say_amid(self, text: str) -> None:
        """At this very place in the output, where that is a terminal's: it may be far behind."""
        if self.raw and self.err_is_tty:
            self.out.write(f"\x18\r\n{text}\r\n".encode(), None, 0, 0)  # CAN: ends a sequence
        else:
            self.say(text)

    def explain(self, why: str, plain: bool) -> None:
        """Why it has not begun yet, on a line that changes; where nobody looks, if ``plain``."""
        if self._wait_line is None:
            from gshell.client.waitline import WaitLine

            self._wait_line = WaitLine(self._err_text, self._width, self.err_is_tty, plain)
        self._wait_line.tell(why)

    def waited(self, seconds: float, hint: str) -> None:
        """The line goes on while nothing else is to be said."""
        if self._wait_line is not None:
            self._wait_line.tick(seconds, hint)

    def clear_line(self) -> None:
        if self._wait_line is not None:
            self._wait_line.clear()

    def _err_text(self, text: str) -> None:
        self.err.write(text.encode(), None, 0, 0)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._err_fd).columns
        except OSError:
            return 0
