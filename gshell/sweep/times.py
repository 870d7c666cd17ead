"""Dates and durations as people and batch systems write them."""

from __future__ import annotations

import datetime
import time
from typing import Any

from gshell.errors import UsageError


def get_seconds(duration: Any) -> float | None:
    """Seconds of a number, ``"h:m:s"``, ``"m:s"``, ``"90"`` or a timedelta; None stays None.

    Raises:
        UsageError: it is none of these.
    """
    if duration is None or (isinstance(duration, bool) and not duration):
        return None
    if isinstance(duration, datetime.timedelta):
        return duration.total_seconds()
    if isinstance(duration, int | float):
        return float(duration)
    try:
        total = 0.0
        for part in str(duration).split(":"):
            total = total * 60 + float(part)
        return total
    except ValueError:
        raise UsageError(f"{duration!r} is no duration: seconds, 'h:m:s' or a timedelta") from None


def format_duration(duration: Any) -> str:
    """``0:10:00``; parts of a second where there are any."""
    seconds = get_seconds(duration)
    if seconds is None:
        return "None"
    whole = int(seconds)
    rest = f"{seconds - whole:.3f}"[1:].rstrip("0").rstrip(".")
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}{rest}"


def get_unixts(date: Any) -> float | None:
    """Seconds since the epoch, of that or a datetime (without a zone: of this place)."""
    if date is None or isinstance(date, int | float):
        return date
    if isinstance(date, datetime.datetime):
        return date.timestamp()
    raise UsageError(f"{date!r} is no date: seconds since the epoch or a datetime")


def format_date(date: Any) -> str:
    """In this place's time, with its difference from UTC."""
    seconds = get_unixts(date)
    if seconds is None:
        return "None"
    there = datetime.datetime.fromtimestamp(seconds).astimezone()
    text = there.strftime("%Y-%m-%d %H:%M:%S%z")
    return text[:-2] + ":" + text[-2:]


def sleep(delay: Any) -> None:
    """So long; a duration of any kind."""
    time.sleep(get_seconds(delay) or 0.0)
