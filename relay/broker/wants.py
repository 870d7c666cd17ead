"""What a job wants of where and when it runs: the WANTS of gshell/net/CONTROL.md, read and checked
once. Knows no job, agent or site: only what was said.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from gshell.errors import UsageError
from relay.broker.events import Message

LANES = ("", "batch", "interactive")
SITES = 32  # named by one job
AFTER = 1000  # jobs that one job waits for
EXPRESSION = 16 * 1024  # characters of `req` or `rank`
AD_FIELDS, AD_TEXT, AD_LIST, AD_DEPTH = 256, 4096, 256, 4  # of a job's ad
NAME = 200  # characters of a job's name
YEAR_S = 366 * 86400.0
RETRIES = 100
MEMORY = 1 << 60

_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Wants:
    """Everything is optional; as it is here nothing in particular is wanted."""

    site: tuple[str, ...] = ()
    """Only agents of these sites; several members are spread over them evenly, in this order."""
    req: str = ""
    """ClassAd expression: what an agent must be."""
    rank: str = ""
    """ClassAd expression: which one is liked better."""
    job_ad: Message = field(default_factory=dict)
    """What `req` and `rank` may refer to."""
    fuzzy: float | None = None
    lane: str = ""
    """"batch", "interactive", or "": as it has a terminal or not."""
    loss: int | None = None
    """The share in percent that a batch step keeps while this one runs beside it."""
    walltime: float = 0.0
    """Seconds it may take; 0: nobody said."""
    memory: int = 0
    """Bytes on each of its agents; 0: nobody said."""
    whole: bool = False
    """Nothing else on its agents."""
    after: tuple[int, ...] = ()
    """Jobs that must have completed before."""
    retry: int = 0
    """How often it is run again when it failed after its program may have begun."""
    shallow: int = 0
    """... when its program surely never ran."""
    hold: float = 0.0
    """Seconds that a co-allocation keeps what it has; 0: as ever."""
    deadline: float | None = None
    """Given up if it has not started by then."""
    lead: bool = False
    """The job is over when its first member is, and as that one was."""
    name: str = ""
    parent: int = 0
    """The collection or DAG it belongs to; 0: none."""
    said: Message = field(init=False, compare=False, repr=False)
    """Only what was said, as it is written down: most jobs say nothing. Nobody changes it."""
    kind: tuple[Any, ...] = field(init=False, compare=False, repr=False)
    """What of it decides where it can run; empty: nothing was said."""

    def __post_init__(self) -> None:  # asked for at every step of a job: found out once
        said: Message = {}
        for name, value in zip(FIELDS, _values(self), strict=True):
            if value or (value is not None and name in ("loss", "fuzzy")):
                said[name] = list(value) if isinstance(value, tuple) else value
        ad = json.dumps(self.job_ad, sort_keys=True) if self.job_ad else ""
        kind = (self.site, self.req, self.rank, ad, self.fuzzy, self.walltime, self.memory,
                self.whole)  # fmt: skip
        object.__setattr__(self, "said", said)
        object.__setattr__(self, "kind", kind if said else ())

    @classmethod
    def parse(cls, message: Message) -> Wants:
        """What a request or a preamble wants; fields it does not have mean nothing in particular.

        Raises:
            UsageError: a field makes no sense; the message says which, and what was possible.
        """
        found = {}
        for name, value in message.items():
            read = _READERS.get(name)
            if read is not None and value is not None:
                found[name] = read(name, value)
        if not found:
            return NOTHING
        wants = cls(**found)
        if wants.loss is not None and wants.lane == "batch":
            raise UsageError("loss is of interactive jobs: the lane is batch")
        return wants

    @classmethod
    def restored(cls, record: Message) -> Wants:
        """From the journal: what was checked before is not checked again."""
        found = {name: record[name] for name in FIELDS if name in record}
        for name in ("site", "after"):
            if name in found:
                found[name] = tuple(found[name])
        return cls(**found)


# ------------------------------------------------------------------------------------ single fields


def _wrong(name: str, what: str) -> UsageError:
    return UsageError(f"{name}: {what}")


def _number(least: float, most: float, whole: bool) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> Any:
        good = isinstance(value, int) or (isinstance(value, float) and not whole)
        if not good or isinstance(value, bool) or not math.isfinite(value):
            raise _wrong(name, "a whole number, please" if whole else "a number, please")
        if not least <= value <= most:
            raise _wrong(name, f"{value} is not between {least:g} and {most:g}")
        return value

    return read


def _text(most: int) -> Callable[[str, Any], str]:
    def read(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise _wrong(name, "a text, please")
        if len(value) > most:
            raise _wrong(name, f"{len(value)} characters are too many: {most} at most")
        return value

    return read


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false, please")
    return value


def _lane(name: str, value: Any) -> str:
    if value not in LANES:
        raise _wrong(name, "batch or interactive, please")
    return str(value)


def site_name(name: str, value: Any) -> str:
    """
    Raises:
        UsageError: no site can be called so.
    """
    if not isinstance(value, str) or not _SITE.fullmatch(value):
        raise _wrong(name, f"{str(value)[:80]!r} is no site's name: letters, digits and _.@-")
    return value


def _sites(name: str, value: Any) -> tuple[str, ...]:
    named = [value] if isinstance(value, str) and value else value
    if not isinstance(named, list) or len(named) > SITES:
        raise _wrong(name, f"a list of up to {SITES} names, please")
    return tuple(dict.fromkeys(site_name(name, one) for one in named))


def job_id(name: str, value: Any) -> int:
    """
    Raises:
        UsageError: no job can have this number.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    good = isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 15
    if not good:
        raise _wrong(name, f"{str(value)[:40]!r} is no job's number")
    return int(text)


def _jobs(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > AFTER:
        raise _wrong(name, f"a list of up to {AFTER} jobs, please")
    return tuple(dict.fromkeys(job_id(name, one) for one in value))


def _ad(name: str, value: Any) -> Message:
    if not isinstance(value, dict) or len(value) > AD_FIELDS:
        raise _wrong(name, f"an object with up to {AD_FIELDS} fields, please")
    for key, one in value.items():
        if not _KEY.fullmatch(key):
            raise _wrong(name, f"{key[:80]!r} is no attribute's name")
        _ad_value(f"{name}.{key}", one, AD_DEPTH)
    return dict(value)


def _ad_value(name: str, value: Any, depth: int) -> None:
    if isinstance(value, str):
        _text(AD_TEXT)(name, value)
    elif isinstance(value, list | dict):
        if depth == 0 or len(value) > AD_LIST:
            raise _wrong(name, "too much in it")
        for one in value.values() if isinstance(value, dict) else value:
            _ad_value(name, one, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong(name, "not a number")


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "site": _sites,
    "req": _text(EXPRESSION),
    "rank": _text(EXPRESSION),
    "job_ad": _ad,
    "fuzzy": _number(0, 1e9, whole=False),
    "lane": _lane,
    "loss": _number(0, 100, whole=True),
    "walltime": _number(0, YEAR_S, whole=False),
    "memory": _number(0, MEMORY, whole=True),
    "whole": _flag,
    "after": _jobs,
    "retry": _number(0, RETRIES, whole=True),
    "shallow": _number(0, RETRIES, whole=True),
    "hold": _number(0, YEAR_S, whole=False),
    "deadline": _number(0, 1e11, whole=False),
    "lead": _flag,
    "name": _text(NAME),
    "parent": job_id,
}
FIELDS = tuple(f.name for f in dataclasses.fields(Wants) if f.init)
_values = attrgetter(*FIELDS)
NOTHING = Wants()
"""What a job wants that said nothing."""


# ------------------------------------------------------------------------------------- for a person


def size(n: float) -> str:
    """Of memory: 23.5G."""
    for unit in ("", "K", "M", "G"):
        if n < 1024:
            return f"{n:.3g}{unit}"
        n /= 1024
    return f"{n:.3g}T"


def span(seconds: float) -> str:
    """So long: 40 s, 12 min, 5:00 h."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
