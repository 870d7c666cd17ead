"""A run's recordings: which files there are, and what of a conversation goes into them. Loaded by
who records only.

A recording is never worth more than what is recorded: a disk that is full ends it, with one
message, and the session goes on.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import time

from gshell.cast.format import Header
from gshell.cast.recorder import Recorder, timed
from gshell.client.recordspec import RecordSpec
from gshell.client.seats import within
from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gshell.client.plan import Plan
    from gshell.client.run import Runner
    from gshell.client.seats import Seat

MOST_FILES = 256  # open at a time


class Tape:
    """One file. Invariant: it ends with a whole line, whatever the disk did."""

    def __init__(self, path: str, spec: RecordSpec, failed: Callable[[Tape, str], None]) -> None:
        """
        Raises:
            GshellError: it cannot be written, or is there already.
        """
        self.path = path
        self._failed = failed
        self.broken = False
        self.resumed_at: float | None = None
        self.version = spec.version
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._ours = False  # did we make it?
        try:
            try:
                self._fd = os.open(path, flags | os.O_EXCL, 0o600)
                self._ours = True
            except FileExistsError:
                if not (spec.overwrite or spec.append):
                    raise
                self._fd = _opened(path, flags, spec.overwrite)
        except FileExistsError:
            raise UsageError(
                f"{sanitize(path)} is there already", hint="--overwrite, --append, or another name"
            ) from None
        except OSError as error:
            what = f"cannot record to {sanitize(path)}: {error.strerror}"
            raise GshellError(what, hint="another FILE, in a directory you may write to") from None
        self._size = 0
        self.events = -1  # the header is none
        if spec.append and os.fstat(self._fd).st_size:
            self._go_on()
        self.recorder: Recorder | None = None

    def _go_on(self) -> None:
        """After what is there; a line without its end is taken off."""
        with open(self.path, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        self._size = sum(map(len, lines))
        try:
            header = json.loads(lines[0])
            self.version = header["version"]
            times = [json.loads(line)[0] for line in lines[1:] if line.startswith(b"[")]
            if self.version not in (2, 3):
                raise ValueError
            self.resumed_at = float(sum(times) if self.version == 3 else times[-1] if times else 0)
        except (ValueError, LookupError, TypeError, RecursionError):
            os.close(self._fd)
            raise UsageError(
                f"{sanitize(self.path)} is no asciicast v2 or v3: nothing can be appended"
            ) from None
        os.ftruncate(self._fd, self._size)
        self.events = 0

    def write(self, line: bytes) -> None:
        """All of it or nothing."""
        if self.broken:
            return
        try:
            count = os.write(self._fd, line)
            why = "" if count == len(line) else "no space left"
        except OSError as error:
            why = str(error.strerror)
        if why:
            self.broken = True
            try:
                os.ftruncate(self._fd, self._size)
            except OSError:
                pass  # a reader passes over half a line
            self._failed(self, why)
            return
        self._size += len(line)
        self.events += 1

    def close(self) -> None:
        """For good; a file that we made, with nothing in it, is not left behind."""
        os.close(self._fd)
        if self._ours and self.events <= 0:
            try:
                os.unlink(self.path)
            except OSError:
                pass


def _opened(path: str, flags: int, empty: bool) -> int:
    """A file that is there already. Whose it is, is known before anything of it is lost.

    Raises:
        OSError: it cannot be opened.
        GshellError: somebody else would read what is recorded.
    """
    fd = os.open(path, flags & ~os.O_CREAT)
    try:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            if status.st_uid != os.geteuid():
                raise GshellError(f"cannot record to {sanitize(path)}: it belongs to somebody else")
            if empty:
                os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


class Recording:
    """Of one run or attachment. Times are this client's: when something came."""

    def __init__(self, runner: Runner, spec: RecordSpec, plan: Plan) -> None:
        self.spec = spec
        self._plan = plan
        self._loop = runner._loop
        self._port = runner._port
        self._say: Callable[[str], None] = lambda text: runner.screen.say(text)
        self._began: float | None = None  # by the loop's clock
        self._tapes: dict[int | None, Tape] = {}
        self._refused: set[int | None] = set()
        self._job = ""
        self._window: tuple[int, int] | None = None
        self._times: dict[tuple[Seat, int], list[list[float]]] = {}
        self._lines: Any = None  # of several ranks in one file
        self._size = 1
        self._marks = 0
        self._exits: dict[int, tuple[int, float]] = {}  # rank -> its status, when
        self._past = False  # all of it was over before we came
        self._stamp = 0
        self.over = False
        if "%j" not in spec.file and "%r" not in spec.file:
            self._tapes[None] = Tape(spec.file, spec, self._broke)

    @property
    def _each(self) -> bool:
        """A file for each rank?"""
        return "%r" in self.spec.file

    def _now(self) -> float:
        if self._began is None:
            self._began = self._loop.clock()
            self._stamp = int(time.time())
        return self._loop.clock() - self._began

    # -- files

    def _broke(self, tape: Tape, why: str) -> None:
        name = sanitize(tape.path)
        self._loop.soon(lambda: self._say(f"[recording stopped: {name}: {why}; the job goes on]"))

    def _path(self, rank: int | None) -> str:
        number = "mpi" if rank == -1 else str(rank or 0)
        path = self.spec.file.replace("%%", "\0").replace("%j", self._job)
        return path.replace("%r", number).replace("\0", "%")

    def _recorder(self, rank: int) -> Recorder | None:
        """Of that rank, by its number in the job; None: there is none (any more)."""
        key = rank if self._each else None
        if key in self._refused:
            return None
        tape = self._tapes.get(key)
        if tape is None:
            try:
                if len(self._tapes) >= MOST_FILES:
                    raise GshellError(f"more than {MOST_FILES} ranks: --rank says which")
                tape = self._tapes[key] = Tape(self._path(key), self.spec, self._broke)
            except GshellError as error:
                self._refused.add(key)
                self._say(f"[not recorded: {error.message}]")
                return None
        if tape.recorder is None:
            self._now()
            tape.recorder = Recorder(
                tape.write, self._header(tape.version, rank),
                marks=self.spec.input, pipes=not self._on_terminal, resumed_at=tape.resumed_at,
            )  # fmt: skip
            if tape.resumed_at is not None:
                columns, rows = self._columns_rows()
                tape.recorder.resized(self._at(tape), columns, rows)
        return tape.recorder if not tape.broken else None

    @property
    def _on_terminal(self) -> bool:
        return self._window is not None or self._plan.pty

    def _columns_rows(self) -> tuple[int, int]:
        rows, columns = self._window or self._port.size()
        return columns or 80, rows or 24

    def _header(self, version: int, rank: int) -> Header:
        plan = self._plan
        columns, rows = self._columns_rows()
        spec = plan.spec
        env = spec.get("env") or (plan.here.env if plan.here is not None else {})
        kept = {name: env[name] for name in ("SHELL", "TERM") if env.get(name)}
        shell = spec.get("shell") or self.spec.interactive
        command = shlex.join(spec["argv"]) if spec.get("argv") and not shell else None
        title = f"job {self._job}" if self._job else "gshell"
        if self._each:
            title += f" rank {rank}"
        return Header(
            columns, rows, version, timestamp=self._stamp, command=command, title=title,
            env=kept or None, term_type=env.get("TERM") if version == 3 else None,
            more=() if self._on_terminal else (("pipes", True),),
        )  # fmt: skip

    def _at(self, tape: Tape) -> float:
        return self._now() + (tape.resumed_at or 0.0)

    # -- what happens

    def greeted(self, seat: Seat, welcome: dict[str, Any]) -> None:
        """We know whose output will come."""
        self._job = self._job or str(seat.talk.job)
        self._past = welcome.get("state") == "ended"
        window = welcome.get("window")
        if isinstance(window, list) and len(window) == 2 and self._plan.verb != "run":
            rows, columns = (within(n, 0, 10_000) for n in window)
            self._window = (rows or 24, columns or 80)

    def sized(self, size: int) -> None:
        """So many ranks are there, of which several may come into one file."""
        self._size = max(self._size, size)

    def output(self, seat: Seat, stream: int, offset: int, data: bytes) -> None:
        if self.over:
            return
        rank, err = seat.rank(stream), stream % 4 != 3
        if self._plan.rank and not self._wanted(rank):
            return
        marks = self._times.get((seat, stream))
        if marks is not None and offset < seat.live.get(stream, 0):
            for when, piece in timed(marks, offset, data):
                self._put(rank, err, piece, when)
            return
        if not self._each and self._size > 1:
            self._labelled(rank, err, data)
        else:
            self._put(rank, err, data)

    def _put(self, rank: int, err: bool, data: bytes, when: float | None = None) -> None:
        if when is not None and self._began is None:
            self._stamp = int(when)
            self._began = self._loop.clock() - max(0.0, time.time() - when)
        recorder = self._recorder(rank)
        if recorder is None:
            return
        tape = self._tapes[rank if self._each else None]
        at = self._at(tape)
        if when is not None and self._began is not None:
            shift = self._loop.clock() - time.time()
            at = min(at, max(0.0, when + shift - self._began) + (tape.resumed_at or 0.0))
        if err:
            recorder.error(at, data)
        else:
            recorder.output(at, data)

    def _labelled(self, rank: int, err: bool, data: bytes) -> None:
        if self._lines is None:
            from gshell.client.labels import LineLabels

            self._lines = LineLabels(self._size)
        for kind, lines in self._lines.feed(rank, err, data, self._loop.clock()):
            self._put(rank, kind, lines)

    def _wanted(self, rank: int) -> bool:
        from gshell.model.rankset import RankSet

        return rank in RankSet.parse(self._plan.rank)

    def gap(self, seat: Seat, stream: int, size: int) -> None:
        """Something was not kept: a marker says so."""
        recorder = self._recorder(seat.rank(stream))
        if recorder is not None:
            recorder.mark(self._now(), f"gap: {size} bytes not kept")

    def control(self, seat: Seat, message: dict[str, Any]) -> None:
        """What the agent says."""
        kind = message.get("t")
        if self.over or kind not in ("typed", "wait", "size", "times", "exit"):
            return
        if kind == "times":
            marks = message.get("marks")
            if self.spec.history and isinstance(marks, list) and marks:
                clean = [[float(n) for n in mark] for mark in marks]
                self._times[seat, int(message["stream"])] = clean
            return
        number = int(message.get("rank", 0))
        rank = seat.first + number if not (seat.starter and number == seat.tasks - 1) else -1
        if kind == "exit":  # what it has printed may still be on its way
            when = self._now() if self._began is not None else 0.0
            self._exits[rank] = int(message.get("code", 0)), when
            return
        recorder = self._recorder(rank)
        if recorder is None:
            return
        at = self._at(self._tapes[rank if self._each else None])
        if kind == "typed" and self.spec.input:
            if message.get("secret") is True:
                recorder.secret(at)
            else:
                recorder.typed(at, bytes.fromhex(str(message.get("data") or "")))
        elif kind == "wait" and message.get("on") is True and self.spec.input:
            recorder.waits(at, str(message.get("from")))
        elif kind == "size" and self._plan.verb != "run":
            recorder.resized(at, int(message["cols"]), int(message["rows"]))

    def resized(self) -> None:
        """The user's terminal, which is the program's."""
        rows, columns = self._port.size()
        for tape in self._tapes.values():
            if tape.recorder is not None:
                tape.recorder.resized(self._at(tape), columns, rows)

    def prelude(self, data: bytes) -> None:
        """The terminal's modes as recording begins."""
        if data:
            self._put(0, False, data)

    def mark(self) -> str:
        """A marker, everywhere; its label."""
        self._marks += 1
        for tape in self._tapes.values():
            if tape.recorder is not None:
                tape.recorder.mark(self._at(tape), str(self._marks))
        return str(self._marks)

    def close(self, ended: bool) -> None:
        """The program has ended, or goes on without us."""
        if self.over:
            return
        if self._lines is not None:
            for kind, lines in self._lines.flush():
                self._put(0, kind, lines)
        self.over = True
        if self._began is not None or self._exits:  # who printed nothing has ended, too
            for one in sorted(self._exits) if self._each else [0]:
                if not self._each or (one >= 0 and (not self._plan.rank or self._wanted(one))):
                    self._recorder(one)
        worst = max((code for code, _ in self._exits.values()), default=0)
        for rank, tape in self._tapes.items():
            recorder = tape.recorder
            if recorder is not None and not recorder.ended:
                status, at = worst, self._now()
                if rank is not None and rank in self._exits:
                    status, at = self._exits[rank]
                at = 0.0 if self._past else at + (tape.resumed_at or 0.0)
                if ended or (rank is not None and rank in self._exits):
                    recorder.exited(at, status)
                else:
                    recorder.close(at)
            tape.close()

    def told(self) -> str:
        """Where it is, for a person; empty: nowhere."""
        kept = [tape for tape in self._tapes.values() if tape.events > 0]
        if not kept:
            return ""
        last = max(tape.recorder.last_s for tape in kept if tape.recorder is not None)
        files = (
            sanitize(kept[0].path) if len(kept) == 1 else f"{len(kept)} files, {kept[0].path} .."
        )
        events = sum(tape.events for tape in kept)
        return f"{files}: {_span(last)}, {events} event{'s' * (events != 1)}"


def _span(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02d} min" if whole >= 60 else f"{seconds:.1f} s"


# -- while attached


def own_name(runner: Runner) -> str:
    """A file of ours, for who named none."""
    from gshell import config

    folder = config.state_dir() + "/casts"
    config.private_dir(config.state_dir())
    config.private_dir(folder)
    job = runner.seats[0].talk.job
    return f"{folder}/{job}-{time.strftime('%Y%m%d-%H%M%S')}.cast"


def toggle(runner: Runner) -> None:
    """``~R``: begin to record, or stop."""
    recording = runner.recording
    if recording is not None and not recording.over:
        recording.close(False)
        runner.screen.say(f"[recording stopped: {recording.told() or 'nothing came'}]")
        return
    try:
        spec = RecordSpec(own_name(runner))
        runner.recording = begun = Recording(runner, spec, runner._plan)
    except (GshellError, OSError) as error:
        runner.screen.say(f"[cannot record: {sanitize(str(error))}]")
        return
    for seat in runner.seats:
        begun.greeted(seat, {})
    begun.sized(sum(seat.ranks for seat in runner.seats))
    key = runner._plan.escape or "~"
    runner.screen.say(f"[recording to {sanitize(spec.file)}; {key}R stops, {key}m marks]")
    if runner.in_terminal:
        runner._redraw()  # so that it begins with a picture


def mark(runner: Runner) -> None:
    """``~m``."""
    recording = runner.recording
    if recording is None or recording.over:
        runner.screen.say("[nothing is recorded: ~R begins]")
    else:
        runner.screen.say(f"[marker {recording.mark()}]")
