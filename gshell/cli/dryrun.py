"""``submit --dry-run``: what a description would ask for. Asks no relay, sends nothing."""

from __future__ import annotations

import os
import shlex
import sys

from gshell.cli.submit import expander, plan_anywhere, show
from gshell.jdl.description import Description
from gshell.jdl.steps import Request
from gshell.model.sanitize import sanitize


def dry_run(description: Description, path: str, quiet: bool) -> int:
    """A line for each job; status 1 if files that go along are not here."""
    expand = expander(os.path.dirname(path))
    lacks: dict[str, None] = {}
    for request in plan_anywhere(description, path):
        show([one.shown(description.name) for one in request.findings.found])
        for word in request.files.inputs:
            try:
                found = expand(word)
            except ValueError as error:
                lacks[str(error)] = None
            else:
                lacks.update({} if found else {f"there is no file {word} here": None})
        if not quiet:
            print(dry_line(request))
    sys.stdout.flush()
    show([f"{description.name}: InputSandbox: {lack}" for lack in lacks])
    return 1 if lacks else 0


def dry_line(request: Request) -> str:
    """``cpi: 4 slots, 3600 s: ./cpi -n 4``"""
    message = request.message
    slots = message["n"] * message["size"]
    asks = [f"{slots} slot{'s' * (slots != 1)}"]
    asks += ["whole nodes"] if message.get("whole") else []
    asks += [f"{message['walltime']} s"] if message.get("walltime") else []
    asks += [f"{message['memory'] >> 20} MB"] if message.get("memory") else []
    asks += [f"at {' or '.join(message['site'])}"] if message.get("site") else []
    asks += [f"where {message['req']}"] if message.get("req") else []
    asks += [f"after {', '.join(request.after)}"] if request.after else []
    argv = message["spec"]["argv"]
    command = shlex.join(argv) if len(argv) < 3 or "\n" not in argv[2] else "an MPI program"
    return sanitize(f"{request.name or message['name']}: {', '.join(asks)}: {command}")
