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

    def tell(self, why: str) -> None:
        if why == self._last:
            return
        self._last = why
        if self._terminal:
            room = max(LEAST_WIDTH, self._width()) - 1
            self._write("\r\x1b[K" + sanitize(f"[waiting: {why}]", room))
            self._shown = True
        elif self._plain:
            self._write(f"gshell: waiting: {why}\n")

    def clear(self) -> None:
        """The line is to be free for something else."""
        if self._shown:
            self._shown = False
            self._last = ""
            self._write("\r\x1b[K")
