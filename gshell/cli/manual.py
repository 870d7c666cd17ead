"""``gshell man``: the manual page, made of the tables of commands and the topics."""

from __future__ import annotations

import os
import sys
import textwrap
import time

from gshell import __version__, config
from gshell.cli import commands
from gshell.cli.options import usage
from gshell.cli.topics import TOPICS
from gshell.errors import GshellError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gshell.cli.options import Command, Option, Parsed


def roff(text: str) -> str:
    """Text that roff shows as it is: nothing in it is a request, what is typed can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = text.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


def _filled(text: str) -> Iterator[str]:
    """Running text, in lines that an editor shows."""
    for line in textwrap.wrap(text, 70, break_on_hyphens=False, break_long_words=False):
        yield roff(line)


def page(date: str) -> str:
    """The whole manual in man(7)'s macros. ``date``: YYYY-MM-DD."""
    return "\n".join(_lines(date)) + "\n"


def _lines(date: str) -> Iterator[str]:
    yield f'.TH GSHELL 1 "{date}" "gshell {__version__}" "User Commands"'
    yield ".SH NAME"
    yield "gshell \\- " + roff(commands.ROOT.summary)
    yield ".SH SYNOPSIS"
    yield ".B gshell"
    yield roff(usage(commands.ROOT).partition(" ")[2])
    yield ".SH EXAMPLES"
    yield from _examples(commands.ROOT)
    yield ".SH OPTIONS"
    yield "Of every command:"
    yield from _options(commands.ROOT.common)
    yield ".SH COMMANDS"
    for command in commands.COMMANDS:
        if not command.hidden:
            yield from _command(command)
    for name, topic in TOPICS.items():
        yield f".SH {roff(name.upper())}"
        yield roff(topic.summary[0].upper() + topic.summary[1:]) + "."
        yield ".PP"
        yield ".nf"
        yield from (roff(line) if line else ".sp" for line in topic.text.splitlines())
        yield ".fi"


def _command(command: Command) -> Iterator[str]:
    yield f".SS {roff(usage(command))}"
    summary = command.summary[0].upper() + command.summary[1:]
    yield roff(summary) + "."
    if command.aliases:
        yield roff("Also: " + ", ".join(command.aliases) + ".")
    if command.about:
        yield ".PP"
        yield from _filled(command.about)
    yield from _examples(command)
    yield from _options(command.options)


def _examples(command: Command) -> Iterator[str]:
    if not command.examples:
        return
    if command is not commands.ROOT:
        yield ".PP"
    yield ".nf"
    for line, what in command.examples:
        yield roff(f"  {line:<38}  {what}")
    yield ".fi"


def _options(options: tuple[Option, ...]) -> Iterator[str]:
    for option in options:
        if option.help:
            yield ".TP"
            yield roff(option.shown().strip())
            yield from _filled(option.help)


def place() -> str:
    """Where man(1) looks for pages of this user's own."""
    base = os.environ.get("XDG_DATA_HOME", "")
    base = base if base.startswith("/") else config.home() + "/.local/share"
    return base + "/man/man1"


def man(parsed: Parsed) -> int:
    """
    Raises:
        GshellError: it cannot be written there.
    """
    today = time.strftime("%Y-%m-%d")
    if not parsed["install"] and parsed["dir"] is None:
        if parsed["json"]:
            from gshell.cli.verbs import print_json

            print_json("man", {"page": page(today)})
        else:
            sys.stdout.write(page(today))
        return 0
    folder = parsed["dir"] if parsed["dir"] is not None else place()
    path = os.path.join(folder, "gshell.1")
    try:
        os.makedirs(folder, exist_ok=True)
        new = f"{path}.{os.getpid()}.new"
        with open(new, "w", encoding="utf-8") as file:
            file.write(page(today))
        os.replace(new, path)
    except OSError as error:
        raise GshellError(
            f"cannot write {path}: {error.strerror}", "gshell man --dir DIR"
        ) from None
    if parsed["json"]:
        from gshell.cli.verbs import print_json

        print_json("man", {"path": path})
    elif not parsed["quiet"]:
        how = "man gshell" if parsed["install"] else f"man -l {path}"
        print(f"gshell: {path} is written; {how}")
    return 0


VERBS = {"man": man}
