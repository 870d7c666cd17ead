"""The background process is told to end at any moment: what it has started ends with it. And a
front process that is stopped hears how it ended when it goes on.
"""

from __future__ import annotations

import os
import signal
import socket
from types import SimpleNamespace

from gshell.client import background
from gshell.net.loop import Loop

PATIENCE_S = 20.0


class Nothing:
    """A `Background` without a socket."""

    def __init__(self, *_: object) -> None: ...

    def close(self) -> None: ...


class Stopped(Exception):
    pass


class Private:
    """A `Supervisor`."""

    def attach(self, loop: object) -> None: ...

    def stop(self) -> None:
        raise Stopped


def test_who_ends_it_before_it_listens_to_signals_ends_the_private_relay_too(monkeypatch) -> None:
    monkeypatch.setattr(background, "Background", Nothing)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            background.hold_signals()
            os.kill(os.getpid(), signal.SIGTERM)
            background.serve(None, None, None, Private(), lambda: None)  # type: ignore[arg-type]
        except Stopped:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_front_that_was_stopped_for_long_hears_the_status_and_the_last_modes() -> None:
    loop = Loop()
    ours, theirs = socket.socketpair()
    behind = SimpleNamespace(loop=loop, fronts=set(), gone=lambda front: None)
    front = background.Front(behind, ours)  # type: ignore[arg-type]
    behind.fronts.add(front)
    behind.gone = behind.fronts.discard
    modes = [f"O {number:064x}" for number in range(20_000)]
    for line in modes:
        front._tell(line)
    assert len(front._unsaid) < 1000  # of 1.3 MB
    theirs.setblocking(False)
    heard = b""

    def all_heard(last: bytes) -> bool:
        nonlocal heard
        try:
            heard += theirs.recv(1 << 16)
        except BlockingIOError:
            pass
        return heard.endswith(last)

    assert loop.run_until(lambda: all_heard(modes[-1].encode() + b"\n"), PATIENCE_S)
    for line in modes:
        front._tell(line)
    front._end(7)
    assert behind.fronts  # it has yet to say so
    assert loop.run_until(lambda: all_heard(b"\nX 7\n"), PATIENCE_S)
    assert loop.run_until(lambda: not behind.fronts, PATIENCE_S)
    theirs.close()
    loop.close()
