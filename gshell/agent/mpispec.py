"""What a spec says of the MPI program it starts, checked. Pure; see gshell/mpi/MPI.md."""

from __future__ import annotations

from typing import Any, NamedTuple

from gshell.model.rankset import RankSet
from gshell.wire.constants import MAX_TASKS

MAX_MEMBERS = 4096
MAX_OPTIONS = 1024
MAX_WORD = 1 << 16


class MpiPart(NamedTuple):
    """One MPI program over all members of the job."""

    layout: tuple[int, ...]
    """How many ranks each member has."""
    flavour: str
    """Which MPI; "auto": the one that the program is linked with."""
    input: RankSet
    """Those whose stdin is a pipe; the others have /dev/null."""
    pty: RankSet
    """Those that have a terminal of their own."""
    options: tuple[str, ...]
    """For the launcher, where there is one."""
    pre: str
    """Hooks: files to be run before and after, as mpi-start's."""
    post: str

    @property
    def size(self) -> int:
        return sum(self.layout)

    def first(self, index: int) -> int:
        """Number of a member's first rank."""
        return sum(self.layout[:index])

    @classmethod
    def parse(cls, value: Any) -> MpiPart:
        """
        Raises:
            ValueError, TypeError, AttributeError: not such a part.
        """
        layout, options = value["layout"], value.get("options") or []
        words = [value.get("flavour") or "auto", value.get("pre") or "", value.get("post") or ""]
        sets = [value.get("input") or "", value.get("pty") or ""]
        _require(isinstance(layout, list) and 1 <= len(layout) <= MAX_MEMBERS)
        _require(all(type(tasks) is int and 1 <= tasks <= MAX_TASKS for tasks in layout))
        _require(isinstance(options, list) and len(options) <= MAX_OPTIONS)
        _require(all(_word(word) for word in [*options, *words, *sets]))
        _require(words[0].isascii() and words[0].isalnum() and len(words[0]) <= 32)
        part = cls(
            layout=tuple(layout),
            flavour=words[0],
            input=RankSet.parse(sets[0]),
            pty=RankSet.parse(sets[1]),
            options=tuple(options),
            pre=words[1],
            post=words[2],
        )
        _require(not part.input.beyond(part.size) and not part.pty.beyond(part.size))
        return part

    def fits(self, tasks: int, first: int, size: int) -> bool:
        """Can a member have these ranks?"""
        at = 0
        for each in self.layout:
            if at == first and each == tasks:
                return size == self.size
            at += each
        return False


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def _word(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value and len(value) <= MAX_WORD
