"""Dates and durations as people and batch systems write them."""

from __future__ import annotations

import contextlib
import datetime
import time
from typing import Any

from gshell.errors import UsageError

FOR_EVER_S = 1e9  # thirty years


class WrongTime(UsageError, ValueError):
    """No duration, or no date."""


def get_seconds(duration: Any) -> float | None:
    """Seconds of a number, ``"h:m:s"``, ``"m:s"``, ``"90"`` or a timedelta; None stays None.

    Raises:
        UsageError: it is none of these (a ValueError too).
    """
    if duration is None or (isinstance(duration, bool) and not duration):
        return None
    if isinstance(duration, datetime.timedelta):
        return duration.total_seconds()
    with contextlib.suppress(ValueError, OverflowError):
        total = 0.0
        for part in [duration] if isinstance(duration, int | float) else str(duration).split(":"):
            total = total * 60 + float(part)
        if total == total:  # NaN would never be over
            return total
    raise WrongTime(f"{duration!r} is no duration: seconds, 'h:m:s' or a timedelta")


def patience(timeout: Any) -> float | None:
    """Seconds that somebody waits for something; None, for ever: more than any run takes, too, for
    which the system has no room."""
    seconds = get_seconds(timeout)
    return None if seconds is None or seconds > FOR_EVER_S else seconds


def clock(duration: Any) -> str:
    """``0:10:00``; parts of a second where there are any."""
    seconds = get_seconds(duration) or 0.0
    whole = int(seconds)
    rest = f"{seconds - whole:.3f}"[1:].rstrip("0").rstrip(".")
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}{rest}"


def format_duration(duration: Any, showms: bool = False) -> str | None:
    """``1d3h46m40s``, from the first part that is not zero; ``showms``: ``1.250s``."""
    seconds = get_seconds(duration)
    if seconds is None:
        return None
    sign, thousandths = "-" if seconds < 0 else "", abs(seconds) * 1000
    whole, rest = divmod(round(thousandths) if showms else int(thousandths), 1000)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m")]
    while parts and not parts[0][0]:
        parts.pop(0)
    more = f".{rest:03}" if showms and rest else ""
    return sign + "".join(f"{count}{unit}" for count, unit in parts) + f"{whole % 60}{more}s"


def get_unixts(d: Any) -> float | None:
    """Seconds since the epoch, of that, a datetime or a text as ISO 8601 has it (without a zone:
    of this place).

    Raises:
        UsageError: it is none of these (a ValueError too).
    """
    if d is None:
        return None
    if isinstance(d, int | float):
        return float(d)
    if isinstance(d, datetime.datetime):
        return d.timestamp()
    with contextlib.suppress(ValueError, TypeError):
        return datetime.datetime.fromisoformat(str(d).strip()).timestamp()
    raise WrongTime(f"{d!r} is no date: seconds since the epoch, a datetime, '2026-11-22 18:00:00'")


def format_date(d: Any, showms: bool = False) -> str | None:
    """In this place's time, with its difference from UTC; ``showms``: thousandths, where there are
    any."""
    seconds = get_unixts(d)
    if seconds is None:
        return None
    there = datetime.datetime.fromtimestamp(seconds).astimezone()
    text = there.strftime("%z")
    more = f".{there.microsecond // 1000:03}" if showms and there.microsecond >= 1000 else ""
    return there.strftime("%Y-%m-%d %H:%M:%S") + more + text[:-2] + ":" + text[-2:]


def sleep(delay: Any = None, until: Any = None) -> float:
    """So long, or until a date; how long that was."""
    seconds = get_seconds(delay) or 0.0
    if until is not None:
        seconds = max(seconds, (get_unixts(until) or 0.0) - time.time())
    time.sleep(max(0.0, seconds))
    return max(0.0, seconds)
