"""Experiments: processes on many hosts, reservations, and sweeps over parameters that survive
crashes.

``from gshell.sweep import *`` gives what users of execo, execo_engine and execo_g5k know, under the
same names; each is imported when it is first used. SWEEP.md is the map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gshell.sweep.actions import *  # noqa: F403
    from gshell.sweep.engine import Engine as Engine
    from gshell.sweep.process import Process as Process
    from gshell.sweep.space import sweep as sweep
    from gshell.sweep.sweeper import ParamSweeper as ParamSweeper

_WHERE = {
    "actions": (
        "Action", "ActionLifecycleHandler", "ActionsFailed", "Local", "ParallelActions",
        "ProcessesFailed", "Remote", "SequentialActions", "wait_all_actions", "wait_any_actions",
    ),
    "agents": ("AgentGet", "AgentProcess", "AgentPut", "AgentRemote"),
    "also": (
        "ChainPut", "TaktukGet", "TaktukPut", "TaktukRemote", "Timer", "copy_outputs",
        "filter_bad_hosts", "get_fileget", "get_fileput", "get_process", "get_remote",
        "redirect_outputs",
    ),
    "clusters": ("ClusterEngine",),
    "copying": ("Get", "Put"),
    "engine": ("Engine",),
    "execute": ("run_experiment",),
    "handlers": ("ProcessOutputHandler", "STDERR", "STDOUT"),
    "hosts": ("Host", "default_connection_params", "default_frontend_connection_params"),
    "log": ("logger",),
    "process": ("Process", "ProcessLifecycleHandler", "configuration"),
    "report": ("Report",),
    "results": ("Table", "parse_npb", "read_outputs", "read_table"),
    "space": ("HashableDict", "Points", "geom", "igeom", "slugify", "sweep", "sweep_stats"),
    "ssh": ("SshProcess",),
    "sweeper": ("ParamSweeper",),
    "times": ("format_date", "format_duration", "get_seconds", "get_unixts", "sleep"),
}  # fmt: skip
_INSTEAD = {  # of execo, and not here
    "ExpectOutputHandler": "process.expect(regexes) waits for words",
    "PortForwarder": "`gshell fwd` forwards ports, or `ssh -L`",
    "RemoteSerial": "serial lines are read by a program: Process(['cu', ...], pty=True)",
    "Serial": "serial lines are read by a program: Process(['cu', ...], pty=True)",
    "SerialSsh": "serial lines are read by a program: SshProcess('cu ...', host, pty=True)",
    "default_action_factory": "there is one way to reach hosts: Remote, Put, Get",
    **dict.fromkeys(
        ("CHAINPUT", "SCP", "SSH", "TAKTUK"), "there is one way to reach hosts: Remote, Put, Get"
    ),
}
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if name in _INSTEAD:  # an AttributeError's words would be lost by `from ... import`
        raise ImportError(f"{__name__} has no {name}: {_INSTEAD[name]}")
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
