"""Plays a script to a target: waits until the program is ready, types, and hands on what it said
after each step (`heard`).

How it is known that the program is ready, the first that applies:

1. ``expect``: the script says what must be there (``expect /re/``);
2. ``osc133``: the shell has marked that its prompt is complete;
3. ``input-wait``: the program blocks reading its terminal or stdin;
4. ``text``: the last line is as it was before this was typed, when it was recorded;
5. ``quiet``: nothing has come for a while; weak, and said so;
6. ``blind``: so much time has passed, if nothing better is wanted.

Nothing is ever typed ahead: if none of them holds the step fails, and says what it waited for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol

from gshell.errors import GshellError
from gshell.replay import ladder
from gshell.replay.heard import Heard
from gshell.replay.ladder import Ready
from gshell.replay.script import Key, Script, Secret, Seen, Step, Text
from gshell.replay.targets import Target

BETWEEN_S = 1.0  # between two keys of a step, until the program has taken the first
ESC_S = 0.2  # after a lone Esc: programs take what follows at once for Alt
SHOWN_LINES = 20
RANKS_LATE_S = 3.0  # without output: a rank's lines that are missing then will not come
TICK_S = 0.05
SAY_S = 0.5  # how often who follows is told that it goes on


class Watcher(Protocol):
    """Who follows."""

    def resolve(self, text: str) -> str:
        """Parameters and captures in it, replaced."""

    def secret(self, number: int) -> str: ...

    def stands(self, prompt: str, line: str) -> bool:
        """Does this line end with that prompt? There may be masks in it."""

    def begins(self, step: Step) -> None:
        """It is waited for, or has been typed."""

    def waits(self, step: Step, wants: str, since_s: float) -> None:
        """It goes on for so long; until then."""

    def seen(self, step: Step, seen: Seen) -> bool:
        """It is done; False: go no further."""


class Happening(NamedTuple):
    """For a recording of the run: see CAST.md."""

    at_s: float
    code: str
    data: bytes


class Outcome(NamedTuple):
    """Of a whole run."""

    status: int | None
    """The program's; None: it was left while it ran."""
    error: GshellError | None
    warnings: tuple[str, ...]
    trouble: tuple[str, ...]
    """Where it stopped, for a person: what was waited for, the last lines."""
    elapsed_s: float
    waited_s: float
    """Of that, until the program was ready: not our doing."""
    late: bool
    """Something took longer than it may."""


class Engine:
    """One run. Invariant: nothing is typed before the step before it is judged."""

    def __init__(
        self,
        script: Script,
        target: Target,
        watcher: Watcher,
        blind: bool = False,
        timeout_s: float | None = None,
        size: tuple[int, int] = (80, 24),
    ) -> None:
        self._script = script
        self._target = target
        self._loop = target.loop
        self._watcher = watcher
        self._blind = blind
        self._timeout_s = timeout_s if timeout_s is not None else script.timeout_s
        self.heard = Heard(target, size[0])
        self._output_at = 0.0
        self._typed_at = 0.0
        self._sync = ""
        self._began = 0.0
        self._status: int | None = None
        self._error: GshellError | None = None
        self._over = False
        self._waited_s = 0.0
        self._late = False
        self._said_at = 0.0
        self.happenings: list[Happening] = []
        self.warnings: list[str] = []
        self.trouble: tuple[str, ...] = ()

    # -- what the target says

    def on_output(self, rank: int, error: bool, data: bytes) -> None:
        now = self._loop.clock()
        self._output_at = now
        self.happenings.append(Happening(now - self._began, "e" if error else "o", data))
        self.heard.output(rank, error, data)

    def on_change(self) -> None:
        waiting = self._target.waiting
        if waiting is not None:
            at_s = self._loop.clock() - self._began
            self.happenings.append(Happening(at_s, "w", waiting.where.encode() or b"?"))

    def on_ended(self, status: int) -> None:
        self._status = status
        self.heard.ended()
        self._over = True

    def on_failed(self, error: GshellError) -> None:
        self._error = error
        self._over = True

    # -- playing

    def play(self) -> Outcome:
        """All of it; each step's result goes to the watcher."""
        self._began = self._output_at = self._typed_at = self._loop.clock()
        self._target.start(self)
        before: Step | None = None
        went = True
        for step in self._script.steps:
            self._watcher.begins(before or step)
            sync, missing = self._ready(step, before)
            if before is not None:
                went = self._watcher.seen(before, self._result(before, "" if sync else missing))
                if not went:
                    break
            if not sync:
                if before is None:
                    self._watcher.seen(step, Seen((), timed_out=missing))
                went = False
                break
            if before is None:
                self._tell_shell()
            self._type(step, sync)
            before = step
        if went and before is not None:
            self._watcher.begins(before)
            missing = self._finish(before)
            self._watcher.seen(before, self._result(before, missing, last=True))
        elapsed_s = self._loop.clock() - self._began
        status = self._status
        self._target.close()
        return Outcome(
            status, self._error, tuple(self.warnings), self.trouble, elapsed_s, self._waited_s,
            self._late,
        )  # fmt: skip

    def _ready(self, step: Step, before: Step | None) -> tuple[str, str]:
        """Wait until it may be typed: (how that was known, else what was waited for in vain)."""
        begun = self._loop.clock()
        limit_s = self._limit(step, before)
        if self._blind and step.wait.at_s is not None:
            left_s = self._began + step.wait.at_s - begun
            self._until(lambda: False, max(0.0, left_s))
            return ("", self._say_over(step)) if self._over else ("blind", "")
        found = ""
        asks = Ready(self, step)

        def looked() -> bool:
            nonlocal found
            found = asks.look()
            if found and self._ranks_behind(before):
                found = ""
            self._say_waiting(before or step, asks.wants, begun)
            return bool(found) or self._over or bool(asks.stray)

        self._until(looked, limit_s)
        self._waited_s += self._loop.clock() - begun
        if found and not (self._over and step.kind != "wait"):
            if found == "quiet" and not self._target.tells:
                self._warn(
                    "nothing says when the program is ready: it is taken to be after "
                    f"{ladder.QUIET_S:g} s without output (weak)"
                )
            return found, ""
        if self._over:
            if step.kind == "wait":
                return "exit", ""
            return "", self._say_over(step)
        missing = asks.stray or f"{asks.wants}, for {limit_s:g} s"
        self._late = not asks.stray
        self._tell_trouble(step, missing)
        return "", missing

    def _ranks_behind(self, before: Step | None) -> bool:
        """Who reads is ready; a rank that does not read has not printed all that it is to yet. It
        is given a moment."""
        if before is None or not self._target.ranks or self._over:
            return False
        return self.heard.ranks_behind(before) and self.quiet_s() < RANKS_LATE_S

    def _say_waiting(self, step: Step, wants: str, since: float) -> None:
        now = self._loop.clock()
        if now - max(since, self._said_at) >= SAY_S:
            self._said_at = now
            self._watcher.waits(step, wants, now - since)

    def _limit(self, step: Step, before: Step | None) -> float:
        for each in (
            step.wait.timeout_s,
            before.timeout_s if before is not None else None,
            step.timeout_s if before is None else None,
        ):
            if each is not None:
                return each
        return self._timeout_s

    def _say_over(self, step: Step) -> str:
        if self._error is not None:
            missing = self._error.message
        else:
            missing = f"the program has ended with status {self._status}, before this was typed"
        self._tell_trouble(step, missing)
        return missing

    def _finish(self, last: Step) -> str:
        """After the last step: until the program has ended, or waits again."""
        begun = self._loop.clock()
        limit_s = last.timeout_s if last.timeout_s is not None else self._timeout_s
        asks = Ready(self, Step(0, 0, "", "end", ()))
        if not self._target.echoes:
            self._target.end_input()  # who reads a pipe learns that that was all
        piped = not self._target.echoes

        def done() -> bool:
            self._say_waiting(last, "its end", begun)
            return self._over or (not piped and bool(asks.look()))

        if self._until(done, limit_s):
            self._waited_s += self._loop.clock() - begun
            return "" if self._error is None else self._error.message
        missing = f"the program to end or to wait for input, for {limit_s:g} s"
        self._late = True
        self._tell_trouble(last, missing)
        return missing

    def _until(self, done: Callable[[], bool], limit_s: float) -> bool:
        """Run the loop until then."""
        end = self._loop.clock() + limit_s
        while not done():
            left = end - self._loop.clock()
            if left <= 0:
                return done()
            self._loop.once(min(left, TICK_S))
        return True

    # -- typing

    def _type(self, step: Step, sync: str) -> None:
        self._sync = sync
        self._typed_at = self._loop.clock()
        self.heard.begin_step(step is self._script.steps[0])
        if step.kind == "wait":
            return
        pieces: list[bytes] = []
        for at, part in enumerate(step.parts):
            text_before = at > 0 and not isinstance(step.parts[at - 1], Key)
            if isinstance(part, Key):
                if part.data in ladder.INTERRUPTS or part.data == b"\x04":
                    self.heard.typed("^" + chr(part.data[0] | 0x40))  # as a terminal echoes it
                if text_before and not part.data.startswith(b"\x1b"):
                    pieces[-1] += part.data  # ``"yes"<Enter>``: no program wants these apart
                else:
                    pieces.append(part.data)
            elif isinstance(part, Secret):
                pieces.append(self._watcher.secret(part.number).encode())
            elif isinstance(part, Text):
                text = self._watcher.resolve(part.text)
                self.heard.typed(text)
                pieces.append(text.encode("utf-8", "surrogateescape"))
        if step.kind in ("shell", "line") and not (
            step.kind == "line" and step.parts and isinstance(step.parts[-1], Key)
        ):
            pieces.append(b"\r" if self._target.echoes else b"\n")
        if step.kind != "keys":
            pieces = [b"".join(pieces)]
        for number, piece in enumerate(pieces):
            if number and not self._taken(pieces[number - 1]):
                break
            self._send(piece, step)

    def _send(self, data: bytes, step: Step) -> None:
        if self._over:
            return
        secrets = [part.number for part in step.parts if isinstance(part, Secret)]
        at_s = self._loop.clock() - self._began
        if secrets:
            self.happenings.append(Happening(at_s, "s", str(secrets[0]).encode()))
        else:
            self.happenings.append(Happening(at_s, "i", data))
        self._target.type(data)

    def _taken(self, before: bytes) -> bool:
        """Has the program read the key, so that the next one may follow?"""
        if before == b"\x1b":
            self._until(lambda: self._over, ESC_S)
        if self._target.tells:
            self._until(lambda: self._over or self._target.waiting is not None, BETWEEN_S)
        return not self._over

    # -- what the ladder looks at

    @property
    def target(self) -> Target:
        return self._target

    @property
    def ended(self) -> bool:
        return self._over

    def quiet_s(self) -> float:
        """Since when nothing came."""
        return self._loop.clock() - max(self._output_at, self._typed_at)

    def stands(self, prompt: str) -> bool:
        """Is this prompt there, as it was when it was recorded?"""
        return self._watcher.stands(prompt, self.heard.last_line())

    # -- results

    def _result(self, step: Step, missing: str, last: bool = False) -> Seen:
        out, err, ranks, status = self.heard.said(step, self._over, bool(missing), last)
        if self._over and status is None:
            status = self._status
        return Seen(
            out=out,
            err=err,
            ranks=ranks,
            status=status,
            elapsed_s=self._loop.clock() - self._typed_at,
            sync=self._sync,
            timed_out=missing,
        )

    # -- words

    def _warn(self, words: str) -> None:
        if words not in self.warnings:
            self.warnings.append(words)

    def _tell_shell(self) -> None:
        """It may not be the one that this was typed into."""
        wanted, is_one = self._script.shell, self.heard.shell
        if wanted and is_one and os.path.basename(wanted) != os.path.basename(is_one):
            self._warn(f"this was typed into {wanted}, and is played in {is_one} now")

    def _tell_trouble(self, step: Step, missing: str) -> None:
        shown = self.heard.all_text().split("\n")[-SHOWN_LINES:]
        where = f"{self._script.name}:{step.line}: " if step.line else ""
        words = [f"{where}step {step.number} ({step.shown}) was not typed: waited for {missing}"]
        if self._error is not None or self._over:
            words = [f"{where}step {step.number} ({step.shown}): {missing}"]
        waiting = self._target.waiting
        if waiting is not None and waiting.who:
            words.append(f"  {waiting.who} waits for input ({waiting.where})")
        first = step is self._script.steps[0]
        if first and self.heard.marked and step.kind != "shell" and not self._script.command:
            words.append("  of another program than a shell?  gshell replay FILE -- run -- PROGRAM")
        if any(shown):
            words.append("  the last lines were:")
            words += ["  | " + line for line in shown]
        self.trouble = tuple(words)
