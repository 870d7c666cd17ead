"""Asks an agent to record a job on its own host, or to stop. One question, one answer."""

from __future__ import annotations

from typing import Any

from gshell.client.conversation import Conversation, Dialler
from gshell.errors import BrokerError, GshellError
from gshell.net.loop import Loop
from gshell.wire import peer as wire

PATIENCE_S = 20.0


class RecordThere:
    """Invariant: the request is said once."""

    def __init__(self, loop: Loop, dialler: Dialler, job: str, request: dict[str, Any]) -> None:
        number, _, index = job.partition(".")
        asked = {"op": "attach", "job": number, "index": int(index or 0), "rights": "r"}
        self._loop = loop
        self._request = request
        self._said = False
        self._error: GshellError | None = None
        self._answer: dict[str, Any] | None = None
        self._talk = Conversation(dialler, self, asked, {"ranks": "none"})

    def ask(self) -> dict[str, Any]:
        """
        Raises:
            GshellError: there is no such job, or nobody answers.
        """
        self._talk.dial()
        done = self._loop.run_until(lambda: bool(self._answer or self._error), PATIENCE_S)
        self._talk.close("done")
        if self._error is not None:
            raise self._error
        if not done or self._answer is None:
            raise GshellError("its agent does not answer", hint="gshell agents")
        return self._answer

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        if welcome.get("state") == "ended":
            self._error = BrokerError("it has ended", hint="gshell rec ID    of what is kept")
        elif not self._said:
            self._said = True
            talk.peer.say(self._request)
            talk.pump()

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        if isinstance(event, wire.ControlReceived) and event.message.get("t") == "recording":
            self._answer = event.message

    def on_flow(self, talk: Conversation) -> None: ...

    def on_lost(self, talk: Conversation, error: GshellError) -> None: ...

    def on_queued(self, talk: Conversation) -> None:
        self._error = BrokerError("it does not run yet", hint="gshell jobs")

    def on_refused(self, talk: Conversation, code: str) -> None:
        self._error = BrokerError(f"no such job of yours runs ({code})", hint="gshell jobs")

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        self._error = error
