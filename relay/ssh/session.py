"""A session channel of ``ssh 42@gshell-relay``: the channel's end of a view's terminal or pipes.
Knows no gshell.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from typing import Any

import asyncssh

from relay.ssh.viewers import Viewers

READ_BYTES = 1 << 16
INPUT_BYTES = 1 << 18  # typed ahead; then the other side is not read
BUFFER_BYTES = 1 << 18
REFUSED = 1  # the status
LEAVE_S = 5.0  # for a view to leave when nobody looks any more


class Session(asyncssh.SSHServerSession):  # type: ignore[type-arg]
    """Invariant: the exit status is told after all that the view printed, and once."""

    def __init__(self, viewers: Viewers, order: dict[str, Any], instead: str) -> None:
        """``instead``: said to who wants anything but to look."""
        self._viewers = viewers
        self._order = order
        self._instead = instead
        self._chan: Any = None
        self._pty = self._refused = self._gone = False
        self._size = (80, 24, 0, 0)
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._terminal = -1
        self._outputs: dict[int, bool] = {}  # descriptor -> is it stderr?
        self._status: int | None = None
        self._input = bytearray()
        self._stopped = False

    # -- what is wanted

    def connection_made(self, chan: Any) -> None:
        self._chan = chan
        chan.set_encoding(None)
        chan.set_write_buffer_limits(high=BUFFER_BYTES)

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        self._pty, self._size = True, term_size
        return True

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._refused = True  # in a line of ours, not in one of ssh's
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        self._refused = True
        return True

    def session_started(self) -> None:
        if self._refused:
            self._say(self._instead, REFUSED)
        elif self._viewers.full(str(self._order["user"])):
            self._say("too many sessions are shown: gshell attach shows one without the relay",
                      REFUSED)  # fmt: skip
        else:
            try:
                self._start()
            except OSError:
                self._say("the relay cannot show it now: gshell attach, or try again", REFUSED)

    def _say(self, text: str, status: int) -> None:
        self._chan.write_stderr(f"gshell: {text}\r\n".encode())
        self._chan.exit(status)

    # -- its start

    def _start(self) -> None:
        ours: list[int] = []
        theirs: list[int] = []
        try:
            if self._pty:
                terminal, slave = os.openpty()
                ours, theirs = [terminal], [slave]
                self._set_size(terminal)
            else:
                for _ in range(2):
                    reads, writes = os.pipe()
                    ours.append(reads)
                    theirs.append(writes)
            order = {**self._order, "pty": self._pty}
            self._number = self._viewers.start(order, theirs, self._ended)
        except BaseException:
            for fd in ours:
                os.close(fd)
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        if self._pty:
            self._terminal = ours[0]
        self._outputs = {fd: number == 1 for number, fd in enumerate(ours)}
        for fd in ours:
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._read, fd)

    # -- its output

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the terminal any more
            data = b""
        if not data:
            self._close_output(fd)
            self._check()
        elif self._gone:
            pass  # its last words
        elif self._outputs[fd]:
            self._chan.write_stderr(data)
        else:
            self._chan.write(data)

    def _close_output(self, fd: int) -> None:
        del self._outputs[fd]
        self._loop.remove_reader(fd)
        if fd == self._terminal:
            self._loop.remove_writer(fd)
            self._terminal = -1
        os.close(fd)

    def pause_writing(self) -> None:
        for fd in self._outputs:
            self._loop.remove_reader(fd)

    def resume_writing(self) -> None:
        for fd in self._outputs:
            self._loop.add_reader(fd, self._read, fd)

    # -- its input

    def data_received(self, data: bytes, datatype: Any) -> None:
        if self._terminal < 0:
            return  # who has no terminal only looks on
        self._input += data
        self._write()
        if len(self._input) > INPUT_BYTES and not self._stopped:
            self._stopped = True
            self._chan.pause_reading()

    def _write(self) -> None:
        try:
            while self._input:
                del self._input[: os.write(self._terminal, self._input)]
        except BlockingIOError:
            self._loop.add_writer(self._terminal, self._write)
            return
        except OSError:
            self._input.clear()
        self._loop.remove_writer(self._terminal)
        if self._stopped:
            self._stopped = False
            self._chan.resume_reading()

    def eof_received(self) -> bool:
        return True  # what is shown still goes out

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        self._size = (width, height, pixwidth, pixheight)
        if self._terminal >= 0:
            self._set_size(self._terminal)

    def _set_size(self, fd: int) -> None:
        columns, rows, width, height = (min(max(0, n), 0xFFFF) for n in self._size)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, width, height))

    # -- its end

    def _ended(self, status: int) -> None:
        self._status = status
        if self._gone:
            self._close_all()
        else:
            self._check()

    def _check(self) -> None:
        if self._status is not None and not self._outputs and not self._gone:
            self._chan.exit(self._status)

    def connection_lost(self, exc: Exception | None) -> None:
        """The view is told to leave; the job goes on. Its terminal stays open until it has: a
        hang-up might be taken for an end of what is typed."""
        self._gone = True
        self.resume_writing()
        if self._status is None and self._number:
            self._viewers.end(self._number)
            self._loop.call_later(LEAVE_S, self._close_all)
        else:
            self._close_all()

    def _close_all(self) -> None:
        for fd in list(self._outputs):
            self._close_output(fd)
