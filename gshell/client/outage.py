"""A link that is lost, and found again or not: what the user hears of it, how long one waits.

Knows no links; who has one says when.
"""

from __future__ import annotations

from gshell.client.escape import detach_key

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.client.plan import Plan
    from gshell.client.screen import Screen
    from gshell.errors import GshellError
    from gshell.net.loop import Loop, Timer

SAY_LOST_AFTER_S = 0.7  # shorter breaks are mended before anybody could read about them
PATIENCE_S = 3600.0  # without a terminal: give up a link that does not come back


class Outage:
    """Invariant: an end is told where its beginning was."""

    def __init__(self, loop: Loop, screen: Screen, give_up: Callable[[GshellError], None]) -> None:
        self._loop = loop
        self._screen = screen
        self._give_up = give_up
        self._said = False
        self._timer: Timer | None = None
        self._patience: Timer | None = None

    def begins(self, error: GshellError, plan: Plan) -> None:
        if self._timer is None:
            self._timer = self._loop.later(SAY_LOST_AFTER_S, lambda: self._say(error, plan))
            if not plan.pty:
                self._patience = self._loop.later(PATIENCE_S, lambda: self._give_up(error))

    def ends(self) -> None:
        """There is a link, whether one was lost or not."""
        for timer in (self._timer, self._patience):
            if timer is not None:
                timer.cancel()
        self._timer = self._patience = None
        if self._said:
            self._said = False
            self._screen.say("[connected again, nothing was lost]")

    def _say(self, error: GshellError, plan: Plan) -> None:
        if not self._said and not plan.quiet:
            self._said = True
            key = detach_key(plan.escape, plan.inside_ssh)
            leave = f", {key} leaves" if self._screen.raw else ""
            self._screen.say(f"[{error.message}; reconnecting{leave}]")
