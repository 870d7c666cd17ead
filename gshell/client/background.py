"""The per-user background process: keeps links warm and runs sessions for front processes.

A front process hands over its descriptors, words, directory and environment on a unix socket
(0600, peer's uid checked) and waits for the status; the lines they exchange are listed in
``client/frontend.py``. In the embedded default it also supervises the private relay and its agent.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
from collections.abc import Callable

from gshell import config
from gshell.client import upkeep
from gshell.client.conversation import Dialler
from gshell.client.embedded import Supervisor
from gshell.client.modes import SeenModes
from gshell.client.plan import Plan, Surroundings
from gshell.client.run import Runner
from gshell.client.terminal import DEFAULT_SIZE, rescue
from gshell.client.warm import WarmPool
from gshell.errors import GshellError, UsageError
from gshell.model.ticket import Ticket
from gshell.net import address
from gshell.net.loop import IN, OUT, Loop
from gshell.net.machine import machine_id

PlanOf = Callable[[list[str], Surroundings], "Plan | None"]  # a command line, read

IDLE_S = 1800.0  # without a session: go, and take the private relay along
MAX_HANDOVER_BYTES = 4 << 20  # words and environment of a front process
MAX_LINE_BYTES = 4096  # of what it says afterwards: a terminal's settings are the longest
ENDING = (signal.SIGTERM, signal.SIGINT)
ACCEPT_S = 5.0  # from connecting to having handed over


def _ticket_state() -> tuple[int, ...]:
    """Changes when the ticket's file does; empty without one."""
    try:
        found = os.stat(config.client_ticket_path())
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


class Background:
    """Owns the socket, the pool and all running fronts."""

    def __init__(
        self, loop: Loop, ticket: Ticket, listener: socket.socket, plan_of: PlanOf
    ) -> None:
        self.loop = loop
        self.dialler = Dialler(loop, ticket)
        self.pool = WarmPool(self.dialler)
        self._listener = listener
        self.fronts: set[Front] = set()
        self.plan_of = plan_of
        self._ticket_seen = _ticket_state()
        self.used_at = loop.clock()
        self.stopping = False
        loop.add(listener.fileno(), IN, self._accept)
        self.pool.fill()

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.getuid() or self.stopping:
            sock.close()
            return
        self.used_at = self.loop.clock()
        self._renew()
        self.fronts.add(Front(self, sock))

    def _renew(self) -> None:
        """The user has enrolled again, after a revocation maybe: come as that from now on."""
        seen = _ticket_state()
        if seen == self._ticket_seen or not seen:
            return
        try:
            ticket = config.find_ticket()
        except GshellError:
            return  # half of one: the next look sees the rest
        if ticket is None:
            return
        self._ticket_seen = seen
        self.pool.close()
        self.dialler = Dialler(self.loop, ticket)
        self.pool = WarmPool(self.dialler)
        self.pool.fill()

    def keep_up(self) -> None:
        """The user's submitter may have been killed."""
        try:
            upkeep.ensure(self.dialler.ticket.pin)
        except GshellError:
            pass  # whoever needs it is told

    def gone(self, front: Front) -> None:
        self.fronts.discard(front)
        self.used_at = self.loop.clock()

    def close(self) -> None:
        self.stopping = True
        self.loop.remove(self._listener.fileno())
        self._listener.close()
        self.pool.close()
        for front in list(self.fronts):
            front.abandon()


class Front:
    """One front process: our end of its socket, and its Runner once it has handed over."""

    def __init__(self, background: Background, sock: socket.socket) -> None:
        self._background = background
        self._loop = background.loop
        self._sock = sock
        sock.setblocking(False)
        self._fds: list[int] = []
        self._data = bytearray()
        self._size = -1
        self._runner: Runner | None = None
        self._window = DEFAULT_SIZE
        self._modes = SeenModes()
        self._mode = self._saved = b""
        self._told = b""
        self._raw = False
        self._unsaid = bytearray()  # while it does not listen
        self._waits = False  # for room
        self._last_modes = ""
        self._ending = False  # all that is left to do is to say so
        self._deadline = self._loop.later(ACCEPT_S, self._too_slow)
        self._loop.add(sock.fileno(), IN, self._on_event)

    # -- the socket

    def _on_event(self, mask: int) -> None:
        if mask & OUT and self._unsaid:
            self._say()
            if self._ending and not self._unsaid:
                self._close()
                return
        try:
            data, anc, _, _ = self._sock.recvmsg(
                1 << 16, socket.CMSG_SPACE(12) if not self._fds else 0
            )
        except BlockingIOError:
            return
        except OSError:
            data, anc = b"", []
        for level, kind, payload in anc:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                count = len(payload) // 4
                self._fds += struct.unpack(f"{count}i", payload[: count * 4])
        if not data:
            self._front_died()
            return
        if self._ending:
            return
        self._data += data
        try:
            if self._runner is None:
                self._hand_over()
            self._lines()
        except (ValueError, IndexError, OverflowError):  # no front process of ours says that
            self._front_died()

    def _lines(self) -> None:
        while self._runner is not None and b"\n" in self._data:
            end = self._data.index(b"\n")
            line = bytes(self._data[:end])
            del self._data[: end + 1]
            self._line(line.split(b" "))
        if len(self._data) > MAX_LINE_BYTES and self._runner is not None:
            raise ValueError("a line without end")

    def _tell(self, line: str) -> None:
        """It may be stopped and hear nothing for hours: of modes it needs the last."""
        if self._unsaid and line.startswith("O "):
            self._last_modes = line
            return
        self._unsaid += line.encode() + b"\n"
        self._say()

    def _say(self) -> None:
        try:
            while self._unsaid:
                del self._unsaid[: self._sock.send(self._unsaid)]
                if not self._unsaid and self._last_modes:
                    self._unsaid += self._last_modes.encode() + b"\n"
                    self._last_modes = ""
        except BlockingIOError:
            pass
        except OSError:
            self._unsaid.clear()  # it died: recv will say so
        if bool(self._unsaid) != self._waits:
            self._waits = not self._waits
            self._loop.modify(self._sock.fileno(), IN | OUT if self._waits else IN)

    def _hand_over(self) -> None:
        if self._size < 0 and len(self._data) >= 4:
            self._size = int.from_bytes(self._data[:4], "big")
            if self._size > MAX_HANDOVER_BYTES:
                self._end(-1)
                return
        if self._size < 0 or len(self._data) < 4 + self._size:
            return
        self._deadline.cancel()
        body = bytes(self._data[4 : 4 + self._size])
        del self._data[: 4 + self._size]
        for fd in self._fds:
            os.set_inheritable(fd, False)
        try:
            self._begin(body)
        except GshellError as error:
            self._complain(error)

    def _begin(self, body: bytes) -> None:
        words = body.split(b"\0")
        if len(words) < 6 or words[0] != b"1" or len(self._fds) != 3:
            self._end(-1)
            return
        cwd, umask, _pid, foreground, count = words[1:6]
        argc = int(count)
        argv = [word.decode("utf-8", "surrogateescape") for word in words[6 : 6 + argc]]
        env = {}
        for pair in words[6 + argc :]:
            key, _, value = pair.decode("utf-8", "surrogateescape").partition("=")
            env[key] = value
        here = Surroundings(
            env=env,
            cwd=cwd.decode("utf-8", "surrogateescape"),
            umask=int(umask, 8),
            where=machine_id(),
            stdin_tty=os.isatty(self._fds[0]),
            stdout_tty=os.isatty(self._fds[1]),
        )
        plan = self._background.plan_of(argv, here)
        if plan is None:
            self._end(-1)  # help and the like: the front does that itself
            return
        self._start(plan, foreground == b"1")

    def _start(self, plan: Plan, foreground: bool) -> None:
        warm = None
        if (
            plan.verb == "run"
            and plan.agents == 1
            and plan.tasks == 1
            and plan.wish is None
            and not plan.beside
            and not plan.agent
            and not plan.pool
            and not plan.wants
        ):
            warm = self._background.pool.take()
        if plan.pty:
            try:
                columns, rows = os.get_terminal_size(self._fds[0])
                if rows and columns:
                    self._window = (rows, columns)
            except OSError:
                pass
        descriptors = (self._fds[0], self._fds[1], self._fds[2])
        dialler = self._background.dialler
        try:
            self._runner = Runner(dialler, plan, descriptors, self, self._done, warm)
        except GshellError:
            if warm is not None:
                warm.close("done")
            raise
        if not foreground:
            self._runner.pause_input(True)
        self._runner.start()

    def _line(self, words: list[bytes]) -> None:
        runner = self._runner
        if runner is None:
            return
        kind = words[0]
        if kind == b"S":
            runner.signalled(words[1].decode("ascii", "replace"))
        elif kind in (b"W", b"C") and len(words) == 3:
            rows, columns = int(words[1]), int(words[2])
            if rows and columns:
                self._window = (rows, columns)
            if kind == b"C":
                runner.hold_output(False)
                runner.pause_input(False)
                runner.resumed()
            else:
                runner.resized()
        elif kind == b"P":
            runner.pause_input(True)
            runner.hold_output(True)
            self._tell("p")
        elif kind == b"F":
            if not runner.in_terminal:
                runner.hold_output(False)  # it goes on, if only in the background
            runner.pause_input(words[1] != b"1")
        elif kind == b"r" and len(words) == 3:
            self._mode, self._saved = (
                bytes.fromhex(words[1].decode()),
                bytes.fromhex(words[2].decode()),
            )
            runner.is_raw()
            runner.pause_input(False)

    # -- Port: the terminal belongs to the front process

    def raw(self) -> bool:
        if not os.isatty(self._fds[0]):  # a terminal was asked for there, there is none here
            return True
        self._raw = True
        if self._runner is not None:
            self._runner.pause_input(True)  # until it says that the terminal is raw
        self._tell("R")
        return False

    def cooked(self) -> None:
        self._raw = False
        self._tell("K")

    def size(self) -> tuple[int, int]:
        return self._window

    def suspend(self) -> None:
        self._raw = False
        self._tell("Z")

    def seen(self, data: bytes) -> None:
        if (b"\x1b" in data or self._modes.cut) and self._modes.feed(data):
            self._tell("O " + self._modes.reset().hex())

    def reset(self) -> bytes:
        reset = self._modes.reset()
        self._modes.clear()
        return reset

    # -- ends

    def _complain(self, error: GshellError) -> None:
        from gshell.client.render import error_text

        try:
            os.write(self._fds[2], error_text(error, False).encode("utf-8", "surrogateescape"))
        except OSError:
            pass
        self._end(error.exit_code if isinstance(error, UsageError) else 125)

    def _done(self, code: int) -> None:
        self._end(code)

    def _end(self, code: int) -> None:
        self._last_modes = ""
        self._tell(f"X {code}")
        self._ending = True
        if not self._unsaid:
            self._close()

    def _too_slow(self) -> None:
        if self._runner is None:
            self._close()

    def _front_died(self) -> None:
        """Killed, most likely: at once stop reading its terminal, put that in order, let the job
        live."""
        runner = self._runner
        if runner is not None:
            if self._raw and self._mode and self._fds:
                rescue(self._fds[0], self._mode, self._saved, self._modes.reset())
            runner.abandon()
        self._close()

    def abandon(self) -> None:
        """We are going; the front restores its terminal when the socket closes."""
        if self._runner is not None:
            self._runner.abandon()
        self._close()

    def _close(self) -> None:
        if self in self._background.fronts:
            self._background.gone(self)
            self._unsaid.clear()
            self._waits = False
            self._loop.remove(self._sock.fileno())
            self._sock.close()
            for fd in self._fds:
                os.close(fd)
            self._fds = []


def hold_signals() -> None:
    """Until `serve` hears them, what is to end us waits."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def serve(
    ticket: Ticket,
    listener: socket.socket,
    plan_of: PlanOf,
    supervisor: Supervisor | None,
    ready: Callable[[], None],
    idle_s: float = IDLE_S,
) -> int:
    """The process's life: until told to stop, or idle for long."""
    loop = Loop()
    background = Background(loop, ticket, listener, plan_of)
    stopping: list[int] = []
    reads, writes = socket.socketpair()
    for end in (reads, writes):
        end.setblocking(False)
    signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
    for number in ENDING:
        signal.signal(number, lambda number, frame: stopping.append(number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def woken(mask: int) -> None:
        reads.recv(64)

    loop.add(reads.fileno(), IN, woken)

    def look() -> None:
        background.keep_up()
        idle = loop.clock() - background.used_at
        if (
            not background.fronts
            and idle > idle_s
            and (supervisor is None or supervisor.nothing_lives())
        ):
            stopping.append(0)
        loop.later(look_s, look)

    look_s = min(30.0, idle_s / 2)
    loop.later(look_s, look)
    if supervisor is not None:
        supervisor.attach(loop)
    ready()
    while not stopping:
        loop.once()
    background.close()
    if supervisor is not None:
        supervisor.stop()
    return 0


def listen_socket() -> socket.socket:
    """The unix socket for front processes.

    Raises:
        GshellError: no directory for it, or another background process has it.
    """
    config.private_dir(config.runtime_dir())
    # Two that start at once could each take the other's socket for a stale one.
    lock = os.open(
        config.background_socket() + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held as long as we live
    except OSError:
        os.close(lock)
        raise GshellError("another background process runs") from None
    try:
        return address.listen("unix:" + config.background_socket(), 64)
    except OSError as error:
        raise GshellError(
            f"cannot listen on {config.background_socket()}: {error.strerror}"
        ) from None
