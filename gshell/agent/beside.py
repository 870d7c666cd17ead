"""The process of a rank, for who wants to look at it: of ours, and in an adopted job of others'."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from gshell.agent import rankscan
from gshell.agent.services import ADOPT

if TYPE_CHECKING:
    from gshell.agent.session import Session

# Of the rank's own process, its launcher and our agent: a shell's would be wrong there, or harmful.
NOT_ITS = ("GSHELL_RANKS", "GSHELL_RANKS_KEY", "PMI_FD", "SHLVL", "_", "TERM", "PWD", "OLDPWD")


class Beside(NamedTuple):
    """What a shell beside a rank begins with."""

    pid: int
    env: dict[str, str]
    cwd: str | None


def is_adopted(session: Session) -> bool:
    return getattr(session.spec, "service", "") == ADOPT  # the archive shows specs without one


def scanned(session: Session) -> list[dict[str, Any]]:
    """The ranks that others started, of the batch job that this session stands for, on this node:
    rows of an answer to `ranks` (gshell/mpi/MPI.md)."""
    lrms, one = session.batch_job()
    # Our keeper, and all below it: they are in the batch job, too.
    return rankscan.scan(lrms, one, os.getppid()) if one else []


def find(session: Session, rank: int) -> Beside | None:
    """None: it is not here, or not any more."""
    if is_adopted(session):
        pid = next((row["pid"] for row in scanned(session) if row["rank"] == rank), 0)
    else:
        first = session.spec.first if session.spec is not None else 0
        ranks = session.ranks[rank - first : rank - first + 1] if rank >= first else []
        pid = next((r.child.pid for r in ranks if r.child is not None and not r.exited), 0)
    if not pid:
        return None
    env = rankscan.environment(pid)
    try:
        cwd = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        cwd = None
    return Beside(pid, {name: env[name] for name in env if name not in NOT_ITS}, cwd)
