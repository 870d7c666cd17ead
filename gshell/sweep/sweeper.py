"""Which points of a sweep are done, and who works on the others: kept in a file that several
processes share, and that none of them can spoil by dying.

The file (SQLite) is a log of what happened to points; all else is folded from it. A change is one
transaction: it is in the log or it is not, whoever is killed whenever. Knows nothing of what an
experiment does.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep import keys
from gshell.sweep.keys import key_of
from gshell.sweep.owners import BEAT_S, Owner, is_alive, myself, on_network
from gshell.sweep.space import HashableDict, Points

FILE = "sweep.sqlite"
TODO, INPROGRESS, DONE, SKIPPED = range(4)
RETURNED = 4  # in the log only: to be done, before the others, as if it had never been taken
BUSY_S = 60.0  # another process holds the file for a transaction, so for well under a millisecond
LOOK_S = 1.0  # so often at most is looked whether somebody who works on a point has died
CHECKPOINT = 8192  # pages, 32 MiB, of the write-ahead log before it is worked off, with fsyncs
PAGE = 1024  # bytes: what a change of a few words costs is the pages that it writes
QUICK_S = 0.005  # points that take less are taken two statements at once: see `_put_and_take`
EAGER = 8  # of them in a row
SPARE_S = 0.25  # a point that was taken ahead and not asked for is given back after this
SPARE_ABOVE = 64  # points to be done: near the end nothing is taken ahead
GROWN = 4  # times as many entries in the log as points: it is written anew
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

Filter = Callable[[Iterable[HashableDict]], Iterable[HashableDict]]


def _no_states() -> tuple[OrderedDict[_Entry, None], ...]:
    # Their first members are taken away all the time: a dict would be searched for the next one.
    return tuple(OrderedDict() for _ in range(4))


_pid = os.getpid()
_all: weakref.WeakSet[ParamSweeper] = weakref.WeakSet()
_forking: list[ParamSweeper] = []


def _before_fork() -> None:
    """No other thread is in the middle of something that its copy would never end."""
    mine = sorted(_all, key=id)
    for one in mine:
        one._lock.acquire()
    _forking.extend(mine)


def _after_fork() -> None:
    while _forking:
        _forking.pop()._lock.release()


def _forked() -> None:
    global _pid
    _pid = os.getpid()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forked)

_NEXT = {  # by what SQLite says
    sqlite3.SQLITE_FULL: "nothing is lost; go on when there is room on its disk again",
    sqlite3.SQLITE_BUSY: "another process has held it for a minute: is one of them stopped?",
    sqlite3.SQLITE_READONLY: "may it be written to?  ls -l {folder}",
    sqlite3.SQLITE_CANTOPEN: "may it be written to?  ls -l {folder}",
    sqlite3.SQLITE_IOERR: "nothing is lost; its disk, or the network to it, has a problem",
}


class Counts(NamedTuple):
    """How far a sweep is."""

    total: int
    done: int
    skipped: int
    inprogress: int
    remaining: int


class _Entry:
    """A point and what is known of it."""

    __slots__ = ("key", "owner", "point", "state")

    def __init__(self, point: HashableDict) -> None:
        self.point = point
        self.key = ""
        self.state = TODO
        self.owner = 0


def _handed(entry: _Entry) -> HashableDict:
    """For its user, who may change it."""
    handed = HashableDict(entry.point)
    handed.point = entry.point
    return handed


def _points(entries: Iterable[_Entry]) -> Points:
    return Points([entry.point for entry in entries], distinct=True)


def _hashable(point: Mapping[Any, Any]) -> HashableDict:
    if not isinstance(point, Mapping):
        raise UsageError(f"{point!r} is no point", "ParamSweeper(DIR, sweep({'factor': [1, 2]}))")
    return point if isinstance(point, HashableDict) else HashableDict(point)


class ParamSweeper:
    """The points of an experiment, handed out one by one, each to one process at a time.

    Several processes, threads and instances may use the same directory at once, on several hosts
    too if the file system between them knows POSIX locks. ``get_next`` hands out points in the
    order of the sweep; one that was cancelled comes again after the others. What a process was
    working on when it died is handed out again: at once if it was on this host, else when it has
    not been heard of for `owners.SILENT_S`. Only a point that somebody called done is ever done.

    Invariant: in memory is what the file's log says up to entry ``_seen``.
    """

    def __init__(
        self,
        persistence_dir: str | os.PathLike[str],
        sweeps: Iterable[Mapping[Any, Any]] | None = None,
        save_sweeps: bool = False,
        name: str | None = None,
    ) -> None:
        """``sweeps``: the points, in order; None: those that were kept by ``save_sweeps``.

        Raises:
            UsageError: the directory's file is not a sweeper's, or no points are known.
        """
        self._dir = os.fspath(persistence_dir)
        self._name = name or os.path.basename(os.path.abspath(self._dir))
        self._path = os.path.join(self._dir, FILE)
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._pid = 0
        self._me = 0
        self._looked_at = 0.0
        self._beating: threading.Thread | None = None
        self._closed = threading.Event()
        self._spare: _Entry | None = None
        """Ours in the file, and not handed out yet."""
        self._spare_at = 0.0
        self._eager = 0  # quick points in a row
        self._said_at = 0.0  # when `done` or `get_next` was over last
        self._spares = threading.Event()
        self._giving: threading.Thread | None = None
        try:
            os.makedirs(self._dir, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{sanitize(self._dir)} cannot be the directory of a sweeper: {error.strerror}"
            ) from None
        _all.add(self)
        self._forget()
        with self._lock, self._change():
            if sweeps is None:
                sweeps = self._kept_space()
            self._set_space(sweeps)
            if save_sweeps:
                self._keep_space()
            self._fold()
            self._return_skipped()
            self._reclaim()
        self._compact()

    # ------------------------------------------------------------------------------------- the file

    def _forget(self) -> None:
        self._entries: dict[HashableDict, _Entry] = {}
        self._by_key: dict[str, _Entry] | None = None
        self._states: tuple[OrderedDict[_Entry, None], ...] = _no_states()
        self._foreign: dict[str, tuple[int, int]] = {}  # points that are not of this sweep
        self._seen = 0

    def _open(self) -> sqlite3.Connection:
        if self._db is not None and self._pid == _pid:
            return self._db
        # After a fork the parent's connection must not even be closed: its locks are the parent's.
        self._inherited = self._db
        try:
            db = sqlite3.connect(
                self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            db.execute(f"pragma page_size = {PAGE}")
            # A write-ahead log needs no fsync per change to survive a kill, but shared memory,
            # which hosts do not share.
            if on_network(self._dir):
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
            self._closed, self._spares = threading.Event(), threading.Event()
        self._db, self._pid, self._me = db, _pid, 0
        self._beating = self._giving = None
        self._spare, self._eager = None, 0
        return db

    def _broken(self, error: sqlite3.Error) -> UsageError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says in which call
        hint = _NEXT.get(code, "nothing in it was changed; move it away to begin anew")
        return UsageError(
            f"{sanitize(self._path)} cannot be used: {error}",
            hint=hint.format(folder=sanitize(self._dir)),
        )

    def _do(self, statement: str, words: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Within a transaction, or as one of its own."""
        try:
            return self._open().execute(statement, words)
        except sqlite3.Error as error:
            raise self._broken(error) from None

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """One transaction; nobody else changes anything meanwhile. Within another one (a filter
        that says what is done) it is a part of that."""
        db = self._open()
        if db.in_transaction:
            yield db
            return
        try:
            db.execute("begin immediate")
        except sqlite3.Error as error:
            raise self._broken(error) from None
        try:
            yield db
            db.execute("commit")
        except sqlite3.Error as error:
            self._undo(db)
            raise self._broken(error) from None
        except BaseException:
            self._undo(db)
            raise

    def _undo(self, db: sqlite3.Connection) -> None:
        """What memory has of the transaction never happened: read it all again, when wanted."""
        with contextlib.suppress(sqlite3.Error):
            db.execute("rollback")
        space, spare = list(self._entries), self._spare
        self._forget()
        self._set_space(space)
        self._spare = self._entries.get(spare.point) if spare is not None else None

    def _fold(self) -> None:
        """Take in what the log has beyond what we know."""
        rows = self._open().execute(
            "select id, point, state, owner from happened where id > ? order by id", (self._seen,)
        )
        for number, key, state, owner in rows:
            self._seen = number
            entry = self._keys().get(key)
            if entry is None:
                self._foreign[key] = (state, owner)
            else:
                self._enter(entry, state, owner)

    def _enter(self, entry: _Entry, state: int, owner: int) -> None:
        del self._states[entry.state][entry]
        entry.state, entry.owner = TODO if state == RETURNED else state, owner
        self._states[entry.state][entry] = None
        if state == RETURNED:
            self._states[TODO].move_to_end(entry, last=False)

    def _keys(self) -> dict[str, _Entry]:
        if self._by_key is None:
            self._by_key = {}
            for entry in self._entries.values():
                entry.key = entry.key or key_of(entry.point)
                if self._by_key.setdefault(entry.key, entry) is not entry:
                    self._by_key = None
                    raise UsageError(
                        f"two points of {self._name} are the same when they are written down:"
                        f" {sanitize(entry.key, 200)}"
                    )
        return self._by_key

    def _say(self, entry: _Entry, state: int, at_once: bool = False) -> bool:
        """Put it into the log, within a transaction; or ``at_once``, as one of its own, if nothing
        is in the log that we have not read. Whether it is there."""
        if not entry.key:
            entry.key = key_of(entry.point)
        owner = self._owner() if state in (INPROGRESS, SKIPPED) else 0
        cursor = self._do(SAY, (entry.key, state, owner, not at_once, self._seen))
        if not cursor.rowcount:
            return False
        self._seen = cursor.lastrowid or self._seen
        self._enter(entry, state, owner)
        return True

    def _compact(self) -> None:
        """A log that is much longer than what it says is written anew, by whoever is alone."""
        length = self._do("select count(*) from happened").fetchone()[0]
        if length <= GROWN * (len(self._entries) + len(self._foreign)) + 1000:
            return
        with self._lock, self._change() as db:
            self._fold()
            # All that it ever spoke of: who has read half of it may take a point for begun.
            rows = []
            for (key,) in db.execute("select distinct point from happened").fetchall():
                entry = self._keys().get(key)
                state, owner = (entry.state, entry.owner) if entry else self._foreign[key]
                rows.append((key, state, owner))
            # Numbers go on: whoever has read up to the last one reads these too, to the same end.
            db.execute("delete from happened")
            db.executemany(
                "insert into happened (id, point, state, owner) values (?, ?, ?, ?)",
                [(self._seen + 1 + number, *row) for number, row in enumerate(rows)],
            )
            self._seen += len(rows)

    # ------------------------------------------------------------------------------------ the space

    def _set_space(self, sweeps: Iterable[Mapping[Any, Any]]) -> None:
        if isinstance(sweeps, Mapping | str):
            raise UsageError(
                f"{sweeps!r:.80} is no list of points", "ParamSweeper(DIR, sweep(...))"
            )
        known = self._entries
        self._entries = {}
        for one in sweeps:
            point = _hashable(one)
            if point not in self._entries:
                entry = known.get(point)
                self._entries[point] = _Entry(HashableDict(point)) if entry is None else entry
        self._states = _no_states()
        self._by_key = None
        for entry in self._entries.values():
            self._states[entry.state][entry] = None
        if known or self._foreign:
            self._seen = 0  # what was foreign may be ours now
            self._foreign = {}

    def _kept_space(self) -> list[HashableDict]:
        rows = self._do("select point from space order by id").fetchall()
        if not rows:
            raise UsageError(
                f"no points are known for {sanitize(self._dir)}",
                hint="ParamSweeper(DIR, sweeps), or save_sweeps=True the first time",
            )
        return [HashableDict(keys.read(key)) for (key,) in rows]

    def _keep_space(self) -> None:
        db = self._open()
        for key in self._keys():
            try:
                keys.read(key)
            except UsageError as error:
                raise UsageError(
                    f"the points cannot be kept: {error}", hint="give them each time, in `sweeps`"
                ) from None
        db.execute("delete from space")
        db.executemany("insert into space (point) values (?)", [(key,) for key in self._keys()])

    def set_sweeps(
        self, sweeps: Iterable[Mapping[Any, Any]] | None = None, save_sweeps: bool = False
    ) -> None:
        """Another space, over the same file: what was done of it stays done."""
        with self._lock, self._settled(), self._change():
            self._set_space(self._kept_space() if sweeps is None else sweeps)
            if save_sweeps:
                self._keep_space()
            self._fold()

    # ------------------------------------------------------------------------------------ who works

    def _owner(self) -> int:
        """Our number in the file; we are alive as long as it beats."""
        if not self._me:
            me = myself()
            cursor = self._do(
                "insert into owner (host, boot, pid, started, beat_at) values (?, ?, ?, ?, ?)",
                (*me, time.time()),
            )
            self._me = cursor.lastrowid or 0
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, daemon=True, name="sweep-beat")
            self._beating.start()
        return self._me

    def _beat(self) -> None:
        """For other hosts, which cannot see whether we live. In a thread of its own."""
        pid = os.getpid()
        while not self._closed.wait(BEAT_S) and os.getpid() == pid:
            with (
                contextlib.suppress(sqlite3.Error),
                contextlib.closing(sqlite3.connect(self._path, timeout=BUSY_S)) as db,
                db,
            ):
                db.execute("update owner set beat_at = ? where id = ?", (time.time(), self._me))

    def _living(self) -> dict[int, bool]:
        """Of every owner of something, whether it lives."""
        wanted = {
            entry.owner for state in (INPROGRESS, SKIPPED) for entry in self._states[state]
        } - {self._me}
        if not wanted:
            return {self._me: True}
        rows = self._do("select id, host, boot, pid, started, beat_at from owner")
        now = time.time()
        alive = {
            number: is_alive(Owner(*who), now - beat_at)
            for number, *who, beat_at in rows
            if number in wanted
        }
        return {**alive, self._me: True}

    def _reclaim(self) -> None:
        """Points whose owner has died are to be done again."""
        self._looked_at = time.monotonic()
        if not self._states[INPROGRESS]:
            return
        living = self._living()
        for entry in list(self._states[INPROGRESS]):
            if not living.get(entry.owner, False):
                self._say(entry, TODO)

    def _return_skipped(self) -> None:
        """What an earlier run has skipped may be possible now."""
        if self._states[SKIPPED]:
            living = self._living()
            for entry in list(self._states[SKIPPED]):
                if not living.get(entry.owner, False):
                    self._say(entry, TODO)

    # ------------------------------------------------------------------------------------- the work

    def get_next(self, filtr: Filter | None = None) -> HashableDict | None:
        """The next point to work on, which is ours from now on; None if none is left, or ``filtr``
        lets none through.

        ``filtr`` gets the remaining points and returns those that may be next, best first.
        """
        batch = self.get_next_batch(1, filtr)
        return batch[0] if batch else None

    def get_next_batch(self, num_combs: int, filtr: Filter | None = None) -> list[HashableDict]:
        """Up to ``num_combs`` of them at once."""
        with self._lock:
            if num_combs != 1 or filtr is not None:
                with self._settled():
                    return self._chosen(num_combs, filtr)
            self._paced()
            spare, self._spare = self._spare, None
            if spare is not None and self._pid == _pid:
                self._said_at = time.monotonic()
                return [_handed(spare)]
            if self._may_hurry():
                first = next(iter(self._states[TODO]))
                if self._say(first, INPROGRESS, at_once=True):
                    self._said_at = time.monotonic()
                    return [_handed(first)]
            found = self._chosen(1, None)
            self._said_at = time.monotonic()
            return found

    # ------------------------------------------------------------------------------- taken ahead

    def _paced(self) -> None:
        quick = time.monotonic() - self._said_at < QUICK_S
        self._eager = self._eager + 1 if quick else min(0, self._eager)

    def _put_and_take(self, entry: _Entry) -> bool:
        """``entry`` is done, and the next one ours, in one transaction: for points that take no
        longer than the file does. What is not asked for soon is given back by a thread, and at
        once when somebody looks. Whether it was so."""
        todo = self._states[TODO]
        if self._spare is not None or entry.state != INPROGRESS or len(todo) <= SPARE_ABOVE:
            return False
        taken = next(iter(todo))
        for one in (entry, taken):
            if not one.key:
                one.key = key_of(one.point)
        cursor = self._do(
            SAY_TWO, (entry.key, DONE, 0, taken.key, INPROGRESS, self._me, self._seen)
        )
        if cursor.rowcount != 2:
            return False
        self._seen = cursor.lastrowid or self._seen
        self._enter(entry, DONE, 0)
        self._enter(taken, INPROGRESS, self._me)
        self._spare, self._spare_at = taken, time.monotonic()
        if self._giving is None:
            self._giving = threading.Thread(target=self._give, daemon=True, name="sweep-spare")
            self._giving.start()
        if not self._spares.is_set():
            self._spares.set()
        return True

    def _give(self) -> None:
        """In a thread of its own: what was taken ahead and is not wanted is to be done again."""
        pid = os.getpid()
        while self._spares.wait() and os.getpid() == pid and not self._closed.wait(SPARE_S):
            with self._lock:
                idle = time.monotonic() - self._spare_at > SPARE_S
                if self._spare is not None and idle:
                    with contextlib.suppress(UsageError), self._settled():
                        pass
                if self._spare is None and idle:
                    self._spares.clear()

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """Nothing is ours that was not handed out; nor soon again."""
        spare, self._spare = self._spare, None
        if spare is not None and self._pid == _pid:
            self._eager = -EAGER * 8
            with self._change():
                self._fold()
                if (spare.state, spare.owner) == (INPROGRESS, self._me):
                    self._say(spare, RETURNED)
        yield

    def _may_hurry(self) -> bool:
        """There is something to do, we are known, and it is not time to look after others."""
        return bool(
            self._states[TODO] and self._me and self._db is not None and self._pid == _pid
            and time.monotonic() - self._looked_at <= LOOK_S
        )  # fmt: skip

    def _chosen(self, num_combs: int, filtr: Filter | None) -> list[HashableDict]:
        with self._change():
            self._fold()
            todo = self._states[TODO]
            if not todo or time.monotonic() - self._looked_at > LOOK_S:
                self._reclaim()
            wanted: list[_Entry] = []
            if filtr is None:
                for entry in todo:
                    if len(wanted) >= num_combs:
                        break
                    wanted.append(entry)
            else:
                found_by = filtr(_points(todo))
                if found_by is None:
                    raise UsageError("the filter returned None, not the points that may be next")
                for point in found_by:
                    if len(wanted) >= num_combs:
                        break
                    found = self._entries.get(_hashable(point))
                    if found is not None and found in todo and found not in wanted:
                        wanted.append(found)
            for entry in wanted:
                self._say(entry, INPROGRESS)
            return [_handed(entry) for entry in wanted]

    def _entry(self, combination: Mapping[Any, Any]) -> _Entry:
        """Also if it was changed after it was handed out."""
        original = getattr(combination, "point", None)
        entry = self._entries.get(original) if original is not None else None
        if entry is None:
            point = _hashable(combination)
            entry = self._entries.get(point) or self._keys().get(key_of(point))  # of a NaN, say
        if entry is None:
            raise UsageError(f"{dict(combination)!r} is not a point of the sweep {self._name}")
        return entry

    def _put(self, combinations: Iterable[Mapping[Any, Any]], state: int) -> None:
        with self._lock:
            entries = [self._entry(one) for one in combinations]
            if len(entries) == 1 and self._db is not None and self._pid == _pid:
                entry = entries[0]
                sure = state == DONE or entry.state != DONE
                if state == DONE:
                    self._paced()
                    ahead = self._eager >= EAGER and self._may_hurry()
                    if ahead and self._put_and_take(entry):
                        self._said_at = time.monotonic()
                        return
                    self._said_at = time.monotonic()
                if sure and self._say(entry, state, at_once=True):
                    return
            with self._change():
                self._fold()
                for entry in entries:
                    if entry.state == DONE and state != DONE:
                        continue  # somebody else has done it; that stays true
                    self._say(entry, state)

    def done(self, combination: Mapping[Any, Any]) -> None:
        """It is done, for ever."""
        self._put([combination], DONE)

    def done_batch(self, combinations: Iterable[Mapping[Any, Any]]) -> None:
        self._put(combinations, DONE)

    def skip(self, combination: Mapping[Any, Any]) -> None:
        """Not in this run: the next one, which may have other means, finds it again."""
        self._put([combination], SKIPPED)

    def skip_batch(self, combinations: Iterable[Mapping[Any, Any]]) -> None:
        self._put(combinations, SKIPPED)

    def cancel(self, combination: Mapping[Any, Any]) -> None:
        """It is to be done again, after the others."""
        self._put([combination], TODO)

    def cancel_batch(self, combinations: Iterable[Mapping[Any, Any]]) -> None:
        self._put(combinations, TODO)

    def reset(self, reset_inprogress: bool = False) -> None:
        """What was skipped is to be done; with ``reset_inprogress`` also what others work on."""
        with self._lock, self._settled(), self._change():
            self._fold()
            for state in (SKIPPED, INPROGRESS) if reset_inprogress else (SKIPPED,):
                for entry in list(self._states[state]):
                    self._say(entry, TODO)

    def update(self) -> None:
        """See what other processes have done, and whether those that work still live."""
        with self._lock, self._settled(), self._change():
            self._fold()
            self._reclaim()

    full_update = update

    # -------------------------------------------------------------------------------------- looking

    def _look(self) -> None:
        """Reading needs no lock on the file."""
        try:
            with self._settled():
                self._fold()
        except sqlite3.Error as error:
            raise self._broken(error) from None
        due = time.monotonic() - self._looked_at > LOOK_S
        if due and self._states[INPROGRESS] and not self._states[TODO]:
            with self._change():
                self._fold()
                self._reclaim()

    def _get(self, state: int) -> Points:
        with self._lock:
            self._look()
            return _points(self._states[state])

    def get_sweeps(self) -> Points:
        """All points of the space."""
        with self._lock:
            return Points(self._entries)

    def get_remaining(self) -> Points:
        """Those that nobody has begun, or that are to be done again."""
        return self._get(TODO)

    def get_inprogress(self) -> Points:
        return self._get(INPROGRESS)

    def get_done(self) -> Points:
        return self._get(DONE)

    def get_skipped(self) -> Points:
        return self._get(SKIPPED)

    def counts(self) -> Counts:
        """How many of each, without a copy of them."""
        with self._lock:
            self._look()
            sizes = [len(one) for one in self._states]
            return Counts(
                len(self._entries), sizes[DONE], sizes[SKIPPED], sizes[INPROGRESS], sizes[TODO]
            )

    def stats(self) -> dict[str, Points]:
        """All of it, for `sweep_stats`."""
        with self._lock:
            self._look()
            return {
                "sweeps": Points(self._entries),
                "remaining": _points(self._states[TODO]),
                "skipped": _points(self._states[SKIPPED]),
                "inprogress": _points(self._states[INPROGRESS]),
                "done": _points(self._states[DONE]),
            }

    def __str__(self) -> str:
        n = self.counts()
        return (
            f"{self._name} <{n.total} total, {n.done} done, {n.skipped} skipped, "
            f"{n.inprogress} in progress, {n.remaining} remaining>"
        )

    def __repr__(self) -> str:
        return f"ParamSweeper({self._dir!r})"

    def close(self) -> None:
        """Let go of the file; what we worked on stays ours while this process lives."""
        self._closed.set()
        self._spares.set()
        with self._lock, self._settled():
            if self._db is not None and self._pid == _pid:
                self._db.close()
            self._db = None
