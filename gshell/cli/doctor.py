"""``gshell doctor``: looks at everything a session needs and says what to do about what is
wrong."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, NamedTuple

from gshell import __version__, config
from gshell.cli import launch
from gshell.cli.options import Parsed
from gshell.errors import GshellError
from gshell.model.sanitize import sanitize

CLOCK_S = 60.0  # more than this between here and the relay is worth a word; 120 s are refused


class Finding(NamedTuple):
    """One line of the report."""

    level: str
    """ok, note or bad."""
    text: str
    fix: str = ""


def examine(parsed: Parsed) -> int:
    """Print the report; 0 if nothing is wrong, else 1."""
    findings: list[Finding] = []
    for check in (_python, _directories, _ticket, _background, _relay, _agents, _mpi):
        try:
            findings += check()
        except GshellError as error:
            findings.append(Finding("bad", error.message, error.hint or ""))
    bad = [finding for finding in findings if finding.level == "bad"]
    if parsed["json"]:
        print(
            json.dumps(
                {"schema": 1, "findings": [finding._asdict() for finding in findings]}, indent=1
            )
        )
        return 1 if bad else 0
    signs = _signs()
    for finding in findings:
        print(f"{signs[finding.level]} {sanitize(finding.text)}")  # paths are the user's own
        if finding.fix:
            print(f"    try:  {sanitize(finding.fix)}")
    if not parsed["quiet"]:
        print(
            "everything is fine" if not bad else f"{len(bad)} problem{'s' if len(bad) > 1 else ''}"
        )
    return 1 if bad else 0


def _signs() -> dict[str, str]:
    encoding = (sys.stdout.encoding or "ascii").lower()
    if encoding.startswith("utf"):
        return {"ok": "✔", "note": "!", "bad": "✖"}
    return {"ok": "ok ", "note": "!  ", "bad": "BAD"}


def _python() -> list[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    found = [Finding("ok", f"python {version}, gshell {__version__}")]
    from gshell import sitepath

    sitepath.enable()
    import importlib.util

    needed = ("zmq", "cryptography", "asyncssh", "rich", "prompt_toolkit")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        found.append(
            Finding(
                "bad",
                f"missing packages: {', '.join(missing)}",
                "pip install --force-reinstall gshell",
            )
        )
    return found


def _directories() -> list[Finding]:
    found = []
    for name, path in (
        ("run", config.runtime_dir()),
        ("state", config.state_dir()),
        ("config", config.config_dir()),
    ):
        if os.path.isdir(path):
            status = os.stat(path)
            if status.st_uid != os.getuid():
                found.append(
                    Finding(
                        "bad",
                        f"{path} belongs to somebody else",
                        "export GSHELL_HOME=/a/directory/you/own",
                    )
                )
            elif status.st_mode & 0o077:
                found.append(Finding("bad", f"others may look into {path}", f"chmod 700 {path}"))
            continue
        parent = path
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        if not os.access(parent, os.W_OK):
            found.append(
                Finding(
                    "bad",
                    f"the {name} directory {path} cannot be made",
                    "export GSHELL_HOME=/a/directory/you/own",
                )
            )
    try:
        room = os.statvfs(
            config.state_dir() if os.path.isdir(config.state_dir()) else config.home()
        )
        free = room.f_bavail * room.f_frsize
        if free < 64 << 20:
            found.append(
                Finding("bad", f"only {free >> 20} MiB are free where output is kept", "df -h ~")
            )
    except OSError:
        pass
    if not any(finding.level == "bad" for finding in found):
        found.append(Finding("ok", f"directories: {config.runtime_dir()}, {config.state_dir()}"))
    return found


def _ticket() -> list[Finding]:
    ticket = config.find_ticket()
    if ticket is None:
        return [Finding("ok", "no relay is configured: a private one is started when needed")]
    path = config.client_ticket_path()
    if os.stat(path).st_mode & 0o077:
        return [
            Finding(
                "bad",
                f"others can read the ticket {path}",
                f"chmod 600 {path}; then ask for a new invite",
            )
        ]
    return [Finding("ok", f"ticket of {ticket.user} for {', '.join(ticket.relays)}")]


def _background() -> list[Finding]:
    if not config.background_allowed():
        return [
            Finding(
                "note",
                "the background process is switched off (GSHELL_BACKGROUND=0): starts are slower",
            )
        ]
    if launch.answers(config.background_socket()):
        return [Finding("ok", "the background process answers")]
    return [Finding("note", "no background process yet: the first gshell run starts it")]


def _relay() -> list[Finding]:
    ticket = launch.ticket_or_none()
    if ticket is None:
        return [Finding("note", "the private relay does not run", "gshell run -- true")]
    from gshell.net.relaylink import ask

    start = time.monotonic()
    answer: dict[str, Any] = ask(ticket, {"m": "status"})
    took = (time.monotonic() - start) * 1e3
    found = [Finding("ok", f"relay {ticket.relays[0]} answers in {took:.0f} ms")]
    relay = answer.get("relay")
    now = answer.get("now") or (relay.get("now") if isinstance(relay, dict) else None)
    if isinstance(now, (int, float)) and abs(now - time.time()) > CLOCK_S:
        found.append(
            Finding(
                "bad",
                f"the relay's clock is {now - time.time():+.0f} s off ours",
                "timedatectl status",
            )
        )
    return found


def _agents() -> list[Finding]:
    ticket = launch.ticket_or_none()
    if ticket is None:
        return []
    from gshell.net.relaylink import ask, items_of

    agents = items_of(ask(ticket, {"m": "agents"}), "agents")
    waiting = [
        agent
        for agent in agents
        if agent.get("state") in ("waiting", "busy")
        and isinstance(agent.get("free"), int)
        and agent["free"] > 0
    ]
    if waiting:
        free = sum(agent["free"] for agent in waiting)
        return [
            Finding(
                "ok",
                f"{len(waiting)} agent{'s' if len(waiting) > 1 else ''} with {free} free slots",
            )
        ]
    if agents:
        return [Finding("note", "no agent has a free slot: jobs queue", "gshell agents")]
    return [Finding("bad", "no agent is registered: nothing can run", "gshell agent start")]


def _mpi() -> list[Finding]:
    import shutil

    launcher = shutil.which("mpirun")
    if launcher:
        return [Finding("ok", f"mpirun: {launcher}")]
    return [
        Finding("note", "no mpirun on PATH (gshell demo wants one)", "pip install 'gshell[mpi]'")
    ]
