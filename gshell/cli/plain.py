"""Output for terminals and logs that know ASCII only: widths stay as they are."""

from __future__ import annotations

import codecs
import sys
from unicodedata import east_asian_width

# our own signs, and what is as wide and means the same
_SIGNS = {
    "…": "~", "│": "|", "▁": ".", "▂": ":", "▃": "-", "▄": "=", "▅": "+", "▆": "*", "▇": "#",
    "█": "@", "✔": "+", "✖": "x", "━": "#", "─": "-", "▶": ">", "▏": "|",
}  # fmt: skip
NAME = "gshell-ascii"


def ascii_text(text: str) -> str:
    """``text`` in ASCII, every character as wide as it was.

    >>> ascii_text("lu… 計算")
    'lu~ ????'
    """
    if text.isascii():
        return text
    return "".join(char if char.isascii() else _plain(char) for char in text)


def _plain(char: str) -> str:
    return _SIGNS.get(char) or ("??" if east_asian_width(char) in "WF" else "?")


def _handler(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def ascii_only() -> None:
    """From here on, of this process's standard streams."""
    codecs.register_error(NAME, _handler)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="ascii", errors=NAME)
