"""One expected line, masks in it, against one line that was seen. Knows no steps.

A pattern is a row of tokens, and matching keeps the set of places that can be reached after each:
linear in the line for every token, whatever stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gshell.replay.masks import (
    A_NUMBER,
    ANY_NUMBER,
    INTEGER,
    PARAM,
    TIME,
    BadMask,
    Pattern,
    Token,
    number,
    parse,
    user_regex,
)

MAX_ENDS = 4000  # places where (re /.../) within a line may end, besides as late as it can
MAX_LINE = 20_000  # characters that a user's regex is tried on; what comes after is cut off


class Match(NamedTuple):
    """A line that fits."""

    captures: tuple[tuple[str, str], ...] = ()
    kinds: tuple[str, ...] = ()
    """The masks that were needed."""


def near(expected: float, seen: float, rel: float, absolute: float) -> bool:
    if expected != expected or seen != seen:  # NaN is near nothing, but was expected to be NaN
        return expected != expected and seen != seen
    if expected in (float("inf"), float("-inf")) or seen in (float("inf"), float("-inf")):
        return expected == seen
    return abs(seen - expected) <= max(absolute, rel * abs(expected)) * (1 + 1e-12)


def match(pattern: Pattern, line: str, values: Mapping[str, str]) -> Match | None:
    """``line`` against a pattern that is no span; None: it does not fit. A parameter without a
    value stands for itself."""
    line = line.rstrip()
    if pattern.kind == "re":
        source = PARAM.sub(lambda found: re.escape(values.get(found[1], found[0])), pattern.regex)
        try:
            found = user_regex(source).fullmatch(line[:MAX_LINE])
        except BadMask:
            return None  # a value that makes it one that could take for ever
        if found is None:
            return None
        named = tuple((name, text or "") for name, text in found.groupdict().items())
        return Match(named, ("re",))
    line = line.expandtabs(8)
    first = pattern.tokens[0] if pattern.tokens and pattern.kind == "line" else None
    if first and first.kind == "lit" and not line.startswith(first.text.rstrip()):
        return None  # most lines of an alignment
    tokens = tuple(_bound(token, values) for token in pattern.tokens)
    if pattern.kind == "numbers":
        return _numbers(tokens, line)
    if all(token.kind == "lit" for token in tokens):
        return Match() if "".join(token.text for token in tokens).rstrip() == line else None
    return _walk(tokens, line)


def _bound(token: Token, values: Mapping[str, str]) -> Token:
    if token.kind != "param":
        return token
    return Token("lit", values.get(token.text, "${" + token.text + "}"))


def _numbers(tokens: tuple[Token, ...], line: str) -> Match | None:
    text, tolerance = "".join(token.text for token in tokens[:-1]), tokens[-1]
    if _between(text) != _between(line):
        return None
    pairs = zip(ANY_NUMBER.findall(text), ANY_NUMBER.findall(line))
    if not all(near(number(a), number(b), tolerance.rel, tolerance.abs) for a, b in pairs):
        return None
    return Match((), ("num",))


def _between(line: str) -> list[str]:
    """What stands between the numbers of a line, blanks being one blank."""
    return [" ".join(part.split()) for part in ANY_NUMBER.split(line)]


def _walk(tokens: tuple[Token, ...], line: str) -> Match | None:
    reached: dict[int, int] = {0: 0}  # place after the tokens so far -> place before the last
    layers = []
    free = True  # the token before can end anywhere: a number must not begin within digits
    for token in tokens:
        after: dict[int, int] = {}
        if token.kind == "any":
            first = min(reached)
            after = dict.fromkeys(range(first, len(line) + 1), first)
        else:
            end_of = _ENDS[token.kind]
            for at in reached:
                if free and token.kind in ("num", "int") and at and line[at - 1].isdigit():
                    continue
                end = end_of(token, line, at)
                if end >= 0:
                    after.setdefault(end, at)
                if end > at and token.kind == "re" and len(reached) * (end - at) < MAX_ENDS:
                    regex = user_regex(token.text)  # it may have to take less
                    for less in range(at, end):
                        if less not in after and regex.fullmatch(line, at, less):
                            after[less] = at
        if not after:
            return None
        layers.append(after)
        reached = after
        free = token.kind != "lit"
    if len(line) not in reached:
        return None
    captures = []
    at = len(line)
    for token, layer in zip(reversed(tokens), reversed(layers)):
        before = layer[at]
        if token.name:
            captures.append((token.name, line[before:at].strip()))
        at = before
    kinds = tuple(
        "glob" if token.kind == "one" else token.kind
        for token in tokens
        if token.kind not in ("lit", "blanks", "indent")
    )
    return Match(tuple(reversed(captures)), kinds)


def _end_literal(token: Token, line: str, at: int) -> int:
    return at + len(token.text) if line.startswith(token.text, at) else -1


def _end_one(token: Token, line: str, at: int) -> int:
    return at + 1 if at < len(line) else -1


def _end_blanks(token: Token, line: str, at: int) -> int:
    end = at
    while end < len(line) and line[end] in " \t":
        end += 1
    return end if end > at or token.kind == "indent" else -1


def _end_number(token: Token, line: str, at: int) -> int:
    found = (ANY_NUMBER if token.text else A_NUMBER).match(line, at)
    if found is None:
        return -1
    if token.text:
        try:
            expected, seen = number(token.text), number(found[0])
        except (ValueError, OverflowError):
            return -1
        if not near(expected, seen, token.rel, token.abs):
            return -1
    return found.end()


def _end_regex(regex: re.Pattern[str]) -> Callable[[Token, str, int], int]:
    def end(token: Token, line: str, at: int) -> int:
        found = regex.match(line, at)
        return found.end() if found and found.end() > at else -1

    return end


def _end_user(token: Token, line: str, at: int) -> int:
    found = user_regex(token.text).match(line[:MAX_LINE], at)
    return found.end() if found else -1


_ENDS: dict[str, Callable[[Token, str, int], int]] = {
    "lit": _end_literal,
    "one": _end_one,
    "blanks": _end_blanks,
    "indent": _end_blanks,
    "num": _end_number,
    "int": _end_regex(INTEGER),
    "time": _end_regex(TIME),
    "re": _end_user,
}


# ---------------------------------------------------------------------------------------- prompts


def stands(prompt: str, last_line: str, values: Mapping[str, str]) -> bool:
    """Whether what ``Wait.text`` says is what stands last on a line: as its end, masks in it,
    blanks at the end ignored, numbers of any value (``In [3]:``). A ``>`` may follow: who copies
    ``mysql> select 1`` from a screen means the prompt that is there."""
    wanted, line = prompt.rstrip(), last_line.rstrip()
    if not wanted:
        return True
    pattern = parse(wanted)
    if pattern.kind != "line":
        return pattern.kind == "span" or match(pattern, line, values) is not None
    tokens: list[Token] = [Token("any")]
    for token in pattern.tokens:
        bound = _bound(token, values)
        if bound.kind != "lit":
            tokens.append(bound)
            continue
        at = 0
        for found in re.finditer(r"\d+", bound.text):
            tokens += [Token("lit", bound.text[at : found.start()]), Token("int")]
            at = found.end()
        tokens.append(Token("lit", bound.text[at:]))
    lines = (line, line[:-1].rstrip()) if line.endswith(">") else (line,)
    return any(_walk(tuple(tokens), one) is not None for one in lines)
