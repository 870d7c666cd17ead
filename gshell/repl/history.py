"""The file of lines that were typed, one each, and the search in it. Knows no prompt."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from gshell import config

MAX_BYTES = 1 << 20  # that are read; the file is cut to half of it when it is twice as long
MAX_SHOWN = 200


def path() -> str:
    return config.state_dir() + "/history"


def encoded(text: str) -> str:
    """As it stands in the file.

    >>> encoded("a\\\\n\\nb"), decoded(encoded("a\\\\n\\nb")) == "a\\\\n\\nb"
    ('a\\\\\\\\n\\\\nb', True)
    """
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def decoded(line: str) -> str:
    out = []
    at = 0
    while at < len(line):
        if line[at] == "\\" and at + 1 < len(line):
            out.append({"n": "\n", "r": "\r"}.get(line[at + 1], line[at + 1]))
            at += 2
        else:
            out.append(line[at])
            at += 1
    return "".join(out)


def wanted(text: str) -> bool:
    """Is it to be kept? What begins with a blank is nobody's business."""
    return bool(text.strip()) and not text.startswith((" ", "\t"))


def load() -> list[str]:
    """Oldest first; what is no text is left out."""
    try:
        with open(path(), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - MAX_BYTES))
            data = file.read()
    except OSError:
        return []
    lines = data.split(b"\n")
    if size > MAX_BYTES:
        del lines[0]  # half of one
    return [decoded(text) for line in lines if (text := line.decode("utf-8", "replace"))]


def append(text: str) -> None:
    """Keep a line. No prompt ends because its history cannot be written."""
    try:
        config.private_dir(config.state_dir())
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path(), flags, 0o600)
        try:
            if os.fstat(fd).st_mode & 0o077:
                os.fchmod(fd, 0o600)
            os.write(fd, encoded(text).encode("utf-8", "replace") + b"\n")
            long = os.fstat(fd).st_size > 2 * MAX_BYTES
        finally:
            os.close(fd)
        if long:
            kept = [encoded(one) for one in load()]
            config.write_private(path(), "\n".join(kept[len(kept) // 2 :]) + "\n")
    except Exception:  # a full disk, a directory that is not ours
        return


def search(pattern: str, lines: Iterable[str]) -> list[str]:
    """Lines that have all letters of ``pattern`` in their order, each line once: the closer these
    stand together the earlier, then the newer. ``lines``: oldest first. Small letters are large
    ones, too.

    >>> search("jba", ["jobs -a", "jobs", "jab"])
    ['jobs -a']
    """
    unique = list(dict.fromkeys(reversed(list(lines))))
    if not pattern:
        return unique[:MAX_SHOWN]
    ranked = []
    for age, line in enumerate(unique):
        spread = spread_of(pattern, line)
        if spread is not None:
            ranked.append((spread, age, line))
    ranked.sort(key=lambda row: row[:2])
    return [line for _, _, line in ranked[:MAX_SHOWN]]


def spread_of(pattern: str, line: str) -> int | None:
    """How many other letters stand between those of ``pattern``, at least; None: not all are
    there."""
    fold = pattern == pattern.lower()
    text = line.lower() if fold else line
    wanted = [char for char in pattern if char != " "]
    if not wanted:
        return 0
    best: int | None = None
    start = text.find(wanted[0])
    while start >= 0:
        end = _end(text, start, wanted)
        if end is None:
            break
        spread = end - start - len(wanted)
        best = spread if best is None else min(best, spread)
        start = text.find(wanted[0], start + 1)
    return best


def _end(text: str, at: int, wanted: Sequence[str]) -> int | None:
    for char in wanted:
        at = text.find(char, at)
        if at < 0:
            return None
        at += 1
    return at
