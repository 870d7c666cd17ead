"""What was tried in a result directory: a log of attempts, lines of JSON with a checksum each, only
ever added to. From it everything else can be known without a lock: how far it is, what failed, what
is left. Runs nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import statistics
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gshell.errors import GshellError
from gshell.model.sanitize import sanitize
from gshell.sweep.keys import key_of
from gshell.sweep.results import is_number
from gshell.sweep.space import HashableDict, unique_slug

FILE = "attempts"
LOCK = "lock"
OUTCOMES = ("done", "failed", "interrupted", "skipped")


class Busy(GshellError):
    """Somebody else works in this directory."""


@dataclass
class Point:
    """What is known of a point."""

    slug: str = ""
    attempts: int = 0
    """That began."""
    failures: int = 0
    """That went wrong of themselves: being interrupted is none."""
    state: str = "left"
    """``left``, ``running``, or one of OUTCOMES."""
    why: str = ""
    begun_at: float = 0.0
    seconds: float | None = None
    place: str = ""
    found: dict[str, Any] = field(default_factory=dict)


class Log:
    """Invariant: what was written is never changed; a line that a death has cut is passed over."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, FILE)
        self._lock = threading.Lock()

    def add(self, entry: Mapping[str, Any]) -> None:
        text = json.dumps(entry, sort_keys=True)
        line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
        with self._lock:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                end = os.lseek(fd, 0, os.SEEK_END)
                if end and os.pread(fd, 1, end - 1) != b"\n":
                    line = b"\n" + line
                while line:  # a disk that is nearly full takes a part, and then says so
                    line = line[os.write(fd, line) :]
            finally:
                os.close(fd)

    def entries(self) -> Iterator[dict[str, Any]]:
        try:
            with open(self._path, "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            check, _, text = line.partition(b" ")
            if check == b"%08x" % zlib.crc32(text):
                yield json.loads(text)


class History:
    """All that the log says, folded."""

    def __init__(self, log: Log) -> None:
        self.points: dict[str, Point] = {}
        self.taken: dict[str, str] = {}
        """Slug -> the point's key."""
        self.last_at = 0.0
        for entry in log.entries():
            self.fold(entry)

    def fold(self, entry: Mapping[str, Any]) -> None:
        self.last_at = max(self.last_at, entry.get("at", 0.0))
        if "point" not in entry:
            return
        one = self.points.setdefault(entry["point"], Point())
        what = entry["what"]
        if what == "begun":
            one.slug, one.attempts = entry["slug"], entry["attempt"]
            one.state, one.begun_at, one.place = "running", entry["at"], entry.get("place", "")
            self.taken[one.slug] = entry["point"]
            return
        if what == "again":  # its failures do not count any more
            one.failures, one.state = 0, "left"
            return
        one.state, one.why = what, entry.get("why", "")
        one.slug = entry.get("slug", one.slug)
        self.taken[one.slug] = entry["point"]
        one.seconds = entry.get("seconds")
        one.found = entry.get("found", {})
        one.failures += what == "failed"

    def of(self, point: Mapping[Any, Any]) -> Point:
        return self.points.get(key_of(point)) or Point()

    def slug_of(self, point: Mapping[Any, Any]) -> str:
        """The name of its files: no other point has it, and it keeps it."""
        known = self.of(point).slug
        return known or unique_slug(point, self.taken)


LOOKERS_S = 2.0  # for those who only look whether somebody works there to let go of it


class Lock:
    """Of a result directory, for as long as one works in it; a death lets go of it."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, LOCK)
        self._fd = -1

    def __enter__(self) -> Lock:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        end = time.monotonic() + LOOKERS_S
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                who = os.pread(self._fd, 200, 0).decode("ascii", "replace").strip()
                if not who and time.monotonic() < end:  # `is_worked_on`, or it just begins
                    time.sleep(0.01)
                    continue
                os.close(self._fd)
                folder = sanitize(os.path.dirname(self._path))
                raise Busy(
                    f"somebody works in {folder} already ({who or 'who, it does not say'})",
                    f"gshell sweep status -w {folder}",
                ) from None
        os.ftruncate(self._fd, 0)
        with contextlib.suppress(OSError):  # a full disk: the lock itself is not in the file
            os.pwrite(self._fd, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)


def is_worked_on(folder: str) -> bool:
    """Does somebody run it now?"""
    try:
        fd = os.open(os.path.join(folder, LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


# ---------------------------------------------------------------------------------- how far it is


ASKED = 400  # points: how long these will take says it for all
REMEMBERED = 200  # that came to an end last: what a point unlike all of them is compared with


@dataclass(frozen=True)
class Progress:
    """How far an experiment is."""

    total: int
    done: int
    failed: list[tuple[str, str]]
    """Name and reason."""
    skipped: list[tuple[str, str]]
    running: list[tuple[str, float, str]]
    """Name, since when, where."""
    left: int
    """Neither done, nor given up, nor running."""
    retried: int
    """Attempts that failed, of points that were tried again."""
    eta_s: float | None
    """At this pace; None: nothing is known yet, or nothing runs."""
    best: tuple[float, str] | None

    @property
    def missing(self) -> int:
        return self.total - self.done


def progress(
    points: Sequence[HashableDict],
    history: History,
    attempts: int,
    now: float,
    live: bool,
    slots: float = 1.0,
    best: str = "",
) -> Progress:
    """``attempts``: so many failures and a point is given up. ``live``: somebody works on it.
    ``slots``: how many points run side by side. ``best``: ``min NAME`` or ``max NAME``."""
    failed, skipped, running, took = [], [], [], []
    done = retried = left = 0
    todo: list[tuple[HashableDict, float]] = []
    top: tuple[float, str] | None = None
    direction, _, wanted = best.partition(" ")
    for point in points:
        one = history.of(point)
        if one.state == "done":
            done += 1
            retried += one.failures
            if one.seconds is not None:
                took.append((point, one.seconds))
            figure = one.found.get(wanted)
            if is_number(figure):
                better = top is None or (figure > top[0] if direction == "max" else figure < top[0])
                top = (float(figure), one.slug) if better else top
        elif one.state == "failed" and one.failures >= attempts:
            failed.append((one.slug, one.why))
            retried += one.failures - 1
        elif one.state == "skipped":
            skipped.append((one.slug or key_of(point), one.why))
        elif one.state == "running" and live:
            running.append((one.slug, one.begun_at, one.place))
            todo.append((point, max(0.0, now - one.begun_at)))  # a clock may be put back
            retried += one.failures
        else:
            left += 1
            retried += one.failures
            todo.append((point, 0.0))
    eta = None
    if took and live:
        expect = _Expecting(took)
        asked = todo[:: max(1, len(todo) // ASKED)]  # of very many, every so many
        rest = sum(max(0.0, expect(point) - spent) for point, spent in asked)
        eta = rest * len(todo) / len(asked) / max(1.0, slots) if asked else 0.0
    return Progress(
        len(points), done, failed, skipped, running, left, retried, eta, top
    )  # fmt: skip


class _Expecting:
    """How long a point will take: as the ones most like it did."""

    def __init__(self, took: Sequence[tuple[Mapping[Any, Any], float]]) -> None:
        self._took = list(took)[-REMEMBERED:]
        self._same: dict[frozenset[Any], list[float]] = {}
        for point, seconds in took:
            self._same.setdefault(_like(point), []).append(seconds)
        self._known: dict[frozenset[Any], float] = {}

    def __call__(self, point: Mapping[Any, Any]) -> float:
        like = _like(point)
        if like not in self._known:
            self._known[like] = statistics.median(self._same.get(like) or self._alike(point))
        return self._known[like]

    def _alike(self, point: Mapping[Any, Any]) -> list[float]:
        alike: dict[int, list[float]] = {}
        for other, seconds in self._took:
            same = sum(other.get(name) == level for name, level in point.items())
            alike.setdefault(same, []).append(seconds)
        return alike[max(alike)]


def _like(point: Mapping[Any, Any]) -> frozenset[Any]:
    """Which points are the same one, but for when it is run."""
    return frozenset(item for item in point.items() if item[0] != "repetition")
