"""The commands of what helps with the rest. Knows not what they do."""

from __future__ import annotations

from gshell.cli.options import Command, Option
from gshell.cli.sessions import GLOBAL

SHOW = Command(
    "show",
    "all about a job: what, where, when, how it ended",
    words="ID [ID...]",
    examples=(
        ("gshell show 42", "also of one that has ended"),
        ("gshell show 42 --json", "all that the relay knows of it"),
    ),
    common=GLOBAL,
    module="gshell.cli.show",
)
CONFIG = Command(
    "config",
    "show or check the settings, and where they are from",
    (Option("--origin", help="show: of each, which file, line or variable it is from"),),
    words="show|path|check",
    examples=(
        ("gshell config show --origin", "what counts, and why"),
        ("gshell config path", "the files and directories in use"),
        ("gshell config check", "status 1 if something is wrong in them"),
    ),
    about="`gshell help config` lists the settings.",
    common=GLOBAL,
    module="gshell.cli.settings",
)
COMPLETION = Command(
    "completion",
    "print what lets a shell complete commands and live ids",
    words="bash|zsh|fish",
    examples=(
        ("gshell completion bash", "for ~/.bashrc: see below"),
        ("gshell completion zsh", "for ~/.zshrc, after compinit"),
        ("gshell completion fish", "for ~/.config/fish/config.fish"),
    ),
    about='Put  eval "$(gshell completion bash)"  into ~/.bashrc (zsh: the same with zsh), or '
    "`gshell completion fish | source` into fish's configuration. Ids of jobs, agents and sites "
    "are asked of the relay while you type; so are paths behind 42: and AGENT:.",
    common=GLOBAL,
    module="gshell.cli.completion",
)
COMPLETE = Command(
    "complete",
    "what could come next, for a shell",
    words="bash|zsh|fish LINE...",
    examples=(("gshell complete bash gshell att", "a word a line"),),
    common=GLOBAL,
    hidden=True,
    module="gshell.cli.completion",
)
MAN = Command(
    "man",
    "write the manual as a page for man(1)",
    (
        Option("--install", help="to ~/.local/share/man/man1, where man looks"),
        Option("--dir", "DIR", "to DIR/gshell.1"),
    ),
    examples=(
        ("gshell man --install", "then: man gshell"),
        ("gshell man --dir .", "man -l ./gshell.1 shows it"),
    ),
    common=GLOBAL,
    module="gshell.cli.manual",
)

COMMANDS: tuple[Command, ...] = (SHOW, CONFIG, COMPLETION, COMPLETE, MAN)
