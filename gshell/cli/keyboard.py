"""Bytes that a terminal sends, as keys. Knows no screen."""

from __future__ import annotations

_KEYS = {
    b"\x1b[A": "up", b"\x1b[B": "down", b"\x1bOA": "up", b"\x1bOB": "down", b"\x1b[5~": "pgup",
    b"\x1b[6~": "pgdn", b"\x1b[H": "home", b"\x1b[F": "end", b"\x1b[1~": "home", b"\x1b[4~": "end",
    b"\x1bOH": "home", b"\x1bOF": "end", b"\x1b[7~": "home", b"\x1b[8~": "end",
    b"\x1bOP": "f1", b"\x1bOQ": "f2", b"\x1bOR": "f3", b"\x1bOS": "f4",
    b"\x1b[11~": "f1", b"\x1b[12~": "f2", b"\x1b[13~": "f3", b"\x1b[14~": "f4",
    b"\x1b[[A": "f1", b"\x1b[[B": "f2", b"\x1b[[C": "f3", b"\x1b[[D": "f4", b"\x1b[[E": "f5",
    b"\x1b[15~": "f5", b"\x1b[17~": "f6", b"\x1b[18~": "f7", b"\x1b[19~": "f8",
    b"\x1b[20~": "f9", b"\x1b[21~": "f10",
}  # fmt: skip


def keys(data: bytes) -> list[str]:
    """What was typed, key by key. A lone Escape is ``esc``; sequences we don't know are nothing."""
    out = []
    while data:
        known = next((seq for seq in _KEYS if data.startswith(seq)), None)
        if known:
            out.append(_KEYS[known])
            data = data[len(known) :]
        elif data[:2] in (b"\x1b[", b"\x1bO"):
            end = 2
            while end < len(data) and not 0x40 <= data[end] <= 0x7E:
                end += 1
            data = data[end + 1 :]
        elif data[:1] == b"\x1b":
            out.append("esc")
            data = data[1:]
        else:
            size = 1 if data[0] < 0x80 else 2 if data[0] < 0xE0 else 3 if data[0] < 0xF0 else 4
            out.append(data[:size].decode("utf-8", "replace"))
            data = data[size:]
    return out
