"""The rows of the fault table: what is broken on purpose, how often, and whether the promise held.

A row is a module here with a ``ROW``. Each says in its docstring what it breaks, what must hold, and
which mechanism it guards: with that taken away by hand, it has to fail.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import NamedTuple


class Form(NamedTuple):
    """How much of it."""

    full: bool
    """The long form, with the counts that are published; else seconds."""
    seed: int
    """Of every random choice; printed with the result."""

    def pick(self, short: int, full: int) -> int:
        return full if self.full else short


class Finding(NamedTuple):
    """One line of the table."""

    what: str
    """The fault: "cuts, RST, black holes in 48 MiB each way, 3 viewers"."""
    count: str
    """How often: "40 cuts"."""
    result: str
    """What was seen: "0 lost, 0 doubled; resume p95 0.17 s"."""
    must: str
    """What must hold: "0 lost, 0 doubled; p95 < 1 s"."""
    holds: bool
    details: str = ""
    """For who wants to know why it does not."""


class Row(NamedTuple):
    name: str
    """A word: for --only."""
    measure: Callable[[Form], list[Finding]]
    """May raise AssertionError: the row has failed, with those words."""
    needs: str = ""
    """A program without which it is left out, and said so."""
    short_s: float = 30.0
    """About how long the short form takes."""


def rows() -> list[Row]:
    """All there are, by name of their module."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [importlib.import_module(f"{__name__}.{name}").ROW for name in names]
