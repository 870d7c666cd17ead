"""DIRAC's parametric jobs: how many there are, and each one's values. Knows no description.

``Parameters`` is a count there, and there may be several sequences beside the one without a name:
``Parameters.FILE = {"a", "b"}``, or ``ParameterStart.SEED = 1`` with its step and its factor.
"""

from __future__ import annotations

from typing import NamedTuple

from gshell.jdl.reader import Reader
from gshell.jdl.syntax import Items

MOST_JOBS = 10_000
_MOST_VALUE = 1 << 62  # the language's largest number; factors grow fast
_KINDS = ("Parameters", "ParameterStart", "ParameterStep", "ParameterFactor")
_NO_NAME = ""


class Values(NamedTuple):
    """What one job gets."""

    plain: str | int
    """For %s."""
    named: dict[str, str | int]
    """For %(NAME)s."""


def names(reader: Reader) -> list[str]:
    """The attributes that are said of sequences, each with its own name."""
    kinds = tuple(kind.lower() for kind in _KINDS)
    return [
        entry.name for entry in reader.ad.entries if entry.name.lower().partition(".")[0] in kinds
    ]


def missing(reader: Reader) -> None:
    """Say that there are none."""
    said = "JobType" if reader.has("JobType") else names(reader)[0]
    reader.findings.error(reader.at(said), "a Parametric job without Parameters")


def dirac(reader: Reader) -> list[Values]:
    """The values of every job; empty: there is an error, and it is among the findings."""
    said: dict[str, None] = {}
    for attribute in names(reader):
        name = attribute.partition(".")[2]
        if name != _NO_NAME:
            said[name] = None
    lists = {name: found for name in (_NO_NAME, *said) if (found := _list(reader, name))}
    if not any(one.lower().partition(".")[0] == "parameters" for one in names(reader)):
        missing(reader)
        return []
    count = _count(reader, lists)
    if not count:
        return []
    sequences = {
        name: lists[name] if name in lists else _numbers(reader, name, count)
        for name in (_NO_NAME, *said)
    }
    return [
        Values(sequences[_NO_NAME][number], {name: sequences[name][number] for name in said})
        for number in range(count)
    ]


def _attribute(kind: str, name: str) -> str:
    return f"{kind}.{name}" if name else kind


def _list(reader: Reader, name: str) -> list[str | int]:
    attribute = _attribute("Parameters", name)
    expr = reader.ad.get(attribute)
    if expr is None or not isinstance(reader.resolved(expr), Items):
        return []
    for kind in _KINDS[1:]:
        if reader.has(other := _attribute(kind, name)):
            reader.findings.warning(reader.at(other), f"{other} counts with a number only")
    found: list[str | int] = []
    found += reader.strings(attribute, bare=True)
    if not found:
        reader.wrong(attribute, f"{attribute} is empty: no job at all")
    return found


def _count(reader: Reader, lists: dict[str, list[str | int]]) -> int:
    """How many jobs; 0: it is not clear."""
    whole = reader.whole("Parameters") if _NO_NAME not in lists else len(lists[_NO_NAME])
    count = whole if whole is not None else max(map(len, lists.values()), default=0)
    if not 1 <= count <= MOST_JOBS:
        said = next(one for one in names(reader) if one.lower().startswith("parameters"))
        reader.wrong(said, f"Parameters = {count}: 1 to {MOST_JOBS} jobs")
        return 0
    for name, values in lists.items():
        if len(values) != count:
            attribute = _attribute("Parameters", name)
            reader.wrong(attribute, f"{attribute} has {len(values)} values for {count} jobs")
            return 0
    return count


def _numbers(reader: Reader, name: str, count: int) -> list[str | int]:
    start = reader.whole(_attribute("ParameterStart", name)) or 0
    step = reader.whole(_attribute("ParameterStep", name)) or 0
    factor = reader.whole(attribute := _attribute("ParameterFactor", name))
    found: list[str | int] = []
    value = start
    for _ in range(count):
        found.append(value)
        value = value * (1 if factor is None else factor) + step
        if abs(value) > _MOST_VALUE:
            reader.wrong(attribute, f"{attribute} = {factor}: the values grow too large")
            return [start] * count
    return found
