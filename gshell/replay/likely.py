"""What of a recorded line may be different the next time, though nothing is wrong: times, rates,
process ids, addresses, the last digits of long numbers. Knows one line at a time, and no runs:
who can play it several times had better learn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gshell.replay import masks, matching
from gshell.replay.script import Line, Script, Step

DIGITS = 9  # a number with fewer cannot differ by masks.REL only

# Words of lines that tell a measurement, whose numbers with decimals are another each time.
_MEASURED = re.compile(
    r"\b(?:seconds?|secs?|elapsed|wall(?:clock)?|took|latency|bandwidth|throughput)\b"
    r"|\b(?:real|user|sys|cpu|load average)\b|/s(?:ec(?:ond)?)?\b|\bper second\b|flops\b",
    re.IGNORECASE,
)
_RATE = re.compile(r"\s?\w{1,8}/s", re.IGNORECASE)  # behind a number: it is one
_CLOCK = r"(?<![\w.:])(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?(?![\w:])"
_MONTH = r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = rf"\b\d{{4}}-\d\d-\d\d|{_MONTH}\s+\d{{1,2}}\b|\b\d{{1,2}}[ -]{_MONTH}[ -]\d{{2,4}}\b"
_WHEN = re.compile(rf"{_CLOCK}|{_DATE}", re.IGNORECASE)
_LASTS = re.compile(
    r"\d+m ?\d+(?:\.\d+)?s\b|\d+\.\d+\s?(?:h|m|s|ms|us|µs|μs|ns|secs?|seconds?|minutes?|hours?)\b",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"(?:\bpid(?: is\b)?\s*[=:#]?\s*|\bprocess (?=\d{4})|^\[\d+\] (?=\d+$))(?P<pid>\d+)(?![\w.])"
    r"|(?P<address>\b0x[0-9a-f]{6,}\b)"
    r"|(?<=/tmp/)(?P<temporary>tmp[.\w]{6,})"
    rf"|(?<![\w.])(?P<number>{masks.NUMBER})(?![\w.])",
    re.IGNORECASE,
)
_MASKS = {"pid": "(int)", "address": "(re /0x[0-9a-fA-F]+/)", "temporary": r"(re /[.\w]+/)"}


class _Piece(NamedTuple):
    start: int
    end: int
    mask: str


def masked(line: str) -> str:
    """The line as it is to be expected.

    >>> masked(" Time in seconds =                     0.01")
    ' Time in seconds =                     (num)'
    >>> masked("residual 0.1619634321098E-01 after 50 steps")
    'residual (num 0.1619634321098E-01) after 50 steps'
    """
    done, at = [], 0
    for piece in _pieces(line):
        done += [masks.escaped(line[at : piece.start] + "|")[:-1], piece.mask]
        at = piece.end
    text = "".join([*done, masks.escaped(line[at:])])
    # Whatever was written, the line itself has to fit.
    return text if matching.match(masks.parse(text), line, {}) else masks.escaped(line)


def _pieces(line: str) -> Iterator[_Piece]:
    measured = _MEASURED.search(line) is not None
    alone = measured and len(masks.A_NUMBER.findall(line)) == 1  # the measurement, then
    at = 0
    times = list(_times(line))
    scale = max((abs(masks.number(one[0])) for one in _decimals(line)), default=0.0)
    for start, end in [*times, (len(line), len(line))]:
        for found in _OTHER.finditer(line, at, start):
            if found["number"] and (alone or (measured and _RATE.match(line, found.end()))):
                mask = "(num)"
            else:
                mask = _mask(found, measured, scale)
            if mask:
                yield _Piece(*found.span(found.lastgroup or 0), mask)
        if end > start:
            yield _Piece(start, end, "(time)")
        at = end


def _times(line: str) -> Iterator[tuple[int, int]]:
    """Dates, times of day, durations: as `masks.TIME`, but no word alone, and no whole number of
    seconds, which may as well be a setting."""
    at = 0
    while (found := masks.TIME.search(line, at)) is not None:
        before = line[found.start() - 1 : found.start()]
        if before and (before.isalnum() or before in "._:-/+"):
            at = found.start() + 1  # ``254 Nov 22``: no day 54
            continue
        at = max(found.end(), at + 1)
        if _WHEN.search(line, *found.span()) or _LASTS.search(line, *found.span()):
            yield found.span()


def _decimals(line: str) -> Iterator[re.Match[str]]:
    for found in _OTHER.finditer(line):
        if found["number"] and _is_decimal(found["number"]):
            yield found


def _is_decimal(text: str) -> bool:
    return bool(re.search(r"[.eEdD]", text)) and len(text) < 300


def _mask(found: re.Match[str], measured: bool, scale: float) -> str:
    """``scale``: the largest number of the line; what is nothing beside it, rounding left over."""
    assert found.lastgroup is not None
    if found.lastgroup != "number":
        return _MASKS[found.lastgroup]
    text = found["number"]
    if not _is_decimal(text):
        return ""
    if measured:
        return "(num)"
    try:
        value = abs(masks.number(text))
    except (ValueError, OverflowError):
        return ""
    if 0 < value < masks.REL * scale < float("inf"):
        return f"(num {text} abs={masks.REL * scale:.1g})"
    mantissa = re.split("[eEdD]", text)[0]
    digits = sum(char.isdigit() for char in mantissa.lstrip("+-0."))
    return f"(num {text})" if digits >= DIGITS else ""


def loosened(script: Script) -> tuple[Script, int]:
    """A recording's script with masks, and how many lines have one."""
    count = 0
    steps: list[Step] = []
    for step in script.steps:
        lines = []
        for line in step.expected or ():
            text = _of_line(line)
            count += text != line.text
            lines.append(line._replace(text=text))
        steps.append(step if step.expected is None else step._replace(expected=tuple(lines)))
    return script._replace(steps=tuple(steps)), count


def _of_line(line: Line) -> str:
    literal = masks.parse(line.text).literal
    return line.text if literal is None else masked(literal)
