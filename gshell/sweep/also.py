"""Names of execo for what has other names here, or needs none; and small helps around actions."""

from __future__ import annotations

import atexit
import contextlib
import shlex
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gshell.sweep.actions import Action, Remote
from gshell.sweep.copying import Get, Put
from gshell.sweep.engine import led
from gshell.sweep.hosts import Host, default_connection_params, get_hosts_list
from gshell.sweep.local import Process
from gshell.sweep.process import ProcessBase
from gshell.sweep.ssh import SshProcess
from gshell.sweep.times import get_seconds

SSH, SCP, TAKTUK, CHAINPUT = range(4)
"""Ways to reach hosts. One is enough here: a connection each, and a limit on those that are made;
so they are all the same."""
BAD_HOST_S = 30.0


class TaktukRemote(Remote):
    """`Remote`."""


class TaktukPut(Put):
    """`Put`."""


class TaktukGet(Get):
    """`Get`."""


class ChainPut(Put):
    """`Put`."""


def get_remote(*args: Any, **more: Any) -> Remote:
    return Remote(*args, **more)


def get_fileput(*args: Any, **more: Any) -> Put:
    return Put(*args, **more)


def get_fileget(*args: Any, **more: Any) -> Get:
    return Get(*args, **more)


class ActionFactory:
    """Makes actions; which tool was asked for makes no difference."""

    def __init__(
        self, remote_tool: int | None = None, fileput_tool: int | None = None,
        fileget_tool: int | None = None,
    ) -> None:  # fmt: skip
        self.remote_tool = SSH if remote_tool is None else remote_tool
        self.fileput_tool = SCP if fileput_tool is None else fileput_tool
        self.fileget_tool = SCP if fileget_tool is None else fileget_tool

    get_remote = staticmethod(get_remote)
    get_fileput = staticmethod(get_fileput)
    get_fileget = staticmethod(get_fileget)


default_action_factory = ActionFactory()


def get_process(
    cmd: str | Sequence[str],
    host: str | Host | None = None,
    connection_params: Mapping[str, Any] | None = None,
    **more: Any,
) -> ProcessBase:
    """On ``host``; None: here."""
    if host is None:
        return Process(cmd, **more)
    return SshProcess(cmd, host, connection_params, **more)


def filter_bad_hosts(
    action: Action | str | Host | Iterable[str | Host],
    hosts: Iterable[str | Host] | Mapping[str, Any] | None = None,
    timeout: Any = BAD_HOST_S,
) -> list[Any]:
    """Those of ``hosts`` (None: all of its own) where nothing went wrong in ``action``, in their
    order; who was not in it stays.

    Hosts instead of an action (then connection parameters): those where a command can be run.
    """
    if isinstance(action, Action):
        of = [one for one in action.processes if getattr(one, "host", None) is not None]
        bad = {one.host.address for one in of if not one.ok}
        wanted = [one.host for one in of] if hosts is None else list(hosts)
        return [one for one in wanted if Host(one).address not in bad]
    quiet = {"nolog_exit_code": True, "nolog_error": True, "nolog_timeout": True,
             "timeout": timeout}  # fmt: skip
    params = hosts if isinstance(hosts, Mapping) else None
    asked = Remote("true", get_hosts_list(action), params, quiet).run()
    return [
        host
        for host, one in zip(asked.hosts, asked.processes, strict=True)
        if one.finished_ok and one.exit_code == 0
    ]


class PortForwarder(SshProcess):
    """``bind_address:local_port`` here (None: any that is free) is ``remote_host:remote_port`` as
    ``host`` reaches it, while this runs. By OpenSSH's program."""

    def __init__(
        self, host: str | Host, remote_host: str, remote_port: int, local_port: int | None = None,
        bind_address: str | None = None, connection_params: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:  # fmt: skip
        self.bind_address, self.local_port = bind_address, local_port or _free_port()
        self.remote_host, self.remote_port = remote_host, remote_port
        params = dict(connection_params or {})
        if params.get("ssh", default_connection_params["ssh"]) == "asyncssh":
            params["ssh"] = "ssh"
        where = f"{self.bind_address or '127.0.0.1'}:{self.local_port}"
        self._way = ["-N", "-L", f"{where}:{remote_host}:{remote_port}"]
        self._way += ["-o", "ExitOnForwardFailure=yes"]
        self.forwarding = threading.Event()
        """It is there."""
        super().__init__("", host, params, pty=False, **{"name": "PortForwarder", **more})

    def _argv(self) -> list[str]:
        *words, address, _ = super()._argv()
        at = words.index("--")
        return [*words[:at], *self._way, *words[at:], address]

    def _begin(self) -> None:
        super()._begin()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.running:
            with socket.socket() as one:
                try:
                    one.bind((self.bind_address or "127.0.0.1", self.local_port))
                except OSError:  # somebody is there: nobody is troubled by a connection
                    self.forwarding.set()
                    return
            self._done.wait(0.05)

    def _shown(self) -> str:
        return f"{self.host!r}, {self.remote_host!r}, {self.remote_port}"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _serial(device: str, speed: int) -> str:
    word = shlex.quote(device)
    return f"stty -F {word} {int(speed)} raw -echo && {{ cat {word} & cat > {word}; }}"


class Serial(Process):
    """A serial line of this host: what comes is its stdout, what is written goes there."""

    def __init__(self, device: str, speed: int, **more: Any) -> None:
        self.device, self.speed = device, speed
        super().__init__(["sh", "-c", _serial(device, speed)], **more)


class SerialSsh(SshProcess):
    """A serial line of another host."""

    def __init__(
        self, host: str | Host, device: str, speed: int,
        connection_params: Mapping[str, Any] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        self.device, self.speed = device, speed
        super().__init__(_serial(device, speed), host, connection_params, **more)


class RemoteSerial(Remote):
    """The same serial line of each of ``hosts``."""

    def __init__(
        self, hosts: str | Host | Iterable[str | Host], device: str, speed: int,
        connection_params: Mapping[str, Any] | None = None,
        process_args: Mapping[str, Any] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        self.device, self.speed = device, speed
        super().__init__(_serial(device, speed), hosts, connection_params, process_args, **more)


class Timer:
    """Begins to run when it is made; ``timeout``: of any kind."""

    def __init__(self, timeout: Any = None) -> None:
        self._date, self._begun = time.time(), time.monotonic()
        self._timeout_s = get_seconds(timeout)

    def start_date(self) -> float:
        """Seconds since the epoch."""
        return self._date

    def elapsed(self) -> float:
        return time.monotonic() - self._begun

    def remaining(self) -> float | None:
        """Seconds of its ``timeout`` that are left, not below 0; None: it has none."""
        return None if self._timeout_s is None else max(0.0, self._timeout_s - self.elapsed())

    def wait_elapsed(self, elapsed: Any) -> Timer:
        """Until it has run so long; its duration may be of any kind."""
        time.sleep(max(0.0, (get_seconds(elapsed) or 0.0) - self.elapsed()))
        return self


def _for_good(paths: Sequence[str], copy: bool) -> None:
    stack = contextlib.ExitStack()
    stack.enter_context(led(paths, copy))
    atexit.register(stack.close)


def copy_outputs(stdout_filename: str, stderr_filename: str) -> None:
    """What this Python and its children print also goes to these files, from now on."""
    _for_good((stdout_filename, stderr_filename), copy=True)


def redirect_outputs(stdout_filename: str, stderr_filename: str) -> None:
    """It goes to these files instead."""
    _for_good((stdout_filename, stderr_filename), copy=False)
