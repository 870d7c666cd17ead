"""The commands of recordings: look at them, convert them. Knows not what they do."""

from __future__ import annotations

from gshell.cli import values
from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL

_READS = ("asciicast", "typescript", "ttyrec", "raw")
_WRITES = (
    "v1",
    "v2",
    "v3",
    "typescript",
    "typescript-classic",
    "ttyrec",
    "txt",
    "raw",
    "svg",
    "html",
)


def _speed(text: str) -> float:
    try:
        number = float(text.removesuffix("x")) if len(text) < 20 else 0.0
    except ValueError:
        number = 0.0
    if not 0.001 <= number <= 1000:
        raise ValueError(f"{text!r} is not a speed such as 2 or 0.5")
    return number


def _size(text: str) -> tuple[int, int]:
    columns, _, rows = text.lower().partition("x")
    if not (columns + rows).isascii() or not all(
        n.isdigit() and len(n) < 5 for n in (columns, rows)
    ):
        raise ValueError(f"{text!r} is not COLUMNSxROWS, such as 80x24")
    if not (int(columns) and int(rows)):
        raise ValueError(f"{text!r} has no room")
    return int(columns), int(rows)


_FORCE = Option("-f --force", help="replace the file that is there")
_KIND = Option(
    "--as", "KIND", "what it is, if it does not tell: " + ", ".join(_READS), choices=_READS
)
_TIMING = Option("--timing", "FILE", "a typescript's timing (else FILE.timing, FILE.tm)")
_READING = (
    "Reads asciicast v1, v2 and v3, typescripts of script(1) and ttyrec, gzipped or not; - is "
    "stdin."
)

INFO = Command(
    "cast info",
    "what a recording is, and what is odd about it",
    (_KIND, _TIMING),
    words="FILE [FILE...]",
    examples=(("gshell cast info demo.cast", "size, length, events, markers"),),
    about=_READING,
    common=GLOBAL,
    module="gshell.cli.casts",
)
CAT = Command(
    "cast cat",
    "join recordings, one after the other",
    (
        Option("-o --output", "FILE", "into this file (else stdout)"),
        Option("--to", "VERSION", "v1, v2 or v3 (else v2)", choices=("v1", "v2", "v3")),
        _FORCE,
    ),
    words="FILE [FILE...]",
    examples=(("gshell cast cat a.cast b.cast -o both.cast", "times go on, sizes change"),),
    about=_READING,
    common=GLOBAL,
    module="gshell.cli.casts",
)
CUT = Command(
    "cast cut",
    "a piece of a recording; it begins with the screen as it was",
    (
        Option("--from", "T", "from here: 90 (seconds), 1:30, 2m (else from the beginning)",
               values.parse_duration),
        Option("--to", "T", "until here (else to the end)", values.parse_duration),
        _KIND, _TIMING, _FORCE,
    ),
    words="IN [OUT]",
    examples=(("gshell cast cut --from 1:30 --to 2:00 long.cast short.cast", "half a minute"),),
    about="The format is that of the name of OUT, as in gshell cast convert; without OUT it is "
    "printed.",
    common=GLOBAL,
    module="gshell.cli.casts",
)  # fmt: skip
CONVERT = Command(
    "cast convert",
    "a recording in another format",
    (
        Option("--to", "FORMAT", f"{', '.join(_WRITES)} (else by OUT's name)", choices=_WRITES),
        Option("--idle", "T", "no pause longer than this", values.parse_duration),
        Option("--speed", "X", "so many times as fast", _speed),
        Option("--at", "T", "svg: a still of this moment", values.parse_duration),
        Option("--title", "TEXT", "its title"),
        Option("--size", "CxR", "the terminal's size, where the recording does not know it", _size),
        _KIND, _TIMING, _FORCE,
    ),
    words="IN OUT",
    examples=(
        ("gshell cast convert demo.cast demo.svg", "moves by itself, wherever pictures are shown"),
        ("gshell cast convert demo.cast demo.html --idle 2s", "a page with its player, no network"),
        ("gshell cast convert --to v3 old.json -", "on stdout"),
        ("gshell cast convert job.cast job.typescript", "for scriptreplay, with job.timing"),
    ),
    about=_READING + " v1, ttyrec, txt and raw hold output only. txt is what was to be read on the "
    "main screen; raw are the program's bytes.",
    common=GLOBAL,
    module="gshell.cli.casts",
)  # fmt: skip
VALIDATE = Command(
    "cast validate",
    "whether recordings keep to the format; 1 if one does not",
    (_KIND, _TIMING),
    words="FILE [FILE...]",
    examples=(("gshell cast validate *.cast", "of each bad one the line, and why"),),
    about="As strict as asciinema's server. The other commands, and gshell play, read whatever can "
    "be read.",
    common=GLOBAL,
    module="gshell.cli.casts",
)
COMMANDS: tuple[Command, ...] = (INFO, CAT, CUT, CONVERT, VALIDATE)
