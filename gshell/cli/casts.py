"""``gshell cast ...``: recordings looked at, joined, cut, converted, checked."""

from __future__ import annotations

import os
import sys
from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import Any

from gshell.cast import edit, files
from gshell.cast.format import Cast, CastError, Event, Header
from gshell.cast.load import Loaded
from gshell.cast.octets import octets
from gshell.cli.options import Parsed
from gshell.errors import UsageError
from gshell.model.sanitize import sanitize, sanitize_all

_MARKERS_SHOWN = 20
_ODD_SHOWN = 5
_TEXT_CHARS = 200


def _loaded(parsed: Parsed, path: str, strict: bool = False) -> Loaded:
    kind = parsed.options.get("as") or ""
    loaded = files.read_file(path, kind, parsed.options.get("timing") or "", strict)
    return loaded


def _noted(parsed: Parsed, loaded: Loaded) -> Cast:
    """The cast; what was odd about it is said on stderr."""
    if not parsed["quiet"]:
        for warning in loaded.warnings[:_ODD_SHOWN]:
            print(f"gshell: {sanitize(warning)}", file=sys.stderr)
        if loaded.odd > _ODD_SHOWN:
            more = loaded.odd - min(_ODD_SHOWN, len(loaded.warnings))
            print(f"gshell: ... and {more} more oddities", file=sys.stderr)
    return loaded.cast


# ------------------------------------------------------------------------------------------- info


def info(parsed: Parsed) -> int:
    status, found = 0, []
    for path in parsed.words:
        try:
            found.append(_facts(files.shown(path), _loaded(parsed, path)))
        except CastError as error:
            if len(parsed.words) == 1:
                raise
            status = 2
            _complain(error)
    if parsed["json"]:
        from gshell.cli.verbs import print_json

        print_json("casts", found)
    else:
        print("\n\n".join(map(_page, found)), end="\n" if found else "")
    return status


def _complain(error: CastError) -> None:
    from gshell.cli.main import complain

    sys.stdout.flush()
    complain(error)


def _facts(name: str, loaded: Loaded) -> dict[str, Any]:
    """All that is known, in the words of --json; safe to print."""
    cast = loaded.cast
    header, events = cast.header, cast.events
    counts = Counter(event.code for event in events)
    sizes = {(header.columns, header.rows): None, **{size: None for _, size in edit.sizes(cast)}}
    ends = [event.data for event in events if event.code == "x"]
    pauses = [late.at_s - early.at_s for early, late in pairwise(events)]
    facts: dict[str, Any] = {
        "file": name, "format": loaded.kind, "columns": header.columns, "rows": header.rows,
        "sizes": [f"{columns}x{rows}" for columns, rows in list(sizes)[:20]],
        "duration_s": round(cast.duration_s, 6),
        "longest_pause_s": round(max(pauses, default=0.0), 6),
        "events": dict(sorted(counts.items())),
        "output_bytes": sum(len(raw) for _, raw in octets(events)),
        "timestamp": header.timestamp, "command": header.command, "title": header.title,
        "env": header.env, "term": header.term_type or (header.env or {}).get("TERM"),
        "idle_time_limit": header.idle_time_limit, "theme": header.theme,
        "tags": list(header.tags), "other_fields": [key for key, _ in header.more],
        "markers": [{"at_s": e.at_s, "label": e.data} for e in events if e.code == "m"],
        "exit": int(ends[-1]) if ends else None, "odd": loaded.odd,
        "warnings": list(loaded.warnings),
    }  # fmt: skip
    safe: dict[str, Any] = sanitize_all(facts)
    return safe


_CODES = {"o": "output", "i": "input", "r": "resizes", "m": "markers", "x": "exit", "e": "stderr",
          "b": "raw bytes", "s": "secrets", "w": "waits", "p": "prompt marks"}  # fmt: skip


def _page(facts: dict[str, Any]) -> str:
    counts = facts["events"]
    each = [f"{count} {_CODES.get(code, repr(code))}" for code, count in counts.items()]
    length = clock(facts["duration_s"])
    if facts["longest_pause_s"] >= 2:
        length += f", longest pause {clock(facts['longest_pause_s'])}"
    sizes = facts["sizes"]
    rows = [
        ("format", facts["format"]),
        ("size", sizes[0] + (f", later {', '.join(sizes[1:6])}" if sizes[1:] else "")),
        ("length", length),
        ("events", f"{sum(counts.values())}" + (f": {', '.join(each)}" if each else "")),
        ("output", f"{facts['output_bytes']} bytes"),
        ("recorded", _date(facts["timestamp"])),
        ("title", facts["title"]),
        ("command", facts["command"]),
        ("terminal", facts["term"]),
        ("tags", ", ".join(facts["tags"])),
        ("exit", "" if facts["exit"] is None else str(facts["exit"])),
    ]
    lines = [facts["file"]]
    for word, text in rows:
        if text:
            lines.append(f"  {word:<10}{sanitize(str(text), _TEXT_CHARS)}")
    markers = facts["markers"]
    for number, marker in enumerate(markers[:_MARKERS_SHOWN]):
        word = "markers" if not number else ""
        label = sanitize(marker["label"], _TEXT_CHARS)
        lines.append(f"  {word:<10}{clock(marker['at_s']):>8}  {label}".rstrip())
    if len(markers) > _MARKERS_SHOWN:
        lines.append(f"  {'':<10}... {len(markers) - _MARKERS_SHOWN} more")
    for number, warning in enumerate(facts["warnings"][:_ODD_SHOWN]):
        lines.append(f"  {'odd' if not number else '':<10}{warning}")
    if facts["odd"] > _ODD_SHOWN:
        lines.append(f"  {'':<10}... {facts['odd'] - _ODD_SHOWN} more")
    return "\n".join(lines)


def clock(seconds: float) -> str:
    """``1:02:03``, ``2:03.4``, ``0.52 s``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    whole = int(seconds)
    if seconds < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _date(timestamp: Any) -> str:
    try:
        return datetime.fromtimestamp(timestamp).isoformat(" ") if timestamp else ""
    except (ValueError, OverflowError, OSError):
        return "at no date"


# ------------------------------------------------------------------------------- cat, cut, convert


def cat(parsed: Parsed) -> int:
    casts = [_noted(parsed, _loaded(parsed, path)) for path in parsed.words]
    output = parsed["output"] or "-"
    form = parsed["to"] or "v2"
    _write(parsed, edit.joined(casts), form, output)
    return 0


def cut(parsed: Parsed) -> int:
    begin, end = parsed["from"] or 0.0, parsed["to"]
    if end is not None and end < begin:
        raise UsageError("cast cut: --to is before --from", "gshell cast cut --help")
    output = parsed.words[1] if len(parsed.words) > 1 else "-"
    loaded = _loaded(parsed, parsed.words[0])
    cast = _noted(parsed, loaded)
    if begin > cast.duration_s:
        raise UsageError(
            f"cast cut: it ends after {clock(cast.duration_s)}: nothing is left",
            "gshell cast info FILE",
        )
    form = "v3" if cast.header.version == 3 else "v2"
    named = files.format_of(output)
    form = form if named in ("", "v2") else named
    _write(parsed, edit.cut(cast, begin, end), form, output)
    return 0


def convert(parsed: Parsed) -> int:
    source, output = parsed.words
    form = parsed["to"] or files.format_of(output) or ("v2" if output == "-" else "")
    if not form:
        raise UsageError(
            f"cast convert: {files.shown(output)!r} does not say which format it is to be",
            "gshell cast convert IN OUT --to v2",
        )
    if parsed["at"] is not None and form != "svg":
        raise UsageError("cast convert: --at is for a still: svg", "gshell cast convert --help")
    cast = _noted(parsed, _loaded(parsed, source))
    header: Header = cast.header
    if parsed["title"] is not None:
        header = header._replace(title=parsed["title"])
    if parsed["size"] is not None:
        header = header._replace(columns=parsed["size"][0], rows=parsed["size"][1])
    idle = parsed["idle"]
    if idle is None and form in (
        "svg",
        "html",
        "txt",
        "typescript",
        "typescript-classic",
        "ttyrec",
    ):
        idle = header.idle_time_limit  # the others have a field for it, or no time at all
    cast = edit.paced(cast._replace(header=header), idle, parsed["speed"] or 1.0)
    _write(parsed, cast, form, output)
    return 0


def _write(parsed: Parsed, cast: Cast, form: str, output: str) -> None:
    pieces = files.rendered(cast, form, parsed.options.get("at"))
    if len(pieces) > 1:
        if output == "-":
            raise UsageError(
                "a typescript is two files: it needs a name, not -",
                "gshell cast convert IN OUT.typescript",
            )
        timing = os.path.splitext(output)[0] + ".timing"
        files.write_bytes(timing, pieces[1], parsed["force"])
        if not parsed["quiet"]:
            print(
                f"gshell: wrote {files.shown(output)} and {files.shown(timing)}: "
                f"scriptreplay -t {files.shown(timing)} {files.shown(output)}",
                file=sys.stderr,
            )
    if form == "v1" and not parsed["quiet"]:
        _lost(cast.events)
    files.write_bytes(output, pieces[0], parsed["force"])


def _lost(events: list[Event]) -> None:
    lost = Counter(event.code for event in events if event.code != "o")
    if lost:
        which = ", ".join(f"{n} of {sanitize(code, 20)!r}" for code, n in sorted(lost.items()))
        print(f"gshell: v1 holds output only; left out: {which}", file=sys.stderr)


# --------------------------------------------------------------------------------------- validate


def validate(parsed: Parsed) -> int:
    status, found = 0, []
    for path in parsed.words:
        name = files.shown(path)
        try:
            loaded = _loaded(parsed, path, strict=True)
        except CastError as error:
            status = 1
            verdict: dict[str, Any] = {
                "file": name, "valid": False, "line": error.line or None, "why": error.why,
            }  # fmt: skip
            text = str(error)
        else:
            cast = loaded.cast
            verdict = {
                "file": name, "valid": True, "format": loaded.kind, "events": len(cast.events),
                "duration_s": round(cast.duration_s, 6), "warnings": list(loaded.warnings),
            }  # fmt: skip
            text = (
                f"{name}: valid {loaded.kind}, {len(cast.events)} events, {clock(cast.duration_s)}"
            )
            text = "\n".join([text, *(f"  {warning}" for warning in loaded.warnings[:_ODD_SHOWN])])
        found.append(sanitize_all(verdict))
        if not parsed["json"] and not (parsed["quiet"] and verdict["valid"]):
            print("\n".join(map(sanitize, text.split("\n"))))
    if parsed["json"]:
        from gshell.cli.verbs import print_json

        print_json("casts", found)
    return status


VERBS = {
    "cast info": info,
    "cast cat": cat,
    "cast cut": cut,
    "cast convert": convert,
    "cast validate": validate,
}
