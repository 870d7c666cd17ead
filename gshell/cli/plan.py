"""From a parsed command line to a Plan. Knows the surroundings it is given, touches nothing."""

from __future__ import annotations

import os

from gshell.client.plan import Plan, Surroundings
from gshell.errors import UsageError

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.cli.options import Parsed


def make(parsed: Parsed, here: Surroundings) -> Plan:
    """What ``run``, ``sh``, ``attach`` or ``logs`` asks for.

    Raises:
        UsageError: it makes no sense.
    """
    name = parsed.command.name
    on_terminal = here.stdin_tty and here.stdout_tty
    inside_ssh = bool(here.env.get("SSH_TTY") or here.env.get("SSH_CONNECTION"))
    quiet = bool(parsed["quiet"])
    if name in ("attach", "logs"):
        return _attachment(parsed, name, on_terminal, inside_ssh, quiet)
    shell = name == "sh"
    words = list(parsed.words)
    if shell and words:
        raise UsageError(
            f"gshell sh takes no command (got {words[0]!r})", hint="gshell run -t -- CMD..."
        )
    if not shell and not words:
        raise UsageError("no command to run", hint="gshell run -- CMD...")
    options = parsed.options
    pty = on_terminal
    if shell or options.get("pty"):
        pty = True
    if options.get("no_pty") or options.get("detach"):
        pty = False
    tasks = options.get("tasks") or 1
    agents = options.get("agents") or 1
    if pty and tasks * agents > 1:
        if options.get("pty"):
            raise UsageError("a terminal has one task", hint="leave out -t, or -n and -N")
        pty = False
    if shell and not here.stdin_tty and not options.get("pty"):
        pty = here.stdout_tty and here.stdin_tty
    extra = {}
    for pair in options.get("env") or ():
        key, value = pair
        if value is None:
            value = here.env.get(key)
        if value is not None:
            extra[key] = value
    spec: dict[str, Any] = {
        "argv": words or ["sh"],
        "shell": shell,
        "env": here.env,
        "extra_env": extra,
        "cwd": _directory(options.get("cwd"), here.cwd),
        "home": here.cwd,
        "where": here.where,
        "umask": here.umask,
        "name": options.get("name") or ("sh" if shell else os.path.basename(words[0])),
        "keep": bool(options.get("detach") or options.get("keep")),
    }
    if options.get("no_archive"):
        if options.get("keep"):
            raise UsageError("--keep archives the output, --no-archive does not: take one")
        spec["archive"] = False
    if options.get("on_full"):
        spec["on_full"] = options["on_full"]
    if options.get("quota") is not None:
        spec["quota"] = options["quota"]
    return Plan(
        verb="run",
        spec=spec,
        pty=pty,
        tasks=tasks,
        agents=agents,
        agent=options.get("agent"),
        pool=options.get("pool") or "",
        label=bool(options.get("label")),
        detach=bool(options.get("detach")),
        timeout_s=options.get("timeout"),
        escape=escape(parsed),
        quiet=quiet,
        inside_ssh=inside_ssh,
    )


def _directory(named: str | None, cwd: str) -> str | None:
    if named is None:
        return None
    return named if named.startswith("/") else os.path.normpath(os.path.join(cwd, named))


def _attachment(
    parsed: Parsed, name: str, on_terminal: bool, inside_ssh: bool, quiet: bool
) -> Plan:
    if len(parsed.words) != 1:  # none at all was resolved before: see launch.session
        raise UsageError(f"gshell {name} takes one job id", hint="gshell jobs")
    job, _, index = parsed.words[0].partition(".")
    if not job.isdigit() or (index and not index.isdigit()):
        raise UsageError(f"{parsed.words[0]!r} is not a job id", hint="gshell jobs")
    logs = name == "logs"
    read_only = logs or bool(parsed["read_only"])
    return Plan(
        verb=name,
        spec={},
        pty=on_terminal and not logs,
        job=job,
        part=int(index or 0),
        rights="r" if read_only else "rw",
        steal=not logs and bool(parsed["steal"]),
        since="start" if logs and parsed["since"] is None else parsed["since"],
        follow=not logs or bool(parsed["follow"]),
        escape=None if logs else escape(parsed),
        quiet=quiet,
        inside_ssh=inside_ssh,
        grep=_pattern(parsed["grep"], bool(parsed["ignore_case"])) if logs else None,
        rank=parsed["rank"] if logs else None,
    )


def _pattern(text: str | None, ignore_case: bool) -> Any:
    if text is None:
        return None
    import re

    try:
        return re.compile(os.fsencode(text), re.IGNORECASE if ignore_case else 0)
    except re.error as error:
        raise UsageError(f"--grep {text!r} is not a regular expression: {error}") from None


def escape(parsed: Parsed) -> str | None:
    from gshell.client.escape import escape_char

    text = parsed.options.get("escape", "~")
    try:
        return escape_char(text)
    except ValueError as error:
        raise UsageError(f"-e {error}") from None
