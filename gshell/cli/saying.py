"""How errors and done deeds are told: to people, or as JSON to programs. Decides nothing."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gshell.cli.options import Parsed
    from gshell.errors import GshellError

JSON_SCHEMA = 1
# Verbs whose answer is that it was done; what they say in words is for people.
DEEDS = frozenset((
    "stop", "login", "agent start", "agent ticket", "agent pilot", "agent pack", "site add",
    "site remove", "site pause", "site resume",
))  # fmt: skip


def complain(error: GshellError, as_json: bool = False, color: str = "auto") -> None:
    if as_json:
        from gshell.client import asjson

        sys.stderr.write(asjson.error_line(error) + "\n")
        return
    from gshell.client.render import error_text, wants_color

    sys.stderr.write(error_text(error, wants_color(color, sys.stderr.isatty(), os.environ)))


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
    import json

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
    print(json.dumps({"schema": JSON_SCHEMA, "done": done}, indent=1))
    return status
