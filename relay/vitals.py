"""How a process of the relay is doing: how late its loop is, its memory, its descriptors."""

from __future__ import annotations

import os
import resource

from gshell.net.loop import Loop

LOOK_S = 0.5  # a timer this often; how late it is called is how long the loop did something else


class Vitals:
    """Of this process, from now on."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._worst = 0.0
        self._plan()

    def _plan(self) -> None:
        due = self._loop.clock() + LOOK_S
        self._loop.later(LOOK_S, lambda: self._look(due))

    def _look(self, due: float) -> None:
        self._worst = max(self._worst, self._loop.clock() - due)
        self._plan()

    def take(self) -> dict[str, float]:
        """The present figures; the loop's lag is the longest since the last time."""
        lag, self._worst = self._worst, 0.0
        return {"lag_s": lag, "rss_bytes": rss_bytes(), "fds": open_descriptors(),
                "fds_limit": resource.getrlimit(resource.RLIMIT_NOFILE)[0]}  # fmt: skip


def rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def open_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # the listing's own
    except OSError:
        return 0
