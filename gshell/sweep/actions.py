"""Several processes as one: on many hosts, side by side, or one after the other."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from gshell.sweep import watching
from gshell.sweep.expect import Match, compiled
from gshell.sweep.handlers import STDOUT
from gshell.sweep.hosts import Host, get_hosts_list
from gshell.sweep.local import Process
from gshell.sweep.log import logger
from gshell.sweep.process import ProcessBase
from gshell.sweep.processwords import COUNTS, counted, short
from gshell.sweep.substitution import caller_names, substitute
from gshell.sweep.times import format_date, patience

PRINTED = (
    "num_processes", "num_started", "num_ended", "num_timeouts", "num_errors", "num_forced_kills",
    "num_non_zero_exit_codes", "num_ok", "num_finished_ok",
)  # fmt: skip
assert set(PRINTED) < set(COUNTS)


class ActionLifecycleHandler:
    """To be inherited: told of an action's start, end and reset."""

    def start(self, action: Action) -> None: ...

    def end(self, action: Action) -> None: ...

    def reset(self, action: Action) -> None: ...


class ActionsFailed(Exception):
    """Raised by who checks; `actions` did not go well."""

    def __init__(self, actions: Iterable[Action], message: str = "failed action(s)") -> None:
        super().__init__(message)
        self.actions = list(actions)

    def __str__(self) -> str:
        return _failing(self, [str(one) for one in self.actions])


class ProcessesFailed(Exception):
    """Raised by who checks; `processes` did not go well."""

    def __init__(
        self, processes: Iterable[ProcessBase], message: str = "failed process(es)"
    ) -> None:
        super().__init__(message)
        self.processes = list(processes)

    def __str__(self) -> str:
        of = [one.dump() if isinstance(one, ProcessBase) else str(one) for one in self.processes]
        return _failing(self, of)


def _failing(error: Exception, of: list[str]) -> str:
    words = str(error.args[0])
    return "\n".join([f"<{type(error).__name__}> - {words}:", *of]) if of else words


class Action:
    """What can be started once, and ended, and asked how it went. Inherited: ``processes`` are all
    of it; ``_begin`` begins, ``_done`` says that it is over."""

    def __init__(
        self,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
        name: str | None = None,
        default_expect_timeout: Any = None,
    ) -> None:
        self.lifecycle_handlers = list(lifecycle_handlers or ())
        self.processes: list[ProcessBase] = []
        self.name = name or self._called()
        self.default_expect_timeout = default_expect_timeout
        self.enders: list[Callable[[], None]] = []
        """Called at its end, once each: for the actions that it is part of."""
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._clear()

    def _clear(self) -> None:
        self.started = self.ended = False
        self.start_date: float | None = None
        self.end_date: float | None = None
        self._over.clear()

    # ------------------------------------------------------------------------------------ its life

    def start(self) -> Self:
        """Begin, all of it.

        Raises:
            ValueError: it was started before; `reset` makes it new.
        """
        with self._lock:
            if self.started:
                raise ValueError("an action may be started once; reset() makes it new")
            self._check()
            self.started = True
            self.start_date = time.time()
        self._tell("start")
        self._begin()
        return self

    def _check(self) -> None:
        """Raises ValueError: it cannot begin."""

    def wait(self, timeout: Any = None) -> Self:
        """Until all of it has ended, or ``timeout`` is over."""
        if not self.started:
            raise ValueError(f"{self!r} was not started")
        limit = patience(timeout)
        if watching.wanted():
            watching.watch(self._over, limit, self._far)
        else:
            self._over.wait(limit)
        return self

    def _far(self) -> watching.Far:
        ended = [process for process in self.processes if process.ended]
        failed = sum(not process.ok for process in ended)
        return watching.Far(self.name, len(self.processes), len(ended), failed)

    def run(self, timeout: Any = None) -> Self:
        """Start and wait. On a terminal, what takes longer than a moment has a line there."""
        return self.start().wait(timeout)

    def kill(self, sig: int = 15, auto_force_kill_timeout: Any = True) -> Self:
        """Signal all that run. Does not wait."""
        for process in self.processes:
            process.kill(sig, auto_force_kill_timeout)
        return self

    def reset(self) -> Self:
        """As if it had never been started."""
        if self.started and not self.ended:
            self.kill()
            self.wait()
        for process in self.processes:
            process.reset()
        self._clear()
        self._tell("reset")
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if all(process._ours for process in self.processes if process.started):
            self.kill()

    def _begin(self) -> None:
        raise NotImplementedError

    def _done(self) -> None:
        with self._lock:
            if self.ended:
                return
            self.ended = True
            self.end_date = time.time()
        if self.lifecycle_handlers:  # they may start and wait for others
            threading.Thread(target=self._finish, daemon=True).start()
        else:
            self._finish()

    def _finish(self) -> None:
        self._tell("end")
        self._over.set()
        enders, self.enders = self.enders, []
        for call in enders:
            call()
        with _changed:
            _changed.notify_all()

    def _tell(self, what: str) -> None:
        for handler in self.lifecycle_handlers:
            try:
                getattr(handler, what)(self)
            except Exception:
                logger.exception("lifecycle handler %s of %r", what, self)

    # --------------------------------------------------------------------------------- what it is

    @property
    def running(self) -> bool:
        return self.started and not self.ended

    @property
    def ok(self) -> bool:
        """Nothing went wrong so far."""
        return all(process.ok for process in self.processes)

    @property
    def finished_ok(self) -> bool:
        return self.started and self.ended and self.ok

    def write(self, text: str | bytes) -> None:
        """To all of them."""
        for process in self.processes:
            process.write(text)

    def flush(self) -> None:
        """For ``print(..., file=action)``."""

    def expect(
        self, regexes: Any, timeout: Any = False, stream: int = STDOUT, backtrack: bool = True
    ) -> list[tuple[ProcessBase, int | None, Any]]:
        """The same in each of them, at the same time: ``(process, which, match)`` for each."""
        found: dict[int, Match] = {}
        compiled(regexes)  # a wrong one is told here, not in threads
        if timeout is False and self.default_expect_timeout is not None:
            timeout = self.default_expect_timeout
        if not self.started and timeout in (False, None):
            raise ValueError(f"{self!r} was not started")

        def look(index: int, process: ProcessBase) -> None:
            found[index] = process.expect(regexes, timeout, stream, backtrack)

        threads = [
            threading.Thread(target=look, args=pair, daemon=True)
            for pair in enumerate(self.processes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [(process, *found[index]) for index, process in enumerate(self.processes)]

    def stats(self) -> dict[str, Any]:
        """Name, dates, and how many processes are how (`COUNTS`)."""
        return counted(self.name, self.start_date, self.end_date, self.processes)

    def _called(self) -> str:
        """Its name, where nobody gave it one."""
        return type(self).__name__

    def _arguments(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._arguments()})"

    def __str__(self) -> str:
        stats = self.stats()
        facts = {
            "name": self.name, "started": self.started,
            "start_date": repr(format_date(self.start_date)), "ended": self.ended,
            "end_date": repr(format_date(self.end_date)), **{key: stats[key] for key in PRINTED},
            "ok": self.ok,
        }  # fmt: skip
        words = [f"{key}={value}" for key, value in facts.items()]
        return f"<{type(self).__name__}({', '.join([self._arguments(), *words])})>"


_changed = threading.Condition()


def _forked() -> None:
    global _changed
    _changed = threading.Condition()


os.register_at_fork(after_in_child=_forked)


class ProcessesAction(Action):
    """Processes that all begin at once."""

    def _begin(self) -> None:
        if not self.processes:
            self._done()
            return
        left = itertools.count(len(self.processes) - 1, -1)

        def ended(process: ProcessBase) -> None:
            if next(left) == 0:
                self._done()

        for process in self.processes:
            process.enders.append(ended)
        for process in self.processes:
            process.start()


class Local(ProcessesAction):
    """One process on this host; ``process_args`` are those of `Process`, ``shell`` too."""

    def __init__(
        self,
        cmd: str | Sequence[str],
        process_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
        default_expect_timeout: Any = None,
    ) -> None:
        self.cmd, self.process_args = cmd, process_args
        super().__init__(lifecycle_handlers, name, default_expect_timeout)
        self.processes = [Process(cmd, **(process_args or {}))]

    def _called(self) -> str:
        return short(self.cmd)

    def _arguments(self) -> str:
        return repr(self.cmd)


def filled(
    value: Any, host: Host, index: int, look: Callable[[str], Any], cache: dict[str, Any]
) -> Any:
    """``value`` with its marks filled in, in texts wherever they are."""
    if isinstance(value, str):
        return substitute(value, host.address, index, look, cache)
    if isinstance(value, list | tuple):
        return type(value)(filled(one, host, index, look, cache) for one in value)
    if isinstance(value, dict):
        return {key: filled(one, host, index, look, cache) for key, one in value.items()}
    return value


class Remote(ProcessesAction):
    """The same command on each of ``hosts``, all at once: ``processes[n]`` is on host n.

    ``{{{host}}}`` and ``{{expression}}`` in the command, and in the file names among the handlers
    of ``process_args``, are filled in for each host (`substitution`).
    """

    def __init__(
        self,
        cmd: str | Sequence[str],
        hosts: str | Host | Iterable[str | Host],
        connection_params: Mapping[str, Any] | None = None,
        process_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
        default_expect_timeout: Any = None,
    ) -> None:
        self.cmd, self.process_args = cmd, process_args
        self.connection_params = connection_params
        self.hosts = get_hosts_list(hosts)
        super().__init__(lifecycle_handlers, name, default_expect_timeout)
        look, cache = caller_names(), {}  # type: tuple[Callable[[str], Any], dict[str, Any]]
        for index, host in enumerate(self.hosts):
            self.processes.append(
                self._process(
                    filled(cmd, host, index, look, cache), host, connection_params,
                    filled(dict(process_args or {}), host, index, look, cache),
                )
            )  # fmt: skip

    def _process(
        self,
        cmd: str | Sequence[str],
        host: Host,
        connection_params: Mapping[str, Any] | None,
        process_args: dict[str, Any],
    ) -> ProcessBase:
        from gshell.sweep.ssh import SshProcess

        return SshProcess(cmd, host, connection_params, **process_args)

    def _called(self) -> str:
        return short(self.cmd)

    def _arguments(self) -> str:
        return f"{self.cmd!r}, {self.hosts!r}"


class ActionGroup(Action):
    """Actions as one action; its processes are all of theirs."""

    def __init__(
        self,
        actions: Iterable[Action],
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
        name: str | None = None,
        default_expect_timeout: Any = None,
    ) -> None:
        self.actions = list(actions)
        super().__init__(lifecycle_handlers, name, default_expect_timeout)
        self.processes = [process for action in self.actions for process in action.processes]

    def _called(self) -> str:
        return f"{type(self).__name__} {len(self.actions)} actions"

    def _arguments(self) -> str:
        return repr(self.actions)

    def _check(self) -> None:
        if len({id(one) for one in self.actions}) < len(self.actions):
            raise ValueError(f"{self!r} has an action twice")
        for one in self.actions:
            if one.started:
                raise ValueError(f"{one!r} was started before; reset() makes it new")
            one._check()

    def reset(self) -> Self:
        super().reset()
        for action in self.actions:
            action.reset()
        return self

    def stats(self) -> dict[str, Any]:
        return {**super().stats(), "sub_stats": [action.stats() for action in self.actions]}


class ParallelActions(ActionGroup):
    """All begin at once."""

    def _begin(self) -> None:
        if not self.actions:
            self._done()
            return
        left = itertools.count(len(self.actions) - 1, -1)

        def ended() -> None:
            if next(left) == 0:
                self._done()

        for action in self.actions:
            action.enders.append(ended)
        for action in self.actions:
            action.start()


class SequentialActions(ActionGroup):
    """Each begins when the one before has ended, however that went."""

    def _begin(self) -> None:
        threading.Thread(target=self._follow, daemon=True, name="sweep-sequence").start()

    def _follow(self) -> None:
        try:
            for action in self.actions:
                if self._stopped:
                    break
                action.run()
        finally:
            self._done()

    _stopped = False

    def kill(self, sig: int = 15, auto_force_kill_timeout: Any = True) -> Self:
        """The one that runs; those after it do not begin any more."""
        self._stopped = True
        return super().kill(sig, auto_force_kill_timeout)

    def reset(self) -> Self:
        super().reset()
        self._stopped = False
        return self


def wait_any_actions(actions: Iterable[Action], timeout: Any = None) -> list[Action]:
    """Until one of them has ended, or ``timeout`` is over; those that have."""
    return _wait(list(actions), timeout, any)


def wait_all_actions(actions: Iterable[Action], timeout: Any = None) -> list[Action]:
    """Until all of them have ended, or ``timeout`` is over; those that have."""
    return _wait(list(actions), timeout, all)


def _wait(
    actions: list[Action], timeout: Any, enough: Callable[[Iterable[bool]], bool]
) -> list[Action]:
    limit = patience(timeout)
    with _changed:
        if actions:
            _changed.wait_for(lambda: enough(action.ended for action in actions), limit)
    return [action for action in actions if action.ended]
