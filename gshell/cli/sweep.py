"""The verbs of experiments: `gshell sweep run`, `resume`, `status`, `list`, `show`, `plot`."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gshell.cast.width import text_width
from gshell.cli.options import Parsed
from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep import definition, execute, experiment, resultdir
from gshell.sweep.attempts import Progress, is_worked_on
from gshell.sweep.engine import ABOUT
from gshell.sweep.experiment import Experiment
from gshell.sweep.results import Table, read_outputs, read_table, spread
from gshell.sweep.times import clock

SCHEMA = 1
DRAW_S = 0.2  # so often at most is the line at the bottom drawn anew
SHARE = 20  # times as long as it takes to find out what to draw nothing is drawn
WATCH_S = 1.0  # between two looks at the files of a run that may be elsewhere
SHOWN = 10  # lines of what is missing
BAR = 20
MOST_SHOWN = 60  # columns of a level or a result in a table
WIDEST = 160  # columns of plots: lines that are longer are harder to follow


def run(parsed: Parsed) -> int:
    source = parsed.words[0]
    if source.endswith(".py"):
        raise UsageError(
            f"{sanitize(source)} is a program, no description of an experiment",
            f"python3 {shlex.quote(source)}",
        )
    one = definition.load(source)
    if parsed["dry_run"]:
        return _dry_run(one, parsed["json"])
    folder = parsed["continue"]
    if folder is not None:
        if not os.path.exists(os.path.join(folder, resultdir.ORIGIN)):
            resultdir.experiment_of(folder)  # says what is wrong with it
    else:
        now = datetime.datetime.now()
        folder = parsed["directory"] or _new(now.strftime(f"{one.name}_%Y%m%d_%H%M%S"))
        if os.path.exists(os.path.join(folder, resultdir.ORIGIN)):
            raise UsageError(
                f"{sanitize(folder)} has an experiment already",
                f"gshell sweep resume {shlex.quote(folder)}   or -c, to go on there",
            )
    return _go(one, folder, parsed, source)


def _new(name: str) -> str:
    """A directory that nobody else has, also of two runs in one second."""
    for number in itertools.count(1):
        folder = name if number == 1 else f"{name}-{number}"
        try:
            os.mkdir(folder)
        except FileExistsError:
            continue
        except OSError:  # who works in it says what is wrong
            pass
        return folder
    raise AssertionError


def resume(parsed: Parsed) -> int:
    folder = _folder(parsed.words)
    one = _described(folder)
    source = resultdir.changed_since(folder, one)
    if source and not (parsed["json"] or parsed["quiet"]):
        print(f"note    {sanitize(source)} has changed since; with it as it is now:"
              f"  gshell sweep run -c {shlex.quote(folder)} {shlex.quote(source)}")  # fmt: skip
    return _go(one, folder, parsed)


def _described(folder: str) -> Experiment:
    """What is done in a result directory of ours.

    Raises:
        UsageError: it is none; if it is one of a program's, with how that goes on.
    """
    try:
        return resultdir.experiment_of(folder)
    except UsageError:
        program = _program_of(folder)
        if not program:
            raise
        quoted = shlex.quote(folder)
        raise UsageError(
            f"{sanitize(folder)} is what the program {sanitize(program)} has made",
            f"python3 {shlex.quote(program)} -c {quoted}   goes on;"
            f" gshell sweep show {quoted}   shows its results",
        ) from None


def _program_of(folder: str) -> str:
    """Whose result directory it is, of `Engine`; empty: of none."""
    try:
        with open(os.path.join(folder, ABOUT), encoding="utf-8") as file:
            about = json.loads(file.readline())
        return str(about["argv"][0]) if "engine" in about else ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _go(one: Experiment, folder: str, parsed: Parsed, source: str | None = None) -> int:
    live = _Live(parsed)
    runner = execute.Runner(one, folder, live.tell, parsed["retry"], source)
    live.folder = folder
    live.look = lambda width: _line(runner.progress(), one, width)
    try:
        end = runner.run()
    finally:
        live.clear()
    if parsed["json"]:
        print(json.dumps({"what": "end", **_as_json(end, folder, one)}))
    else:
        _say_end(end, folder, one, runner.interrupted)
    if runner.interrupted:
        return 130
    return 1 if end.missing else 0


class _Live:
    """What happens, a line each; on a terminal, below them, how far it is. Whoever listens may go
    away (a terminal that was closed, `| head`): the experiment goes on."""

    def __init__(self, parsed: Parsed) -> None:
        self._json, self._quiet = parsed["json"], parsed["quiet"]
        self._drawing = sys.stdout.isatty() and not (self._json or self._quiet)
        self._verbose = parsed["verbose"]
        self._drawn_at = 0.0
        self._pause_s = DRAW_S
        self._line = ""
        self._drawn = False
        self.folder = ""
        self.look: Callable[[int], str] = lambda width: ""

    def tell(self, what: str, words: str) -> None:
        if what != "look":
            self._print(what, words)
        if not self._drawing:
            return
        now = time.monotonic()
        if now - self._drawn_at > self._pause_s:
            self._line = self.look(max(10, shutil.get_terminal_size().columns - 1))
            self._drawn_at, self._drawn = time.monotonic(), False
            self._pause_s = max(DRAW_S, SHARE * (self._drawn_at - now))  # of very many points
        if not self._drawn:
            self._write("\r\x1b[K" + self._line)
            self._drawn = True

    def _print(self, what: str, words: str) -> None:
        if what == "results":
            if not (self._json or self._quiet):
                self.say(f"results in {sanitize(self.folder)}")
        elif self._json:
            self.say(json.dumps({"what": what, "at": time.time(), "text": words}))
        elif not self._quiet and (what != "begun" or self._verbose):
            color = {"done": "32", "failed": "31", "again": "33", "skipped": "33"}.get(what)
            word = f"\x1b[{color}m{what:<7}\x1b[0m" if color and _colored() else f"{what:<7}"
            self.say(f"{word} {sanitize(words)}")

    def say(self, line: str) -> None:
        self.clear()
        self._write(line + "\n")

    def clear(self) -> None:
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _write(self, text: str) -> None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except OSError:  # nobody listens any more
            self._drawing = False
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.close(nowhere)


def _colored() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def _line(now: Progress, one: Experiment, width: int) -> str:
    """How far it is, in ``width`` columns: what matters least goes first."""
    count = f"{now.done}/{now.total} done"
    gone = len(now.failed) + len(now.skipped)
    failed = f"{gone} failed" if gone else ""
    left = ""
    if now.eta_s is not None and (now.left or now.running):
        left = f"about {clock(int(now.eta_s + 0.5))} left"
    best = f"best {now.best[0]:g}" if now.best is not None else ""
    name = running = ""
    if now.running:
        name, since, _ = now.running[0]
        more = f" and {len(now.running) - 1} more" if len(now.running) > 1 else ""
        running = f"{more}, {_spent(since)}"
    words: list[str] = []
    for bar, parts, room in (
        (BAR, (left, best), 24), (BAR // 2, (left, best), 12), (0, (left, best), 8),
        (0, (left, best), 0), (0, (left,), 0), (0, (), 0),
    ):  # fmt: skip
        full = bar * now.done // max(1, now.total)
        drawn = f"[{'#' * full}{'.' * (bar - full)}] " if bar else ""
        words = [drawn + count, *filter(None, (failed, *parts))]
        free = width - len("  ".join(words)) - len(running) - len("  running ")
        if now.running and room and free >= min(room, len(name)):
            words.append("running " + sanitize(name, free) + running)
        elif now.running and room:
            continue
        if len("  ".join(words)) <= width:
            break
    return sanitize("  ".join(words), width)


def _spent(since: float) -> str:
    return clock(max(0, int(time.time() - since)))  # a clock may be put back


def _say_end(end: Progress, folder: str, one: Experiment, interrupted: bool) -> None:
    """The last line says what is missing."""
    for what, points in (("failed", end.failed), ("skipped", end.skipped)):
        for name, why in points[:SHOWN]:
            print(f"{what:<7} {sanitize(name)}: {sanitize(why)}")
        if len(points) > SHOWN:
            print(f"... and {len(points) - SHOWN} more {what}")
    if end.best is not None and end.done > 1:
        print(f"best    {one.best.partition(' ')[2]} {end.best[0]:g}: {sanitize(end.best[1])}")
    place = sanitize(os.path.join(folder, "results.csv"))
    if not end.missing:
        print(f"all {end.total} points are done: {place}")
        return
    lacking = ", ".join(
        f"{count} {word}"
        for count, word in (
            (len(end.failed), "failed"), (len(end.skipped), "skipped"),
            (end.left + len(end.running), "interrupted" if interrupted else "not begun"),
        )
        if count
    )  # fmt: skip
    print(
        f"{end.missing} of {end.total} points are missing ({lacking}); go on:  {_how(end, folder)}"
    )


def _how(now: Progress, folder: str) -> str:
    """To go on: what is left, or else what has failed."""
    retry = "" if now.left or now.running else "--retry "
    return f"gshell sweep resume {retry}{shlex.quote(folder)}"


def _dry_run(one: Experiment, as_json: bool) -> int:
    rows = []
    for point in one.points:
        ours = {
            "results": "DIR", "here": one.here, "slug": "POINT", "attempt": 1,
            "host": "HOST", "hosts": "HOSTS", "slots": one.slots_of(point),
        }  # fmt: skip
        rows.append((dict(point), experiment.fill(one.command, one.names(point, ours))))
    if as_json:
        print(json.dumps({"schema": SCHEMA, "points": [
            {"point": point, "command": command} for point, command in rows]}))  # fmt: skip
        return 0
    for step in one.steps:
        each = f" for each {', '.join(step.each)}" if step.each else ""
        print(f"prepare {step.name}{each}: {sanitize(step.command.strip())}")
    for levels, command in rows:
        words = " ".join(experiment.fill(f"{name}={{{name}}}", levels) for name in levels)
        print(f"{sanitize(words)}: {sanitize(command.strip())}")
    print(f"{len(rows)} points, {one.attempts} attempts each at most")
    return 0


# --------------------------------------------------------------------------------------- looking


def _folder(words: Sequence[str]) -> str:
    """The one that was named, or the latest here."""
    if words:
        return words[0]
    here = _folders(".")
    if not here:
        raise UsageError("there is no result directory here", "gshell sweep run FILE")
    return max(here, key=lambda one: os.path.getmtime(os.path.join(one, resultdir.ORIGIN)))


def _folders(folder: str) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UsageError(f"{sanitize(folder)}: {error.strerror}") from None
    if os.path.exists(os.path.join(folder, resultdir.ORIGIN)):
        return [folder]
    paths = [name if folder == "." else os.path.join(folder, name) for name in names]
    return [path for path in paths if os.path.exists(os.path.join(path, resultdir.ORIGIN))]


def _as_json(now: Progress, folder: str, one: Experiment) -> dict[str, Any]:
    return {
        "schema": SCHEMA, "directory": os.path.abspath(folder), "name": one.name,
        "total": now.total, "done": now.done, "left": now.left, "retried": now.retried,
        "eta_s": now.eta_s,
        "running": [
            {"name": name, "since": since, "place": place} for name, since, place in now.running
        ],
        "failed": [{"name": name, "why": why} for name, why in now.failed],
        "skipped": [{"name": name, "why": why} for name, why in now.skipped],
        "best": None if now.best is None else {"value": now.best[0], "name": now.best[1]},
    }  # fmt: skip


def status(parsed: Parsed) -> int:
    folder = _folder(parsed.words)
    one = _described(folder)
    before: list[str] = []
    drawing = sys.stdout.isatty() and not parsed["json"]
    while True:
        now = resultdir.look(folder, one)
        live = is_worked_on(folder)
        if parsed["json"]:
            print(json.dumps(_as_json(now, folder, one)), flush=True)
        else:
            lines = _status_lines(now, folder, one, live)
            if before and drawing:
                sys.stdout.write(f"\x1b[{len(before)}A\x1b[J")
            if lines != before:
                print("\n".join(lines), flush=True)
            elif drawing:
                print("\n".join(before), flush=True)
            before = lines
        if not parsed["watch"] or not live:
            return 0 if not now.missing else 1
        time.sleep(WATCH_S)


def _status_lines(now: Progress, folder: str, one: Experiment, live: bool) -> list[str]:
    width = max(20, shutil.get_terminal_size().columns - 1)
    state = "runs" if live else ("is complete" if not now.missing else "does not run")
    lines = [f"{sanitize(one.name)} {state}: {sanitize(folder)}", _line(now, one, width)]
    room = max(3, shutil.get_terminal_size().lines - 8)
    if len(now.running) > room:
        lines.append(f"running {len(now.running)}, of which:")
    for name, since, place in now.running[:room]:
        lines.append(f"running {sanitize(name)} on {sanitize(place)}, {_spent(since)}")
    for what, points in (("failed", now.failed), ("skipped", now.skipped)):
        lines += [f"{what:<7} {sanitize(name)}: {sanitize(why)}" for name, why in points[:SHOWN]]
        if len(points) > SHOWN:
            lines.append(f"... and {len(points) - SHOWN} more {what}")
    if now.best is not None:
        lines.append(f"best    {one.best.partition(' ')[2]} {now.best[0]:g}: {now.best[1]}")
    if now.retried:
        lines.append(f"{now.retried} attempts failed and were made again")
    if now.missing and not live:
        lines.append(f"go on:  {_how(now, folder)}")
    return [sanitize(line, width) for line in lines]


def list_(parsed: Parsed) -> int:
    rows: list[tuple[str, str, str, str, dict[str, Any]]] = []
    for folder in _folders(parsed.words[0] if parsed.words else "."):
        try:
            one = resultdir.experiment_of(folder)
            now = resultdir.look(folder, one)
        except UsageError as error:
            rows.append((folder, "?", "", str(error), {
                "directory": os.path.abspath(folder), "state": "unknown", "why": str(error),
            }))  # fmt: skip
            continue
        live = is_worked_on(folder)
        state = "running" if live else ("complete" if not now.missing else "incomplete")
        gone = len(now.failed) + len(now.skipped)
        about = {**_as_json(now, folder, one), "state": state}
        rows.append((folder, f"{now.done}/{now.total}", str(gone or ""), state, about))
    if parsed["json"]:
        print(json.dumps({"schema": SCHEMA, "experiments": [row[4] for row in rows]}))
    elif parsed["quiet"]:
        print("".join(f"{sanitize(row[0])}\n" for row in rows), end="")
    elif rows:
        _print_table(["DIRECTORY", "DONE", "FAILED", "STATE"], [row[:4] for row in rows])
    else:
        print("no experiments here: gshell sweep run FILE makes one", file=sys.stderr)
    return 0


def _print_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    cells = [[sanitize(str(one)) for one in row] for row in rows]
    right = [all(_is_number(row[n]) for row in cells) and bool(cells) for n in range(len(head))]
    widths = [max(map(text_width, column)) for column in zip(head, *cells, strict=True)]
    for row in [list(head), *cells]:
        words = []
        for one, width, side in zip(row, widths, right, strict=True):
            blank = " " * (width - text_width(one))
            words.append(blank + one if side else one + blank)
        print("  ".join(words).rstrip())


def _is_number(text: str) -> bool:
    return not text or text.replace(".", "", 1).replace("-", "").replace("e+", "").isdigit()


# --------------------------------------------------------------------------------------- results


def _results(words: Sequence[str]) -> tuple[str, Table, Experiment | None]:
    """A result directory of ours, one of execo's, or a table."""
    folder = _folder(words)
    if os.path.isfile(folder):
        return folder, read_table(folder), None
    if not os.path.isdir(folder):
        raise UsageError(f"{sanitize(folder)}: there is no such directory", "gshell sweep list")
    if os.path.exists(os.path.join(folder, resultdir.ORIGIN)):
        one = resultdir.experiment_of(folder)
        return folder, resultdir.table_of(folder, one), one
    return folder, read_outputs(folder), None


def show(parsed: Parsed) -> int:
    folder, table, _ = _results(parsed.words)
    for path in [parsed["output"]] if parsed["output"] else []:
        table.write(path)
        if not parsed["quiet"]:
            print(f"{len(table)} rows: {sanitize(path)}")
        return 0
    if parsed["json"]:
        print(table.json_lines(), end="")
        return 0
    if not len(table):
        print(f"no results yet in {sanitize(folder)}", file=sys.stderr)
        return 1
    if parsed["all"]:
        rows, head = table.rows, table.columns
    else:
        rows, head = _medians(table)
        head = [name for name in head if not _is_said(name, rows, table.factors)]
    _print_table(
        [name.upper() for name in head],
        [[_shown(row.get(name)) for name in head] for row in rows],
    )
    return 0


def _medians(table: Table) -> tuple[list[dict[str, Any]], list[str]]:
    keys = [name for name in table.factors if name != experiment.REPETITION]
    if experiment.REPETITION not in table.columns:
        return table.rows, table.columns
    keys = keys or [
        name for name in table.columns
        if all(isinstance(row.get(name), str | None) for row in table.rows)
    ]  # fmt: skip
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    counts: dict[tuple[Any, ...], int] = {}
    for row in table.rows:
        key = tuple(row.get(name) for name in keys)
        merged.setdefault(key, {k: v for k, v in row.items() if k != experiment.REPETITION})
        counts[key] = counts.get(key, 0) + 1
        if row.get("verified") is False:
            merged[key]["verified"] = False
    for name in table.columns:
        if name not in (*keys, experiment.REPETITION):
            for key, one in spread(table.rows, keys, name).items():
                merged[key][name] = one.median
    for key, row in merged.items():
        row["runs"] = counts[key]
    head = [name for name in table.columns if name != experiment.REPETITION]
    return list(merged.values()), [*head, "runs"]


def _is_said(name: str, rows: Sequence[Mapping[str, Any]], factors: Sequence[str]) -> bool:
    """What NPB says of itself and a factor says, too, in every row: PROCESSES beside RANKS."""
    return name in ("npb_class", "processes") and any(
        all(_shown(row.get(name)).lower() == _shown(row.get(one)).lower() for row in rows)
        for one in factors
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else sanitize(str(value), MOST_SHOWN)


def plot(parsed: Parsed) -> int:
    from gshell.sweep import figures, plots, textplot

    folder, table, one = _results(parsed.words)
    if not len(table):
        raise UsageError(f"no results yet in {sanitize(folder)}", "gshell sweep status")
    said: Mapping[str, Any] = one.plot if one else {}
    layout = figures.layout(
        table, parsed["x"] or said.get("x"), parsed["lines"] or said.get("lines"),
        parsed["figures"] or said.get("figures"), parsed["value"] or said.get("values"),
    )  # fmt: skip
    if parsed["output"]:
        name = os.path.basename(os.path.abspath(folder))
        title = one.name if one else name.removesuffix(".csv").removesuffix(".jsonl")
        for path in parsed["output"]:
            for made in plots.write(layout, path, title):
                if not parsed["quiet"]:
                    print(sanitize(made))
        return 0
    size = shutil.get_terminal_size()
    plain = parsed["ascii"] or not _unicode()
    high = size.lines if sys.stdout.isatty() else None
    print(textplot.draw(layout, min(WIDEST, size.columns - 1), _colored(), plain, high))
    return 0


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _said(verb: Callable[[Parsed], int]) -> Callable[[Parsed], int]:
    """What the file system refuses is an error with a name, as all others."""

    def done(parsed: Parsed) -> int:
        try:
            return verb(parsed)
        except BrokenPipeError:
            raise
        except OSError as error:
            name = sanitize(os.fsdecode(error.filename)) + ": " if error.filename else ""
            raise UsageError(f"{name}{error.strerror or error}") from None

    return done


VERBS: dict[str, Callable[[Parsed], int]] = {
    "sweep run": _said(run), "sweep resume": _said(resume), "sweep status": _said(status),
    "sweep list": _said(list_), "sweep show": _said(show), "sweep plot": _said(plot),
}  # fmt: skip
