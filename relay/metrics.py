"""Counters, gauges and histograms, and their text for Prometheus (format 0.0.4). Knows no clock, no
network and nothing of a relay.

A family is made once with its label names; a sample of it is addressed by their values, in order.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_SAMPLES = 1000  # label values of a family; a label that grows without end is our bug
QUICK_S = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    1.0,
)  # disks, loops
PATIENT_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)  # people, queues

Labels = tuple[str, ...]


class Family:
    """All samples of one name. Invariant: a name ends in a base unit, a counter's in ``_total``."""

    kind = ""

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.help = help
        self.labels = tuple(labels)
        self.values: dict[Labels, float] = {} if labels else {(): 0.0}

    def set(self, value: float, *labels: str) -> None:
        assert len(labels) == len(self.labels)
        if labels in self.values or len(self.values) < MOST_SAMPLES:
            self.values[labels] = value

    def clear(self) -> None:
        """Before it is filled anew: what is not there any more shall not be shown."""
        self.values.clear()

    def lines(self) -> list[str]:
        return [
            f"{self.name}{_labelled(self.labels, labels)} {number(value)}"
            for labels, value in self.values.items()
        ]


class Counter(Family):
    """Only ever grows. One that is counted elsewhere is `set` to what that says."""

    kind = "counter"

    def inc(self, by: float = 1, *labels: str) -> None:
        self.set(self.values.get(labels, 0.0) + by, *labels)


class Gauge(Family):
    kind = "gauge"


class Histogram(Family):
    """Without labels: each would be a dozen lines."""

    kind = "histogram"

    def __init__(self, name: str, help: str, bounds: Sequence[float]) -> None:
        super().__init__(name, help)
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)  # each its own, not yet cumulative
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self) -> list[str]:
        out = []
        below = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            below += count
            out.append(f'{self.name}_bucket{{le="{number(bound)}"}} {below}')
        return [*out, f"{self.name}_sum {number(self.sum)}", f"{self.name}_count {below}"]


F = TypeVar("F", bound=Family)


class Registry:
    """Families, in the order in which they are shown."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def _add(self, family: F) -> F:
        assert family.name not in self._families
        self._families[family.name] = family
        return family

    def counter(self, name: str, help: str, *labels: str) -> Counter:
        assert name.endswith("_total")
        return self._add(Counter(name, help, labels))

    def gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return self._add(Gauge(name, help, labels))

    def histogram(self, name: str, help: str, bounds: Sequence[float]) -> Histogram:
        return self._add(Histogram(name, help, bounds))

    def render(self) -> str:
        """The whole page. A family without samples is not mentioned."""
        out = []
        for family in self._families.values():
            lines = family.lines()
            if lines:
                out.append(f"# HELP {family.name} {_escaped_help(family.help)}")
                out.append(f"# TYPE {family.name} {family.kind}")
                out += lines
        return "\n".join(out) + "\n"


def number(value: float) -> str:
    """As the format writes numbers: ``3``, ``0.25``, ``+Inf``."""
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _labelled(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    pairs = [f'{n}="{_escaped_label(v)}"' for n, v in zip(names, values, strict=True)]
    return "{" + ",".join(pairs) + "}"


def _escaped_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escaped_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
