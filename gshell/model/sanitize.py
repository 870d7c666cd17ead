r"""Text from elsewhere, made safe to show. Knows nothing of where it comes from or goes to.

Job names, host names, errors and titles come from other people's machines and end on a terminal,
which obeys what it reads. Whoever decodes such text passes it through `sanitize` once, there. The
bytes of an attached session are the one thing that is not: they are for the terminal.
"""

from __future__ import annotations

ELLIPSIS = "…"

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
        return "".join(map(_shown, text))
    return _cut(text, width)


def _shown(char: str) -> str:
    if char.isprintable() and char not in _PRINTABLE_BUT_INVISIBLE:
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(text: str, width: int) -> str:
    from unicodedata import east_asian_width  # a shared library: only tables need it

    pieces: list[str] = []
    used = fits = 0  # columns so far; how many pieces leave room for the ellipsis
    for char in text:
        piece = _shown(char)
        # Combining marks count as one: never too wide, and a tower of them is cut too.
        used += 2 if len(piece) == 1 and east_asian_width(piece) in "WF" else len(piece)
        if used > width:
            return "".join(pieces[:fits]) + ELLIPSIS if width > 0 else ""
        pieces.append(piece)
        if used < width:
            fits = len(pieces)
    return "".join(pieces)
