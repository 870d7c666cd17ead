"""What a program has said while a script is played to it, cut into steps. Knows no time: it is told
what came and what was typed, in that order.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from gshell.replay import masks, screen
from gshell.replay.script import Step
from gshell.replay.shells import Marks

if TYPE_CHECKING:
    from gshell.replay.targets import Target

EXPECT_BYTES = 1 << 18  # of the output since the last input, that a regex is looked for in


class Said(NamedTuple):
    """What came after one step: fields of a `Seen`."""

    out: tuple[str, ...]
    err: tuple[str, ...]
    ranks: tuple[tuple[int, tuple[str, ...]], ...]
    status: int | None
    """Of a shell's command, where the shell tells."""


class Heard:
    """Invariant: what was not judged yet begins at ``_sent``; the lines of several ranks are whole
    in what is seen of all."""

    def __init__(self, target: Target, columns: int) -> None:
        """``target``: of which it only matters whether it echoes, has ranks, and which of them
        read."""
        self._target = target
        self._columns = columns
        self._marks = Marks()
        self._out = bytearray()  # all of it, without marks
        self._err = bytearray()
        self._of_rank: dict[int, bytearray] = {}
        self._held: dict[int, bytes] = {}  # of ranks, while another one's line is not complete
        self._line_of: int | None = None
        self._sent = 0  # where in the output something was typed last
        self._sent_err = 0
        self._sent_rank: dict[int, int] = {}
        self._cut_rank: dict[int, int] = {}  # where the next step's lines of it begin
        self._typed_marks = 0  # marks that there were then
        self._typed = ""  # what was typed, as it would be echoed
        self._prompt = ""  # the line before it

    # -- what comes

    def output(self, rank: int, error: bool, data: bytes) -> None:
        if error:
            self._err += data
        elif self._target.ranks:
            self._of_rank.setdefault(rank, bytearray()).extend(data)
            self._in_lines(rank, data)
        else:
            self._out += self._marks.feed(data)

    def _in_lines(self, rank: int, data: bytes) -> None:
        """Lines of several ranks, each whole."""
        if self._line_of not in (None, rank):
            self._held[rank] = self._held.get(rank, b"") + data
            return
        self._out += data
        self._line_of = None if data.endswith(b"\n") else rank
        while self._line_of is None and self._held:
            other = next(iter(self._held))
            held = self._held.pop(other)
            self._out += held
            self._line_of = None if held.endswith(b"\n") else other

    def ended(self) -> None:
        """Nothing more comes."""
        self._out += self._marks.end() + b"".join(self._held.values())

    # -- what is typed

    def begin_step(self, first: bool) -> None:
        """What comes from here on is another step's; ``first``: of the script."""
        self._sent, self._sent_err = len(self._out), len(self._err)
        cut, self._cut_rank = self._cut_rank, {}
        for rank, data in self._of_rank.items():
            if rank in cut:
                self._sent_rank[rank] = cut[rank]
                continue
            # What others print does not wait for us: before the first input it is the first step's.
            if not first or rank in self._target.readers:
                self._sent_rank[rank] = len(data)
        self._typed_marks = len(self._marks.found)
        self._typed = ""
        self._prompt = self.last_line()

    def typed(self, text: str) -> None:
        """This is the step's text, or comes after what was."""
        self._typed += text

    # -- what there is

    @property
    def marked(self) -> bool:
        """Does a shell mark its prompts?"""
        return bool(self._marks.found)

    @property
    def shell(self) -> str:
        """Which one has begun, if it says so."""
        return self._marks.shell

    @property
    def at_prompt(self) -> bool:
        """Is a shell's prompt complete, with nothing after it?"""
        found = self._marks.found
        return len(found) > self._typed_marks and found[-1].kind == "B"

    @property
    def size(self) -> tuple[int, int]:
        """Of what there is: another one, other text."""
        return len(self._out), len(self._err)

    def last_line(self) -> str:
        """Where the cursor is, up to it."""
        tail = bytes(self._out[max(0, len(self._out) - 4096) :])
        return screen.view(tail.rpartition(b"\n")[2], self._columns).last

    def since_typed(self) -> str:
        """What came since then, as text; without what was echoed."""
        start = self._line_begin(self._sent) if self._target.echoes else self._sent
        start = max(start, len(self._out) - EXPECT_BYTES)
        lines = self._view(self._out[start:]).lines
        lines = self._without_echo(lines) if self._target.echoes else lines
        lines += self._view(self._err[self._sent_err :]).lines
        return "\n".join(lines)

    def all_text(self) -> str:
        """What is on the screen, more or less."""
        tail = bytes(self._out[max(0, len(self._out) - 65536) :])
        return "\n".join(self._view(tail).lines[-200:])

    def ranks_behind(self, step: Step) -> bool:
        """Has a rank that does not read not printed yet all that this step expects of it?"""
        return any(
            self._of_rank.get(rank, bytearray()).count(b"\n", self._sent_rank.get(rank, 0)) < count
            for rank, count in self._counts(step).items()
        )

    def _counts(self, step: Step) -> dict[int, int]:
        """How many lines are expected of ranks that do not read, where that is known."""
        counts: Counter[int] = Counter()
        unknown = set()
        for line in step.expected or ():
            if line.rank is not None and line.rank not in self._target.readers:
                counts[line.rank] += 1
                if masks.parse(line.text).kind == "span" or line.stream != "out":
                    unknown.add(line.rank)
        return {rank: count for rank, count in counts.items() if rank not in unknown}

    # -- a step's part of it

    def said(self, step: Step, over: bool, missing: bool, last: bool) -> Said:
        """What came after this step, the newest one. ``over``: nothing more comes; ``missing``:
        what was waited for has not; ``last``: no other step follows."""
        end, status, begin, at_end = len(self._out), None, self._sent, over
        exact = False
        for mark in self._marks.found[self._typed_marks :]:
            if mark.kind == "C" and not exact and begin == self._sent:
                begin, exact = mark.at, True
            elif mark.kind == "D":
                end, status, at_end = mark.at, mark.status, True
        echoed = self._target.echoes and not exact
        view = self._view(self._out[self._line_begin(begin) if echoed else begin : end])
        lines = self._without_echo(view.lines) if echoed else view.lines
        if lines and not at_end and not missing and screen.stands_last(view.last, lines[-1]):
            left = screen.glued(view.last, self._prompt) if step.kind == "shell" else ""
            lines = [*lines[:-1], *([left] if left else [])]  # without the next prompt
        if self._target.ranks and not last:
            self._cut(step)
        ranks = tuple(
            (rank, self._of_one(self._since(rank, data), at_end or missing))
            for rank, data in sorted(self._of_rank.items())
        )
        err = tuple(self._view(self._err[self._sent_err :]).lines)
        return Said(tuple(lines), err, ranks, status)

    def _line_begin(self, at: int) -> int:
        return self._out.rfind(b"\n", 0, at) + 1

    def _cut(self, step: Step) -> None:
        """A rank that does not read runs ahead, or lags: it is not our input that its lines come
        after. As many as this step expects are this step's, what is more the next one's."""
        for rank, count in self._counts(step).items():
            data = self._of_rank.get(rank, bytearray())
            at = self._sent_rank.get(rank, 0)
            for _ in range(count):
                at = data.find(b"\n", at) + 1 or len(data)
            self._cut_rank[rank] = at

    def _since(self, rank: int, data: bytearray) -> bytearray:
        return data[self._sent_rank.get(rank, 0) : self._cut_rank.get(rank, len(data))]

    def _of_one(self, data: bytearray, at_end: bool) -> tuple[str, ...]:
        """A rank's lines; without what it printed last, if that is a question."""
        view = self._view(data)
        prompt = view.lines and not at_end and view.last.strip() == view.lines[-1].strip()
        return tuple(view.lines[:-1] if prompt else view.lines)

    def _view(self, data: bytes | bytearray) -> screen.View:
        """As a person sees it: without a terminal a line feed is a line's end all the same."""
        if not self._target.echoes:
            data = data.replace(b"\n", b"\r\n")
        return screen.view(bytes(data), self._columns)

    def _without_echo(self, lines: list[str]) -> list[str]:
        """Without the prompt's line and what came back of what was typed."""
        if not lines:
            return lines
        whole = self._prompt + self._typed.partition("\n")[0]
        joined = ""
        for count, line in enumerate(lines[:64], 1):  # a long one takes several lines
            joined += line
            if joined.rstrip() == whole.rstrip() or screen.stands_last(whole, joined):
                return lines[count:]
            if not whole.startswith(joined):
                break
        prompt = self._prompt.rstrip()
        if prompt and lines[0].startswith(prompt):  # not echoed: a password, or it was drawn over
            rest = lines[0][len(prompt) :].strip()
            if not rest or rest == self._typed.strip() or screen.stands_last(prompt, lines[0]):
                return lines[1:]
            return [rest, *lines[1:]]
        return lines
