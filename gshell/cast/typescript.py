"""Recordings of util-linux's script(1): what was printed, and a file that says when. Pure.

*Classic*: ``DELAY BYTES`` a line, output only. *Advanced*: a letter before it says which stream,
and lines ``H`` and ``S`` have what is known about the whole and the signals.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from gshell.cast.asciicast import MAX_TIME_S
from gshell.cast.format import Cast, CastError, Event, Header
from gshell.cast.octets import Decoder, octets

STARTED = b"Script started on "
_FIRST = re.compile(rb"Script started on ([^\n\[]*?)(?: \[(.*)\])?\r?\n")
_SIZE = re.compile(r"ROWS=(\d{1,5}) COLS=(\d{1,5})")
_TIME = re.compile(r"\d{1,10}(\.\d{1,9})?\Z")


def read(data: bytes, timing: bytes, name: str = "", timing_name: str = "") -> Cast:
    """``data`` printed when ``timing`` says.

    Raises:
        CastError: the two do not fit together, with the line of the timing file.
    """
    first = _FIRST.match(data)
    about = _fields(first[2]) if first and first[2] else {}
    began = _stamp(first[1].decode("ascii", "replace").strip()) if first else None
    at, now = first.end() if first else 0, 0.0
    events: list[Event] = []
    decoders = {"O": Decoder(), "I": Decoder("i")}
    size: tuple[int, int] | None = None
    duration: float | None = None
    status = last = ""
    where = timing_name or f"{name}'s timing"
    for number, line in enumerate(timing.decode("utf-8", "replace").split("\n"), 1):
        words = line.split(" ", 2)
        if not line.strip():
            continue
        if len(words) == 2 and _TIME.match(words[0]):
            words = ["O", *words]  # classic
        if last == "H" and (len(words) < 3 or not _TIME.match(words[1])):
            continue  # of a command that has several lines
        if len(words) < 3 or words[0] not in ("O", "I", "H", "S") or not _TIME.match(words[1]):
            raise CastError("neither DELAY BYTES nor O, I, S or H with them", number, where)
        kind, delay, rest = words[0], float(words[1]), words[2].strip()
        last = kind
        if kind == "H":
            key, _, value = rest.partition(" ")
            about[key] = value.strip()
            if key == "EXIT_CODE" and re.fullmatch("[0-9]{1,3}", about[key]):
                status = about[key]
            if key == "DURATION" and _TIME.match(about[key]):
                duration = float(about[key])
            continue
        now = min(now + delay, MAX_TIME_S)
        if kind == "S":
            match = _SIZE.search(rest)
            if rest.startswith("SIGWINCH") and match and int(match[1]) and int(match[2]):
                events.append(Event(round(now, 6), "r", f"{int(match[2])}x{int(match[1])}"))
            continue
        if not rest.isdigit() or len(rest) > 12:
            raise CastError("no number of bytes", number, where)
        end = at + int(rest)
        events += decoders[kind].events(round(now, 6), data[at:end])
        if end > len(data):
            break  # whoever recorded was stopped: what is there counts
        at = end
    for decoder in decoders.values():
        events += decoder.events(round(now, 6), b"", final=True)
    if status:
        events.append(Event(max(round(now, 6), duration or 0.0), "x", status))
    size = _size(about)
    known = size or (80, 24)
    header = Header(
        known[0], known[1], 2, began if began is not None else _stamp(about.get("START_TIME", "")),
        command=about.get("COMMAND") or None, term_type=about.get("TERM") or None,
        env={"SHELL": about["SHELL"]} if about.get("SHELL") else None,
    )  # fmt: skip
    return Cast(header, events)


def _fields(text: bytes) -> dict[str, str]:
    found = re.findall(r'([A-Z_]+)="([^"]*)"', text.decode("utf-8", "replace"))
    return dict(found)


def _size(about: dict[str, str]) -> tuple[int, int] | None:
    columns, rows = about.get("COLUMNS", ""), about.get("LINES", "")
    if re.fullmatch("[1-9][0-9]{0,4}", columns) and re.fullmatch("[1-9][0-9]{0,4}", rows):
        return int(columns), int(rows)
    return None


def _stamp(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return None


def _date(timestamp: int | None) -> str:
    try:
        when = datetime.fromtimestamp(timestamp or 0, UTC)
    except (ValueError, OverflowError, OSError):
        when = datetime.fromtimestamp(0, UTC)
    return when.isoformat(" ")


def write(cast: Cast, advanced: bool = True) -> tuple[bytes, bytes]:
    """The data file and the timing file. Advanced, it has what was typed too (``scriptreplay -B``).

    What has no place in it is left out: markers, our own events, and classic: all but output.
    """
    header = cast.header
    began = _date(header.timestamp)
    about = {"TERM": header.term_type or (header.env or {}).get("TERM"), "TTY": None,
             "COLUMNS": str(header.columns), "LINES": str(header.rows),
             "COMMAND": header.command}  # fmt: skip
    known = {key: _one_line(value) for key, value in about.items() if value}
    quoted = " ".join(f'{key}="{value}"' for key, value in known.items())
    data = [f"Script started on {began} [{quoted}]\n".encode()]
    timing: list[str] = []
    if advanced:
        timing.append(f"H 0.000000 START_TIME {began}\n")
        timing += [f"H 0.000000 {key} {value}\n" for key, value in known.items()]
        if (header.env or {}).get("SHELL"):
            timing.append(f"H 0.000000 SHELL {_one_line((header.env or {})['SHELL'])}\n")
    said = 0  # microseconds, by delays so far
    status = ""

    def delay(at_s: float) -> str:
        nonlocal said
        now = max(said, round(at_s * 1_000_000))
        text = f"{(now - said) / 1_000_000:.6f}"
        said = now
        return text

    for event, raw in octets(cast.events, "oi" if advanced else "o"):
        if raw:
            kind = ("I " if event.code == "i" else "O ") if advanced else ""
            timing.append(f"{kind}{delay(event.at_s)} {len(raw)}\n")
            data.append(raw)
        elif event.code == "r" and advanced:
            columns, _, rows = event.data.partition("x")
            timing.append(f"S {delay(event.at_s)} SIGWINCH ROWS={rows} COLS={columns}\n")
        elif event.code == "x":
            status = str(int(event.data) & 255)
    if advanced:
        timing.append(f"H 0.000000 DURATION {cast.duration_s:.6f}\n")
        if status:
            timing.append(f"H 0.000000 EXIT_CODE {status}\n")
    done = _date((header.timestamp or 0) + int(min(cast.duration_s, 1e9)))
    exit_code = f' [COMMAND_EXIT_CODE="{status}"]' if status else ""
    data.append(f"\nScript done on {done}{exit_code}\n".encode())
    return b"".join(data), "".join(timing).encode()


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
