"""What an agent offers, and whether there is room for one more step."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gshell.agent.session import Session
    from gshell.agent.spec import StepSpec
    from gshell.agent.steps import Steps

LANES = ("batch", "interactive")
# What stands beside an MPI's launcher, and what the grid's descriptions call that MPI.
_MPIS = {"ompi_info": ("OPENMPI",), "mpichversion": ("MPICH", "MPICH2"), "mpiname": ("MVAPICH2",)}


def software() -> list[str]:
    """The MPIs that are on PATH, as descriptions ask for them."""
    return [name for tool, names in _MPIS.items() if shutil.which(tool) for name in names]


class Facts:
    """What this agent offers."""

    def __init__(
        self,
        slots: int | None,
        tags: list[str],
        pool: str = "",
        allocated: dict[str, Any] | None = None,
    ) -> None:
        """``allocated``: of the batch job around us, as ``hello`` says it."""
        self.allocated = allocated or {}
        self.idle_s: int | None = None
        """So long without a step and without the relay, who else decides: it ends."""
        self.pool = pool  # the group whose members it serves under its own account
        self.host = os.uname().nodename
        self.cpus = len(os.sched_getaffinity(0))
        self.memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        self.tags = tags
        self.software = software()
        self.slots = slots if slots is not None else max(64, 4 * self.cpus)


class Slots:
    """Which of them are taken. Invariant: each lane has all of them."""

    def __init__(self, facts: Facts, steps: Steps) -> None:
        self._facts = facts
        self._steps = steps

    def busy(self, lane: str) -> int:
        return sum(session.slots for session in self._steps.running if session.lane == lane)

    def take(self, session: Session, spec: StepSpec) -> bool:
        """Is there room? An opening ahead of use is placed where a slot is free, for whatever
        comes; else in the interactive lane, for a terminal. When things are not so any more the
        relay looks anew."""
        if not session.warm:
            return self.busy(session.lane) + spec.slots <= self._facts.slots
        beside = session.lane == "interactive"
        session.lane = "batch" if spec.pty is None else "interactive"
        if beside and spec.pty is None:
            return False
        lanes = ("interactive",) if beside else LANES
        return sum(map(self.busy, lanes)) + spec.slots <= self._facts.slots

    def misplaced(self) -> list[Session]:
        """Those opened ahead of use that were placed for an agent with free slots, while for some
        time there were none; and the other way round: the relay places the next ones better."""
        full = sum(map(self.busy, LANES)) >= self._facts.slots
        unused = [s for s in self._steps.all if s.warm and s.state == "new" and s.primary]
        for session in unused:
            as_placed = full == (session.lane == "interactive")
            session.misplaced = 0 if as_placed else session.misplaced + 1
        return [session for session in unused if session.misplaced > 1]
