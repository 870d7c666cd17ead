"""One thread's event loop over epoll: descriptors, timers, nothing else. Knows no protocol.

asyncio costs 80..100 ms of start-up and several microseconds an event more; a keystroke passes
three of these loops.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Callable

    Handler = Callable[[int], None]  # gets the event mask

IN = select.EPOLLIN
OUT = select.EPOLLOUT
_GONE = select.EPOLLHUP | select.EPOLLERR
_LONGEST_S = 86400.0  # epoll takes a C int of milliseconds; one more round costs nothing


class Timer:
    """A call to come; ``cancel()`` it any time."""

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Invariant: a handler is called only while its descriptor is registered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._always: dict[
            int, int
        ] = {}  # regular files: epoll refuses them, they are always ready
        self._dormant: set[int] = set()  # mask 0: epoll would go on reporting a hang-up, for ever
        self._timers: list[tuple[float, int, Timer]] = []
        self._soon: list[Callable[[], None]] = []
        self._count = itertools.count()
        self._running = False
        self.clock = clock

    def close(self) -> None:
        self._epoll.close()

    def fileno(self) -> int:
        return self._epoll.fileno()

    def add(self, fd: int, mask: int, handler: Handler) -> None:
        """Call ``handler(mask)`` when ``fd`` is ready; a hang-up or error comes as IN or OUT,
        whichever is asked for."""
        self._handlers[fd] = handler
        if not mask:
            self._dormant.add(fd)
            return
        try:
            self._epoll.register(fd, mask)
        except PermissionError:  # EPERM: a regular file or /dev/null
            self._always[fd] = mask
        except BaseException:
            del self._handlers[fd]
            raise

    def modify(self, fd: int, mask: int) -> None:
        if fd in self._always:
            self._always[fd] = mask
        elif fd in self._dormant:
            if mask:
                self._dormant.discard(fd)
                self.add(fd, mask, self._handlers[fd])
        elif mask:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.unregister(fd)
            self._dormant.add(fd)

    def remove(self, fd: int) -> None:
        """Forget ``fd``; do this before closing it."""
        if self._handlers.pop(fd, None) is None:
            return
        if fd in self._dormant:
            self._dormant.discard(fd)
        elif self._always.pop(fd, None) is None:
            try:
                self._epoll.unregister(fd)
            except OSError:  # closed already
                pass

    def soon(self, call: Callable[[], None]) -> None:
        """Call it after the present round of events."""
        self._soon.append(call)

    def later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self.clock() + delay_s, call)
        heapq.heappush(self._timers, (timer.when, next(self._count), timer))
        return timer

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Until ``stop()``."""
        self._running = True
        while self._running:
            self.once()

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Until ``done()`` or the time is up; returns ``done()``. For tests and start-up code."""
        end = self.clock() + timeout_s
        while not done():
            left = end - self.clock()
            if left <= 0:
                return False
            self.once(min(left, _LONGEST_S))
        return True

    def once(self, at_most_s: float | None = None) -> None:
        """One round: wait, then handle what came."""
        timers = self._timers
        while timers and timers[0][2].call is None:
            heapq.heappop(timers)
        if self._soon or any(self._always.values()):
            timeout = 0.0
        elif timers:
            timeout = max(0.0, timers[0][0] - self.clock())
            if at_most_s is not None:
                timeout = min(timeout, at_most_s)
        else:
            timeout = -1 if at_most_s is None else at_most_s
        ready = self._epoll.poll(timeout)
        handlers = self._handlers
        for fd, mask in ready:
            handler = handlers.get(fd)
            if handler is not None:
                handler(mask if not mask & _GONE else mask | IN | OUT)
        if self._always:
            for fd, mask in list(self._always.items()):
                handler = handlers.get(fd)
                if handler is not None and mask:
                    handler(mask)
        if timers:
            now = self.clock()
            while timers and timers[0][0] <= now:
                call = heapq.heappop(timers)[2].call
                if call is not None:
                    call()
        if self._soon:
            calls, self._soon = self._soon, []
            for call in calls:
                call()
