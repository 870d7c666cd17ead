"""Every command of gshell, as one table of those in `tables` and `sessions`; and which of them a
command line names. Knows not what they do.
"""

from __future__ import annotations

from gshell.cli import options as o
from gshell.cli.options import Command, Option, Parsed
from gshell.cli.sessions import ATTACH, FWD, GLOBAL, LOGS, MPI, RANKS, RUN, SH
from gshell.cli.tables import (
    casts,
    comforts,
    doors,
    jobs,
    places,
    prompting,
    recording,
    relays,
    replaying,
    sweeping,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

VERSION = Command("version", "print the version", common=GLOBAL)
HELP_COMMAND = Command(
    "help",
    "explain a command or a topic",
    words="[COMMAND...]",
    examples=(
        ("gshell help", "all commands, and the topics"),
        ("gshell help keys", "a command, a topic, or both"),
        ("gshell help agent start", "as gshell agent start --help"),
    ),
    common=GLOBAL,
)
DEMO = Command(
    "demo",
    "compile a small MPI program and run it on a waiting agent",
    opaque=True,
    examples=(("gshell demo", "the LU benchmark, classes S and W"),),
    common=GLOBAL,
)
BG = Command("bg", "the background process itself", opaque=True, hidden=True)

COMMANDS = (
    RUN, MPI, SH, jobs.SUBMIT, jobs.MATCH, ATTACH, RANKS, jobs.JOBS, LOGS, jobs.TOP, jobs.EVENTS,
    jobs.WHY, jobs.PUT, jobs.GET, jobs.CP, jobs.FETCH, jobs.CANCEL, jobs.KILL, jobs.FORGET,
    relays.SHARE, relays.SHARES, *places.COMMANDS, relays.RELAY, relays.LOGIN, relays.GLOGIN,
    relays.MPI_START, FWD, relays.GRID, relays.WHOAMI, relays.KEYS, relays.REVOKE, relays.AUDIT,
    relays.STOP, *recording.COMMANDS, *replaying.COMMANDS, *casts.COMMANDS, *doors.COMMANDS,
    *comforts.COMMANDS, *prompting.COMMANDS, *sweeping.COMMANDS,
    relays.DOCTOR, DEMO, HELP_COMMAND, VERSION, places.SUBMITTER, BG,
)  # fmt: skip
GROUPS = {
    "agent": "start, stop, drain and pack agents",
    "site": "add, show, pause and remove sites: batch systems",
    "pilot": "cancel pilots: batch jobs that hold nodes",
    **sweeping.GROUPS,
    "cast": "look at recordings; join, cut, convert and check them",
}

ROOT = Command(
    "",
    "an instant terminal on machines that only a batch system can reach",
    (Option("-V --version", help="print the version"), *prompting.SCRIPT),
    remainder="[COMMAND ...]",
    examples=(
        ("gshell", "a prompt: the same commands, with Tab"),
        ("gshell run hostname", "run a command on a waiting agent"),
        ("gshell sh", "a shell there; ~. leaves it running"),
        ("gshell jobs", "what runs; attach ID comes back to it"),
        ("gshell help run", "all about one command"),
    ),
    common=GLOBAL,
)
_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


def read(argv: Sequence[str]) -> Parsed:
    """The whole command line, without the program's own name.

    ``help`` in every spelling comes back as the command `HELP_COMMAND` with what it is about in
    ``words``. No command at all is the prompt, or a script of its lines.

    Raises:
        UsageError: with the nearest command or option, where there is one.
    """
    before = o.parse(ROOT, argv)
    if before["version"] and not before.help:
        return Parsed(VERSION, before)
    if before.help:
        return Parsed(HELP_COMMAND, before)
    if not before.words or before["file"] or prompting.is_script(before.words[0]):
        return o.parse(prompting.REPL, before.words, before)
    command, rest = _find(before.words)
    if command is None:
        return _help(list(before.words[:1]), before)
    parsed = o.parse(command, rest, before)
    return _help(command.name.split(), before) if parsed.help else parsed


def _help(words: list[str], before: Parsed) -> Parsed:
    parsed = Parsed(HELP_COMMAND, before)
    parsed.words = words
    return parsed


def verb_at(argv: Sequence[str]) -> int:
    """Where the command word stands, behind options of the whole program; or the end."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        name, equals, _ = argv[at].partition("=")
        takes = any(name in option.names and option.metavar for option in ROOT.common)
        at += 2 if takes and not equals else 1
    return min(at, len(argv))


def _find(words: Sequence[str]) -> tuple[Command | None, list[str]]:
    """The command that ``words`` begin with and what follows it; None for a group's help."""
    first, rest = words[0], list(words[1:])
    if first in GROUPS:
        if not rest or rest[0] in ("-h", "--help"):
            return None, rest
        first, rest = f"{first} {rest[0]}", rest[1:]
    command = _BY_NAME.get(first)
    if command is None:
        raise unknown(first)
    return command, rest


def find(name: str) -> Command | None:
    """The command of that name (``jobs``, ``ps``, ``agent start``); None if there is none."""
    return _BY_NAME.get(name)


def named(words: Sequence[str]) -> tuple[Command, int] | None:
    """The command that a line names, whatever else is wrong with it, and where its own words
    begin; None if it names none."""
    takes = {name for option in (*ROOT.options, *GLOBAL) if option.metavar for name in option.names}
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in takes else 1
    if at >= len(words):
        return None
    if words[at] in GROUPS and at + 1 < len(words):
        command = _BY_NAME.get(f"{words[at]} {words[at + 1]}")
        return (command, at + 2) if command is not None else None
    command = _BY_NAME.get(words[at])
    return (command, at + 1) if command is not None else None


def unknown(name: str, topics: Iterable[str] = ()) -> Exception:
    """What to say of a word that is no command (nor one of ``topics``)."""
    shown = [known for known, command in _BY_NAME.items() if not command.hidden]
    from gshell.cli import habits

    near = habits.command(name)
    group, _, word = name.partition(" ")
    if near is None and word and group in GROUPS:
        near = o.nearest(
            word, [one.partition(" ")[2] for one in shown if one.startswith(group + " ")]
        )
        near = near and f"{group} {near}"
    elif near is None:
        near = o.nearest(name, [*shown, *GROUPS, *topics])
    also = f"; did you mean {near!r}?" if near else ""
    if near:
        hint = f"gshell help {near}" if near in topics else f"gshell {near}"
    else:
        hint = f"gshell {group}" if group in GROUPS else "gshell help"
    return o.wrong(ROOT, f"unknown command {name!r}{also}", hint)
