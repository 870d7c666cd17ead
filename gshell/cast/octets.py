"""Between a program's bytes and a cast's text, without loss. Pure."""

from __future__ import annotations

import base64
import binascii
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator

from gshell.cast.format import Event

OUTPUT = "oe"  # codes whose data is what a program printed


class Decoder:
    """Bytes as they were read, to events. Invariant: a character is never split over two events,
    and bytes that are no UTF-8 follow in a ``b`` event."""

    def __init__(self, code: str = "o") -> None:
        self._code = code
        self._utf8 = getincrementaldecoder("utf-8")("replace")
        self._held = b""

    def events(self, at_s: float, data: bytes, final: bool = False) -> list[Event]:
        text = self._utf8.decode(data, final)
        raw = self._held + data
        self._held = self._utf8.getstate()[0]
        raw = raw[: len(raw) - len(self._held)]
        if not text:
            return []
        found = [Event(at_s, self._code, text)]
        if "\ufffd" in text and text.encode() != raw:
            found.append(Event(at_s, "b", base64.b64encode(raw).decode()))
        return found


def octets(events: Iterable[Event], codes: str = "o") -> Iterator[tuple[Event, bytes]]:
    """Each event, with the bytes it stands for if its code is one of ``codes``; ``b`` events are
    in those."""
    before: Event | None = None
    for event in events:
        if before is not None:
            if event.code == "b" and before.code in OUTPUT:
                yield before, (_raw(event.data, before.data) if before.code in codes else b"")
                before = None
                continue
            yield before, (_utf8(before.data) if before.code in codes else b"")
        before = event
    if before is not None:
        yield before, (_utf8(before.data) if before.code in codes else b"")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _raw(data: str, text: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return _utf8(text)
