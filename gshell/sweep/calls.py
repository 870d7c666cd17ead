"""What an experiment calls to reserve, for a batch system that adds nothing to it: the functions of
`oar`, with the names of their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gshell.sweep import batch
from gshell.sweep.hosts import Host


class Calls:
    """Of one batch system."""

    def __init__(self, system: batch.System) -> None:
        self._system = system

    def submit(
        self,
        job_specs: Iterable[tuple[batch.Submission, Any]],
        frontend_connection_params: Mapping[str, Any] | None = None,
        timeout: Any = None,
        abort_on_error: bool = False,
    ) -> list[tuple[int | None, Any]]:
        """As `oar.oarsub`."""
        params = frontend_connection_params
        return batch.submit(self._system, job_specs, params, timeout, abort_on_error)

    def delete(
        self,
        job_specs: Iterable[tuple[Any, Any]],
        frontend_connection_params: Mapping[str, Any] | None = None,
        timeout: Any = None,
    ) -> None:
        """As `oar.oardel`."""
        batch.delete(self._system, job_specs, frontend_connection_params, timeout)

    def current(
        self,
        frontends: Any = None,
        frontend_connection_params: Mapping[str, Any] | None = None,
        timeout: Any = None,
        abort_on_error: bool = False,
    ) -> list[tuple[int, Any]]:
        """As `oar.get_current_oar_jobs`."""
        params = frontend_connection_params
        return batch.current(self._system, frontends, params, timeout, abort_on_error)

    def info(
        self,
        job_id: Any,
        frontend: Any = None,
        frontend_connection_params: Mapping[str, Any] | None = None,
        timeout: Any = None,
    ) -> dict[str, Any]:
        """``state`` (`gshell.lrms.base.State`'s words), ``reason``, ``hosts``, ``start_date`` or
        ``scheduled_start``."""
        return batch.info(self._system, job_id, frontend, frontend_connection_params, timeout)

    def wait_start(
        self,
        job_id: Any,
        frontend: Any = None,
        frontend_connection_params: Mapping[str, Any] | None = None,
        timeout: Any = None,
        prediction_callback: Callable[[float], Any] | None = None,
    ) -> bool:
        """As `oar.wait_oar_job_start`."""
        params = frontend_connection_params
        return batch.wait_start(
            self._system, job_id, frontend, params, timeout, prediction_callback
        )

    def nodes(
        self,
        job_id: Any,
        frontend: Any = None,
        frontend_connection_params: Mapping[str, Any] | None = None,
        timeout: Any = None,
    ) -> list[Host]:
        """As `oar.get_oar_job_nodes`."""
        return batch.nodes(self._system, job_id, frontend, frontend_connection_params, timeout)
