"""Descriptors that may neither be made non-blocking nor be opened anew: a thread each.

Each thread holds at most one chunk and a duplicate of the descriptor (the caller may close his) and
touches it only when poll() says so: it hardly ever stands in a call that can't be called off. Knows
no session.
"""

from __future__ import annotations

import os
import select
import threading

from gshell.net.loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from gshell.net.loop import Loop

CHUNK = 64 * 1024  # bytes read at a time
WRITE_CHUNK = 4096  # bytes that a pipe takes at once when poll() says it is writable: PIPE_BUF
STUCK_S = 0.05  # the loop waits so long for a thread in a call: somebody else emptied the pipe


class _Slow:
    """A thread and the loop, a lock between them, and an eventfd as a bell in each direction.

    Invariant: the descriptors are closed by the thread, after ``_closed``; the loop's side rings
    the thread only while it has the lock and ``_done`` is not set.
    """

    def __init__(self, loop: Loop, fd: int, mask: int) -> None:
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        self._loop = loop
        self._fd = os.dup(fd)
        self._mask = mask
        self._bell = os.eventfd(0, flags)  # the thread has something for the loop
        self._nudge = os.eventfd(0, flags)  # the thread shall look up from poll()
        self._lock = threading.Condition(threading.Lock())
        self._closed = False
        self._done = False
        loop.add(self._bell, IN, self._rung)
        threading.Thread(target=self._run, name=f"slow {fd}", daemon=True).start()

    def close(self) -> None:
        self._closed = True
        self._loop.remove(self._bell)
        self._tell()

    def _tell(self) -> bool:
        """Have the thread look at what was set; after True it no longer acts on the old."""
        if not self._lock.acquire(timeout=STUCK_S):
            return False
        if not self._done:
            os.eventfd_write(self._nudge, 1)
            self._lock.notify()
        self._lock.release()
        return True

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, self._mask)
        poll.register(self._nudge, select.POLLIN)
        with self._lock:
            while not self._closed:
                if not self._wanted():
                    self._lock.wait()
                    continue
                self._lock.release()
                try:
                    ready = [fd for fd, _ in poll.poll()]
                finally:
                    self._lock.acquire()
                if self._nudge in ready:
                    os.eventfd_read(self._nudge)
                if self._fd in ready and self._wanted() and not self._closed:
                    self._act()
                    os.eventfd_write(self._bell, 1)
            self._done = True
        for fd in (self._fd, self._bell, self._nudge):
            os.close(fd)

    def _rung(self, mask: int) -> None:
        raise NotImplementedError

    def _wanted(self) -> bool:
        raise NotImplementedError

    def _act(self) -> None:
        raise NotImplementedError


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
        """No read begins after this."""
        self._going = False
        self._tell()

    def _wanted(self) -> bool:
        return self._going and self._chunk is None

    def _act(self) -> None:
        try:
            self._chunk = os.read(self._fd, CHUNK)
        except BlockingIOError:  # somebody else made it non-blocking, and was faster
            self._chunk = None
        except OSError:
            self._chunk = b""

    def _rung(self, mask: int) -> None:
        os.eventfd_read(self._bell)
        with self._lock:
            chunk, self._chunk = self._chunk, None
            if chunk == b"":
                self._going = False
            self._lock.notify()
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

    def _rung(self, mask: int) -> None:
        os.eventfd_read(self._bell)
        with self._lock:
            result = self._result
        self._busy = False
        self._wrote(*result)
