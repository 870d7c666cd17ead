"""Files to agents and from them: by an agent's own file service, without ssh. Many agents that get
the same pass it on to each other (`treeput`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gshell.errors import GshellError, UsageError
from gshell.sweep.actions import ActionLifecycleHandler
from gshell.sweep.agents import named, place, running
from gshell.sweep.copying import Copies
from gshell.sweep.handlers import STDERR
from gshell.sweep.hosts import Host
from gshell.sweep.process import ProcessBase

if TYPE_CHECKING:
    from gshell.sweep.agents import Agents
    from gshell.sweep.treeput import Staging


class AgentCopy(ProcessBase):
    """Files to an agent (``put``) or from it, by its own file service. ``where`` is as
    `agents.place` has it, but it has to be somewhere. Whole files are not sent again, broken ones
    are gone on with."""

    def __init__(
        self, files: Sequence[str], target: str, where: Any, put: bool = True, **more: Any
    ) -> None:
        self.where, self.put, self.host = where, put, named(where)
        self.files, self.target = [os.path.expanduser(one) if put else one for one in files], target
        self._request = place(where)
        if not self._request:
            raise UsageError("files go to a named agent, job or site", hint="gshell agents")
        self.staging: Staging | None = None
        """With others who get the same files."""
        super().__init__([*files, target], **more)

    def _clear(self) -> None:
        super()._clear()
        self._transfer: Any = None

    def _begin(self) -> None:
        try:
            agents = running()
        except GshellError as error:
            raise ConnectionError(error.explained()) from None
        if self.put:
            for path in self.files:
                os.lstat(path)
        agents.soon(lambda: agents.enter(lambda: self._open(agents)))

    def _open(self, agents: Agents) -> None:
        if self._gone:
            agents.leave()
            return
        sender = repr(sorted(self._request.items()))  # two agents may have one directory
        if self.staging is not None:
            self._transfer = self.staging.put(
                agents.dialler, self._request, sender, self.target, self._done_with
            )
        elif self.put:
            from gshell.client.fileput import Put

            self._transfer = sending = Put(agents.dialler, self._request, self._done_with)
            sending.sender = sender
            sending.send_to(self.files, self.target, True, True)
        else:
            from gshell.client.fileget import Get

            self._transfer = getting = Get(agents.dialler, self._request, self._done_with)
            getting.fetch(self.files, os.path.expanduser(self.target), True, True)

    def _done_with(self, error: GshellError | None) -> None:
        failed = [str(one) for one in self._transfer.tally.failed]
        if error is not None:
            failed.append(f"gshell: {error.explained()}")
        if failed:
            self._output(STDERR, ("\n".join(failed) + "\n").encode("utf-8", "surrogateescape"))
        self._over(255 if error is not None else 1 if failed else 0)
        running().leave()

    def _signal(self, number: int) -> None:
        def stop() -> None:
            if self._gone:
                return
            if self._transfer is not None:
                self._transfer.close()
                running().leave()
            self._over(128 + number, number)

        running().soon(stop)

    def _put(self, data: bytes | None) -> None:
        self.write_error = True


class AgentPut(Copies):
    """Local files and directories to a place at each of ``hosts`` (`agents.place`), side by side.

    ``tree``: they are sent once, or a few times, and the agents pass them on to each other; who
    cannot be reached by others is sent them from here. None: where that pays, which is with at
    least three hosts and 8 MiB that need not be sent. False: all are sent them from here.
    """

    def __init__(
        self,
        hosts: str | Host | Iterable[str | Host],
        files: str | Sequence[str],
        location: str = ".",
        process_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
        tree: bool | None = None,
    ) -> None:
        self._tree = tree
        super().__init__(hosts, files, location, None, process_args, name, lifecycle_handlers, None)

    def _copy(
        self, files: Sequence[str], place: str, host: Host, params: Any, args: dict[str, Any]
    ) -> ProcessBase:
        return AgentCopy(files, place, host, True, **args)

    def _begin(self) -> None:
        groups: dict[tuple[str, ...], list[AgentCopy]] = {}
        for process in self.processes:
            assert isinstance(process, AgentCopy)
            process.staging = None
            groups.setdefault(tuple(process.files), []).append(process)
        for files, group in groups.items():
            self._stage(list(files), group)
        super()._begin()

    def _stage(self, files: list[str], group: list[AgentCopy]) -> None:
        from gshell.sweep import treeput

        if self._tree is False or not (self._tree or treeput.worth(files, len(group))):
            return
        staging = treeput.Staging(files, len(group))

        def ended(process: ProcessBase) -> None:
            with contextlib.suppress(GshellError):  # there is no relay: nobody waits for it
                running().soon(staging.one_less)

        for process in group:
            process.staging = staging
            process.enders.append(ended)


class AgentGet(Copies):
    """Files and directories of each of ``hosts`` to a place here, where ``{{{host}}}`` tells them
    apart."""

    _puts = False

    def __init__(
        self,
        hosts: str | Host | Iterable[str | Host],
        files: str | Sequence[str],
        location: str = ".",
        process_args: Mapping[str, Any] | None = None,
        name: str | None = None,
        lifecycle_handlers: Iterable[ActionLifecycleHandler] | None = None,
    ) -> None:
        super().__init__(hosts, files, location, None, process_args, name, lifecycle_handlers, None)

    def _copy(
        self, files: Sequence[str], place: str, host: Host, params: Any, args: dict[str, Any]
    ) -> ProcessBase:
        return AgentCopy(files, place, host, False, **args)
