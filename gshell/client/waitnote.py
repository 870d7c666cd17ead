"""What was typed for a job that waits, kept here while it waits: `gshell why` can say what to type
instead, and the relay need not know. Knows no relay.
"""

from __future__ import annotations

import json
import os
import shlex
import time

from gshell import config
from gshell.errors import GshellError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.client.plan import Plan

STALE_S = 7 * 86400.0  # of a client that was killed while it waited
PLACEHOLDER = " -- COMMAND"  # that the relay puts where it does not know


def _folder() -> str:
    return config.state_dir() + "/waiting"


def _path(pin: str, job: str) -> str:
    return f"{_folder()}/{pin[:12]}-{int(job)}"


def leave(pin: str, job: str, plan: Plan) -> str:
    """Remember it; the file's name, for `drop`. Empty: it could not be written, or there is
    nothing to say."""
    words = typed(plan)
    if not words or not job.isdigit():
        return ""
    path = _path(pin, job)
    try:
        config.private_dir(config.state_dir())
        config.private_dir(_folder())
        _sweep()
        config.write_private(path, json.dumps(words))
    except (OSError, GshellError):
        return ""  # it is a help, no more
    return path


def drop(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def typed(plan: Plan) -> list[str]:
    """The verb, and the words that no relay is told: options of the program's surroundings, then
    the program."""
    spec = plan.spec
    if plan.verb != "run":
        return []
    words = ["-l"] if plan.label else []
    for name, value in (spec.get("extra_env") or {}).items():
        words += ["--env", f"{name}={value}"]
    words += ["--cwd", spec["cwd"]] if spec.get("cwd") else []
    if spec.get("shell"):
        return ["sh", *words]
    return ["run", *words, "--", *map(str, spec["argv"])]


def complete(pin: str, job: str, command: str) -> str:
    """The relay's command line with what was typed here; as it is if that is not known."""
    if not command.endswith(PLACEHOLDER) or not job.isdigit():
        return command
    try:
        with open(_path(pin, job), encoding="utf-8") as file:
            words = json.load(file)
    except (OSError, ValueError):
        return command
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        return command
    place = command.removesuffix(PLACEHOLDER).removeprefix("gshell run")
    return " ".join(filter(None, (f"gshell {words[0]}{place}", shlex.join(words[1:]))))


def _sweep() -> None:
    with os.scandir(_folder()) as found:
        for entry in found:
            if time.time() - entry.stat().st_mtime > STALE_S:
                drop(entry.path)
