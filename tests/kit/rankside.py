"""A client that asks a job's members for their ranks, and runs a command beside one: the messages only, for
hosts of a lab. `python3 rankside.py ranks JOB`, `... sh JOB RANK COMMAND`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from gshell.cli import launch
from gshell.client.conversation import Conversation, Dialler
from gshell.client.servicetalk import STDERR, STDIN, STDOUT, ServiceTalk
from gshell.errors import GshellError
from gshell.net.loop import Loop
from gshell.net.relaylink import ask, items_of
from gshell.wire import peer as wire
from gshell.wire.constants import INPUT_WINDOW, PIPE_WINDOW

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


class _Shell(ServiceTalk):
    """A step beside a rank. Its stdout is ours."""

    def __init__(self, loop: Loop, ticket: Ticket, where: str, rank: int, command: str) -> None:
        self._rank, self._command = rank, command
        self.ended: list[GshellError | None] = []
        super().__init__(Dialler(loop, ticket), self, {"beside": where}, [])

    def _conversation(self) -> Conversation:
        talk = Conversation(self._dialler, self, self._request, {})
        talk.peer.add_send(STDIN, self._input, INPUT_WINDOW)
        for stream in (STDOUT, STDERR):
            talk.peer.add_recv(stream, PIPE_WINDOW)
        talk.peer.say({"t": "open", "argv": ["sh", "-c", self._command], "name": "sh", "tasks": 1,
                       "beside_rank": self._rank, "archive": False})  # fmt: skip
        return talk

    def on_bytes(self, data: bytes) -> None:
        sys.stdout.write(data.decode(errors="replace"))

    def on_room(self) -> None:
        pass

    def on_over(self, error: GshellError | None) -> None:
        self.ended.append(error)


def main(words: list[str]) -> int:
    ticket = launch.ticket_or_none()
    assert ticket is not None
    [job] = items_of(ask(ticket, {"m": "jobs", "ids": [words[1]]}), "jobs")
    rows = ask_ranks(ticket, job)
    if words[0] == "ranks":
        print(json.dumps(rows))
        return 0
    member = next((row["member"] for row in rows if row["rank"] == int(words[2])), 1)
    loop = Loop()
    shell = _Shell(loop, ticket, f"{words[1]}.{member}", int(words[2]), words[3])
    shell.start()
    loop.run_until(lambda: bool(shell.ended), 20.0)
    if shell.ended and shell.ended[0] is None:
        return 0
    print(shell.ended[0].message if shell.ended and shell.ended[0] else "no end", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
