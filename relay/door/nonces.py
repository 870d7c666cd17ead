"""Remembers used nonces for as long as they could be used again. Knows no clock."""

from __future__ import annotations


class Nonces:
    """Two generations, each ``keep_s`` long: what was used is known for that long at least."""

    __slots__ = ("_keep_s", "_new", "_old", "_turn_at")

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._new: set[str] = set()
        self._old: set[str] = set()
        self._turn_at: float | None = None

    def burn(self, nonce: str, now: float) -> bool:
        """Use it; False if that has happened before."""
        if self._turn_at is None:
            self._turn_at = now + self._keep_s
        elif now >= self._turn_at:
            late = now >= self._turn_at + self._keep_s
            self._old = set() if late else self._new
            self._new = set()
            self._turn_at = now + self._keep_s
        if nonce in self._new or nonce in self._old:
            return False
        self._new.add(nonce)
        return True
