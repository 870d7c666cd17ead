"""Shared memory that ranks of MPICH leave behind when they are ended: MPI_Finalize removes it,
and nobody else does. What they have of it is read before they are ended. Knows no session.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable

SEGMENT = re.compile(rb" (/dev/shm/mpich_shm_\w+)$", re.MULTILINE)


class Shared:
    """Of the ranks of one member."""

    def __init__(self) -> None:
        self._files: set[bytes] = set()

    def look(self, pids: Iterable[int]) -> None:
        """They are about to be ended. Ranks of one node share: what one has, all have."""
        for pid in pids:
            if self._files:
                return
            # Errors: it has ended, or is not ours to look at.
            with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", "rb") as file:
                self._files.update(SEGMENT.findall(file.read()))

    def remove(self) -> None:
        """All of them have ended."""
        for path in self._files:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._files.clear()
