"""Where batch systems are asked: commands on a site's front end, here or over SSH, answers as text.

Knows no batch system: argv goes out, text comes back.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
from collections.abc import Sequence
from typing import Any

from gshell.errors import UsageError
from gshell.lrms import common
from gshell.lrms.base import Command, Done
from gshell.sweep import hosts
from gshell.sweep.local import Process
from gshell.sweep.process import ProcessBase
from gshell.sweep.times import get_seconds

g5k_configuration: dict[str, Any] = {
    "default_frontend": None,
    "frontends": {},
    "frontend_rewrite": None,
    "no_ssh_for_local_frontend": True,
    "local": (),
    "timeout": 900.0,
    "testbed": None,
    "api_uri": None,
    "api_timeout": 20.0,
    "cache": None,
}
"""Front ends and testbed, where nothing else is said.

``default_frontend``: the site that None means where this host has no batch system. ``frontends``:
site -> its front end's address (or Host), or ``frontend_rewrite``, a function that makes one of
the other; else the site's name is its address. ``no_ssh_for_local_frontend``: commands for this
very host, and for the sites in ``local``, are run without ssh. ``timeout``: seconds for a command
there. The others are for `testbed`.
"""


def site_name(site: Any) -> str:
    """As it is written down; None is empty."""
    if site is None:
        return ""
    return site.address if isinstance(site, hosts.Host) else str(site)


def front_end(site: Any) -> hosts.Host:
    """The host of that site where jobs are asked for."""
    if isinstance(site, hosts.Host):
        return site
    known = g5k_configuration["frontends"]
    if site in known:
        return hosts.Host(known[site])
    rewrite = g5k_configuration["frontend_rewrite"]
    return hosts.Host(rewrite(site) if rewrite else site)


def _is_here(site: Any) -> bool:
    if not g5k_configuration["no_ssh_for_local_frontend"]:
        return False
    if site in g5k_configuration["local"]:
        return True
    host = front_end(site)
    if host.user or host.port:  # somebody else, or something else
        return False
    name = socket.gethostname()
    return host.address in ("localhost", name, name.partition(".")[0]) or (
        "." not in name and host.address.partition(".")[0] == name
    )


def asking(command: Command, site: Any, params: Any = None, timeout: Any = None) -> ProcessBase:
    """The process that asks, not started: on ``site``'s front end, or here.

    Raises:
        UsageError: ``site`` is None, and there is no such command here, nor a default front end.
    """
    tool = command.argv[0]
    words = list(command.argv)
    if command.env:
        words = ["env", *(f"{name}={value}" for name, value in command.env.items()), *words]
    limit = get_seconds(timeout or None)
    args: dict[str, Any] = {
        "timeout": g5k_configuration["timeout"] if limit is None else limit,
        "nolog_exit_code": True, "nolog_error": True, "nolog_timeout": True, "name": tool,
    }  # fmt: skip
    if site is None and not shutil.which(tool):
        site = g5k_configuration["default_frontend"]
        if site is None:
            raise UsageError(
                f"no front end was named, and there is no {tool} on this host",
                hint="name the site, or set g5k_configuration['default_frontend']",
            )
    if site is None or _is_here(site):
        return Process(words, env={"PWD": os.getcwd()}, **args)
    from gshell.sweep.ssh import SshProcess

    merged = {**hosts.default_frontend_connection_params, **(params or {})}
    return SshProcess(shlex.join(words), front_end(site), merged, **args)


def heard(process: ProcessBase) -> Done:
    """How it went; without a connection, or in no time: 255, with the words for it."""
    words = process.stderr
    if process.error:
        code, words = 127, str(process.error_reason)
    elif process.timeouted:
        code, words = 255, f"no answer within {process.timeout:g} s\n{words}"
    else:
        code = 255 if process.exit_code is None else process.exit_code
    return Done(code, process.stdout, words)


def ask(
    commands: Sequence[Command], site: Any, params: Any = None, timeout: Any = None
) -> list[Done]:
    """All of them side by side; their answers in this order."""
    processes = [asking(one, site, params, timeout) for one in commands]
    for process in processes:
        process.start()
    return [heard(process.wait()) for process in processes]


def lost(done: Done) -> bool:
    """Nobody knows what became of the command: no connection, or no answer in time."""
    return done.code in (255, *common.KILLED)
