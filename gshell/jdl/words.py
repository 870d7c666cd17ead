r"""What stands in Executable and Arguments, as words of a command.

The grid's wrappers put both into a shell script, so they are shell text: quotes, backslashes and
``$VAR`` count, and ``& | < > ;`` have to be quoted (in the guide's own way with three backslashes).
Nothing else of a shell is taken: no backquotes, no globs, no ``$(...)``.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})")
_SPECIAL = "&|<>;()"


class Word(NamedTuple):
    text: str
    """With ``$`` as it is."""
    shell: str
    """As double-quoted shell text in which only the variables live."""
    live: bool
    """Has it a variable in it?"""


def split(text: str) -> list[Word]:
    """
    Raises:
        ValueError: it is no list of words; says what is wrong.
    """
    found: list[Word] = []
    plain: list[str] = []
    shell: list[str] = []
    live = started = False
    quote = ""
    pos = 0

    def add(char: str) -> None:
        plain.append(char)
        shell.append("\\" + char if char in '"\\$`' else char)

    while pos < len(text):
        char = text[pos]
        pos += 1
        if quote == "'":
            if char == "'":
                quote = ""
            else:
                add(char)
        elif char == "\\":
            if pos == len(text):
                raise ValueError("ends with a backslash")
            if text.startswith("\\\\", pos) and text[pos + 2 : pos + 3] in tuple(_SPECIAL):
                pos += 2  # \\\& of the guide: a backslash for each of the shells on the way
            elif quote and text[pos] not in '"\\$`':
                add("\\")
            add(text[pos])
            pos += 1
            started = True
        elif char == quote:
            quote = ""
        elif char == "`":
            raise ValueError("has a backquote: commands in it are not run")
        elif char == "$" and (variable := _VARIABLE.match(text, pos - 1)):
            plain.append(variable.group())
            shell.append("${" + variable.group().strip("${}") + "}")
            live = started = True
            pos = variable.end()
        elif char == "$" and text.startswith(("(", "{"), pos):
            raise ValueError(f"has ${text[pos]}: only $NAME and ${{NAME}} are filled in")
        elif quote:
            add(char)
        elif char in "\"'":
            quote = char
            started = True
        elif char in " \t\r\n":
            if started:
                found.append(Word("".join(plain), '"' + "".join(shell) + '"', live))
            plain, shell, live, started = [], [], False, False
        elif char in _SPECIAL:
            raise ValueError(f"has {char} outside quotes: it is no shell line; to pass it quote it")
        else:
            add(char)
            started = True
    if quote:
        raise ValueError(f"has a {quote} without its end")
    if started:
        found.append(Word("".join(plain), '"' + "".join(shell) + '"', live))
    return found


def argv(words: list[Word]) -> list[str]:
    """To be executed: as they are, or by a shell that fills in the variables of the place where the
    job runs."""
    if not any(word.live for word in words):
        return [word.text for word in words]
    command = " ".join(word.shell for word in words)
    return ["/bin/sh", "-c", f"exec {command}", words[0].text]


def plain(text: str) -> Word:
    """A word that is not split: an Executable, in which variables count and quotes do not."""
    pieces = []
    at = 0
    for variable in _VARIABLE.finditer(text):
        pieces.append(re.sub(r'([\\"$`])', r"\\\1", text[at : variable.start()]))
        pieces.append("${" + variable.group().strip("${}") + "}")
        at = variable.end()
    pieces.append(re.sub(r'([\\"$`])', r"\\\1", text[at:]))
    return Word(text, '"' + "".join(pieces) + '"', at > 0)


def join(words: list[Word]) -> str:
    """As one line for a shell."""
    return " ".join(w.shell if w.live else shlex.quote(w.text) for w in words)
