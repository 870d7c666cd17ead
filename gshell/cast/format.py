"""What a recording is, whatever file it was in. Knows no files, no clock.

CAST.md lists the event codes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gshell.errors import UsageError


class CastError(UsageError):
    """A recording that is not one; ``line`` (from 1; 0: the whole) and why are in the message."""

    def __init__(self, why: str, line: int = 0, name: str = "") -> None:
        where = f"{name or 'cast'}{f':{line}' if line else ''}"
        super().__init__(f"{where}: {why}")
        self.line = line
        self.why = why


class Event(NamedTuple):
    """Something that happened."""

    at_s: float
    """Seconds since the recording began; never smaller than the one before."""
    code: str
    """One character: ``o i m r x``, one of ours, or one nobody knows."""
    data: str


class Header(NamedTuple):
    """What is known about the whole."""

    columns: int
    rows: int
    version: int = 2
    """Of the file that it was read from, or is to be written."""
    timestamp: int | None = None
    """Seconds since the epoch."""
    duration_s: float | None = None
    idle_time_limit: float | None = None
    command: str | None = None
    title: str | None = None
    env: dict[str, str] | None = None
    theme: dict[str, str] | None = None
    tags: tuple[str, ...] = ()
    term_type: str | None = None
    term_version: str | None = None
    more: tuple[tuple[str, Any], ...] = ()
    """Fields of the header that the format does not name, with their values; they are kept."""


class Cast(NamedTuple):
    """A whole recording."""

    header: Header
    events: list[Event]

    @property
    def duration_s(self) -> float:
        return self.events[-1].at_s if self.events else 0.0
