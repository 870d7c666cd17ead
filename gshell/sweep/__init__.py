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
    from gshell.sweep.local import Process as Process
    from gshell.sweep.space import sweep as sweep
    from gshell.sweep.sweeper import ParamSweeper as ParamSweeper

_WHERE = {
    "actions": (
        "Action", "ActionLifecycleHandler", "ActionsFailed", "Local", "ParallelActions",
        "ProcessesFailed", "Remote", "SequentialActions", "wait_all_actions", "wait_any_actions",
    ),
    "agentcopies": ("AgentGet", "AgentPut"),
    "agents": ("AgentProcess", "AgentRemote"),
    "also": (
        "CHAINPUT", "ChainPut", "PortForwarder", "RemoteSerial", "SCP", "SSH", "Serial",
        "SerialSsh", "TAKTUK", "TaktukGet", "TaktukPut", "TaktukRemote", "Timer", "copy_outputs",
        "default_action_factory", "filter_bad_hosts", "get_fileget", "get_fileput", "get_process",
        "get_remote", "redirect_outputs",
    ),
    "clusters": ("ClusterEngine",),
    "copying": ("Get", "Put"),
    "engine": ("Engine",),
    "execute": ("run_experiment",),
    "frontends": ("g5k_configuration",),
    "handlers": ("ExpectOutputHandler", "ProcessOutputHandler", "STDERR", "STDOUT"),
    "hosts": ("Host", "default_connection_params", "default_frontend_connection_params"),
    "local": ("Process",),
    "log": ("logger", "style"),
    "oar": (
        "OarSubmission", "get_current_oar_jobs", "get_oar_job_info", "get_oar_job_nodes", "oardel",
        "oarsub", "wait_oar_job_start",
    ),
    "process": ("ProcessLifecycleHandler", "configuration"),
    "report": ("Report",),
    "results": ("Table", "parse_npb", "read_outputs", "read_table"),
    "sge": (
        "SgeSubmission", "get_current_sge_jobs", "get_sge_job_info", "get_sge_job_nodes", "sgedel",
        "sgesub", "wait_sge_job_start",
    ),
    "slurm": (
        "SlurmSubmission", "get_current_slurm_jobs", "get_slurm_job_info", "get_slurm_job_nodes",
        "slurmdel", "slurmsub", "wait_slurm_job_start",
    ),
    "space": ("HashableDict", "Points", "geom", "igeom", "slugify", "sweep", "sweep_stats"),
    "ssh": ("SshProcess",),
    "sweeper": ("ParamSweeper",),
    "testbed": (
        "get_cluster_attributes", "get_cluster_hosts", "get_cluster_site", "get_g5k_clusters",
        "get_g5k_hosts", "get_g5k_sites", "get_host_attributes", "get_host_cluster",
        "get_host_shortname", "get_host_site", "get_site_attributes", "get_site_clusters",
        "get_site_hosts", "group_hosts",
    ),
    "times": ("format_date", "format_duration", "get_seconds", "get_unixts", "sleep"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _WHERE.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
