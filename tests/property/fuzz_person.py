"""Fuzz targets: what a person gives (words, descriptions, a front process) and what is shown to one."""

from __future__ import annotations

import json
import socket
from typing import Any

from property.fuzz import Luck, Target

from gshell.cli import commands, helppages, values
from gshell.cli import plan as plans
from gshell.client import background, render
from gshell.client.plan import Surroundings
from gshell.errors import UsageError
from gshell.jdl import glue, steps
from gshell.jdl import job as jdl
from gshell.jdl.errors import JdlError
from gshell.jdl.matching import names
from gshell.jdl.parse import parse_expression
from gshell.jdl.syntax import write
from gshell.model import vt
from gshell.model.sanitize import sanitize
from gshell.net.loop import Loop
from kit import hostile


def job_description(data: bytes) -> None:
    """Neither a description nor an expression; the library that computes is not asked."""
    text = data.decode("utf-8", "replace")
    try:
        found = jdl.read(text, "f")
        for request in steps.requests(found, lambda word: [word]):
            json.dumps(request.message)
    except JdlError as error:
        render.error_text(error).encode()
    try:
        expr = parse_expression(text)
    except JdlError:
        return
    assert parse_expression(write(expr)) == expr
    for name in names(expr):
        glue.fact(name.low, {"ad": {"queues": [{}]}})


def terminal(data: bytes) -> None:
    """However output is cut, the same modes; and what is left out stays out."""
    luck = Luck(data)
    pieces = list(luck.chunks())
    whole = b"".join(pieces)
    one, cut = vt.ModeTracker(), vt.ModeTracker()
    one.feed(whole)
    live, at_once = vt.LiveFilter(strict=True), vt.LiveFilter(strict=True)
    shown = b""
    for piece in pieces:
        cut.feed(piece)
        shown += live.feed(piece)
        assert len(live._held) <= vt._HELD_BYTES
    assert (one.prelude(), one.reset(), one.title) == (cut.prelude(), cut.reset(), cut.title)
    assert vt.check_prelude(one.prelude()) == one.prelude()
    end = b"\x1b\\"
    if len(whole) < vt._HELD_BYTES:
        assert shown + live.feed(end) == at_once.feed(whole) + at_once.feed(end)
    past = vt.filter_history(whole + end)
    assert vt.filter_history(past) == past
    assert b"\x1b[6n" not in past
    assert b"\x1b]52;" not in past
    assert 0 <= vt.safe_start(whole) <= len(whole)


def text(data: bytes) -> None:
    said = data.decode("utf-8", "surrogateescape")
    shown = sanitize(said)
    assert sanitize(shown) == shown
    assert shown.splitlines() in ([], [shown])
    shown.encode()
    assert all(char.isprintable() for char in shown)
    width = data[0] if data else 0
    assert len(sanitize(said, width)) <= max(width * 6, 0)


HERE = Surroundings(env={}, cwd="/", umask=0o22, where="m", stdin_tty=True, stdout_tty=False)
VALUES = (values.whole_number, values.parse_duration, values.parse_walltime, values.parse_size,
          values.parse_signal, values.parse_env)  # fmt: skip


def command_line(data: bytes) -> None:
    words = [word.decode("utf-8", "surrogateescape") for word in data.split(b"\0")]
    try:
        parsed = commands.read(words)
        if parsed.command.name in ("run", "sh", "attach", "logs"):
            plans.make(parsed, HERE)
        elif parsed.command.name == "help":
            helppages.help_page(parsed.words)
    except UsageError as error:
        shown = render.error_text(error)
        assert "\x1b" not in shown
        shown.encode()
    for read in VALUES:
        try:
            read(words[0])
        except (ValueError, UsageError):
            pass


class _Behind:
    """As much of a Background as a Front asks for."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.fronts: set[Any] = set()
        self.asked = 0

    def plan_of(self, argv: list[str], here: Surroundings) -> None:
        self.asked += 1

    def gone(self, front: Any) -> None:
        self.fronts.discard(front)


class _Running:
    """As much of a Runner as a Front's lines reach."""

    in_terminal = False

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def front(data: bytes) -> None:
    """What a front process says: the handover, and its lines."""
    luck = Luck(data)
    behind = _Behind()
    ours, theirs = socket.socketpair()
    made = background.Front(behind, ours)  # type: ignore[arg-type]
    behind.fronts.add(made)
    try:
        if luck.number(2):
            made._runner = _Running()  # type: ignore[assignment]
        for chunk in luck.chunks():
            if made not in behind.fronts:
                break
            theirs.send(chunk[:4096])
            made._on_event(1)
        assert len(made._data) <= background.MAX_HANDOVER_BYTES + (1 << 17)
    finally:
        made._deadline.cancel()
        made._close()
        theirs.close()
        behind.loop.close()


_HANDOVER = b"1\0/\x00022\x001\x001\x002\0run\0true\0A=b"


TARGETS = [
    Target("job-description", job_description, [
        b'Executable="x"; Arguments="_PARAM_ $H"; Parameters={1,b}; InputSandbox={"a","b/*"};',
        b'[Type="DAG"; Nodes=[a=[Executable="x"]; b=[Executable="y"]; Dependencies={{a,b}}]]',
        b'other.a > 1 && Member("x", other.b[0].c) || !(-2.5e3 =?= undefined) ? {1,[a=2]} : f(.g)']),
    Target("terminal", terminal, [
        b"\2" + text.encode("utf-8", "surrogatepass")[:3000] for text in hostile.strings(200)]),
    Target("text", text, [
        text.encode("utf-8", "surrogatepass")[:3000] for text in hostile.strings(200)]),
    Target("command-line", command_line, [
        b"run\0-t\0-n4\0--env\0A=b\0--timeout\x005m\0--\0ls", b"attach\0-e\0none\x0042",
        b"logs\0-f\0--since\x0010m\0007", b"kill\0-s\0TERM\0001", b"help\0run", b"1-02:03:04",
        b"SIGRTMIN+3", b"64G", b"1h30m", b"--relay\0h:1\0jobs\0-a"]),
    Target("front", front, [
        b"\0\5" + len(_HANDOVER).to_bytes(4, "big") + _HANDOVER,
        b"\1\5W 24 80\nC 1 2\nP\nF 1\nr 00 00\nS INT\n"]),
]  # fmt: skip
