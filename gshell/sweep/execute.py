"""An experiment's file carried out: prepared, each of its points run, judged by what it printed,
and tried again where that may help; gone on with after any death.

What was done is known by the result directory alone: the sweeper hands points out, the log of
attempts says what became of them, outputs have their name only when they are whole and verified.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep import definition, resultdir
from gshell.sweep import process as processes
from gshell.sweep.attempts import History, Lock, Log, Point, Progress, progress
from gshell.sweep.engine import Engine
from gshell.sweep.experiment import REPETITION, Experiment, fill
from gshell.sweep.judging import judge, shown
from gshell.sweep.keys import key_of
from gshell.sweep.places import DIRECTORY, Place, Pool, pool_key, pool_of
from gshell.sweep.preparing import Preparation
from gshell.sweep.process import ProcessBase
from gshell.sweep.space import HashableDict
from gshell.sweep.sweeper import ParamSweeper

SWEEPER = "sweeper"
KILL_S = 10.0  # from TERM to KILL, of what is too late or was interrupted
VAIN = 3  # reservations that ended before a point had: there is no use in another
LOOK_S = 0.5  # so often is looked for what nobody tells


class Running(NamedTuple):
    """A point that is being run."""

    point: HashableDict
    key: str
    slug: str
    attempt: int
    slots: int
    place: Place
    pool: Pool
    process: ProcessBase
    begun: float
    """By a clock that nobody puts back."""


Tell = Callable[[str, str], None]
"""(what, words): ``results`` (the directory is ours now), ``note``, ``begun``, ``done``,
``failed``, ``again``, ``skipped``, ``look``."""


class _Run(Engine):
    """Log, ledger of reservations, TERM as Ctrl-C: as for any experiment."""

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self._runner = runner
        self.engine_dir = runner.experiment.here

    def run(self) -> Any:
        self._runner.work()


class Runner:
    """One run over a result directory."""

    def __init__(
        self, experiment: Experiment, folder: str, tell: Tell = lambda what, words: None,
        retry: bool = False, source: str | None = None,
    ) -> None:  # fmt: skip
        """``retry``: what an earlier run gave up is tried again. ``source``: the file that is the
        directory's experiment from now on, if nobody works there."""
        self.experiment = experiment
        self.folder = os.path.abspath(folder)
        self._tell = tell
        self._retry = retry
        self._source = source
        self._log = Log(self.folder)
        self._ended: queue.SimpleQueue[Running | None] = queue.SimpleQueue()
        self._running: list[Running] = []
        self._pools: dict[tuple[str, ...], Pool] = {}
        self._waiting: dict[tuple[str, ...], list[HashableDict]] = {}
        self.interrupted = False
        self.problem: GshellError | None = None

    def run(self) -> Progress:
        """Until nothing more can be done, or somebody interrupts; see ``interrupted``.

        Raises:
            GshellError: somebody else works in the directory, or a preparation failed.
        """
        try:
            os.makedirs(self.folder, exist_ok=True)
            with Lock(self.folder):
                if self._source is not None:
                    resultdir.make(self.experiment, self.folder, self._source)
                resultdir.end_strays(self.folder)
                self.history = History(self._log)
                self._tell("results", self.folder)
                _Run(self).start(["-c", self.folder, "-l", "error"])
                if self.problem is not None:
                    raise self.problem
                return self.progress()
        except OSError as error:
            raise self._cannot(error) from None

    def _cannot(self, error: OSError) -> GshellError:
        """A full disk, a directory that may not be written to."""
        name = sanitize(os.fspath(error.filename or self.folder))
        hint = f"gshell sweep resume {shlex.quote(self.folder)}   when that is put right"
        begun = os.path.exists(os.path.join(self.folder, resultdir.ORIGIN))
        return GshellError(f"{name}: {error.strerror or error}", hint if begun else None)

    def progress(self) -> Progress:
        """How far it is now."""
        one = self.experiment
        slots = resultdir.side_by_side(one) * max(1, len(self._pools))
        return progress(one.points, self.history, one.attempts, time.time(), True, slots, one.best)

    # ------------------------------------------------------------------------------------ all of it

    def work(self) -> None:
        """With the directory locked and everything else in place."""
        kept = processes.configuration["kill_timeout"]
        processes.configuration["kill_timeout"] = KILL_S
        sweeper = ParamSweeper(os.path.join(self.folder, SWEEPER), self.experiment.points)
        try:
            self._settle(sweeper)
            try:
                self._prepare()
                self._sweep(sweeper)
            except KeyboardInterrupt:
                self._interrupt(sweeper)
            except (GshellError, OSError) as error:
                self.problem = self._cannot(error) if isinstance(error, OSError) else error
                self._interrupt(sweeper)
            finally:
                for pool in self._pools.values():
                    pool.give_back()
                self._write_results()
        finally:
            sweeper.close()
            processes.configuration["kill_timeout"] = kept

    def _settle(self, sweeper: ParamSweeper) -> None:
        """What the log knows and the sweeper was not told: its teller died in between."""
        sweeper.reset(reset_inprogress=True)  # we have the lock: nobody else works on anything
        for point in sweeper.get_remaining():
            known = self.history.of(point)
            if known.state != "done":
                known = self._taken_over(point) or known
            if known.state == "done":
                sweeper.done(point)
            elif known.state == "running":
                self._write({"what": "interrupted", "point": key_of(point), "why": "it died"})
            elif known.state == "failed" and known.failures >= self.experiment.attempts:
                if self._retry:
                    self._write({"what": "again", "point": key_of(point)})
                else:
                    sweeper.skip(point)

    def _taken_over(self, point: HashableDict) -> Point | None:
        """Its first repetition, if it was not repeated before; or now is not any more."""
        if point.get(REPETITION, 1) != 1:
            return None
        same = {name: level for name, level in point.items() if name != REPETITION}
        if REPETITION not in point:
            same[REPETITION] = 1
        known = self.history.of(same)
        if known.state != "done":
            return None
        entry = {"slug": known.slug, "seconds": known.seconds, "found": known.found}
        self._write({"what": "done", "point": key_of(point), **entry})
        return known

    def _write_results(self) -> None:
        """The tables, of what is done."""
        try:
            self.write_results()
        except OSError as error:
            self.problem = self.problem or self._cannot(error)

    def write_results(self) -> None:
        table = resultdir.table_of(self.folder, self.experiment)
        for name in ("results.csv", "results.jsonl"):
            table.write(os.path.join(self.folder, name))

    def _write(self, entry: dict[str, Any]) -> None:
        entry = {"at": time.time(), **entry}
        self._log.add(entry)
        self.history.fold(entry)

    # ---------------------------------------------------------------------------------- preparing

    def _prepare(self) -> None:
        if not self.history.points:
            self._tell("note", f"{len(self.experiment.points)} points")
        places: list[Place] = []
        if self.experiment.where.kind == "ssh":
            places = self._pool(self.experiment.points[0]).places
        Preparation(
            self.experiment, self.folder, self._run_to_end, lambda words: self._tell("note", words)
        ).do(places)

    def _run_to_end(self, process: ProcessBase) -> None:
        process.start()
        try:
            while not process.ended:
                process.wait(LOOK_S)
                self._tell("look", "")
        except BaseException:
            process.kill()
            process.wait(KILL_S + 5)
            raise

    # ----------------------------------------------------------------------------------- sweeping

    def _sweep(self, sweeper: ParamSweeper) -> None:
        while True:
            self._start_what_fits(sweeper)
            if not self._running and not self._is_waiting():
                if not sweeper.get_remaining():
                    return
                continue
            with contextlib.suppress(queue.Empty):
                self._over(sweeper, self._ended.get(timeout=LOOK_S))
                while True:
                    self._over(sweeper, self._ended.get_nowait())
            self._tell("look", "")

    def _is_waiting(self) -> bool:
        return any(pool.state == "asked" for pool in self._pools.values())

    def _pool(self, point: HashableDict) -> Pool:
        names = self.experiment.names(point, {})
        key = pool_key(self.experiment.where, names)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = pool_of(self.experiment.where, names)
        return pool

    def _start_what_fits(self, sweeper: ParamSweeper) -> None:
        wanted: set[tuple[str, ...]] = set()
        while True:
            chosen: list[tuple[Pool, Place, int]] = []

            def first_that_fits(
                points: Iterable[HashableDict],
                chosen: list[tuple[Pool, Place, int]] = chosen,
            ) -> Iterable[HashableDict]:
                full: set[tuple[tuple[str, ...], int]] = set()
                for point in points:
                    pool, slots = self._pool(point), self.experiment.slots_of(point)
                    wanted.add(pool.key)
                    if (pool.key, slots) in full:
                        continue
                    place = self._place(pool, slots)
                    if place is not None:
                        chosen.append((pool, place, slots))
                        return [point]
                    full.add((pool.key, slots))
                return []

            point = sweeper.get_next(first_that_fits)
            if point is None:
                break
            pool, place, slots = chosen[0]
            if slots > place.slots:
                why = f"it takes {slots} slots, and no place has more than {place.slots}"
                self._give_up(sweeper, point, "skipped", why)
            elif pool.state == "broken":
                self._give_up(sweeper, point, "skipped", pool.why)
            else:
                self._begin(pool, place, slots, point)
        busy = {one.pool.key for one in self._running}
        for key, pool in self._pools.items():
            if key not in wanted and key not in busy and pool.state == "ready" and key:
                pool.give_back()

    def _place(self, pool: Pool, slots: int) -> Place | None:
        """Where so many slots are free, or, for saying no, the largest there is."""
        busy = any(one.pool is pool for one in self._running)
        if pool.state == "ready" and not busy and not pool.lasts(self.experiment.timeout):
            pool.give_back()
        if pool.state == "none":
            if pool.vain >= VAIN:
                pool.state, pool.why = "broken", "reservations end before a point has"
            else:
                self._tell("note", "reserving " + " ".join(filter(None, pool.key)))
                pool.ask(lambda: self._ended.put(None))
        if pool.state == "broken":
            return Place("nowhere", slots)
        if pool.state != "ready" or not pool.lasts(self.experiment.timeout):
            return None
        largest = max(pool.places, key=lambda place: place.slots)
        if slots > largest.slots:
            return largest
        return next(
            (one for one in sorted(pool.places, key=lambda one: -one.free) if one.free >= slots),
            None,
        )

    def _begin(self, pool: Pool, place: Place, slots: int, point: HashableDict) -> None:
        one = self.experiment
        key, known = key_of(point), self.history.of(point)
        slug, attempt = self.history.slug_of(point), known.attempts + 1
        ours = {
            "results": self.folder, "here": one.here, "slug": slug, "attempt": attempt,
            "slots": slots, **place.names(),
        }  # fmt: skip
        names = one.names(point, ours)
        command = fill(one.command, names)
        directory = os.path.join(one.here, fill(one.directory, names))
        environment = {
            **{name: fill(text, names) for name, text in one.environment.items()},
            DIRECTORY: self.folder,
        }
        for ending in (".out.part", ".err.part"):
            Path(self._path(slug, ending)).unlink(missing_ok=True)
        self._write(
            {"what": "begun", "point": key, "slug": slug, "attempt": attempt, "place": place.name}
        )
        process = place.process(
            command, directory, environment, timeout=one.timeout,
            stdout_handlers=[self._path(slug, ".out.part")],
            stderr_handlers=[self._path(slug, ".err.part")],
            default_stdout_handler=False, default_stderr_handler=False,
            nolog_exit_code=True, nolog_timeout=True, nolog_error=True, name=slug,
        )  # fmt: skip
        running = Running(point, key, slug, attempt, slots, place, pool, process, time.monotonic())
        place.free -= slots
        self._running.append(running)
        process.enders.append(lambda ended: self._ended.put(running))
        process.start()
        self._tell("begun", slug)

    def _path(self, slug: str, ending: str) -> str:
        return os.path.join(self.folder, slug + ending)

    # ------------------------------------------------------------------------------------ judging

    def _over(self, sweeper: ParamSweeper, one: Running | None) -> None:
        if one is None:  # a pool has something to say
            return
        seconds = time.monotonic() - one.begun
        self._running.remove(one)
        one.place.free += one.slots
        if one.process.exit_code == 255 and one.pool.key and one.pool.is_lost():
            self._again(sweeper, one, "its hosts were taken away")
            if not any(other.pool is one.pool for other in self._running):
                one.pool.vain = 0 if one.pool.done_since else one.pool.vain + 1
                one.pool.give_back()
            return
        one.pool.done_since += 1
        found, why = judge(self.experiment, one.point, one.process, self._path(one.slug, ""))
        entry = {
            "point": one.key, "seconds": seconds, "found": found, "exit": one.process.exit_code,
        }  # fmt: skip
        if not why:
            self._keep(one, ".out")
            self._write({"what": "done", **entry})
            sweeper.done(one.point)
            self._tell("done", f"{one.slug}  {shown(self.experiment, found, seconds)}")
            return
        self._keep(one, f".failed-{one.attempt}.out")
        self._write({"what": "failed", "why": why, **entry})
        left = self.experiment.attempts - self.history.points[one.key].failures
        if left > 0:
            sweeper.cancel(one.point)
            again = f"{left} more {'try' if left == 1 else 'tries'}"
            self._tell("again", f"{one.slug}: {why}; {again}")
        else:
            sweeper.skip(one.point)
            self._tell("failed", f"{one.slug}: {why}")

    def _keep(self, one: Running, ending: str) -> None:
        """Under its name for good: whole, on disk."""
        part = self._path(one.slug, ".out.part")
        with open(part, "ab") as file:
            os.fsync(file.fileno())
        os.replace(part, self._path(one.slug, ending))
        errors = Path(self._path(one.slug, ".err.part"))
        if errors.exists():
            if errors.stat().st_size:
                errors.replace(self._path(one.slug, ending.removesuffix(".out") + ".err"))
            else:
                errors.unlink()

    def _again(self, sweeper: ParamSweeper, one: Running, why: str) -> None:
        """Not its fault: this attempt does not count."""
        self._write({"what": "interrupted", "point": one.key, "why": why})
        for ending in (".out.part", ".err.part"):
            Path(self._path(one.slug, ending)).unlink(missing_ok=True)
        sweeper.cancel(one.point)

    def _give_up(self, sweeper: ParamSweeper, point: HashableDict, what: str, why: str) -> None:
        slug = self.history.slug_of(point)
        self._write({"what": what, "point": key_of(point), "slug": slug, "why": why})
        sweeper.skip(point)
        self._tell("skipped", f"{slug}: {why}")

    def _interrupt(self, sweeper: ParamSweeper) -> None:
        """End what runs, and leave everything so that it can be gone on with."""
        self.interrupted = self.problem is None
        if self._running and self.interrupted:
            self._tell("note", f"ending {len(self._running)} running; once more ends them at once")
        try:
            for one in self._running:
                one.process.kill(auto_force_kill_timeout=KILL_S)
            for one in self._running:
                one.process.wait(KILL_S + 5)
        except KeyboardInterrupt:
            for one in self._running:
                one.process.kill(signal.SIGKILL)
            for one in self._running:
                one.process.wait(5)
        for one in self._running:
            with contextlib.suppress(OSError, UsageError):  # the next run sees it anyway
                self._again(sweeper, one, "interrupted")
        self._running.clear()


def run_experiment(
    source: str | os.PathLike[str], folder: str, tell: Tell = lambda what, words: None
) -> Progress:
    """What `gshell sweep run -o folder source` does, or goes on with if ``folder`` is there."""
    if not os.path.exists(os.path.join(folder, resultdir.ORIGIN)):
        resultdir.make(definition.load(source), folder, os.fspath(source))
    return Runner(resultdir.experiment_of(folder), folder, tell).run()
