"""When to look whether a program waits for input, and what to make of it. The looking itself, the
clock and the timers are given."""

from __future__ import annotations

import time
from typing import Protocol

from gshell.net.inputwait import Reader

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Callable

    from gshell.net.loop import Loop, Timer

BACK_OFF_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
CONFIRM_S = 0.002  # what it printed last may still be on its way through the terminal: so long,
LATE_S = 0.5  # and until the kernel has done what it had to, but no longer than this
GUESS_S = 0.5  # where the system call cannot be seen: as long without a change
WATCH_S = 0.25  # while it waits: it may go on without us, by a time-out of its own
UNMOVED_S = 0.2  # input that wakes nobody (half a line) counts as taken after this
AT_ONCE = 4  # looks after something has happened; they may take a fifth of the time
SOON_SHARE = 4.0
SHARE = 30.0  # later ones: one in so many


class Teller(Protocol):
    """Who is told."""

    def look(self) -> Reader | None:
        """Who waits now."""

    def waits(self, reader: Reader | None) -> None:
        """That has changed, or what is below the offsets has."""


class Prober(Protocol):
    """Of terminals: `gshell.net.ptyprobe`."""

    def ask(self, call: Callable[[], None]) -> bool:
        """``call`` when what is under way now has come through; False: nobody knows."""


class WaitWatch:
    """Invariant: ``reader`` is what was told last; at most one timer."""

    def __init__(self, loop: Loop, teller: Teller, probe: Prober | None = None) -> None:
        self._loop = loop
        self._teller = teller
        self._timer: Timer | None = None
        self._step = 0
        self._seen: Reader | None = None  # not yet told
        self._seen_at = 0.0
        self._probe = probe
        self._probed = 0  # how often we have asked it; what an older question gave means nothing
        self._through = False
        self._before: Reader | None = None  # who waited when something was typed
        self._typed_at = 0.0
        self._cost_s = 0.0
        self._looked_at = 0.0
        self._over = False
        self.reader: Reader | None = None

    def printed(self) -> None:
        """There was output: a wait that was told goes on perhaps, but with more below it."""
        self._changed()

    def typing(self) -> None:
        """Something is about to be typed: whoever is quick shall not have typed ahead."""
        now = self._loop.clock()
        if self._over or self.reader is not None:
            return
        if now - self._looked_at < self._cost_s * SOON_SHARE:
            return  # a flood
        found = self._look()
        if found is not None and found.sure:
            self._told(found)

    def typed(self) -> None:
        """Something was typed."""
        if self.reader is not None or self._seen is not None:
            self._before = self.reader or self._seen
        self._typed_at = self._loop.clock()
        self._changed()

    def _changed(self) -> None:
        if self._over:
            return
        self._seen = None
        if self.reader is not None:
            self.reader = None
            self._teller.waits(None)
        self._step = 0
        self._again(BACK_OFF_S[0])

    def close(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        rest_s = self._cost_s * (SOON_SHARE if self._step < AT_ONCE else SHARE)
        since_s = self._loop.clock() - self._looked_at
        self._timer = self._loop.later(max(delay_s, rest_s - since_s), self.look)

    def look(self) -> None:
        """Now."""
        if self._over:
            return
        found = self._look()
        now = self._looked_at
        if found is None:
            self._seen = None
            if self.reader is not None:
                self.reader = None
                self._step = 0
                self._teller.waits(None)
            self._again(BACK_OFF_S[min(self._step, len(BACK_OFF_S) - 1)])
            self._step += 1
            return
        if self.reader is not None:
            self.reader = found
            self._again(WATCH_S)
            return
        if self._seen is None or self._seen[:2] != found[:2]:
            self._seen, self._seen_at = found, now
            self._ask_through(found)
        need_s = (CONFIRM_S if self._through else LATE_S) if found.sure else GUESS_S
        if now - self._seen_at < need_s:
            self._again(need_s - (now - self._seen_at))
            return
        self._told(found)

    def _ask_through(self, found: Reader) -> None:
        """Is what it printed before it slept here?"""
        self._probed += 1
        number = self._probed
        self._through = found.where != "tty" or self._probe is None

        def through() -> None:
            if number == self._probed and not self._over and self._seen is not None:
                self._through = True
                self._again(CONFIRM_S - (self._loop.clock() - self._seen_at))

        if not self._through and self._probe is not None:
            self._through = not self._probe.ask(through)

    def _look(self) -> Reader | None:
        began = time.perf_counter()
        found = self._teller.look()
        spent = time.perf_counter() - began
        self._cost_s = min(spent, 2 * self._cost_s + 0.001)  # a pause of ours is no cost
        now = self._looked_at = self._loop.clock()
        if found is not None and self._unmoved(found) and now - self._typed_at < UNMOVED_S:
            return None
        return found

    def _told(self, found: Reader) -> None:
        self._seen = None
        self._before = None
        self.reader = found
        self._teller.waits(found)
        self._again(WATCH_S)

    def _unmoved(self, found: Reader) -> bool:
        """Is it the very sleep in which it was when something was typed? Then it has not read that
        yet: the kernel may be on its way with it."""
        return self._before is not None and found[:3] == self._before[:3]
