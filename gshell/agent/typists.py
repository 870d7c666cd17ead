"""Who types to which rank of a session. Knows no bytes.

The session's writer types to the ranks that its start named; an attachment for ranks types to its
own, if nobody else does or it was told to take that over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gshell.model.rankset import RankSet

if TYPE_CHECKING:
    from gshell.agent.attachment import Attachment
    from gshell.agent.session import Session


class Typists:
    """Invariant: at most one types to a rank; who left types to none."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._of: dict[int, Attachment] = {}  # rank, by its number here

    def may(self, rank: int, attachment: Attachment) -> bool:
        """Is it this one who types to that rank?"""
        return self.of(rank) is attachment

    def of(self, rank: int) -> Attachment | None:
        """Who types to that rank."""
        own = self._of.get(rank)
        if own is not None:
            return own
        return self._session.primary if rank in self._reach() else None

    def types(self, attachment: Attachment) -> bool:
        """Does it type to any of its ranks?"""
        return any(who is attachment for who in self._of.values())

    def add(self, attachment: Attachment, steal: bool) -> None:
        """An attachment for ranks came, or wants to type."""
        if attachment.rights != "rw":
            return
        for rank in self.reading(self.ranks(attachment)):
            before = self.of(rank)
            if before in (None, attachment) or steal:
                self._of[rank] = attachment
                if before is not None and before is not attachment and before.ranks is not None:
                    before.writing(self.types(before))
        attachment.writing(self.types(attachment))

    def remove(self, attachment: Attachment) -> None:
        self._of = {rank: who for rank, who in self._of.items() if who is not attachment}

    def ranks(self, attachment: Attachment) -> list[int]:
        """By their numbers here: those it is for."""
        spec = self._session.spec
        if spec is None or attachment.ranks is None:
            return []
        return [n for n in range(spec.tasks) if spec.first + n in attachment.ranks]

    def reading(self, ranks: list[int]) -> list[int]:
        """Those of them that have something to read what is typed from."""
        spec = self._session.spec
        found = []
        for rank in self._session.ranks:
            if rank.number not in ranks or rank.exited:
                continue
            if rank.child is not None:
                reads = rank.child.stdin >= 0
            else:  # it is not there yet
                number = rank.number + (spec.first if spec is not None else 0)
                mpi = spec.mpi if spec is not None else None
                reads = mpi is not None and (number in mpi.input or number in mpi.pty)
            if reads:
                found.append(rank.number)
        return found

    def welcome(self, attachment: Attachment) -> dict[str, str]:
        """Which ranks read what this one types, by their numbers in the job; nothing where it goes
        without saying: to the first."""
        spec = self._session.spec
        if spec is None or (attachment.ranks is None and spec.mpi is None):
            return {}
        first = spec.first
        ranks = self._reach() if attachment.ranks is None else self.ranks(attachment)
        reading = self.reading(list(ranks))
        return {"reads": RankSet.of(first + n for n in reading).text()}

    def _reach(self) -> tuple[int, ...] | list[int]:
        """Where the session's writer types."""
        spec = self._session.spec
        if spec is None or spec.mpi is None:
            return (0,)
        return self._session.input_ranks()
