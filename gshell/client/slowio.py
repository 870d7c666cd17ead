"""Descriptors that may neither be made non-blocking nor be opened anew: a thread each.

Each thread holds at most one chunk and a duplicate of the descriptor (the caller may close his) and
touches it only when poll() says so: it hardly ever stands in a call that can't be called off. Knows
no session.
"""

from __future__ import annotations

import os
import select
import threading
from abc import ABC, abstractmethod

from gshell.net.loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.net.loop import Loop

CHUNK = 64 * 1024  # bytes read at a time
WRITE_CHUNK = 4096  # bytes that a pipe takes at once when poll() says it is writable: PIPE_BUF
STUCK_S = 0.05  # the loop waits so long for a thread in a call: somebody else emptied the pipe


class _Slow(ABC):
    """A thread and the loop, with an eventfd as a bell in each direction.

    A bell once rung is heard, however late; the lock is only for `pause` to know that no read is
    under way. Invariant: the thread closes the descriptors, when the loop's side will ring no more.
    """

    def __init__(self, loop: Loop, fd: int, mask: int) -> None:
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        self._loop = loop
        self._fd = os.dup(fd)
        self._mask = mask
        self._bell = os.eventfd(0, flags)  # the thread has something for the loop
        self._nudge = os.eventfd(0, flags)  # the thread shall look up from poll()
        self._acting = threading.Lock()
        self._closed = False
        self._released = False
        loop.add(self._bell, IN, self._rung)
        threading.Thread(target=self._run, name=f"slow {fd}", daemon=True).start()

    def close(self) -> None:
        """Of what is under way nothing is reported any more."""
        if not self._closed:
            self._loop.remove(self._bell)
            self._closed = True
            os.eventfd_write(self._nudge, 1)
            self._released = True

    def _tell(self) -> None:
        if not self._closed:
            os.eventfd_write(self._nudge, 1)

    def _run(self) -> None:
        asleep, awake = select.poll(), select.poll()
        asleep.register(self._nudge, select.POLLIN)
        awake.register(self._nudge, select.POLLIN)
        awake.register(self._fd, self._mask)
        while not self._closed:
            ready = [fd for fd, _ in (awake if self._wanted() else asleep).poll()]
            if self._nudge in ready:
                os.eventfd_read(self._nudge)
            if self._fd in ready:
                with self._acting:
                    if self._wanted() and not self._closed:
                        self._act()
                        os.eventfd_write(self._bell, 1)
        while not self._released:  # close() is between two of its lines
            os.sched_yield()
        for fd in (self._fd, self._bell, self._nudge):
            os.close(fd)

    def _rung(self, mask: int) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return  # heard already, by `SlowWriter.wait` in the same round of the loop
        self._report()

    @abstractmethod
    def _report(self) -> None:
        """In the loop: tell what the thread did."""

    @abstractmethod
    def _wanted(self) -> bool:
        """Whether the thread shall act when the descriptor is ready."""

    @abstractmethod
    def _act(self) -> None:
        """In the thread: one read or write."""


class SlowReader(_Slow):
    """Reads while resumed, by chunks; ``take`` is called in the loop's thread, b"" at the end."""

    def __init__(self, loop: Loop, fd: int, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._going = False
        self._chunk: bytes | None = None
        super().__init__(loop, fd, select.POLLIN)

    def resume(self) -> None:
        self._going = True
        self._tell()

    def pause(self) -> None:
        """No read begins after this, and none is under way: unless it is stuck."""
        self._going = False
        if self._acting.acquire(timeout=STUCK_S):
            self._acting.release()

    def _wanted(self) -> bool:
        return self._going and self._chunk is None

    def _act(self) -> None:
        try:
            self._chunk = os.read(self._fd, CHUNK)
        except BlockingIOError:  # somebody else made it non-blocking, and was faster
            self._chunk = None
        except OSError:
            self._chunk = b""

    def _report(self) -> None:
        chunk = self._chunk
        if chunk == b"":
            self._going = False
        self._chunk = None  # now the thread may read on
        self._tell()
        if chunk is not None:
            self._take(chunk)


class SlowWriter(_Slow):
    """Writes one chunk at a time; ``wrote(n, errno)`` is called in the loop's thread for each."""

    def __init__(self, loop: Loop, fd: int, wrote: Callable[[int, int], None]) -> None:
        self._wrote = wrote
        self._busy = False  # a chunk is with the thread, or its result not yet reported
        self._chunk = b""
        self._result = (0, 0)
        super().__init__(loop, fd, select.POLLOUT)

    def offer(self, head: Callable[[], bytes]) -> None:
        """Take what ``head()`` gives, unless there is a chunk: then ``wrote`` comes first."""
        if self._busy:
            return
        self._busy = True
        self._chunk = head()[:WRITE_CHUNK]
        self._tell()

    def wait(self, timeout_s: float) -> None:
        """Report the next chunk written, if it is within the time."""
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        if poll.poll(timeout_s * 1000):
            self._rung(IN)

    def _wanted(self) -> bool:
        return bool(self._chunk)

    def _act(self) -> None:
        chunk, self._chunk = self._chunk, b""
        try:
            self._result = (os.write(self._fd, chunk), 0)
        except BlockingIOError:
            self._result = (0, 0)
        except OSError as error:
            self._result = (0, error.errno or 5)

    def _report(self) -> None:
        result = self._result
        self._busy = False
        self._wrote(*result)
