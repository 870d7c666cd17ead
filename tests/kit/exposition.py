"""A strict reader of Prometheus' text format 0.0.4: what it takes, every scraper takes."""

from __future__ import annotations

import re

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")
_UNITS = ("_seconds", "_bytes", "_total", "_info")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def read(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Family -> labels -> value; of a histogram, its lines are families of their own.

    Raises:
        AssertionError: what is wrong, with the line.
    """
    assert text.endswith("\n"), "the last line must end"
    families: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    types: dict[str, str] = {}
    helped: set[str] = set()
    current = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            assert re.fullmatch(_NAME, name), line
            assert words, f"says nothing: {line}"
            assert name not in helped, f"twice: {line}"
            helped.add(name)
            current = name
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == current, f"HELP and TYPE belong together: {line}"
            assert name not in types, f"twice: {line}"
            assert kind in ("counter", "gauge", "histogram"), line
            assert (kind == "counter") == name.endswith("_total"), line
            types[name] = kind
        else:
            found = _SAMPLE.fullmatch(line)
            assert found, f"not a sample: {line!r}"
            name, labels, value = found.groups()
            base = (
                re.sub("_(bucket|sum|count)$", "", name) if types[current] == "histogram" else name
            )
            assert base == current, f"not of the family {current}: {line}"
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")
            key = tuple((k, re.sub(r'\\[\\"n]', lambda m: _ESCAPES[m[0]], v)) for k, v in pairs)
            assert len({k for k, _ in key}) == len(key), f"a label twice: {line}"
            samples = families.setdefault(name, {})
            assert key not in samples, f"a sample twice: {line}"
            samples[key] = float(value.replace("+Inf", "inf"))
    assert set(types) == helped
    for name, kind in types.items():
        if kind == "histogram":
            _check_histogram(name, families)
        else:
            assert families.get(name), f"{name} has no sample"
        assert "ms" not in name.split("_"), f"{name}: not a base unit"
    return families


def _check_histogram(
    name: str, families: dict[str, dict[tuple[tuple[str, str], ...], float]]
) -> None:
    buckets = families[f"{name}_bucket"]
    bounds = [float(dict(key)["le"].replace("+Inf", "inf")) for key in buckets]
    counts = list(buckets.values())
    assert bounds == sorted(bounds), name
    assert bounds[-1] == float("inf"), f"{name} lacks +Inf"
    assert counts == sorted(counts), f"{name}: buckets are cumulative"
    assert counts[-1] == families[f"{name}_count"][()], name
    assert (families[f"{name}_sum"][()] == 0) or counts[-1], name
