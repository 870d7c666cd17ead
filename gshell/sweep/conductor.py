"""One thread that starts, reads and reaps all processes of this Python. Knows no hosts, no ssh.

A process is in a session of its own: all that it starts can be found and ended with it. Should this
Python be killed, a guardian (`GUARDIAN`) ends what it had started.
"""

from __future__ import annotations

import atexit
import contextlib
import heapq
import itertools
import logging
import os
import resource
import selectors
import signal
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

READ_BYTES = 1 << 16
TURN_READS = 16  # of one descriptor before the others have their turn: a flood delays nobody
DESCRIPTORS = 65536  # that we ask for
LINGER_S = 2.0  # for what a process's own children print after its end: they may do so for ever
DEFAULTED = [
    number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)
]
GUARDIAN = """
import os, signal, sys, time
mark = sys.argv[1].encode()
mine, known, orderly = {}, set(), False
for line in sys.stdin:
    sign, pid, started = line.split()
    if sign == "+":
        mine[pid] = started
        known.add(pid)
    elif sign == "-":
        mine.pop(pid, None)
    else:
        orderly = True
def stat(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2].split()
    except OSError:
        return None
def marked(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\\0")
    except OSError:
        return False
def all_of():
    found = set()
    for name in os.listdir("/proc"):
        fields = stat(name) if name.isdigit() else None
        if not fields or fields[0] == "Z" or name == str(os.getpid()):
            continue
        if fields[3] in mine:
            leader = stat(fields[3])
            if leader is None or leader[19] == mine[fields[3]] or fields[3] != name:
                found.add(int(name))
        elif not orderly and fields[3] not in known and marked(name):
            found.add(int(name))
    return found
if orderly and not mine:
    sys.exit()
for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 0.0)):
    settled = time.monotonic() + 0.1
    end = time.monotonic() + patience
    told = set()
    while True:
        left = all_of()
        for pid in left - told:
            try:
                os.kill(pid, number)
            except OSError:
                pass
        told |= left
        now = time.monotonic()
        if now >= settled and (not left or now >= end):
            break
        time.sleep(0.05)
"""
"""Reads who is there (``+PID START``) and who is not (``-``) until its stdin ends, with this
Python; then ends what is left: with TERM, and KILL after 3 s. Sessions, so children too; and, if
this Python did not take leave (``.``), who carries its mark but was never told of: it died between
starting a process and telling. Nothing may run between its end and another look: what was being
started when it died comes a moment later."""

MARK = f"GSHELL_SWEEP_HERE={uuid.uuid4().hex}"

logger = logging.getLogger("gshell.sweep")


class Spawned(NamedTuple):
    """A process that was started."""

    pid: int
    stdin: int
    stdout: int
    stderr: int
    """Ours of its pipes; of a terminal, ``stdin`` and ``stdout`` are both its master."""
    pidfd: int


def spawn(argv: Sequence[str], env: Mapping[str, str], pty: bool) -> Spawned:
    """Start ``argv``, its stdin, stdout and stderr on pipes of ours (``pty``: the first two on a
    terminal of its own), signals as they are by default, no other descriptor.

    Raises:
        OSError: it cannot be started.
    """
    conductor().guarded()  # before there is anything to be guarded
    name, _, value = MARK.partition("=")
    env = {**env, name: value}
    ours: list[int] = []
    theirs: list[int] = []
    try:
        err_ours, err_theirs = os.pipe()
        ours.append(err_ours)
        theirs.append(err_theirs)
        if pty:
            master, slave = os.openpty()
            termios.tcsetwinsize(slave, (24, 80))
            ours.append(master)
            theirs.append(slave)
            stdin = stdout = master
            # The first terminal that the leader of a session opens is its controlling one.
            actions: list[tuple[Any, ...]] = [
                (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 0, 1),
            ]
        else:
            in_theirs, stdin = os.pipe()
            stdout, out_theirs = os.pipe()
            ours += [stdin, stdout]
            theirs += [in_theirs, out_theirs]
            actions = [(os.POSIX_SPAWN_DUP2, in_theirs, 0), (os.POSIX_SPAWN_DUP2, out_theirs, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, err_theirs, 2))
        spare = os.dup(err_ours)  # to be missed now, not when it has begun
        theirs.append(spare)
        pid = os.posix_spawnp(
            argv[0], list(argv), env, file_actions=actions, setsid=True,
            setsigmask=[], setsigdef=DEFAULTED,
        )  # fmt: skip
        theirs.remove(spare)
        os.close(spare)
        pidfd = _handle(pid)
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    for fd in ours:
        os.set_blocking(fd, False)
    return Spawned(pid, stdin, stdout, err_ours, pidfd)


def _handle(pid: int) -> int:
    """Of a child that has just begun, which gets the limits that we were started with.

    Raises:
        OSError: no descriptor is left; it was ended.
    """
    if _limit is not None:
        with contextlib.suppress(OSError):  # it has ended
            resource.prlimit(pid, resource.RLIMIT_NOFILE, _limit)
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


_limit: tuple[int, int] | None = None  # of descriptors, before we raised it


def _raise_limit() -> None:
    """Four descriptors a process: with 1024 no 256 of them would run at a time."""
    global _limit
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if _limit is None and soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            _limit = (soft, hard)


class Followed:
    """A process that the conductor follows; what is called is called in its thread."""

    def __init__(
        self,
        spawned: Spawned,
        on_output: Callable[[int, bytes], None],
        on_end: Callable[[int], None],
    ) -> None:
        """``on_output(1 or 2, bytes)``, without bytes at the end of it; then ``on_end(status)``:
        the wait status, when it is reaped and all output is here."""
        self.spawned = spawned
        self.on_output = on_output
        self.on_end = on_end
        self.open = {spawned.stdout: 1, spawned.stderr: 2}
        self.input: deque[bytes | None] = deque()
        """To be written; None: the end."""
        self.input_open = True
        self.status: int | None = None


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
        self._guardian: subprocess.Popen[bytes] | None = None
        self._guarding = threading.Lock()
        self._counting = threading.Lock()
        self._live = 0
        self._stalled: deque[Callable[[], None]] = deque()
        _raise_limit()
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
        live = [True]

        def fire() -> None:
            if live[0]:
                live[0] = False
                call()

        def cancel() -> None:
            live[0] = False

        self.soon(lambda: heapq.heappush(self._timers, (due, next(self._count), fire)))
        return cancel

    def follow(self, process: Followed) -> None:
        with self._counting:
            self._live += 1
        self.soon(lambda: self._follow(process))

    def when_room(self, call: Callable[[], None]) -> bool:
        """Call it when a process has ended, for want of descriptors; False: none runs."""
        if not self._live:
            return False
        self.soon(lambda: self._stalled.append(call) if self._live else self._safely(call))
        return True

    def write(self, process: Followed, data: bytes | None) -> None:
        """To its stdin; None ends that."""

        def put() -> None:
            if process.input_open:
                process.input.append(data)
                self._write(process)

        self.soon(put)

    # ------------------------------------------------------------------------------ in its thread

    def _run(self) -> None:
        while True:
            wait_s = None
            if self._wishes:
                wait_s = 0.0
            elif self._timers:
                wait_s = max(0.0, self._timers[0][0] - time.monotonic())
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
        pid = process.spawned.pid
        self._tell_guardian(f"+ {pid} {_started(pid)}")
        for fd in process.open:
            self._selector.register(
                fd, selectors.EVENT_READ, lambda mask, fd=fd: self._ready(process, fd, mask)
            )
        self._selector.register(
            process.spawned.pidfd, selectors.EVENT_READ, lambda mask: self._ended(process)
        )
        self._write(process)

    def guarded(self) -> None:
        """There is a guardian from now on."""
        with self._guarding:
            self._guard()

    def _guard(self) -> subprocess.Popen[bytes]:
        if self._guardian is None or self._guardian.poll() is not None:
            self._guardian = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", GUARDIAN, MARK],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        return self._guardian

    def _tell_guardian(self, line: str) -> None:
        with self._guarding:
            guardian = self._guard()
            assert guardian.stdin is not None
            with contextlib.suppress(OSError):
                guardian.stdin.write(line.encode() + b"\n")
                guardian.stdin.flush()

    def take_leave(self) -> None:
        """This Python ends as it should: who was let go lives on."""
        if self._guardian is not None and self.pid == os.getpid():
            self._tell_guardian(". 0 0")

    def _ready(self, process: Followed, fd: int, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._write(process)
        if mask & selectors.EVENT_READ and fd in process.open:
            self._read(process, fd, TURN_READS)

    def _read(self, process: Followed, fd: int, turns: int) -> None:
        for _ in range(turns):
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
            if len(data) < 1024:  # most of the time that was it: the selector knows
                return

    def _close_output(self, process: Followed, fd: int) -> None:
        which = process.open.pop(fd)
        self._selector.unregister(fd)
        if fd == process.spawned.stdin:
            process.input_open = False
        os.close(fd)
        process.on_output(which, b"")
        self._check(process)

    def _write(self, process: Followed) -> None:
        fd = process.spawned.stdin
        terminal = fd == process.spawned.stdout
        while process.input and process.input_open:
            data = process.input[0]
            if data is None:
                if terminal:
                    data = b"\x04"
                else:
                    self._close_input(process)
                    return
            try:
                count = os.write(fd, data)
            except BlockingIOError:
                break
            except OSError:  # it does not read any more
                if not terminal:
                    self._close_input(process)
                return
            process.input.popleft()
            if count < len(data):
                process.input.appendleft(data[count:])
        if not process.input_open:
            return
        known = self._selector.get_map().get(fd)
        wanted = (selectors.EVENT_WRITE if process.input else 0) | (
            selectors.EVENT_READ if fd in process.open else 0
        )
        if known is None and wanted:
            self._selector.register(fd, wanted, lambda mask: self._ready(process, fd, mask))
        elif known is not None and not wanted:
            self._selector.unregister(fd)
        elif known is not None and known.events != wanted:
            self._selector.modify(fd, wanted, known.data)

    def _close_input(self, process: Followed) -> None:
        fd = process.spawned.stdin
        process.input_open = False
        process.input.clear()
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
        os.close(fd)

    def _ended(self, process: Followed) -> None:
        self._selector.unregister(process.spawned.pidfd)
        os.close(process.spawned.pidfd)
        try:
            process.status = os.waitpid(process.spawned.pid, 0)[1]
        except ChildProcessError:  # somebody else in this Python waits for all there is
            process.status = 255 << 8
        self._tell_guardian(f"- {process.spawned.pid} 0")
        if process.input_open and process.spawned.stdin != process.spawned.stdout:
            self._close_input(process)
        if process.open:
            self.later(LINGER_S, lambda: self._give_up(process))
        self._check(process)

    def _give_up(self, process: Followed) -> None:
        """Somebody whom it left behind holds its output."""
        for fd in list(process.open):
            self._read(process, fd, 1 << 20)
            if fd in process.open:
                self._close_output(process, fd)

    def _check(self, process: Followed) -> None:
        if process.status is not None and not process.open:
            status, process.status = process.status, None
            with self._counting:
                self._live -= 1
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
        return _conductor


# ----------------------------------------------------------------------------------- whole trees


def _stat(pid: str | int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(") ")[2].split()
    except OSError:
        return None


def _started(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields else "0"


def tree(pid: int) -> list[int]:
    """``pid``, its descendants, and all of its session, in no order that means anything."""
    parents: dict[int, list[int]] = {}
    found = {pid}
    for name in os.listdir("/proc"):
        fields = _stat(name) if name.isdigit() else None
        if fields is None or fields[0] == "Z":
            continue
        parents.setdefault(int(fields[1]), []).append(int(name))
        if int(fields[3]) == pid:
            found.add(int(name))
    ahead = list(found)
    while ahead:
        for child in parents.get(ahead.pop(), ()):
            if child not in found:
                found.add(child)
                ahead.append(child)
    return list(found)


def signal_tree(pid: int, number: int) -> None:
    """To all of them, each once; who has gone meanwhile is passed over, and who was born while we
    looked is found by looking again."""
    told: set[int] = set()
    while new := set(tree(pid)) - told:
        told |= new
        for one in new:
            with contextlib.suppress(OSError):
                os.kill(one, number)
