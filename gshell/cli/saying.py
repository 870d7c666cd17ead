"""How errors and done deeds are told: to people, or as JSON to programs. Decides nothing."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gshell.cli.options import Parsed
    from gshell.errors import GshellError

# Verbs whose answer is that it was done; what they say in words is for people.
DEEDS = frozenset((
    "stop", "login", "agent start", "agent ticket", "agent pilot", "agent pack", "site add",
    "site remove", "site pause", "site resume", "ssh-config",
))  # fmt: skip


def complain(error: GshellError, as_json: bool = False, color: str = "auto") -> None:
    if as_json:
        from gshell.client import asjson

        text = asjson.error_line(error) + "\n"
    else:
        from gshell.client.render import error_text, wants_color

        text = error_text(error, wants_color(color, sys.stderr.isatty(), os.environ))
    try:
        sys.stderr.write(text)
    except OSError:
        pass  # nobody can be told; the status says it


def asked_for(argv: Sequence[str]) -> tuple[bool, str]:
    """Of a line that cannot be read: is JSON wanted, and colour?"""
    color = "auto"
    for at, word in enumerate(argv):
        if word == "--":
            return "--json" in argv[:at], color
        if word == "--color" and argv[at + 1 : at + 2]:
            color = argv[at + 1]
        elif word.startswith("--color="):
            color = word.partition("=")[2]
    return "--json" in argv, color


def deed(parsed: Parsed, do: Callable[[Parsed], int]) -> int:
    """Does one of `DEEDS` and prints what it did as JSON; ``do(parsed)`` is the exit status."""
    import io

    from gshell.cli.listing import print_json

    out, real = io.StringIO(), sys.stdout
    sys.stdout = out
    try:
        status = do(parsed)
    finally:
        sys.stdout = real
    said = out.getvalue().strip()
    if said.startswith("{"):  # it speaks JSON itself, in this case
        print(said)
        return status
    lines = [line.strip().removeprefix("gshell: ") for line in said.splitlines()]
    done = {"verb": parsed.command.name, "on": parsed.words, "exit": status, "said": lines}
    print_json("done", done)
    return status
