"""What stands in the cells of a screen: characters, their styles, and rows of them. Pure."""

from __future__ import annotations

from typing import NamedTuple

BOLD, FAINT, ITALIC, UNDERLINE, BLINK, INVERSE, HIDDEN, STRIKE = (1 << bit for bit in range(8))
DEFAULT = -1  # a colour: the terminal's own
TRUE_COLOR = 1 << 24  # a colour: this, and 0xRRGGBB

_FLAGS = {
    1: BOLD, 2: FAINT, 3: ITALIC, 4: UNDERLINE, 5: BLINK, 6: BLINK, 7: INVERSE, 8: HIDDEN,
    9: STRIKE, 21: UNDERLINE,
}  # fmt: skip
_FLAGS_OFF = {
    22: BOLD | FAINT, 23: ITALIC, 24: UNDERLINE, 25: BLINK, 27: INVERSE, 28: HIDDEN, 29: STRIKE,
}  # fmt: skip


class Style(NamedTuple):
    """How a cell looks."""

    fg: int = DEFAULT
    """A colour: ``DEFAULT``, 0 to 255 of the palette, or ``TRUE_COLOR | 0xRRGGBB``."""
    bg: int = DEFAULT
    flags: int = 0
    """``BOLD | ITALIC | ...``"""

    def sgr(self) -> str:
        """The sequence that selects it, from whatever was selected."""
        parts = ["0", *(str(n) for n in range(1, 10) if n != 6 and self.flags & _FLAGS[n])]
        for colour, base in ((self.fg, 30), (self.bg, 40)):
            if colour >= TRUE_COLOR:
                rgb = colour & 0xFFFFFF
                parts.append(f"{base + 8};2;{rgb >> 16};{rgb >> 8 & 255};{rgb & 255}")
            elif colour >= 16:
                parts.append(f"{base + 8};5;{colour}")
            elif colour >= 8:
                parts.append(str(base + 52 + colour))
            elif colour >= 0:
                parts.append(str(base + colour))
        return f"\x1b[{';'.join(parts)}m"


PLAIN = Style()


class Row:
    """One line of cells. A wide character's second cell is empty text."""

    __slots__ = ("chars", "styles", "wrapped")

    def __init__(self, columns: int, style: Style = PLAIN) -> None:
        self.chars = [" "] * columns
        self.styles = [style] * columns
        self.wrapped = False
        """The text goes on in the next row: it was wrapped by the terminal."""

    def text(self) -> str:
        return "".join(self.chars)

    def runs(self) -> list[tuple[str, Style]]:
        """Neighbours of the same style together; nothing for blanks at the end."""
        out: list[tuple[str, Style]] = []
        chars, styles = self.chars, self.styles
        end = len(chars)
        while end and chars[end - 1] == " " and styles[end - 1] == PLAIN:
            end -= 1
        start = 0
        while start < end:
            style, at = styles[start], start + 1
            while at < end and (styles[at] is style or styles[at] == style):
                at += 1
            out.append(("".join(chars[start:at]), style))
            start = at
        return out

    def clear(self, start: int, end: int, style: Style) -> None:
        """Blank these cells; the half of a wide character that is left goes, too."""
        chars = self.chars
        if start < end:
            if start and not chars[start]:
                chars[start - 1] = " "
            if end < len(chars) and not chars[end]:
                chars[end] = " "
            chars[start:end] = [" "] * (end - start)
            self.styles[start:end] = [style] * (end - start)

    def fit(self, columns: int) -> None:
        missing = columns - len(self.chars)
        if missing > 0:
            self.chars += [" "] * missing
            self.styles += [PLAIN] * missing
        elif missing < 0:
            if not self.chars[columns]:
                self.chars[columns - 1] = " "
            del self.chars[columns:], self.styles[columns:]


def number_of(text: str) -> int:
    """A parameter of a sequence; what is none is 0."""
    text = text.partition(":")[0].rstrip(" !\"#$%&'()*+,-./")
    return min(int(text[:6]), 99999) if text.isdigit() and text.isascii() else 0


def select(style: Style, body: str) -> Style:
    """``style`` after SGR with these parameters."""
    if body in ("", "0"):
        return PLAIN
    fg, bg, flags = style
    parts = iter(body.replace(" ", "").split(";")[:64])
    for part in parts:
        number = number_of(part)
        if ":" in part:
            fields = part.split(":")
            if number in (38, 48):
                colour = _colour([number_of(field) for field in fields[1:] if field])
                if colour is not None:
                    fg, bg = (colour, bg) if number == 38 else (fg, colour)
            elif number == 4:
                flags = flags & ~UNDERLINE if fields[1] == "0" else flags | UNDERLINE
        elif number == 0:
            fg, bg, flags = PLAIN
        elif number in _FLAGS:
            flags |= _FLAGS[number]
        elif number in _FLAGS_OFF:
            flags &= ~_FLAGS_OFF[number]
        elif 30 <= number <= 37:
            fg = number - 30
        elif 40 <= number <= 47:
            bg = number - 40
        elif 90 <= number <= 97:
            fg = number - 82
        elif 100 <= number <= 107:
            bg = number - 92
        elif number == 39:
            fg = DEFAULT
        elif number == 49:
            bg = DEFAULT
        elif number in (38, 48):
            kind = number_of(next(parts, ""))
            wanted = {5: 1, 2: 3}.get(kind, 0)
            colour = _colour([kind, *(number_of(next(parts, "999")) for _ in range(wanted))])
            if colour is not None:
                fg, bg = (colour, bg) if number == 38 else (fg, colour)
    return Style(fg, bg, flags)


def _colour(fields: list[int]) -> int | None:
    if len(fields) >= 2 and fields[0] == 5 and fields[1] < 256:
        return fields[1]
    if len(fields) >= 4 and fields[0] == 2:
        red, green, blue = fields[-3:] if len(fields) < 6 else fields[2:5]
        if max(red, green, blue) < 256:
            return TRUE_COLOR | red << 16 | green << 8 | blue
    return None
