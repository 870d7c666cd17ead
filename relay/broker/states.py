"""A job's states and the ways between them. Knows no jobs."""

from __future__ import annotations

import enum


class JobState(enum.Enum):
    """In this order; a job never goes back, except to QUEUED: from HELD, or for a new attempt."""

    NEW = 0  # being put together: a group whose openings are not all here
    QUEUED = 1  # no room yet
    HELD = 2  # slots are kept for it, nothing has started
    STAGE_IN = 3
    ACTIVE = 4
    STAGE_OUT = 5
    COMPLETED = 6
    FAILED = 7
    CANCELED = 8

    order: int
    started: bool
    """Its program runs, or has run, or never will."""
    final: bool

    __hash__ = object.__hash__  # each is one of a kind, and Enum's own is slow, too

    def __init__(self, order: int) -> None:  # asked for at every step, and `value` is slow
        self.order = order
        self.started = order >= 4
        self.final = order >= 6


_S = JobState
_ENDS = {_S.COMPLETED, _S.FAILED, _S.CANCELED}

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _S.NEW: frozenset({_S.QUEUED, _S.HELD, _S.STAGE_IN, _S.ACTIVE} | _ENDS),
    _S.QUEUED: frozenset({_S.HELD, _S.STAGE_IN, _S.ACTIVE} | _ENDS),
    _S.HELD: frozenset({_S.QUEUED, _S.STAGE_IN, _S.ACTIVE} | _ENDS),
    _S.STAGE_IN: frozenset({_S.QUEUED, _S.ACTIVE} | _ENDS),
    _S.ACTIVE: frozenset({_S.QUEUED, _S.STAGE_OUT} | _ENDS),
    _S.STAGE_OUT: frozenset(_ENDS),
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELED: frozenset(),
}
