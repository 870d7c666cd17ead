"""The commands of replay. Knows not what they do."""

from __future__ import annotations

from gshell.cli import values
from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL


def _parameter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value


def _matrix(text: str) -> list[dict[str, str]]:
    from gshell.replay import matrix  # only for who gives one

    return matrix.combinations(text)


REPLAY = Command(
    "replay",
    "do a script again and judge what comes",
    (
        Option("-D --define", "NAME=VALUE", "a parameter of the script", _parameter, None, True),
        Option("--matrix", "'N=1,2 C=S,W'", "once for each combination of these", _matrix),
        Option("--local", help="on this machine: after -- the program (else my shell)"),
        Option("--on", "AGENT|SITE", "my shell there (else on any agent that waits)"),
        Option("-x --exitfirst", help="stop at the first step that differs"),
        Option("--learn", help="mask what differs between runs; see -n, --write, --in-place"),
        Option("-n --runs", "N", "with --learn: so many runs (3); else: play it N times",
               values.whole_number),
        Option("--write", "FILE", "write the script as .gst: learnt, or as it was read"),
        Option("--in-place", help="with --learn: replace FILE, which has to be a .gst"),
        Option("--junit", "FILE", "write the verdicts as JUnit XML"),
        Option("--csv", "FILE", "write parameters, captures and times as CSV (-: print them)"),
        Option("--cast", "FILE", "record the run there (else only one that differs is recorded)"),
        Option("--no-cast", help="record nothing"),
        Option("--blind", help="type at the recorded times, whatever the program does"),
        Option("--timeout", "T", "of a step that has none of its own (60)", values.parse_duration),
        Option("--secrets", "FILE|FD", "one secret a line, for (secret 1) and so on; a file of "
               "mode 0600, or a descriptor's number (else they are asked for)"),
    ),
    words="FILE [TARGET]...",
    examples=(
        ("gshell replay lu.gst", "in my shell, on an agent that waits"),
        ("gshell replay lu.gst -D N=4 --on beta", "with a parameter, elsewhere"),
        ("gshell replay lu.gst --matrix N=1,2,4", "a table of times"),
        ("gshell replay a.cast --learn --write a.gst", "a recording becomes a test"),
        ("gshell replay calc.gst --local -- bc -q", "a program here"),
        ("gshell replay ask.gst -- mpi -n 4 -- ./ask", "ranks of an MPI program"),
    ),
    about="FILE is a transcript (.gst), a recording with input (.cast, made with `gshell rec -I`) "
    "or a VHS tape. TARGET is a line of gshell: sh, run, mpi or attach with their own options. It "
    "types when the program waits for input, never before. Exit status: 0 all as expected, 1 "
    "something differs, 2 the script is wrong, 124 a step took too long, 125 not started.",
    common=GLOBAL,
    module="gshell.cli.replay",
)  # fmt: skip
COMMANDS: tuple[Command, ...] = (REPLAY,)
