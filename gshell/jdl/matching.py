"""Whether a place suits a job, and how well: expressions over what is known of both.

An expression is parsed once. What it says depends only on the values of the names in it, so its
answers are remembered by those: of a thousand agents that are alike, one is evaluated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gshell.jdl import bounds, glue
from gshell.jdl import eval as evaluation
from gshell.jdl.errors import JdlError
from gshell.jdl.parse import parse_expression
from gshell.jdl.syntax import (
    UNDEFINED,
    Expr,
    Ref,
    conjuncts,
    walk,
    write,
)  # fmt: skip

MOST_TEXT = 16 * 1024  # characters of an expression
REMEMBERED = 512  # expressions
ANSWERS = 8192  # of one expression
SHOWN = 120

Facts = Mapping[str, Any]


class Matcher:
    """What the broker is given. Facts are JSON values; of a place as AGENT or SITE has them."""

    def __init__(self) -> None:
        self._asked: Callable[[str], Asked] = functools.lru_cache(maxsize=REMEMBERED)(Asked)

    def check(self, text: str) -> str:
        """What is wrong with an expression; empty if nothing is."""
        try:
            self._asked(text)
        except JdlError as error:
            return error.message if not error.hint else f"{error.message} ({error.hint})"
        return ""

    def suits(self, job_ad: Facts, req: str, ad: Facts) -> bool:
        """Is ``req`` true there? Undefined is not, nor is anything that is no truth value."""
        try:
            return all(part.answer(job_ad, ad) is True for part in self._asked(req).parts)
        except JdlError:
            return False

    def rank(self, job_ad: Facts, rank: str, ad: Facts) -> float:
        """The more, the better; 0 where it has no value."""
        try:
            found = self._asked(rank).answer(job_ad, ad)
        except JdlError:
            return 0.0
        if not isinstance(found, bool | int | float) or found != found:
            return 0.0
        return float(found)

    def explain(self, job_ad: Facts, req: str, ad: Facts) -> list[tuple[str, str]]:
        """What of ``req`` is not true there, in its order: the text, and what there is instead."""
        try:
            return [
                (part.text[:SHOWN], part.instead(job_ad, ad))
                for part in self._asked(req).parts
                if part.answer(job_ad, ad) is not True
            ]
        except JdlError as error:
            return [(req[:SHOWN], error.message)]


class _Name(NamedTuple):
    """A name in an expression."""

    low: str
    of: str
    """"other": of the place; "my": of the job; "": of the job, else of the place."""
    text: str
    """As it is written."""


class Asked:
    """One expression, and the answers it gave."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            JdlError: it is none, or nothing can compute it.
        """
        if len(text) > MOST_TEXT:
            raise JdlError(f"more than {MOST_TEXT} characters")
        expr = parse_expression(text)
        bounds.check(expr)
        self._begin(expr)
        parts = conjuncts(self._expr)
        # "a && b" is true where a is and b is; each depends on fewer values.
        self.parts = [self] if len(parts) == 1 else [Asked._of(part) for part in parts]

    @classmethod
    def _of(cls, expr: Expr) -> Asked:
        found = cls.__new__(cls)
        found._begin(expr)
        found.parts = [found]
        return found

    def _begin(self, expr: Expr) -> None:
        self._expr = expr
        self.text = write(expr)
        self.names = list({(one.low, one.of): one for one in names(expr)}.values())
        self._getters = [_getter(name) for name in self.names]
        self._expression = evaluation.Expression(self.text)
        self._answers: dict[Any, object] = {}

    def answer(self, job_ad: Facts, ad: Facts) -> object:
        """Its value: Python's own, UNDEFINED or ERROR."""
        values = [get(job_ad, ad) for get in self._getters]
        # 1 == 1.0 == True to a dict, and not to an expression.
        key = tuple([(v.__class__, v if v.__hash__ is not None else repr(v)) for v in values])
        if key in self._answers:
            return self._answers[key]
        if len(self._answers) >= ANSWERS:
            self._answers.clear()
        mine: dict[str, Any] = {}
        theirs: dict[str, Any] = {}
        for name, value in zip(self.names, values, strict=True):
            (theirs if name.of == "other" else mine)[name.text] = value
        found = self._expression.value(evaluation.ad_of(mine), evaluation.ad_of(theirs))
        self._answers[key] = found
        return found

    def instead(self, job_ad: Facts, ad: Facts) -> str:
        """What the names in it are there."""
        if not self.names:
            return str(self.answer(job_ad, ad)).lower()
        pairs = zip(self.names, self._getters, strict=True)
        return ", ".join(f"{name.text} is {_shown(get(job_ad, ad))}" for name, get in pairs)


def names(expr: Expr) -> list[_Name]:
    """Which values an expression depends on."""
    found: list[_Name] = []
    scopes: set[int] = set()  # the Refs that are `other`, `my`, not names of values
    for one in walk(expr):
        if not isinstance(one, Ref) or id(one) in scopes:
            continue
        of = one.of
        if of is None:
            found.append(_Name(one.name.lower(), "", one.name))
        elif isinstance(of, Ref) and of.of is None:
            scope = of.name.lower()
            if scope in ("other", "target"):
                scopes.add(id(of))
                found.append(_Name(one.name.lower(), "other", one.name))
            elif scope in ("my", "self"):
                scopes.add(id(of))
                found.append(_Name(one.name.lower(), "my", one.name))
    return found


def _getter(name: _Name) -> Callable[[Facts, Facts], Any]:
    """What takes a name's value from the two ads."""
    theirs = glue.getter(name.low)
    if name.of == "other":
        return lambda job_ad, ad: theirs(ad)

    def mine(job_ad: Facts, ad: Facts) -> Any:
        found = job_ad.get(name.text)
        if found is None:
            found = next((v for key, v in job_ad.items() if key.lower() == name.low), None)
        return theirs(ad) if found is None and not name.of else found

    return mine


def _shown(value: Any) -> str:
    if value is None:
        return str(UNDEFINED)
    if isinstance(value, str):
        return f'"{value[:SHOWN]}"'
    if isinstance(value, list):
        return "{" + ", ".join(map(_shown, value[:20])) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)[:SHOWN]
