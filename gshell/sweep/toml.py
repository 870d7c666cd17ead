"""TOML files of people, read so that what is wrong with them can be said: file, line, key, and what
was probably meant. Knows no experiment."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize

_HEADER = re.compile(r"^\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=""")
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_KINDS = {
    str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false",
    list: "a list", dict: "a table",
}  # fmt: skip

Path = tuple[str, ...]
NTH = "#"  # of an array of tables: ("zip", "#0", "n") is n of the first [[zip]]


def nth(number: int) -> str:
    return f"{NTH}{number}"


def header(path: Path) -> str:
    """As a table's first line has it."""
    return "[" + ".".join(path) + "]"


class Document:
    """A file's tables and where their keys stand."""

    def __init__(self, text: str, name: str) -> None:
        """Raises: UsageError: it is no TOML."""
        self.name = sanitize(name)
        self._next = f"edit it, and  gshell sweep run --dry-run {sanitize(shlex.quote(name))}"
        try:
            self.tables: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r" *\(at (?:line (\d+), column \d+|end of document)\)$", str(error))
            words = str(error)[: found.start()] if found else str(error)
            last = text.rstrip().count("\n") + 1
            line = f":{found.group(1) or last}" if found else ""
            if found and found.group(1) is None:
                words += ": it is missing at the end, or a quote or bracket before it is not closed"
            hint = self._next
            if words.startswith("Unescaped"):
                hint = "between ' ' it stays as it is:  'time = (\\d+)'"
            raise UsageError(sanitize(words), hint, f"{self.name}{line}") from None
        except (ValueError, RecursionError) as error:  # a number of 5000 digits; 1000 brackets
            words = "too deeply nested" if isinstance(error, RecursionError) else str(error)
            raise UsageError(sanitize(words, 120), self._next, self.name) from None
        self._lines = _lines(text)

    def wrong(self, path: Path, words: str, hint: str | None = None) -> UsageError:
        """The error to raise: ``words`` about the key at ``path``."""
        line = None
        for end in range(len(path), 0, -1):
            line = self._lines.get(path[:end])
            if line is not None:
                break
        where = f"{self.name}:{line}" if line else self.name
        key = ".".join(sanitize(part) for part in path if not part.startswith(NTH))
        origin = f"{where}: {key}" if key else where
        return UsageError(words, hint or self._next, origin)

    def check(self, path: Path, table: Any, known: Mapping[str, tuple[type, ...]]) -> None:
        """``table`` has no key but ``known``'s, with values of those types.

        Raises:
            UsageError
        """
        if not isinstance(table, dict):
            raise self.wrong(path, "this is a table: " + header(path))
        for key, value in table.items():
            if key not in known:
                near = meant(key, known)
                also = f"; did you mean {near!r}?" if near else ""
                raise self.wrong(
                    (*path, key), f"there is no such key{also}", "one of " + ", ".join(known)
                )
            types = known[key]
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                wanted = " or ".join(dict.fromkeys(_KINDS[one] for one in types))
                raise self.wrong((*path, key), f"it should be {wanted}")


def read(path: str | os.PathLike[str]) -> tuple[str, Document]:
    """Its text, and what that says.

    Raises:
        UsageError: it cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise UsageError(
            f"{sanitize(name)}: {error.strerror}", hint="gshell help sweep run"
        ) from None
    except ValueError as error:  # also a NUL in its name
        why = "is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise UsageError(f"{sanitize(name)} {why}", hint="gshell help sweep run") from None
    return text, Document(text, name)


def meant(word: str, among: Iterable[str]) -> str:
    """Which of ``among`` was probably meant; empty if none is near."""
    return next(iter(difflib.get_close_matches(word, list(among), 1, 0.6)), "")


def _lines(text: str) -> dict[Path, int]:
    found: dict[Path, int] = {}
    table: Path = ()
    arrays: dict[Path, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if top := _HEADER.match(line):
            table = _parts(top.group(1))
            if line.lstrip().startswith("[["):
                arrays[table] = arrays.get(table, -1) + 1
                found.setdefault(table, number)
                table = (*table, nth(arrays[table]))
            for end in range(1, len(table) + 1):
                found.setdefault(table[:end], number)
        elif key := _KEY.match(line):
            path = (*table, *_parts(key.group(1)))
            for end in range(len(table) + 1, len(path) + 1):
                found.setdefault(path[:end], number)
    return found


def _parts(text: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(text))
