"""A recording of any kind that we know, from bytes. Pure: who calls has read the files."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from gshell.cast import ttyrec, typescript
from gshell.cast.asciicast import Reader
from gshell.cast.format import Cast, CastError, Event, Header
from gshell.cast.octets import Decoder

KINDS = ("asciicast", "typescript", "ttyrec", "raw")
MAX_BYTES = 1 << 30  # of one that is compressed: more is a bomb


class Loaded(NamedTuple):
    cast: Cast
    kind: str
    """``asciicast-v2``, ``typescript``, ..."""
    warnings: tuple[str, ...] = ()
    """What was odd, with the line; of many the first."""
    odd: int = 0
    """How many things were."""


def load(
    data: bytes,
    name: str = "",
    kind: str = "",
    timing: bytes | None = None,
    strict: bool = False,
    timing_name: str = "",
) -> Loaded:
    """``data`` as what it is, or as ``kind``. ``timing``: the file that a typescript needs.

    Raises:
        CastError: no recording, or a broken one.
    """
    data = uncompressed(data, name)
    kind = kind or guess(data, name)
    if kind == "typescript":
        if timing is None:
            raise CastError("a typescript needs its timing file (script -T FILE)", name=name)
        timing = uncompressed(timing, timing_name)
        return Loaded(typescript.read(data, timing, name, timing_name), kind)
    if kind == "ttyrec":
        return Loaded(ttyrec.read(data, name), kind)
    if kind == "raw":
        decoder = Decoder()
        events: list[Event] = decoder.events(0.0, data) + decoder.events(0.0, b"", True)
        return Loaded(Cast(Header(80, 24), events), kind)
    reader = Reader(name, strict)
    cast = reader.read(lines(data))
    kind = f"asciicast-v{cast.header.version}"
    return Loaded(cast, kind, tuple(reader.warnings), reader.odd)


def guess(data: bytes, name: str = "") -> str:
    """What it probably is.

    Raises:
        CastError: nothing we know.
    """
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise CastError("empty", name=name)
    if start.startswith(b"{"):
        return "asciicast"
    if start.startswith(typescript.STARTED):
        return "typescript"
    if ttyrec.looks_like_one(data):
        return "ttyrec"
    if re.match(rb"[OIHS] \d+\.\d+ |\d+\.\d+ \d+\r?\n", start):
        raise CastError("the timing of a typescript; give the typescript itself", name=name)
    if start[:1] == b"[":
        raise CastError("events without a header in line 1", 1, name)
    raise CastError("no recording: neither asciicast, typescript nor ttyrec", 1, name)


def uncompressed(data: bytes, name: str = "") -> bytes:
    """Recordings are often kept gzipped."""
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        raise CastError("compressed by zstd; give it uncompressed (zstd -dc)", name=name)
    if not data.startswith(b"\x1f\x8b"):
        return data
    parts: list[bytes] = []
    size = 0
    while data.startswith(b"\x1f\x8b"):
        inflate = zlib.decompressobj(31)
        try:
            parts.append(inflate.decompress(data, MAX_BYTES - size + 1))
        except zlib.error as error:
            raise CastError(f"broken gzip: {str(error)[:80]}", name=name)
        size += len(parts[-1])
        if size > MAX_BYTES:
            raise CastError(f"more than {MAX_BYTES >> 20} MiB when uncompressed", name=name)
        data = inflate.unused_data
    return b"".join(parts)


def lines(data: bytes) -> Iterator[bytes]:
    """With their ends. (``splitlines`` makes all at once, and ends them at other places too.)"""
    at = 0
    while at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        yield data[at:end]
        at = end
