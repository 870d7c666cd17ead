"""config.toml: the few settings that a person may keep. Knows no command and no terminal.

Read only where it is there: its reader costs more to import than a list of jobs.
"""

from __future__ import annotations

import os

from gshell import config

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COLORS = ("auto", "always", "never")


class Wrong:
    """What is the matter with a file: where, what, what to write instead."""

    __slots__ = ("hint", "line", "path", "what")

    def __init__(self, path: str, line: int, what: str, hint: str = "") -> None:
        self.path = path
        self.line = line
        self.what = what
        self.hint = hint

    @property
    def origin(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class Settings:
    """What the file says, and what is the matter with it. Nothing wrong in it counts."""

    __slots__ = ("alias", "ascii", "color", "lines", "path", "wrong")

    def __init__(self, path: str) -> None:
        self.path = path
        self.color = ""  # not said
        self.ascii = False
        self.alias: dict[str, list[str]] = {}
        self.lines: dict[str, int] = {}
        """Where a key stands: ``color``, ``alias.j``."""
        self.wrong: list[Wrong] = []


def file_path() -> str:
    return config.config_dir() + "/config.toml"


def load() -> Settings:
    """The file of this user; empty settings where there is none."""
    path = file_path()
    if not os.path.exists(path):
        return Settings(path)
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except OSError as error:
        found = Settings(path)
        found.wrong.append(Wrong(path, 0, f"cannot be read: {error.strerror}", f"ls -l {path}"))
        return found
    return read(data, path)


def read(data: bytes, path: str) -> Settings:
    """What ``data`` says; pure."""
    import tomllib

    found = Settings(path)
    try:
        text = data.decode("utf-8-sig")  # editors of Windows begin so
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        found.wrong.append(Wrong(path, line, "is no UTF-8 text"))
        return found
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, line = _place(str(error), text)
        found.wrong.append(Wrong(path, line, f"is no TOML: {what}", "gshell help config"))
        return found
    found.lines = _lines(text)
    for key, value in values.items():
        _setting(found, key, value)
    return found


def _setting(found: Settings, key: str, value: Any) -> None:
    if key == "color":
        if value in COLORS:
            found.color = value
        else:
            _bad(found, key, f"is not one of {', '.join(COLORS)}: {value!r}", 'color = "auto"')
    elif key == "ascii":
        if isinstance(value, bool):
            found.ascii = value
        else:
            _bad(found, key, f"is neither true nor false: {value!r}", "ascii = true")
    elif key == "alias" and isinstance(value, dict):
        for name, words in value.items():
            _alias(found, name, words)
    elif key == "alias":
        _bad(found, key, "is a table", '[alias]  and below it  j = "jobs -a"')
    else:
        import difflib

        near = next(iter(difflib.get_close_matches(key, ("color", "ascii", "alias"), 1, 0.6)), "")
        if key == "colour":
            near = "color"
        _bad(
            found, key, "means nothing", f"did you mean {near!r}?" if near else "gshell help config"
        )


def _alias(found: Settings, name: str, words: Any) -> None:
    import shlex

    key = f"alias.{name}"
    if not isinstance(words, str):
        _bad(found, key, f"is not a string: {words!r}", f'{name} = "jobs -a"')
        return
    try:
        split = shlex.split(words)
    except ValueError as error:
        _bad(found, key, f"cannot be split into words: {str(error).lower()}")
        return
    if not split or split[0] == "gshell":
        rest = " ".join(split[1:])
        _bad(found, key, "is a command without the word gshell", f'{name} = "{rest or "jobs -a"}"')
    else:
        found.alias[name] = split


def _bad(found: Settings, key: str, what: str, hint: str = "") -> None:
    found.wrong.append(Wrong(found.path, found.lines.get(key, 0), f"{key} {what}", hint))


def _lines(text: str) -> dict[str, int]:
    """Where each key begins; good enough for a file of ours."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line.startswith("[") and line.rstrip().endswith("]"):
            table = line.strip("[] \t")
            lines.setdefault(table, number)
        elif "=" in line and not line.startswith("#"):
            key = line.partition("=")[0].strip().strip("\"'")
            lines.setdefault(f"{table}.{key}" if table else key, number)
    return lines


def _place(message: str, text: str) -> tuple[str, int]:
    """``... (at line 3, column 1)`` as (..., 3)."""
    what, _, where = message.partition(" (at ")
    number = where.removeprefix("line ").partition(",")[0]
    if number.isdigit():
        return what, int(number)
    return what, text.count("\n") + 1
