"""A process in words: what it was made of, how it is, what went wrong; and many, counted.

Knows no processes but by what they say of themselves; keeps and changes nothing.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gshell.model.sanitize import sanitize
from gshell.sweep.times import clock, format_date

if TYPE_CHECKING:
    from gshell.sweep.process import ProcessBase

NAME_LENGTH = 36
COUNTS = (
    "num_processes", "num_started", "num_ended", "num_errors", "num_timeouts", "num_forced_kills",
    "num_non_zero_exit_codes", "num_expect_fail", "num_write_error", "num_ok", "num_finished_ok",
)  # fmt: skip
SHOWN: list[tuple[str, Any]] = [  # in a repr, and what they are by default
    ("timeout", None),
    *((kind + what, False) for kind in ("ignore_", "nolog_")
      for what in ("exit_code", "timeout", "error", "expect_fail", "write_error")),
    ("default_expect_timeout", None), ("shell", False), ("pty", False),
    ("connection_params", None),
]  # fmt: skip


def made_of(process: ProcessBase, what: str) -> str:
    """``what``, and what it was given where that is not as it is by default."""
    more = [f"{name}={value!r}" for name, default in SHOWN
            if (value := getattr(process, name, default)) != default]  # fmt: skip
    return ", ".join([what, *more])


def facts(process: ProcessBase, what: str) -> str:
    """The same, and how it is."""
    found: dict[str, object] = {
        "name": process.name, "started": process.started,
        "start_date": format_date(process.start_date), "ended": process.ended,
        "end_date": format_date(process.end_date), "killed": process.killed,
        "error": process.error, "error_reason": process.error_reason,
        "timeouted": process.timeouted, "expect_fail": process.expect_fail,
        "write_error": process.write_error, "exit_code": process.exit_code, "ok": process.ok,
        "pid": process.pid,
    }  # fmt: skip
    return ", ".join([made_of(process, what), *[f"{key}={value}" for key, value in found.items()]])


def went_wrong(process: ProcessBase, what: str, most: int) -> str:
    """How it ended, for a person, and what it printed: of each stream ``most`` characters."""
    if process.error:
        how = f"not started: {process.error_reason}"
    elif process.timeouted:
        how = f"ended by its time-out of {clock(process.timeout)}"
    else:
        how = f"exit code {process.exit_code}{_signal_of(process.exit_code)}"
    lines = [f"{type(process).__name__}({what}): {how}"]
    for name, text in (("stdout", process.stdout), ("stderr", process.stderr)):
        if text.strip():
            lines += [f"{name}:", *map(sanitize, compact(text, most).rstrip().split("\n"))]
    return "\n".join(lines)


def counted(
    name: str, start: float | None, end: float | None, of: Sequence[ProcessBase]
) -> dict[str, Any]:
    """How many of these processes are how (`COUNTS`)."""
    counts = (
        len(of), sum(p.started for p in of), sum(p.ended for p in of),
        sum(p.error for p in of), sum(p.timeouted for p in of), sum(p.forced_kill for p in of),
        sum(bool(p.exit_code) for p in of),
        sum(p.expect_fail for p in of), sum(p.write_error for p in of),
        sum(p.ok for p in of), sum(p.finished_ok for p in of),
    )  # fmt: skip
    return {
        "name": name, "start_date": start, "end_date": end,
        **dict(zip(COUNTS, counts, strict=True)), "sub_stats": [],
    }  # fmt: skip


def short(cmd: str | Sequence[str]) -> str:
    """A command as a name."""
    text = cmd if isinstance(cmd, str) else shlex.join(map(str, cmd))
    text = " ".join(text.split())
    return text if len(text) <= NAME_LENGTH + 3 else text[:NAME_LENGTH] + "..."


def compact(text: str, most: int) -> str:
    """Of a longer one, the middle is left out."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"


def _signal_of(code: int | None) -> str:
    """The signal that a shell means by this code; nothing where it means none."""
    try:
        return f" ({signal.Signals((code or 0) - 128).name})"
    except ValueError:
        return ""
