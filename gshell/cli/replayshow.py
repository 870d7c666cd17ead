"""What ``replay`` prints while it plays, and at its end. Knows no target and no files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gshell.cli.options import Parsed
from gshell.model.sanitize import sanitize
from gshell.replay import judge, masks, report
from gshell.replay.engine import Outcome
from gshell.replay.script import Script, Step, Verdict

if TYPE_CHECKING:
    from gshell.cli.replay import Played

STEP_WIDTH = 38
REST_WIDTH = 42  # verdict, time, sync
BEFORE_REST = 14  # number, verdict, blanks
MOST_DIFF = 40
WIDE = ("any", "any*")  # masks that say nothing of what they let through


class Show:
    """Lines on stdout; with --json nothing before the end."""

    def __init__(self, script: Script, parsed: Parsed, several: bool) -> None:
        self.cast = ""
        self.written = ""
        self._script = script
        self._json = bool(parsed["json"])
        self._quiet = bool(parsed["quiet"])
        self._several = several
        out = sys.stdout
        self._live = out.isatty() and os.environ.get("TERM") != "dumb" and not self._json
        when = parsed["color"]
        plain = "NO_COLOR" in os.environ or not out.isatty()
        self._color = when == "always" or (when == "auto" and not plain)
        self._told = False
        self._learning = bool(parsed["learn"])
        self._width = _width()
        self._vary = list((parsed["matrix"] or [{}])[0])
        self._params: dict[str, str] = {}

    # -- as it goes

    def run_begins(self, params: dict[str, str], number: int, runs: int) -> None:
        self._params = params
        if self._json or self._quiet or not self._several:
            return
        words = " ".join(f"{name}={params[name]}" for name in self._vary)
        words += f" run {number + 1} of {runs}" * (runs > 1)
        print(f"-- {sanitize(words.strip())}", flush=True)

    def begins(self, step: Step) -> None:
        self._tell(step, "...")

    def waits(self, step: Step, wants: str, since_s: float) -> None:
        """It goes on."""
        self._tell(step, f"... {since_s:.0f} s, waits for {sanitize(wants)}")

    def _tell(self, step: Step, words: str) -> None:
        """On a line that what comes next wipes out."""
        if self._live and not self._quiet:
            text = f" {step.number:>2} {self._shown(step)}  {words}"
            sys.stdout.write("\r\x1b[K" + text[: self._width - 1])
            sys.stdout.flush()
            self._told = True

    def judged(self, verdict: Verdict) -> None:
        if self._json:
            return
        self._wipe()
        if self._quiet and verdict.ok:
            return
        step, seen = verdict.step, verdict.seen
        if self._learning and not seen.timed_out:
            return  # what differs is what is to be learnt
        word = "ok  " if verdict.ok else "STOP" if seen.timed_out else "DIFF"
        colored = self._paint(word, "32" if verdict.ok else "31")
        more = [f"{seen.elapsed_s:7.2f} s", f"sync {seen.sync or '-'}".ljust(15)]
        if seen.out and verdict.ok:
            more.append(f"{len(seen.out)} line{'s' * (len(seen.out) > 1)}")
        if not judge.judged(step):
            more.append("not judged")
        kinds = [f"{count} {kind}" for kind, count in verdict.masked if kind not in WIDE]
        if kinds:
            more.append(f"masked: {', '.join(kinds)}")
        text = "  ".join(more).rstrip()
        shown = self._shown(step)
        if self._live:  # a line each: a table that wraps is none
            text = text[: max(0, self._width - len(shown) - BEFORE_REST)].rstrip()
        print(f" {step.number:>2} {shown}  {colored}{text}", flush=True)
        if not verdict.ok:
            lines = judge.unified(verdict).rstrip("\n").split("\n")[2:]
            for line in lines[:MOST_DIFF]:
                shade = {"-": "31", "+": "32", "!": "31"}.get(line[:1], "")
                print("    " + self._paint(sanitize(line), shade))
            if len(lines) > MOST_DIFF:
                print(f"    ({len(lines) - MOST_DIFF} more lines)")
            sys.stdout.flush()

    def run_ended(self, verdicts: list[Verdict], outcome: Outcome, status: int) -> None:
        self._wipe()
        if self._json:
            return
        left = len(self._script.steps) - len(verdicts)
        for words in outcome.trouble:
            print(sanitize(words), file=sys.stderr)
        if outcome.error is not None and not outcome.trouble:
            print(f"gshell: {sanitize(outcome.error.message)}", file=sys.stderr)
        for warning in outcome.warnings:
            print(f"gshell: {warning}", file=sys.stderr)
        if left > 0 and not self._quiet:
            print(f"    {left} step{'s' * (left > 1)} not played")

    def _shown(self, step: Step) -> str:
        """As it is typed this time, in its column."""
        text = masks.shown(step.shown, self._params)
        return _cut(text, min(STEP_WIDTH, max(12, self._width - REST_WIDTH)))

    def _wipe(self) -> None:
        if self._told:
            sys.stdout.write("\r\x1b[K")
            self._told = False

    # -- at the end

    def end(self, played: list[Played], status: int) -> None:
        if self._json:
            sys.stdout.write(report.as_json([one.run(self._script) for one in played]))
            return
        if self._learning and not status:
            if not self._quiet:
                print(f"learnt from {len(played)} runs: {self.written}")
            return
        if self._several and not self._quiet:
            print("\n" + report.matrix_table(self._rows(played)))
        ok = sum(verdict.ok for one in played for verdict in one.verdicts)
        bad = sum(not verdict.ok for one in played for verdict in one.verdicts)
        took = sum(one.outcome.elapsed_s for one in played)
        only = sum(not judge.judged(verdict.step) for one in played for verdict in one.verdicts)
        words = [f"replay: {ok} ok" + f" ({only} not judged)" * bool(only)]
        if bad:
            words.append(f"{bad} differ{'s' * (bad == 1)}")
        captures = ""
        if len(played) == 1:
            one = played[0]
            found = {k: v for k, v in one.values.items() if one.params.get(k) != v}
            captures = "".join(f", {name}={value}" for name, value in found.items())
        line = ", ".join(words) + f", {took:.2f} s" + captures
        line += f"    exit {status}" + (f"   {self.cast}" if self.cast else "")
        if not self._quiet or status:
            print(sanitize(line))

    def _rows(self, played: list[Played]) -> list[report.Run]:
        """With those parameters only that were not the same each time."""
        first = played[0].params
        vary = {name for name in first if any(one.params[name] != first[name] for one in played)}
        runs = [one.run(self._script) for one in played]
        return [
            run._replace(params=tuple(pair for pair in run.params if pair[0] in vary))
            for run in runs
        ]

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[m" if self._color and code else text


def _cut(text: str, width: int) -> str:
    text = sanitize(text)
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def _width() -> int:
    try:
        return max(40, os.get_terminal_size(1).columns)
    except OSError:
        return 80
