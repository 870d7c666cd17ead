r"""Text from elsewhere, made safe to show. Knows nothing of where it comes from or goes to.

Job names, host names, errors and titles come from other people's machines and end on a terminal,
which obeys what it reads. Whoever decodes such text passes it through `sanitize` once, there. The
bytes of an attached session are the one thing that is not: they are for the terminal.

Joiners and variation selectors are spelt out even inside an emoji: terminals disagree about how
wide such a cluster is, and they can carry hidden text.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

ELLIPSIS = "…"
MARKS_IN_A_ROW = 4  # combining marks on one character; more is no language but a tower over lines
MAX_CHARS = 8192  # of one text from elsewhere; the longest of ours is an error of a few lines
MAX_NUMBER = 1 << 63  # also of a number: no time, size or offset of ours is beyond it
MAX_DEPTH = 32  # of a message; the deepest of ours has six

# str.isprintable() already refuses C0, DEL, C1, bidi controls, zero-width, tags, U+2028/9,
# surrogates, every space but the ASCII one. These it lets through though nothing is seen of them:
_PRINTABLE_BUT_INVISIBLE = frozenset(
    "\u034f"  # combining grapheme joiner
    "\u115f\u1160\u3164\uffa0"  # Hangul fillers
    "\u17b4\u17b5"  # Khmer inherent vowels
    "\u180b\u180c\u180d\u180f"  # Mongolian variation selectors
    "\u2800"  # braille blank
    + "".join(map(chr, range(0xFE00, 0xFE10)))  # variation selectors: they can carry hidden data
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)


def sanitize(text: str, width: int | None = None) -> str:
    r"""``text`` on one line, everything a terminal would obey or hide as a visible ``\x1b``.

    ``width``: at most so many columns; an ellipsis ends what was cut, and no escape is cut in two.
    Printable text comes back as it is, backslashes included: this is for reading, not for parsing
    back. Doing it twice changes nothing more.
    """
    plain = text.isascii() and text.isprintable()
    if plain and (width is None or len(text) <= width):
        return text
    if width is None:
        return "".join(map(_shown, text)) if text.isascii() else "".join(_pieces(text))
    return _cut(text, width)


def sanitize_all(value: Any, but: Collection[str] = ()) -> Any:
    """A decoded JSON value with every text in it made safe, names of fields too, and numbers that
    are none as null.

    This is the boundary: what has passed can be shown. ``but``: fields of the outermost object that
    are data and come back as they are.
    """
    if isinstance(value, dict) and but:
        return {
            sanitize(str(key)[:MAX_CHARS]): item if key in but else _safe(item, MAX_DEPTH)
            for key, item in value.items()
        }
    return _safe(value, MAX_DEPTH)


def _safe(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        if len(value) > MAX_CHARS:
            return sanitize(value[:MAX_CHARS]) + ELLIPSIS
        return sanitize(value)
    if isinstance(value, float) and not -MAX_NUMBER < value < MAX_NUMBER:  # nor NaN
        return None
    if isinstance(value, int) and not -MAX_NUMBER < value < MAX_NUMBER:
        return None
    if not isinstance(value, (dict, list)):
        return value
    if not depth:
        return None
    if isinstance(value, list):
        return [_safe(item, depth - 1) for item in value]
    return {sanitize(str(key)[:MAX_CHARS]): _safe(item, depth - 1) for key, item in value.items()}


def _shown(char: str) -> str:
    if char.isprintable() and char not in _PRINTABLE_BUT_INVISIBLE:
        return char
    return _spelt(char)


def _spelt(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _pieces(text: str) -> Iterator[str]:
    """Each character as it is shown. A mark needs something to stand on, and not too many of its
    kind: else it is spelt out."""
    from unicodedata import category  # a shared library: only texts that are not ASCII need it

    marks = MARKS_IN_A_ROW  # at the beginning it would stand on what is printed before
    for char in text:
        piece = _shown(char)
        if len(piece) > 1 or piece < "\u0300":
            marks = 0
        elif category(piece)[0] == "M":
            marks += 1
            if marks > MARKS_IN_A_ROW:
                piece = _spelt(char)
        else:
            marks = 0
        yield piece


def _cut(text: str, width: int) -> str:
    from unicodedata import east_asian_width

    pieces: list[str] = []
    used = fits = 0  # columns so far; how many pieces leave room for the ellipsis
    for piece in _pieces(text):
        # Combining marks count as one: never too wide.
        used += 2 if len(piece) == 1 and east_asian_width(piece) in "WF" else len(piece)
        if used > width:
            return "".join(pieces[:fits]) + ELLIPSIS if width > 0 else ""
        pieces.append(piece)
        if used < width:
            fits = len(pieces)
    return "".join(pieces)
