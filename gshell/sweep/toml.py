"""TOML files of people, read so that what is wrong with them can be said: file, line, key, and what
was probably meant. Knows no experiment."""

from __future__ import annotations

import difflib
import os
import re
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


class Document:
    """A file's tables and where their keys stand."""

    def __init__(self, text: str, name: str) -> None:
        """Raises: UsageError: it is no TOML."""
        self.name = sanitize(name)
        try:
            self.tables: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+), column \d+\)$", str(error))
            line = f":{found.group(1)}" if found else ""
            words = str(error)[: found.start()].strip() if found else str(error)
            raise UsageError(sanitize(words), origin=f"{self.name}{line}") from None
        self._lines = _lines(text)

    def wrong(self, path: Path, words: str, hint: str | None = None) -> UsageError:
        """The error to raise: ``words`` about the key at ``path``."""
        line = None
        for end in range(len(path), 0, -1):
            line = self._lines.get(path[:end])
            if line is not None:
                break
        where = f"{self.name}:{line}" if line else self.name
        key = ".".join(map(sanitize, path))
        return UsageError(words, hint, origin=f"{where}: {key}" if key else where)

    def check(self, path: Path, table: Any, known: Mapping[str, tuple[type, ...]]) -> None:
        """``table`` has no key but ``known``'s, with values of those types.

        Raises:
            UsageError
        """
        if not isinstance(table, dict):
            raise self.wrong(path, "this is a table: [" + ".".join(path) + "]")
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
        with open(name, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise UsageError(
            f"{sanitize(name)}: {error.strerror}", hint="gshell help sweep run"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{sanitize(name)} is no text in UTF-8") from None
    return text, Document(text, name)


def meant(word: str, among: Iterable[str]) -> str:
    """Which of ``among`` was probably meant; empty if none is near."""
    return next(iter(difflib.get_close_matches(word, list(among), 1, 0.6)), "")


def _lines(text: str) -> dict[Path, int]:
    found: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header.group(1))
            for end in range(1, len(table) + 1):
                found.setdefault(table[:end], number)
        elif key := _KEY.match(line):
            path = (*table, *_parts(key.group(1)))
            for end in range(len(table) + 1, len(path) + 1):
                found.setdefault(path[:end], number)
    return found


def _parts(text: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(text))
