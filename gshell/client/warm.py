"""Conversations that are joined before anybody wants one. Knows no front process, and no plan."""

from __future__ import annotations

import os
from typing import Any

from gshell.client.conversation import Conversation, Dialler
from gshell.errors import GshellError
from gshell.wire import peer as wire

WARM = 2  # openings that wait, joined and verified, for the next ``run``
WARM_RETRY_S = 2.0


class WarmPool:
    """Conversations that are joined already and only lack something to start."""

    def __init__(self, dialler: Dialler, wanted: int = WARM) -> None:
        self._dialler = dialler
        self._wanted = wanted
        self._talks: list[Conversation] = []
        self._pausing = False
        self.closed = False

    def fill(self) -> None:
        while len(self._talks) < self._wanted and not self._pausing and not self.closed:
            request = {"op": "open", "warm": True, "tasks": 1, "index": 0, "size": 1}
            talk = Conversation(self._dialler, self, request, {})
            self._talks.append(talk)
            talk.dial()

    def take(self) -> Conversation | None:
        """One that is ready, ours no more; another is on its way."""
        for talk in self._talks:
            if talk.up:
                self._talks.remove(talk)
                self._dialler.loop.soon(self.fill)
                return talk
        return None

    @property
    def ready(self) -> bool:
        return any(talk.up for talk in self._talks)

    def close(self) -> None:
        self.closed = True
        for talk in self._talks:
            talk.close("done")
        self._talks.clear()

    def _lose(self, talk: Conversation) -> None:
        if talk in self._talks:
            self._talks.remove(talk)
            talk.close()
        if not self._pausing:
            self._pausing = True
            jitter = 0.5 + os.urandom(1)[0] / 255.0  # a relay that restarts has lost many at once
            self._dialler.loop.later(WARM_RETRY_S * jitter, self._again)

    def _again(self) -> None:
        self._pausing = False
        self.fill()

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None:
        pass

    def on_event(self, talk: Conversation, event: wire.Event) -> None:
        pass

    def on_flow(self, talk: Conversation) -> None:
        pass

    def on_lost(self, talk: Conversation, error: GshellError) -> None:
        self._lose(talk)

    def on_queued(self, talk: Conversation) -> None:
        self._lose(talk)

    def on_refused(self, talk: Conversation, code: str) -> None:
        self._lose(talk)

    def on_failed(self, talk: Conversation, error: GshellError) -> None:
        self._lose(talk)
