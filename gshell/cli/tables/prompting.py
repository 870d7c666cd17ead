"""The prompt and its scripts: no command at all. Knows not what they do."""

from __future__ import annotations

from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL

SCRIPT = (
    Option("-f --file", "FILE", "do the lines of FILE, as typed at the prompt; -: stdin"),
    Option("-k --keep-going", help="go on with the next line after one that failed"),
)
REPL = Command(
    "repl",
    "the prompt: commands as here, with completion and news of jobs",
    (*SCRIPT, Option("--no-rc", help="do not read gshellrc")),
    words="[FILE]",
    examples=(
        ("gshell", "`help` there says what it can do beyond commands"),
        ("gshell FILE.gsh", "the lines of a file; or it begins with #!"),
        ("echo jobs | gshell", "and of stdin"),
    ),
    about="Without a command gshell is this, on a terminal the prompt. A script stops at the first "
    "line that fails, says which one it was and has its status. What it starts reads the stdin of "
    "gshell, or nothing if the lines come from there. Before the first prompt "
    "$XDG_CONFIG_HOME/gshell/gshellrc is read, if it is yours and nobody else may write it.",
    common=GLOBAL,
    module="gshell.repl.main",
)
COMMANDS = (REPL,)


def is_script(word: str) -> bool:
    """Is this first word a file of lines, not a command? `#!` gives its path."""
    return word == "-" or "/" in word or word.endswith(".gsh")
