"""From a job description's text to an ad, by recursive descent. Knows no attribute.

More is taken than the language's own library takes (outer brackets left out, ``#`` comments,
trailing commas, ``1K``), less is let pass in silence (text after the ad, a name twice).
"""

from __future__ import annotations

from typing import Any, NoReturn

from gshell.jdl import tokens
from gshell.jdl.errors import At, Finding, JdlError
from gshell.jdl.syntax import (
    BINARY,
    ERROR,
    RESERVED,
    UNARY,
    UNDEFINED,
    Ad,
    Binary,
    Call,
    Cond,
    Entry,
    Expr,
    Index,
    Items,
    Literal,
    Ref,
    Unary,
)  # fmt: skip
from gshell.jdl.tokens import Token

MAX_DEPTH = 30  # of brackets and signs in each other; each takes up to 20 frames of ours
MAX_DOTS = 30  # a.b.c and a[0][1]
_DOTTED = ("parameters", "parameterstart", "parameterstep", "parameterfactor")
_WORDS: dict[str, Any] = {"true": True, "false": False, "undefined": UNDEFINED, "error": ERROR}


def parse(text: str, name: str = "job") -> tuple[Ad, list[Finding]]:
    """The ad, and warnings.

    Raises:
        JdlError: with file, line and column.
    """
    return _Parser(text, name).file()


def parse_expression(text: str, name: str = "expression") -> Expr:
    """One expression, nothing after it.

    Raises:
        JdlError: with line and column.
    """
    parser = _Parser(text, name)
    found = parser.expression()
    if parser.token.kind != tokens.END:
        parser.fail(f"{_shown(parser.token)} after the end of the expression")
    return found


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.tokens = tokens.tokenize(text, name)
        self.pos = 0
        self.depth = 0
        self.findings: list[Finding] = []

    # ---------------------------------------------------------------------------------- tokens

    @property
    def token(self) -> Token:
        token = self.tokens[self.pos]
        if token.kind == tokens.BAD:
            raise JdlError(str(token.value), self.name, token.at)
        return token

    def next(self) -> Token:
        token = self.token
        self.pos += token.kind != tokens.END
        return token

    def is_op(self, *texts: str) -> bool:
        return self.token.kind == tokens.OP and self.token.text in texts

    def take(self, text: str) -> bool:
        if self.is_op(text):
            self.pos += 1
            return True
        return False

    def before(self) -> At:
        """The end of what was read last: what is missing is missing there."""
        return self.tokens[self.pos - 1].end if self.pos else self.token.at

    def fail(self, what: str, at: At | None = None, hint: str | None = None) -> NoReturn:
        raise JdlError(what, self.name, at or self.token.at, hint)

    def warn(self, what: str, at: At) -> None:
        self.findings.append(Finding("warning", at, what))

    # --------------------------------------------------------------------------------- the ad

    def file(self) -> tuple[Ad, list[Finding]]:
        if self.token.kind == tokens.END:
            self.fail("there is nothing in it")
        at = self.token.at
        if self.take("["):
            ad = self.ad(at, "]")
            while self.take(";"):
                pass
            if self.token.kind != tokens.END:
                self.fail(f"{_shown(self.token)} after the end of the job description")
        else:
            ad = self.ad(at, "")
        return ad, self.findings

    def ad(self, at: At, closing: str) -> Ad:
        """The entries up to ``closing``, which is taken."""
        self.deeper()
        entries: dict[str, Entry] = {}
        while True:
            while self.take(";"):
                pass
            if self.token.kind == tokens.END:
                if closing:
                    self.fail(f"expected ] for the [ of line {at.line}")
                break
            if closing and self.take(closing):
                break
            entry = self.entry()
            known = entries.pop(entry.name.lower(), None)
            if known is not None:
                line = f"line {known.at.line}"
                self.warn(f"{entry.name} was given in {line} already: this one counts", entry.at)
            entries[entry.name.lower()] = entry
            ended = self.is_op(";") or self.token.kind == tokens.END
            if not ended and not (closing and self.is_op(closing)):
                self.unended()
        self.depth -= 1
        return Ad(tuple(entries.values()), at=at)

    def unended(self) -> NoReturn:
        """There is something after an entry that does not end it."""
        token = self.token
        if token.kind in (tokens.NAME, tokens.QUOTED):
            self.fail(f"expected ; before {token.text}", self.before())
        hints = {",": " (a list is written {a, b})", ":": " (a text stands in quotes)"}
        hint = hints.get(token.text, "") if token.kind == tokens.OP else ""
        self.fail(f"expected ; but found {_shown(token)}{hint}")

    def entry(self) -> Entry:
        token = self.next()
        if token.kind not in (tokens.NAME, tokens.QUOTED):
            self.fail(f"expected an attribute's name but found {_shown(token)}", token.at)
        if token.kind == tokens.NAME and token.text.lower() in RESERVED:
            word = token.text
            self.warn(f"{word} is a word of the language: as a name write '{word}'", token.at)
        name = token.text
        if name.lower() in _DOTTED and self.is_op("."):
            self.pos += 1
            name += f".{self.next().text}"  # DIRAC's, of one parameter of several
        if not self.take("="):
            if self.is_op("=="):
                self.fail(f"expected = after {name} but found ==")
            self.fail(f"expected = after {name}", self.before())
        if self.is_op(";", "]", "}") or self.token.kind == tokens.END:
            self.fail(f"{name} has no value", self.before())
        return Entry(name, self.expression(), at=token.at)

    # --------------------------------------------------------------------------- expressions

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"brackets in brackets, more than {MAX_DEPTH} deep")

    def expression(self) -> Expr:
        self.deeper()
        found = self.binary(2)
        if self.is_op("?"):
            at = self.next().at
            then = self.expression()
            if not self.take(":"):
                self.fail("expected : for this ?", self.before())
            found = Cond(found, then, self.expression(), at=at)
        elif self.is_op("?:"):
            at = self.next().at  # the value, unless it is undefined
            test = Binary("isnt", found, Literal(UNDEFINED, at=at), at=at)
            found = Cond(test, found, self.expression(), at=at)
        self.depth -= 1
        return found

    def operator(self) -> str:
        token = self.token
        if token.kind == tokens.OP:
            return token.text
        if token.kind == tokens.NAME and token.text.lower() in ("is", "isnt"):
            return token.text.lower()
        return ""

    def binary(self, least: int) -> Expr:
        left = self.unary()
        while (binds := BINARY.get(op := self.operator(), 0)) >= least:
            at = self.next().at
            left = Binary(op, left, self.binary(binds + 1), at=at)
        if self.is_op("="):
            self.fail("= inside an expression: to compare write ==")
        return left

    def unary(self) -> Expr:
        if self.is_op(*UNARY):
            token = self.next()
            self.deeper()
            found: Expr = Unary(token.text, self.unary(), at=token.at)
            self.depth -= 1
            return found
        return self.postfix()

    def postfix(self) -> Expr:
        found = self.primary()
        for _ in range(MAX_DOTS):
            at = self.token.at
            if self.take("."):
                token = self.next()
                if token.kind not in (tokens.NAME, tokens.QUOTED):
                    self.fail(f"expected a name after the dot but found {_shown(token)}", token.at)
                found = Ref(token.text, found, at=at)
            elif self.take("["):
                found = Index(found, self.expression(), at=at)
                if not self.take("]"):
                    self.fail("expected ]", self.before())
            else:
                return found
        return self.fail(f"more than {MAX_DOTS} dots and indices in a row")

    def primary(self) -> Expr:
        token = self.next()
        at = token.at
        if token.kind == tokens.NUMBER:
            assert token.value is not None
            return Literal(token.value, at=at)
        if token.kind == tokens.STRING:
            return self.string(token)
        if token.kind == tokens.QUOTED:
            return Ref(token.text, at=at)
        if token.kind == tokens.NAME:
            return self.word(token)
        if token.kind == tokens.OP:
            if token.text == "(":
                inner = self.expression()
                if not self.take(")"):
                    self.fail(f"expected ) for the ( of {at.line}:{at.column}", self.before())
                return inner
            if token.text == "{":
                return self.list_of(at)
            if token.text == "[":
                return self.ad(at, "]")
            if token.text == "." and self.token.kind in (tokens.NAME, tokens.QUOTED):
                return Ref(self.next().text, None, True, at=at)
        in_quotes = " (a text stands in quotes)" if token.text == "/" else ""
        return self.fail(f"expected a value but found {_shown(token)}{in_quotes}", at)

    def string(self, token: Token) -> Expr:
        text = token.text
        while self.token.kind == tokens.STRING:  # as in C
            self.warn("two strings side by side are one: is a comma missing?", self.token.at)
            text += self.next().text
        return Literal(text, at=token.at)

    def word(self, token: Token) -> Expr:
        low = token.text.lower()
        if self.is_op("("):
            self.pos += 1
            return Call(token.text, tuple(self.items(")", token.at)), at=token.at)
        if low in _WORDS:
            return Literal(_WORDS[low], at=token.at)
        if low in ("is", "isnt"):
            self.fail(f"expected a value but found {token.text}", token.at)
        return Ref(token.text, at=token.at)

    def list_of(self, at: At) -> Expr:
        return Items(tuple(self.items("}", at)), at=at)

    def items(self, closing: str, at: At) -> list[Expr]:
        """Up to ``closing``; a comma may come after the last."""
        found: list[Expr] = []
        while not self.take(closing):
            if found:
                if not self.take(","):
                    opening = {"}": "{", ")": "("}[closing]
                    self.fail(
                        f"expected , or {closing} (for the {opening} of {at.line}:{at.column})",
                        self.before(),
                    )
                if self.take(closing):
                    break
            found.append(self.expression())
        return found


def _shown(token: Token) -> str:
    if token.kind == tokens.END:
        return "the end of the file"
    if token.kind == tokens.STRING:
        return f'"{token.text[:40]}"'
    return token.text[:40]
