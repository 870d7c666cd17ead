"""What a sweeper of execo's has left in its directory: which points were done, and the space, if it
was kept. Read only; and nothing that is named there is ever called but what makes points.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from typing import Any, BinaryIO

from gshell.sweep.keys import key_of
from gshell.sweep.space import HashableDict

DONE, SWEEPS = "done", "sweeps"
_BUILTINS = {one.__name__: one for one in (set, frozenset, list, dict, complex, bytearray)}


class Foreign:
    """Something of a class that is not ours to make: no level of ours is equal to it."""

    def __new__(cls, *args: object, **more: object) -> Foreign:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, one: object) -> None: ...

    def extend(self, many: object) -> None: ...


def _made(kind: Any, base: Any, state: Any) -> Any:
    """As the first pickles had objects, and those of Python 2."""
    return HashableDict(state) if kind is HashableDict else Foreign()


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8", errors="surrogateescape")  # of Python 2 too

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "execo_engine" and name == "HashableDict":
            return HashableDict
        if (module, name) in (("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor")):
            return _made
        if module in ("builtins", "__builtin__"):
            return _BUILTINS.get(name, Foreign)
        return Foreign


def _read(path: str) -> Iterator[Any]:
    """What is in it, one after the other; what is behind a broken one is not told."""
    try:
        with open(path, "rb") as file:
            while file.peek(1):
                yield _Reader(file).load()
    except FileNotFoundError:
        return
    except OSError:
        raise
    except Exception:  # the file is anything: unpickling it raises anything
        yield Foreign()


def done(folder: str) -> tuple[list[HashableDict], int]:
    """Points that were done, and how many cannot be read.

    Raises:
        OSError
    """
    points, unread = [], 0
    for one in _read(os.path.join(folder, DONE)):
        if _is_point(one):
            points.append(one)
        else:
            unread += 1
    return points, unread


def space(folder: str) -> list[HashableDict]:
    """The points that were kept, in the order of their texts (they had none); no points if they
    were not, or not all of them can be read.

    Raises:
        OSError
    """
    for one in _read(os.path.join(folder, SWEEPS)):
        if isinstance(one, set | frozenset | list) and all(map(_is_point, one)):
            return sorted(one, key=key_of)
    return []


def _is_point(one: Any) -> bool:
    return isinstance(one, HashableDict) and not any(map(_is_foreign, [*one, *one.values()]))


def _is_foreign(level: Any) -> bool:
    if isinstance(level, list | tuple | set | frozenset):
        return any(map(_is_foreign, level))
    if isinstance(level, dict):
        return any(map(_is_foreign, [*level, *level.values()]))
    return isinstance(level, Foreign)
