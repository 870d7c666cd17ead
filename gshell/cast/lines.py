"""Lines of an asciicast, one by one, as they are written. Pure, and cheap to import."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

    from gshell.cast.format import Event, Header

# JSON need not escape them, but some readers end a line there; and a terminal obeys C1.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, from a file's name: no UTF-8


def text_of(data: str) -> str:
    """``data`` as a JSON string, of which nothing ends a line."""
    text = json.dumps(data, ensure_ascii=False)
    if not text.isascii() or "\x7f" in text:
        text = _SURROGATE.sub("\ufffd", _ESCAPED.sub(lambda m: f"\\u{ord(m[0]):04x}", text))
    return text


class Encoder:
    """A cast's text, an event at a time. Invariant: times do not drift, however many events there
    are: intervals are the differences of rounded times."""

    def __init__(self, version: int = 2) -> None:
        if version not in (1, 2, 3):
            raise ValueError(version)
        self.version = version
        self._said = 0  # by intervals so far: microseconds (v1), milliseconds (v3)
        self._first = True

    def header(self, header: Header) -> str:
        """The first line; of v1 all that stands before the first event."""
        found = self._header(header)
        more = dict(header.more)
        if self.version == 3 and isinstance(more.get("term"), dict):
            found["term"] = {**more.pop("term"), **found["term"]}
        for key, value in more.items():
            found.setdefault(key, value)
        kept = {key: value for key, value in found.items() if value is not None}
        text = json.dumps(kept)
        return text + "\n" if self.version > 1 else f'{text[:-1]}, "stdout": ['

    def _header(self, header: Header) -> dict[str, Any]:
        size: dict[str, Any] = {"width": header.columns, "height": header.rows}
        about = {"command": header.command, "title": header.title, "env": header.env}
        if self.version == 1:
            return {"version": 1, **size, **about}
        idle = header.idle_time_limit
        if self.version == 2:
            # It has no place for the last two; who does not know them passes over them.
            term: dict[str, Any] = {"type": header.term_type, "version": header.term_version}
            term.update(dict(header.more).get("term") or {})
            return {
                "version": 2, **size, "timestamp": header.timestamp, "duration": header.duration_s,
                "idle_time_limit": idle, **about, "theme": header.theme,
                "tags": list(header.tags) or None,
                "term": {key: value for key, value in term.items() if value is not None} or None,
            }  # fmt: skip
        term = {
            "cols": header.columns, "rows": header.rows, "type": header.term_type,
            "version": header.term_version, "theme": header.theme,
        }  # fmt: skip
        return {
            "version": 3, "term": {key: value for key, value in term.items() if value is not None},
            "timestamp": header.timestamp, "idle_time_limit": idle, **about,
            "tags": list(header.tags) or None,
        }  # fmt: skip

    def begins_at(self, at_s: float) -> None:
        """What follows is appended to events of which the last was then."""
        self._said = round(at_s * (1_000_000 if self.version == 1 else 1000))

    def event(self, event: Event) -> str:
        """One more line; empty if the version has no such events."""
        if self.version == 2:
            return f"[{max(0.0, event.at_s):.6f}, {text_of(event.code)}, {text_of(event.data)}]\n"
        if self.version == 3:
            now = max(self._said, round(event.at_s * 1000))
            when = f"{(now - self._said) / 1000:.3f}"
            self._said = now
            return f"[{when}, {text_of(event.code)}, {text_of(event.data)}]\n"
        if event.code != "o":
            return ""
        now = max(self._said, round(event.at_s * 1_000_000))
        when = f"{(now - self._said) / 1_000_000:.6f}"
        self._said = now
        comma, self._first = "\n" if self._first else ",\n", False
        return f"{comma}[{when}, {text_of(event.data)}]"

    def end(self, duration_s: float = 0.0) -> str:
        """What stands after the last event: of v1 only."""
        if self.version > 1:
            return ""
        return f'\n], "duration": {max(duration_s, self._said / 1_000_000):.6f}}}\n'
