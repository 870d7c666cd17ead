"""What a run asks for before there is anything: who shall answer, and what that is to start."""

from __future__ import annotations

import os

from gshell.client.conversation import Conversation, Dialler, Talker
from gshell.client.plan import Plan, Port
from gshell.client.seats import Seat
from gshell.wire.constants import (
    INTERACTIVE_WINDOW,
    PIPE_WINDOW,
    stderr_of,
    stdin_of,
    stdout_of,
)

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

STDIN = stdin_of(0)


class Opening:
    """Makes the seats of one run. Invariant: all of them belong to one group."""

    def __init__(self, dialler: Dialler, owner: Talker, plan: Plan, port: Port) -> None:
        self._dialler = dialler
        self._owner = owner
        self._plan = plan
        self._port = port
        self._group = ""

    def seat(self, index: int, warm: Conversation | None) -> Seat:
        """The ``index``-th of them; ``warm``: a conversation that only lacks something to start."""
        if self._plan.verb != "run":
            return self._looking(index or self._plan.part)
        plan = self._plan
        mpi = plan.spec.get("mpi")
        layout = mpi["layout"] if mpi else [plan.tasks] * plan.agents
        first, tasks = sum(layout[:index]), layout[index]
        if warm is None:
            talk = Conversation(self._dialler, self._owner, self._request(index, tasks), {})
            if plan.pool:
                talk.trusts = "*"
        else:
            talk = warm
            talk.hand_over(self._owner)
        talk.moves = True
        seat = Seat(talk, first, tasks, bool(mpi))
        peer = talk.peer
        window = INTERACTIVE_WINDOW if plan.pty else PIPE_WINDOW
        for rank in range(seat.tasks):
            peer.add_recv(stdout_of(rank), window)
            if not plan.pty:
                peer.add_recv(stderr_of(rank), window)
        peer.say(self._spec(index, first, tasks, sum(layout)))
        if plan.record is not None and plan.record.input:
            peer.say({"t": "trace", "input": True, "waits": True})
        return seat

    def _looking(self, index: int) -> Seat:
        plan = self._plan
        request: dict[str, Any] = {
            "op": "attach",
            "job": plan.job,
            "index": index,
            "rights": plan.rights,
        }
        if plan.share:
            request["share"] = plan.share
        if plan.via:
            request["via"] = plan.via
        hello = {"since": plan.since, "steal": plan.steal}
        if plan.rank:
            hello["ranks"] = plan.rank
        if plan.record is not None and plan.record.history:
            hello["times"] = True
        looking = Conversation(self._dialler, self._owner, request, hello)
        looking.moves = True
        if plan.owner:
            looking.trusts = plan.owner
        if plan.record is not None:
            traced = plan.record.input
            looking.peer.say({"t": "trace", "input": traced, "waits": traced})
        return Seat(looking, 0, 0)

    def _request(self, index: int, tasks: int) -> dict[str, Any]:
        plan = self._plan
        request = {"op": "open", "tasks": tasks, "index": index, "size": plan.agents}
        if plan.slots and plan.slots[index] != tasks:
            request.update(tasks=plan.slots[index], ranks=tasks)
        if plan.agent:
            request["agent"] = plan.agent
        if plan.agents > 1:
            self._group = self._group or os.urandom(16).hex()
            request["group"] = self._group
        if plan.beside:
            request["beside"] = plan.beside
        if plan.pool:
            request["pool"] = plan.pool
        if plan.pty:
            request["pty"] = True
        if plan.wants:
            request.update(plan.wants)
        return request

    def _spec(self, index: int, first: int, tasks: int, size: int) -> dict[str, Any]:
        plan = self._plan
        spec = dict(plan.spec)
        spec.update(t="open", tasks=tasks, first=first, size=size)
        if plan.slots:
            spec["slots"] = plan.slots[index]
        if plan.pty:
            spec["pty"] = list(self._port.size())
        if plan.detach:
            spec["announce"] = True
        if plan.timeout_s is not None:
            spec["timeout_s"] = plan.timeout_s
        return spec
