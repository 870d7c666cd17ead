"""JSON as the json module reads and writes it, with the same C code behind it. That module itself
loads `re` and `enum` for what it does in Python: a fifth of a client's start. Knows no messages.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

_SPACE = " \t\n\r"


class _Rules:
    """What the scanner asks a decoder for: all of it as usual."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = {
        "-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan"),
    }.__getitem__  # fmt: skip


def _unknown(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is not JSON")


_scan = make_scanner(_Rules)  # type: ignore[arg-type]
_encode = make_encoder(None, _unknown, encode_basestring_ascii, None, ":", ",", False, False, True)


def loads(text: str) -> Any:
    """
    Raises:
        ValueError, RecursionError: not one JSON value.
    """
    try:
        value, end = _scan(text, len(text) - len(text.lstrip(_SPACE)))
    except StopIteration:
        raise ValueError("not JSON") from None
    if text[end:].strip(_SPACE):
        raise ValueError("more than one JSON value")
    return value


def dumps(value: Any) -> str:
    """In ASCII, on one line, without blanks."""
    return "".join(_encode(value, 0))


def pretty(value: Any, margin: str = "\n") -> str:
    """In ASCII, each part on a line of its own: what ``json.dumps(value, indent=1)`` makes."""
    inner = margin + " "
    if isinstance(value, dict) and value:
        items = [f"{_key(key)}: {pretty(one, inner)}" for key, one in value.items()]
        return "{" + inner + f",{inner}".join(items) + margin + "}"
    if isinstance(value, (list, tuple)) and value:
        return "[" + inner + f",{inner}".join([pretty(one, inner) for one in value]) + margin + "]"
    return dumps(value)


def _key(key: object) -> str:
    return encode_basestring_ascii(key) if isinstance(key, str) else dumps({key: 0})[1:-3]
