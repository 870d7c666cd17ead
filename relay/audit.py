"""The audit log: who did what to what, one JSON line each, every line chained to the one before.

A line's ``hash`` is SHA-256 over the rest of it, and the rest has the ``prev``ious line's: what is
changed, taken out, put in or moved later breaks the chain from there on. That the end was cut off
shows against the last hash, which the journal keeps. Knows no broker.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gshell.errors import GshellError

NAME = "audit.log"
MAX_BYTES = 16 << 20  # then the file becomes NAME.1, and NAME.1 becomes NAME.2
KEEP = 64  # files; a gigabyte, which is some five million entries
REFUSED_PER_MINUTE = 30  # of one who is refused again and again; the rest is counted
_HELD = 1000  # entries kept in memory while the disk takes none

FIRST = "0" * 64  # what the very first entry says comes before it

Line = dict[str, Any]


class Entry(NamedTuple):
    at: float
    who: str
    source: str
    verb: str
    object: str
    result: str
    detail: dict[str, Any]


class Mark(NamedTuple):
    """Where a chain ends: kept in the journal, so that a cut end shows."""

    seq: int
    hash: str
    first: int
    """The oldest entry that was not rotated away."""


def sealed(entry: Entry, seq: int, prev: str) -> Line:
    """The line of an entry, with its hash."""
    line: Line = {
        "seq": seq, "at": round(entry.at, 3), "who": entry.who, "from": entry.source,
        "verb": entry.verb, "object": entry.object, "result": entry.result,
        "detail": entry.detail, "prev": prev,
    }  # fmt: skip
    return {**line, "hash": digest(line)}


def digest(line: Line) -> str:
    rest = {key: value for key, value in line.items() if key != "hash"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class AuditLog:
    """Owns the file. Invariant: what the file has is whole lines, chained; what it could not take
    yet is held back in order."""

    def __init__(self, path: str, mark: Mark | None, now: float) -> None:
        """Go on where ``mark`` says that it ended.

        Raises:
            GshellError: the file cannot be used.
        """
        self.path = path
        self._seq, self._prev, self._first = mark or Mark(0, FIRST, 1)
        self._held: deque[Entry] = deque()
        self._lost = 0
        self._refused: dict[str, tuple[float, int]] = {}  # who -> (minute's begin, how many)
        self._fd = self._open()
        last, torn = self._look_at_end()
        self._size = os.fstat(self._fd).st_size
        if torn:
            self.append([_own(now, "repaired", {"cut_bytes": torn})])
        # An entry that the journal doesn't know was written just before a crash: it counts. One
        # that only the journal knows was taken away: the chain goes on from the journal's.
        elif last is None and self._seq:
            self.append([_own(now, "missing", {"after": 0, "until": self._seq})])
        elif last is not None and last < self._seq:
            self.append([_own(now, "missing", {"after": last, "until": self._seq})])

    @property
    def mark(self) -> Mark:
        return Mark(self._seq, self._prev, self._first)

    def close(self) -> None:
        os.close(self._fd)

    def append(self, entries: Iterable[Entry]) -> Mark:
        """Write them down; returns where the chain ends now."""
        for entry in entries:
            if len(self._held) < _HELD:
                self._held.append(entry)
            else:
                self._lost += 1
        self._write()
        return self.mark

    def admit(self, entry: Entry) -> list[Entry]:
        """What is to be written of an entry: nothing, if somebody is refused over and over."""
        if entry.result == "ok":
            return [entry]
        key = entry.who or entry.source
        since, count = self._refused.get(key, (entry.at, 0))
        out = []
        if entry.at - since >= 60.0:
            if count > REFUSED_PER_MINUTE:
                more = {"refused_too": count - REFUSED_PER_MINUTE}
                out.append(entry._replace(at=since + 60.0, verb="log", object="", detail=more))
            since, count = entry.at, 0
        self._refused.pop(key, None)
        self._refused[key] = (since, count + 1)
        if len(self._refused) > 10_000:
            del self._refused[next(iter(self._refused))]
        if count < REFUSED_PER_MINUTE:
            out.append(entry)
        return out

    # -------------------------------------------------------------------------------------- writing

    def _write(self) -> None:
        if self._lost and self._held and len(self._held) < _HELD:
            self._held.append(_own(time.time(), "lost", {"entries": self._lost}))
            self._lost = 0
        seq, prev = self._seq, self._prev
        lines = []
        for entry in self._held:
            seq += 1
            line = sealed(entry, seq, prev)
            prev = line["hash"]
            lines.append(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        data = b"".join(lines)
        if not data:
            return
        try:
            if os.fstat(self._fd).st_size > self._size:
                os.ftruncate(self._fd, self._size)  # half a line, from when the disk was full
            if self._size and self._size + len(data) > MAX_BYTES:
                self._rotate()
            if os.write(self._fd, data) != len(data):
                return
            self._size += len(data)
        except (OSError, GshellError):
            return  # it is held back, and tried again with the next entry
        self._held.clear()
        self._seq, self._prev = seq, prev

    def _rotate(self) -> None:
        oldest = f"{self.path}.{KEEP}"
        if os.path.exists(oldest):
            self._first = _first_seq(f"{self.path}.{KEEP - 1}") or self._first
        for number in range(KEEP - 1, 0, -1):
            try:
                os.rename(f"{self.path}.{number}", f"{self.path}.{number + 1}")
            except FileNotFoundError:
                continue
        os.rename(self.path, f"{self.path}.1")
        fresh = self._open()
        os.close(self._fd)
        self._fd, self._size = fresh, 0

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path, flags, 0o600)
        except OSError as error:
            raise GshellError(
                f"cannot write the audit log {self.path}: {error.strerror}",
                hint=f"ls -l {self.path}",
            ) from None

    def _look_at_end(self) -> tuple[int | None, int]:
        """(number of the last whole line, bytes of a torn one, which are cut off)."""
        size = os.fstat(self._fd).st_size
        at = max(0, size - (1 << 20))
        tail = os.pread(self._fd, size - at, at)
        whole, newline, rest = tail.rpartition(b"\n")
        torn = len(rest)
        if torn:
            os.ftruncate(self._fd, size - torn)
        lines = [_parse(line) for line in whole.split(b"\n")] if newline else []
        if not lines and os.path.exists(f"{self.path}.1"):
            lines = [line for _, line in _lines(f"{self.path}.1")]
        return self._adopt([line for line in lines if line is not None]), torn

    def _adopt(self, lines: list[Line]) -> int | None:
        """Go on after these, if what the journal knows is among them: the last one's number."""
        if not lines:
            return None
        seq, hash = lines[-1].get("seq"), lines[-1].get("hash")
        known = not self._seq or any(
            line.get("seq") == self._seq and line.get("hash") == self._prev for line in lines
        )
        if not known or not isinstance(seq, int) or not isinstance(hash, str):
            return 0
        self._seq, self._prev = seq, hash
        return seq


def _own(at: float, result: str, detail: dict[str, Any]) -> Entry:
    """An entry of the log about itself."""
    return Entry(at, "", "", "log", "", result, detail)


# ------------------------------------------------------------------------------------------ reading


class Bad(NamedTuple):
    """The first thing that is wrong with a log."""

    path: str
    line: int
    """Counted from 1; 0: the file as such."""
    why: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.why}" if self.line else f"{self.path}: {self.why}"


def files(path: str) -> list[str]:
    """The log's files that there are, the oldest first."""
    numbered = (f"{path}.{number}" for number in range(KEEP, 0, -1))
    return [name for name in (*numbered, path) if os.path.exists(name)]


def verify(paths: list[str], mark: Mark | None = None) -> tuple[int, Bad | None]:
    """How many entries are good, and what is wrong after them, if anything is.

    ``mark``: what the journal says about the end; without it a cut end cannot be seen.
    """
    count, seq, prev = 0, None, None
    known = mark is None or mark.seq == 0
    for path in paths:
        number = 0
        for number, line in _lines(path):
            why = _wrong(line, seq, prev, mark)
            if why:
                return count, Bad(path, number, why)
            assert line is not None
            seq, prev, count = line["seq"], line["hash"], count + 1
            if mark is not None and seq == mark.seq:
                if prev != mark.hash:
                    return count, Bad(path, number, "it is not the entry that the relay wrote")
                known = True
        if number == 0 and path != paths[-1]:
            return count, Bad(path, 0, "it is empty")
    if not known:
        last = mark.seq if mark else 0
        return count, Bad(paths[-1] if paths else NAME, 0,
                          f"the end is missing: entries up to {last} were written")  # fmt: skip
    return count, None


def _wrong(line: Line | None, seq: int | None, prev: str | None, mark: Mark | None) -> str:
    if line is None:
        return "it is no entry"
    number = line.get("seq")
    if not isinstance(number, int) or digest(line) != line.get("hash"):
        return "the entry was changed"
    if seq is None:
        first = mark.first if mark is not None else number
        if number != first:
            return f"entries are missing before it: the log begins with {first}"
        if number == 1 and line.get("prev") != FIRST:
            return "the entry was changed"
        return ""
    if line.get("prev") != prev or number != seq + 1:
        return f"it does not follow entry {seq}: entries were taken out, put in or moved"
    return ""


def entries(paths: list[str]) -> Iterator[Line]:
    """All that can be read, in order."""
    for path in paths:
        for _, line in _lines(path):
            if line is not None:
                yield line


def _lines(path: str) -> Iterator[tuple[int, Line | None]]:
    """(number, entry or None for what is none)."""
    try:
        with open(path, "rb") as file:
            for number, text in enumerate(file, 1):
                yield number, _parse(text) if text.endswith(b"\n") else None
    except OSError as error:
        raise GshellError(f"cannot read {path}: {error.strerror}") from None


def _parse(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _first_seq(path: str) -> int | None:
    for _, line in _lines(path):
        found = line.get("seq") if line is not None else None
        return found if isinstance(found, int) else None
    return None
