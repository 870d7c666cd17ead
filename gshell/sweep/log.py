"""What experiments say while they run: also at the levels that execo has between logging's."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from gshell.sweep import watching

DETAIL, TRACE, FDEBUG, IODEBUG = 15, 12, 5, 3
LEVELS = {DETAIL: "DETAIL", TRACE: "TRACE", FDEBUG: "FDEBUG", IODEBUG: "IODEBUG"}
_COLORS = {
    logging.WARNING: "35", logging.ERROR: "31", logging.CRITICAL: "31;1", logging.INFO: "32",
}  # fmt: skip


class Logger(logging.Logger):
    """A logger with a method for each level."""

    def isEnabledFor(self, level: int) -> bool:
        """Without a cache: logging empties those of its own loggers only, when a level changes."""
        return not self.disabled and self.manager.disable < level >= self.getEffectiveLevel()

    def detail(self, message: object, *args: object, **more: Any) -> None:
        self.log(DETAIL, message, *args, **more)

    def trace(self, message: object, *args: object, **more: Any) -> None:
        self.log(TRACE, message, *args, **more)

    def fdebug(self, message: object, *args: object, **more: Any) -> None:
        self.log(FDEBUG, message, *args, **more)

    def iodebug(self, message: object, *args: object, **more: Any) -> None:
        self.log(IODEBUG, message, *args, **more)


class _Lines(logging.Formatter):
    """Date, level, message; colour by the level, on a terminal that has some."""

    def format(self, record: logging.LogRecord) -> str:
        name = record.levelname
        if _colored():
            color = _COLORS.get(record.levelno, "36")
            name = f"\x1b[{color}m{name}\x1b[0m"
        words = record.getMessage()
        if record.exc_info:
            words += "\n" + self.formatException(record.exc_info)
        return f"{self.formatTime(record)} {name}: {words}"


class _Stdout(logging.StreamHandler[Any]):
    """To what stdout is now: an engine may lead it elsewhere."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        watching.hide()
        super().emit(record)


def _colored() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


class _Style:
    """``style.host("node-1")``: a text as it is shown, in colour where there is some."""

    def __getattr__(self, name: str) -> Callable[[object], str]:
        color = STYLES.get(name)
        if color is None:
            raise AttributeError(f"no style {name!r}: one of {', '.join(sorted(STYLES))}")
        return lambda text: f"\x1b[{color}m{text}\x1b[0m" if _colored() else str(text)


STYLES = {
    "command": "34;1", "emph": "36", "host": "35;1", "log_header": "33", "object_repr": "34",
    "report_error": "31;1", "report_warn": "35", "user1": "32;1", "user2": "33;1", "user3": "36;1",
}  # fmt: skip
style = _Style()


def _make() -> Logger:
    for level, name in LEVELS.items():
        logging.addLevelName(level, name)
    made = Logger("gshell.sweep", logging.INFO)
    handler = _Stdout()
    handler.setFormatter(_Lines())
    made.addHandler(handler)
    return made


logger = _make()
