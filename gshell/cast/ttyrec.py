"""ttyrec files: frames of output, each behind 12 bytes that say when and how long. Pure.

The size of the terminal is no field of it: by custom ``ESC [8;ROWS;COLUMNS t`` says it, alone in a
frame or at the begin of one.
"""

from __future__ import annotations

import re
import struct

from gshell.cast.asciicast import MAX_TIME_S
from gshell.cast.format import Cast, CastError, Event, Header
from gshell.cast.octets import Decoder, octets

_HEAD = struct.Struct("<III")
_MAX_FRAME_BYTES = 1 << 24
_SIZE = re.compile(rb"\x1b\[8;([1-9]\d{0,3});([1-9]\d{0,3})t")


def looks_like_one(data: bytes) -> bool:
    """The first frames follow each other, in time too."""
    at = last = frames = 0
    while at + 12 <= len(data) and frames < 8:
        seconds, micros, size = _HEAD.unpack_from(data, at)
        if micros >= 1_000_000 or size > _MAX_FRAME_BYTES or seconds + 86400 < last:
            return False
        at, last, frames = at + 12 + size, seconds, frames + 1
    return frames > 0 and (at <= len(data) or frames > 1)


def read(data: bytes, name: str = "") -> Cast:
    """Its frames as events.

    Raises:
        CastError: a frame's head makes no sense; the "line" is the frame.
    """
    events: list[Event] = []
    decoder = Decoder()
    size: tuple[int, int] | None = None
    at, frame, now, began = 0, 0, 0.0, None
    while at + 12 <= len(data):
        frame += 1
        seconds, micros, length = _HEAD.unpack_from(data, at)
        if micros >= 1_000_000 or length > _MAX_FRAME_BYTES:
            raise CastError("the head of this frame makes no sense", frame, name)
        body = data[at + 12 : at + 12 + length]
        at += 12 + length
        if began is None:
            began = (seconds, micros)
        now = max(now, min(seconds - began[0] + (micros - began[1]) / 1e6, MAX_TIME_S))
        match = _SIZE.match(body)
        if match:
            found = (int(match[2]), int(match[1]))
            if not events and size is None:
                size, body = found, body[match.end() :]
            elif match.end() == len(body):
                events += [*decoder.events(round(now, 6), b"", True)]
                events.append(Event(round(now, 6), "r", f"{found[0]}x{found[1]}"))
                continue
        events += decoder.events(round(now, 6), body)
    events += decoder.events(round(now, 6), b"", True)
    columns, rows = size or (80, 24)
    return Cast(Header(columns, rows, 2, began[0] if began and began[0] > 86400 else None), events)


def write(cast: Cast) -> bytes:
    """Output and sizes; ttyrec has nothing else."""
    header = cast.header
    began = min(max(header.timestamp or 0, 0), 0xFFFFFFFF)

    def frame(at_s: float, body: bytes) -> bytes:
        micros = round(at_s * 1_000_000)
        seconds = min(began + micros // 1_000_000, 0xFFFFFFFF)
        return _HEAD.pack(seconds, micros % 1_000_000, len(body)) + body

    parts = [frame(0.0, b"\x1b[8;%d;%dt" % (header.rows, header.columns))]
    for event, raw in octets(cast.events):
        if raw:
            parts.append(frame(event.at_s, raw))
        elif event.code == "r":
            columns, _, rows = event.data.partition("x")
            parts.append(frame(event.at_s, f"\x1b[8;{rows};{columns}t".encode()))
    return b"".join(parts)
