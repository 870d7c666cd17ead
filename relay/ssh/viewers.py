"""The processes that show sessions (`view`), one for each, and the one that forks them.

That one has loaded all they need and is forked before anything else runs here: single-threaded,
without an event loop, so that a fork takes nothing along. A crash ends one view; what users see
and type is in no process but their own, and as SSH in the one that speaks it.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import json
import logging
import os
import select
import signal
import socket
import termios
from collections.abc import Callable
from typing import Any

MESSAGE_BYTES = 1 << 14
MOST = 256  # views at once, of all users
EACH = 32  # of one user
STOP_S = 2.0
_FAILED = 255

_log = logging.getLogger("relay.ssh")


class Viewers:
    """Ours. Made before the event loop; `listen` when there is one."""

    def __init__(self, door: str) -> None:
        """``door``: its address, as near as possible."""
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            status = 1
            try:
                self._sock.close()
                _Forker(theirs, door).run()
                status = 0
            except BaseException:
                _log.exception("what shows sessions failed")
            finally:
                os._exit(status)
        theirs.close()
        self._sock.setblocking(False)
        self._ends: dict[int, Callable[[int], None]] = {}
        self._users: dict[int, str] = {}
        self._count = 0

    def listen(self) -> None:
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._hear)

    def full(self, user: str) -> bool:
        mine = sum(1 for other in self._users.values() if other == user)
        return mine >= EACH or len(self._users) >= MOST

    def start(self, order: dict[str, Any], fds: list[int], on_end: Callable[[int], None]) -> int:
        """A view on these: a terminal, or two pipes. Its number; ``on_end`` gets its status.

        Raises:
            OSError: none can be started.
        """
        self._count += 1
        said = json.dumps({"m": "show", "n": self._count, **order}).encode()
        socket.send_fds(self._sock, [said], fds)
        self._ends[self._count] = on_end
        self._users[self._count] = str(order["user"])
        return self._count

    def end(self, number: int) -> None:
        """Nobody looks any more."""
        if number in self._ends:
            try:
                self._sock.send(json.dumps({"m": "end", "n": number}).encode())
            except OSError:
                pass  # it has ended itself, and they with it

    def _hear(self) -> None:
        try:
            data = self._sock.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            _log.error("what shows sessions has ended")
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()  # each further start fails
            for number in list(self._ends):
                self._over(number, _FAILED)
            return
        said = json.loads(data)
        self._over(int(said["n"]), int(said["status"]))

    def _over(self, number: int, status: int) -> None:
        self._users.pop(number, None)
        on_end = self._ends.pop(number, None)
        if on_end is not None:
            on_end(status)


class _Forker:
    """The parent of all views."""

    def __init__(self, sock: socket.socket, door: str) -> None:
        self._sock = sock
        self._door = door
        self._children: dict[int, int] = {}  # pid -> number

    def run(self) -> None:
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE):
                try:
                    signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    pass  # the C library's own
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a log's rotation
        from relay.ssh import view  # what a view needs: it is here before it is wanted

        gc.collect()
        gc.freeze()
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._sock, woken], [], [])
            if woken in ready:
                woken.recv(1024)
                self._reap()
            if self._sock in ready and not self._take(view.show, [wake, woken]):
                break
        self._end()

    def _take(self, show: Callable[[dict[str, Any], str], int], ours: list[socket.socket]) -> bool:
        data, fds, _, _ = socket.recv_fds(self._sock, MESSAGE_BYTES, 4)
        if not data:
            return False
        said = json.loads(data)
        if said["m"] == "show":
            pid = os.fork()
            if pid == 0:
                _be(said, fds, [self._sock, *ours], lambda: show(said, self._door))
            self._children[pid] = int(said["n"])
        else:
            for pid in [pid for pid, number in self._children.items() if number == said["n"]]:
                os.kill(pid, signal.SIGHUP)
        for fd in fds:
            os.close(fd)
        return True

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                said = {"n": self._children.pop(pid), "status": code if code >= 0 else _FAILED}
                try:
                    self._sock.send(json.dumps(said).encode())
                except OSError:
                    pass  # nobody is there any more

    def _end(self) -> None:
        for number in (signal.SIGHUP, signal.SIGKILL):
            for pid in self._children:
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
            if number == signal.SIGHUP and self._children:
                signal.sigtimedwait([signal.SIGCHLD], STOP_S)


def _be(
    order: dict[str, Any], fds: list[int], ours: list[socket.socket], show: Callable[[], int]
) -> None:
    """The child's life."""
    status = _FAILED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        for sock in ours:
            sock.close()
        os.setsid()
        if order["pty"]:
            fcntl.ioctl(fds[0], termios.TIOCSCTTY, 0)
            targets = {0: fds[0], 1: fds[0], 2: fds[0]}
        else:
            targets = {1: fds[0], 2: fds[1]}
        for target, fd in targets.items():
            os.dup2(fd, target)
        for fd in fds:
            os.close(fd)
        status = show()
    except BaseException:
        _log.exception("a view failed")
    finally:
        os._exit(status & 0xFF)
