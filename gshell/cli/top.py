"""``gshell top``, ``gshell events`` and the ``--watch`` of lists: what follows the relay's feed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable

from gshell import config
from gshell.cli import launch
from gshell.cli.keyboard import keys
from gshell.cli.options import Parsed
from gshell.cli.page import Page, changed_lines
from gshell.cli.topranks import RanksBeside
from gshell.client import events
from gshell.client.feed import Live, Message
from gshell.client.terminal import Terminal
from gshell.client.topview import View
from gshell.errors import BrokerError, GshellError
from gshell.net.loop import IN, Loop, Timer

FIRST_S = 10.0  # for the first snapshot
REDRAW_S = 0.1  # at most so often
CLOCK_S = 1.0  # elapsed times go on by themselves
_ENTER, _LEAVE = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"
LATENCIES = 100  # of the last minutes


class Unsupported(GshellError):
    """The relay does not know the feed."""


class _Follower:
    """A loop with a Live connection, and signals as calls."""

    def __init__(self, parsed: Parsed, ended_too: bool) -> None:
        self.ticket = launch.ticket_for(parsed, start=False)
        self.loop = Loop()
        self.live = Live(self.loop, self.ticket, self.heard, self.changed, ended_too)
        self.ended: list[int] = []

    def heard(self, message: Message, before: Message | None) -> None:
        pass

    def changed(self) -> None:
        pass

    def first(self) -> None:
        """Until there is a snapshot.

        Raises:
            Unsupported: there will not be one.
            GshellError: nor anything else.
        """
        self.live.open()
        live = self.live
        self.loop.run_until(lambda: live.up or live.fatal is not None, FIRST_S)
        self.check()
        if not live.up:
            raise GshellError(live.trouble or "the relay does not answer", hint="gshell doctor")

    def check(self) -> None:
        fatal = self.live.fatal
        if isinstance(fatal, BrokerError):
            raise Unsupported(
                "this relay is older and has no feed of events", hint="update the relay"
            )
        if fatal is not None:
            raise fatal

    def run(self) -> None:
        """Until a signal or somebody says so."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH)
        reads, writes = socket.socketpair()
        for end in (reads, writes):
            end.setblocking(False)
        wakeup = signal.set_wakeup_fd(writes.fileno(), warn_on_full_buffer=False)
        before = {n: signal.signal(n, lambda number, frame: None) for n in numbers}

        def came(_: int) -> None:
            for number in reads.recv(64):
                if number == signal.SIGWINCH:
                    self.changed()
                elif number in before:
                    self.ended.append(number)

        self.loop.add(reads.fileno(), IN, came)
        try:
            while not self.ended:
                self.check()
                self.loop.once()
        finally:
            self.loop.remove(reads.fileno())
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            reads.close()
            writes.close()

    def close(self) -> None:
        self.live.close()
        self.loop.close()


def _status(ended: list[int]) -> int:
    return 0 if not ended or ended[0] in (0, signal.SIGINT) else 128 + ended[0]


# -------------------------------------------------------------------------------------------- lists


class _List(_Follower):
    def __init__(self, parsed: Parsed, ended_too: bool, show: Callable[[], str]) -> None:
        super().__init__(parsed, ended_too)
        self._show = show
        self._planned = False
        self._shown = ""
        self.page = Page()

    def heard(self, message: Message, before: Message | None) -> None:
        if message.get("kind") != "stats" or any("progress" in s for s in message["steps"]):
            self.changed()

    def changed(self) -> None:
        if not self._planned:
            self._planned = True
            self.loop.later(REDRAW_S if self._shown else 0.0, self.draw)

    def draw(self) -> None:
        self._planned = False
        if self.live.mirror.seq < 0:
            return
        text = self._show()
        if self.page.live or text != self._shown:
            self.page.show(text)
        self._shown = text

    def clock(self) -> None:
        if self.page.live:
            self.changed()
        self.loop.later(CLOCK_S, self.clock)


def follow(
    parsed: Parsed, ended_too: bool, show: Callable[[list[Message], list[Message]], str]
) -> int:
    """Print ``show(jobs, agents)`` whenever that has changed, until Ctrl-C.

    Raises:
        Unsupported: an older relay; ask it again and again instead.
    """

    def text() -> str:
        mirror = one.live.mirror
        return show(list(mirror.jobs.values()), list(mirror.agents.values()))

    one = _List(parsed, ended_too, text)
    try:
        one.first()
        one.clock()
        one.run()
    except KeyboardInterrupt:  # as in `show_events`
        pass
    finally:
        one.page.leave()
        one.close()
    return _status(one.ended)


# ------------------------------------------------------------------------------------------- events


class _Printer(_Follower):
    def __init__(self, parsed: Parsed) -> None:
        super().__init__(parsed, True)
        self._json = bool(parsed["json"])
        self._follows = bool(parsed["follow"])
        self._fields = parsed["fields"] or ()

    def heard(self, message: Message, before: Message | None) -> None:
        now = time.time()
        if self._json:
            lines = [events.json_line(message, now)]
        else:
            texts = [line for line in self._texts(message, before) if line]
            lines = [self._line(message, line, now) for line in texts]
        if lines:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()

    def _line(self, message: Message, text: str, now: float) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(now))
        if not self._fields:
            return f"{clock} {text}"
        what = message.get("job") or message.get("agent") or {}
        known = {
            "time": clock, "kind": str(message.get("kind")), "text": text,
            "what": str(what.get("id") or message.get("id") or "-"),
        }  # fmt: skip
        return "  ".join(known[name] for name in self._fields)

    def _texts(self, message: Message, before: Message | None) -> list[str]:
        if message["kind"] == "stats":
            return []
        if message["kind"] != "resync" or self._follows:
            return [events.text(message, before)]
        mirror = self.live.mirror  # how things are, as if each had just become so
        return [
            *(events.text({"kind": "agent", "agent": a}, None) for a in mirror.agents.values()),
            *(events.text({"kind": "job", "job": j}, None) for j in mirror.jobs.values()),
        ]


def show_events(parsed: Parsed) -> int:
    """``gshell events``: how things are; with -f every change from then on."""
    one = _Printer(parsed)
    try:
        one.first()
        if parsed["follow"]:
            one.run()
    except KeyboardInterrupt:  # before `run` listens to signals: what was asked for has been shown
        pass
    finally:
        one.close()
    return _status(one.ended)


# ---------------------------------------------------------------------------------------------- top


class _Top(_Follower):
    """Owns the terminal from `run` on; gives it back whatever happens."""

    def __init__(self, parsed: Parsed, color: bool) -> None:
        super().__init__(parsed, False)
        self.view = View()
        self._color = color
        self._terminal: Terminal | None = None
        self._timer: Timer | None = None
        self._keys = b""
        self._drawn: list[str] = []
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._measured: float | None = None
        self._beside = RanksBeside(self.loop, self._ranks)
        self._plain = bool(parsed["ascii"])

    def heard(self, message: Message, before: Message | None) -> None:
        line = events.text(message, before) if message["kind"] not in ("stats", "resync") else ""
        if line:
            self.view.events.append((time.time(), line))
        if message["kind"] == "job" and message["job"].get("ended_at"):
            self.loop.later(_ENDED_S, lambda: self._forget(message["job"]["id"]))
        self.changed()

    def _forget(self, job: str) -> None:
        if self.live.mirror.jobs.get(job, {}).get("ended_at"):
            del self.live.mirror.jobs[job]
            self.changed()

    def changed(self) -> None:
        if self._timer is None and self._terminal is not None:
            self._timer = self.loop.later(REDRAW_S, self._draw)

    def status(self) -> str:
        if not self.live.up:
            return f"no connection: {self.live.trouble or 'dialling'}"
        latency = self.live.latency_s
        if latency is None:
            return "connected"
        if latency != self._measured:
            self._measured = latency
            self._latencies.append(latency)
        text = f"{latency * 1e3:.1f} ms"
        if len(self._latencies) > 2:
            ordered = sorted(self._latencies)
            half, worst = ordered[len(ordered) // 2], ordered[int(0.99 * len(ordered))]
            text += f" (p50 {half * 1e3:.1f}, p99 {worst * 1e3:.1f})"
        return text

    # ------------------------------------------------------------------------------------ one frame

    def once(self, columns: int) -> str:
        self.loop.run_until(lambda: self.live.latency_s is not None, 1.0)
        relay = self.ticket.relays[0]
        return self.view.once(self.live.mirror, time.time(), columns, self.status(), relay)

    def facts(self) -> Message:
        """The same for a program."""
        self.loop.run_until(lambda: self.live.latency_s is not None, 1.0)
        mirror = self.live.mirror
        now = time.time()
        uses = {job: mirror.use(job, now) for job in mirror.jobs}
        return {
            "relay": self.ticket.relays[0],
            "latency_s": self.live.latency_s,
            "jobs": [
                {**job, "use": use._asdict() if use is not None else None}
                for job, use in zip(mirror.jobs.values(), uses.values(), strict=True)
            ],
            "agents": list(mirror.agents.values()),
        }

    # --------------------------------------------------------------------------------- full screen

    def show(self) -> None:
        self._terminal = Terminal(0)
        self._terminal.guard()
        self.loop.add(0, IN, lambda _: self._read())
        try:
            self._enter()
            self._clock()
            self.run()
        finally:
            self._beside.close()
            self.loop.remove(0)
            self._terminal.close()  # raw mode, screen and cursor: what `output` was told of

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(1, data) :]

    def _enter(self) -> None:
        assert self._terminal is not None
        self._terminal.raw()
        self._terminal.output(_ENTER)
        self._write(_ENTER)
        self._drawn = []
        self._draw()

    def _leave(self) -> None:
        assert self._terminal is not None
        self._write(_LEAVE)
        self._terminal.output(_LEAVE)
        self._terminal.restore()

    def _clock(self) -> None:
        self.view.sample(self.live.mirror, time.time())
        self._draw()
        self.loop.later(CLOCK_S, self._clock)

    def _draw(self) -> None:
        """Only the lines that have changed: a slow link has better things to carry."""
        self._timer = None
        if self._terminal is None or not self._terminal.is_raw:
            return
        rows, columns = self._terminal.size()
        lines = self.view.frame(
            self.live.mirror, time.time(), rows, columns, self.status(), self.ticket.relays[0],
            self._color,
        )  # fmt: skip
        same = len(lines) == len(self._drawn) and self._size == (rows, columns)
        out = "" if same else "\x1b[2J"
        out += changed_lines(self._drawn if same else [], lines)
        self._drawn, self._size = lines, (rows, columns)
        if self._plain:
            from gshell.cli.plain import ascii_text

            out = ascii_text(out)
        if out:
            self._write(out.encode("utf-8", "replace"))

    _size = (0, 0)

    # ----------------------------------------------------------------------------------------- keys

    def _read(self) -> None:
        try:
            data = os.read(0, 1024)
        except OSError:
            data = b""
        if not data:
            self.ended.append(0)  # the terminal has gone
            return
        for key in keys(data):
            if self.ended:
                return
            if key == "\x1a":
                self._suspend()
            elif key == "\x0c":
                self._drawn = []
            else:
                shown = [str(j["id"]) for j in self.view.jobs(self.live.mirror, time.time())]
                self._do(self.view.key(key, shown))
        self._draw()

    def _do(self, action: str) -> None:
        if action == "quit":
            self.ended.append(0)
        elif action == "kill":
            jobs, self.view.asking = self.view.asking, []
            named = f"job {jobs[0]}" if len(jobs) == 1 else f"{len(jobs)} jobs"
            self.view.note = f"ending {named} ..." if self.live.up else "no connection"
            for job in jobs:
                self.live.request({"m": "cancel", "job": job}, self._killed)
        elif action == "signal":
            number = self.view.signal
            jobs = self.view.targets
            named = f"job {jobs[0]}" if len(jobs) == 1 else f"{len(jobs)} jobs"
            self.view.note = f"signal {number} to {named}" if self.live.up else "no connection"
            for job in jobs:
                self.live.request({"m": "signal", "job": job, "sig": number}, self._killed)
        elif action == "ranks":
            self._beside.follow(self.view.selected if self.view.shows_ranks else "")
        elif action == "attach":
            self._attach(self.view.selected)

    def _ranks(self, job: str, rows: list[Message]) -> None:
        if job == self.view.selected:
            self.view.ranks = list(rows)
            self.changed()

    def _killed(self, answer: Message) -> None:
        if not answer.get("ok"):
            self.view.note = str(answer.get("message"))
        self.changed()

    def _suspend(self) -> None:
        assert self._terminal is not None
        self._write(_LEAVE)
        self._terminal.suspend_self()
        self._enter()

    def _attach(self, job: str) -> None:
        """Leave the screen to ``gshell attach``, and come back when that ends."""
        self._leave()
        argv = [*config.entry(), "attach", job]
        wakeup = signal.set_wakeup_fd(-1)  # Ctrl-C is meant for it, not for us
        ends = (signal.SIGTERM, signal.SIGHUP)
        before = {n: signal.signal(n, lambda n, frame: self.ended.append(n)) for n in ends}
        try:
            status = subprocess.run(argv, check=False).returncode
        finally:
            signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
            for number, handler in before.items():
                signal.signal(number, handler)
        self.view.note = f"attach {job} ended with status {status}" if status else ""
        self._enter()


_ENDED_S = 30.0  # an ended job is shown so long


def top(parsed: Parsed) -> int:
    """Full screen on a terminal that can; else, or with --once, one frame."""
    from gshell.client.render import wants_color

    dumb = os.environ.get("TERM", "dumb") in ("", "dumb", "unknown")
    full = os.isatty(0) and os.isatty(1) and not parsed["once"] and not dumb
    one = _Top(parsed, wants_color(parsed["color"], sys.stdout.isatty(), os.environ))
    try:
        one.first()
        if parsed["json"]:
            from gshell.cli.verbs import print_json

            print_json("top", one.facts())
        elif full:
            one.show()
        else:
            sys.stdout.write(one.once(_width()))
    finally:
        one.close()
    return _status(one.ended)


def _width() -> int:
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 200
