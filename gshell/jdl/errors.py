"""What is wrong with a job description, and where."""

from __future__ import annotations

from typing import NamedTuple

from gshell.errors import UsageError


class At(NamedTuple):
    """A place in a text; lines and columns from 1, as editors count."""

    line: int = 0
    column: int = 0


NOWHERE = At()


class JdlError(UsageError):
    """It cannot be read, or it makes no sense."""

    def __init__(self, text: str, name: str = "", at: At = NOWHERE, hint: str | None = None):
        super().__init__(text, hint, place(name, at) or None)
        self.text = text
        self.name = name
        self.at = at


def place(name: str, at: At) -> str:
    """``simple.jdl:2:11``"""
    return f"{name}:{at.line}:{at.column}" if at.line else name


class Finding(NamedTuple):
    """What was seen in a description that is not as it should be."""

    level: str
    """"error", "warning" (it goes on, but probably not as meant), "note" (for who wonders)."""
    at: At
    text: str

    def shown(self, name: str) -> str:
        level = "" if self.level == "error" else f"{self.level}: "
        where = place(name, self.at)
        return f"{where}: {level}{self.text}" if where else f"{level}{self.text}"
