"""The file of a sweep: a log, in SQLite, of what happened to points, and who works on them. A
change is one transaction: it is in the log or it is not, whoever is killed whenever. Knows points
by their text only, and not what their states mean.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep.owners import BEAT_S, Owner, is_alive, myself, on_network

FILE = "sweep.sqlite"
BUSY_S = 60.0  # another process holds the file for a transaction, so for well under a millisecond
CHECKPOINT = 8192  # pages, 32 MiB, of the write-ahead log before it is worked off, with fsyncs
PAGE = 1024  # bytes: what a change of a few words costs is the pages that it writes
SCHEMA = """
create table if not exists happened (id integer primary key, point text not null,
    state integer not null, owner integer not null);
create table if not exists owner (id integer primary key, host text not null, boot text not null,
    pid integer not null, started text not null, beat_at real not null);
create table if not exists space (id integer primary key, point text not null);
"""

SAY = """
insert into happened (point, state, owner) select ?, ?, ?
where ? or coalesce((select max(id) from happened), 0) = ?
"""

SAY_TWO = """
insert into happened (point, state, owner)
select column1, column2, column3 from (values (?, ?, ?), (?, ?, ?))
where coalesce((select max(id) from happened), 0) = ?
"""

_NEXT = {  # by what SQLite says
    sqlite3.SQLITE_FULL: "nothing is lost; go on when there is room on its disk again",
    sqlite3.SQLITE_BUSY: "another process has held it for a minute: is one of them stopped?",
    sqlite3.SQLITE_READONLY: "may it be written to?  ls -l {folder}",
    sqlite3.SQLITE_CANTOPEN: "may it be written to?  ls -l {folder}",
    sqlite3.SQLITE_IOERR: "nothing is lost; its disk, or the network to it, has a problem",
}

_pid = os.getpid()


def _forked() -> None:
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_forked)

Happened = tuple[int, str, int, int]
"""Its number in the log, a point, its state from then on, and whose it is."""


class SweepFile:
    """One, over forks too: a child opens it anew. Used under its user's lock."""

    def __init__(self, folder: str, begun: Callable[[], None]) -> None:
        """``begun``: called when it was opened, by this process for the first time.

        Raises:
            UsageError: ``folder`` cannot be made.
        """
        self._folder = folder
        self.path = os.path.join(folder, FILE)
        self.me = 0
        """Our number in the file; 0: we have never had anything to say."""
        self._begun = begun
        self._db: sqlite3.Connection | None = None
        self._pid = 0
        self._beating: threading.Thread | None = None
        self._closed = threading.Event()
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{sanitize(folder)} cannot be the directory of a sweeper: {error.strerror}"
            ) from None

    @property
    def is_open(self) -> bool:
        """Here: what a parent has opened is not ours."""
        return self._db is not None and self._pid == _pid

    @property
    def is_changing(self) -> bool:
        return self.is_open and self.open().in_transaction

    def open(self) -> sqlite3.Connection:
        if self._db is not None and self._pid == _pid:
            return self._db
        # After a fork the parent's connection must not even be closed: its locks are the parent's.
        self._inherited = self._db
        try:
            db = sqlite3.connect(
                self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            db.execute(f"pragma page_size = {PAGE}")
            # A write-ahead log needs no fsync per change to survive a kill, but shared memory,
            # which hosts do not share.
            if on_network(self._folder):
                db.execute("pragma journal_mode = delete")
                db.execute("pragma synchronous = full")
            else:
                db.execute("pragma journal_mode = wal")
                db.execute("pragma synchronous = normal")
                db.execute(f"pragma wal_autocheckpoint = {CHECKPOINT}")
            for statement in SCHEMA.split(";"):
                db.execute(statement)
        except sqlite3.Error as error:
            raise self._broken(error) from None
        if self._pid != _pid:  # what a thread of our parent waits for, perhaps
            self._closed = threading.Event()
        self._db, self._pid, self.me = db, _pid, 0
        self._beating = None
        self._begun()
        return db

    def close(self) -> None:
        self._closed.set()
        if self._db is not None and self._pid == _pid:
            self._db.close()
        self._db = None

    def _broken(self, error: sqlite3.Error) -> UsageError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says in which call
        hint = _NEXT.get(code, "nothing in it was changed; move it away to begin anew")
        return UsageError(
            f"{sanitize(self.path)} cannot be used: {error}",
            hint=hint.format(folder=sanitize(self._folder)),
        )

    def _do(self, statement: str, words: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Within a transaction, or as one of its own."""
        try:
            return self.open().execute(statement, words)
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _rows(self, statement: str, words: Sequence[Any] = ()) -> list[Any]:
        cursor = self._do(statement, words)
        try:
            return cursor.fetchall()
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _do_all(self, statement: str, many: Iterable[Sequence[Any]]) -> None:
        try:
            self.open().executemany(statement, many)
        except sqlite3.Error as error:
            raise self._broken(error) from None

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """One transaction; nobody else changes anything meanwhile."""
        self._do("begin immediate")
        try:
            yield
            self._do("commit")
        except BaseException:
            with contextlib.suppress(UsageError):
                self._do("rollback")
            raise

    # -------------------------------------------------------------------------------------- the log

    def since(self, number: int) -> list[Happened]:
        """What happened after that entry."""
        words = "select id, point, state, owner from happened where id > ? order by id"
        return self._rows(words, (number,))

    def say(self, key: str, state: int, owner: int, read: int | None) -> int:
        """``read``: only if that is the last entry. The new one's number; 0: there are others."""
        cursor = self._do(SAY, (key, state, owner, read is None, read))
        return (cursor.lastrowid or 0) if cursor.rowcount else 0

    def say_two(self, one: tuple[str, int, int], other: tuple[str, int, int], read: int) -> int:
        """Both or none; else the same."""
        cursor = self._do(SAY_TWO, (*one, *other, read))
        return (cursor.lastrowid or 0) if cursor.rowcount == 2 else 0

    def length(self) -> int:
        return int(self._rows("select count(*) from happened")[0][0])

    def spoken_of(self) -> list[str]:
        """All points that the log has ever had."""
        return [key for (key,) in self._rows("select distinct point from happened")]

    def rewrite(self, rows: Iterable[Happened]) -> None:
        """The log is that, from now on."""
        self._do("delete from happened")
        words = "insert into happened (id, point, state, owner) values (?, ?, ?, ?)"
        self._do_all(words, rows)

    # ------------------------------------------------------------------------------------ the space

    def kept(self) -> list[str]:
        """The points that were kept, in order."""
        return [key for (key,) in self._rows("select point from space order by id")]

    def keep(self, keys: Iterable[str]) -> None:
        self._do("delete from space")
        self._do_all("insert into space (point) values (?)", ((key,) for key in keys))

    # ------------------------------------------------------------------------------------ who works

    def ourselves(self) -> int:
        """Our number in the file; we are alive as long as it beats."""
        if not self.me:
            cursor = self._do(
                "insert into owner (host, boot, pid, started, beat_at) values (?, ?, ?, ?, ?)",
                (*myself(), time.time()),
            )
            self.me = cursor.lastrowid or 0
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, daemon=True, name="sweep-beat")
            self._beating.start()
        return self.me

    def _beat(self) -> None:
        """For other hosts, which cannot see whether we live. In a thread of its own."""
        pid = os.getpid()
        while not self._closed.wait(BEAT_S) and os.getpid() == pid:
            with (
                contextlib.suppress(sqlite3.Error),
                contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_S)) as db,
                db,
            ):
                db.execute("update owner set beat_at = ? where id = ?", (time.time(), self.me))

    def living(self, wanted: set[int]) -> set[int]:
        """Which of these live; we do."""
        others = wanted - {self.me}
        if not others:
            return {self.me}
        rows = self._rows("select id, host, boot, pid, started, beat_at from owner")
        now = time.time()
        alive = {
            number
            for number, *who, beat_at in rows
            if number in others and is_alive(Owner(*who), now - beat_at)
        }
        return {*alive, self.me}
