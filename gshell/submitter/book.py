"""What a submitter must not forget: its sites, and which batch job is which pilot. Two 0600 files.

The pilot's line is written before the batch system is asked: what was submitted and not written
down would run for nobody.
"""

from __future__ import annotations

import json
import os
from typing import Any

from gshell import config
from gshell.errors import UsageError
from gshell.submitter import site as sites
from gshell.submitter.pilot import Pilot
from gshell.submitter.site import Site


def host() -> str:
    return os.uname().nodename


def submitter_id() -> str:
    """Of this user on this host; the same in the next process, and after the next boot."""
    try:
        with open("/etc/machine-id", encoding="ascii") as file:
            return f"{host()}-{file.read(8)}".rstrip("-")[:64]
    except (OSError, UnicodeDecodeError):
        return host()[:64]


def read_sites(pin: str) -> dict[str, Site]:
    """Those that were added on this host, by name, as the relay had them last."""
    found = {}
    for item in _load(config.submitter_file("sites", pin)).get("sites", []):
        try:
            site = sites.read(item)
        except (UsageError, AttributeError):
            continue  # of a newer version of ours
        found[site.name] = site
    return found


def write_sites(pin: str, all_of_them: dict[str, Site]) -> None:
    text = json.dumps({"sites": [site.message() for site in all_of_them.values()]}, indent=1)
    config.private_dir(config.state_dir())
    config.write_private(config.submitter_file("sites", pin), text + "\n")


def read_pilots(pin: str) -> tuple[dict[str, Pilot], bool]:
    """By pilot; and whether that can be relied on (the file is there and whole)."""
    data = _load(config.submitter_file("pilots", pin))
    found = {}
    for item in data.get("pilots", []):
        try:
            pilot = Pilot.load(item)
        except (KeyError, TypeError, ValueError, UsageError):
            continue
        found[pilot.id] = pilot
    return found, "pilots" in data


def write_pilots(pin: str, pilots: dict[str, Pilot]) -> None:
    text = json.dumps({"pilots": [pilot.dump() for pilot in pilots.values()]})
    config.private_dir(config.state_dir())
    config.write_private(config.submitter_file("pilots", pin), text + "\n")


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
