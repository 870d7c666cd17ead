"""A program that is not what it was: its real output, changed on its way to the terminal, or the
program itself ended or stopped. Between a program and who plays a script to it."""

from __future__ import annotations

import os
import random
import re
import signal
from collections.abc import Sequence
from typing import NamedTuple

from gshell.net.loop import Loop
from gshell.replay import shells
from gshell.replay.engine import Engine, Outcome
from gshell.replay.script import Script, Step, Verdict
from gshell.replay.targets import Waiting
from kit.conversations import Judge, Slow, environment

KINDS = ("digit", "missing", "extra", "order", "word", "stderr", "status", "hang", "crash")
HANG_S = 3.0  # of a step, where one hangs
_MARK = re.compile(rb"\x1b\]133;D;(\d+)")


class Change(NamedTuple):
    """One thing that is wrong with a program."""

    kind: str
    step: int
    """From 1: while this one is done."""
    line: str
    """At this line of its output."""
    instead: bytes
    """What is printed in its place; of ``status``: the number."""

    def __str__(self) -> str:
        return f"{self.kind} at step {self.step}, {self.line!r}"


def change(
    script: Script, clean: Sequence[Verdict], kind: str, luck: random.Random
) -> Change | None:
    """One of this kind, in what a clean run printed; None: there is nothing to be changed so."""
    steps = [one for one in clean if one.step.expected and one.seen.out and one.seen.out[0]]
    if kind == "status":
        steps = [one for one in clean if one.step.status and one.seen.status is not None]
    luck.shuffle(steps)
    for verdict in steps:
        lines = [line for line in verdict.seen.out if line.strip() and line.isascii()]
        if kind == "status":
            other = (verdict.seen.status or 0) + luck.randrange(1, 200)
            return Change(kind, verdict.step.number, "", str(other % 256).encode())
        if kind == "order":
            lines = [a for a, b in zip(verdict.seen.out, verdict.seen.out[1:]) if a != b]
        if kind == "digit":
            lines = [line for line in lines if any(char.isdigit() for char in line)]
        if kind == "word":
            lines = [line for line in lines if re.search("[a-z]{2}", line)]
        if lines:
            line = luck.choice(lines)
            return Change(kind, verdict.step.number, line, _instead(kind, line, luck))
    return None


def _instead(kind: str, line: str, luck: random.Random) -> bytes:
    if kind == "digit":
        at = luck.choice([n for n, char in enumerate(line) if char.isdigit()])
        line = line[:at] + str((int(line[at]) + luck.randrange(1, 10)) % 10) + line[at + 1 :]
    elif kind == "word":
        word = luck.choice(re.findall("[a-z]{2,}", line))
        line = line.replace(word, word[::-1] if word != word[::-1] else word + "x", 1)
    elif kind == "extra":
        line += "\r\n" + luck.choice([line, "NaN", "0"])
    elif kind == "stderr":
        line = "*** stack smashing detected ***: terminated\r\n" + line
    elif kind in ("missing", "hang", "crash"):
        line = ""
    return line.encode() + (b"\r\n" if line else b"")


class Penned(Slow):
    """A target with one change. ``done``: it was made."""

    def __init__(self, loop: Loop, argv: list[str], env: dict[str, str], change: Change) -> None:
        super().__init__(loop, argv, env, 1, None)
        self.now = 0
        self._typing = False
        self.done = False
        self._change = change
        self._begun = b""  # a line that may be the one
        self._after = b""  # to come behind the next line
        self._hangs = False

    def type(self, data: bytes) -> None:
        self._typing = True
        super().type(data)

    def on_output(self, rank: int, error: bool, data: bytes) -> None:
        if self._hangs:
            return
        if self.now == self._change.step and self._typing and (not self.done or self._after):
            data = self._changed(data)
        super().on_output(rank, error, data)

    def _changed(self, data: bytes) -> bytes:
        if self._change.kind == "status":
            new = _MARK.sub(b"\x1b]133;D;" + self._change.instead, data, count=1)
            self.done = new != data
            return new
        done = b""
        data, self._begun = self._begun + data, b""
        wanted = self._change.line.encode()
        while not self._hangs and (at := data.find(b"\n") + 1):
            line, data = data[:at], data[at:]
            text = line.rstrip(b"\r\n").rstrip()
            if self._after:
                line, self._after = line + self._after, b""
            elif not self.done and re.search(rb"(?:^|[\x07\r])" + re.escape(wanted) + b"$", text):
                line = text[: len(text) - len(wanted)] + self._made()
            done += line
        if self._hangs:
            return done
        last = data.rpartition(b"\x07")[2]
        if not self.done and last and wanted.startswith(last):
            self._begun, data = data, b""
        return done + data

    def _made(self) -> bytes:
        self.done = True
        if self._change.kind == "hang":
            self._hangs = True
        elif self._change.kind == "order":
            self._after = self._change.instead
            return b""
        elif self._change.kind == "crash":
            self._crash()
        return self._change.instead

    def _crash(self) -> None:
        front = os.tcgetpgrp(self._master)
        os.killpg(front if front > 1 else self.pid, signal.SIGKILL)

    @property
    def waiting(self) -> Waiting | None:
        return None if self._hangs or self._begun else super().waiting


class _Follows(Judge):
    """Tells the target which step is done."""

    target: Penned

    def begins(self, step: Step) -> None:
        self.target.now = step.number


def play(script: Script, change: Change) -> tuple[list[Verdict], Outcome, bool]:
    """...and whether the change was made."""
    loop = Loop()
    target = Penned(loop, shells.argv("/bin/bash", plain=True), environment(), change)
    watcher = _Follows(script)
    watcher.target = target
    limit_s = HANG_S if change.kind == "hang" else 60.0
    try:
        outcome = Engine(script, target, watcher, timeout_s=limit_s).play()
    finally:
        loop.close()
    return watcher.verdicts, outcome, target.done


def caught(script: Script, change: Change) -> bool:
    """Is it red? A change that could not be made counts as not seen."""
    verdicts, _, done = play(script, change)
    return done and not (
        len(verdicts) == len(script.steps) and all(verdict.ok for verdict in verdicts)
    )
