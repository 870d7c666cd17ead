"""Attributes of an ad as values of the kind they should have. What is wrong is gathered, so that a
person is told all of it at once. Knows kinds, not meanings."""

from __future__ import annotations

import re

from gshell.jdl.attributes import known, meant
from gshell.jdl.errors import NOWHERE, At, Finding, JdlError
from gshell.jdl.syntax import (
    ERROR,
    UNDEFINED,
    Ad,
    Expr,
    Items,
    Literal,
    NotConstant,
    Ref,
    Unary,
    constant,
    write,
)  # fmt: skip

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
MOST_ERRORS = 20  # shown of one file
_DEEPEST = 20  # attributes that refer to attributes


class Findings:
    """What was seen in one file."""

    def __init__(self, name: str, found: list[Finding]) -> None:
        self.name = name
        self.found = found

    def error(self, at: At, text: str) -> None:
        self.found.append(Finding("error", at, text))

    def warning(self, at: At, text: str) -> None:
        self.found.append(Finding("warning", at, text))

    def note(self, at: At, text: str) -> None:
        self.found.append(Finding("note", at, text))

    def check(self) -> None:
        """
        Raises:
            JdlError: there are errors: all of them, in their order.
        """
        seen = dict.fromkeys(one for one in self.found if one.level == "error")
        errors = sorted(seen, key=lambda error: error.at)
        if not errors:
            return
        first, rest = errors[0], errors[1:MOST_ERRORS]
        text = "\n".join([first.text, *(one.shown(self.name) for one in rest)])
        if len(errors) > MOST_ERRORS:
            text += f"\n... and {len(errors) - MOST_ERRORS} more"
        raise JdlError(text, self.name, first.at)


class Reader:
    """One ad, read attribute by attribute."""

    def __init__(self, ad: Ad, findings: Findings) -> None:
        self.ad = ad
        self.findings = findings

    def at(self, name: str) -> At:
        """Where it stands."""
        entry = self.ad.entry(name)
        return entry.at if entry is not None else NOWHERE

    def has(self, name: str) -> bool:
        return self.ad.entry(name) is not None

    def wrong(self, name: str, what: str) -> None:
        value = self.ad.get(name)
        at = value.at if value is not None and value.at.line else self.at(name)
        self.findings.error(at, what)

    def names(self) -> None:
        """Say what of the names is not known, or changes nothing here."""
        for entry in self.ad.entries:
            attribute = known(entry.name)
            if attribute is None:
                near = meant(entry.name)
                if near:
                    self.findings.warning(entry.at, f"{entry.name} is not known: {near}?")
                else:
                    self.findings.note(
                        entry.at, f"{entry.name} is not known; Requirements may use it"
                    )
            elif attribute.note:
                add = self.findings.warning if attribute.warns else self.findings.note
                add(entry.at, f"{attribute.name} changes nothing: {attribute.note}")

    # ---------------------------------------------------------------------------------- values

    def value(self, name: str) -> object:
        """What it is, computed if need be; None if it is not there, or is undefined."""
        expr = self.ad.get(name)
        if expr is None:
            return None
        try:
            found = constant(self.resolved(expr))
        except NotConstant:
            found = self._computed(name, expr)
        return None if found is UNDEFINED else found

    def _computed(self, name: str, expr: Expr) -> object:
        from gshell.jdl import eval as evaluation

        try:
            found = evaluation.value(write(expr), self.ad)
        except JdlError as error:
            if error.hint:
                raise  # the library is missing: all else may be right
            self.wrong(name, f"{name}: {error.text}")
            return None
        if found is UNDEFINED or found is ERROR:
            word = isinstance(expr, Ref) and expr.of is None
            hint = ': a text stands in double quotes, "..."' if word else ""
            self.wrong(name, f"{name} = {write(expr)[:80]} is {found}{hint}")
            return None
        return found

    def resolved(self, expr: Expr, depth: int = _DEEPEST) -> Expr:
        """With names of attributes of this ad replaced by what they are."""
        if depth == 0:
            return expr
        if isinstance(expr, Items):
            items = tuple(self.resolved(one, depth - 1) for one in expr.items)
            return Items(items, at=expr.at)
        if isinstance(expr, Ref):
            own = expr.of is None or (
                isinstance(expr.of, Ref) and expr.of.of is None
                and expr.of.name.lower() in ("self", "my")
            )  # fmt: skip
            value = self.ad.get(expr.name) if own else None
            return self.resolved(value, depth - 1) if value is not None else expr
        return expr

    def _of_kind(self, name: str, kind: type | tuple[type, ...], what: str) -> object:
        found = self.value(name)
        if found is None:
            return None
        if kind is str and isinstance(found, list) and len(found) == 1:
            found = found[0]  # the grid's tutorials write Executable so
            self.findings.warning(self.at(name), f"{name} is {what}, without braces")
        if kind is not str and isinstance(found, str) and _NUMBER.fullmatch(found.strip()):
            self.findings.warning(self.at(name), f"{name} is a number, without quotes")
            found = float(found) if "." in found else int(found)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            self.wrong(name, f"{name} must be {what}, not {_shown(found)}")
            return None
        return found

    def string(self, name: str, default: str = "") -> str:
        found = self._of_kind(name, str, "a string")
        return str(found) if found is not None else default

    def whole(self, name: str, least: int | None = None, most: int = 1 << 40) -> int | None:
        found = self._of_kind(name, int, "a whole number")
        if not isinstance(found, int):
            return None
        if (least is not None and found < least) or abs(found) > most:
            self.wrong(name, f"{name} = {found}: it is {least} or more" if abs(found) <= most
                       else f"{name} = {found} is too much")  # fmt: skip
            return None
        return found

    def number(self, name: str) -> float | None:
        found = self._of_kind(name, (int, float), "a number")
        return float(found) if isinstance(found, int | float) else None

    def flag(self, name: str, default: bool = False) -> bool:
        found = self.value(name)
        if isinstance(found, str) and found.lower() in ("true", "false"):  # it is seen
            self.findings.warning(self.at(name), f"{name} is true or false, without quotes")
            return found.lower() == "true"
        if found is not None and not isinstance(found, bool):
            self.wrong(name, f"{name} must be true or false, not {_shown(found)}")
            return default
        return default if found is None else found

    def strings(self, name: str, bare: bool = False) -> list[str]:
        """A list of strings; one alone is a list of one, lists in the list are part of it.

        ``bare``: words without quotes are strings, too, and so are numbers.
        """
        expr = self.ad.get(name)
        if expr is None:
            return []
        found: list[str] = []
        todo = [self.resolved(expr)]
        while todo:
            one = todo.pop(0)
            if isinstance(one, Items):
                todo = [*one.items, *todo]
            elif isinstance(one, Literal) and isinstance(one.value, str):
                found.append(one.value)
            elif bare and isinstance(one, Ref) and one.of is None:
                found.append(one.name)
            elif bare and isinstance(one, Literal) and isinstance(one.value, int | float):
                found.append(write(one))
            elif bare and isinstance(one, Unary) and one.op == "-":
                found.append(write(one))  # -2
            else:
                found += self._computed_strings(name, one)
        return found

    def filled(self, name: str) -> list[str]:
        """As `strings`; what is empty is no entry: programs that write descriptions leave them."""
        found = self.strings(name)
        kept = [one for one in found if one.strip()]
        if len(kept) < len(found):
            self.findings.note(self.at(name), f"{name} has an empty entry: it does not count")
        return kept

    def _computed_strings(self, name: str, expr: Expr) -> list[str]:
        value: object
        try:
            value = constant(expr)
        except NotConstant:
            value = self._computed(name, expr)
            if value is None:
                return []
        values = value if isinstance(value, list) else [value]
        if all(isinstance(one, str) for one in values):
            return [str(one) for one in values]
        self.findings.error(expr.at, f"{name} must be strings, not {_shown(value)}")
        return []


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value[:40]}"'
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an ad"
    return str(value)[:40]
