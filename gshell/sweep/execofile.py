"""What a sweeper of execo's has left in its directory: which points were done, and the space, if it
was kept. Read only. They are pickles, of which the instructions are read here and those followed
that make points of texts, numbers and the like: no class is looked up, nothing is called.
"""

from __future__ import annotations

import os
import pickletools
from collections.abc import Iterator
from typing import Any, BinaryIO

from gshell.sweep.keys import key_of
from gshell.sweep.space import HashableDict

DONE, SWEEPS = "done", "sweeps"
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8",
))  # fmt: skip
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
_MANY = {"LIST": list, "TUPLE": tuple, "FROZENSET": frozenset}
_SHORT = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KINDS = {kind.__name__: kind for kind in (set, frozenset, list)}
_POINTS = "HashableDict"


BROKEN = (ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError,
          RecursionError)  # fmt: skip
"""What following the instructions of a file that could be anything may raise."""


class _Foreign:
    """Something of a class that is not ours to make."""


class _Named(str):
    """A class or function, by its name."""

    __slots__ = ()


def _named(module: str, name: str) -> _Named:
    """Of execo, of the language itself, or of somewhere else."""
    known = {"execo_engine": (_POINTS,), "builtins": _KINDS, "__builtin__": _KINDS,
             "copyreg": ("_reconstructor",), "copy_reg": ("_reconstructor",)}  # fmt: skip
    return _Named(name if name in known.get(module.partition(".")[0], ()) else "")


class _Machine:
    """What a pickle's instructions work on."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        """The next one in ``file``.

        Raises:
            BROKEN: it is, or it is more than points are made of.
        """
        for instruction, argument, _ in pickletools.genops(file):
            self._do(instruction.name, argument)
        return self._stack.pop()

    def _many(self) -> list[Any]:
        """From the last mark on."""
        at = self._marks.pop()
        found = self._stack[at:]
        del self._stack[at:]
        return found

    def _do(self, name: str, argument: Any) -> None:
        stack, memo = self._stack, self._memo
        if name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _VALUES:
            stack.append(argument)
        elif name in ("STRING", "BINSTRING", "SHORT_BINSTRING"):  # of Python 2
            stack.append(argument.encode("latin-1").decode("utf-8", "surrogateescape"))
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            self._marks.append(len(stack))
        elif name in _MANY:
            stack.append(_MANY[name](self._many()))
        elif name in _SHORT:
            stack[-_SHORT[name] :] = [tuple(stack[-_SHORT[name] :])]
        elif name == "DICT":
            stack.append(_set({}, self._many()))
        elif name == "SETITEM":
            pair = [stack.pop(-2), stack.pop()]
            _set(stack[-1], pair)
        elif name == "SETITEMS":
            pairs = self._many()
            _set(stack[-1], pairs)
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            more = [stack.pop()] if name == "APPEND" else self._many()
            if isinstance(stack[-1], list):
                stack[-1].extend(more)
            elif isinstance(stack[-1], set):
                stack[-1].update(more)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument)])
        elif name == "GLOBAL":
            stack.append(_named(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack[-2:] = [_named(*stack[-2:])]
        elif name in ("REDUCE", "NEWOBJ"):
            stack[-2:] = [_made(*stack[-2:])]
        elif name == "BUILD":
            stack.pop()
        else:
            raise ValueError(name)


def _set(target: Any, pairs: list[Any]) -> Any:
    if isinstance(target, dict):
        target.update(zip(pairs[::2], pairs[1::2], strict=True))
    return target


def _made(kind: Any, words: Any) -> Any:
    """What that would make of these."""
    if isinstance(kind, _Named) and isinstance(words, tuple):
        if kind == "_reconstructor" and words[0] == _POINTS:  # how the first pickles have it
            return HashableDict(words[-1])
        if kind == _POINTS:
            return HashableDict(*words)
        if kind in _KINDS:
            return _KINDS[kind](*words)
    return _Foreign()


def _read(path: str) -> Iterator[Any]:
    """What is in it, one after the other; what is behind a broken one is not told."""
    try:
        with open(path, "rb") as file:
            while file.peek(1):
                yield _Machine().run(file)
    except FileNotFoundError:
        return
    except BROKEN:
        yield _Foreign()


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
    try:
        return isinstance(one, HashableDict) and not any(map(_is_foreign, [*one, *one.values()]))
    except RecursionError:
        return False


def _is_foreign(level: Any) -> bool:
    if isinstance(level, list | tuple | set | frozenset):
        return any(map(_is_foreign, level))
    if isinstance(level, dict):
        return any(map(_is_foreign, [*level, *level.values()]))
    return isinstance(level, _Foreign | _Named)
