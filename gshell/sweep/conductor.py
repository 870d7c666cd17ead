"""One thread that starts, reads and reaps all processes of this Python. Knows no hosts, no ssh.

A process is in a session of its own: all that it starts can be found and ended with it
(`proctree`). Should this Python be killed, a `guardian` ends what it had started.
"""

from __future__ import annotations

import atexit
import contextlib
import heapq
import itertools
import logging
import os
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from gshell.sweep import proctree
from gshell.sweep.guardian import Guardian
from gshell.sweep.spawn import Spawned, marks_begin, raise_limit, spawn

READ_BYTES = 1 << 16
TURN_READS = 16  # of one descriptor before the others have their turn: a flood delays nobody
UNREAD = 64 << 20  # bytes for a stdin that wait here; who has more of them waits too
LONGEST_S = 3600.0  # until the next look at the clock: the kernel counts 24 days at most
LINGER_S = 2.0  # for what a process's own children print after its end: they may do so for ever

logger = logging.getLogger("gshell.sweep")


class Followed:
    """A process that the conductor follows; what is called is called in its thread."""

    def __init__(
        self,
        spawned: Spawned,
        on_output: Callable[[int, bytes], None],
        on_end: Callable[[int], None],
        on_refused: Callable[[], None] | None = None,
    ) -> None:
        """``on_output(1 or 2, bytes)``, without bytes at the end of it; then ``on_end(status)``:
        the wait status, when it is reaped and all output is here. ``on_refused()``: it will not
        read what was written to its stdin."""
        self.spawned = spawned
        self.on_output = on_output
        self.on_end = on_end
        self.on_refused = on_refused
        self.open = {spawned.stdout: 1, spawned.stderr: 2}
        self.input: deque[bytes | memoryview | None] = deque()
        """To be written; None: the end."""
        self.unread = 0
        """Bytes of these, and of those that are on their way here."""
        self.room = threading.Event()
        """For more of them."""
        self.room.set()
        self.counting = threading.Lock()
        self.input_open = True
        self.status: int | None = None
        self.paused = False
        """Who is given its output has enough for now."""
        self.reaped = False


class Conductor:
    """Invariant: what it has is touched in its own thread; others leave word in ``_wishes``."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wishes: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._awake, self._waker = os.pipe()
        os.set_blocking(self._awake, False)
        os.set_blocking(self._waker, False)
        self._selector.register(self._awake, selectors.EVENT_READ, self._woken)
        self._guardian = Guardian(marks_begin())
        self._counting = threading.Lock()
        self._live = 0
        self._following: set[Followed] = set()
        self._signals: deque[tuple[Followed | bytes, int, bool]] = deque()
        self._stalled: deque[Callable[[], None]] = deque()
        raise_limit()
        self.pid = os.getpid()
        self.thread = threading.Thread(target=self._run, name="sweep-conductor", daemon=True)
        self.thread.start()

    # ---------------------------------------------------------------------------- from any thread

    def soon(self, call: Callable[[], None]) -> None:
        self._wishes.append(call)
        if threading.current_thread() is not self.thread:
            with contextlib.suppress(BlockingIOError):  # it is full of such words already
                os.write(self._waker, b"!")

    def later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """What is returned takes it back."""
        due = time.monotonic() + delay_s
        wanted = [call]  # a time-out of a day shall not keep its process that long

        def fire() -> None:
            mine = wanted[:]
            wanted.clear()
            for one in mine:
                one()

        cancel = wanted.clear

        self.soon(lambda: heapq.heappush(self._timers, (due, next(self._count), fire)))
        return cancel

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], pty: bool) -> Spawned:
        """As `spawn.spawn`, guarded; whoever begins it follows it."""
        self._guardian.begin()  # before there is anything to be guarded
        return spawn(argv, env, pty)

    def follow(self, process: Followed) -> None:
        with self._counting:
            self._live += 1
        self._following.add(process)
        self.soon(lambda: self._follow(process))

    def when_room(self, call: Callable[[], None]) -> bool:
        """Call it when a process has ended, for want of descriptors; False: none runs."""
        if not self._live:
            return False
        self.soon(lambda: self._stalled.append(call) if self._live else self._safely(call))
        return True

    def write(self, process: Followed, data: bytes | None) -> None:
        """To its stdin; None ends that. Waits while it has much to read already."""

        def put() -> None:
            process.input.append(data)
            if process.input_open:
                self._write(process)
            else:
                self._refused(process)

        if threading.current_thread() is not self.thread:
            while not process.room.wait(60.0):
                pass
        self._unread(process, len(data or b""))
        self.soon(put)

    def _unread(self, process: Followed, more: int) -> None:
        with process.counting:
            process.unread += more
            if process.unread > UNREAD:
                process.room.clear()
            elif process.unread <= UNREAD // 2:
                process.room.set()

    def _refused(self, process: Followed) -> None:
        """Forget what it would have read."""
        lost = sum(len(one) for one in process.input if one is not None)
        process.input.clear()
        self._unread(process, -lost)
        if lost and process.on_refused is not None:
            self._safely(process.on_refused)

    def pause(self, process: Followed, paused: bool) -> None:
        """Leave its output in the pipe, so that it waits; or go on."""

        def do() -> None:
            process.paused = paused
            for fd in process.open:
                self._interest(process, fd)

        self.soon(do)

    def signal(self, process: Followed | bytes, number: int, whole: bool = True) -> None:
        """To it, with all that it has started (``whole``); or, by its mark, to these alone. Soon:
        what many ask for is done in one go."""
        self._signals.append((process, number, whole))
        self.soon(self._send)

    # ------------------------------------------------------------------------------ in its thread

    def _send(self) -> None:
        while self._signals:
            number = self._signals[0][1]
            leaders: set[int] = set()
            marks: set[bytes] = set()
            while self._signals and self._signals[0][1] == number:
                process, _, whole = self._signals.popleft()
                if isinstance(process, bytes):
                    marks.add(process)
                elif whole:
                    marks.add(process.spawned.mark)
                    if not process.reaped:
                        leaders.add(process.spawned.pid)
                elif not process.reaped:
                    with contextlib.suppress(OSError):
                        os.kill(process.spawned.pid, number)
            proctree.signal_all(leaders, marks, number)

    def _run(self) -> None:
        while True:
            wait_s = None
            if self._wishes:
                wait_s = 0.0
            elif self._timers:
                wait_s = min(LONGEST_S, max(0.0, self._timers[0][0] - time.monotonic()))
            for key, mask in self._selector.select(wait_s):
                self._safely(lambda key=key, mask=mask: key.data(mask))  # type: ignore[misc]
            while self._timers and self._timers[0][0] <= time.monotonic():
                self._safely(heapq.heappop(self._timers)[2])
            for _ in range(len(self._wishes)):
                self._safely(self._wishes.popleft())

    def _safely(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # it is the only thread for everybody
            logger.exception("in the conductor")

    def _woken(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._awake, 4096):
                pass

    def _follow(self, process: Followed) -> None:
        self._guardian.began(process.spawned.pid)
        for fd in process.open:
            self._interest(process, fd)
        self._selector.register(
            process.spawned.pidfd, selectors.EVENT_READ, lambda mask: self._ended(process)
        )
        self._write(process)

    def abandon(self) -> None:
        """In a child by fork: close what was copied."""
        fds = [self._awake, self._waker]
        for process in list(self._following):
            fds += process.open
            if process.input_open and process.spawned.stdin not in process.open:
                fds.append(process.spawned.stdin)
            if not process.reaped:
                fds.append(process.spawned.pidfd)
        self._guardian.abandon()
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._selector.close()

    def take_leave(self) -> None:
        """This Python ends as it should: who was let go lives on."""
        if self.pid == os.getpid():
            self._guardian.leave()

    def _ready(self, process: Followed, fd: int, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._write(process)
        if mask & selectors.EVENT_READ and fd in process.open:
            self._read(process, fd, TURN_READS)

    def _interest(self, process: Followed, fd: int) -> None:
        """What the selector is to tell of ``fd``."""
        wanted = selectors.EVENT_READ if fd in process.open and not process.paused else 0
        if fd == process.spawned.stdin and process.input_open and process.input:
            wanted |= selectors.EVENT_WRITE
        known = self._selector.get_map().get(fd)
        if known is None:
            if wanted:
                self._selector.register(fd, wanted, lambda mask: self._ready(process, fd, mask))
        elif not wanted:
            self._selector.unregister(fd)
        elif known.events != wanted:
            self._selector.modify(fd, wanted, known.data)

    def _read(self, process: Followed, fd: int, turns: int, last: bool = False) -> None:
        for _ in range(turns):
            if process.paused and not last:
                return
            try:
                data = os.read(fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:  # a terminal that nobody has open any more
                data = b""
            if not data:
                self._close_output(process, fd)
                return
            process.on_output(process.open[fd], data)
            if len(data) < 1024 and not last:  # most of the time that was it: the selector knows
                return

    def _close_output(self, process: Followed, fd: int) -> None:
        which = process.open.pop(fd)
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
        if fd == process.spawned.stdin:
            process.input_open = False
            self._refused(process)
        os.close(fd)
        process.on_output(which, b"")
        self._check(process)

    def _write(self, process: Followed) -> None:
        fd = process.spawned.stdin
        terminal = fd == process.spawned.stdout
        for _ in range(TURN_READS):
            if not process.input or not process.input_open:
                break
            data = process.input[0]
            if data is None:
                if terminal:
                    process.input[0] = data = b"\x04"
                    self._unread(process, 1)
                else:
                    self._close_input(process)
                    return
            try:
                count = os.write(fd, data)
            except BlockingIOError:
                break
            except OSError:  # it does not read any more
                if terminal:
                    self._refused(process)
                else:
                    self._close_input(process)
                return
            process.input.popleft()
            self._unread(process, -count)
            if count < len(data):
                process.input.appendleft(memoryview(data)[count:])
        if process.input_open:
            self._interest(process, fd)

    def _close_input(self, process: Followed) -> None:
        fd = process.spawned.stdin
        process.input_open = False
        self._refused(process)
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
        os.close(fd)

    def _ended(self, process: Followed) -> None:
        process.reaped = True
        self._selector.unregister(process.spawned.pidfd)
        os.close(process.spawned.pidfd)
        try:
            process.status = os.waitpid(process.spawned.pid, 0)[1]
        except ChildProcessError:  # somebody else in this Python waits for all there is
            process.status = 255 << 8
        self._guardian.ended(process.spawned.pid)
        if process.input_open and process.spawned.stdin != process.spawned.stdout:
            self._close_input(process)
        if process.open:
            self.later(LINGER_S, lambda: self._give_up(process))
        self._check(process)

    def _give_up(self, process: Followed) -> None:
        """Somebody whom it left behind holds its output."""
        for fd in list(process.open):
            self._read(process, fd, 1 << 10, last=True)
            if fd in process.open:
                self._close_output(process, fd)

    def _check(self, process: Followed) -> None:
        if process.status is not None and not process.open:
            status, process.status = process.status, None
            with self._counting:
                self._live -= 1
            self._following.discard(process)
            self._safely(lambda: process.on_end(status))
            called = 0
            while self._stalled and (called < 2 or not self._live):
                self._safely(self._stalled.popleft())
                called += 1


_conductor: Conductor | None = None
_lock = threading.Lock()


def conductor() -> Conductor:
    """The one of this Python; a child by fork gets its own."""
    global _conductor
    with _lock:
        if _conductor is None or _conductor.pid != os.getpid():
            _conductor = Conductor()
            atexit.register(_conductor.take_leave)
            workers = sys.modules.get("multiprocessing.util")
            if workers is not None:  # its children have no atexit
                workers.Finalize(None, _conductor.take_leave, exitpriority=0)
        return _conductor


def _forked() -> None:
    """In a child by fork: nothing here is its own, and what it held open would be open as long as
    it lives (a process of its parent would not read the end of its stdin)."""
    global _conductor, _lock
    parents, _conductor, _lock = _conductor, None, threading.Lock()
    if parents is not None:
        parents.abandon()


os.register_at_fork(after_in_child=_forked)
