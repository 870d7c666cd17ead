"""An experiment: what is varied, what is prepared, what is run where, what is taken from its
output; and how its commands and expressions are filled in. Runs nothing; `definition` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gshell.errors import UsageError
from gshell.sweep.space import HashableDict
from gshell.sweep.substitution import NotOurs, compute

REPETITION = "repetition"
KINDS = ("here", "ssh", "agent", "oar", "slurm", "sge")
OURS = ("results", "here", "slug", "attempt", "host", "hosts", "slots")
"""Names in a command that are no factors."""
FILL = re.compile(r"\{\{(\w+)\}\}|(\$?)\{(\w+)\}")
QUOTED = 60  # characters of an expression in what is said of it
CANNOT = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, MemoryError,
          RecursionError)  # fmt: skip
"""What computing an expression may raise."""


@dataclass(frozen=True)
class Step:
    """What is done once for a result directory before anything is run."""

    name: str
    command: str
    each: tuple[str, ...] = ()
    """Once for each combination of these factors' levels."""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    timeout: float | None = None
    on: str = "here"
    """``here``, or ``hosts``: on each of them."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HostSpec:
    """A host and how many slots it has."""

    address: str
    slots: int
    user: str | None = None
    port: int | None = None
    keyfile: str | None = None


@dataclass(frozen=True)
class Where:
    """Where points are run."""

    kind: str = "here"
    slots: int = 1
    hosts: tuple[HostSpec, ...] = ()
    agents: int = 1
    site: str | None = None
    resources: str = ""
    walltime: float | None = None
    queue: str | None = None
    job_type: str | None = None
    options: str | None = None


@dataclass(frozen=True)
class Capture:
    """What is taken from an output: the first group of ``regex``."""

    regex: re.Pattern[str]
    which: str = "last"
    optional: bool = False


@dataclass(frozen=True)
class Experiment:
    """All of a file. ``points`` are in the order in which they are to be done."""

    name: str
    text: str
    here: str
    """The file's directory: relative paths and commands begin there."""
    directory: str
    """Where it is run, a template."""
    factors: dict[str, list[Any]]
    points: list[HashableDict]
    derived: dict[str, str]
    steps: tuple[Step, ...]
    command: str
    environment: Mapping[str, str]
    slots: int | str
    timeout: float | None
    attempts: int
    where: Where
    format: str
    captures: Mapping[str, Capture]
    verify: str
    best: str
    plot: Mapping[str, Any]

    def names(self, point: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
        """What commands and expressions may speak of. A factor of a sub-space that ``point`` is
        not in is None there, and nothing in a command."""
        names: dict[str, Any] = {**dict.fromkeys(self.factors), **ours, **point}
        for name, expression in self.derived.items():
            names[name] = value(expression, names, f"derived.{name}")
        return names

    def slots_of(self, point: Mapping[str, Any]) -> int:
        """How many of a place it takes while it runs."""
        if isinstance(self.slots, int):
            return self.slots
        return int(value(self.slots, self.names(point, {}), "run.slots"))


def value(expression: str, names: Mapping[str, Any], where: str) -> Any:
    """Raises: UsageError: it cannot be computed."""

    def look(name: str) -> Any:
        if name not in names:
            raise NameError(name)
        return names[name]

    try:
        return compute(expression, look)
    except NotOurs:
        raise UsageError(f"{where}: {quoted(expression)} is no expression") from None
    except NameError as error:
        raise UsageError(f"{where}: {quoted(expression)}: there is no {error.args[0]!r}") from None
    except CANNOT as error:
        words = str(error) or type(error).__name__
        raise UsageError(f"{where}: {quoted(expression)}: {words}") from None


def quoted(text: str) -> str:
    return repr(text if len(text) <= QUOTED else text[: QUOTED - 3] + "...")


def fill(text: str, names: Mapping[str, Any]) -> str:
    """``{name}`` filled in; ``{{name}}`` is ``{name}``, and a shell's ``${name}`` stays. What is
    None is empty, a truth is ``true`` or ``false``.

    Raises:
        KeyError: there is no such name.
    """

    def one(found: re.Match[str]) -> str:
        if found.group(1) is not None:
            return "{" + found.group(1) + "}"
        if found.group(2):
            return found.group(0)
        made = names[found.group(3)]
        if isinstance(made, bool):  # as the file has it
            return "true" if made else "false"
        return "" if made is None else str(made)

    return FILL.sub(one, text)
