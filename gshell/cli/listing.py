"""How every list is printed: a table, chosen fields, bare ids or JSON. Asks nobody anything."""

from __future__ import annotations

import os
import sys

from gshell.cli.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from gshell.cli.options import Parsed

    Item = dict[str, Any]

JSON_SCHEMA = 1  # of what --json prints: fields are added, never changed
EVERY_AT_LEAST_S = 0.2


def fields_option(kind: str) -> Option:
    """``-o`` of the list ``kind``."""

    def read(text: str) -> tuple[str, ...]:
        from gshell.client.fields import check

        return check(kind, text)

    return Option("-o --fields", "FIELDS", "these, in this order: id,state (-o help: all)", read)


def every(text: str) -> float:
    """Of ``-i``: seconds between two looks."""
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number of seconds")
    if not EVERY_AT_LEAST_S <= seconds <= 86400:
        raise ValueError(f"{text!r} is not from {EVERY_AT_LEAST_S} to 86400 seconds")
    return seconds


OTHERS = (
    Option("-A --everyone", help="everybody's (for administrators)"),
    Option("-u --user", "USER", "that user's (for administrators)"),
)
WATCH = Option("-w --watch", help="keep the list up to date until Ctrl-C")
EVERY = Option("-i --interval", "SEC", "as -w, but look anew so often", every)


def text_of(
    parsed: Parsed,
    name: str,
    items: Sequence[Item],
    id_key: str,
    table: Callable[[Sequence[str]], str],
) -> str:
    """The list as it was asked for. ``table``: of these fields (none: the usual ones)."""
    fields = parsed.options.get("fields") or ()
    if parsed["json"]:
        shown: Any = items
        if fields:
            from gshell.client.fields import only

            shown = only(items, fields)
        return json_text(name, shown)
    if parsed["quiet"] and fields:
        return table(fields).partition("\n")[2]
    if parsed["quiet"]:
        return "".join(f"{item.get(id_key)}\n" for item in items)
    return table(fields)


def json_text(name: str, value: Any) -> str:
    """What every ``--json`` prints: the schema's version, and the one thing that was asked for."""
    from gshell.model.quickjson import pretty

    return pretty({"schema": JSON_SCHEMA, name: value}) + "\n"


def print_json(name: str, value: Any) -> None:
    sys.stdout.write(json_text(name, value))


def width() -> int:
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 200  # into a file or a pipe: leave nothing out


def color_of(parsed: Parsed) -> bool:
    from gshell.client.render import wants_color

    return wants_color(parsed["color"], sys.stdout.isatty(), os.environ)


# ----------------------------------------------------------------------------------- which of them

# What people of other systems type, and what it is here.
_STATES = {
    "queued": ("NEW", "QUEUED", "HELD", "STAGE_IN"),
    "active": ("ACTIVE", "STAGE_OUT"),
    "done": ("COMPLETED",),
    "failed": ("FAILED",),
    "canceled": ("CANCELED",),
}
_ALSO = {
    "pd": "queued", "pending": "queued", "waiting": "queued", "q": "queued", "new": "queued",
    "held": "queued", "r": "active", "running": "active", "run": "active", "cd": "done",
    "completed": "done", "f": "failed", "failure": "failed", "ca": "canceled",
    "cancelled": "canceled", "stage_in": "queued", "stage_out": "active",
}  # fmt: skip


def states(text: str) -> frozenset[str]:
    """``queued,active`` as the relay's words; ``all`` is every one. Slurm's letters count, too."""
    found: set[str] = set()
    for word in text.lower().split(","):
        name = _ALSO.get(word.strip(), word.strip())
        if name == "all":
            found.update(*_STATES.values())
        elif name == "inactive":
            found.update(_STATES["done"], _STATES["failed"], _STATES["canceled"])
        elif name in _STATES:
            found.update(_STATES[name])
        else:
            raise ValueError(f"{word!r} is not one of {', '.join(_STATES)}, all")
    return frozenset(found)


def over(wanted: Iterable[str]) -> bool:
    """Are states among them that a job has when it has ended?"""
    return any(state in ("COMPLETED", "FAILED", "CANCELED") for state in wanted)
