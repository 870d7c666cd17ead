"""``N=1,2,4 CLASS=S,W``: every combination of parameters' values. Knows no scripts."""

from __future__ import annotations

import itertools
import math
import re

from gshell.errors import UsageError

MAX_COMBINATIONS = 10_000  # each is a whole replay: more is a slip of the finger


def combinations(text: str) -> list[dict[str, str]]:
    """In the order of the words, the last one varying quickest. ``A=1..4`` is 1,2,3,4; a value with
    blanks or commas stands in quotes.

    Raises:
        UsageError: it is none; the message says which word.
    """
    words = re.findall(r"""(?:[^\s"']|"[^"]*"|'[^']*'|["'])+""", text)
    names: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise UsageError(f"--matrix: '{word}' is no NAME=VALUE,VALUE", _HINT)
        if name in names:
            raise UsageError(f"--matrix: {name} is given twice", _HINT)
        names[name] = [value for part in _parts(values) for value in _range(part)]
        if not values:
            raise UsageError(f"--matrix: {name} has no values", _HINT)
    if not names:
        raise UsageError("--matrix: no parameters", _HINT)
    count = math.prod(map(len, names.values()))
    if count > MAX_COMBINATIONS:
        raise UsageError(f"--matrix: {count} combinations are more than {MAX_COMBINATIONS}")
    return [dict(zip(names, values)) for values in itertools.product(*names.values())]


_HINT = "--matrix 'N=1,2,4 CLASS=S,W'"


def _parts(values: str) -> list[str]:
    parts = re.findall(r"""((?:"[^"]*"|'[^']*'|[^,"'])*)(?:,|$)""", values)
    if values and not values.endswith(","):
        parts.pop()  # the empty one behind the last
    return [re.sub(r"""["']""", "", part) for part in parts]


def _range(part: str) -> list[str]:
    found = re.fullmatch(r"(-?\d{1,9})\.\.(-?\d{1,9})", part)
    if found is None:
        return [part]
    first, last = int(found[1]), int(found[2])
    step = 1 if last >= first else -1
    if abs(last - first) >= MAX_COMBINATIONS:
        raise UsageError(f"--matrix: {part} are more than {MAX_COMBINATIONS} values")
    return [str(value) for value in range(first, last + step, step)]
