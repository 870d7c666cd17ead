"""Which points of a sweep are done, and who works on the others: kept in a file that several
processes share, and that none of them can spoil by dying.

The file (`sweepfile`) is a log of what happened to points; all else is folded from it. Knows
nothing of what an experiment does.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep import execofile, keys
from gshell.sweep.keys import key_of
from gshell.sweep.log import logger
from gshell.sweep.space import HashableDict, Points, Stats
from gshell.sweep.sweepfile import SweepFile

TODO, INPROGRESS, DONE, SKIPPED = range(4)
RETURNED = 4  # in the log only: to be done, before the others, as if it had never been taken
LOOK_S = 1.0  # so often at most is looked whether somebody who works on a point has died
QUICK_S = 0.005  # points that take less are taken two statements at once: see `_put_and_take`
EAGER = 8  # of them in a row
SPARE_S = 0.25  # a point that was taken ahead and not asked for is given back after this
SPARE_ABOVE = 64  # points to be done: near the end nothing is taken ahead
GROWN = 4  # times as many entries in the log as points: it is written anew
Filter = Callable[[Iterable[HashableDict]], Iterable[HashableDict]]


def _no_states() -> tuple[OrderedDict[_Entry, None], ...]:
    # Their first members are taken away all the time: a dict would be searched for the next one.
    return tuple(OrderedDict() for _ in range(4))


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


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


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


def _left(read: Callable[[str], Any], folder: str, nothing: Any) -> Any:
    """By execo."""
    try:
        return read(folder)
    except OSError as error:
        where = sanitize(os.fspath(error.filename or folder))
        logger.warning("what execo left cannot be read: %s: %s", where, error.strerror)
        return nothing


class ParamSweeper:
    """The points of an experiment, handed out one by one, each to one process at a time.
    In a directory that execo has worked in, what is done is taken over from there.

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
        self._lock = threading.RLock()
        self._looked_at = 0.0
        self._closed = threading.Event()
        self._spare: _Entry | None = None
        """Ours in the file, and not handed out yet."""
        self._spare_at = 0.0
        self._eager = 0  # quick points in a row
        self._said_at = 0.0  # when `done` or `get_next` was over last
        self._spares = threading.Event()
        self._giving: threading.Thread | None = None
        self._file = SweepFile(self._dir, self._begun)
        _all.add(self)
        self._forget()
        with self._lock, self._change():
            if sweeps is None:
                sweeps = self._kept_space()
            self._set_space(sweeps)
            if save_sweeps:
                self._keep_space()
            self._fold()
            if not self._seen:
                self._take_over()
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

    def _begun(self) -> None:
        """The file is open, in this process for the first time: a parent's threads are not here."""
        self._spare, self._eager = None, 0
        self._giving = None
        self._closed, self._spares = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction. Within another one (a filter that says what is done) it is a part of
        that."""
        if self._file.is_changing:
            yield
            return
        try:
            with self._file.change():
                yield
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        """What memory has of the transaction never happened: read it all again, when wanted."""
        space, spare = list(self._entries), self._spare
        self._forget()
        self._set_space(space)
        self._spare = self._entries.get(spare.point) if spare is not None else None

    def _fold(self) -> None:
        """Take in what the log has beyond what we know."""
        for number, key, state, owner in self._file.since(self._seen):
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
        owner = self._file.ourselves() if state in (INPROGRESS, SKIPPED) else 0
        number = self._file.say(entry.key, state, owner, self._seen if at_once else None)
        if not number:
            return False
        self._seen = number
        self._enter(entry, state, owner)
        return True

    def _compact(self) -> None:
        """A log that is much longer than what it says is written anew, by whoever is alone."""
        most = GROWN * (len(self._entries) + len(self._foreign)) + 1000
        if self._file.length() <= most:
            return
        with self._lock, self._change():
            self._fold()
            # All that it ever spoke of: who has read half of it may take a point for begun.
            # Numbers go on: whoever has read up to the last one reads these too, to the same end.
            rows = []
            for number, key in enumerate(self._file.spoken_of(), self._seen + 1):
                entry = self._keys().get(key)
                state, owner = (entry.state, entry.owner) if entry else self._foreign[key]
                rows.append((number, key, state, owner))
            self._file.rewrite(rows)
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

    def _take_over(self) -> None:
        """What a sweeper of execo's had done here before ours was ever used stays done."""
        points, unread = _left(execofile.done, self._dir, ([], 0))
        for point in points:
            known = self._entries.get(point)
            self._file.say(key_of(point if known is None else known.point), DONE, 0, None)
        self._fold()
        if points:
            count = sum(point in self._entries for point in points)
            logger.info("%s: %d of its points were done with execo", self._name, count)
        if unread:
            logger.warning(
                "%s: %d points that were done with execo cannot be read, and are done again",
                self._name, unread,
            )  # fmt: skip

    def _kept_space(self) -> list[HashableDict]:
        kept = self._file.kept()
        left: list[HashableDict] = [] if kept else _left(execofile.space, self._dir, [])
        if left:
            return left
        if not kept:
            raise UsageError(
                f"no points are known for {sanitize(self._dir)}",
                hint="ParamSweeper(DIR, sweeps), or save_sweeps=True the first time",
            )
        return [HashableDict(keys.read(key)) for key in kept]

    def _keep_space(self) -> None:
        for key in self._keys():
            try:
                keys.read(key)
            except UsageError as error:
                raise UsageError(
                    f"the points cannot be kept: {error}", hint="give them each time, in `sweeps`"
                ) from None
        self._file.keep(self._keys())

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

    def _living(self) -> set[int]:
        """Of the owners of something, those that live."""
        states = (INPROGRESS, SKIPPED)
        return self._file.living({one.owner for state in states for one in self._states[state]})

    def _reclaim(self) -> None:
        """Points whose owner has died are to be done again."""
        self._looked_at = time.monotonic()
        if not self._states[INPROGRESS]:
            return
        living = self._living()
        for entry in list(self._states[INPROGRESS]):
            if entry.owner not in living:
                self._say(entry, TODO)

    def _return_skipped(self) -> None:
        """What an earlier run has skipped may be possible now."""
        if self._states[SKIPPED]:
            living = self._living()
            for entry in list(self._states[SKIPPED]):
                if entry.owner not in living:
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
            if spare is not None and self._file.is_open:
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
        mine = (taken.key, INPROGRESS, self._file.me)
        number = self._file.say_two((entry.key, DONE, 0), mine, self._seen)
        if not number:
            return False
        self._seen = number
        self._enter(entry, DONE, 0)
        self._enter(taken, INPROGRESS, self._file.me)
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
        if spare is not None and self._file.is_open:
            self._eager = -EAGER * 8
            with self._change():
                self._fold()
                if (spare.state, spare.owner) == (INPROGRESS, self._file.me):
                    self._say(spare, RETURNED)
        yield

    def _may_hurry(self) -> bool:
        """There is something to do, we are known, and it is not time to look after others."""
        return bool(
            self._states[TODO] and self._file.me and self._file.is_open
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
            if len(entries) == 1 and self._file.is_open:
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
        with self._settled():
            self._fold()
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

    def stats(self) -> Stats:
        """All of it, for `sweep_stats`; a tuple, as execo's."""
        with self._lock:
            self._look()
            return Stats(
                Points(self._entries),
                *(_points(self._states[one]) for one in (TODO, SKIPPED, INPROGRESS, DONE)),
            )

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
            self._file.close()
