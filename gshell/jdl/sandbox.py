"""InputSandbox and OutputSandbox: which files come along, and which come back. Touches no file."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote, urlsplit

_GLOB = "*?["


def is_glob(name: str) -> bool:
    return any(char in name for char in _GLOB)


def local_path(word: str, base: str = "") -> str:
    """The path, here, that an entry of an InputSandbox means.

    Raises:
        ValueError: it is somewhere else, or nowhere.
    """
    if not word or word.endswith("/"):
        raise ValueError(f"{word!r} is no file: to bring a directory, pack it")
    if base and "://" not in word and not word.startswith("/"):
        word = base.rstrip("/") + "/" + word
    if word.startswith("file:") and "://" not in word:
        word = "file://" + word.removeprefix("file:")
    if "://" not in word:
        return word
    parts = urlsplit(word)
    if parts.scheme.lower() != "file":
        raise ValueError(
            f"{word}: only files from here are sent; fetch it first, or let the job fetch it"
        )
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{word}: a file on {parts.netloc}, not here")
    return unquote(parts.path)


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
    raise ValueError(f"{word}: outputs come back to you; `gshell fetch ID DIR` puts them anywhere")
