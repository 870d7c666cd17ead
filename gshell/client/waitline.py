"""Why something waits, as one line that changes. Knows no relay."""

from __future__ import annotations

from gshell.model.sanitize import sanitize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_WIDTH = 20


class WaitLine:
    """On a terminal one line, updated in place and cleared before anything else is printed there;
    else a line for each news, if at all."""

    def __init__(
        self,
        write: Callable[[str], None],
        width: Callable[[], int],
        terminal: bool,
        plain: bool,
    ) -> None:
        """``plain``: where there is no terminal, say it in lines."""
        self._write = write
        self._width = width
        self._terminal = terminal
        self._plain = plain
        self._last = ""
        self._shown = False
        self._waited_s = 0.0
        self._hint = ""

    def tell(self, why: str) -> None:
        if why == self._last:
            return
        self._last = why
        if self._terminal:
            self._draw()
            self._shown = True
        elif self._plain:
            self._write(f"gshell: waiting: {why}\n")

    def tick(self, waited_s: float, hint: str = "") -> None:
        """So long already. ``hint``: a command that tells what would shorten it, where there is
        room for it."""
        if self._shown:
            self._waited_s, self._hint = waited_s, hint
            self._draw()

    def _draw(self) -> None:
        room = max(LEAST_WIDTH, self._width()) - 1
        clock = ""
        if self._waited_s >= 1:
            whole = int(self._waited_s)
            clock = f" {whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
        text = f"[waiting{clock}: {self._last}]"
        if self._hint and len(text) + len(self._hint) + 2 <= room:
            text += f"  {self._hint}"
        self._write("\r\x1b[K" + sanitize(text, room))

    def clear(self) -> None:
        """The line is to be free for something else."""
        if self._shown:
            self._shown = False
            self._last = ""
            self._write("\r\x1b[K")
