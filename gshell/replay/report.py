"""What a replay found, for people and for other programs. Knows no terminal and no files.

Everything that a program printed passes `sanitize` on its way into a table; JSON and XML escape it.
"""

from __future__ import annotations

import csv as csv_text
import io
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gshell.model.sanitize import sanitize
from gshell.replay import judge
from gshell.replay.script import Script, Verdict

SCHEMA = 1  # of the JSON; a new field does not change it, another meaning of one does


class Run(NamedTuple):
    """One replay of a script, with one set of parameters."""

    script: Script
    verdicts: tuple[Verdict, ...]
    """Of the steps that were done; fewer than the script has if it was stopped."""
    params: tuple[tuple[str, str], ...] = ()
    elapsed_s: float = 0.0
    target: str = ""
    status: int | None = None
    """The whole program's."""
    error: str = ""
    """Why it could not go on."""

    @property
    def ok(self) -> bool:
        return (
            not self.error
            and all(verdict.ok for verdict in self.verdicts)
            and len(self.verdicts) == len(self.script.steps)
            and (self.script.status is None or self.status in (None, self.script.status))
        )

    @property
    def captures(self) -> dict[str, str]:
        return {name: value for verdict in self.verdicts for name, value in verdict.captures}


Played = Sequence[tuple[Mapping[str, str], Sequence[Verdict]]]  # of each run: parameters, verdicts


def runs(script: Script, played: Played) -> list[Run]:
    """Runs of one script."""
    return [
        Run(
            script,
            tuple(verdicts),
            tuple(values.items()),
            sum(verdict.seen.elapsed_s for verdict in verdicts),
        )
        for values, verdicts in played
    ]


# ------------------------------------------------------------------------------------------- people


def table(run: Run, width: int = 100, ascii_only: bool = False) -> str:
    """A line per step, and below what was not as expected; at the end one line for all."""
    good, bad, none = ("ok", "FAIL", "-") if ascii_only else ("✔", "✘", "·")
    rows = [("", "STEP", "SYNC", "TIME", "RESULT")]
    for verdict in run.verdicts:
        judged = verdict.step.expected is not None or verdict.step.status is not None
        mark = bad if not verdict.ok else good if judged else none
        took = f"{verdict.seen.elapsed_s:.2f} s"
        rows.append((mark, verdict.step.shown, verdict.seen.sync or "-", took, _result(verdict)))
    undone = run.script.steps[len(run.verdicts) :]
    rows += [(none, step.shown, "-", "-", "not done") for step in undone]
    cells = [[sanitize(cell) for cell in row] for row in rows]
    widths = [max(_width(row[n]) for row in cells) for n in range(5)]
    room = max(width - widths[0] - sum(widths[2:]) - 8, 12)
    widths[1] = min(widths[1], room)
    lines = []
    for mark, shown, sync, took, result in cells:
        lines.append(
            "  ".join(
                [
                    _padded(mark, widths[0]), _padded(_cut(shown, widths[1]), widths[1]),
                    _padded(sync, widths[2]), took.rjust(widths[3]), result,
                ]
            ).rstrip()
        )  # fmt: skip
    for verdict in run.verdicts:
        if not verdict.ok:
            at = f"{run.script.name}:{verdict.step.line}" if verdict.step.line else run.script.name
            lines += ["", sanitize(f"step {verdict.step.number}  {at}")]
            lines += [sanitize(line) for line in judge.unified(verdict).splitlines()]
    if run.error:
        lines += ["", *map(sanitize, run.error.splitlines())]
    return "\n".join([*lines, "", summary(run, ascii_only)]) + "\n"


def summary(run: Run, ascii_only: bool = False) -> str:
    """One line: ``✔ lu.gst  12 steps, 0 differences, 1.4 s  t=0.05``."""
    good, bad = ("ok", "FAIL") if ascii_only else ("✔", "✘")
    steps, done = len(run.script.steps), len(run.verdicts)
    count = f"{done} of {steps}" if done < steps else str(steps)
    wrong = sum(len(verdict.differences) for verdict in run.verdicts)
    parts = [
        f"{good if run.ok else bad} {run.script.name}",
        " ".join(f"{name}={value}" for name, value in run.params),
        f"{count} step{'s' * (steps != 1)}, {wrong} difference{'s' * (wrong != 1)}, "
        f"{run.elapsed_s:.1f} s",
        " ".join(f"{name}={value}" for name, value in run.captures.items()),
    ]
    if run.script.status is not None and run.status not in (None, run.script.status):
        parts.append(f"exit {run.status}, expected {run.script.status}")
    return sanitize("  ".join(part for part in parts if part))


def _result(verdict: Verdict) -> str:
    if verdict.ok:
        masked = " ".join(f"{count}x{name}" for name, count in verdict.masked)
        named = " ".join(f"{name}={value}" for name, value in verdict.captures)
        return "  ".join(part for part in (named, masked and f"({masked})") if part)
    counts: dict[str, int] = {}
    for one in verdict.differences:
        counts[one.what] = counts.get(one.what, 0) + 1
    return ", ".join(f"{count} {_WORDS.get(what, what)}" for what, count in counts.items())


_WORDS = {
    "line": "changed", "order": "moved", "status": "exit status", "stderr": "on stderr",
    "rank": "of a rank", "timeout": "time-out",
}  # fmt: skip


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _padded(text: str, width: int) -> str:
    return text + " " * max(width - _width(text), 0)


def _cut(text: str, width: int) -> str:
    return sanitize(text, width)


def matrix_table(runs: Sequence[Run], ascii_only: bool = False) -> str:
    """A row per combination: parameters, captures, verdict."""
    rows = [[*_columns(runs), "SECONDS", "RESULT"], *map(list, _rows(runs))]
    for row, run in zip(rows[1:], runs):
        good, bad = ("ok", "FAIL") if ascii_only else ("✔", "✘")
        wrong = sum(len(verdict.differences) for verdict in run.verdicts)
        row[-2:] = [f"{run.elapsed_s:.2f}", good if run.ok else f"{bad} {wrong} different"]
    cells = [[sanitize(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells)]
    lines = ["  ".join(map(_padded, row, widths)).rstrip() for row in cells]
    return "\n".join(lines) + "\n"


# --------------------------------------------------------------------------------------- programs


def as_json(runs: Sequence[Run]) -> str:
    """``{"schema": 1, "ok": ..., "runs": [...]}``, ASCII only."""
    value = {"schema": SCHEMA, "ok": all(run.ok for run in runs), "runs": [*map(_run, runs)]}
    return json.dumps(value, indent=1) + "\n"


def _run(run: Run) -> dict[str, Any]:
    return {
        "script": run.script.name,
        "target": run.target,
        "params": dict(run.params),
        "ok": run.ok,
        "elapsed_s": round(run.elapsed_s, 6),
        "status": run.status,
        "error": run.error or None,
        "captures": run.captures,
        "steps_in_script": len(run.script.steps),
        "warnings": list(run.script.warnings),
        "steps": [
            {
                "number": verdict.step.number,
                "line": verdict.step.line,
                "input": verdict.step.shown,
                "kind": verdict.step.kind,
                "ok": verdict.ok,
                "judged": verdict.step.expected is not None,
                "sync": verdict.seen.sync,
                "elapsed_s": round(verdict.seen.elapsed_s, 6),
                "status": verdict.seen.status,
                "timed_out": verdict.seen.timed_out or None,
                "captures": dict(verdict.captures),
                "masked": dict(verdict.masked),
                "differences": [one._asdict() for one in verdict.differences],
                "diff": list(verdict.diff),
            }
            for verdict in run.verdicts
        ],
    }


# What XML 1.0 can't hold, not even as a reference.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _xml(text: str) -> str:
    shown = _ILLEGAL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    for char, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
        shown = shown.replace(char, f"&{name};")
    return shown.replace("\n", "&#10;").replace("\t", "&#9;").replace("\r", "&#13;")


def junit(script: Script, played: Played) -> str:
    """A test suite per run, a test case per step."""
    return junit_of(runs(script, played))


def junit_of(runs: Sequence[Run]) -> str:
    """The same of whole runs, which may have an error."""
    suites = []
    totals = [0, 0, 0, 0]
    for run in runs:
        params = " ".join(f"{name}={value}" for name, value in run.params)
        name = f"{run.script.name} [{params}]" if params else run.script.name
        cases = []
        failures = errors = skipped = 0
        for number, step in enumerate(run.script.steps):
            verdict = run.verdicts[number] if number < len(run.verdicts) else None
            took = verdict.seen.elapsed_s if verdict else 0.0
            head = (
                f'  <testcase classname="{_xml(run.script.name)}" '
                f'name="{_xml(f"{step.number} {step.shown}")}" time="{took:.3f}"'
            )
            if verdict is None and run.error and number == len(run.verdicts):
                errors += 1
                cases.append(f'{head}>\n   <error message="{_xml(run.error)}"/>\n  </testcase>')
            elif verdict is None:
                skipped += 1
                cases.append(f'{head}>\n   <skipped message="not done"/>\n  </testcase>')
            elif verdict.ok:
                cases.append(f"{head}/>")
            else:
                failures += 1
                text = _xml(judge.unified(verdict)).replace("&#10;", "\n")
                cases.append(
                    f'{head}>\n   <failure type="{verdict.differences[0].what}" '
                    f'message="{_xml(_result(verdict))}">{text}</failure>\n  </testcase>'
                )
        counts = (len(run.script.steps), failures, errors, skipped)
        totals = [a + b for a, b in zip(totals, counts)]
        suites.append(
            f' <testsuite name="{_xml(name)}" tests="{counts[0]}" failures="{failures}" '
            f'errors="{errors}" skipped="{skipped}" time="{run.elapsed_s:.3f}">\n'
            + "\n".join(cases)
            + "\n </testsuite>"
        )
    took = sum(run.elapsed_s for run in runs)
    head = (
        f'<testsuites tests="{totals[0]}" failures="{totals[1]}" errors="{totals[2]}" '
        f'skipped="{totals[3]}" time="{took:.3f}">'
    )
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *suites, "</testsuites>", ""])


def csv(script: Script, played: Played) -> str:
    """Parameters and captures, a row per run; what a run did not capture is empty."""
    return csv_of(runs(script, played))


def csv_of(runs: Sequence[Run]) -> str:
    out = io.StringIO()
    writer = csv_text.writer(out, lineterminator="\n")
    writer.writerow([*_columns(runs), "elapsed_s", "ok"])
    writer.writerows(_rows(runs))
    return out.getvalue()


def _columns(runs: Sequence[Run]) -> list[str]:
    names = [name for run in runs for name, _ in run.params]
    names += [name for run in runs for name in run.captures]
    return list(dict.fromkeys(names))


def _rows(runs: Sequence[Run]) -> list[list[str]]:
    columns = _columns(runs)
    rows = []
    for run in runs:
        values: Mapping[str, str] = {**dict(run.params), **run.captures}
        cells = [values.get(name, "") for name in columns]
        rows.append([*cells, f"{run.elapsed_s:.3f}", str(int(run.ok))])
    return rows
