"""Lines of an asciicast, one by one, as a recorder writes them. Pure.

`gshell.cast.format` writes whole casts; this is what a recording client loads, and nothing more.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False  # typing costs more to import than a handshake
if TYPE_CHECKING:
    from typing import Any

    from gshell.cast.format import Event, Header

# JSON need not escape them, but some readers end a line there.
_LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def text_of(data: str) -> str:
    """``data`` as a JSON string that has no line end of any kind in it."""
    text = json.dumps(data, ensure_ascii=False)
    if not text.isascii():
        for char, escaped in _LINE_ENDS.items():
            if char in text:
                text = text.replace(char, escaped)
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate, from a file's name
            text = json.dumps(data)
    return text


class Encoder:
    """Invariant: times do not drift, however many events there are: v3's intervals are the
    differences of rounded times."""

    def __init__(self, version: int = 2) -> None:
        if version not in (2, 3):
            raise ValueError(version)
        self.version = version
        self._said = 0  # milliseconds, by v3's intervals so far

    def header(self, header: Header) -> str:
        """The first line."""
        if self.version == 2:
            found: dict[str, Any] = {
                "version": 2, "width": header.columns, "height": header.rows,
                "timestamp": header.timestamp, "duration": header.duration_s,
                "idle_time_limit": header.idle_time_limit, "command": header.command,
                "title": header.title, "env": header.env, "theme": header.theme,
            }  # fmt: skip
        else:
            term: dict[str, Any] = {"cols": header.columns, "rows": header.rows,
                                    "type": header.term_type, "version": header.term_version,
                                    "theme": header.theme}  # fmt: skip
            found = {
                "version": 3,
                "term": {key: value for key, value in term.items() if value is not None},
                "timestamp": header.timestamp, "idle_time_limit": header.idle_time_limit,
                "command": header.command, "title": header.title, "env": header.env,
                "tags": list(header.tags) or None,
            }  # fmt: skip
        for key, value in header.more:
            found.setdefault(key, value)
        kept = {key: value for key, value in found.items() if value is not None}
        return json.dumps(kept) + "\n"

    def begins_at(self, at_s: float) -> None:
        """What follows is appended to events of which the last was then."""
        self._said = round(at_s * 1000)

    def event(self, event: Event) -> str:
        """One more line."""
        if self.version == 2:
            when = f"{max(0.0, event.at_s):.6f}"
        else:
            now = max(self._said, round(event.at_s * 1000))
            when = f"{(now - self._said) / 1000:.3f}"
            self._said = now
        return f"[{when}, {text_of(event.code)}, {text_of(event.data)}]\n"
