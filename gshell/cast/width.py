"""How many columns a character takes. Pure."""

from __future__ import annotations

from functools import cache
from unicodedata import category, east_asian_width


@cache
def char_width(char: str) -> int:
    """0, 1 or 2, as terminals count: what combines, or is not seen, takes none."""
    if char < "\u0300":
        return 0 if char == "\xad" else 1
    if char == "\u200d" or category(char) in ("Mn", "Me", "Cf") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def text_width(text: str) -> int:
    return len(text) if text.isascii() else sum(map(char_width, text))
