"""Has what was written to a terminal come through it? Asked of the kernel, with a terminal of our
own. Knows nobody else's.

What a program prints on its terminal is carried to the other side by a worker of the kernel, a
moment later, and longer where many want the processor: until then the program sleeps in its next
read, and nothing shows that it has printed. Workers begin in the order in which they were asked
for; so what was written to our own terminal afterwards, and has come through, came after it.
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections import deque

from gshell.net.loop import IN

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Callable

    from gshell.net.loop import Loop

_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430


class PtyProbe:
    """Opened when it is first asked. Invariant: a byte is on its way for each of ``_calls``."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._ours = self._theirs = -1
        self._calls: deque[Callable[[], None]] = deque()

    def ask(self, call: Callable[[], None]) -> bool:
        """``call`` when what is under way now has come through; False: that cannot be known."""
        try:
            if self._ours < 0:
                self._open()
            os.write(self._theirs, b".")
        except (OSError, termios.error):
            return False
        self._calls.append(call)
        return True

    def close(self) -> None:
        """No more calls."""
        self._calls.clear()
        if self._ours >= 0:
            self._loop.remove(self._ours)
        for fd in (self._ours, self._theirs):
            if fd >= 0:
                os.close(fd)
        self._ours = self._theirs = -1

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK
        ours, theirs = os.open("/dev/ptmx", flags), -1
        try:
            fcntl.ioctl(ours, _TIOCSPTLCK, struct.pack("i", 0))
            number = struct.unpack("I", fcntl.ioctl(ours, _TIOCGPTN, bytes(4)))[0]
            theirs = os.open(f"/dev/pts/{number}", flags)
            modes = termios.tcgetattr(theirs)
            modes[1] &= ~termios.OPOST
            termios.tcsetattr(theirs, termios.TCSANOW, modes)
        except (OSError, termios.error):
            for fd in (ours, theirs):
                if fd >= 0:
                    os.close(fd)
            raise
        self._ours, self._theirs = ours, theirs
        self._loop.add(ours, IN, self._came)

    def _came(self, mask: int) -> None:
        try:
            count = len(os.read(self._ours, 4096))
        except OSError:
            return
        for _ in range(min(count, len(self._calls))):
            self._calls.popleft()()
            if self._ours < 0:
                return
