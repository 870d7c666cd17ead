"""A recorded session, its clean repetitions and its mutants, for who judges sessions.

A session is a script and what each of its steps gave. ``clean`` changes what may change between two
right runs; ``mutate`` changes one thing that may not. All of it from a seed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gshell.replay import judge
from gshell.replay.script import Script, Seen, Verdict

Session = tuple[Seen, ...]


class Mutant(NamedTuple):
    """A session that must be refused, and what is wrong with it."""

    what: str
    step: int
    seens: Session


def judged(script: Script, seens: Sequence[Seen]) -> list[Verdict]:
    """Every step that there is, with what the steps before captured."""
    values = dict(script.params)
    verdicts = []
    for step, seen in zip(script.steps, seens):
        verdict = judge.judge(step, seen, values)
        values.update(verdict.captures)
        verdicts.append(verdict)
    return verdicts


def accepted(script: Script, seens: Sequence[Seen]) -> bool:
    """Whether all steps are there and as expected."""
    return len(seens) == len(script.steps) and all(one.ok for one in judged(script, seens))


# -------------------------------------------------------------------------------------- clean runs

MEASURED = re.compile(r"(?i)seconds|mop/s|elapsed|real|took")
_FRACTION = re.compile(r"( *)(\d+)\.(\d+)")


def clean(seens: Sequence[Seen], seed: int) -> Session:
    """Another right run: other times and rates, other process numbers and addresses."""
    luck = random.Random(seed)
    pids = {number: str(luck.randrange(2, 4_000_000)) for number in _pids(seens)}

    def line(text: str) -> str:
        if MEASURED.search(text):
            text = _FRACTION.sub(lambda found: _scaled(found, luck), text)
        text = re.sub(r"0x[0-9a-f]{6,}", lambda found: f"0x{luck.randrange(16**12):012x}", text)
        return re.sub(r"(?<=process )\d+", lambda found: pids.get(found[0], found[0]), text)

    return tuple(
        seen._replace(
            out=tuple(map(line, seen.out)),
            err=tuple(map(line, seen.err)),
            elapsed_s=seen.elapsed_s * luck.uniform(0.2, 5),
        )
        for seen in seens
    )


def _pids(seens: Sequence[Seen]) -> list[str]:
    return re.findall(r"process (\d+)", "\n".join(line for seen in seens for line in seen.out))


def _scaled(found: re.Match[str], luck: random.Random) -> str:
    """Another number in the same column of as many decimals."""
    value = float(f"{found[2]}.{found[3]}") * luck.uniform(0.3, 30) + luck.random() / 10
    return f"{value:.{len(found[3])}f}".rjust(len(found[0]))


# ---------------------------------------------------------------------------------------- mutants


def mutants(seens: Sequence[Seen], seed: int, count: int) -> list[Mutant]:
    """So many, every kind in turn."""
    luck = random.Random(seed)
    done = []
    while len(done) < count:
        what = KINDS[len(done) % len(KINDS)]
        at = luck.randrange(len(seens))
        mutated = _MAKERS[what](seens[at], luck)
        if mutated is not None and mutated != seens[at]:
            done.append(Mutant(what, at, (*seens[:at], mutated, *seens[at + 1 :])))
    return done


def _digit(seen: Seen, luck: random.Random) -> Seen | None:
    """A digit of a result, the sixth at the latest: far beyond rounding."""
    places = [
        (n, found)
        for n, line in enumerate(seen.out)
        if not MEASURED.search(line) and "process " not in line
        for found in re.finditer(r"(?<![\w.x])\d+\.\d{3,}", line)
        if found[0].strip("0.")
    ]
    if not places:
        return None
    n, found = luck.choice(places)
    digits = [at for at in range(found.start(), found.end()) if seen.out[n][at].isdigit()]
    first = next(k for k, at in enumerate(digits) if seen.out[n][at] != "0")
    at = luck.choice(digits[first : first + 6])
    # An epsilon's worth of noise is noise: what is compared with 1e-8 stays compared with it.
    other = luck.choice([digit for digit in "123456789" if digit != seen.out[n][at]])
    return _with(seen, n, seen.out[n][:at] + other + seen.out[n][at + 1 :])


def _missing(seen: Seen, luck: random.Random) -> Seen | None:
    at = _spoken(seen, luck)
    return None if at is None else seen._replace(out=seen.out[:at] + seen.out[at + 1 :])


def _extra(seen: Seen, luck: random.Random) -> Seen | None:
    at = luck.randrange(len(seen.out) + 1)
    text = luck.choice(["Warning: out of memory", "NaN", "*** stack smashing detected ***"])
    return seen._replace(out=(*seen.out[:at], text, *seen.out[at:]))


def _reordered(seen: Seen, luck: random.Random) -> Seen | None:
    first, second = _spoken(seen, luck), _spoken(seen, luck)
    if first is None or second is None:
        return None
    lines = list(seen.out)
    if judge.shape(lines[first]) == judge.shape(lines[second]):
        return None  # two times, say: nobody could tell
    lines[first], lines[second] = lines[second], lines[first]
    return seen._replace(out=tuple(lines))


def _changed(seen: Seen, luck: random.Random) -> Seen | None:
    at = _spoken(seen, luck)
    if at is None:
        return None
    words = re.findall(r"[A-Za-z]{3,}", seen.out[at])
    if not words:
        return None
    return _with(seen, at, seen.out[at].replace(luck.choice(words), "UNSUCCESSFUL", 1))


def _status(seen: Seen, luck: random.Random) -> Seen | None:
    if seen.status is None:
        return None
    return seen._replace(status=luck.choice([1, 2, 127, 134, 137, 139]))


def _stderr(seen: Seen, luck: random.Random) -> Seen | None:
    return seen._replace(err=(*seen.err, f"[n{luck.randrange(100):03}] segmentation fault"))


def _hang(seen: Seen, luck: random.Random) -> Seen | None:
    kept = luck.randrange(len(seen.out) + 1)
    return seen._replace(out=seen.out[:kept], status=None, timed_out="the next prompt, 60 s")


def _spoken(seen: Seen, luck: random.Random) -> int | None:
    """A line that says something."""
    places = [at for at, line in enumerate(seen.out) if line.strip()]
    return luck.choice(places) if places else None


def _with(seen: Seen, at: int, line: str) -> Seen:
    return seen._replace(out=(*seen.out[:at], line, *seen.out[at + 1 :]))


_MAKERS: dict[str, Callable[[Seen, random.Random], Seen | None]] = {
    "digit": _digit, "missing": _missing, "extra": _extra, "reordered": _reordered,
    "changed": _changed, "status": _status, "stderr": _stderr, "hang": _hang,
}  # fmt: skip
KINDS = tuple(_MAKERS)
