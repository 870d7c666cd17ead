"""The local stdin, stdout and stderr as endpoints of the event loop. Knows nothing of sessions.

The descriptors are borrowed: the user's shell and other processes hold the same open files. So
O_NONBLOCK is never set on one (it would stay set for all of them). By kind:

====================  ====================================================================
terminal, pipe, FIFO  opened anew through /proc/self/fd, non-blocking: an open file of ours
socket                used as it is, each call with MSG_DONTWAIT
file, /dev/null, ...  used as it is: the offset and O_APPEND are shared with others on purpose
anything else         a thread each (slowio.py): what can't be opened anew, a pty's master
====================  ====================================================================

What isn't wanted yet stays in the kernel: nothing is read ahead of the session's credit, and what
can't be written waits in one queue that `Sink.pending` counts.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from gshell.client.slowio import SlowReader, SlowWriter
    from gshell.net.loop import Loop

CHUNK = 64 * 1024  # bytes at a time: what a pipe holds, and what a frame may carry
PIPE_BYTES = 1 << 20  # what a pipe may hold without privileges
DRAIN_ROUND = 4 * CHUNK  # bytes written in one round of the loop before others have their turn
CLOSED = -1  # in place of a descriptor: it was not open when we were started

_PTMX = os.makedev(5, 2)  # opening it anew makes another pty
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


def standard_descriptors() -> tuple[int, int, int]:
    """(0, 1, 2), with `CLOSED` for those that are not open. To be called before anything is opened.

    The closed ones are then taken by /dev/null: the next socket would get the number, and be
    written to as if it were the user's stdout.
    """
    found = [0, 1, 2]
    for fd in found.copy():
        try:
            fcntl.fcntl(fd, fcntl.F_GETFD)
        except OSError:
            found[fd] = CLOSED
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            assert null == fd, "the lowest free number"
    return found[0], found[1], found[2]


class _Way:
    """How a descriptor is read or written; ``fd`` is the one for the system calls."""

    __slots__ = ("close_fd", "fd", "first", "narrow", "slow", "socket", "socket_flags")

    def __init__(self, borrowed: int, flags: int) -> None:
        """``flags``: O_RDONLY or O_WRONLY. OSError(EBADF): not open, or not that way."""
        if borrowed < 0 or fcntl.fcntl(borrowed, fcntl.F_GETFL) & os.O_ACCMODE not in (
            flags,
            os.O_RDWR,
        ):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self.fd = borrowed
        self.close_fd = False  # it is ours
        self.slow = False  # only a thread may touch it
        self.first = False  # read before waiting
        self.narrow = False  # a pipe of 64 KiB: full in no time
        self.socket: socket.socket | None = None
        self.socket_flags = 0
        status = os.fstat(borrowed)
        if stat.S_ISSOCK(status.st_mode):
            import socket

            # The default time-out being None, this leaves the descriptor's flags alone.
            self.socket = socket.socket(fileno=os.dup(borrowed))
            self.fd = self.socket.fileno()
            self.socket_flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        elif stat.S_ISFIFO(status.st_mode):
            self._open(borrowed, flags)
            # A FIFO whose writers are gone shows no hang-up to who opens it then; read() tells.
            self.first = flags == os.O_RDONLY
            self.narrow = True
        elif stat.S_ISCHR(status.st_mode):
            if status.st_rdev == _PTMX:
                self.slow = True
            elif os.isatty(borrowed):
                self._open(borrowed, flags)

    def _open(self, borrowed: int, flags: int) -> None:
        flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self.fd = os.open(f"/proc/self/fd/{borrowed}", flags)
            self.close_fd = True
        except OSError:  # EACCES after su, ENXIO: no reader, ENOENT without /proc
            self.slow = True

    def widen(self) -> bool:
        """Give a pipe that turned out to be too small the size that lets both sides work for a
        while; whether it did. Bulk through 64 KiB is a switch of processes every 64 KiB."""
        self.narrow = False
        try:
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:  # EPERM: the user's share of pipe pages is used up
            return False
        return True

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        elif self.close_fd:
            os.close(self.fd)


class Source:
    """A descriptor that is read: what comes goes to ``on_data``, the end once to ``on_end``.

    Invariant: while paused, closed or ended, not a byte is taken from the descriptor.
    """

    def __init__(self, loop: Loop, fd: int) -> None:
        """``fd`` stays the caller's: it is never closed here. `CLOSED` is an immediate end."""
        self._loop = loop
        self._borrowed = fd
        self._way: _Way | None = None
        self._slow: SlowReader | None = None
        self._on_data: Callable[[bytes], None] = lambda data: None
        self._on_end: Callable[[], None] = lambda: None
        self._reading = False
        self._waiting = False  # registered with the loop
        self._first = False
        self._soon = False  # _read_first is about to be called
        self._ended = False

    def start(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        """Begin to read. Both are called from the loop, never from within this call."""
        self._on_data, self._on_end = on_data, on_end
        try:
            self._way = _Way(self._borrowed, os.O_RDONLY)
        except OSError:
            self._loop.soon(self._end)
            return
        if self._way.slow:
            from gshell.client.slowio import SlowReader

            self._slow = SlowReader(self._loop, self._way.fd, self._take)
        self._first = self._way.first
        self.resume()

    @property
    def ended(self) -> bool:
        """The end was reached, or `close` called."""
        return self._ended

    @property
    def waiting(self) -> bool:
        """Is there more to read at this moment?"""
        if self._way is None or self._way.slow:
            return False
        now = select.poll()
        now.register(self._way.fd, select.POLLIN)
        return bool(now.poll(0))

    def pause(self) -> None:
        """Read nothing more, from now on. What was read already has been handed on.

        Of a slow descriptor one chunk may be under way: it still arrives.
        """
        self._reading = False
        if self._slow is not None:
            self._slow.pause()
        elif self._waiting and self._way is not None:
            self._loop.remove(self._way.fd)
            self._waiting = False

    def resume(self) -> None:
        """Read on. Does no harm twice, or after the end."""
        if self._ended or self._way is None or self._reading:
            return
        self._reading = True
        if self._slow is not None:
            self._slow.resume()
        elif self._first:
            self._read_soon()
        else:
            self._wait()

    def close(self) -> None:
        """Stop for good; no callback comes any more."""
        self._ended = True
        self.pause()
        if self._slow is not None:
            self._slow.close()
        if self._way is not None:
            self._way.close()
            self._way = None

    def _wait(self) -> None:
        assert self._way is not None
        self._loop.add(self._way.fd, _IN, self._ready)
        self._waiting = True

    def _ready(self, mask: int) -> None:
        self._read()

    def _read_soon(self) -> None:
        if not self._soon:
            self._soon = True
            self._loop.soon(self._read_first)

    def _read_first(self) -> None:
        """Until the first EAGAIN: from then on the kernel tells us of a hang-up."""
        self._soon = False
        if not self._reading:
            return
        if self._read():
            self._read_soon()
        elif not self._ended:
            self._first = False
            if self._reading:  # on_data didn't pause us
                self._wait()

    def _read(self) -> bool:
        """One read; whether there was something and more may follow."""
        way = self._way
        if way is None:
            return False
        try:
            if way.socket is not None:
                data = way.socket.recv(CHUNK, way.socket_flags)
            else:
                data = os.read(way.fd, CHUNK)
                if way.narrow and len(data) == CHUNK:
                    way.widen()
        except BlockingIOError:
            return False
        except OSError:  # EIO: the terminal hung up; ECONNRESET. Nothing more will come.
            data = b""
        self._take(data)
        return not self._ended

    def _take(self, data: bytes) -> None:
        if self._ended:
            return
        if data:
            self._on_data(data)
        else:
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self.close()
            self._on_end()


class Sink:
    """A descriptor that is written. What it doesn't take waits in a queue.

    Invariant: every byte given to `write` is reported once by ``on_written`` (in order), or is in
    `pending`, or the sink is broken or closed.
    """

    def __init__(
        self,
        loop: Loop,
        fd: int,
        on_written: Callable[[int], None] = lambda n: None,
        on_broken: Callable[[int], None] = lambda number: None,
    ) -> None:
        """``on_written(n)``: n more bytes reached the descriptor. ``on_broken(errno)``: once, no
        one will ever read the rest. Both may be called from within `write`."""
        self._loop = loop
        self._on_written = on_written
        self._on_broken = on_broken
        self._queue: list[bytes | bytearray] = []
        self._sent = 0  # bytes of the queue's head that were written
        self._waiting = False
        self._held = False
        self._slow: SlowWriter | None = None
        self._way: _Way | None = None
        self.pending = 0
        """Bytes that wait to be written."""
        self.broken = 0
        """The errno of what broke it; 0 while it works."""
        try:
            self._way = _Way(fd, os.O_WRONLY)
        except OSError as error:
            self._unusable = error.errno or errno.EBADF
            return
        self._unusable = 0
        if self._way.slow:
            from gshell.client.slowio import SlowWriter

            self._slow = SlowWriter(loop, self._way.fd, self._wrote)

    def write(self, data: bytes) -> None:
        """Write now what the descriptor takes, queue the rest. Dropped once broken or closed."""
        if self.broken or not data:
            return
        way = self._way
        if way is None:
            if self._unusable:
                self._break(self._unusable)
            return
        written = 0
        if not self._queue and self._slow is None and not self._held:
            try:
                written = self._put(way, data)
            except OSError as error:
                self._break(error.errno or errno.EIO)
                return
        if written < len(data):
            self._append(data[written:] if written else data)
            if not self._held:
                self._more()
        if written:
            self._on_written(written)

    def hold(self, held: bool) -> None:
        """Whether what is written waits: the terminal is not in the mode that it is meant for."""
        if held != self._held and self._way is not None:
            self._held = held
            if held and self._waiting:
                self._loop.remove(self._way.fd)
                self._waiting = False
            elif not held and self._queue:
                self._more()

    def flush_blocking(self, timeout_s: float) -> bool:
        """Wait for the queue to empty, at most so long; whether it did. Nothing else runs."""
        self.hold(False)
        end = self._loop.clock() + timeout_s
        while self.pending:
            left = end - self._loop.clock()
            if left <= 0:
                return False
            if self._slow is not None:
                self._slow.wait(left)
            elif self._way is not None:
                poll = select.poll()
                poll.register(self._way.fd, select.POLLOUT)
                poll.poll(left * 1000)
                self._drain(_OUT)
        return True

    def close(self) -> None:
        """Forget what is pending; no callback comes any more. The caller's fd stays open."""
        self._queue.clear()
        self.pending = self._sent = 0
        self._unusable = 0
        if self._way is None:
            return
        if self._slow is not None:
            self._slow.close()
        elif self._waiting:
            self._loop.remove(self._way.fd)
            self._waiting = False
        self._way.close()
        self._way = None

    def _append(self, data: bytes) -> None:
        self.pending += len(data)
        tail = self._queue[-1] if self._queue else None
        if isinstance(tail, bytearray) and len(tail) + len(data) <= CHUNK:
            tail += data  # a million one-byte writes must not be a million entries
        else:
            self._queue.append(data if len(data) > CHUNK // 2 else bytearray(data))

    def _more(self) -> None:
        """Something is queued: have it fetched."""
        assert self._way is not None
        if self._slow is not None:
            self._slow.offer(self._head)
        elif not self._waiting:
            self._loop.add(self._way.fd, _OUT, self._drain)
            self._waiting = True

    def _head(self) -> bytes:
        """A copy of the next bytes to write, at most a chunk."""
        if not self._queue:
            return b""
        return bytes(memoryview(self._queue[0])[self._sent : self._sent + CHUNK])

    def _drain(self, mask: int) -> None:
        written = 0
        broken = 0
        while self._queue and written < DRAIN_ROUND and self._way is not None:
            head = self._head()
            try:
                n = self._put(self._way, head)
            except OSError as error:
                broken = error.errno or errno.EIO
                break
            self._advance(n)
            written += n
            if n < len(head):
                break
        if not self._queue and self._waiting and self._way is not None:
            self._loop.remove(self._way.fd)
            self._waiting = False
        if written:
            self._on_written(written)
        if broken:
            self._break(broken)

    def _advance(self, n: int) -> None:
        self.pending -= n
        self._sent += n
        if self._queue and self._sent >= len(self._queue[0]):
            del self._queue[0]
            self._sent = 0

    def _wrote(self, n: int, number: int) -> None:
        """The thread wrote ``n`` bytes of the head, or failed with ``number``."""
        if self._way is None:
            return
        if number:
            self._break(number)
            return
        self._advance(n)
        if self._queue:
            self._more()
        if n:
            self._on_written(n)

    def _put(self, way: _Way, data: bytes) -> int:
        """One write; 0 if it would block."""
        try:
            if way.socket is not None:
                return way.socket.send(data, way.socket_flags)
            count = os.write(way.fd, data)
        except BlockingIOError:
            count = 0
        if count < len(data) and way.narrow and way.widen():
            try:
                count += os.write(way.fd, memoryview(data)[count:])
            except BlockingIOError:
                pass
        return count

    def _break(self, number: int) -> None:
        if not self.broken:
            self.broken = number
            self.close()
            self._on_broken(number)


def flush_all(sinks: Iterable[Sink], timeout_s: float) -> bool:
    """`Sink.flush_blocking` for several, with one deadline; whether all are empty."""
    done = True
    for sink in sinks:
        end = sink._loop.clock() + timeout_s
        done = sink.flush_blocking(max(0.0, timeout_s)) and done
        timeout_s = end - sink._loop.clock()
    return done
