"""Files to hosts and from them, as actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gshell.sweep.actions import Remote
from gshell.sweep.hosts import Host
from gshell.sweep.process import ProcessBase


class Put(Remote):
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
        lifecycle_handlers: Any = None,
        default_expect_timeout: Any = None,
    ) -> None:
        files = [local_files] if isinstance(local_files, str) else list(local_files)
        self.local_files, self.remote_location = files, remote_location
        super().__init__(
            [*files, remote_location], hosts, connection_params, process_args, name,
            lifecycle_handlers, default_expect_timeout,
        )  # fmt: skip

    def _process(
        self,
        cmd: str | Sequence[str],
        host: Host,
        connection_params: Mapping[str, Any] | None,
        process_args: dict[str, Any],
    ) -> ProcessBase:
        from gshell.sweep.ssh import PutProcess

        return PutProcess(cmd[:-1], cmd[-1], host, connection_params, **process_args)

    def _called(self) -> str:
        return f"{type(self).__name__} to {len(self.hosts)} hosts"

    def _arguments(self) -> str:
        where = f"remote_location={self.remote_location!r}"
        return f"{self.hosts!r}, {self.local_files!r}, {where}"


class Get(Remote):
    """``remote_files`` (names or patterns) of each of ``hosts`` to ``local_location``, where
    ``{{{host}}}`` tells them apart."""

    def __init__(
        self,
        hosts: str | Host | Iterable[str | Host],
        remote_files: str | Sequence[str],
        local_location: str = ".",
        connection_params: Mapping[str, Any] | None = None,
        process_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        lifecycle_handlers: Any = None,
        default_expect_timeout: Any = None,
    ) -> None:
        files = [remote_files] if isinstance(remote_files, str) else list(remote_files)
        self.remote_files, self.local_location = files, local_location
        super().__init__(
            [*files, local_location], hosts, connection_params, process_args, name,
            lifecycle_handlers, default_expect_timeout,
        )  # fmt: skip

    def _process(
        self,
        cmd: str | Sequence[str],
        host: Host,
        connection_params: Mapping[str, Any] | None,
        process_args: dict[str, Any],
    ) -> ProcessBase:
        from gshell.sweep.ssh import GetProcess

        return GetProcess(cmd[:-1], cmd[-1], host, connection_params, **process_args)

    def _called(self) -> str:
        return f"{type(self).__name__} from {len(self.hosts)} hosts"

    def _arguments(self) -> str:
        where = f"local_location={self.local_location!r}"
        return f"{self.hosts!r}, {self.remote_files!r}, {where}"
