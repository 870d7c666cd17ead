"""What people write as an option's value: durations, sizes, signals, variables. Knows no option."""

from __future__ import annotations

_LONGEST = 40  # characters; what is longer is no number, and int() of it would be slow
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def whole_number(text: str) -> int:
    """A whole number above zero."""
    if len(text) <= _LONGEST and text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise ValueError(f"{text!r} is not a whole number above 0")


def count(text: str) -> int:
    """A whole number, 0 too."""
    if len(text) <= _LONGEST and text.isascii() and text.isdigit():
        return int(text)
    raise ValueError(f"{text!r} is not a whole number")


def parse_duration(text: str, bare_s: float = 1.0) -> float:
    """Seconds in ``1:30:00``, ``5:00`` (minutes), ``30m``, ``1h30m``, ``1-0`` (days-hours).

    A bare number counts in ``bare_s``: seconds, unless said otherwise.
    """
    text = text.strip()
    days, dash, clock = text.rpartition("-")
    try:
        if not text or len(text) > _LONGEST or not text.isascii():
            raise ValueError
        if dash:
            return _whole(days) * 86400.0 + _clock(clock, 3600.0)
        if ":" in text:
            fields = text.count(":")
            return _clock(text, 3600.0 if fields == 2 else 60.0)
        if text.replace(".", "", 1).isdigit():
            return float(text) * bare_s
        return _with_units(text.lower())
    except ValueError:
        raise ValueError(f"{text!r} is not a duration such as 90, 30m, 1:30:00 or 1-12:00")


def parse_walltime(text: str) -> float:
    """Seconds in what Slurm's ``-t`` takes: as `parse_duration`, but a bare number is minutes."""
    return parse_duration(text, 60.0)


def _whole(text: str) -> int:
    if not text.isdigit():
        raise ValueError
    return int(text)


def _clock(text: str, first_s: float) -> float:
    """``a:b:c``, a counting in ``first_s``, each further field in a sixtieth of that."""
    fields = text.split(":")
    if len(fields) > 3:
        raise ValueError
    total, unit = 0.0, first_s
    for place, field in enumerate(fields):
        number = _whole(field)
        if unit < 1.0 or (place > 0 and number > 59):
            raise ValueError
        total += number * unit
        unit /= 60.0
    return total


def _with_units(text: str) -> float:
    total, number, unit = 0.0, "", ""
    for char in text + "0":  # the digit ends the last unit
        if char.isdigit() or char == ".":
            if unit:
                total += float(number) * _UNITS.get(unit, -1.0)
                if unit not in _UNITS:
                    raise ValueError
                number, unit = "", ""
            number += char
        else:
            unit += char
    if number != "0":  # the added digit alone must be left over
        raise ValueError
    return total


def parse_size(text: str) -> int:
    """Bytes in ``4096``, ``64G``, ``1.5GiB`` (powers of 1024, as in Slurm) or ``10MB`` (1000)."""
    number = text.strip().rstrip("bBiIkKmMgGtTpP")
    unit = text.strip()[len(number) :]
    base = 1000 if unit[1:] in ("b", "B") else 1024
    power = _SIZES.get(unit[:1].lower() if unit not in ("b", "B") else "")
    digits = number.replace(".", "", 1)
    good = digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST
    if power is None or not good or unit[1:].lower() not in ("", "b", "ib"):
        raise ValueError(f"{text!r} is not a size such as 4096, 64G or 10MB")
    return int(float(number) * base**power)


def parse_signal(text: str) -> int:
    """The number of ``TERM``, ``SIGTERM``, ``term`` or ``15``."""
    import signal  # 6 ms: only who sends one pays

    name = text.strip().upper()
    known = signal.valid_signals()
    if name.isascii() and name.isdigit() and len(name) < 4:
        if int(name) in known:
            return int(name)
    else:
        base, plus, more = name.removeprefix("SIG").partition("+")
        number = getattr(signal, "SIG" + base, None)
        if base.isalnum() and isinstance(number, int) and more.isdigit() == bool(plus):
            number = int(number) + int(more or "0")
            if number in known:
                return number
    raise ValueError(f"{text!r} is not a signal such as TERM, KILL or 15")


def parse_env(text: str) -> tuple[str, str | None]:
    """``K=V``, or ``K`` alone: then None, for the value it has where gshell was typed."""
    name, equals, value = text.partition("=")
    if not name or name[0].isdigit() or "\0" in text:
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value if equals else None
