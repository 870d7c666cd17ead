"""Names of keys, and the bytes that a terminal sends for them. Knows no terminal.

Cursor keys are those of the normal mode of xterm; a program that asked for the application mode
(``ESC O A``) understands these as well, because terminfo's readers time them the same way.
"""

from __future__ import annotations

import re

from gshell.replay.script import Key

_NAMED = {
    "Esc": b"\x1b", "Enter": b"\r", "Tab": b"\t", "Space": b" ", "Backspace": b"\x7f",
    "S-Tab": b"\x1b[Z",
}  # fmt: skip
_LETTERS = {  # CSI letter, or CSI 1;modifier letter
    "Up": "A", "Down": "B", "Right": "C", "Left": "D", "End": "F", "Home": "H",
    "F1": "P", "F2": "Q", "F3": "R", "F4": "S",
}  # fmt: skip
_NUMBERS = {  # CSI number ~, or CSI number;modifier ~
    "Insert": 2, "Delete": 3, "PageUp": 5, "PageDown": 6, "F5": 15, "F6": 17, "F7": 18, "F8": 19,
    "F9": 20, "F10": 21, "F11": 23, "F12": 24,
}  # fmt: skip
_SYNONYMS = {
    "escape": "Esc", "return": "Enter", "cr": "Enter", "bs": "Backspace", "del": "Delete",
    "pgup": "PageUp", "pgdn": "PageDown", "pagedn": "PageDown", "ins": "Insert",
}  # fmt: skip
_MODIFIERS = {"S": 1, "M": 2, "A": 2, "C": 4}
PASTE = (b"\x1b[200~", b"\x1b[201~")  # what terminals put around what is pasted


def _named() -> dict[str, bytes]:
    done = dict(_NAMED)
    done |= {
        name: f"\x1b{'O' if name[0] == 'F' else '['}{letter}".encode()
        for name, letter in _LETTERS.items()
        if name != "F"
    }
    done["End"] = b"\x1b[F"
    done |= {name: f"\x1b[{number}~".encode() for name, number in _NUMBERS.items()}
    return done


NAMED = _named()
_LOWER = {name.lower(): name for name in NAMED} | _SYNONYMS
_BACK = {data: f"<{name}>" for name, data in NAMED.items()}
_APPLICATION = {f"\x1bO{letter}".encode(): f"<{name}>" for name, letter in _LETTERS.items()}


def caret(char: str) -> bytes | None:
    """``^C``: what the key C gives with Ctrl."""
    if char == "?":
        return b"\x7f"
    code = ord(char.upper()) if len(char) == 1 else 0
    return bytes([code & 0x1F]) if 0x40 <= code <= 0x5F else None


def named(inside: str) -> Key | None:
    """The key of ``<inside>``: a name, modifiers ``C- M- S-`` before it; None: there is none."""
    plain = _LOWER.get(inside.lower())
    if plain is not None:
        return Key(NAMED[plain], f"<{plain}>")
    found = re.fullmatch(r"((?:[CMAScmas]-)+)(\S+)", inside)
    if found is None:
        return None
    held = {"M" if letter == "A" else letter for letter in found[1].upper().replace("-", "")}
    name = found[2]
    shown = "".join(f"{letter}-" for letter in "CMS" if letter in held)
    base = _LOWER.get(name.lower())
    modifier = 1 + sum(_MODIFIERS[letter] for letter in held)
    if base in _LETTERS:
        return Key(f"\x1b[1;{modifier}{_LETTERS[base]}".encode(), f"<{shown}{base}>")
    if base in _NUMBERS:
        return Key(f"\x1b[{_NUMBERS[base]};{modifier}~".encode(), f"<{shown}{base}>")
    if base is not None:
        data = NAMED[base]
        if base == "Space" and "C" in held:
            data = b"\0"
        elif held - {"M"}:
            return None
    elif len(name) == 1 and "S" not in held:
        base = name
        if "C" not in held:
            data = name.encode()
        else:
            control = caret(name)
            if control is None:
                return None
            data, base = control, name.lower()
    else:
        return None
    return Key((b"\x1b" if "M" in held else b"") + data, f"<{shown}{base}>")


def of_bytes(data: bytes) -> Key:
    """A key for bytes that were typed, by its best name."""
    name = _BACK.get(data) or _APPLICATION_NAMES.get(data)
    if name:
        return Key(data, name)
    if len(data) == 1 and data[0] < 0x20:
        return Key(data, "^" + chr(data[0] | 0x40))
    if len(data) == 2 and data[0] == 0x1B and 0x20 < data[1] < 0x7F:
        return Key(data, f"<M-{chr(data[1])}>")
    found = re.fullmatch(rb"\x1b\[(\d+)(?:;(\d))([A-Z~])", data)
    if found:
        for base, letter in _LETTERS.items():
            if found[1] == b"1" and found[3] == letter.encode():
                return Key(data, f"<{_held(int(found[2]))}{base}>")
        for base, number in _NUMBERS.items():
            if int(found[1]) == number and found[3] == b"~":
                return Key(data, f"<{_held(int(found[2]))}{base}>")
    return in_hex(data)


_APPLICATION_NAMES: dict[bytes, str] = {}  # other bytes than the name's: they stay bytes


def _held(modifier: int) -> str:
    return "".join(f"{letter}-" for letter in "CMS" if (modifier - 1) & _MODIFIERS[letter])


def in_hex(data: bytes) -> Key:
    """Bytes that no key has a name for."""
    return Key(data, f"<Bytes {data.hex(' ')}>")


# A key's escape sequence, or one key, in what was typed.
_SEQUENCE = re.compile(
    rb"\x1b\[200~.*?\x1b\[201~|\x1b\[[0-9;?<]*[@-~]|\x1bO[@-~]|\x1b[\x20-\x7e]|[\x00-\x1f\x7f]",
    re.DOTALL,
)


def cut(data: bytes) -> list[bytes]:
    """What was typed, cut into keys and texts between them."""
    pieces, at = [], 0
    for found in _SEQUENCE.finditer(data):
        if found.start() > at:
            pieces.append(data[at : found.start()])
        pieces.append(found[0])
        at = found.end()
    if at < len(data):
        pieces.append(data[at:])
    return pieces
