"""Files to hosts and from them, as actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gshell.sweep.actions import ActionLifecycleHandler, Remote
from gshell.sweep.hosts import Host
from gshell.sweep.process import ProcessBase


class Copies(Remote):
    """What all of them are: files, and a place, for each of ``hosts``. Inherited: ``_copy`` is the
    process for one host, ``args`` its keyword arguments."""

    _puts = True

    def __init__(
        self,
        hosts: str | Host | Iterable[str | Host],
        files: str | Sequence[str],
        place: str,
        connection_params: Mapping[str, Any] | None,
        process_args: Mapping[str, Any] | None,
        name: str | None,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None,
        default_expect_timeout: Any,
    ) -> None:
        self._files = [files] if isinstance(files, str) else list(files)
        self._place = place
        super().__init__(
            [*self._files, place], hosts, connection_params, process_args, name,
            lifecycle_handlers, default_expect_timeout,
        )  # fmt: skip

    def _copy(
        self, files: Sequence[str], place: str, host: Host, params: Any, args: dict[str, Any]
    ) -> ProcessBase:
        raise NotImplementedError

    def _process(
        self,
        cmd: str | Sequence[str],
        host: Host,
        connection_params: Mapping[str, Any] | None,
        process_args: dict[str, Any],
    ) -> ProcessBase:
        return self._copy(cmd[:-1], cmd[-1], host, connection_params, process_args)

    def _called(self) -> str:
        return f"{type(self).__name__} {'to' if self._puts else 'from'} {len(self.hosts)} hosts"

    def _arguments(self) -> str:
        return f"{self.hosts!r}, {self._files!r}, {self._place!r}"


class Put(Copies):
    """``local_files`` (directories too) to ``remote_location`` on each of ``hosts``, all at once.

    ``{{...}}`` and ``{{{host}}}`` are filled in, in all paths.
    """

    def __init__(
        self,
        hosts: str | Host | Iterable[str | Host],
        local_files: str | Sequence[str],
        remote_location: str = ".",
        connection_params: Mapping[str, Any] | None = None,
        process_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
        default_expect_timeout: Any = None,
    ) -> None:
        super().__init__(
            hosts, local_files, remote_location, connection_params, process_args, name,
            lifecycle_handlers, default_expect_timeout,
        )  # fmt: skip
        self.local_files, self.remote_location = self._files, remote_location

    def _copy(
        self, files: Sequence[str], place: str, host: Host, params: Any, args: dict[str, Any]
    ) -> ProcessBase:
        from gshell.sweep.ssh import PutProcess

        return PutProcess(files, place, host, params, **args)

    def _arguments(self) -> str:
        return f"{self.hosts!r}, {self._files!r}, remote_location={self._place!r}"


class Get(Copies):
    """``remote_files`` (names or patterns) of each of ``hosts`` to ``local_location``, where
    ``{{{host}}}`` tells them apart."""

    _puts = False

    def __init__(
        self,
        hosts: str | Host | Iterable[str | Host],
        remote_files: str | Sequence[str],
        local_location: str = ".",
        connection_params: Mapping[str, Any] | None = None,
        process_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
        default_expect_timeout: Any = None,
    ) -> None:
        super().__init__(
            hosts, remote_files, local_location, connection_params, process_args, name,
            lifecycle_handlers, default_expect_timeout,
        )  # fmt: skip
        self.remote_files, self.local_location = self._files, local_location

    def _copy(
        self, files: Sequence[str], place: str, host: Host, params: Any, args: dict[str, Any]
    ) -> ProcessBase:
        from gshell.sweep.ssh import GetProcess

        return GetProcess(files, place, host, params, **args)

    def _arguments(self) -> str:
        return f"{self.hosts!r}, {self._files!r}, local_location={self._place!r}"
