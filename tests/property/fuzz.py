"""Hostile bytes at every parser: no exception but those it promises, no hang, no growth.

    python tests/property/fuzz.py [--target NAME]... [--seconds 30 | --runs 1000000] [--seed N]

Mutates seeds that are nearly right; with ``--atheris``, and that installed, the coverage of the code
leads instead. A find prints the target and the input; ``--target NAME --input HEX`` plays it again.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":  # runs from anywhere
    here = Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(here.parent), str(here)]

HANG_S = 1.0  # of processor time for one input; a loaded machine is no hang
GROWTH_BYTES = 100 << 20
LOOK_EVERY = 500  # executions between two looks at the memory
TOKENS = [
    b"\x1b[", b"\x1b]", b"\x1bP", b"\x1b\\", b"\x07", b"\x00", b"\xff", b"\xc2\x9b", b"GSHELL/1",
    b"null", b"true", b"1e999", b"-1", b"9" * 30, b"NaN", b"{}", b"[[[[", b'""', b'"\\ud800"',
    b'{"m":', b"://", b"#", b"=", b"--", b"-n", b",", b":", b"\n", b" ", b"\0", b"[" * 2000,
    b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\1", b"\x80\0\0\0\0\0\0\0",
]  # fmt: skip


class Target(NamedTuple):
    """A parser, and what is nearly right for it."""

    name: str
    one: Callable[[bytes], None]
    """Feeds it these bytes; an exception that comes out is a find."""
    seeds: list[bytes]


class Hang(Exception):
    """One input took too long."""


class Find(Exception):
    """What went wrong, and with which input."""

    def __init__(self, target: str, data: bytes, why: str) -> None:
        super().__init__(f"{target}: {why}\n  --target {target} --input {data.hex()}")


class Luck:
    """Bytes as a source of choices: what a byte-wise fuzzer changes changes a decision."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def number(self, below: int) -> int:
        """0 to ``below`` - 1, 0 when the bytes are used up."""
        size = 1 if below <= 256 else 4
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "big") % below

    def choice(self, items: Any) -> Any:
        return items[self.number(len(items))]

    def rest(self) -> bytes:
        rest, self._at = self._data[self._at :], len(self._data)
        return rest

    def chunks(self) -> Iterator[bytes]:
        """The rest, in pieces."""
        size = self.choice((1, 2, 3, 7, 64, 1000, 1 << 16))
        rest = self.rest()
        for at in range(0, len(rest), size):
            yield rest[at : at + size]


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A seed with a few things done to it, or only luck."""
    if rng.random() < 0.15:
        return rng.randbytes(rng.randrange(80))
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5, 9))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 2:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 3:
            del data[at : at + rng.choice((1, 2, 4, 30))]
        elif kind == 4:
            data[at:at] = data[at : at + rng.choice((1, 8, 60))] * rng.choice((1, 1, 2, 20))
        elif kind == 5:
            other = rng.choice(seeds)
            data[at:] = other[rng.randrange(len(other) + 1) :]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
    return bytes(data[: 1 << 16])


def _too_long(number: int, frame: object) -> None:
    raise Hang


def memory() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def once(target: Target, data: bytes) -> None:
    """
    Raises:
        Find: an exception that was not promised, or a hang.
    """
    before = signal.signal(signal.SIGVTALRM, _too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        target.one(data)
    except Hang:
        raise Find(target.name, data, f"more than {HANG_S} s") from None
    except Exception as error:
        raise Find(target.name, data, f"{type(error).__name__}: {error}") from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def loop(target: Target, seed: int, runs: int, seconds: float) -> int:
    """How many executions, until one of both is over.

    Raises:
        Find
    """
    rng = random.Random(f"{target.name} {seed}")
    for data in target.seeds:
        once(target, data)
    until = time.monotonic() + seconds
    start = 0
    done = 0
    while done < runs and time.monotonic() < until:
        data = mutated(rng, target.seeds)
        once(target, data)
        done += 1
        if done % LOOK_EVERY == 0:
            now = memory()
            start = start or now
            if now - start > GROWTH_BYTES:
                raise Find(target.name, data, f"{(now - start) >> 20} MiB more after {done} runs")
    return done


def with_atheris(target: Target, runs: int, seconds: float) -> None:
    """Never returns."""
    import atheris

    atheris.instrument_all()
    words = [sys.argv[0], f"-runs={min(runs, 1 << 31)}", f"-max_total_time={int(seconds)}"]
    words += ["-timeout=5", f"-rss_limit_mb={(memory() + 4 * GROWTH_BYTES) >> 20}"]
    atheris.Setup(words, target.one)
    atheris.Fuzz()


def main() -> int:
    logging.disable(logging.CRITICAL)  # of what the agent would say of each input
    from property.fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="else all")
    parser.add_argument(
        "--seconds", type=float, help="each (default: 30, or as long as --runs takes)"
    )
    parser.add_argument("--runs", type=int, help="each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--input", help="hex: play this one again")
    parser.add_argument("--atheris", action="store_true")
    options = parser.parse_args()
    seconds = options.seconds or (1e9 if options.runs else 30.0)
    runs = options.runs or 1 << 62
    names = options.target or sorted(TARGETS)
    if options.atheris and len(names) > 1:  # it never returns: a process each
        words = [word for word in sys.argv[1:] if word != "--all"]
        return max(
            subprocess.call([sys.executable, __file__, *words, "--target", name]) for name in names
        )
    failed = 0
    for name in names:
        target = TARGETS[name]
        if options.input is not None:
            target.one(bytes.fromhex(options.input))
            continue
        if options.atheris:
            with_atheris(target, runs, seconds)
        began = time.monotonic()
        try:
            done = loop(target, options.seed, runs, seconds)
        except Find as find:
            failed += 1
            print(f"{name:14} FOUND, seed {options.seed}: {find}", flush=True)
            continue
        took = time.monotonic() - began
        print(f"{name:14} {done:9} runs in {took:6.1f} s, seed {options.seed}: nothing", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
