"""What running steps use, from /proc: read only while somebody looks, and never much at a time.

Output and input are counted by the sessions; processor, memory and whether it waits for a key are
the kernel's, of a rank's process and its descendants. Knows no relay.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

if TYPE_CHECKING:
    from gshell.model.progress import Progress

REPORT_S = 5.0  # while somebody looks
SOON_S = 0.05  # another one has come to look: one report for many of them
PROCESSES = 200  # looked at in one report, 50 us each; the rest is looked at in the next
_READING = 4  # processes' worth: the end of a step's output, if it has grown
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Numbers of the system calls in which a program waits for input, by machine.
_READ = {"x86_64": b"0", "aarch64": b"63"}
_POLL = {"x86_64": (b"7", b"23", b"270", b"271"), "aarch64": (b"72", b"73")}


class Step(NamedTuple):
    """A running step, as far as it matters here."""

    job: str
    part: int
    out: int
    """Bytes it has written."""
    taken: int
    """Bytes it has been given."""
    pids: list[int]
    """Its ranks' processes."""
    foreground: int
    """Who would get a key that is typed; 0: nobody."""
    pty: bool
    progress: Callable[[], Progress | None] = lambda: None
    """How far it says to be; reads its output, so asked for only when it is this step's turn."""


class Usage:
    """Remembers what was said last: a step is mentioned again when its numbers have changed."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._said: dict[tuple[str, int], dict[str, Any]] = {}
        self._turn = 0
        machine = os.uname().machine
        self._read_call, self._poll_calls = _READ.get(machine), _POLL.get(machine, ())

    def forget(self) -> None:
        """Somebody new looks: everything is news."""
        self._said.clear()

    def report(self, steps: Iterable[Step]) -> list[dict[str, Any]]:
        """The ``steps`` of a `usage` message (gshell/net/CONTROL.md)."""
        listed = list(steps)
        left = PROCESSES
        self._turn = self._turn % len(listed) if listed else 0
        news = []
        for step in listed[self._turn :] + listed[: self._turn]:
            key = (step.job, step.part)
            before = self._said.get(key, {})
            line = {"job": step.job, "index": step.part, "out": step.out, "in": step.taken,
                    "cpu_s": before.get("cpu_s", 0.0), "rss_bytes": before.get("rss_bytes", 0),
                    "waits": before.get("waits", False)}  # fmt: skip
            if "progress" in before:
                line["progress"] = before["progress"]
            if left > 0:
                self._turn += 1
                seen, cpu_s, rss_bytes = self._tree(step.pids, left)
                left -= seen
                line["cpu_s"] = round(cpu_s, 2)
                line["rss_bytes"] = rss_bytes
                line["waits"] = self._waits(step)
                line.pop("progress", None)
                progress = step.progress()
                left -= _READING if step.out != before.get("out", 0) else 0
                if progress is not None:
                    line["progress"] = progress._asdict()
            if line != before:
                self._said[key] = line
                news.append(line)
        for key in set(self._said) - {(step.job, step.part) for step in listed}:
            del self._said[key]
        return news

    def process(self, pid: int, most: int) -> tuple[str, float, int]:
        """(state, processor time, memory) of a process and at most so many of its descendants."""
        state = self._read(f"{pid}/stat").rpartition(b")")[2].split()[:1]
        _, cpu_s, rss_bytes = self._tree([pid], most)
        return (state[0].decode() if state else "ended"), cpu_s, rss_bytes

    def _tree(self, roots: list[int], most: int) -> tuple[int, float, int]:
        """(processes looked at, their processor time, their memory)."""
        waiting, seen, cpu_s, rss_bytes = list(roots), 0, 0.0, 0
        while waiting and seen < most:
            pid = waiting.pop()
            seen += 1
            stat = self._read(f"{pid}/stat").rpartition(b")")[2].split()
            if len(stat) < 22:
                continue  # it has ended
            # Its own time, and that of children it has waited for.
            cpu_s += sum(int(ticks) for ticks in stat[11:15]) * _TICK_S
            rss_bytes += max(0, int(stat[21])) * _PAGE_BYTES
            for thread in self._threads(pid):
                children = self._read(f"{pid}/task/{thread}/children")
                waiting += [int(child) for child in children.split()]
        return seen, cpu_s, rss_bytes

    def _threads(self, pid: int) -> list[str]:
        try:
            return os.listdir(f"{self._proc}/{pid}/task")[:64]
        except OSError:
            return []

    def _waits(self, step: Step) -> bool:
        """Is it reading what is typed, most likely?"""
        if step.foreground <= 0:
            return False
        call = self._read(f"{step.foreground}/syscall").split()  # "running": one word
        if len(call) < 2:
            return False
        if call[0] == self._read_call:
            return call[1] == b"0x0"  # its stdin
        return step.pty and call[0] in self._poll_calls

    def _read(self, name: str) -> bytes:
        try:
            with open(f"{self._proc}/{name}", "rb") as file:
                return file.read(1 << 16)
        except OSError:
            return b""


class Reporter:
    """Reports on time, while it is on."""

    def __init__(
        self,
        later: Callable[[float, Callable[[], None]], Any],
        steps: Callable[[], Iterable[Step]],
        say: Callable[[dict[str, Any]], None],
    ) -> None:
        self._later = later
        self._steps = steps
        self._say = say
        self._usage = Usage()
        self._timer: Any = None
        self._soon = False

    def watch(self, on: bool) -> None:
        self._usage.forget()
        if on and self._soon:
            return  # the next report says it all again
        again = self._timer is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._soon = on and again
        if self._soon:
            self._timer = self._later(SOON_S, self._report)
        elif on:
            self._report()

    def _report(self) -> None:
        self._soon = False
        news = self._usage.report(self._steps())
        if news:
            self._say({"m": "usage", "steps": news})
        self._timer = self._later(REPORT_S, self._report)
