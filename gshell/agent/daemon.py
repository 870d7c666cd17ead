"""A process beside the ranks whose streams somebody else has: a launcher's daemon, a hook's command
for another node, mpi-start itself. Our child, but no rank.
"""

from __future__ import annotations

import functools
import os
import signal as signals
from typing import Callable

from gshell.agent.spawn import Child
from gshell.net.loop import IN, OUT, Loop

READ_BYTES = 1 << 15
REAP_POLL_S = 0.05  # only on kernels without pidfds


class Daemon:
    """Invariant: reaped and closed before ``ended`` is called."""

    def __init__(
        self,
        loop: Loop,
        child: Child,
        said: Callable[[int, bytes], None],
        ended: Callable[[int], None],
        taken: Callable[[int], None] = lambda count: None,
    ) -> None:
        """``taken``: so many bytes that it was fed are gone."""
        self._loop = loop
        self._child = child
        self._said = said
        self._ended = ended
        self._taken = taken
        self._input: list[bytes] = []  # that its stdin had no room for; b"": the end
        self._paused = False
        self._outputs: dict[int, int] = {}  # number -> descriptor, while it is open
        for number, fd in ((1, child.stdout), (2, child.stderr)):
            loop.add(fd, IN, functools.partial(self._on_output, number, fd))
            self._outputs[number] = fd
        if child.pidfd >= 0:
            loop.add(child.pidfd, IN, lambda mask: self._on_exit())
        else:
            loop.later(REAP_POLL_S, self._poll)

    def feed(self, data: bytes) -> None:
        """For its stdin; ``b""``: the end."""
        if self._child.stdin < 0:
            self._taken(len(data))
            return
        self._input.append(data)
        if len(self._input) == 1:
            self._write()
            if self._input:
                self._loop.add(self._child.stdin, OUT, lambda mask: self._on_room())

    def pause(self, paused: bool) -> None:
        """Its output is not read for a while: whoever gets it is behind."""
        if paused != self._paused:
            self._paused = paused
            for fd in self._outputs.values():
                self._loop.modify(fd, 0 if paused else IN)

    def end(self, number: int = signals.SIGTERM) -> None:
        self._child.signal(number)

    # -- its stdin

    def _on_room(self) -> None:
        fd = self._child.stdin
        self._write()
        if not self._input:
            self._loop.remove(fd)

    def _write(self) -> None:
        while self._input:
            data = self._input[0]
            try:
                written = os.write(self._child.stdin, data) if data else 0
            except BlockingIOError:
                return
            except OSError:  # it does not read
                written, data = sum(map(len, self._input)), b""
            self._taken(written)
            if not data:
                self._input.clear()
                self._child.close_stdin()
            elif written < len(data):
                self._input[0] = data[written:]
            else:
                self._input.pop(0)

    # -- its output, and its end

    def _on_output(self, number: int, fd: int, mask: int) -> None:
        if not self._paused:
            self._read(number, fd)

    def _read(self, number: int, fd: int) -> bool:
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._said(number, data)
        else:
            self._loop.remove(fd)
            self._outputs.pop(number, None)
        return bool(data)

    def _poll(self) -> None:
        self._on_exit()
        if self._child.exit is None:
            self._loop.later(REAP_POLL_S, self._poll)

    def _on_exit(self) -> None:
        child = self._child
        pidfd = child.pidfd
        status = child.reap()
        if status is None:
            return
        for number, fd in list(self._outputs.items()):
            while self._read(number, fd):
                pass
            if number in self._outputs:
                self._loop.remove(fd)
        self._outputs.clear()
        if self._input:
            self._loop.remove(child.stdin)
            self._taken(sum(map(len, self._input)))
            self._input.clear()
        if pidfd >= 0:
            self._loop.remove(pidfd)
        child.close()
        self._ended(status.code)
