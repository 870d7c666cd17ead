"""Is the program ready for what is to be typed next? The ladder of PLAYING.md. Types nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gshell.net.inputwait import RELAYS
from gshell.replay.script import Key, Step
from gshell.replay.shells import SHELLS
from gshell.replay.targets import Waiting

if TYPE_CHECKING:
    from gshell.replay.engine import Engine

QUIET_S = 1.0  # without any news from the program
QUIET_TEXT_S = 0.15  # if the last line is as expected, so long without output
RELAY_QUIET_S = 0.5  # of what always reads (ssh, a nested screen): so long without output
PROMPT_QUIET_S = 0.5  # a marked prompt, and nobody is seen to read there: so long without output
RANKS_QUIET_S = 0.2  # of an MPI job whose first rank reads: the others may be about to print
KEY_QUIET_S = 0.3  # before Ctrl-C: to a program that runs, and has begun to
STRAY_S = 2.0  # a program waits, but not where the script expects it: slow output may yet come
EXPECT_WAIT_S = 1.0  # after ``expect`` has matched: until the program reads
PROMPT = re.compile(
    r"(?:[$#>❯➜»]|(?<!\d)%) ?$"
)  # of a shell that marks none, elsewhere: how it ends
INTERRUPTS = {b"\x03", b"\x1a", b"\x1c"}  # ^C ^Z ^\: for who does not wait for input


class Ready:
    """Whether a step may be typed."""

    def __init__(self, engine: Engine, step: Step) -> None:
        self._engine = engine
        self._step = step
        self._regex = re.compile(step.wait.regex) if step.wait.regex else None
        self._matched_at: float | None = None
        self._stray_since: float | None = None
        self._looked_at = (-1, -1)
        self.stray = ""
        """The program waits, but elsewhere than the script thinks: what was expected."""

    @property
    def wants(self) -> str:
        """For a person."""
        wait = self._step.wait
        if wait.regex:
            return f"/{wait.regex}/"
        if _of_shell(self._step):
            return "the shell's prompt"
        if wait.text:
            return f"the prompt {wait.text!r}"
        return "the program to read input"

    def look(self) -> str:
        """How it is known, or nothing."""
        engine, step = self._engine, self._step
        if engine.ended:
            return "exit" if step.kind == "end" else ""
        if self._regex is not None:
            return self._expects()
        if step.kind == "keys" and _interrupts(step):
            return "quiet" if engine.quiet_s() >= KEY_QUIET_S else ""
        if engine.heard.at_prompt:
            return self._at_prompt()
        waiting = engine.target.waiting
        if waiting is not None:
            return self._waits(waiting)
        self._stray_since = None
        if engine.target.tells is not False:
            return ""
        if step.wait.text and engine.stands(step.wait.text):
            return "text" if engine.quiet_s() >= QUIET_TEXT_S else ""
        if step.wait.text:
            return ""
        return "quiet" if engine.quiet_s() >= QUIET_S else ""

    def _expects(self) -> str:
        engine, heard = self._engine, self._engine.heard
        assert self._regex is not None
        if self._matched_at is None:
            if heard.size == self._looked_at:
                return ""
            self._looked_at = heard.size
            text = heard.all_text() if self._step.wait.on_screen else heard.since_typed()
            if not _found(self._regex, text):
                return ""
            self._matched_at = engine.target.loop.clock()
        ready = engine.target.waiting is not None or heard.at_prompt or self._step.kind == "wait"
        late = engine.target.loop.clock() - self._matched_at >= EXPECT_WAIT_S
        return "expect" if ready or late else ""

    def _at_prompt(self) -> str:
        step, text = self._step, self._step.wait.text
        if _of_shell(step) or not text or self._engine.stands(text):
            # Something typed before may be on its way to the shell still.
            reads = self._engine.target.waiting is not None or not self._engine.target.tells
            return "osc133" if reads or self._engine.quiet_s() >= PROMPT_QUIET_S else ""
        self._strays(f"the prompt {text!r}; the shell's prompt came instead")
        return ""

    def _waits(self, waiting: Waiting) -> str:
        engine, step = self._engine, self._step
        text = step.wait.text
        last = engine.heard.last_line()
        if text and not _of_shell(step) and not engine.stands(text):
            self._strays(
                f"the prompt {text!r}; {waiting.who or 'the program'} waits after {last!r}"
            )
            return ""
        elsewhere = waiting.who in RELAYS and PROMPT.search(last)  # a shell behind ssh, tmux
        here = waiting.who in SHELLS or elsewhere
        if _of_shell(step) and engine.heard.marked and not here:
            return ""  # perhaps with a time-out of its own
        if _of_shell(step) and engine.heard.marked and engine.quiet_s() < QUIET_TEXT_S:
            return ""  # a shell that marks its prompts may be about to
        if step.kind == "end" and engine.heard.marked and engine.quiet_s() < QUIET_S:
            return ""
        if engine.target.ranks and engine.quiet_s() < RANKS_QUIET_S:
            return ""
        if waiting.who in RELAYS and engine.quiet_s() < RELAY_QUIET_S:
            return ""
        return "input-wait"

    def _strays(self, words: str) -> None:
        """Give it a moment: what it printed may not all be here, or it may go on by itself."""
        now = self._engine.target.loop.clock()
        if self._stray_since is None or self._engine.quiet_s() < STRAY_S / 2:
            self._stray_since = self._stray_since or now
        if now - self._stray_since >= STRAY_S and self._engine.quiet_s() >= STRAY_S:
            self.stray = words


def _found(regex: re.Pattern[str], text: str) -> bool:
    """In all of it, or in the line where the cursor is, so that ``^`` is its beginning. Blanks at
    the end were cut off: ``/>>> $/`` is as good as ``/>>>$/``."""
    last = text.rpartition("\n")[2]
    return any(map(regex.search, (text, text + " ", last, last + " ")))


def _of_shell(step: Step) -> bool:
    return step.kind == "shell" or step.wait.shell


def _interrupts(step: Step) -> bool:
    keys = [part for part in step.parts if isinstance(part, Key)]
    return bool(keys) and len(keys) == len(step.parts) and keys[0].data in INTERRUPTS
