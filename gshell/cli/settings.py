"""``gshell config``: what the settings are, where they are from, and what is wrong with them."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Any, NamedTuple

from gshell import config
from gshell.cli import commands, configfile
from gshell.cli.options import Parsed, nearest
from gshell.errors import UsageError
from gshell.model.sanitize import sanitize

_BACKGROUND_OFF = ("0", "no", "off")


class Setting(NamedTuple):
    """One of them."""

    name: str
    value: str
    origin: str
    """``default``, ``$NO_COLOR``, ``--color`` or a file and its line."""


def every(parsed: Parsed, found: configfile.Settings) -> list[Setting]:
    """All that count now."""

    def line(key: str) -> str:
        return f"{found.path}:{found.lines[key]}" if key in found.lines else found.path

    environ = os.environ
    rows = []
    if "color" in parsed.given:
        rows.append(Setting("color", parsed["color"], "--color"))
    elif environ.get("NO_COLOR"):
        rows.append(Setting("color", "never", "$NO_COLOR"))
    elif environ.get("FORCE_COLOR", "0") not in ("", "0"):
        rows.append(Setting("color", "always", "$FORCE_COLOR"))
    elif found.color:
        rows.append(Setting("color", found.color, line("color")))
    else:
        rows.append(Setting("color", "auto", "default"))
    where = "--ascii" if "ascii" in parsed.given else line("ascii") if found.ascii else "default"
    rows.append(Setting("ascii", str(bool(parsed["ascii"] or found.ascii)).lower(), where))
    rows.append(_relay(parsed))
    off = environ.get("GSHELL_BACKGROUND", "")
    value = "false" if off in _BACKGROUND_OFF else "true"
    rows.append(Setting("background", value, "$GSHELL_BACKGROUND" if off else "default"))
    idle = environ.get("GSHELL_IDLE", "")
    if idle:
        rows.append(Setting("idle", idle, "$GSHELL_IDLE"))
    for name, words in found.alias.items():
        rows.append(Setting(f"alias.{name}", shlex.join(words), line(f"alias.{name}")))
    return rows


def _relay(parsed: Parsed) -> Setting:
    if "relay" in parsed.given:
        return Setting("relay", parsed["relay"], "--relay")
    if config.relay_override():
        return Setting("relay", config.relay_override(), "$GSHELL_RELAY")
    path = config.client_ticket_path()
    ticket = config.find_ticket()
    if ticket is not None:
        return Setting("relay", ",".join(ticket.relays), path)
    return Setting("relay", "private", "default")


def problems(found: configfile.Settings) -> list[configfile.Wrong]:
    """What is wrong in the file, aliases that nothing can come of too."""
    wrong = list(found.wrong)
    for name, words in found.alias.items():
        number = found.lines.get(f"alias.{name}", 0)
        if commands.find(name) is not None or name in commands.GROUPS:
            what = f"alias.{name} hides nothing: {name} is a command of gshell"
            wrong.append(configfile.Wrong(found.path, number, what, "another name"))
        elif commands.find(words[0]) is None and words[0] not in commands.GROUPS:
            if words[0].startswith("-"):
                continue
            known = [command.name for command in commands.COMMANDS if not command.hidden]
            near = nearest(words[0], known)
            what = f"alias.{name}: there is no command {words[0]!r}"
            hint = f"did you mean {near!r}?" if near else "gshell help"
            wrong.append(configfile.Wrong(found.path, number, what, hint))
    return wrong


def _paths() -> list[tuple[str, str]]:
    return [
        ("config", configfile.file_path()),
        ("ticket", config.client_ticket_path()),
        ("state", config.state_dir()),
        ("cache", config.cache_dir()),
        ("runtime", config.runtime_dir()),
    ]


def settings_verb(parsed: Parsed) -> int:
    """
    Raises:
        UsageError: it is none of the three.
    """
    what, found = parsed.words[0], configfile.load()
    if what == "show":
        return _show(parsed, every(parsed, found), found)
    if what == "path":
        return _path(parsed)
    if what == "check":
        return _check(parsed, found)
    near = nearest(what, ("show", "path", "check"))
    also = f"; did you mean {near!r}?" if near else ""
    raise UsageError(f"config: {what!r} is not show, path or check{also}",
                     hint=f"gshell config {near or 'show'}")  # fmt: skip


def _json(name: str, value: Any) -> None:
    from gshell.cli.verbs import print_json

    print_json(name, value)


def _show(parsed: Parsed, rows: list[Setting], found: configfile.Settings) -> int:
    if parsed["json"]:
        _json("config", [row._asdict() for row in rows])
        return 0
    width = max(len(row.name) for row in rows)
    wide = max(len(row.value) for row in rows)
    for row in rows:
        text = f"{row.name:<{width}}  {row.value:<{wide if parsed['origin'] else 0}}"
        print(sanitize(f"{text}  {row.origin}" if parsed["origin"] else text).rstrip())
    if problems(found) and not parsed["quiet"]:
        sys.stdout.flush()
        sys.stderr.write("gshell: something in config.toml does not count\n"
                         "  try:  gshell config check\n")  # fmt: skip
    return 0


def _path(parsed: Parsed) -> int:
    if parsed["json"]:
        _json("paths", dict(_paths()))
    elif parsed["quiet"]:
        print(configfile.file_path())
    else:
        for name, path in _paths():
            there = "" if os.path.exists(path) else "  (not there)"
            print(f"{name:<8} {sanitize(path)}{there}")
    return 0


def _check(parsed: Parsed, found: configfile.Settings) -> int:
    wrong = problems(found)
    if parsed["json"]:
        rows = [{"file": w.path, "line": w.line, "what": w.what, "hint": w.hint} for w in wrong]
        _json("problems", rows)
    else:
        for one in wrong:
            print(sanitize(f"{one.origin}: {one.what}" + (f"  ({one.hint})" if one.hint else "")))
        if not wrong and not parsed["quiet"]:
            there = os.path.exists(found.path)
            print(f"{sanitize(found.path)}: " + ("all is well" if there else "not there: defaults"))
    return 1 if wrong else 0


VERBS = {"config": settings_verb}
