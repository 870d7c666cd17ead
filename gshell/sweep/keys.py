"""Points as text by which they are known again, by other processes, on other days. Pure.

Two points have the same text if they are equal, of the same types; a tuple and a list, a 1 and a
"1" are not.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from gshell.errors import UsageError

_PLAIN = frozenset({str, int, float, bool, type(None)})  # what JSON tells apart by itself
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode
_encode_ascii = json.JSONEncoder(sort_keys=True).encode
_FACTOR = re.compile(r"(?:int|float|bool):(.+)", re.DOTALL)


def key_of(point: Mapping[Any, Any]) -> str:
    """``point`` as text, whatever the order of its factors.

    Raises:
        UsageError: a level that cannot be written down, as its text is another one in each process.
    """
    try:
        if _PLAIN.issuperset(map(type, point.values())) and set(map(type, point)) <= {str}:
            plain: Mapping[Any, Any] = point
        else:
            plain = {_factor(factor): _written(level) for factor, level in point.items()}
        text = _encode(plain)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:  # a file's name that is no UTF-8
                text = _encode_ascii(plain)
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the point {_shown(point)} cannot be written down: {error}") from None


def _shown(point: Mapping[Any, Any]) -> str:
    try:
        text = repr(dict(point))
    except ValueError:  # a number of 5000 digits
        text = repr(list(point))
    return text if len(text) < 200 else text[:200] + "..."


def _factor(factor: Any) -> str:
    return factor if isinstance(factor, str) else f"{type(factor).__name__}:{factor!r}"


def _written(level: Any) -> Any:
    """What JSON knows, and tells it from others."""
    if type(level) in _PLAIN:
        return level
    if isinstance(level, tuple):
        return [_written(one) for one in level]
    if isinstance(level, list):
        return {"list": [_written(one) for one in level]}
    if isinstance(level, AbstractSet):
        return {"set": _sorted(_written(one) for one in level)}
    if isinstance(level, Mapping):
        pairs = ([_written(factor), _written(inner)] for factor, inner in level.items())
        return {"dict": _sorted(pairs)}
    if type(level).__module__ == "numpy" and getattr(level, "ndim", 1) == 0:
        return level.item()
    if isinstance(level, str):  # of an enumeration, say, which is equal to it
        return str.__str__(level)
    if isinstance(level, int | float):
        return int(level) if isinstance(level, int) else float(level)
    text = repr(level)
    if re.search(r" at 0x[0-9a-fA-F]+", text):
        raise TypeError(
            f"a {type(level).__name__} has no text of its own (give it a __repr__ that says what it"
            " is)"
        )
    return {type(level).__qualname__: text}


def _sorted(many: Iterable[Any]) -> list[Any]:
    return sorted(many, key=_encode_ascii)


def read(key: str) -> dict[Any, Any]:
    """What `key_of` wrote: for points of texts, numbers, truths, None, bytes, and tuples, lists,
    sets and dicts of them.

    Raises:
        UsageError: a level of another kind, which only its maker can make again.
    """
    return {_read_factor(name): _read(level) for name, level in json.loads(key).items()}


def _read_factor(name: str) -> Any:
    found = _FACTOR.fullmatch(name)
    return ast.literal_eval(found.group(1)) if found else name


def _read(level: Any) -> Any:
    if isinstance(level, list):
        return tuple(map(_read, level))
    if not isinstance(level, dict):
        return level
    [(kind, words)] = level.items()
    if kind == "list":
        return list(map(_read, words))
    if kind == "set":
        return frozenset(map(_read, words))
    if kind == "dict":
        return {_read(factor): _read(inner) for factor, inner in words}
    if kind == "bytes":
        return ast.literal_eval(words)
    raise UsageError(f"{words} is a {kind}, which cannot be made again from its text")
