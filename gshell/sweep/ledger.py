"""What an experiment has reserved, written down before it is asked for and until it was given back:
whoever goes on with the experiment, after whatever death, can end it.

A file of JSON lines with a checksum each, only ever added to. A line that was cut by a death is the
last one, and passed over.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from typing import NamedTuple


class Reservation(NamedTuple):
    """Something at a batch system that has to be ended."""

    tag: str
    """Made before it is asked for; it is (in) the job's name, by which it is found again."""
    kind: str
    """Of batch system: ``oar``, ``slurm``, ``sge``."""
    site: str
    """Its front end, as its user names it; empty: this host."""
    job: str = ""
    """Its id; empty: asked for, and then we died before we heard."""
    asked_at: float = 0.0
    """Epoch seconds."""
    by: str = ""
    """Which `Ledger` it was asked for with."""


class Ledger:
    """Invariant: what `open` gives has been asked for and not been given back."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._lock = threading.Lock()
        self.me = uuid.uuid4().hex[:12]
        self._shared = -1

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """One of those that use the file now, as `is_alone` has it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._shared = os.open(self._path, flags, 0o600)
        _used.append(self)
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        if self in _used:
            _used.remove(self)
            os.close(self._shared)

    def share(self) -> None:
        """From now on nobody else is alone."""
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(self._shared, fcntl.LOCK_SH)

    def is_alone(self) -> bool:
        """Does nobody else use it? Then none begins to, before `share`."""
        try:
            fcntl.flock(self._shared, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
        return True

    def asked(self, kind: str, site: str) -> str:
        """Before it is asked for; its tag."""
        tag = "gshell-" + uuid.uuid4().hex[:12]
        self._add({"tag": tag, "kind": kind, "site": site, "at": round(time.time(), 3),
                   "by": self.me})  # fmt: skip
        return tag

    def got(self, tag: str, job: object) -> None:
        self._add({"tag": tag, "job": str(job)})

    def ended(self, tag: str) -> None:
        """Given back, or it was never got."""
        self._add({"tag": tag, "ended": True})

    def ended_job(self, kind: str, site: str, job: object) -> None:
        """The same, by what its user knows of it."""
        for one in self.open():
            if (one.kind, one.site, one.job) == (kind, site, str(job)):
                self.ended(one.tag)

    def _add(self, entry: dict[str, object]) -> None:
        text = json.dumps(entry, sort_keys=True)
        line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
        with self._lock:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                end = os.lseek(fd, 0, os.SEEK_END)
                if end and os.pread(fd, 1, end - 1) != b"\n":
                    line = b"\n" + line  # behind what a death has cut
                while line:
                    line = line[os.write(fd, line) :]
                os.fsync(fd)
            finally:
                os.close(fd)

    def open(self) -> list[Reservation]:
        """What is still to be ended, in the order it was asked for."""
        found: dict[str, Reservation] = {}
        try:
            with open(self._path, "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            check, _, text = line.partition(b" ")
            if check != b"%08x" % zlib.crc32(text):
                continue
            entry = json.loads(text)
            tag = entry["tag"]
            if "kind" in entry:
                found[tag] = Reservation(
                    tag, entry["kind"], entry["site"], asked_at=float(entry.get("at", 0.0)),
                    by=str(entry.get("by", "")),
                )  # fmt: skip
            elif "job" in entry and tag in found:
                found[tag] = found[tag]._replace(job=entry["job"])
            elif entry.get("ended"):
                found.pop(tag, None)
        return list(found.values())


_used: list[Ledger] = []


def _forked() -> None:
    """In a child by fork: it would use what it inherited for longer than its parent lives."""
    for one in _used:
        one._leave()


os.register_at_fork(after_in_child=_forked)

_current: Ledger | None = None


def current() -> Ledger | None:
    """The running engine's; None: nobody will go on with this, nothing is written down."""
    return _current


def use(ledger: Ledger | None) -> None:
    global _current
    _current = ledger
