"""A conversation with one agent as a run sees it: which ranks are there, and how far they are."""

from __future__ import annotations

from gshell.client.conversation import Conversation
from gshell.wire.constants import rank_of

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

    from gshell.errors import GshellError
    from gshell.wire.peer import Event


def within(value: object, least: int, most: int) -> int:
    """A number that an agent said. Raises ValueError: it cannot be that."""
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(value)
    return value


class Nobody:
    """Whose conversation is only yet to be ended: a `Talker` that listens to nothing."""

    def on_greeted(self, talk: Conversation, welcome: dict[str, Any]) -> None: ...

    def on_event(self, talk: Conversation, event: Event) -> None: ...

    def on_flow(self, talk: Conversation) -> None: ...

    def on_lost(self, talk: Conversation, error: GshellError) -> None: ...

    def on_queued(self, talk: Conversation) -> None: ...

    def on_refused(self, talk: Conversation, code: str) -> None: ...

    def on_failed(self, talk: Conversation, error: GshellError) -> None: ...


class Seat:
    """One conversation and how far its ranks are."""

    __slots__ = (
        "awaits",
        "ended",
        "exits",
        "filters",
        "finals",
        "finished",
        "first",
        "history",
        "live",
        "started",
        "starter",
        "talk",
        "tasks",
        "torn",
    )

    def __init__(self, talk: Conversation, first: int, tasks: int, starter: bool = False) -> None:
        self.talk = talk
        self.first = first
        self.tasks = tasks + starter
        """With the starter, which is the last."""
        self.starter = starter
        self.exits: dict[int, dict[str, Any]] = {}
        self.finals: dict[int, int] = {}
        self.history: dict[
            int, tuple[int, list[bytes]]
        ] = {}  # stream -> until where, pieces so far
        self.torn: set[int] = set()  # what follows may begin in the middle of a sequence
        self.filters: dict[int, Any] = {}  # stream -> what a terminal must not obey is left out
        self.live: dict[int, int] = {}  # stream -> where the present was when we joined
        self.awaits: set[int] | None = None  # only these ranks of it; None: all
        self.started = False
        self.finished = False
        self.ended = False  # before we came

    @property
    def over(self) -> bool:
        """Have all ranks that matter here ended?"""
        if self.awaits is not None:
            return bool(self.tasks) and self.awaits <= self.exits.keys()
        return bool(self.tasks) and len(self.exits) >= self.tasks

    @property
    def ranks(self) -> int:
        """Without the starter."""
        return self.tasks - self.starter

    def rank(self, stream: int) -> int:
        """The job's number of the rank whose stream this is; -1: of who starts the ranks."""
        number = rank_of(stream)
        return -1 if self.starter and number == self.tasks - 1 else self.first + number

    def has(self, ends: dict[int, int], arrived: bool = False) -> bool:
        """Has everything below these offsets been written, or is it not wanted any more?
        ``arrived``: it is here, and may wait to be written."""
        for stream, end in ends.items():
            receiving = self.talk.peer.receiving(stream)
            if receiving is None or receiving.stop_wanted:
                continue
            if (receiving.have if arrived else receiving.consumed) < end:
                return False
        return True
