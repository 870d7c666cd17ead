"""What a door has counted since it began. Plain integers: counting must cost nothing."""

from __future__ import annotations

from typing import Any


class Tally:
    __slots__ = ("accept_errors", "accepted", "down", "paired", "parted", "refused", "silent", "up")

    def __init__(self) -> None:
        self.accepted = 0  # connections
        self.accept_errors = 0
        self.silent = 0  # closed without a word: nothing genuine came, or not in time
        self.refused: dict[str, int] = {}  # code -> preambles
        self.paired = self.parted = 0
        self.up = self.down = 0  # bytes of pairs that have parted: client to agent, and back

    def refuse(self, code: str) -> None:
        self.refused[code] = self.refused.get(code, 0) + 1

    def totals(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "refused"} | {
            "refused": dict(self.refused)
        }
