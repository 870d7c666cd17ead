"""Whom an agent serves, and what of that the relay's word suffices for. Pure: it is asked, and says
yes or no.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gshell.agent.attachment import ARCHIVE

if TYPE_CHECKING:
    from gshell.agent.session import Session


class Rights:
    """Invariant: who starts something is the agent's user or of its pool, whatever the relay
    says."""

    def __init__(self, user: str, pool: str) -> None:
        """``pool``: the group whose members it serves under its own account; "": none."""
        self.user = user
        self._pool = pool

    def serves(self, user: str, pool: object) -> bool:
        """May this user's program run under our account?"""
        if self._pool:
            return pool == self._pool
        return user == self.user

    def may(self, expect: dict[str, Any], user: str) -> bool:
        """May who showed that he is ``user`` come as the relay announced it? Others than a job's
        owner may by a share only."""
        if user != expect["user"]:
            return False
        if user == ARCHIVE:
            return True  # `may_archive` says what it may
        owner = expect.get("owner", user)
        if expect.get("op") == "open" or user == owner:
            return bool(user == owner and self.serves(user, expect.get("pool")))
        return bool(expect.get("share"))

    def may_archive(self, expect: dict[str, Any], steps: Iterable[Session]) -> bool:
        """The relay's archive looks on, at ``steps`` that are for it, and fills and empties jobs'
        work directories; it does nothing else."""
        if expect.get("op") == "open":
            served = self.serves(str(expect.get("owner")), expect.get("pool"))
            return served and expect.get("service") == "files" and bool(expect.get("stage"))
        if expect.get("op") not in ("attach", "resume") or expect.get("rights") != "r":
            return False
        return all(s.spec is not None and s.spec.archivable for s in steps)
