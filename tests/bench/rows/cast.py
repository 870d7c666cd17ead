"""Recordings: how fast they are read, written and shown, and whether their times drift."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable

from bench.lab import Lab
from bench.measure import Failed, Sample, Samples, interleaved, run_checked
from bench.table import Line, against, alone, at_least, at_most
from gshell.cast import files
from gshell.cast.format import Cast, Event, Header
from gshell.cast.load import load
from gshell.cast.screen import Screen

MANY = 1_000_000
TEXT = "\x1b[32mstep %d\x1b[0m residual 1.2345e-08 and what else a line of output has in it\r\n"


def _cast(count: int, data: Callable[[int], str]) -> Cast:
    luck = random.Random(1)
    now, events = 0.0, []
    for number in range(count):
        now += luck.random() * 0.002
        events.append(Event(round(now, 6), "o", data(number)))
    return Cast(Header(80, 24), events)


def drift(lab: Lab) -> list[Line]:
    """The largest error of any time, after v1 to v2 to v3 to v2."""
    first = _cast(MANY if not lab.quick else MANY // 10, lambda n: TEXT % n)
    found, seconds = first, []
    for form in ("v1", "v2", "v3", "v2"):
        begun = time.perf_counter()
        data = files.rendered(found, form)[0]
        written = time.perf_counter()
        found = load(data).cast
        seconds.append((written - begun, time.perf_counter() - written))
        if [event.data for event in found.events] != [event.data for event in first.events]:
            raise Failed(f"{form}: other text than was written")
    worst = max(abs(a.at_s - b.at_s) for a, b in zip(found.events, first.events))
    what = f"{len(first.events)} events, v1 -> v2 -> v3 -> v2"
    got = Samples("gshell", [{"ms": worst * 1000, "s": max(map(max, seconds))}])
    return [
        alone("cast", f"{what}: time off", got, "ms", at_most(1)),
        alone("cast", "  slowest of 4 writes and 4 reads", got, "s", at_most(None)),
    ]


def speed(lab: Lab) -> list[Line]:
    """Whole processes: `gshell cast info`."""
    text = (TEXT % 1) * 7
    five = lab.directory / "five.cast"  # 3 MB in 5,000 events
    five.write_bytes(files.rendered(_cast(5000, lambda _: text), "v3")[0])
    old = lab.directory / "old.json"  # 2 MB, pretty-printed
    v1 = files.rendered(_cast(18_000, lambda n: TEXT % n), "v1")[0]
    old.write_text(json.dumps(json.loads(v1), indent=1))
    lines = []
    for path, most in ((five, 0.3), (old, 0.5)):
        argv = [*lab.command, "cast", "info", str(path)]

        def turn(argv: list[str] = argv) -> Sample:
            return {"s": run_checked(argv, lab.env, stdout=None)[0]}

        got = interleaved({"gshell": turn}, lab.rounds(9, 5))["gshell"]
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        lines.append(alone("cast", f"cast info, {path.name}, {size}", got, "s", at_most(most)))
    return lines


def screen(lab: Lab) -> list[Line]:
    """Our screen beside pyte's."""
    import pyte

    text = "".join(TEXT % n for n in range(4000 if not lab.quick else 1000))

    def turn(feed: Callable[[str], None]) -> dict[str, float]:
        begun = time.perf_counter()
        feed(text)
        return {"MB/s": len(text) / 1e6 / (time.perf_counter() - begun)}

    got = interleaved(
        {
            "gshell": lambda: turn(Screen(80, 24).feed),
            "pyte": lambda: turn(pyte.Stream(pyte.Screen(80, 24)).feed),
        },
        lab.rounds(5, 3),
    )
    what = "screen model, coloured lines"
    return [against("cast", what, got["gshell"], got["pyte"], "MB/s", at_least(3))]


def cast(lab: Lab) -> list[Line]:
    return [*drift(lab), *speed(lab), *screen(lab)]
