"""``{{...}}`` and ``{{{host}}}`` in commands and paths, filled in for each host.

``{{{host}}}`` is the host's address. ``{{hosts}}`` is an expression over the names that the caller
has: its value must be a sequence, and process n gets element n of it (again from the start where it
is shorter). Expressions are read as Python's, but computed here, from names, attributes, items,
literals, arithmetic, comprehensions, a few functions and what texts, lists and dictionaries can do:
no text is ever evaluated as a program, and nothing is called that somebody has written.
What is no such expression (``docker ps --format '{{.Names}}'``) stays as it is, and so does one in
four braces, less two: ``{{{{hosts}}}}`` is ``{{hosts}}``.
"""

from __future__ import annotations

import ast
import operator
import re
import string
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from gshell.errors import UsageError
from gshell.sweep.log import logger

PACKAGE = __name__.rpartition(".")[0]
MOST = 1_000_000  # elements of a value: more is a mistake
MOST_POWER = 1000
_MARK = re.compile(
    r"\{\{\{\{(.*?)\}\}\}\}|\{\{\{host\}\}\}|\{\{((?:[^{}]|\{[^{}]*\})+)\}\}", re.DOTALL
)
_ALLOWED: tuple[Callable[..., Any], ...] = (
    abs, all, any, bool, dict, enumerate, float, int, len, list, max, min, range, reversed, round,
    set, sorted, str, sum, tuple, zip,
)  # fmt: skip
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset((
        "capitalize", "count", "endswith", "find", "format", "index", "isalnum", "isalpha",
        "isdigit", "islower", "isupper", "join", "lower", "lstrip", "partition", "removeprefix",
        "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split",
        "splitlines", "startswith", "strip", "swapcase", "title", "upper",
    )),
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    dict: frozenset(("get", "items", "keys", "values")),
}  # fmt: skip
"""What may be called of a value; those that could make much of little (``zfill``) have `_sized`."""
_SIZED = frozenset(("center", "ljust", "rjust", "zfill"))
_PLAIN = (str, int, float, bool, type(None))
_FUNCTIONS = {one.__name__: one for one in _ALLOWED}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv, ast.Div: operator.truediv, ast.USub: operator.neg,
    ast.Not: operator.not_, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip


class NotOurs(Exception):
    """Not an expression of this language: text that is meant for somebody else. With words: it is
    Python, but nothing that is computed here."""


class NoSuchName(UsageError, NameError):
    """Nobody has it."""


class NoSequence(UsageError, ValueError):
    """There must be a value for each host."""


def caller_names() -> Callable[[str], Any]:
    """Looks a name up where the code outside this package has it: its own, its module's, then
    those of who called it.

    Raises (the result):
        NameError
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _inside(frame.f_globals.get("__name__", "")):
        frame = frame.f_back

    def look(name: str) -> Any:
        at = frame
        while at is not None:
            for names in (at.f_locals, at.f_globals):
                if name in names:
                    return names[name]
            at = at.f_back  # type: ignore[assignment]
        raise NameError(name)

    return look


def _inside(module: str) -> bool:
    return module == PACKAGE or module.startswith(PACKAGE + ".")


def substitute(
    text: str, address: str, index: int, look: Callable[[str], Any], cache: dict[str, Any]
) -> str:
    """``text`` for the host of ``address``, which is number ``index``. ``cache``: values of the
    expressions, computed once for all hosts.

    Raises:
        UsageError: a name that nobody has, or a value that is no sequence.
    """

    def fill(found: re.Match[str]) -> str:
        if found.group(1) is not None:
            return "{{" + found.group(1) + "}}"
        if found.group(2) is None:
            return address
        expression = found.group(2).strip()
        if expression not in cache:
            try:
                cache[expression] = _sequence(expression, look)
            except NotOurs as other:
                cache[expression] = None
                if other.args:
                    logger.warning(
                        "{{%s}} stays as it is: %s is nothing that is computed here; give what it"
                        " is a name before", expression, other.args[0],
                    )  # fmt: skip
        values = cache[expression]
        return found.group(0) if values is None else str(_text(values[index % len(values)]))

    return _MARK.sub(fill, text) if "{{" in text else text


def _text(value: Any) -> Any:
    """A host is known by its address."""
    return getattr(value, "address", value)


def _sequence(expression: str, look: Callable[[str], Any]) -> Sequence[Any]:
    tree = parsed(expression)
    where = f"{{{{{expression}}}}}"
    try:
        value = _value(tree, look, {})
    except NameError as error:
        raise NoSuchName(
            f"{where}: nobody has the name {error.args[0]!r}",
            hint=f"define it before, or write {{{{{where}}}}} for these very characters",
        ) from None
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"{where}: {error}") from None
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise NoSequence(f"{where}: {value!r} is no sequence, with one value for each host")
    values = list(islice(value, MOST))
    if not values:
        raise NoSequence(f"{where}: it is empty")
    return values


def compute(expression: str, look: Callable[[str], Any]) -> Any:
    """What ``expression`` is, names as ``look`` has them.

    Raises:
        NotOurs: it is no expression of this language.
        NameError: ``look``'s.
        TypeError, ValueError, LookupError, AttributeError, ArithmeticError: it cannot be computed.
    """
    return _value(parsed(expression), look, {})


def parsed(expression: str) -> ast.AST:
    """Raises: NotOurs"""
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise NotOurs from None


def names_of(expression: str) -> set[str]:
    """The names it needs from outside.

    Raises:
        NotOurs: it is none.
    """
    tree = parsed(expression)
    named = [one for one in ast.walk(tree) if isinstance(one, ast.Name)]
    bound = {one.id for one in named if isinstance(one.ctx, ast.Store)}
    return {one.id for one in named} - bound - set(_FUNCTIONS)


def _value(node: ast.AST, look: Callable[[str], Any], own: Mapping[str, Any]) -> Any:
    def of(inner: ast.AST) -> Any:
        return _value(inner, look, own)

    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return own[node.id] if node.id in own else look(node.id)
        case ast.Attribute() if not node.attr.startswith("_"):
            return getattr(of(node.value), node.attr)
        case ast.Subscript():
            return of(node.value)[of(node.slice)]
        case ast.Slice():
            parts = (node.lower, node.upper, node.step)
            return slice(*[None if one is None else of(one) for one in parts])
        case ast.List() | ast.Tuple():
            return [of(one) for one in node.elts]
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = of(node.left), of(node.right)
            if isinstance(node.op, ast.Mult):
                _bounded(left, right)
            if isinstance(node.op, ast.Mod) and re.search(r"%[^a-zA-Z%]*(\d{3}|\*)", str(left)):
                raise TypeError("a format of more than 99 characters")
            return _OPERATORS[type(node.op)](left, right)
        case ast.UnaryOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](of(node.operand))
        case ast.Compare() if all(type(one) in _OPERATORS for one in node.ops):
            values = [of(one) for one in (node.left, *node.comparators)]
            return all(
                _OPERATORS[type(one)](left, right)
                for one, left, right in zip(node.ops, values, values[1:], strict=False)
            )
        case ast.BoolOp():
            value: Any = None
            for one in node.values:
                value = of(one)
                if bool(value) is isinstance(node.op, ast.Or):
                    break
            return value
        case ast.BinOp(op=ast.Pow()):
            base, power = of(node.left), of(node.right)
            if abs(power) > MOST_POWER:
                raise TypeError(f"a power beyond {MOST_POWER}")
            if isinstance(base, int) and base.bit_length() * abs(power) > MOST:
                raise TypeError(f"a number of more than {MOST} bits")
            return base**power
        case ast.IfExp():
            return of(node.body) if of(node.test) else of(node.orelse)
        case ast.JoinedStr():
            return "".join(str(of(one)) for one in node.values)
        case ast.FormattedValue():
            value = of(node.value)
            if node.conversion != -1:
                value = repr(value) if node.conversion == ord("r") else str(value)
            return _formatted(value, "" if node.format_spec is None else of(node.format_spec))
        case ast.Dict() if None not in node.keys:
            keys = [of(one) for one in node.keys if one is not None]
            return dict(zip(keys, [of(one) for one in node.values], strict=True))
        case ast.Call(func=ast.Name(id="map"), args=[ast.Name(id=name), _, *_]) if (
            name in _FUNCTIONS and not node.keywords
        ):
            return list(map(_FUNCTIONS[name], *[of(one) for one in node.args[1:]]))
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            if any(one.arg in (None, "key") for one in node.keywords):
                raise NotOurs(f"{ast.unparse(node)!r}")
            more = {str(one.arg): of(one.value) for one in node.keywords}
            args = [of(one) for one in node.args]
            if any(hasattr(one, "__len__") and len(one) > MOST for one in args):
                raise TypeError(f"more than {MOST} elements")
            return _FUNCTIONS[name](*args, **more)
        case ast.Call(func=ast.Attribute()):
            return _method(node, of)
        case ast.ListComp() | ast.GeneratorExp():
            return list(_comprehension(node.elt, node.generators, look, own))
    raise NotOurs(f"{ast.unparse(node)!r}")


def _method(node: ast.Call, of: Callable[[ast.AST], Any]) -> Any:
    """What a text, a list or a dictionary of Python's own can do, without changing itself."""
    assert isinstance(node.func, ast.Attribute)
    name, value = node.func.attr, of(node.func.value)
    sized = type(value) is str and name in _SIZED
    starred = any(one.arg is None for one in node.keywords)
    if starred or not (sized or name in _METHODS.get(type(value), ())):
        raise NotOurs(f"{ast.unparse(node)!r}")
    words = [of(one) for one in node.args]
    more = {str(one.arg): of(one.value) for one in node.keywords}
    if name == "format":
        return _filled(value, words, more)
    if sized and words and isinstance(words[0], int):
        _bounded(" ", words[0])
    if name == "replace" and len(words) > 1 and isinstance(words[1], str):
        _bounded(words[1], len(value) + 1)
    if name == "join" and words:
        words[0] = [str(_text(one)) for one in islice(words[0], MOST)]
        _bounded(value, len(words[0]))
    return getattr(value, name)(*words, **more)


def _filled(text: str, words: Sequence[Any], names: Mapping[str, Any]) -> str:
    """``text.format(...)``, of plain fields: ``{}``, ``{0}``, ``{name}``, ``{:03}``."""
    done, count = "", 0
    for before, field, spec, conversion in string.Formatter().parse(text):
        done += before
        if field is None:
            continue
        if field == "":
            field, count = str(count), count + 1
        value = words[int(field)] if field.isdigit() else names[field]
        done += _formatted(repr(value) if conversion == "r" else value, spec or "")
    return done


def _formatted(value: Any, spec: str) -> str:
    value = _text(value)
    if any(int(number) > MOST_POWER for number in re.findall(r"\d+", spec)):
        raise TypeError(f"more than {MOST_POWER} characters")
    return format(value if isinstance(value, _PLAIN) else str(value), spec)


def _bounded(left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        if isinstance(other, int) and hasattr(one, "__len__") and len(one) * other > MOST:
            raise TypeError(f"more than {MOST} elements")


def _comprehension(
    element: ast.AST,
    generators: Sequence[ast.comprehension],
    look: Callable[[str], Any],
    own: Mapping[str, Any],
) -> Iterable[Any]:
    if not generators:
        yield _value(element, look, own)
        return
    first, *rest = generators
    for item in islice(_value(first.iter, look, own), MOST):
        names = {**own, **_bound(first.target, item)}
        if all(_value(test, look, names) for test in first.ifs):
            yield from _comprehension(element, rest, look, names)


def _bound(target: ast.AST, item: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: item}
    if isinstance(target, ast.Tuple | ast.List):
        names: dict[str, Any] = {}
        for one, part in zip(target.elts, item, strict=True):
            names |= _bound(one, part)
        return names
    raise NotOurs
