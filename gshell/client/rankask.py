"""The question that `ranks` is: what do a job's ranks do? All members are asked at once, each
answers for its node. Knows no table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gshell.client.conversation import Conversation, Dialler
from gshell.errors import GshellError
from gshell.net.loop import Loop
from gshell.wire import peer as wire

if TYPE_CHECKING:
    from gshell.model.ticket import Ticket

ANSWER_S = 10.0  # of all; who is away by then is left out


class _Asking:
    """One member's. Invariant: ``rows`` is set once, to None if there is no answer to be had."""

    def __init__(self, dialler: Dialler, job: str, index: int, owner: str) -> None:
        self.index = index
        self.done = False
        self.rows: list[dict[str, Any]] = []
        self.error: GshellError | None = None
        self._loop = dialler.loop
        request = {"op": "attach", "job": job, "index": index, "rights": "r"}
        self.talk = Conversation(dialler, self, request, {}, owner)
        self.talk.dial()

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        if not self.done:
            talk.peer.say({"t": "ranks"})
            talk.pump()

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if isinstance(event, wire.ControlReceived) and event.message.get("t") == "ranks":
            rows = event.message.get("ranks")
            listed = rows if isinstance(rows, list) else []
            self.rows += [row for row in listed if isinstance(row, dict)]
            if event.message.get("end") is not False:
                self._finish(None)

    def on_flow(self, talk: Conversation) -> None:
        pass

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        pass  # it dials again

    def on_queued(self, talk: Conversation) -> None:
        self._finish(GshellError("it has not started"))

    def on_refused(self, talk: Conversation, code: str) -> None:
        if code in ("again", "queued"):
            self._loop.later(0.3, lambda: None if self.done else talk.dial())
        else:
            self._finish(GshellError(f"the relay refused: {code}"))

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        self._finish(error)

    def _finish(self, error: GshellError | None) -> None:
        if not self.done:
            self.done, self.error = True, error
            self._loop.soon(self.talk.close)


def ask_ranks(ticket: Ticket, job: dict[str, Any], owner: str = "") -> list[dict[str, Any]]:
    """Rows of all members, each with ``member`` and ``host``; members that do not answer are left
    out. ``job``: a JOB."""
    loop = Loop()
    dialler = Dialler(loop, ticket)
    hosts = job.get("hosts") or []
    asked = [
        _Asking(dialler, str(job["id"]), index, owner) for index in range(int(job.get("size") or 1))
    ]
    loop.run_until(lambda: all(one.done for one in asked), ANSWER_S)
    rows = []
    for one in asked:
        host = hosts[one.index] if one.index < len(hosts) else ""
        rows += [{**row, "member": one.index, "host": host} for row in one.rows]
        if not one.done:
            one.talk.close()
    return sorted(rows, key=lambda row: (row.get("rank") or 0, row["member"]))
