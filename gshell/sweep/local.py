"""A process on this host: how it is begun and reached. What it is to its user is inherited."""

from __future__ import annotations

import errno
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from gshell.sweep import conductor as conducting
from gshell.sweep.process import UNENDING, ProcessBase


class Process(ProcessBase):
    """A process on this host.

    ``cmd``: a list of words, or a line, which is split as a shell would (``shell=False``) or given
    to ``sh``. ``pty``: stdin and stdout are a terminal. ``kill_subprocesses`` False: signals go to
    the process alone, not to its children.
    """

    def __init__(
        self,
        cmd: str | Sequence[str],
        shell: bool = False,
        pty: bool = False,
        kill_subprocesses: bool | None = None,
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(cmd, **more)
        self.shell, self.pty = shell, pty
        self.kill_subprocesses = kill_subprocesses
        self._env = env

    def _clear(self) -> None:
        super()._clear()
        self._followed: conducting.Followed | None = None
        self._early: list[bytes | None] = []

    def _argv(self) -> list[str]:
        if self.shell:
            line = self.cmd if isinstance(self.cmd, str) else shlex.join(self.cmd)
            return ["/bin/sh", "-c", line]
        if isinstance(self.cmd, str):
            return shlex.split(self.cmd)
        return [os.fspath(one) for one in self.cmd]

    def _begin(self) -> None:
        try:
            argv = self._argv()
        except ValueError as error:  # a quote that does not end
            raise OSError(f"{self.cmd!r}: {error}") from None
        if not argv:
            raise FileNotFoundError(errno.ENOENT, "no command")
        self._spawn(argv)

    def _spawn(self, argv: list[str]) -> None:
        env = os.environ if self._env is None else {**os.environ, **self._env}
        try:
            spawned = conducting.conductor().spawn(argv, env, self.pty)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            if not conducting.conductor().when_room(lambda: self._spawn_now(argv)):
                raise
            return
        self.pid = spawned.pid
        self._followed = conducting.Followed(spawned, self._output, self._ended, self._not_read)
        conducting.conductor().follow(self._followed)
        for data in self._early:
            conducting.conductor().write(self._followed, data)

    def _not_read(self) -> None:
        if not self.killed:
            self._write_failed()

    def _spawn_now(self, argv: list[str]) -> None:
        """There was no descriptor left when it was started; others have ended since."""
        with self._lock:
            if self._gone:
                return
            try:
                self._spawn(argv)
            except OSError as error:
                self._failed(error)

    def _ended(self, status: int) -> None:
        if self.killed and self._patience_s and self.kill_subprocesses is not False:
            assert self._followed is not None
            mark, conductor = self._followed.spawned.mark, conducting.conductor()
            # Whom it started has been told; who does not listen has as long as it had.
            conductor.later(self._patience_s, lambda: conductor.signal(mark, signal.SIGKILL))
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            self._over(128 + number, number)
        else:
            self._over(os.waitstatus_to_exitcode(status))

    def _signal(self, number: int) -> None:
        if self._followed is None:
            if number not in UNENDING:
                self._over(128 + number, number)  # its turn had not come
            return
        conducting.conductor().signal(self._followed, number, self.kill_subprocesses is not False)

    def _pause(self, paused: bool) -> None:
        if self._followed is not None:
            conducting.conductor().pause(self._followed, paused)

    def _put(self, data: bytes | None) -> None:
        with self._lock:
            if self._followed is None:
                self._early.append(data)
                return
        conducting.conductor().write(self._followed, data)
