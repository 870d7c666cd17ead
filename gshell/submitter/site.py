"""A site as the user described it: what `site add` makes and the relay keeps. Knows no plug-in."""

from __future__ import annotations

from typing import Any, NamedTuple

from gshell.errors import UsageError

NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
MAX_NAME = 40
MAX_EXTRA = 64


class Site(NamedTuple):
    """SITE of CONTROL.md; durations in seconds, sizes in bytes, 0 is "the site's own"."""

    name: str
    lrms: str
    ssh: str = ""
    """``user@frontend``; empty: this host."""
    queue: str = ""
    account: str = ""
    extra: tuple[str, ...] = ()
    max_agents: int = 0
    min_waiting: int = 0
    nodes: int = 1
    slots: int = 0
    walltime: int = 0
    idle: int = 0
    memory: int = 0
    inline: bool = False
    """Nothing can be staged there: all that a pilot needs travels in its script."""
    submitter: str = ""

    def message(self) -> dict[str, Any]:
        return {**self._asdict(), "extra": list(self.extra)}

    @property
    def where(self) -> str:
        return self.ssh or "here"


def read(message: dict[str, Any]) -> Site:
    """
    Raises:
        UsageError: that is no site.
    """
    name = message.get("name")
    if not isinstance(name, str) or not good_name(name):
        raise UsageError(f"{str(name)[:60]!r} is not a site's name: letters, digits, . _ -")
    fields: dict[str, Any] = {"name": name}
    for key, default in Site._field_defaults.items():
        value = message.get(key)
        if key == "extra":
            words = value if isinstance(value, list) else []
            fields[key] = tuple(str(word) for word in words[:MAX_EXTRA])
        elif value is None:
            continue
        elif isinstance(default, bool):
            fields[key] = bool(value)
        elif isinstance(default, int):
            if not isinstance(value, (int, float)) or value < 0:
                raise UsageError(f"site {name}: {key} is not a number")
            fields[key] = int(value)
        elif isinstance(value, str):
            fields[key] = value
    lrms = message.get("lrms")
    if not isinstance(lrms, str) or not lrms:
        raise UsageError(f"site {name}: which batch system?")
    return Site(lrms=lrms, **fields)


def good_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and NAME_CHARS.issuperset(name) and name[0].isalnum()
