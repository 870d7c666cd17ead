"""InputSandbox and OutputSandbox: which files come along, and which come back. Touches no file."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import unquote, urlsplit

_GLOB = "*?["
_SCHEME = re.compile(r"(?i)(?!file:)[a-z][a-z0-9+.-]+://|(?:lfn|guid|sb):")


def is_glob(name: str) -> bool:
    return any(char in name for char in _GLOB)


def local_path(word: str, base: str = "") -> str:
    """The path, here, that an entry of an InputSandbox means; of one that is somewhere else its
    address, see `elsewhere`.

    Raises:
        ValueError: it is nowhere.
    """
    if not word or word.endswith("/"):
        raise ValueError(f"{word!r} is no file: to bring a directory, pack it")
    if base and not (elsewhere(word) or word.startswith(("/", "file:")) or "://" in word):
        word = base.rstrip("/") + "/" + word
    if word.startswith("file:") and "://" not in word:
        word = "file://" + word.removeprefix("file:")
    if elsewhere(word):
        return word
    if "://" not in word:
        while word.startswith("./"):  # "./a" and "a" are one file
            word = word[2:].lstrip("/")
        return word
    parts = urlsplit(word)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{word}: a file on {parts.netloc}, not here")
    return unquote(parts.path)


def elsewhere(path: str) -> str:
    """Why what `local_path` found cannot be sent along; empty: it is a path here."""
    if not _SCHEME.match(path):
        return ""
    return f"{path}: only files from here are sent; fetch it first, or let the job fetch it"


def inside(name: str) -> bool:
    """Does it name something in the job's own directory, or below it?"""
    parts = name.split("/")
    return bool(name) and not name.startswith("/") and ".." not in parts and "\0" not in name


def twice(paths: list[str]) -> str:
    """A file name that two of them have: in the job's directory there is one place for it."""
    seen: dict[str, str] = {}
    for path in paths:
        if is_glob(path):
            continue
        base = posixpath.basename(path)
        if seen.setdefault(base, path) != path:
            return base
    return ""


def destination(word: str) -> str:
    """Where an output goes: a path here; empty: it stays until it is fetched.

    Raises:
        ValueError: nobody could bring it there.
    """
    parts = urlsplit(word)
    if parts.scheme == "" and word:
        return word
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return unquote(parts.path)
    if parts.scheme == "gsiftp" and parts.netloc.partition(":")[0] == "localhost":
        return ""  # kept where it was made
    raise ValueError(f"{word}: outputs stay with the job; `gshell fetch ID DIR` puts them anywhere")
