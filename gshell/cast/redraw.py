"""What brings an empty terminal of the same size to where a screen is. Pure."""

from __future__ import annotations

from gshell.cast.cells import PLAIN, Row
from gshell.cast.screen import TABS, Screen

_AS_NEW = "\x1b(B\x1b)B\x0f\x1b[m\x1b[?6l"


def redraw(screen: Screen) -> str:
    """Output after which a new terminal shows what ``screen`` shows, and goes on as it would.

    What has scrolled off is not in it.
    """
    main = screen.lines if screen.main is None else screen.main
    parts = [_drawn(main), _saved(screen, 0, main)]
    if screen.main is not None:
        # 1049 keeps the cursor, too: it must find what was kept then.
        parts += [f"\x1b[?{screen.alternate_mode}h", _AS_NEW, _drawn(screen.lines)]
        parts.append(_saved(screen, 1, screen.lines))
    parts.append(_AS_NEW if screen.saved(0).is_set or screen.saved(1).is_set else "")
    if screen.tabs != TABS:
        parts.append("\x1b[3g")
        stops = sorted(stop for stop in screen.tabs if stop < screen.columns)
        parts += [f"\x1b[1;{stop + 1}H\x1bH" for stop in stops]
    if (screen.top, screen.bottom) != (0, screen.rows - 1):
        parts.append(f"\x1b[{screen.top + 1};{screen.bottom + 1}r")
    parts += [f"\x1b[?{mode}{'h' if on else 'l'}" for mode, on in screen.modes.items()]
    parts.append("\x1b[?6h" if screen.origin else "")
    above = screen.top if screen.origin else 0
    parts.append(_placed(screen.lines, screen.x, screen.y, screen.pending, above))
    parts.append(_charsets(screen.charsets))
    for wanted, said in (
        (screen.shifted, "\x0e"),
        (screen.insert, "\x1b[4h"),
        (screen.newline, "\x1b[20h"),
        (screen.keypad, "\x1b="),
        (screen.shape, f"\x1b[{screen.shape} q"),
        (screen.title, f"\x1b]2;{screen.title}\x07"),
        (screen.style != PLAIN, screen.style.sgr()),
    ):
        if wanted:
            parts.append(said)
    return "".join(parts)


def _drawn(lines: list[Row]) -> str:
    parts, style = [], PLAIN
    for y, row in enumerate(lines):
        runs = row.runs()
        if runs:
            parts.append(f"\x1b[{y + 1};1H" if y else "\x1b[H")
        for text, wanted in runs:
            parts.append("" if wanted == style else wanted.sgr())
            parts.append(text)
            style = wanted
    return "".join(parts) + ("" if style == PLAIN else "\x1b[m")


def _placed(lines: list[Row], x: int, y: int, pending: bool, above: int = 0) -> str:
    """The cursor; behind the last column it only comes by printing there."""
    row = lines[y]
    if pending and not row.chars[x] and x:
        x -= 1
    place = f"\x1b[{y + 1 - above};{x + 1}H"
    if not pending:
        return place
    return f"{place}{row.styles[x].sgr()}{row.chars[x]}\x1b[m"


def _charsets(charsets: tuple[str, str]) -> str:
    return "".join(f"\x1b{which}{kind}" for which, kind in zip("()", charsets) if kind != "B")


def _saved(screen: Screen, which: int, lines: list[Row]) -> str:
    cursor = screen.saved(which)
    if not cursor.is_set:
        return ""
    parts = [_AS_NEW, "\x1b[?6h" if cursor.origin else ""]
    parts.append(_placed(lines, cursor.x, cursor.y, cursor.pending))
    parts += [_charsets(cursor.charsets), "\x0e" if cursor.shifted else "", cursor.style.sgr()]
    return "".join(parts) + "\x1b7"
