"""What a viewer is shown where output is missing, on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import select
import tty
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gshell.client.plan import Plan
from gshell.client.run import Runner
from gshell.net.loop import Loop
from gshell.wire import peer as wire

OUT = 3


class Port:
    """A terminal that is raw at once."""

    def raw(self) -> bool:
        return True

    def cooked(self) -> None: ...

    def size(self) -> tuple[int, int]:
        return 24, 80

    def suspend(self) -> None: ...

    def seen(self, data: bytes) -> None: ...

    def reset(self) -> bytes:
        return b""


class Viewer:
    """A Runner whose agent is the test."""

    def __init__(self, verb: str, terminal: bool, quiet: bool = False) -> None:
        self.loop = Loop()
        self._out, out = pty.openpty() if terminal else os.pipe()
        if terminal:
            tty.setraw(out)
            self._err, err = self._out, os.dup(out)
        else:
            self._err, err = os.pipe()
        stdin, self._stdin = os.pipe()
        self._ours = [stdin, out, err]
        for fd in (self._out, self._err):
            os.set_blocking(fd, False)
        dialler: Any = SimpleNamespace(loop=self.loop, ticket=SimpleNamespace(user="me"))
        plan = Plan(
            verb=verb, spec={}, pty=terminal and verb == "attach", rights="r", job="1",
            follow=True, quiet=quiet,
        )  # fmt: skip
        self.runner = Runner(dialler, plan, (stdin, out, err), Port(), lambda code: None)
        self.talk = self.runner.seats[0].talk

    def greet(self, pty: bool, start: int, live: int) -> None:
        welcome = {
            "pty": pty, "tasks": 1, "writer": False,
            "start": {str(OUT): start}, "live": {str(OUT): live},
        }  # fmt: skip
        self.runner.on_greeted(self.talk, welcome)
        self.shown()

    def data(self, data: bytes) -> None:
        stream = self.talk.peer.receiving(OUT)
        assert stream is not None
        at = stream.have
        stream.promise()
        stream.on_data(at, data, False)
        self.runner.on_event(self.talk, wire.StreamData(OUT, at, data))

    def gap(self, size: int) -> None:
        stream = self.talk.peer.receiving(OUT)
        assert stream is not None
        start, end = stream.on_gap(stream.have, stream.have + size)  # type: ignore[misc]
        self.runner.on_event(self.talk, wire.StreamGap(OUT, start, end))

    def notice(self, text: str) -> None:
        self.talk._event(wire.ControlReceived({"t": "notice", "text": text}))  # as it is decoded

    def shown(self) -> tuple[bytes, bytes]:
        """On stdout and stderr; on a terminal they are one."""
        self.loop.run_until(lambda: not (self.runner.screen.pending), 5)
        return _read(self._out), b"" if self._err == self._out else _read(self._err)

    def consumed(self) -> bool:
        stream = self.talk.peer.receiving(OUT)
        assert stream is not None
        return stream.consumed == stream.have

    def close(self) -> None:
        self.runner.abandon()
        self.loop.close()
        for fd in {self._out, self._err, self._stdin, *self._ours}:
            os.close(fd)


def _read(fd: int) -> bytes:
    """All there is; a terminal passes it on a moment later."""
    found = b""
    while select.select([fd], [], [], 0.05)[0]:
        found += os.read(fd, 1 << 16)
    return found


@pytest.fixture
def viewer() -> Iterator[Any]:
    made: list[Viewer] = []

    def make(*args: Any, **more: Any) -> Viewer:
        made.append(Viewer(*args, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("verb", ["attach", "logs"])
def test_a_gap_is_told_on_stderr_and_never_on_stdout(viewer: Any, verb: str) -> None:
    one = viewer(verb, terminal=False)
    one.greet(False, 0, 1000)
    one.gap(123_456_789)
    one.data(b"what is left\n")
    assert one.shown() == (b"what is left\n", b"[gap: 123.5 MB not kept]\n")
    assert one.consumed()


def test_logs_are_quiet_if_asked_and_attach_tells_of_loss_all_the_same(viewer: Any) -> None:
    for verb, said in (("logs", b""), ("attach", b"[gap: 500 bytes not kept]\n")):
        one = viewer(verb, terminal=False, quiet=True)
        one.greet(False, 0, 1000)
        one.gap(500)
        one.notice("output waits")
        one.data(b"rest\n")
        assert one.shown() == (b"rest\n", said)


def test_a_notice_cannot_command_the_terminal(viewer: Any) -> None:
    one = viewer("attach", terminal=False)
    one.greet(False, 0, 0)
    one.notice("no room in /tmp/\x1b]0;owned\x07\n$ rm")
    out, said = one.shown()
    assert out == b""
    assert b"\x1b" not in said
    assert said.count(b"\n") == 1


def test_on_a_terminal_a_gap_stands_where_it_is_and_ends_what_was_cut(viewer: Any) -> None:
    one = viewer("attach", terminal=True)
    one.greet(True, 0, 0)
    one.data(b"before\x1b[3")
    one.gap(2_000_000)
    one.data(b"1;4mred?\r\nwhole line\r\n")
    shown, _ = one.shown()
    assert shown == b"before\x18\r\n[gap: 2.0 MB not kept]\r\nwhole line\r\n"
    assert one.consumed()


def test_after_a_gap_a_terminal_s_modes_are_asked_for(viewer: Any) -> None:
    one = viewer("attach", terminal=True)
    one.greet(True, 0, 0)
    one.gap(2_000_000)
    control = one.talk.peer.control
    assert b'"redraw"' in control.read(control.start, 1 << 16)


def test_history_before_a_gap_is_shown_and_what_follows_begins_with_a_line(viewer: Any) -> None:
    one = viewer("attach", terminal=True)
    one.greet(True, 0, 1_000_024)
    one.data(b"oldest\r\n\x1b[6n")
    assert one.shown()[0] == b""  # it is held until it is whole
    one.gap(1_000_000)
    one.data(b"ne\r\nnewest\r\n")
    shown, _ = one.shown()
    assert shown == b"oldest\r\n\x18\r\n[gap: 1.0 MB not kept]\r\nnewest\r\n"
    assert one.consumed()


def test_a_gap_to_the_end_of_history_lets_what_is_live_through(viewer: Any) -> None:
    one = viewer("attach", terminal=True)
    one.greet(True, 0, 1000)
    one.data(b"old\r\n")
    one.gap(995)
    one.data(b"half\r\nnow")
    shown, _ = one.shown()
    assert shown.endswith(b"[gap: 995 bytes not kept]\r\nnow")
    assert shown.startswith(b"old\r\n")


def test_history_that_begins_amid_output_begins_with_a_line(viewer: Any) -> None:
    one = viewer("attach", terminal=True)
    one.greet(True, 500, 512)
    one.data(b"half\r\nwhole\n")
    assert one.shown()[0] == b"whole\n"
