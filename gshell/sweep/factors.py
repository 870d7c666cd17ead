"""The space of an experiment's file: its factors, their levels, and the points that are left of
them. Knows not what is done with a point."""

from __future__ import annotations

import keyword
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gshell.errors import UsageError
from gshell.sweep import toml
from gshell.sweep.experiment import CANNOT, OURS, REPETITION, quoted
from gshell.sweep.space import HashableDict, geom, igeom, sweep
from gshell.sweep.substitution import NotOurs, compute, names_of

MOST_POINTS = 2_000_000
NUMBER = (int, float)
RANGE = {"from": NUMBER, "to": NUMBER, "step": NUMBER, "times": NUMBER, "count": (int,)}

Test = Callable[[Mapping[str, Any]], bool]


def read(document: toml.Document) -> tuple[dict[str, list[Any]], list[HashableDict]]:
    """The factors with all of their levels, and the points in the order they are to be done.

    Raises:
        UsageError
    """
    space = _Space(document)
    points = space.points()
    return space.factors, points


# -------------------------------------------------------------- expressions, checked and computed


def expression(
    document: toml.Document, path: toml.Path, text: str, known: Iterable[str]
) -> set[str]:
    """The names that ``text`` speaks of.

    Raises:
        UsageError: it is no expression, or one of them is not ``known``.
    """
    try:
        wanted = names_of(text)
    except NotOurs:
        words = set(re.findall(r"\w+", text))
        taken = next((one for one in known if one in words and keyword.iskeyword(one)), None)
        raise document.wrong(
            path, f"{quoted(text)} is no expression",
            f"{taken!r} means something else in expressions: another name for the factor, please"
            if taken else "as in Python:  n > 1 and (m == 2 or size in ['A', 'B'])",
        ) from None  # fmt: skip
    for name in sorted(wanted):
        if name not in known:
            raise no_name(document, path, name, known)
    return wanted


def no_name(
    document: toml.Document, path: toml.Path, name: str, known: Iterable[str], also: str = ""
) -> UsageError:
    near = toml.meant(name, known)
    return document.wrong(
        path, f"there is no {name!r}" + (f"; did you mean {near!r}?" if near else ""),
        "it may speak of " + ", ".join(known) + also,
    )  # fmt: skip


def computed(document: toml.Document, path: toml.Path, text: str, names: Mapping[str, Any]) -> Any:
    """Raises: UsageError: it cannot be; with the levels for which."""
    try:
        return compute(text, names.__getitem__)
    except NotOurs:
        raise document.wrong(path, f"{quoted(text)} is no expression") from None
    except CANNOT as error:
        wanted = names_of(text) & names.keys()
        levels = ", ".join(f"{name} = {names[name]!r}" for name in sorted(wanted))
        words = f"{quoted(text)}: {str(error) or type(error).__name__}"
        raise document.wrong(path, words + (f", for {levels}" if levels else "")) from None


# ---------------------------------------------------------------------------------------- the space


class _Space:
    """One document's."""

    def __init__(self, document: toml.Document) -> None:
        self._document = document
        self._top = document.tables
        self._wrong = document.wrong
        self.factors: dict[str, list[Any]] = {}

    def points(self) -> list[HashableDict]:
        top = self._top
        factors = self._levels(("factors",), top.get("factors", {}))
        zipped = [
            self._zipped(("zip", toml.nth(number)), one)
            for number, one in enumerate(top.get("zip", ()))
        ]
        if not factors and not zipped:
            raise self._wrong(("factors",), "nothing is varied: [factors] has no factor")
        self._told_apart(factors, zipped)
        size = _size(factors)
        for one in zipped:
            size *= len(one)
        self._limit(("factors",), size)
        rows: list[dict[str, Any]] = [{}]
        for one in zipped:
            rows = [{**row, **more} for row in rows for more in one]
        crossed = sweep(factors) if factors else [HashableDict()]
        every = [{**row, **more} for row in rows for more in crossed]
        seen: dict[str, dict[Any, None]] = {}
        for row in every:
            for name, level in row.items():
                seen.setdefault(name, {})[level] = None
        self.factors = {name: list(levels) for name, levels in seen.items()}
        for test in self._tests():
            every = list(filter(test, every))
        if not every:
            raise self._wrong(("when",), "no point is left: it is true for none of them")
        return self._in_order(every)

    def _limit(self, path: toml.Path, count: float) -> None:
        if count > MOST_POINTS:
            raise self._wrong(path, f"{count:.0f} points are more than {MOST_POINTS}")

    def _told_apart(
        self, factors: Mapping[str, Any], zipped: Sequence[Sequence[Mapping[str, Any]]]
    ) -> None:
        """What is varied in two ways would silently be varied in the last one."""
        seen = set(factors)
        for number, rows in enumerate(zipped):
            for name in rows[0]:
                if name in seen:
                    path = ("zip", toml.nth(number), name)
                    raise self._wrong(path, f"{name!r} is a factor already: either, not both")
                seen.add(name)

    def _in_order(self, rows: list[dict[str, Any]]) -> list[HashableDict]:
        """All points once, then all of them again: what changes with time meets each of them."""
        count = self._top.get("repetitions", 1)
        if count < 1:
            raise self._wrong(("repetitions",), "it should be 1 at least")
        self._limit(("repetitions",), count * len(rows))
        order = one_of(self._document, ("order",), "given", ("given", "random"))
        luck = random.Random(self._top.get("seed", 1))
        points = []
        for number in range(1, count + 1):
            block = list(rows)
            if order == "random":
                luck.shuffle(block)
            more = {REPETITION: number} if count > 1 else {}
            points += [HashableDict({**row, **more}) for row in block]
        if count > 1:
            self.factors[REPETITION] = list(range(1, count + 1))
        return list(dict.fromkeys(points))

    def _levels(self, path: toml.Path, table: Any) -> dict[str, Any]:
        """As `space.sweep` wants them."""
        if not isinstance(table, dict):
            raise self._wrong(path, "this is a table: " + toml.header(path))
        factors: dict[str, Any] = {}
        for name, levels in table.items():
            at = (*path, name)
            factor_name(self._document, at, name)
            if isinstance(levels, dict) and "from" in levels:
                factors[name] = self._range(at, levels)
            elif isinstance(levels, dict):
                factors[name] = {
                    _level(level): self._levels((*at, level), below)
                    for level, below in levels.items()
                }
            else:
                factors[name] = levels if isinstance(levels, list) else [levels]
                for level in factors[name]:
                    self._is_level(at, level)
            if not factors[name]:
                raise self._wrong(at, "it has no levels: nothing would be left of the whole sweep")
        return factors

    def _is_level(self, path: toml.Path, level: Any) -> None:
        if not isinstance(level, str | int | float):
            raise self._wrong(path, "a level is text, a number, or true or false")
        if isinstance(level, float) and not math.isfinite(level):
            raise self._wrong(path, f"{level} is no level that a point can be known by")

    def _range(self, path: toml.Path, table: dict[str, Any]) -> list[Any]:
        self._document.check(path, table, RANGE)
        ways = [key for key in ("step", "times", "count") if key in table]
        if "to" not in table or len(ways) > 1:
            raise self._wrong(
                path, "a range has from, to, and at most one of step, times, count",
                "{ from = 1, to = 64, times = 2 }",
            )  # fmt: skip
        for key, number in table.items():
            if not math.isfinite(number):
                raise self._wrong((*path, key), f"{number} is no number to count with")
        first, last = table["from"], table["to"]
        if "count" in table:
            whole = isinstance(first, int) and isinstance(last, int)
            if table["count"] < 1 or first <= 0 or last <= 0:
                raise self._wrong(path, "with count, from, to and count should be above 0")
            self._limit(path, table["count"])
            return (igeom if whole else geom)(first, last, table["count"])
        times = table.get("times")
        step = table.get("step", 1)
        if (times is not None and (times <= 1 or first <= 0)) or (times is None and step <= 0):
            raise self._wrong(path, "it would never come to its end: from below, upwards")
        levels: list[Any] = []
        at = first
        while at <= last * (1 + 1e-12) if last > 0 else at <= last:
            levels.append(at)
            if len(levels) > MOST_POINTS:
                raise self._wrong(path, f"more than {MOST_POINTS} levels")
            # Not by adding up: what is a little off would be more so with each step.
            at = first * times ** len(levels) if times is not None else first + step * len(levels)
        if not levels:
            raise self._wrong(path, f"no level is from {first} to {last}: from below, upwards")
        return levels

    def _zipped(self, path: toml.Path, table: Any) -> list[dict[str, Any]]:
        if not isinstance(table, dict) or not table:
            raise self._wrong(path, "each [[zip]] is a table of factors")
        columns = self._levels(path, table)
        lengths = {len(levels) for levels in columns.values()}
        if len(lengths) > 1 or any(isinstance(one, dict) for one in columns.values()):
            sizes = ", ".join(f"{name} has {len(levels)}" for name, levels in columns.items())
            raise self._wrong(path, f"factors that go together have as many levels each: {sizes}")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _tests(self) -> Iterator[Test]:
        whens = self._top.get("when", [])
        for text in [whens] if isinstance(whens, str) else whens:
            if not isinstance(text, str):
                raise self._wrong(("when",), "each is an expression, as text in quotes")
            yield self._test(text)

    def _test(self, text: str) -> Test:
        wanted = sorted(expression(self._document, ("when",), text, self.factors))
        known: dict[tuple[Any, ...], bool] = {}

        def test(row: Mapping[str, Any]) -> bool:
            if not row.keys() >= set(wanted):
                return True  # a factor of a sub-space that this point is not in: not about it
            levels = tuple(row[name] for name in wanted)
            if levels not in known:
                known[levels] = bool(computed(self._document, ("when",), text, row))
            return known[levels]

        return test


def one_of(document: toml.Document, path: toml.Path, fallback: str, known: Sequence[str]) -> str:
    """The word at ``path``, which is one of ``known``."""
    table: Any = document.tables
    for key in path:
        table = table.get(key, {})
    word: str = table or fallback
    if word not in known:
        near = toml.meant(word, known)
        raise document.wrong(
            path, f"{word!r} is not one of {', '.join(known)}"
            + (f"; did you mean {near!r}?" if near else ""),
        )  # fmt: skip
    return word


def factor_name(document: toml.Document, path: toml.Path, name: str) -> None:
    """Raises: UsageError: it is no name for one."""
    if not name.isidentifier():
        raise document.wrong(path, "a factor's name is a word: letters, digits and _")
    if name in OURS or name == REPETITION:
        raise document.wrong(path, f"{name!r} means something else already: another name, please")


def _size(factors: Mapping[str, Any]) -> int:
    """How many points they span, at most; without making them."""
    size = 1
    for levels in factors.values():
        if isinstance(levels, dict):
            size *= sum(_size(below) for below in levels.values())
        else:
            size *= len(levels)
    return size


def _level(text: str) -> Any:
    """A key of TOML is always text; one that is a number was meant as that."""
    return int(text) if re.fullmatch(r"-?(0|[1-9]\d*)", text) else text
