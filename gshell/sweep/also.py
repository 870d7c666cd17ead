"""Names of execo for what has other names here, or needs none; and small helps around actions."""

from __future__ import annotations

import atexit
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gshell.sweep.actions import Remote
from gshell.sweep.copying import Get, Put
from gshell.sweep.engine import led
from gshell.sweep.hosts import Host, get_hosts_list
from gshell.sweep.process import Process, ProcessBase
from gshell.sweep.times import get_seconds

TaktukRemote = Remote
TaktukPut = ChainPut = Put
TaktukGet = Get
"""One way to reach hosts is enough: a connection each, and a limit on those that are made."""

BAD_HOST_S = 30.0


def get_remote(*args: Any, **more: Any) -> Remote:
    return Remote(*args, **more)


def get_fileput(*args: Any, **more: Any) -> Put:
    return Put(*args, **more)


def get_fileget(*args: Any, **more: Any) -> Get:
    return Get(*args, **more)


def get_process(
    cmd: str | Sequence[str],
    host: str | Host | None = None,
    connection_params: Mapping[str, Any] | None = None,
    **more: Any,
) -> ProcessBase:
    """On ``host``; None: here."""
    if host is None:
        return Process(cmd, **more)
    from gshell.sweep.ssh import SshProcess

    return SshProcess(cmd, host, connection_params, **more)


def filter_bad_hosts(
    hosts: str | Host | Iterable[str | Host],
    connection_params: Mapping[str, Any] | None = None,
    timeout: Any = BAD_HOST_S,
) -> list[Host]:
    """Those of ``hosts`` where a command can be run, in their order."""
    quiet = {"nolog_exit_code": True, "nolog_error": True, "nolog_timeout": True,
             "timeout": timeout}  # fmt: skip
    asked = Remote("true", get_hosts_list(hosts), connection_params, quiet).run()
    return [
        host
        for host, one in zip(asked.hosts, asked.processes, strict=True)
        if one.finished_ok and one.exit_code == 0
    ]


class Timer:
    """Begins to run when it is made."""

    def __init__(self) -> None:
        self._date, self._begun = time.time(), time.monotonic()

    def start_date(self) -> float:
        """Seconds since the epoch."""
        return self._date

    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def wait_elapsed(self, elapsed: Any) -> Timer:
        """Until it has run so long; its duration may be of any kind."""
        time.sleep(max(0.0, (get_seconds(elapsed) or 0.0) - self.elapsed()))
        return self


def _for_good(paths: Sequence[str], copy: bool) -> None:
    stack = contextlib.ExitStack()
    stack.enter_context(led(paths, copy))
    atexit.register(stack.close)


def copy_outputs(stdout_path: str, stderr_path: str) -> None:
    """What this Python and its children print also goes to these files, from now on."""
    _for_good((stdout_path, stderr_path), copy=True)


def redirect_outputs(stdout_path: str, stderr_path: str) -> None:
    """It goes to these files instead."""
    _for_good((stdout_path, stderr_path), copy=False)
