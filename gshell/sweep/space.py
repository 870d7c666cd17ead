"""The space of an experiment: factors, their levels, the points they span, and names for points.

Pure. `sweep`, `HashableDict`, `slugify`, `geom`, `igeom` and `sweep_stats` have the meaning that
users of execo know.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Hashable, Iterable, Iterator, KeysView, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, NamedTuple

from gshell.errors import UsageError
from gshell.sweep.keys import key_of


class HashableDict(dict[Any, Any]):
    """A point: factor → level, which can be a member of a set.

    Equal dicts are equal points. It should not be changed; if somebody does (to carry things
    along), a sweeper still knows which point it handed out.
    """

    __slots__ = ("point",)

    point: Any
    """As whom a sweeper handed it out; not part of its value."""

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return hash(frozenset(self.items()))
        except TypeError:  # a list as level: no reason to refuse it
            return _hash(dict(self))

    def __getstate__(self) -> None:
        return None  # what it is to a sweeper stays with that


def _hash(level: Any) -> int:
    """The same for equal levels, also of kinds that have none."""
    try:
        return hash(level)
    except TypeError:
        if isinstance(level, Mapping):
            return hash(frozenset((name, _hash(inner)) for name, inner in level.items()))
        if isinstance(level, AbstractSet):
            return hash(frozenset(level))
        return hash(tuple(map(_hash, level))) if isinstance(level, list | tuple) else 0


class Points(AbstractSet[HashableDict]):
    """Points, each once, in an order that is always the same. A picture: it does not change."""

    __slots__ = ("_known", "_members")

    def __init__(self, members: Iterable[HashableDict] = (), distinct: bool = False) -> None:
        """``distinct``: the caller knows that each is there once."""
        self._members = list(members) if distinct else list(dict.fromkeys(members))
        self._known: frozenset[HashableDict] | None = None  # hashing takes longest, for many

    def __contains__(self, point: object) -> bool:
        if isinstance(point, dict) and not isinstance(point, HashableDict):
            point = HashableDict(point)
        if self._known is None:
            self._known = frozenset(self._members)
        return isinstance(point, Hashable) and point in self._known

    def __iter__(self) -> Iterator[HashableDict]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: int) -> HashableDict:
        return self._members[index]

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return "{" + ", ".join(map(repr, self._members)) + "}"

    @classmethod
    def _from_iterable(cls, iterable: Iterable[Any]) -> Points:  # type: ignore[override]
        return cls(iterable)

    # A set of Python's has names for these too.

    def union(self, *others: Iterable[Any]) -> Points:
        return Points(chain(self, *map(_points, others)))

    def intersection(self, *others: Iterable[Any]) -> Points:
        known = list(map(_points, others))
        return Points(point for point in self if all(point in one for one in known))

    def difference(self, *others: Iterable[Any]) -> Points:
        known = _points(chain(*others))
        return Points(point for point in self if point not in known)

    def issubset(self, other: Iterable[Any]) -> bool:
        return self <= _points(other)

    def issuperset(self, other: Iterable[Any]) -> bool:
        return self >= _points(other)

    def copy(self) -> Points:
        return self


def _points(members: Iterable[Any]) -> Points:
    """Of points, or dicts that were made by hand."""
    return Points(one if isinstance(one, HashableDict) else HashableDict(one) for one in members)


def sweep(parameters: Mapping[Any, Any]) -> list[HashableDict]:
    """All combinations of the levels of ``parameters``: factor → iterable of levels.

    In the order of the factors, the last one fastest; each point once. A factor whose levels are a
    mapping has a sub-space for each: ``{"k": {"x": {"p": [1, 2]}, "y": {}}}`` is k=x with p=1 and
    p=2, and k=y alone; an inner factor replaces an outer one of the same name. Levels may come from
    any iterable: one that can be read only once (``filter``, a generator) is replaced in
    ``parameters`` by what it gave, if that is a dict, so that who reads it again finds it.
    A set has no order of its own: its levels are sorted. A string is one level, not its letters.
    A factor without levels is an error.

    Raises:
        UsageError: levels that are none.
    """
    if not isinstance(parameters, Mapping):
        raise UsageError(f"{parameters!r} are no factors", hint="sweep({'factor': [1, 2], ...})")
    rows: list[dict[Any, Any]] = [{}]
    for factor, levels in list(parameters.items()):
        if isinstance(levels, Mapping):
            branches = [
                {factor: level, **inner}
                for level, below in levels.items()
                for inner in _below(factor, level, below)
            ]
        else:
            branches = [{factor: level} for level in _levels(parameters, factor, levels)]
        if not branches:
            raise UsageError(
                f"factor {factor!r} has no levels: nothing would be left of the whole sweep",
                hint="give it one level at least, or leave it out",
            )
        rows = [{**row, **branch} for row in rows for branch in branches]
    return list(dict.fromkeys(map(HashableDict, rows)))


def _below(factor: Any, level: Any, below: Any) -> list[HashableDict]:
    if below is None or (isinstance(below, Mapping) and not below):
        return [HashableDict()]
    if not isinstance(below, Mapping):
        raise UsageError(
            f"{factor!r} is a mapping, so its level {level!r} has factors of its own: {below!r} are"
            " none",
            hint=f"{{{factor!r}: {{{level!r}: {{'factor': [1, 2]}}}}}}, or {{}} for none",
        )
    return sweep(below)


def _levels(parameters: Mapping[Any, Any], factor: Any, levels: Any) -> Collection[Any]:
    if isinstance(levels, str | bytes | bytearray) or not isinstance(levels, Iterable):
        return [_plain(levels)]
    if isinstance(levels, AbstractSet) and not isinstance(levels, KeysView | Points):
        try:
            return sorted(levels)
        except TypeError:
            return sorted(levels, key=lambda level: key_of({"": level}))
    if isinstance(levels, Collection):
        return [_plain(level) for level in levels]
    kept = [_plain(level) for level in levels]
    if isinstance(parameters, dict):
        parameters[factor] = kept
    return kept


def _plain(level: Any) -> Any:
    """A number of numpy is a number: its text, which makes names of files, differs by version."""
    of_numpy = type(level).__module__ == "numpy" and getattr(level, "ndim", 1) == 0
    return level.item() if of_numpy else level


def slugify(value: object, separator: str = "-") -> str:
    """``value`` as a file name: ``{'cluster': 'petit', 'n_core': 4, 'size': 'A'}`` is
    ``cluster-petit-n_core-4-size-a``.

    ASCII letters (small), digits, ``_``, ``-``, and ``separator`` for blanks (never two in a row).
    Different values may get the same name (1 and -1); see `unique_slug`.
    """
    text = unicodedata.normalize("NFKD", str(value)).encode("ascii", "ignore").decode("ascii")
    text = re.sub(r"[^\w\s-]", "", text).strip().lower()
    return re.sub(rf"[{re.escape(separator)}\s]+", lambda found: separator, text)


NAME_BYTES = 200  # of a file's name, which may have 255: room for an ending and a number


def unique_slug(point: Mapping[Any, Any], taken: Collection[str] = ()) -> str:
    """A file name for ``point`` that no other point of the same space has in ``taken``: the slug,
    cut where it would be too long, and a number behind it where it has to be."""
    name = slugify(dict(point))[:NAME_BYTES] or "point"
    if name not in taken:
        return name
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def geom(range_min: float, range_max: float, num_steps: int) -> list[float]:
    """``num_steps`` numbers from ``range_min`` to ``range_max``, each the same multiple of the one
    before."""
    if range_min * range_max <= 0:
        raise UsageError(f"from {range_min} to {range_max} nothing is the same multiple each time")
    if num_steps < 2:
        return [float(range_min)] * num_steps
    ratio = (range_max / range_min) ** (1.0 / (num_steps - 1))
    return [range_min * ratio**step for step in range(num_steps)]


def igeom(range_min: int, range_max: int, num_steps: int) -> list[int]:
    """The same in whole numbers, each once: there may be fewer."""
    return sorted({math.floor(one + 0.5) for one in geom(range_min, range_max, num_steps)})


STATES = ("total", "remaining", "skipped", "inprogress", "done")


class Stats(NamedTuple):
    """All of a sweep, by how far its points are."""

    sweeps: Points
    remaining: Points
    skipped: Points
    inprogress: Points
    done: Points


def sweep_stats(
    stats: Stats | Sequence[Collection[Mapping[Any, Any]]],
) -> dict[str, Any]:
    """How far it is, by level: from what ``ParamSweeper.stats()`` gives.

    Returns ``{state: {factor: {level: count}}}`` for each state (`STATES`), and
    ``state + "_ratio"``, of the level's total, for all but the total.
    """
    counts: dict[str, Any] = {}
    for state, points in zip(STATES, stats, strict=True):
        table: dict[Any, dict[Any, int]] = {}
        for point in points:
            for factor, level in point.items():
                name = level if isinstance(level, Hashable) else repr(level)
                row = table.setdefault(factor, {})
                row[name] = row.get(name, 0) + 1
        counts[state] = table
    for state in STATES[1:]:
        counts[state + "_ratio"] = {
            factor: {
                level: counts[state].get(factor, {}).get(level, 0) / total
                for level, total in levels.items()
            }
            for factor, levels in counts["total"].items()
        }
    return counts


def first_levels(points: Iterable[Mapping[Any, Any]]) -> dict[Any, Sequence[Any]]:
    """The factors that ``points`` have and the levels of each, in the order they come."""
    seen: dict[Any, dict[Any, None]] = {}
    for point in points:
        for factor, level in point.items():
            name = level if isinstance(level, Hashable) else repr(level)
            seen.setdefault(factor, {})[name] = None
    return {factor: list(levels) for factor, levels in seen.items()}
