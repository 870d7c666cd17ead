"""What of somebody's recording a terminal is not shown, besides what it would answer: titles,
sizes, and modes that change what its keys and mouse send, for those are the player's. Pure."""

from __future__ import annotations

import re

from gshell.model.vt import LiveFilter

_C0 = rb"\x00-\x17\x19\x1c-\x1f\x7f"  # ignored (or obeyed) in the middle of a sequence
_SEQUENCE = re.compile(
    rb"\x1b[C0]*(?:\[(?P<body>[C0 -?]*)(?P<final>[@-~])|(?P<title>\][^\x07\x18\x1a\x1b]*)"
    rb"(?:\x07|\x1b\\)?|(?P<alone>[=k]))".replace(b"C0", _C0)
)
_NOT_OBEYED = re.compile(rb"[" + _C0 + rb"]")
_TITLES = re.compile(rb"\]0*(?:[012]?|[012];.*|[lLI].*)\Z", re.DOTALL)
_INPUT_MODES = frozenset(
    b"1 9 66 67 1000 1001 1002 1003 1004 1005 1006 1007 1015 1016 2004 2031 2048 9001".split()
)


class PlaySafe:
    """Invariant: how the output was cut into chunks changes nothing but when it comes."""

    def __init__(self) -> None:
        self._filter = LiveFilter(strict=True)

    def feed(self, data: bytes) -> bytes:
        """What of it can be shown now; a sequence is held until it is whole."""
        return without(self._filter.feed(data))


def without(data: bytes) -> bytes:
    """``data``, of whole sequences, less those."""
    return _SEQUENCE.sub(_kept, data) if b"\x1b" in data else data


def _kept(match: re.Match[bytes]) -> bytes:
    whole = match.group()
    if match["alone"]:
        return b""
    if match["title"] is not None:
        return b"" if _TITLES.match(_NOT_OBEYED.sub(b"", match["title"])) else whole
    body = _NOT_OBEYED.sub(b"", match["body"])
    final = match["final"]
    if (final == b"u" and body[:1] in (b"<", b"=", b">")) or (final == b"m" and body[:1] == b">"):
        return b""
    if final == b"t":
        return b""
    if final not in (b"h", b"l") or body[:1] != b"?":
        return whole
    modes = re.split(rb"[;:]", body[1:])
    kept = [mode for mode in modes if mode.lstrip(b"0") not in _INPUT_MODES]
    if len(kept) == len(modes):
        return whole
    return b"\x1b[?" + b";".join(kept) + final if kept else b""
