"""Numbers of colours to what is drawn. Pure."""

from __future__ import annotations

from gshell.cast.cells import BOLD, DEFAULT, FAINT, HIDDEN, INVERSE, TRUE_COLOR, Style

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gshell.cast.format import Header

FOREGROUND, BACKGROUND = "#d3d7cf", "#16181d"
_SIXTEEN = [
    "#2a2d34",
    "#d9534f",
    "#7fb347",
    "#d6a21e",
    "#5b8fd9",
    "#a873c0",
    "#2fa5ac",
    "#d3d7cf",
    "#5c616c",
    "#f0706c",
    "#9fd05f",
    "#f0c24b",
    "#80b0f5",
    "#c594dc",
    "#55c8cf",
    "#f4f6f3",
]
_STEPS = (0, 95, 135, 175, 215, 255)


class Palette:
    """A terminal's colours."""

    def __init__(self, header: Header) -> None:
        theme = header.theme or {}
        self.foreground = theme.get("fg", FOREGROUND)
        self.background = theme.get("bg", BACKGROUND)
        self._sixteen = theme.get("palette", ":".join(_SIXTEEN)).split(":")
        self._sixteen += self._sixteen[: 16 - len(self._sixteen)]

    def colour(self, number: int) -> str:
        """``#rrggbb`` of a colour that is not the default."""
        if number >= TRUE_COLOR:
            return f"#{number & 0xFFFFFF:06x}"
        if number < 16:
            return self._sixteen[number]
        if number < 232:
            cube = number - 16
            red, green, blue = _STEPS[cube // 36], _STEPS[cube // 6 % 6], _STEPS[cube % 6]
            return f"#{red:02x}{green:02x}{blue:02x}"
        return "#" + f"{8 + 10 * (number - 232):02x}" * 3

    def of(self, style: Style) -> tuple[str, str]:
        """Foreground and background, empty if it is the terminal's own."""
        fg, bg, flags = style
        if fg != DEFAULT and fg < 8 and flags & BOLD:
            fg += 8
        front = "" if fg == DEFAULT else self.colour(fg)
        back = "" if bg == DEFAULT else self.colour(bg)
        if flags & INVERSE:
            front, back = back or self.background, front or self.foreground
        if flags & FAINT:
            front = _mixed(front or self.foreground, back or self.background)
        if flags & HIDDEN:
            front = back or self.background
        return front, back


def _mixed(one: str, other: str) -> str:
    pairs = ((int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{(a * 3 + b * 2) // 5:02x}" for a, b in pairs)
