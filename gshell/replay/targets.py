"""What a script is played to: bytes out, bytes in, when it waits for input, how it ended.

`Target` is what the engine knows of any of them; here is the one that runs on this machine, in a
terminal of its own. The others are in remote.py.
"""

from __future__ import annotations

import array
import fcntl
import os
import signal
import struct
import termios
from typing import NamedTuple, Protocol

from gshell.errors import GshellError, SpawnFailed
from gshell.net import inputwait
from gshell.net.inputwait import Reader, Watched
from gshell.net.loop import IN, OUT, Loop, Timer
from gshell.net.ptyprobe import PtyProbe
from gshell.net.waitwatch import WaitWatch

READ_BYTES = 1 << 16
SIZE = (80, 24)  # columns, rows of who says none
KILL_AFTER_S = 2.0
REAP_S = 0.02  # where there are no pidfds
TIOCGPTN = 0x80045430
TIOCSPTLCK = 0x40045431


class Waiting(NamedTuple):
    """The program waits for input, and all that it printed before is here."""

    who: str
    """The program's name; empty: unknown."""
    where: str
    """``tty`` or ``pipe``."""
    sure: bool


class Player(Protocol):
    """Who plays: the engine."""

    def on_output(self, rank: int, error: bool, data: bytes) -> None:
        """``rank``: of an MPI job, else 0; ``error``: of a stderr that is apart."""

    def on_change(self) -> None:
        """It waits now, or no more."""

    def on_ended(self, status: int) -> None:
        """All is here."""

    def on_failed(self, error: GshellError) -> None:
        """It could not be started, or was lost."""


class Target(Protocol):
    """Something that a script can be played to. Invariant: after `on_ended` or `on_failed` nothing
    is called any more."""

    loop: Loop
    echoes: bool
    """Has it a terminal? Then what is typed may come back."""
    ranks: bool
    """Are there streams of several ranks?"""
    tells: bool | None
    """Does it say when it waits? None: not known yet."""

    @property
    def readers(self) -> set[int]:
        """Ranks that what is typed goes to."""

    def start(self, player: Player) -> None: ...

    def type(self, data: bytes) -> None: ...

    def end_input(self) -> None: ...

    @property
    def waiting(self) -> Waiting | None:
        """With all that was typed taken."""

    def close(self) -> None:
        """End it, if it has not."""


class Local:
    """A program here, in a terminal of its own."""

    echoes = True
    ranks = False
    tells: bool | None = True
    readers: set[int] = {0}  # noqa: RUF012 - never changed

    def __init__(
        self,
        loop: Loop,
        argv: list[str],
        env: dict[str, str],
        cwd: str | None = None,
        size: tuple[int, int] = SIZE,
    ) -> None:
        self.loop = loop
        self.pid = 0
        self._argv, self._env, self._cwd, self._size = argv, env, cwd, size
        self._player: Player | None = None
        self._master = self._slave = self._pidfd = -1
        self._unsent = b""
        self._status: int | None = None
        self._probe = PtyProbe(loop)
        self._watch = WaitWatch(loop, self, self._probe)
        self._killing: Timer | None = None
        self._paused = False

    def start(self, player: Player) -> None:
        self._player = player
        try:
            self._spawn()
        except OSError as error:
            reason = error.strerror or str(error)
            failed = SpawnFailed(f"{self._argv[0]}: cannot be started: {reason}")
            self.loop.soon(lambda: player.on_failed(failed))
            return
        self.loop.add(self._master, IN, self._ready)
        if self._pidfd >= 0:
            self.loop.add(self._pidfd, IN, lambda mask: self._reap())
        else:
            self.loop.later(REAP_S, self._poll)
        self._watch.printed()

    def _spawn(self) -> None:
        self._master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(self._master, TIOCSPTLCK, struct.pack("i", 0))
        number = array.array("i", [0])
        fcntl.ioctl(self._master, TIOCGPTN, number)
        slave = f"/dev/pts/{number[0]}"
        columns, rows = self._size
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # Held open: else our end reads EIO as soon as the program closes its own for a moment.
        self._slave = os.open(slave, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        here = os.open(".", os.O_PATH | os.O_CLOEXEC)
        try:
            if self._cwd is not None:
                os.chdir(self._cwd)
            self.pid = os.posix_spawnp(
                self._argv[0],
                self._argv,
                self._env,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, slave, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_DUP2, 0, 1),
                    (os.POSIX_SPAWN_DUP2, 0, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        finally:
            os.fchdir(here)
            os.close(here)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            pass

    # -- output

    def _ready(self, mask: int) -> None:
        if mask & OUT:
            self._write()
        if mask & IN:
            self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self._master, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the terminal any more
            data = b""
        if not data:
            self.loop.remove(self._master)
            return False
        self._watch.printed()
        if self._player is not None:
            self._player.on_output(0, False, data)
        return True

    # -- input

    def type(self, data: bytes) -> None:
        self._unsent += data
        self._write()

    def end_input(self) -> None:
        """On a terminal that is a key, which a script says itself."""

    def _write(self) -> None:
        if self._status is not None or self._master < 0:
            self._unsent = b""
            return
        try:
            count = os.write(self._master, self._unsent) if self._unsent else 0
        except BlockingIOError:
            count = 0
        except OSError:
            count = len(self._unsent)
        self._unsent = self._unsent[count:]
        self.loop.modify(self._master, IN | (OUT if self._unsent else 0))
        self._watch.typed()

    # -- waits

    def look(self) -> Reader | None:
        if self._unsent or self._status is not None or self._slave < 0:
            return None
        return inputwait.looks(Watched(self.pid, self._master, self._slave, -1))

    def waits(self, reader: Reader | None) -> None:
        if self._player is not None:
            self._player.on_change()

    @property
    def waiting(self) -> Waiting | None:
        reader = self._watch.reader
        return None if reader is None else Waiting(reader.name, reader.where, reader.sure)

    # -- the end

    def _poll(self) -> None:
        if self._status is None:
            self._reap()
            self.loop.later(REAP_S, self._poll)

    def _reap(self) -> None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid or self._status is not None:
            return
        self._status = os.waitstatus_to_exitcode(status)
        self._watch.close()
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1
        while self._read():
            pass
        self._shut()
        player, self._player = self._player, None
        if player is not None:
            code = self._status if self._status >= 0 else 128 - self._status
            player.on_ended(code)

    def _shut(self) -> None:
        self._probe.close()
        if self._killing is not None:
            self._killing.cancel()
        for name in ("_pidfd", "_master", "_slave"):
            fd = getattr(self, name)
            if fd >= 0:
                self.loop.remove(fd)
                os.close(fd)
                setattr(self, name, -1)

    def close(self) -> None:
        """Hang up, as a terminal that is closed does; then harder."""
        self._watch.close()
        self._probe.close()
        if self._status is not None or not self.pid:
            return
        self._signal(signal.SIGHUP)
        self._killing = self.loop.later(KILL_AFTER_S, lambda: self._signal(signal.SIGKILL))
        self.loop.run_until(lambda: self._status is not None, 2 * KILL_AFTER_S)

    def _signal(self, number: int) -> None:
        groups = {self.pid}
        try:
            groups.add(os.tcgetpgrp(self._master))
        except OSError:
            pass
        for group in groups:
            try:
                if group > 1 and (group == self.pid or os.getsid(group) == self.pid):
                    os.killpg(group, number)
                    os.killpg(group, signal.SIGCONT)
            except OSError:
                pass
