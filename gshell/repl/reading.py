"""A typed line as words, the way a shell reads it: quotes, `\\`, `$NAME`, `~`, patterns, `#`. Pure.

What a shell would do beyond that (pipes, redirections, `;`) is not done here: where it begins is
said, and a shell gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

_BLANK = " \t\n"
_SHELL_S = "|><;&"  # unquoted, these are for a shell
_OPEN, _CLOSE = "([{", ")]}"
MAX_LINE = 1 << 16  # characters; what is pasted by mistake is not looked at for minutes


class Word(NamedTuple):
    """One word of a line."""

    text: str
    start: int
    end: int
    """Where it stands in the line."""
    plain: bool
    """No quote and no backslash in it: it may be an alias, a `%` id, a `~`."""
    pattern: str = ""
    """It has unquoted `*`, `?` or `[`: it as a pattern for `glob`."""


class Line(NamedTuple):
    """What a command line has in it."""

    words: list[Word]
    shell: int = -1
    """Where the part begins that is for a shell; -1: there is none."""
    quote: str = ""
    """A quote that is still open: `'` or `"`; a backslash at the end: `\\`."""
    depth: int = 0
    """Brackets that are still open."""

    @property
    def open(self) -> bool:
        """Is there more to come?"""
        return bool(self.quote) or self.depth > 0


def read(text: str, env: Mapping[str, str] | None = None) -> Line:
    """``text``, one command, as words. ``env``: what `$NAME` stands for; None: it stays."""
    words: list[Word] = []
    at, size, depth = 0, len(text), 0
    while at < size:
        char = text[at]
        if char in _BLANK:
            at += 1
            continue
        if text.startswith("\\\n", at):
            at += 2
            continue
        if char == "#":
            at = _line_end(text, at)
            continue
        if char in _SHELL_S or (char.isdigit() and text[at + 1 : at + 2] in (">", "<")):
            return _rest_for_shell(words, text, at, depth)
        word, at, quote, brackets = _word(text, at, env)
        words.append(word)
        depth = max(0, depth + brackets)
        if quote:
            return Line(words, -1, quote, depth)
    return Line(words, -1, "", depth)


def _rest_for_shell(words: list[Word], text: str, at: int, depth: int) -> Line:
    """Is it whole? Its quotes are read as ours are."""
    look, quote = at, ""
    while look < len(text):
        if text[look] in _BLANK or text[look] in _SHELL_S:
            look += 1
        elif text[look] == "#":
            look = _line_end(text, look)
        else:
            _, look, quote, _ = _word(text, look, None)
    if not quote and text.rstrip()[-1:] == "|":
        quote = "|"  # a pipe that leads nowhere yet
    return Line(words, at, quote, depth)


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _word(text: str, at: int, env: Mapping[str, str] | None) -> tuple[Word, int, str, int]:
    """The word that begins at ``at``: it, where it ends, the quote left open, its brackets."""
    start, size = at, len(text)
    out: list[str] = []
    pattern: list[str] = []
    plain, magic, depth = True, False, 0
    quote = ""

    def add(piece: str, quoted: bool) -> None:
        out.append(piece)
        pattern.append(_escaped(piece) if quoted else piece)

    while at < size:
        char = text[at]
        if quote == "'":
            if char == "'":
                quote = ""
            else:
                add(char, True)
            at += 1
        elif quote == '"':
            if char == '"':
                quote, at = "", at + 1
            elif char == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$", "`", "\n"):
                add("" if text[at + 1] == "\n" else text[at + 1], True)
                at += 2
            elif char == "$" and env is not None:
                value, at = _variable(text, at, env)
                add(value, True)
            else:
                add(char, True)
                at += 1
        elif char in _BLANK or char in _SHELL_S:
            break
        elif char == "\\":
            plain = False
            if at + 1 == size:
                quote, at = "\\", size
            else:
                if text[at + 1] != "\n":
                    add(text[at + 1], True)
                at += 2
        elif char in "'\"":
            plain, quote, at = False, char, at + 1
        elif char == "$" and env is not None:
            value, at = _variable(text, at, env)
            add(value, True)
        else:
            magic = magic or char in "*?["
            depth += (char in _OPEN) - (char in _CLOSE)
            add(char, False)
            at += 1
    word = Word("".join(out), start, at, plain, "".join(pattern) if magic else "")
    return word, at, quote, depth


def _variable(text: str, at: int, env: Mapping[str, str]) -> tuple[str, int]:
    """What stands for the ``$NAME`` at ``at``, and where it ends."""
    end = at + 1
    if text[end : end + 1] == "{":
        close = text.find("}", end)
        if close > 0 and text[end + 1 : close].isidentifier():
            return env.get(text[end + 1 : close], ""), close + 1
        return "$", end
    while end < len(text) and (text[end] == "_" or (text[end].isalnum() and text[end].isascii())):
        end += 1
    name = text[at + 1 : end]
    if not name or name[0].isdigit():
        return "$", at + 1
    return env.get(name, ""), end


def _escaped(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def is_open(text: str) -> bool:
    """Does this command go on in the next line?"""
    return len(text) < MAX_LINE and read(text).open


def commands(text: str) -> Iterator[tuple[int, str]]:
    """The commands in a text of several lines, each with the number of its first line, from 1.

    >>> list(commands("a\\nb 'c\\nd'\\n# e\\n"))
    [(1, 'a'), (2, "b 'c\\nd'")]
    """
    held, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        held, first = (held + "\n" + line, first) if held else (line, number)
        if not held.lstrip().startswith("!") and is_open(held):
            continue
        if held.strip() and not held.lstrip().startswith("#"):
            yield first, held
        held = ""
    if held.strip():
        yield first, held


def expanded(
    words: list[Word], home: str, matches: Callable[[str], list[str]], keep_from: int = 1 << 30
) -> list[str]:
    """The words as a program gets them. ``matches``: what a pattern stands for, here; what stands
    for nothing stays as it is. Words from ``keep_from`` on are no patterns."""
    out: list[str] = []
    for number, word in enumerate(words):
        text, pattern = word.text, word.pattern
        if word.plain and (text == "~" or text.startswith("~/")):
            text = home + text[1:]
            pattern = pattern and home + pattern[1:]
        found = sorted(matches(pattern)) if pattern and number < keep_from else []
        out += found or [text]
    return out


def quoted(text: str) -> str:
    """``text`` as one word of a line, with backslashes before what would be special."""
    special = _BLANK + _SHELL_S + "'\"\\$`*?[]#(){}!"
    if not text:
        return "''"
    if "\n" in text:
        return "'" + text.replace("'", "'\\''") + "'"
    shown = "".join("\\" + char if char in special else char for char in text)
    return "\\" + shown if shown[0] in "%~" else shown
