"""Waits for connections that the agent hands over, and forks a process for each.

It has loaded all that such a process needs, so one is there within milliseconds; a crash ends one
connection, and two copies are made on two cores. Single-threaded, without an event loop: a fork
takes nothing along that runs.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from typing import Any

MESSAGE_BYTES = 1 << 16
STOP_S = 2.0  # from TERM to KILL, when the agent ends


def main() -> None:
    """Serve the agent at the descriptor named by our last word, until it closes its end."""
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):
                pass  # the C library's own
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    agent = socket.socket(fileno=int(sys.argv[-1]))
    agent.set_inheritable(False)
    from gshell import sitepath

    sitepath.enable()
    try:
        from gshell.sshd import server
    except ImportError as error:
        say(agent, {"m": "missing", "what": error.name or "asyncssh"})
        return
    keys = server.Keys()
    say(agent, {"m": "ready", "key": keys.public})
    gc.collect()
    gc.freeze()
    Warm(agent, keys).run()


def say(agent: socket.socket, message: dict[str, Any]) -> None:
    try:
        agent.send(json.dumps(message).encode())
    except OSError:
        pass  # the agent has ended, and we shall notice


class Warm:
    """The parent of all connections' processes."""

    def __init__(self, agent: socket.socket, keys: Any) -> None:
        self._agent = agent
        self._keys = keys
        self._children: dict[int, str] = {}  # pid -> its connection's name

    def run(self) -> None:
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._agent, woken], [], [])
            if woken in ready:
                woken.recv(1024)
                self._reap()
            if self._agent in ready and not self._take():
                break
        self._end()

    def _take(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._agent, MESSAGE_BYTES, 4)
        if not data:
            return False
        message = json.loads(data)
        att = str(message["att"])
        if message["m"] == "serve" and len(fds) == 1:
            pid = os.fork()
            if pid == 0:
                self._serve(message, fds[0])
            self._children[pid] = att
            say(self._agent, {"m": "serves", "att": att, "pid": pid})
        elif message["m"] == "end":
            for pid in [pid for pid, name in self._children.items() if name == att]:
                os.kill(pid, signal.SIGTERM)
        for fd in fds:
            os.close(fd)
        return True

    def _serve(self, message: dict[str, Any], fd: int) -> None:
        """The child's life."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            from gshell.sshd import server

            def tell(said: dict[str, Any]) -> None:
                say(self._agent, {**said, "att": message["att"]})

            server.serve(socket.socket(fileno=fd), self._keys, message, tell)
            status = 0
        except BaseException as error:
            sys.stderr.write(f"gshell sshd: {type(error).__name__}: {error}\n")
        finally:
            os._exit(status)

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, _ = os.waitpid(pid, os.WNOHANG)
            if ended:
                say(self._agent, {"m": "ended", "att": self._children.pop(pid)})

    def _end(self) -> None:
        """The agent has gone: so do all that we serve."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._children:
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
            if number == signal.SIGTERM and self._children:
                signal.sigtimedwait([signal.SIGCHLD], STOP_S)


if __name__ == "__main__":
    main()
