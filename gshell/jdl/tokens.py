"""A job description's text as tokens that know where they stand. Knows no grammar."""

from __future__ import annotations

import re
from typing import NamedTuple

from gshell.jdl.errors import At, JdlError

MAX_TEXT = 1 << 20  # characters of one description; the longest in use have some thousand nodes

NAME, QUOTED, STRING, NUMBER, OP, END, BAD = (
    "name", "quoted name", "string", "number", "operator", "end", "bad",
)  # fmt: skip

# An editor's byte order mark is no text, nor are the blanks that come with what a page shows.
_SPACE = re.compile(r"[ \t\r\n\f\v\u00a0\u200b\u2028\u2029\u202f\u3000\ufeff]+")
_COMMENT = re.compile(r"(?:#|//)[^\n]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(
    r"(0[xX][0-9A-Fa-f]+)"
    r"|((?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)"
    r"|(\d+)([KMGTkmgt]?)"
)
_OPS = (
    "=?=", "=!=", ">>>", "||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "?:",
    *"[]{}()=;,.<>+-*/%!~|^&?:",
)  # fmt: skip
_OP = re.compile("|".join(re.escape(op) for op in _OPS))
_SCALE = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_AFTER_A_STRING = re.compile(
    r"(?:[ \t\r\n]|(?:#|//)[^\n]*\n)*(?:[\]});,.:?=!<>&|+\"]|$|is\b|isnt\b)"
)


class Token(NamedTuple):
    kind: str
    text: str
    """As written; of a string and a quoted name what it means."""
    at: At
    end: At
    """Where it ends: of what is missing there, this is the place."""
    value: int | float | str | None = None


def tokenize(text: str, name: str) -> list[Token]:
    """All of it, and an END; or up to what is no token, and a BAD: what is wrong there counts only
    when nothing before it is.

    Raises:
        JdlError: it is too long.
    """
    reader = _Reader(text, name)
    if len(text) > MAX_TEXT:
        raise JdlError(f"more than {MAX_TEXT >> 20} MiB: this is no job description", name)
    try:
        return reader.read()
    except JdlError as error:
        return [*reader.found, Token(BAD, "", error.at, error.at, error.text)]


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.pos = 0
        self.line = 1
        self.line_start = 0
        self.found: list[Token] = []

    def error(self, what: str, at: At) -> JdlError:
        return JdlError(what, self.name, at)

    def here(self) -> At:
        return At(self.line, self.pos - self.line_start + 1)

    def skip(self, to: int) -> None:
        """Go on at ``to``, counting lines."""
        lines = self.text.count("\n", self.pos, to)
        if lines:
            self.line += lines
            self.line_start = self.text.rindex("\n", self.pos, to) + 1
        self.pos = to

    def read(self) -> list[Token]:
        while self.blank():
            pass
        while self.pos < len(self.text):
            self.token()
            while self.blank():
                pass
        self.found.append(Token(END, "", self.here(), self.here()))
        return self.found

    def blank(self) -> bool:
        """Skip one piece of white space or comment."""
        if found := _SPACE.match(self.text, self.pos) or _COMMENT.match(self.text, self.pos):
            self.skip(found.end())
            return True
        if not self.text.startswith("/*", self.pos):
            return False
        end = self.text.find("*/", self.pos + 2)
        if end < 0:
            raise self.error("this comment has no end: */ is missing", self.here())
        self.skip(end + 2)
        return True

    def token(self) -> None:
        at = self.here()
        char = self.text[self.pos]
        if char in "\"'":
            self.quoted(char, at)
        elif found := _NAME.match(self.text, self.pos):
            self.add(NAME, found.group(), at, found.end())
        elif (found := _NUMBER.match(self.text, self.pos)) and char != ".":
            self.number(found, at)
        elif found and not self.after_operand():
            self.number(found, at)  # .5
        elif found := _OP.match(self.text, self.pos):
            self.add(OP, found.group(), at, found.end())
        elif char in "\u201c\u201d\u2018\u2019\u00ab\u00bb\u201e":
            raise self.error(f'{char} is a typographic quote: write " instead', at)
        else:
            raise self.error(f"{char!r} means nothing here", at)

    def after_operand(self) -> bool:
        """Is a dot here the one between two names?"""
        last = self.found[-1] if self.found else None
        return last is not None and (last.kind != OP or last.text in ")]}")

    def add(self, kind: str, text: str, at: At, to: int, value: int | float | str | None = None):  # type: ignore[no-untyped-def]
        self.skip(to)
        self.found.append(Token(kind, text, at, self.here(), value))

    def number(self, found: re.Match[str], at: At) -> None:
        hexadecimal, real, whole, scale = found.groups()
        value: int | float
        if hexadecimal:
            value = int(hexadecimal, 16)
        elif real:
            value = float(real)
        elif len(whole) > 19:
            raise self.error(f"{whole[:30]} is too large a number", at)
        else:
            value = int(whole) * _SCALE[scale.lower()]
        follows = self.text[found.end() : found.end() + 1]
        if follows.isalnum() or follows == "_":
            word = re.compile(r"\w+").match(self.text, self.pos)
            shown = word.group() if word else found.group()
            why = "is neither a number nor a name (a text stands in quotes)"
            raise self.error(f"{shown[:40]} {why}", at)
        if (isinstance(value, int) and value >= 1 << 63) or value in (float("inf"),):
            raise self.error(f"{found.group()[:30]} is too large a number", at)
        self.add(NUMBER, found.group(), at, found.end(), value)

    def no_end(self, what: str, quote: str, at: At) -> JdlError:
        """A string without its end; or its end is there, and the beginning is not."""
        last = self.found[-1] if self.found else None
        if last is not None and last.end == at and last.kind in (NAME, NUMBER):
            return self.error(f"{quote} right after {last.text}: is the one before it missing?", at)
        return self.error(f"this {what} has no end in its line: {quote} is missing", at)

    def quoted(self, quote: str, at: At) -> None:
        """A string, or a name in single quotes. It may go over lines if its end is a likely one:
        a forgotten quote must be found where it is missing, not at the end of the file."""
        end = self.pos + 1
        text = self.text
        pieces: list[str] = []
        over_lines = False
        what = "string" if quote == '"' else "quoted name"
        while True:
            if end >= len(text):
                raise self.no_end(what, quote, at)
            char = text[end]
            if char == quote:
                break
            if char == "\\" and end + 1 < len(text):
                piece, end = _escaped(text, end + 1)
                pieces.append(piece)
                continue
            over_lines |= char == "\n"
            pieces.append(char)
            end += 1
        value = "".join(pieces)
        if over_lines and (quote == "'" or not _AFTER_A_STRING.match(text, end + 1)):
            raise self.no_end(what, quote, at)
        if "\0" in value:
            raise self.error(f"this {what} has a NUL in it", at)
        self.add(STRING if quote == '"' else QUOTED, value, at, end + 1, value)


def _escaped(text: str, pos: int) -> tuple[str, int]:
    """What the escape whose letter is at ``pos`` means, and where it ends."""
    char = text[pos]
    if char in "01234567":
        end = pos
        while end < pos + 3 and end < len(text) and text[end] in "01234567":
            end += 1
        return chr(int(text[pos:end], 8) & 0xFF), end
    if char == "\n":
        return "", pos + 1  # a line that goes on
    return _ESCAPES.get(char, char), pos + 1
