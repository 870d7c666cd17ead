"""Room that several share: a session's on disk among its streams, an agent's among its sessions.

Who wants more than is left gets it from whoever holds most and can do without. Pure.
"""

from __future__ import annotations

from typing import Callable, Protocol


class Holder(Protocol):
    """Somebody who holds some of the room."""

    @property
    def held(self) -> int:
        """Bytes."""

    def shed(self) -> bool:
        """Give some back, if that harms nobody whom it must not; has it?"""


class Budget:
    """Invariant: ``held`` is what was taken and not given back, at most ``quota_bytes``; and so it
    is in the budget above, which counts all that is taken here too."""

    __slots__ = ("_above", "_holders", "_refused", "held", "on_room", "quota_bytes")

    def __init__(
        self,
        quota_bytes: int,
        above: Budget | None = None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_room`` is called when something comes back after somebody was refused: from within,
        so it had better only take note."""
        self.quota_bytes = quota_bytes
        self.on_room = on_room
        self.held = 0
        self._above = above
        self._holders: list[Holder] = []
        self._refused = False
        if above is not None:
            above.join(self)

    def join(self, holder: Holder) -> None:
        """From now on ``holder`` may be asked to shed."""
        self._holders.append(holder)

    def leave(self, holder: Holder) -> None:
        """It holds nothing any more, nor will it."""
        if holder in self._holders:
            self._holders.remove(holder)

    def close(self) -> None:
        """Nobody takes from here any more; all has been given back."""
        assert not self.held
        if self._above is not None:
            self._above.leave(self)

    def take(self, size: int) -> bool:
        """Whether there is room for ``size`` more bytes; it is taken then. Older bytes go for
        it."""
        tight = self._tight(size)
        while tight is not None:
            if size > tight.quota_bytes or not tight.shed():
                tight._refused = True
                return False
            tight = self._tight(size)
        budget: Budget | None = self
        while budget is not None:
            budget.held += size
            budget = budget._above
        return True

    def give(self, size: int) -> None:
        """``size`` bytes come back."""
        budget: Budget | None = self
        while budget is not None:
            budget.held -= size
            assert budget.held >= 0
            if budget._refused and size:
                budget._refused = False
                budget.on_room()
            budget = budget._above

    def shed(self) -> bool:
        """Let whoever holds most give something back, or else the next."""
        for holder in sorted(self._holders, key=lambda one: one.held, reverse=True):
            if not holder.held:
                break
            if holder.shed():
                return True
        return False

    def _tight(self, size: int) -> Budget | None:
        """The budget that has no room, if there is one."""
        budget: Budget | None = self
        while budget is not None:
            if budget.held + size > budget.quota_bytes:
                return budget
            budget = budget._above
        return None
