"""Which points the files of a result directory are named after, as the sweepers in it know them.

A name alone tells less: capitals, dots and types are gone (`space.slugify`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gshell.sweep.execofile import DONE, done
from gshell.sweep.keys import key_of
from gshell.sweep.space import slugify

_FILE = "sweep.sqlite"
_SIMPLE = (str, int, float, bool, type(None))


def points_in(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Those that something has happened to, of all sweepers there, execo's too; none if they cannot
    be read."""
    points = []
    for path in sorted([*Path(folder).glob(_FILE), *Path(folder).glob(f"*/{_FILE}")]):
        with contextlib.suppress(sqlite3.Error, OSError, ValueError):
            where = f"{path.absolute().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(where, uri=True)) as file:
                rows = file.execute("select distinct point from happened").fetchall()
            points += [point for (text,) in rows if _is_simple(point := json.loads(text))]
    for path in sorted([*Path(folder).glob(DONE), *Path(folder).glob(f"*/{DONE}")]):
        with contextlib.suppress(OSError):
            points += [dict(point) for point in done(str(path.parent))[0] if _is_simple(point)]
    return list({key_of(point): point for point in points}.values())


def _is_simple(point: Any) -> bool:
    return isinstance(point, dict) and all(isinstance(one, _SIMPLE) for one in point.values())


def matched(names: Iterable[str], points: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Name -> its point, with the factors in the name's order; of a name that fits one only."""
    by_words: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for point in points:
        by_words.setdefault(_words(slugify(point)), []).append(point)
    found = {}
    for name in names:
        fitting = [_ordered(name, point) for point in by_words.get(_words(name), ())]
        fits = [one for one in fitting if one is not None]
        if len(fits) == 1:
            found[name] = fits[0]
    return found


def _words(name: str) -> tuple[str, ...]:
    return tuple(sorted(name.split("-")))


def _ordered(name: str, point: Mapping[str, Any]) -> dict[str, Any] | None:
    """A file of points has their factors sorted, a name has them as they were given."""
    if not point:
        return None if name else {}
    for factor, level in point.items():
        part = slugify({factor: level})
        if name == part or name.startswith(part + "-"):
            others = {one: value for one, value in point.items() if one != factor}
            rest = _ordered(name[len(part) + 1 :], others)
            if rest is not None:
                return {factor: level, **rest}
    return None
