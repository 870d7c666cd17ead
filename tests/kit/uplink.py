"""Stands for an agent's connection to its relay: keeps what the agent says. Answers nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Uplink:
    """In the place of `gshell.agent.uplink.Uplink`."""

    archive = "off"
    welcomed = True

    def __init__(self, *_: Any) -> None:
        self.said: list[dict[str, Any]] = []
        self.carry: Callable[[dict[str, Any]], None] = lambda message: None
        """Called with each: to somebody else who is to hear it."""

    def say(self, message: dict[str, Any]) -> None:
        self.said.append(message)
        self.carry(message)

    def want_spares(self, count: int) -> None: ...

    def close(self) -> None: ...
