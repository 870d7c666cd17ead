"""The commands of recording and playing. Knows not what they do."""

from __future__ import annotations

from gshell.cli import values
from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL, RECORDS, ranks_text, since


def _factor(text: str) -> float:
    try:
        value = float(text.rstrip("x"))
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 1000:
        raise ValueError(f"{text!r} is not a speed: 2, 0.5")
    return value


REC = Command(
    "rec",
    "record a shell, a command, or a job that runs, as an asciicast",
    (
        *RECORDS,
        Option("--since", "T", "of a job: from T ago (10m), else from the start, if kept", since),
        Option(
            "--rank", "RANKS", "of a job: only these; with %r in FILE a file for each", ranks_text
        ),
        Option("--there", help="of a job: by its agent, into FILE there; no client is needed"),
        Option("--stop", help="with --there: no more; then `gshell get ID:FILE`"),
        Option("-t --pty", help="a command gets a terminal (else: if stdin and stdout are one)"),
    ),
    words="[ID] [FILE] [--] [CMD...]",
    examples=(
        ("gshell rec demo.cast", "a shell; exit ends it"),
        ("gshell rec demo.cast -- ./lu.A.1", "a command"),
        ("gshell rec 42", "a job from beside, until it ends or Ctrl-C"),
        ("gshell rec 42 r%r.cast --rank 0-3", "four ranks, four files"),
    ),
    about="Without FILE it has a name of its own in this directory; where it is, is said at the "
    "end. Files are 0600 and never overwritten unasked. What is typed is recorded with -I only, "
    "and never what a program reads without showing it. While attached: ~R, ~m. `gshell play "
    "FILE` shows it.",
    common=GLOBAL,
    module="gshell.cli.rec",
)
PLAY = Command(
    "play",
    "play a recording in this terminal",
    (
        Option("-s --speed", "N", "so many times as fast", _factor, default=1.0),
        Option("-i --idle", "T", "no pause is longer than T: 2s, 500ms", values.parse_duration),
        Option("-l --loop", help="again and again"),
        Option("-m --marks", help="pause at each marker"),
        Option("--at", "T", "print the screen as it was then: 90, 1:30", values.parse_duration),
        Option("--resize", help="give this terminal the recording's size, if it listens"),
        Option("--raw", help="send all of it to the terminal: questions, titles, clipboard"),
    ),
    words="FILE",
    examples=(
        ("gshell play demo.cast", "space pauses, arrows seek, / searches, q ends"),
        ("gshell play -s 3 -i 1s demo.cast", "three times as fast, no long pauses"),
        ("gshell play --at 1:30 demo.cast", "the screen at that time"),
        ("gunzip < demo.cast.gz | gshell play -", "from a pipe"),
    ),
    about="Keys: space pauses, . steps; left and right 5 s, home, end, 0-9 tenths; [ and ] "
    "markers; / searches, n again; + and - speed; q ends. asciicast v1 to v3, typescripts and "
    "ttyrec. Not on a terminal, what was shown is printed.",
    common=GLOBAL,
    module="gshell.cli.play",
)
COMMANDS: tuple[Command, ...] = (REC, PLAY)
