"""What is typed, as a transcript has it: text as it is, or quoted text, keys and secrets. Knows no
steps.
"""

from __future__ import annotations

import re

from gshell.replay import keys
from gshell.replay.script import Key, Part, Secret, Text

_TOKEN = re.compile(
    r'\s+|"((?:[^"\\]|\\.)*)"|\^([@-_a-z?])|\(secret\s+(\d+)\)'
    r'|<(Text|Type|Paste)\s+"((?:[^"\\]|\\.)*)">|<Bytes((?:\s+[0-9a-fA-F]{2})+)>'
    r"|<((?:[^\s<>]|(?<=-)[<>])+)(?:\s+(\d{1,4}))?>"
)


def parts(typed: str) -> tuple[tuple[Part, ...], bool]:
    """The text itself; or, where it is nothing but "quoted text", keys and secrets, these."""
    done: list[Part] = []
    text, at, telling, has_keys = "", 0, False, False
    while at < len(typed):
        found = _TOKEN.match(typed, at)
        if found is None:
            return plain(typed), False
        at = found.end()
        key: Part | None = None
        times = 1
        if found[1] is not None:
            text += unquoted(found[1])
        elif found[2]:
            data = keys.caret(found[2])
            if data is None:
                return plain(typed), False
            key = Key(data, f"^{found[2].upper()}")
        elif found[3]:
            key = Secret(int(found[3]))
            if not found[3].strip("0"):
                raise ValueError("secrets are numbered from 1")
        elif found[4] in ("Text", "Type"):
            text += unquoted(found[5])
            telling = True
            has_keys = has_keys or found[4] == "Type"
        elif found[4]:
            inside = unquoted(found[5])
            start, end = keys.PASTE
            key = Key(start + inside.encode() + end, f"<Paste {quoted(inside)}>")
        elif found[6]:
            key = keys.in_hex(bytes.fromhex(found[6]))
        elif found[7]:
            key = keys.named(found[7])
            if key is None:
                return plain(typed), False
            times = int(found[8] or 1)
        if key is not None:
            telling = True
            has_keys = has_keys or isinstance(key, Key)
            if text:
                done.append(Text(text))
                text = ""
            done += [key] * times
    if not telling:
        return plain(typed), False
    if text:
        done.append(Text(text))
    return tuple(done), has_keys


def plain(typed: str) -> tuple[Part, ...]:
    """The text itself."""
    return (Text(typed),) if typed else ()


_ESCAPED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e", '"': '\\"', "\\": "\\\\"}
_UNESCAPED = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b"}


def quoted(text: str) -> str:
    """``text`` between quotes, on one line."""

    def one(char: str) -> str:
        if char in _ESCAPED:
            return _ESCAPED[char]
        if char.isprintable():
            return char
        code = ord(char)
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:x}}}"

    inside = "".join(map(one, text))
    return '"' + re.sub(r"(?<=\s)#", r"\\x23", inside) + '"'  # not a comment


def unquoted(inside: str) -> str:
    """What stood between quotes."""

    def one(found: re.Match[str]) -> str:
        code = found[1] or found[2]
        if code:
            return chr(min(int(code, 16), 0x10FFFF))
        return _UNESCAPED.get(found[3], found[3])

    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|u\{([0-9a-fA-F]{1,6})\}|(.))", one, inside)
