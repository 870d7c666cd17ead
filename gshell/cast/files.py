"""Recordings from files and into files; ``-`` is what comes in and goes out here."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

from gshell.cast.format import Cast, CastError
from gshell.cast.lines import Encoder
from gshell.cast.load import MAX_BYTES, Loaded, guess, load, uncompressed
from gshell.model.sanitize import sanitize

FORMATS = (
    "v1",
    "v2",
    "v3",
    "typescript",
    "typescript-classic",
    "ttyrec",
    "txt",
    "raw",
    "svg",
    "html",
)
_BY_ENDING = {
    ".cast": "v2", ".json": "v1", ".typescript": "typescript", ".script": "typescript",
    ".ttyrec": "ttyrec", ".tty": "ttyrec", ".txt": "txt", ".raw": "raw", ".svg": "svg",
    ".html": "html", ".htm": "html",
}  # fmt: skip
_TIMING_ENDINGS = (".timing", ".tm", ".time", ".timings")


def shown(path: str) -> str:
    """A file's name, safe to print."""
    return "stdin" if path == "-" else sanitize(path)


def read_bytes(path: str) -> bytes:
    """All of it.

    Raises:
        CastError: it cannot be read.
    """
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CastError(error.strerror or "cannot be read", name=shown(path))
    except ValueError:  # a NUL in its name
        raise CastError("no name of a file", name=shown(path))
    if len(data) > MAX_BYTES:
        raise CastError(f"larger than {MAX_BYTES >> 20} MiB", name=shown(path))
    return data


def read_file(path: str, kind: str = "", timing: str = "", strict: bool = False) -> Loaded:
    """The recording in ``path``. A typescript's timing is looked for beside it, unless given.

    Raises:
        CastError: none that we know, or a broken one.
    """
    name = shown(path)
    data = uncompressed(read_bytes(path), name)
    kind = kind or guess(data, name)
    if kind != "typescript":
        return load(data, name, kind, strict=strict)
    timing = timing or find_timing(path)
    if not timing:
        raise CastError("a typescript needs its timing file: --timing FILE", name=name)
    return load(data, name, kind, read_bytes(timing), strict, shown(timing))


def find_timing(path: str) -> str:
    """The timing file beside a typescript, as people name it; empty if there is none."""
    stem = os.path.splitext(path)[0]
    for base in dict.fromkeys((path, stem)):
        for ending in _TIMING_ENDINGS:
            if os.path.isfile(base + ending) and base + ending != path:
                return base + ending
    return ""


def format_of(path: str) -> str:
    """What to write into a file of this name; empty if nobody can tell."""
    return _BY_ENDING.get(os.path.splitext(path)[1].lower(), "")


def encoded(cast: Cast, version: int) -> Iterable[str]:
    """An asciicast's text, in pieces."""
    encoder = Encoder(version)
    yield encoder.header(cast.header)
    events = cast.events
    for start in range(0, len(events), 4096):
        yield "".join(map(encoder.event, events[start : start + 4096]))
    yield encoder.end(cast.duration_s)


def rendered(cast: Cast, form: str, at_s: float | None = None) -> list[bytes]:
    """``cast`` as a file of this format; a typescript is two, the second is the timing."""
    if form in ("v1", "v2", "v3"):
        return [b"".join(text.encode("utf-8", "replace") for text in encoded(cast, int(form[1])))]
    if form.startswith("typescript"):
        from gshell.cast import typescript

        return list(typescript.write(cast, form == "typescript"))
    if form == "ttyrec":
        from gshell.cast import ttyrec

        return [ttyrec.write(cast)]
    if form == "raw":
        from gshell.cast.octets import octets

        return [b"".join(raw for _, raw in octets(cast.events))]
    if form == "txt":
        from gshell.cast.edit import seen

        return ["".join(line + "\n" for line in seen(cast)).encode("utf-8", "replace")]
    if form == "svg":
        from gshell.cast import svg

        return [svg.write(cast, at_s).encode("utf-8", "replace")]
    from gshell.cast import html

    return [html.write(cast).encode("utf-8", "replace")]


def write_bytes(path: str, data: bytes, force: bool) -> None:
    """All or nothing.

    Raises:
        CastError: it is there already, or cannot be written.
    """
    if path == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        special = os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode)
        if special:
            with open(path, "wb") as file:
                file.write(data)
            return
        if os.path.exists(path) and not force:
            raise CastError("is there already; -f replaces it", name=shown(path))
        whole = os.path.realpath(path)
        part = f"{whole}.part{os.getpid()}"
        try:
            with open(part, "xb") as file:
                file.write(data)
            os.replace(part, whole)
        except BaseException:
            if os.path.exists(part):
                os.unlink(part)
            raise
    except OSError as error:
        raise CastError(f"cannot be written: {error.strerror}", name=shown(path))
    except ValueError:
        raise CastError("no name of a file", name=shown(path))
