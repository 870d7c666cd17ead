"""A session to be done again, step by step: what its readers (gst, tape, casts) make, what the
engine plays and the judge compares with. Values only."""

from __future__ import annotations

from typing import NamedTuple

from gshell.errors import UsageError


class ScriptError(UsageError):
    """A script that is not one: ``file:line:column: why``, and what would do."""


class Key(NamedTuple):
    """Something typed that is not text: bytes for the program's terminal."""

    data: bytes
    name: str
    """As it was written: ``^D``, ``<Up>``."""


class Secret(NamedTuple):
    """Typed, but not stored: asked for, or read from where the user said."""

    number: int
    """From 1, in order."""


class Text(NamedTuple):
    """Text to type; ``${NAME}`` in it is a parameter or a capture, ``$$`` a dollar sign there."""

    text: str


Part = Text | Key | Secret


class Line(NamedTuple):
    """One line that is expected, or a mask for several: see masks."""

    text: str
    """As written, masks in it."""
    number: int
    """In the file, from 1."""
    stream: str = "out"
    """``out``, ``err``, or ``any`` of both."""
    rank: int | None = None
    """Of this rank only."""


class Wait(NamedTuple):
    """What must be there before something is typed, in words of the script; empty: as the engine
    sees fit (the ladder of REPLAY.md)."""

    regex: str = ""
    """``expect /re/``: it must match in what came since the last input."""
    text: str = ""
    """What stood last on the line before this was typed, when it was recorded: ``(gdb) ``."""
    on_screen: bool = False
    """The regex is looked for on the whole screen, not in the last line."""
    timeout_s: float | None = None
    shell: bool = False
    """The shell's prompt must be there: said of ``keys`` (of ``shell`` it is understood)."""
    at_s: float | None = None
    """When it was typed, in the recording: for ``--blind`` only."""


class Step(NamedTuple):
    """Something is typed, and then something is expected."""

    number: int
    """From 1."""
    line: int
    """In the file."""
    shown: str
    """For tables and messages: ``$ make``, ``(gdb)> bt 3``."""
    kind: str
    """``shell``: a command line for the shell's prompt · ``line``: for a program that waits ·
    ``keys``: as it is, no line end is added · ``wait``: nothing is typed."""
    parts: tuple[Part, ...]
    """What is typed; of ``shell`` and ``line`` without the final Enter."""
    wait: Wait = Wait()
    """For this, before it is typed."""
    expected: tuple[Line, ...] | None = None
    """Afterwards, until the next step; None: nothing is judged."""
    status: Line | None = None
    """``[0]``: the shell command's, or at the end the program's."""
    timeout_s: float | None = None
    """For all of this step; None: the script's."""
    unordered: bool = False


class Script(NamedTuple):
    """All of it."""

    name: str
    """Of the file."""
    steps: tuple[Step, ...]
    params: tuple[tuple[str, str], ...] = ()
    """Declared, with defaults, in order."""
    timeout_s: float = 60.0
    size: tuple[int, int] | None = None
    """Columns, rows."""
    shell: str = ""
    """The one it was typed into: a name or a path; used where it is there. Empty: the user's."""
    command: str = ""
    """What was recorded, if that was no shell of the user's: words as a shell reads them."""
    env: tuple[tuple[str, str], ...] = ()
    status: int | None = None
    """The whole program's at its end, where it is known."""
    warnings: tuple[str, ...] = ()
    """What of the file was not understood, or is done otherwise (``Sleep``)."""


class Seen(NamedTuple):
    """What a step gave, when it was done."""

    out: tuple[str, ...]
    """Lines as a person saw them: no line ends, no controls, progress bars as they stood last."""
    err: tuple[str, ...] = ()
    """The program's stderr, where it is apart."""
    ranks: tuple[tuple[int, tuple[str, ...]], ...] = ()
    """(rank, its lines), where ranks are apart."""
    status: int | None = None
    elapsed_s: float = 0.0
    sync: str = ""
    """How it was known that the program was ready: ``osc133``, ``input-wait``, ``text``,
    ``expect``, ``quiet``, ``blind``."""
    timed_out: str = ""
    """What was waited for in vain."""


class Difference(NamedTuple):
    """A part of a step that is not as expected."""

    what: str
    """``line``, ``missing``, ``extra``, ``order``, ``status``, ``stderr``, ``rank`` or
    ``timeout``."""
    line: int
    """In the script; 0: none."""
    expected: str
    seen: str


class Verdict(NamedTuple):
    """A step's judgement."""

    step: Step
    seen: Seen
    differences: tuple[Difference, ...]
    captures: tuple[tuple[str, str], ...] = ()
    masked: tuple[tuple[str, int], ...] = ()
    """How often each kind of mask was used."""
    diff: tuple[str, ...] = ()
    """For a person: a unified diff, masks visible."""

    @property
    def ok(self) -> bool:
        return not self.differences
