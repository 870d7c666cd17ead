"""The person's terminal: raw mode and back, whatever happens. Knows nothing of what is shown on it.

One object owns the mode. Who dies without giving it back (kill -9) is outlived by a *guardian*, a
process of a few system calls that waits for the end of a pipe and then does it. Both killed at once
cannot be cured: `reset` (or a blind ``stty sane``) is left.

Nobody takes a terminal from whom it belongs to: in the background we change nothing (the kernel
stops a process that tries), and the guardian acts only where the modes are still exactly those we
set: if the shell was quicker, or something else runs there since, they aren't.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import termios

from gshell.client.modes import SeenModes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

READY_S = 0.2  # somebody stopped the guardian: do without
DEFAULT_SIZE = (24, 80)  # rows, columns, where the terminal says 0x0
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _ISPEED, _OSPEED, _CC = range(7)
_SETTINGS = struct.Struct("<6I32s")  # termios, for the pipe and for comparing
_STATE = struct.Struct(f"<{_SETTINGS.size}s{_SETTINGS.size}sH")  # ours, theirs, bytes of reset text


def raw_of(attributes: list[Any]) -> list[Any]:
    """The raw mode that belongs to ``attributes``: all keys are bytes to send, as in ssh."""
    raw = [*attributes[:_CC], list(attributes[_CC])]
    raw[_IFLAG] |= termios.IGNPAR
    raw[_IFLAG] &= ~(
        termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
        | termios.IXANY
        | termios.IXOFF
        | termios.BRKINT
        | termios.PARMRK
    )
    raw[_OFLAG] &= ~termios.OPOST
    raw[_LFLAG] &= ~(
        termios.ISIG
        | termios.ICANON
        | termios.ECHO
        | termios.ECHOE
        | termios.ECHOK
        | termios.ECHONL
        | termios.IEXTEN
    )
    raw[_CC][termios.VMIN] = 1
    raw[_CC][termios.VTIME] = 0
    return raw


def packed(attributes: list[Any]) -> bytes:
    """``attributes`` as bytes that can be compared and sent."""
    control = b"".join(c if isinstance(c, bytes) else bytes((c,)) for c in attributes[_CC])
    return _SETTINGS.pack(*attributes[:_CC], control)


def unpacked(data: bytes) -> list[Any]:
    """What `packed` made."""
    *numbers, control = _SETTINGS.unpack(data)
    return [*numbers, [control[i : i + 1] for i in range(len(control))]]


class Terminal:
    """The terminal behind a descriptor, and the modes it had before us.

    Invariant: while not `is_raw`, the terminal has nothing that we did to it.
    """

    def __init__(self, fd: int) -> None:
        """``fd`` is borrowed. Raises termios.error if it is no terminal."""
        self.fd = fd
        self.is_raw = False
        self.seen = SeenModes()
        self._saved = termios.tcgetattr(fd)
        self._guardian: Guardian | None = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def saved(self) -> list[Any]:
        """The modes that `restore` goes back to."""
        return self._saved

    def guard(self) -> None:
        """Have a guardian from now on. Call it early: the fork copies what is loaded."""
        if self._guardian is None:
            self._guardian = Guardian(self.fd)

    def size(self) -> tuple[int, int]:
        """(rows, columns); where the terminal doesn't know: LINES and COLUMNS, or 24 x 80."""
        try:
            columns, rows = os.get_terminal_size(self.fd)
        except OSError:
            columns = rows = 0
        return (
            rows or _number("LINES") or DEFAULT_SIZE[0],
            columns or _number("COLUMNS") or DEFAULT_SIZE[1],
        )

    def raw(self) -> None:
        """Every key is a byte for the other side. In the background this stops us until `fg`.

        What the modes are now is what `restore` goes back to: a shell may have changed them while
        we were suspended. No wait for output to drain: it may be held by Ctrl-S.
        """
        if self.is_raw or not _wait_for_foreground(self.fd):
            return
        self._saved = termios.tcgetattr(self.fd)
        mode = raw_of(self._saved)
        if self._guardian is not None:  # first: we may be killed in between
            self._guardian.wait_ready()
            self._guardian.tell(packed(mode), packed(self._saved), self.seen.reset())
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)
        self.is_raw = True

    def output(self, data: bytes) -> None:
        """``data`` is about to be shown: remember the modes it sets."""
        if b"\x1b" not in data and not self.seen.cut:
            return
        if self.seen.feed(data) and self._guardian is not None and self.is_raw:
            mode = packed(raw_of(self._saved))
            self._guardian.tell(mode, packed(self._saved), self.seen.reset())

    def cooked(self) -> None:
        """Line by line and echoing again, for a question of our own; modes set by output stay."""
        if self.is_raw and in_foreground(self.fd):
            _set(self.fd, self._saved)
            self.is_raw = False
            if self._guardian is not None:
                saved = packed(self._saved)
                self._guardian.tell(saved, saved, self.seen.reset())

    def restore(self) -> None:
        """As it was before us: modes that output had set too. Does no harm twice.

        In the background nothing is done: who is in the foreground has set what it needs.
        """
        if not in_foreground(self.fd):
            self.is_raw = False
        else:
            reset = self.seen.reset()
            if reset:
                _show(self.fd, reset)
            if self.is_raw:
                _set(self.fd, self._saved)
                self.is_raw = False
        self.seen.clear()
        self._tell_calm()

    def close(self) -> None:
        """`restore`, and the guardian may go. For good."""
        self.restore()
        if self._guardian is not None:
            self._guardian.close()
            self._guardian = None

    def suspend_self(self) -> bool:
        """What Ctrl-Z does, then raw again; returns once we are continued *in the foreground*.

        The whole process group stops, as it would for the key. False: nothing stops us (no job
        control here), the terminal is raw again at once.
        """
        import signal  # 6 ms, by enum; only who suspends pays

        was_raw = self.is_raw
        self.restore()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        continued: list[int] = []
        on_continue = signal.signal(signal.SIGCONT, lambda number, frame: continued.append(number))
        try:
            os.kill(0, signal.SIGTSTP)
        finally:
            signal.signal(signal.SIGTSTP, before)
            signal.signal(signal.SIGCONT, on_continue)
        if was_raw:
            self.raw()
        return bool(continued)

    def _tell_calm(self) -> None:
        if self._guardian is not None:
            self._guardian.tell(b"", b"", b"")


def in_foreground(fd: int) -> bool:
    """Whether the terminal is ours to change; also if it doesn't control us: nobody can tell."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True


def _wait_for_foreground(fd: int) -> bool:
    """As any background process that would set the modes, be stopped until `fg`; False: no way.

    Not by setting them: what would be set, and what is saved, would be the shell's modes of now.
    """
    while not in_foreground(fd):
        try:
            termios.tcdrain(fd)  # the kernel checks as for tcsetattr, and nothing is changed
            return True
        except termios.error as error:
            if error.args[0] != errno.EINTR:  # EIO: nobody is there who could continue us
                return False
    return True


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0


def _set(fd: int, attributes: list[Any]) -> None:
    try:
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
    except termios.error:
        pass  # hung up: there is no terminal any more


def _show(fd: int, data: bytes) -> None:
    """Write to the terminal; never wait for it long: it may be held by Ctrl-S."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    try:
        if poll.poll(100):
            os.write(fd, data)  # a few dozen bytes: what is writable takes them
    except OSError:
        pass  # hung up, or open for reading only


# ------------------------------------------------------------------------------------- the guardian


class Guardian:
    """A forked process that puts the terminal in order if this one ends without having done so.

    It is told the state through a pipe; the last one told holds when the pipe ends. It has a
    session of its own, so that no key and no hang-up reaches it, and may be killed: nobody misses
    it.
    """

    def __init__(self, fd: int) -> None:
        told, self._pipe = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ready, ready = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                os.write(ready, b"!")
                _guard(told, fd)
            finally:
                os._exit(0)
        os.close(told)
        os.close(ready)

    def wait_ready(self) -> None:
        """Until it has its own session: a hang-up that kills us now would kill it too.

        After the round trips of connecting this is no wait.
        """
        if self._ready >= 0:
            select.select([self._ready], [], [], READY_S)
            os.close(self._ready)
            self._ready = -1

    def tell(self, mode: bytes, saved: bytes, reset: bytes) -> None:
        """Should we be killed: if the terminal's settings are still ``mode``, set ``saved`` and
        print ``reset``. Empty: leave it alone."""
        message = _STATE.pack(mode, saved, len(reset)) + reset
        try:
            os.write(self._pipe, message)
        except OSError:
            pass  # it was killed (EPIPE): then we must do without

    def close(self) -> None:
        """Let it go, and take its status if it ended before."""
        os.close(self._pipe)
        if self._ready >= 0:
            os.close(self._ready)
        try:
            os.waitpid(self.pid, os.WNOHANG)
        except OSError:
            pass  # somebody else took it


def _guard(pipe: int, terminal: int) -> None:
    """The guardian's whole life. In a fork: no allocation of weight, no import."""
    for name in os.listdir("/proc/self/fd"):  # others wait for the end of our stdout
        fd = int(name)
        if fd not in (pipe, terminal):
            try:
                os.close(fd)
            except OSError:
                pass  # listdir's own
    os.set_blocking(pipe, True)
    heard = b""
    mode = saved = reset = b""
    while data := os.read(pipe, 4096):
        heard += data
        while len(heard) >= _STATE.size:
            told_mode, told_saved, size = _STATE.unpack_from(heard)
            end = _STATE.size + size
            if len(heard) < end:
                break
            mode, saved, reset = told_mode, told_saved, heard[_STATE.size : end]
            heard = heard[end:]
    rescue(terminal, mode, saved, reset)


def rescue(fd: int, mode: bytes, saved: bytes, reset: bytes) -> bool:
    """Restore the terminal of a process that died with it in ``mode``; whether it was still so.

    For whoever outlives it: the guardian, or the background process when its front is killed.
    """
    try:
        if not mode.strip(b"\0") or packed(termios.tcgetattr(fd)) != mode:
            return False
        _show(fd, reset)
        termios.tcsetattr(fd, termios.TCSANOW, unpacked(saved))
    except (OSError, termios.error):
        return False
    return True
