"""The words that only the prompt and its scripts have. Each is given the session and its words."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gshell import config
from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.repl import places, reading
from gshell.repl.session import MAX_DEPTH, Leave, Session

HELP = (
    ("help [COMMAND]", "this, or all about one command"),
    ("!CMD", "a line of this machine's shell; ! alone is the shell"),
    ("CMD | less", "a command's output goes on in this machine's shell; > < ; && too"),
    ("%1 %+ %- %name", "jobs: by number here, newest, second newest, by name; %1 alone attaches"),
    ("cd ID:DIR", "stand in a directory of a job, an agent, site:NAME; cd : is here again"),
    ("ls, cat, pwd", "there, wherever the prompt says; run, mpi and sh start there, too"),
    ("alias A='CMD'", "A stands for CMD; unalias A; alias lists them"),
    ("set NAME on|off", "announce, suggest, toolbar, here; set lists them"),
    ("source FILE", "do the lines of FILE"),
    ("exit [STATUS]", "leave; Ctrl-D does, too"),
)
KEYS = (
    ("Tab", "what can stand here: commands, options, jobs, agents, sites, files there"),
    ("Ctrl-R", "search the history; letters in their order are enough"),
    ("Right, Ctrl-E", "take the grey suggestion"),
    ("Esc Enter", "run or mpi: leave it running"),
    ("F2, F3", "show the jobs; attach to the last one"),
    ("Ctrl-C, Ctrl-D", "drop the line; leave"),
)
_STATUSES = frozenset(map(str, range(256)))
SETTINGS = {
    "announce": "say above the prompt what became of jobs and agents",
    "suggest": "the rest of a line from the history, in grey",
    "toolbar": "the line at the bottom",
    "here": "run, mpi and sh start where the prompt stands",
}


def _no_more(name: str, words: Sequence[str], at_most: int) -> None:
    if len(words) > at_most:
        raise UsageError(f"{name}: {words[at_most]!r} is one word too many", hint="help")


def leave(session: Session, words: Sequence[str]) -> int:
    _no_more("exit", words, 1)
    if words and words[0] not in _STATUSES:
        raise UsageError(f"exit: {words[0]!r} is not a status, 0 to 255", hint="exit")
    raise Leave(int(words[0]) if words else session.status)


def is_verbs(words: Sequence[str]) -> bool:
    """Is this help about a command of gshell's?"""
    return bool(words) and words[0] not in DOERS


def help_(session: Session, words: Sequence[str]) -> int:
    from gshell.cli import options
    from gshell.cli.helppages import help_page

    if words:
        rows = [row for row in HELP if words[0] in row[0].replace(",", "").split()]
        print("\n".join(options.columns(rows, 22)))
        return 0
    page = help_page([])
    page = page[page.index("usage:") : page.index("\n\noptions\n")]
    print(page.partition("\n\n")[2])
    print("\n".join(["", "at the prompt", *options.columns(HELP, 22)]))
    print("\n".join(["", "keys", *options.columns(KEYS, 22)]))
    return 0


def alias(session: Session, words: Sequence[str]) -> int:
    """``alias A=CMD``, ``alias A CMD...``, ``alias A``, ``alias``."""
    if not words:
        for name in sorted(session.aliases):
            print(_alias_line(session, name))
        return 0
    name, equals, value = words[0].partition("=")
    if not equals and len(words) == 1:
        if name not in session.aliases:
            raise UsageError(f"there is no alias {name!r}", hint="alias")
        print(_alias_line(session, name))
        return 0
    more = " ".join(reading.quoted(word) for word in words[1:])
    value = f"{value} {more}".strip() if equals else more
    if not name or not value or any(char in name for char in " \t'\"\\$|;&<>%!/"):
        raise UsageError("alias: NAME=COMMAND is missing", hint="alias j='jobs -a'")
    if name in ("alias", "unalias", "exit"):
        raise UsageError(f"alias: {name} stays what it is")
    session.aliases[name] = value
    return 0


def _alias_line(session: Session, name: str) -> str:
    value = session.aliases[name].replace("'", "'\\''")
    return f"alias {name}='{value}'"


def unalias(session: Session, words: Sequence[str]) -> int:
    if not words:
        raise UsageError("unalias: NAME is missing", hint="alias")
    for name in words:
        if session.aliases.pop(name, None) is None:
            raise UsageError(f"there is no alias {name!r}", hint="alias")
    return 0


def set_(session: Session, words: Sequence[str]) -> int:
    if not words:
        for name, what in SETTINGS.items():
            print(f"{name:<10} {session.settings[name]:<4} {what}")
        return 0
    name, equals, value = words[0].partition("=")
    value = value if equals else words[1] if len(words) > 1 else ""
    _no_more("set", words, 1 if equals else 2)
    if name not in SETTINGS:
        raise UsageError(f"set: there is no {name!r}", hint="set    lists them")
    if value not in ("on", "off"):
        raise UsageError(f"set {name}: {value!r} is not on or off", hint=f"set {name} off")
    session.settings[name] = value
    return 0


def source(session: Session, words: Sequence[str]) -> int:
    from gshell.repl import scripts

    if not words:
        raise UsageError("source: FILE is missing", hint="source FILE")
    _no_more("source", words, 1)
    if session._depth >= MAX_DEPTH:
        raise UsageError(f"source: {words[0]}: files that read each other without end")
    session._depth += 1
    try:
        return scripts.of_file(session, words[0])
    finally:
        session._depth -= 1


# ------------------------------------------------------------------------------------------- places


def _ticket() -> Any:
    from gshell.cli import launch

    ticket = launch.ticket_or_none()
    if ticket is None:
        raise GshellError("nothing runs: there is no job or agent to look at", hint="run CMD")
    return ticket


def cd(session: Session, words: Sequence[str]) -> int:
    _no_more("cd", words, 1)
    now = session.place
    word = words[0] if words else ""
    if word == "-":
        there = session._before
        if not there.name and not now.name and session._local_before:
            there = places.Place("", session._local_before)
    elif not word:
        there = places.Place(now.name)
    else:
        there = places.joined(now, word)
    if there.name:
        from gshell.repl import far

        kind = far.kind(_ticket(), there)
        if kind != "d":
            raise UsageError(f"{there.shown()} is no directory", hint="ls")
        session._before, session.place = now, there
        return 0
    old = os.getcwd() if not now.name else ""
    came_back = bool(now.name) and (word in (":", "-"))
    if not came_back:
        path = there.path or (config.home() if not now.name else ".")
        path = config.home() + path[1:] if path == "~" or path.startswith("~/") else path
        os.chdir(path if now.name or word != ":" else ".")
        session._local_before = old or session._local_before
    session._before, session.place = now, places.Place()
    if word == "-" and not came_back:
        print(os.getcwd())
    return 0


def pwd(session: Session, words: Sequence[str]) -> int:
    _no_more("pwd", words, 0)
    print(sanitize(session.place.shown() or os.getcwd()))
    return 0


def ls(session: Session, words: Sequence[str]) -> int:
    """Here: this machine's own. There: names, or with ``-l`` a line for each."""
    targets = [word for word in words if not word.startswith("-")]
    flags = "".join(word for word in words if word.startswith("-"))
    if not session.place.name and not any(_far(word) for word in targets):
        tty = ["--color=auto"] if sys.stdout.isatty() and "NO_COLOR" not in os.environ else []
        return session.process(["ls", *tty, *words])
    if flags.strip("-la1"):
        raise UsageError(f"ls: {flags} is not known there: -l, -a", hint="run ls ...")
    from gshell.repl import far, tables

    for target in targets or [""]:
        place = places.joined(session.place, target) if target else session.place
        found = far.listed(_ticket(), place)
        if len(targets) > 1:
            print(f"{sanitize(place.shown())}:")
        entries = [entry for entry in found if "a" in flags or not _name(entry).startswith(".")]
        sys.stdout.write(tables.names(entries, "l" in flags, "1" in flags))
    return 0


def _name(entry: Any) -> str:
    return str(entry.base).rstrip("/").rpartition("/")[2]


def _far(word: str) -> bool:
    there = places.of_word(word)
    return there is not None and bool(there.name)


def cat(session: Session, words: Sequence[str]) -> int:
    if not session.place.name and not any(_far(word) for word in words):
        return session.process(["cat", *words])
    if not words:
        raise UsageError("cat: FILE is missing", hint="ls")
    from gshell.repl import far

    for word in words:
        place = places.joined(session.place, word)
        if place.name:
            far.cat(_ticket(), place)
        else:
            session.process(["cat", "--", place.path])
    return 0


DOERS: dict[str, Callable[[Session, Sequence[str]], int]] = {
    "exit": leave, "quit": leave, "help": help_, "alias": alias, "unalias": unalias, "set": set_,
    "source": source, "cd": cd, "ls": ls, "cat": cat, "pwd": pwd,
}  # fmt: skip
SUMMARIES = {
    "exit": "leave", "alias": "a word for a command", "unalias": "forget one",
    "set": "what the prompt does", "source": "do the lines of a file", "cd": "stand elsewhere",
    "ls": "what is there", "cat": "print a file", "pwd": "where the prompt stands",
}  # fmt: skip
