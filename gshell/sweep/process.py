"""A process as a value that can be asked. Knows not where it is: local and remote ones inherit.

Starting and ending is asynchronous; nothing raises because a program failed: that is news, in
``ok``, ``exit_code`` and one line of the log.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from gshell.sweep import conductor as conducting
from gshell.sweep import processwords as words
from gshell.sweep.expect import NOTHING, Match, Text, compiled
from gshell.sweep.handlers import STDERR, STDOUT, Aside, Guarded, Sink, sink
from gshell.sweep.log import logger
from gshell.sweep.times import clock, get_seconds, patience

configuration: dict[str, Any] = {
    "kill_timeout": 60.0,  # seconds from TERM to KILL
    "compact_output_threshold": 4096,  # characters of output in a message; the middle is left out
}
UNKEPT = 1 << 16  # characters, for `expect`, of output that is not kept
HELD = 4 << 20  # bytes that handlers have not had yet: more than that waits in the pipe
UNENDING = {  # signals that end nothing by themselves
    0, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
    signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH,
}  # fmt: skip


class ProcessLifecycleHandler:
    """To be inherited: told of the process's start (it has begun), end and reset, each before
    whoever waits for it goes on."""

    def start(self, process: ProcessBase) -> None: ...

    def end(self, process: ProcessBase) -> None: ...

    def reset(self, process: ProcessBase) -> None: ...


class ProcessBase:
    """What all processes have in common. Inherited: ``_begin`` starts it, ``_signal`` reaches it,
    ``_put`` is its stdin; they call ``_output``, ``_over``."""

    host: Any = None
    """Where it is; None: here."""

    def __init__(
        self,
        cmd: str | Sequence[str],
        *,
        timeout: Any = None,
        ignore_exit_code: bool = False,
        nolog_exit_code: bool = False,
        ignore_timeout: bool = False,
        nolog_timeout: bool = False,
        ignore_error: bool = False,
        nolog_error: bool = False,
        ignore_expect_fail: bool = False,
        nolog_expect_fail: bool = False,
        ignore_write_error: bool = False,
        nolog_write_error: bool = False,
        default_expect_timeout: Any = None,
        default_stdout_handler: bool = True,
        default_stderr_handler: bool = True,
        lifecycle_handlers: Iterable[ProcessLifecycleHandler] | None = None,
        stdout_handlers: Iterable[Any] | None = None,
        stderr_handlers: Iterable[Any] | None = None,
        name: str | None = None,
    ) -> None:
        """``timeout``: seconds, ``"h:m:s"`` or a timedelta; it is ended then. ``ignore_*``: that
        does not make it not ok; ``nolog_*``: nor is it worth a warning. ``stdout_handlers``: see
        `handlers.sink`. ``default_*_handler``: keep the output in ``stdout``, ``stderr``."""
        self.cmd = cmd
        self.timeout = timeout
        get_seconds(timeout)  # a wrong one is told now
        self.ignore_exit_code, self.nolog_exit_code = ignore_exit_code, nolog_exit_code
        self.ignore_timeout, self.nolog_timeout = ignore_timeout, nolog_timeout
        self.ignore_error, self.nolog_error = ignore_error, nolog_error
        self.ignore_expect_fail = ignore_expect_fail
        self.nolog_expect_fail = nolog_expect_fail
        self.ignore_write_error = ignore_write_error
        self.nolog_write_error = nolog_write_error
        self.default_expect_timeout = default_expect_timeout
        self.default_stdout_handler = default_stdout_handler
        self.default_stderr_handler = default_stderr_handler
        self.lifecycle_handlers = list(lifecycle_handlers or ())
        self.enders: list[Callable[[ProcessBase], None]] = []
        """Called at its end, once each, quickly: for the actions that it is part of."""
        self.stdout_handlers = list(stdout_handlers or ())
        self.stderr_handlers = list(stderr_handlers or ())
        self.name = name or words.short(cmd)
        self._lock = threading.RLock()
        self._text = {
            STDOUT: Text(None if default_stdout_handler else UNKEPT),
            STDERR: Text(None if default_stderr_handler else UNKEPT),
        }
        self._clear()

    def _clear(self) -> None:
        self.started = self.ended = self._gone = False
        self.start_date: float | None = None
        self.end_date: float | None = None
        self.pid: int | None = None
        self.error = False
        """It could not be started."""
        self.error_reason: BaseException | None = None
        self.exit_code: int | None = None
        """0 to 255; after a signal 128 + its number, as shells have it; None: not yet."""
        self.signal: int | None = None
        """That ended it."""
        self.timeouted = self.killed = self.forced_kill = False
        self._patience_s = 0.0
        self._opened = {STDOUT: 0, STDERR: 0}
        self._start_told = threading.Event()
        self._home = 0
        self.expect_fail = self.write_error = False
        self._sinks: dict[int, list[Sink]] = {STDOUT: [], STDERR: []}
        self.guarded: list[Guarded] = []
        """Its handlers; each knows whether it failed."""
        self._timers: list[Callable[[], None]] = []
        self._aside: Aside | None = None
        self._done = threading.Event()  # of this run: of the one before somebody may still wait
        for text in self._text.values():
            text.clear()

    # ----------------------------------------------------------------------------------- what it is

    @property
    def stdout(self) -> str:
        """All of it so far; bytes that are no UTF-8 as lone surrogates."""
        return self._text[STDOUT].whole() if self.default_stdout_handler else ""

    @property
    def stderr(self) -> str:
        return self._text[STDERR].whole() if self.default_stderr_handler else ""

    @property
    def running(self) -> bool:
        return self.started and not self.ended

    @property
    def _there(self) -> bool:
        """It can be reached; it has not ended before its handlers have had all of it."""
        return self.started and not self._gone

    @property
    def _ours(self) -> bool:
        """This Python started it, not one that this is a fork of: its descriptors are open here."""
        return self._home == os.getpid()

    @property
    def ok(self) -> bool:
        """Nothing went wrong so far, of what counts."""
        if not self.started:
            return True
        if self.expect_fail and not self.ignore_expect_fail:
            return False
        if self.write_error and not self.ignore_write_error:
            return False
        if not self.ended:
            return True
        return (
            (not self.error or self.ignore_error)
            and (not self.timeouted or self.ignore_timeout)
            and (self.exit_code == 0 or self.killed or self.ignore_exit_code or self.error)
        )

    @property
    def finished_ok(self) -> bool:
        """It was started, has ended, and nothing went wrong."""
        return self.started and self.ended and self.ok

    def __repr__(self) -> str:
        return f"{type(self).__name__}({words.made_of(self, self._shown())})"

    def _shown(self) -> str:
        return repr(self.cmd)

    def __str__(self) -> str:
        return f"<{type(self).__name__}({words.facts(self, self._shown())})>"

    def stats(self) -> dict[str, Any]:
        """As an action's, of it alone."""
        return words.counted(self.name, self.start_date, self.end_date, [self])

    def dump(self) -> str:
        """Everything that is known, output too; its middle is left out where it is long."""
        most = configuration["compact_output_threshold"]
        stdout, stderr = words.compact(self.stdout, most), words.compact(self.stderr, most)
        return f"{self}\nstdout:\n{stdout}\nstderr:\n{stderr}"

    # ---------------------------------------------------------------------------------- its life

    def start(self) -> Self:
        """Begin; a second start changes nothing. Who wants to know how it went looks at ``ok``."""
        with self._lock:
            if self.started:
                return self
            self.started = True
            self._home = os.getpid()
            self.start_date = time.time()
            try:
                self._sinks[STDOUT].append(_Kept(self._text[STDOUT]))
                self._sinks[STDERR].append(_Kept(self._text[STDERR]))
                self._open_sinks(STDOUT)
                self._open_sinks(STDERR)
                if self.timeout is not None:
                    self._later(get_seconds(self.timeout) or 0.0, self._time_out)
                self._begin()
            except Exception as error:
                self._failed(error)
            except BaseException as error:  # Ctrl-C: nobody shall wait for it
                self._failed(error)
                self._start_told.set()
                raise
        self._tell("start")
        self._start_told.set()
        return self

    def run(self, timeout: Any = None) -> Self:
        return self.start().wait(timeout)

    def wait(self, timeout: Any = None) -> Self:
        """Until it has ended and all its output is here, or ``timeout`` is over: see ``ended``.

        Raises:
            ValueError: it was never started.
        """
        if not self.started:
            raise ValueError(f"{self!r} was not started")
        if not self._ours and not self._done.is_set():
            raise ChildProcessError(f"{self!r} is of process {self._home}, which this is a fork of")
        self._done.wait(patience(timeout))
        return self

    def kill(self, sig: int = signal.SIGTERM, auto_force_kill_timeout: Any = True) -> Self:
        """Send it a signal, with all its children; if it is still there after
        ``auto_force_kill_timeout`` seconds (True: as configured; False or 0: never), KILL. Does not
        wait."""
        with self._lock:
            if not self._there:
                return self
            if sig not in UNENDING:
                self.killed = True
                after_s = auto_force_kill_timeout
                if after_s is True:
                    after_s = configuration["kill_timeout"]
                self._patience_s = get_seconds(after_s) or 0.0
                if self._patience_s and sig != signal.SIGKILL:
                    self._later(self._patience_s, self._force)
        self._signal(sig)
        return self

    def _force(self) -> None:
        if self._there:
            self.forced_kill = True
            self._signal(signal.SIGKILL)

    def _time_out(self) -> None:
        if self._there:
            self.timeouted = True
            self.kill()

    def reset(self) -> Self:
        """As if it had never been started; ends it first, if it runs."""
        if self.running:
            self.kill()
            self.wait()
        with self._lock:
            self._clear()
        self._tell("reset")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._ours:  # a fork leaves the block too
            self.kill()

    def write(self, text: str | bytes) -> None:
        """To its stdin."""
        if not (self._there and self._ours):
            self._write_failed()
            return
        self._put(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)

    def _write_failed(self) -> None:
        if not self.write_error:
            self.write_error = True
            (logger.detail if self.nolog_write_error else logger.warning)("%r does not read", self)

    def flush(self) -> None:
        """For ``print(..., file=process)``: what was written is on its way already."""

    def close_stdin(self) -> None:
        """It reads the end of its input."""
        if self._there and self._ours:
            self._put(None)

    def expect(
        self, regexes: Any, timeout: Any = False, stream: int = STDOUT, backtrack: bool = True
    ) -> Match:
        """Wait until one of ``regexes`` is in its output: ``(which, match)``, or ``(None, None)``
        when it has ended or ``timeout`` seconds are over (False: the default; None: never).

        Where several are there already, the first of ``regexes`` is it. Each thread goes on behind
        what it found last.

        Raises:
            ValueError: it was never started, and there is no limit.
        """
        limit = self.default_expect_timeout if timeout is False else timeout
        if not self.started and limit is None:
            raise ValueError(f"{self!r} was not started")
        found = self._text[stream].expect(compiled(regexes), patience(limit), backtrack)
        if found == NOTHING:
            self.expect_fail = True
            (logger.detail if self.nolog_expect_fail else logger.warning)(
                "%r: did not find %r%s",
                self,
                regexes,
                "" if self.ended else f" within {clock(limit)}",
            )
        return found

    # ------------------------------------------------------------------------- for who inherits

    def _begin(self) -> None:
        """Start it.

        Raises:
            OSError: it cannot be.
        """
        raise NotImplementedError

    def _signal(self, number: int) -> None:
        raise NotImplementedError

    def _put(self, data: bytes | None) -> None:
        raise NotImplementedError

    def _pause(self, paused: bool) -> None:
        """Its handlers have enough to do for now, or no more. Called in any thread."""

    def _output(self, stream: int, data: bytes) -> None:
        """Empty: that was all of this stream. Called in one thread."""
        handlers = self.stdout_handlers if stream == STDOUT else self.stderr_handlers
        if len(handlers) > self._opened[stream]:  # given when it ran already
            try:
                self._open_sinks(stream)
            except Exception:
                logger.exception("an output handler of %r", self)
        for one in self._sinks[stream]:
            if isinstance(one, Guarded) and one.users:
                if self._aside is None:
                    self._aside = Aside(HELD, self._pause)
                self._aside.hand(one, data)
            elif data:
                one.feed(data)
            else:
                one.end()
        if not data:
            self._text[stream].end()
            self._sinks[stream] = []

    def _over(self, code: int | None, number: int | None = None) -> None:
        """It has ended, and all its output was told."""
        with self._lock:
            if self._gone:
                return
            for stream in (STDOUT, STDERR):
                if self._sinks[stream] or not self._text[stream].ended:
                    self._output(stream, b"")
            self.exit_code, self.signal = code, number
            self.end_date = time.time()
            for cancel in self._timers:
                cancel()
            self._gone = True
            finish = functools.partial(self._finish, self._done)
        aside, self._aside = self._aside, None
        if aside is not None:
            aside.end(finish)
        elif self.lifecycle_handlers:  # they may start and wait for others
            threading.Thread(target=finish, daemon=True).start()
        else:
            finish()

    def _failed(self, error: BaseException) -> None:
        self.error, self.error_reason = True, error
        self._over(None)

    def _finish(self, done: threading.Event) -> None:
        if self.lifecycle_handlers:
            self._start_told.wait()
        self.ended = True
        enders, self.enders = self.enders, []
        self._log()
        self._tell("end")  # may reset it, and begin it anew
        done.set()
        for call in enders:
            call(self)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._timers.append(conducting.conductor().later(delay_s, call))

    def _open_sinks(self, stream: int) -> None:
        """Of handlers that it was given since the last time."""
        handlers = self.stdout_handlers if stream == STDOUT else self.stderr_handlers
        for handler in handlers[self._opened[stream] :]:
            self._opened[stream] += 1
            guarded = Guarded(sink(handler, self, stream), repr(self))
            self._sinks[stream].append(guarded)
            self.guarded.append(guarded)

    def _tell(self, what: str) -> None:
        for handler in self.lifecycle_handlers:
            try:
                getattr(handler, what)(self)
            except Exception:
                logger.exception("lifecycle handler %s of %r", what, self)

    def _log(self) -> None:
        """When something went wrong."""
        if self.error:
            quiet = self.nolog_error
        elif self.timeouted:
            quiet = self.nolog_timeout
        elif self.exit_code and not self.killed:
            quiet = self.nolog_exit_code
        else:
            return
        most = configuration["compact_output_threshold"]
        told = words.went_wrong(self, self._shown(), most)
        (logger.detail if quiet else logger.warning)("%s", told)


class _Kept:
    """Output in memory."""

    def __init__(self, text: Text) -> None:
        import codecs

        self._text = text
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def feed(self, data: bytes) -> None:
        self._text.add(self._decoder.decode(data))

    def end(self) -> None:
        self._text.add(self._decoder.decode(b"", True))
