"""A loop in a thread of its own: descriptors, times, and what others ask it to do. Knows not what for.

No locks: what others ask for is done in the thread, and they wait for it.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable


class ThreadLoop:
    """Invariant: all that it calls, it calls in its thread, from `start` to `end`."""

    def __init__(self, name: str) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._asked: list[Callable[[], None]] = []
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self.add(self._woken.fileno(), lambda mask: self._answer())
        self._running = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # ------------------------------------------------------------------------------- from outside

    def start(self) -> None:
        self._thread.start()

    def ask(self, do: Callable[[], None]) -> None:
        """Returns when it is done."""
        done = threading.Event()

        def doing() -> None:
            do()
            done.set()

        self._asked.append(doing)
        self._wake.send(b"!")
        assert done.wait(10), f"the thread of {self._thread.name} is stuck"

    def end(self) -> None:
        self.ask(self._end)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._epoll.close()
        for sock in (self._wake, self._woken):
            sock.close()

    # ------------------------------------------------------------------------------ in its thread

    def add(self, fd: int, handler: Callable[[int], None], mask: int = select.EPOLLIN) -> None:
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def modify(self, fd: int, mask: int) -> None:
        self._epoll.modify(fd, mask)

    def drop(self, fd: int) -> None:
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """``when``: of the monotonic clock."""
        self._timers.append((when, call))

    def _run(self) -> None:
        while self._running:
            now = time.monotonic()
            waits = [when - now for when, _ in self._timers]
            for fd, mask in self._epoll.poll(max(0.0, min(waits)) if waits else None):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(mask)
            now = time.monotonic()
            due = [call for when, call in self._timers if when <= now]
            self._timers = [(when, call) for when, call in self._timers if when > now]
            for call in due:
                call()

    def _answer(self) -> None:
        try:
            self._woken.recv(64)
        except BlockingIOError:
            pass
        while self._asked:
            self._asked.pop(0)()

    def _end(self) -> None:
        self._running = False
