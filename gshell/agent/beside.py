"""Ranks that others started: those of an adopted batch job, and those of an mpirun of ours."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gshell.agent import rankscan
from gshell.agent.services import ADOPT

if TYPE_CHECKING:
    from gshell.agent.session import Session


def is_adopted(session: Session) -> bool:
    """Does it stand for a batch job that others began?"""
    return getattr(session.spec, "service", "") == ADOPT  # the archive shows specs without one


def scanned(session: Session) -> list[dict[str, Any]]:
    """The ranks on this node that its program has and we did not start, as rows of an answer to
    `ranks` (gshell/mpi/MPI.md)."""
    if not is_adopted(session):
        return rankscan.below(session.pids()) if _may_launch(session) else []
    lrms, one = session.batch_job()
    # Our keeper, and all below it: they are in the batch job, too.
    return rankscan.scan(lrms, one, os.getppid()) if one else []


def _may_launch(session: Session) -> bool:
    """It is one program, which may have started others."""
    spec = session.spec
    return spec is not None and spec.size == 1 and spec.mpi is None and not spec.service


def pid(session: Session, rank: int) -> int:
    """Of that one of them, the youngest if there are several; 0: it is not here."""
    return next((int(row["pid"]) for row in scanned(session) if row["rank"] == rank), 0)
