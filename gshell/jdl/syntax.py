"""The values of the ClassAd language, and how they are written. Where something stands is no part
of what it is."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from gshell.jdl.errors import NOWHERE, At

RESERVED = frozenset(("error", "undefined", "true", "false", "is", "isnt"))
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class _Undefined:
    """The language's own words for "not there" and "makes no sense"; never true."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name

    def __bool__(self) -> bool:
        return False


UNDEFINED = _Undefined("undefined")
ERROR = _Undefined("error")


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | float | bool | _Undefined
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Ref:
    """``name``, ``.name`` (of the outermost ad) or ``of.name``."""

    name: str
    of: Expr | None = None
    top: bool = False
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Index:
    of: Expr
    index: Expr
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Expr, ...]
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Unary:
    op: str
    of: Expr
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    left: Expr
    right: Expr
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Cond:
    test: Expr
    then: Expr
    other: Expr
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Items:
    """``{a, b}``"""

    items: tuple[Expr, ...]
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    value: Expr
    at: At = field(default=NOWHERE, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Ad:
    """``[a = 1; b = 2]``: the entries in their order, each name once (in whatever case)."""

    entries: tuple[Entry, ...]
    at: At = field(default=NOWHERE, compare=False, kw_only=True)

    def get(self, name: str) -> Expr | None:
        entry = self.entry(name)
        return entry.value if entry is not None else None

    def entry(self, name: str) -> Entry | None:
        name = name.lower()
        return next((one for one in self.entries if one.name.lower() == name), None)

    def with_(self, *entries: Entry) -> Ad:
        """These in the place of, or after, what there is."""
        new = {one.name.lower(): one for one in self.entries}
        new.update((one.name.lower(), one) for one in entries)
        return dataclasses.replace(self, entries=tuple(new.values()))

    def without(self, *names: str) -> Ad:
        gone = {name.lower() for name in names}
        kept = tuple(one for one in self.entries if one.name.lower() not in gone)
        return dataclasses.replace(self, entries=kept)


Expr: TypeAlias = Literal | Ref | Index | Call | Unary | Binary | Cond | Items | Ad

# How tightly they bind; all to the left.
BINARY = {
    "||": 2, "&&": 3, "|": 4, "^": 5, "&": 6,
    "==": 7, "!=": 7, "=?=": 7, "=!=": 7, "is": 7, "isnt": 7,
    "<": 8, "<=": 8, ">": 8, ">=": 8, "<<": 9, ">>": 9, ">>>": 9,
    "+": 10, "-": 10, "*": 11, "/": 11, "%": 11,
}  # fmt: skip
UNARY = ("!", "-", "+", "~")
_COND, _UNARY, _ATOM = 1, 12, 14


def write(expr: Expr) -> str:
    """As text, on one line, that means the same to us and to HTCondor's library."""
    return _written(expr, 0)


def write_file(ad: Ad) -> str:
    """A description as a file: a line for each attribute, no brackets."""
    return "".join(f"{_name(one.name)} = {write(one.value)};\n" for one in ad.entries)


def _written(expr: Expr, around: int) -> str:
    text, binds = _pieces(expr)
    return f"({text})" if binds < around else text


def _pieces(expr: Expr) -> tuple[str, int]:
    match expr:
        case Literal(value):
            return _literal(value), _ATOM if not _negative(value) else _UNARY
        case Ref(name, None, top):
            return ("." if top else "") + _name(name), _ATOM
        case Ref(name, of):
            assert of is not None
            return f"{_written(of, _ATOM)}.{_name(name)}", _ATOM
        case Index(of, index):
            return f"{_written(of, _ATOM)}[{write(index)}]", _ATOM
        case Call(name, args):
            return f"{name}({', '.join(map(write, args))})", _ATOM
        case Unary(op, of):
            inner = _written(of, _UNARY)  # no brackets of ours: there is a limit to their depth
            apart = " " if op in "+-" and inner[0] in "+-" else ""
            return op + apart + inner, _UNARY
        case Binary(op):
            return _chain(expr), BINARY[op]
        case Cond(test, then, other):
            test_text = _written(test, _COND + 1)
            return f"{test_text} ? {write(then)} : {_written(other, _COND)}", _COND
        case Items(items):
            return "{" + ", ".join(map(write, items)) + "}", _ATOM
        case Ad(entries):
            inner = "; ".join(f"{_name(one.name)} = {write(one.value)}" for one in entries)
            return f"[{inner}]", _ATOM


def _chain(expr: Binary) -> str:
    """``a && b && c``: to the left as far as it goes, not a call for each."""
    binds = BINARY[expr.op]
    pieces: list[str] = []
    left: Expr = expr
    while isinstance(left, Binary) and BINARY[left.op] == binds:
        pieces.append(f" {left.op} {_written(left.right, binds + 1)}")
        left = left.left
    return _written(left, binds) + "".join(reversed(pieces))


def _negative(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value < 0


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, float):
        text = repr(value)
        return text.replace("e", ".0e") if "." not in text and "e" in text else text
    return str(value)


def quoted(text: str) -> str:
    """As a string of the language."""
    return '"' + _escape(text).replace('"', '\\"') + '"'


def _escape(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return "".join(f"\\{ord(c):03o}" if c < " " or c == "\x7f" else c for c in text)


def _name(name: str) -> str:
    if _PLAIN.match(name) and name.lower() not in RESERVED:
        return name
    return "'" + _escape(name).replace("'", "\\'") + "'"


def children(expr: Expr) -> Iterator[Expr]:
    match expr:
        case Ref(_, of) if of is not None:
            yield of
        case Index(of, index):
            yield from (of, index)
        case Call(_, args):
            yield from args
        case Unary(_, of):
            yield of
        case Binary(_, left, right):
            yield from (left, right)
        case Cond(test, then, other):
            yield from (test, then, other)
        case Items(items):
            yield from items
        case Ad(entries):
            yield from (one.value for one in entries)


def walk(expr: Expr) -> Iterator[Expr]:
    """It and all that is in it."""
    todo = [expr]
    while todo:
        one = todo.pop()
        yield one
        todo += reversed(list(children(one)))


class NotConstant(Exception):
    """It has to be evaluated."""


def constant(expr: Expr) -> object:
    """What a literal, or a list or ad of them, is in Python.

    Raises:
        NotConstant: it refers to something, or has to be computed.
    """
    match expr:
        case Literal(value):
            return value
        case Unary("-", Literal(value)) if isinstance(value, int | float):
            return -value
        case Unary("+", Literal(value)) if isinstance(value, int | float):
            return value
        case Items(items):
            return [constant(item) for item in items]
        case Ad(entries):
            return {one.name: constant(one.value) for one in entries}
        case _:
            raise NotConstant(write(expr))


def conjuncts(expr: Expr) -> list[Expr]:
    """What all has to be true for it to be."""
    found: list[Expr] = []
    todo = [expr]
    while todo:
        one = todo.pop()
        if isinstance(one, Binary) and one.op == "&&":
            todo += (one.right, one.left)
        else:
            found.append(one)
    return found


def change(expr: Expr, how: Callable[[Expr], Expr | None]) -> Expr:
    """A copy in which whatever ``how`` gives something for is replaced by that, outermost first."""
    new = how(expr)
    if new is not None:
        return new
    match expr:
        case Ref(_, of) if of is not None:
            return dataclasses.replace(expr, of=change(of, how))
        case Index(of, index):
            return dataclasses.replace(expr, of=change(of, how), index=change(index, how))
        case Call(_, args):
            return dataclasses.replace(expr, args=tuple(change(one, how) for one in args))
        case Unary(_, of):
            return dataclasses.replace(expr, of=change(of, how))
        case Binary():
            return _change_chain(expr, how)
        case Cond(test, then, other):
            return dataclasses.replace(
                expr, test=change(test, how), then=change(then, how), other=change(other, how)
            )
        case Items(items):
            return dataclasses.replace(expr, items=tuple(change(one, how) for one in items))
        case Ad(entries):
            new_entries = (
                dataclasses.replace(one, value=change(one.value, how)) for one in entries
            )
            return dataclasses.replace(expr, entries=tuple(new_entries))
    return expr


def _change_chain(expr: Binary, how: Callable[[Expr], Expr | None]) -> Expr:
    """Down the left side without a call for each: chains may be long."""
    spine: list[Binary] = []
    left: Expr = expr
    replaced: Expr | None = None
    while isinstance(left, Binary):
        spine.append(left)
        left = left.left
        replaced = how(left)
        if replaced is not None:
            break
    found = replaced if replaced is not None else change(left, how)
    for one in reversed(spine):
        found = dataclasses.replace(one, left=found, right=change(one.right, how))
    return found
