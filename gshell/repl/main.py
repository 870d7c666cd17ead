"""What ``gshell`` without a command is: the prompt on a terminal, else a script."""

from __future__ import annotations

import os
import sys

from gshell.cli.options import Parsed
from gshell.errors import UsageError
from gshell.repl.session import Leave, Session


def repl(parsed: Parsed) -> int:
    """The exit status."""
    if parsed["file"] is not None and parsed.words:
        raise UsageError(f"{parsed.words[0]!r} is one word too many: -f is a file of commands",
                         hint="gshell help repl")  # fmt: skip
    path = parsed["file"] or (parsed.words[0] if parsed.words else "")
    if parsed["no_background"]:
        os.environ["GSHELL_BACKGROUND"] = "0"
    if parsed["color"] == "never":  # of everything that is started from here, too
        os.environ["NO_COLOR"] = "1"
    try:
        if path and path != "-":
            from gshell.repl import scripts

            return scripts.of_file(Session(), path, parsed["keep_going"])
        if path == "-" or not sys.stdin.isatty():
            from gshell.repl import scripts

            return scripts.of_stdin(Session(), parsed["keep_going"])
        return _prompt(parsed)
    except Leave as leave:
        return leave.status


def _prompt(parsed: Parsed) -> int:
    if os.environ.get("TERM", "dumb") in ("", "dumb", "unknown") or not sys.stdout.isatty():
        from gshell.repl import plain

        return plain.talk(parsed)
    from gshell import sitepath

    sitepath.enable()
    from gshell.repl import prompt

    return prompt.talk(parsed)


VERBS = {"repl": repl}
