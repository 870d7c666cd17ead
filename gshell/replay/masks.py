"""One expected line and the masks in it: read, and written so that it is read as it was meant.

REPLAY.md lists the masks. Knows no line that was seen: `matching` compares.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from re import _parser  # type: ignore[attr-defined]  # what a regex is made of
from typing import NamedTuple
from warnings import catch_warnings, simplefilter

from gshell.replay.script import ScriptError

REL = 1e-8  # of (num 1.5) without a tolerance: NPB's own epsilon for its verifications


class BadMask(ValueError):
    """A mask that is none: ``column`` (from 0) in the text, why, and what would do."""

    def __init__(self, why: str, column: int = 0, hint: str | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.column = column
        self.hint = hint


class Token(NamedTuple):
    """A part of a pattern: literal text, a parameter, blanks of any number, or a mask."""

    kind: str
    text: str = ""
    """Of ``lit``; the name of ``param``; the regex of ``re``; the literal number of ``num``."""
    rel: float = 0.0
    abs: float = 0.0
    name: str = ""
    """What it captures."""


class Pattern(NamedTuple):
    """An expected line, read."""

    kind: str
    """``line``: tokens · ``numbers``: every number has a tolerance · ``re`` · ``span``: any number
    of lines."""
    tokens: tuple[Token, ...] = ()
    regex: str = ""

    @property
    def literal(self) -> str | None:
        """Its text, if it is nothing else."""
        if self.kind != "line" or any(token.kind != "lit" for token in self.tokens):
            return None
        return "".join(token.text for token in self.tokens)

    @property
    def names(self) -> tuple[str, ...]:
        """What it captures."""
        if self.kind == "re":
            return tuple(user_regex(PARAM.sub("x", self.regex)).groupindex)
        return tuple(token.name for token in self.tokens if token.name)

    @property
    def params(self) -> tuple[str, ...]:
        """What must have a value before it can be matched."""
        if self.kind == "re":
            return tuple(found[1] for found in PARAM.finditer(self.regex))
        return tuple(token.text for token in self.tokens if token.kind == "param")


# ------------------------------------------------------------------------------------------ reading

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
PARAM = re.compile(rf"\$\{{({NAME})\}}")
DOLLAR = re.compile(rf"\$\$|\$\{{({NAME})\}}|\$\{{")
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eEdD][-+]?\d+)?"
A_NUMBER = re.compile(NUMBER)
ANY_NUMBER = re.compile(rf"{NUMBER}|[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
INTEGER = re.compile(r"[-+]?\d+")
LOOKS = re.compile(
    rf"\((?:(?:any|int|time)(?:\s+as\s+{NAME})?\)"
    rf"|num(?:\)|\s+(?:[-+.\d]|nan\b|inf\b|rel=|abs=|as\s))"
    r"|re\s+/"
    r"|(?:any\*|re|glob|esc)\)\s*$)"
)
MASK = re.compile(rf"\((any|int|time)(?:\s+as\s+({NAME}))?\)")
NUM = re.compile(r"\(num([^()]*)\)")
RE = re.compile(rf"\(re\s+/((?:[^/\\]|\\.)*)/(?:\s+as\s+({NAME}))?\s*\)")

MASKED = re.compile(rf"{MASK.pattern}|{NUM.pattern}|{RE.pattern}")  # any mask within a line

_DAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?"
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_UNIT = (
    r"(?:days?|d|hours?|hrs?|h|minutes?|mins?|m|milliseconds?|msecs?|ms|microseconds?|usecs?|us|"
    r"µs|μs|nanoseconds?|nsecs?|ns|seconds?|secs?|s)(?![a-zµμ])"
)
_FIRST = (
    rf"\d{{4}}-\d\d-\d\d|\d{{1,4}}[/.]\d{{1,2}}[/.]\d{{1,4}}|\d{{1,2}}-{_MONTH}-\d{{2,4}}"
    rf"|\d+(?::\d\d){{1,2}}(?:[.,]\d+)?|\d+(?:\.\d+)?\s?{_UNIT}|(?:{_DAY}|{_MONTH})\b"
)
_ZONE = r"(?-i:UTC|[A-Z]{1,4}T|Z)\b|[ap]m\b|[-+]\d\d:?\d\d\b"
# A date or a duration is such words one after the other; days of a month and years only between
# them. Nothing follows the last repetition, so it never goes back.
TIME = re.compile(
    rf"(?:\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTH}\b|{_FIRST})"
    rf"(?:(?:,\s*|\s+|T)?(?:{_FIRST}|{_ZONE}"
    rf"|\d{{1,2}}(?![\d:.])(?=,?\s+(?:\d|{_FIRST}))|\d{{4}}(?![\d:.])))*",
    re.IGNORECASE,
)


@functools.lru_cache(maxsize=20_000)
def parse(text: str) -> Pattern:
    """An expected line as it was written. Blanks at its end mean nothing.

    Raises:
        BadMask: it is none.
    """
    text = text.rstrip()
    whole = re.search(r"(?:^|\s)(\\*)\((any\*|re|glob|esc)\)$", text)
    if whole and len(whole[1]) % 2 == 0 and not whole[1]:
        before = text[: whole.start()]
        if whole[2] == "any*":
            if before.strip() not in ("", "..."):
                raise BadMask(
                    "(any*) is for whole lines: nothing but '...' may stand before it",
                    whole.start(),
                    "(any) for the rest of this line, (any*) on a line of its own",
                )
            return Pattern("span")
        if whole[2] == "re":
            user_regex(PARAM.sub("x", before))
            return Pattern("re", regex=before)
        if whole[2] == "glob":
            return Pattern("line", _tabbed(_merged(_glob(before))))
        return Pattern("line", _tabbed((Token("lit", _unescaped(before)),)))
    tokens = _tabbed(_merged(_tokens(text)))
    last = tokens[-1] if tokens else None
    if last is not None and last.kind == "numbers":
        rest = tokens[:-1]
        if rest and rest[-1].kind == "lit":
            rest = (*rest[:-1], Token("lit", rest[-1].text.rstrip()))
        if any(token.kind not in ("lit", "param") for token in rest):
            raise BadMask(
                "(num rel=...) for all numbers of a line stands with no other mask",
                hint="give each number its own: (num 1.5 rel=1e-8)",
            )
        if not any(token.kind == "param" or ANY_NUMBER.search(token.text) for token in rest):
            raise BadMask("a tolerance needs its number", hint="(num 1.5 rel=1e-8), or just (num)")
        return Pattern("numbers", (*rest, last))
    for token in tokens:
        if token.kind == "numbers":
            raise BadMask(
                "a tolerance needs its number",
                text.find("(num"),
                "(num 1.5 rel=1e-8), or at the end of the line for all numbers before it",
            )
    return Pattern("line", _loosened(tokens))


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        found = LOOKS.search(text, at)
        if found is None:
            yield from _dollars(text[at:])
            return
        start = found.start()
        slashes = 0
        while start - slashes > at and text[start - slashes - 1] == "\\":
            slashes += 1
        yield from _dollars(text[at : start - slashes])
        if slashes:
            yield Token("lit", "\\" * (slashes // 2))
        if slashes % 2:  # not a mask: its text
            yield Token("lit", "(")
            at = start + 1
            continue
        token, at = _mask(text, start)
        yield token


def _mask(text: str, at: int) -> tuple[Token, int]:
    if found := MASK.match(text, at):
        return Token(found[1], name=found[2] or ""), found.end()
    if text.startswith("(num", at):
        found = NUM.match(text, at)
        if found is None:
            raise BadMask("a '(num' without its ')'", at)
        return _num(found[1], at), found.end()
    if text.startswith("(re", at) and not text.startswith("(re)", at):
        found = RE.match(text, at)
        if found is None:
            raise BadMask("a '(re /' without its '/)'", at, r"(re /[a-z]+/), \/ for a slash in it")
        source = found[1].replace("\\/", "/")
        try:
            user_regex(source)
        except BadMask as error:
            raise BadMask(error.why, at, error.hint)
        return Token("re", source, name=found[2] or ""), found.end()
    end = text.index(")", at) + 1
    # Of a whole line, but not with a blank before it.
    raise BadMask(
        f"{text[at:end]} is for a whole line: a blank stands before it",
        at,
        f"\\{text[at:end]} if the text itself is meant",
    )


def _num(args: str, at: int) -> Token:
    rel = absolute = -1.0
    literal = name = ""
    words = args.split()
    while words:
        word = words.pop(0)
        key, _, value = word.partition("=")
        if word == "as" and words and re.fullmatch(NAME, words[0]) and not name:
            name = words.pop(0)
        elif key in ("rel", "abs") and value and A_NUMBER.fullmatch(value) and value[0] != "-":
            if key == "rel":
                rel = number(value)
            else:
                absolute = number(value)
        elif ANY_NUMBER.fullmatch(word) and not literal:
            literal = word
        else:
            raise BadMask(
                f"'{word}' is no part of (num)", at, "(num), (num 1.5 rel=1e-8 abs=0 as NAME)"
            )
    given = rel >= 0 or absolute >= 0
    if not literal and given:
        if name:
            raise BadMask("a tolerance needs its number", at, f"(num 1.5{args})")
        return Token("numbers", "", max(rel, 0.0), max(absolute, 0.0))
    if literal and not given:
        rel = REL
    return Token("num", literal, max(rel, 0.0), max(absolute, 0.0), name)


def _dollars(text: str) -> Iterator[Token]:
    at = 0
    for found in DOLLAR.finditer(text):
        if found[0] == "${":
            continue  # no name follows: as it is
        if found.start() > at:
            yield Token("lit", text[at : found.start()])
        yield Token("param", found[1]) if found[1] else Token("lit", "$")
        at = found.end()
    if at < len(text):
        yield Token("lit", text[at:])


def _glob(text: str) -> Iterator[Token]:
    for found in re.finditer(r"\\[*?\\]|\.\.\.|\*|\?|\$\$|\$\{\w+\}|.", text):
        part = found[0]
        if part in ("*", "..."):
            yield Token("any")
        elif part == "?":
            yield Token("one")
        elif part[0] == "\\" and len(part) == 2:
            yield Token("lit", part[1])
        else:
            yield from _dollars(part)


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "a": "\a", "b": "\b", "0": "\0"}


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        return _ESCAPES.get(found[2], found[2])

    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.))", one, text)


def _merged(tokens: Iterator[Token]) -> tuple[Token, ...]:
    done: list[Token] = []
    for token in tokens:
        if token.kind == "lit" and not token.text:
            continue
        if done and token.kind == "lit" and done[-1].kind == "lit":
            done[-1] = Token("lit", done[-1].text + token.text)
        elif not (done and token == done[-1] == Token("any")):
            done.append(token)
    return tuple(done)


def _tabbed(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    """Tabs as what was seen has them: the blanks that a terminal shows. Beside masks, whose width
    nobody knows yet, any number of blanks."""
    if all(token.kind == "lit" for token in tokens):
        return tuple(token._replace(text=token.text.expandtabs(8)) for token in tokens)
    done: list[Token] = []
    for token in tokens:
        if token.kind != "lit" or "\t" not in token.text:
            done.append(token)
            continue
        for part in re.split(r"([ \t]*\t[ \t]*)", token.text):
            if "\t" in part:
                done.append(Token("blanks"))
            elif part:
                done.append(token._replace(text=part))
    return tuple(done)


_AS_WIDE_AS_IT_IS = ("num", "int", "time")  # programs pad them: blanks beside are of any number


def _loosened(tokens: tuple[Token, ...]) -> tuple[Token, ...]:
    done: list[Token] = []
    for at, token in enumerate(tokens):
        if token.kind != "lit":
            done.append(token)
            continue
        text, after = token.text, []
        if at + 1 < len(tokens) and tokens[at + 1].kind in _AS_WIDE_AS_IT_IS:
            bare = text.rstrip(" \t")
            if len(bare) < len(text):
                # At the beginning of a line there may be none: the number fills its column.
                after = [Token("blanks" if bare or at else "indent")]
            elif not text and not at:
                after = [Token("indent")]
            text = bare
        if at and tokens[at - 1].kind in _AS_WIDE_AS_IT_IS:
            bare = text.lstrip(" \t")
            if len(bare) < len(text):
                done.append(Token("blanks"))
            text = bare
        if text:
            done.append(Token("lit", text))
        done += after
    if done and done[0].kind in _AS_WIDE_AS_IT_IS:
        done.insert(0, Token("indent"))
    return tuple(done)


def escaped(line: str) -> str:
    """What is to be written so that exactly ``line`` is expected."""
    text = LOOKS.sub(lambda found: "\\" + found[0], _doubled(line.rstrip()))
    return dollars_escaped(text)


def _doubled(line: str) -> str:
    """Backslashes before what looks like a mask, twice."""
    parts, at = [], 0
    for found in LOOKS.finditer(line):
        start = found.start()
        slashes = len(line[at:start]) - len(line[at:start].rstrip("\\"))
        parts += [line[at:start], "\\" * slashes]
        at = start
    return "".join([*parts, line[at:]])


def dollars_escaped(text: str) -> str:
    """Text that is typed, or expected, with no parameters in it."""
    return re.sub(rf"\$\$|\$(?=\{{{NAME}\}})", lambda found: found[0] * 2, text)


def expanded(text: str, values: Mapping[str, str]) -> str:
    """Text to type, its parameters filled in.

    Raises:
        ScriptError: one has no value: what was to capture it did not come.
    """

    def value(name: str) -> str:
        if name not in values:
            raise ScriptError(f"${{{name}}} has no value: the line that captures it did not come")
        return values[name]

    return "".join(value(t.text) if t.kind == "param" else t.text for t in _dollars(text))


def shown(text: str, values: Mapping[str, str]) -> str:
    """The same for a person; what has no value yet stands as it was written."""
    return "".join(
        values.get(t.text, "${" + t.text + "}") if t.kind == "param" else t.text
        for t in _dollars(text)
    )


def params(text: str) -> Iterator[tuple[str, int]]:
    """The parameters in a text to type, and their columns from 0."""
    for found in DOLLAR.finditer(text):
        if found[1]:
            yield found[1], found.start()


def number(text: str) -> float:
    """A number as programs print it; Fortran's D is an E."""
    return float(text.lower().replace("d", "e") if "n" not in text.lower() else text)


# --------------------------------------------------------------------------------------- regexes


@functools.lru_cache(maxsize=1000)
def user_regex(source: str) -> re.Pattern[str]:
    """A user's regex, compiled, unless it could take for ever: a repetition without end directly in
    another one (``(a+)*``) is refused. Who matches it cuts lines off somewhere.

    Raises:
        BadMask: it is none, or one of these.
    """
    try:
        with catch_warnings():
            simplefilter("ignore")  # "possible nested set": as Python has always read it
            parsed = _parser.parse(source)
            compiled = re.compile(source)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadMask(f"/{source}/ is no regular expression: {error}")
    if _explodes(parsed, False):
        raise BadMask(
            f"/{source}/ repeats a repetition: it could take for ever",
            hint="one + or * is enough: (a+)* is a*",
        )
    return compiled


_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")


def _explodes(parsed: object, repeated: bool) -> bool:
    if isinstance(parsed, tuple) and len(parsed) == 2 and str(parsed[0]) in _REPEATS:
        low, high, inner = parsed[1]
        many = high > 10 and high != low
        return (many and repeated) or _explodes(inner, repeated or many)
    if isinstance(parsed, (str, bytes, int)) or parsed is None:
        return False
    if isinstance(parsed, (tuple, list, _parser.SubPattern)):
        return any(_explodes(item, repeated) for item in parsed)
    return False
