"""The verb ``replay``: a script, parameters and a target to verdicts and an exit status."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gshell.cast import typescript
from gshell.cli import replaytarget
from gshell.cli.options import Parsed
from gshell.cli.replayshow import Show
from gshell.errors import GshellError, UsageError
from gshell.model.sanitize import sanitize
from gshell.net.loop import Loop
from gshell.replay import (
    fromcast,
    gst,
    gstwrite,
    judge,
    learn,
    likely,
    masks,
    matching,
    report,
    tape,
)
from gshell.replay.engine import Engine, Happening, Outcome
from gshell.replay.script import Script, ScriptError, Seen, Step, Verdict
from gshell.replay.targets import SIZE

LEARN_RUNS = 3
COMMAND_WIDTH = 200  # shown of what was recorded
DIFFERS, BAD, TIMED_OUT, NOT_STARTED, LOST = 1, 2, 124, 125, 255


class Played(NamedTuple):
    """One run."""

    values: dict[str, str]
    """Parameters, then captures."""
    params: dict[str, str]
    verdicts: list[Verdict]
    outcome: Outcome
    happenings: list[Happening]

    def run(self, script: Script) -> report.Run:
        """As reports have it."""
        error = self.outcome.error
        trouble = error.message if error is not None else "".join(self.outcome.trouble[:1])
        return report.Run(
            script, tuple(self.verdicts), tuple(self.params.items()), self.outcome.elapsed_s,
            "", self.outcome.status, trouble,
        )  # fmt: skip

    @property
    def timed_out(self) -> bool:
        return any(verdict.seen.timed_out for verdict in self.verdicts)

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def status(self) -> int:
        error = self.outcome.error
        if error is not None:
            began = any(one.code == "o" for one in self.happenings)
            return LOST if began else NOT_STARTED
        if self.outcome.late:
            return TIMED_OUT
        return 0 if all(verdict.ok for verdict in self.verdicts) else DIFFERS


def replay(parsed: Parsed) -> int:
    """The exit status.

    Raises:
        GshellError: the script or the command line is wrong, or a file cannot be written.
    """
    from gshell.cli.launch import surroundings

    name = parsed.words[0]
    script = read(name)
    for warning in script.warnings:
        _note(parsed, f"{name}: {warning}")
    recorded = not any(step.line for step in script.steps)  # and nobody has looked at it since
    if recorded and not parsed["exact"] and not parsed["learn"]:
        script, count = likely.loosened(script)
        if count:
            lines = f"{count} line{'s' * (count > 1)}"
            what = f"times, rates, ids, 9th digits may differ in {lines}"
            _note(parsed, f"{name}: {what} (not: --exact)")
    if not script.steps:
        raise ScriptError(f"{name}: nothing is typed in it", hint="gshell rec -I FILE records it")
    _check(parsed, script, name)
    combinations = list(_combinations(parsed, script))
    make = replaytarget.chosen(parsed, surroundings(), combinations[0], script.command)
    if script.command and len(parsed.words) == 1:
        _note(parsed, f"{name}: what is started is: {sanitize(script.command, COMMAND_WIDTH)}")
    secrets = _Secrets(parsed["secrets"])
    runs = parsed["runs"] or (LEARN_RUNS if parsed["learn"] else 1)
    played: list[Played] = []
    several = len(combinations) * runs > 1
    show = Show(script, parsed, several)
    for params in combinations:
        for number in range(runs):
            show.run_begins(params, number, runs)
            one = _play(parsed, script, params, make, secrets, show)
            show.run_ended(one.verdicts, one.outcome, one.status)
            played.append(one)
            if one.status >= TIMED_OUT and runs > 1:
                break
    status = max(one.status for one in played)
    if parsed["learn"]:
        status = _learn(parsed, script, name, played)
        show.written = name if parsed["in_place"] else parsed["write"]
    elif parsed["write"]:
        _write(parsed["write"], gstwrite.write(script))
    _files(parsed, script, name, played, show)
    show.end(played, status)
    return status


# --------------------------------------------------------------------------------------- the script


def read(name: str) -> Script:
    """A script in whatever form.

    Raises:
        UsageError: there is no such file, or it is none.
    """
    try:
        with open(name, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}", hint="gshell help replay") from None
    base = os.path.basename(name)
    if name.endswith(".tape"):
        return tape.read(_text(data, name), base, lambda other: _beside(name, other))
    if name.endswith(".gst") or not (
        name.endswith((".cast", ".json", ".gz", ".zst", ".ttyrec"))
        or data.startswith((b"{", b"\x1f", typescript.STARTED))
    ):
        return gst.read(_text(data, name), base)
    from gshell.cast import files  # most scripts are none

    if data.startswith(typescript.STARTED) and not files.find_timing(name):
        raise UsageError(
            f"{name}: the timing of this typescript is not beside it",
            hint=f"gshell cast convert {name} x.cast --timing FILE",
        )
    loaded = files.read_file(name)
    script = fromcast.script(loaded.cast, base)
    return script._replace(warnings=(*script.warnings, *map(sanitize, loaded.warnings)))


def _beside(name: str, other: str) -> str:
    """The tape that another one names: from where we are, as VHS takes it, or beside that one."""
    if not os.path.exists(other):
        other = os.path.join(os.path.dirname(name), other)
    with open(other, encoding="utf-8") as file:
        return file.read()


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ScriptError(f"{name}:{line}:1: this is no text in UTF-8") from None


def _check(parsed: Parsed, script: Script, name: str) -> None:
    declared = [param for param, _ in script.params]
    named = [param for param, _ in parsed["define"]]
    named += [param for one in (parsed["matrix"] or [])[:1] for param in one]
    for param in named:
        if param not in declared:
            known = ", ".join(declared) or "none"
            raise UsageError(
                f"{name} has no parameter {param} (declared: {known})", hint=f"@param {param}=..."
            )
    if parsed["in_place"] and not (parsed["learn"] and name.endswith(".gst")):
        raise UsageError("--in-place is for --learn of a .gst", hint="--write FILE.gst")
    if parsed["learn"] and not (parsed["in_place"] or parsed["write"]):
        raise UsageError("--learn into which file?", hint="--in-place    or    --write FILE.gst")
    if parsed["learn"] and parsed["matrix"]:
        raise UsageError("--learn takes one set of parameters", hint="-D N=4")
    if parsed["write"] and os.path.exists(parsed["write"]) and parsed["write"] != name:
        raise UsageError(f"{parsed['write']} is there already", hint="another name")
    if parsed["blind"] and all(step.wait.at_s is None for step in script.steps):
        raise UsageError(f"--blind: {name} has no times", hint="a .cast has, or @at in a .gst")


def _combinations(parsed: Parsed, script: Script) -> Iterator[dict[str, str]]:
    values = {**dict(script.params), **dict(parsed["define"])}
    for chosen in parsed["matrix"] or [{}]:
        yield {**values, **chosen}


# ------------------------------------------------------------------------------------------- a run


class _Watcher:
    """Judges as it goes, so that what was captured can be typed."""

    def __init__(
        self,
        script: Script,
        values: dict[str, str],
        secret: Callable[[int], str],
        show: Show,
        stops: bool,
    ) -> None:
        self.values = dict(values)
        self.verdicts: list[Verdict] = []
        self._script = script
        self.secret = secret
        self._show = show
        self._stops = stops

    def resolve(self, text: str) -> str:
        return masks.expanded(text, self.values)

    def stands(self, prompt: str, line: str) -> bool:
        return matching.stands(prompt, line, self.values)

    def begins(self, step: Step) -> None:
        self._show.begins(step)

    def waits(self, step: Step, wants: str, since_s: float) -> None:
        self._show.waits(step, wants, since_s)

    def seen(self, step: Step, seen: Seen) -> bool:
        verdict = judge.judge(step, seen, self.values)
        self.values.update(verdict.captures)
        self.verdicts.append(verdict)
        self._show.judged(verdict)
        return verdict.ok or not self._stops


def _play(
    parsed: Parsed,
    script: Script,
    params: dict[str, str],
    make: replaytarget.Make,
    secrets: _Secrets,
    show: Show,
) -> Played:
    loop = Loop()
    watcher = _Watcher(script, params, secrets.get, show, bool(parsed["exitfirst"]))
    try:
        target = make(loop, script, params)
        engine = Engine(
            script, target, watcher, bool(parsed["blind"]), parsed["timeout"], script.size or SIZE
        )
        try:
            outcome = engine.play()
        except BaseException:
            target.close()
            raise
    finally:
        loop.close()
    if script.status is not None and outcome.status is not None and watcher.verdicts:
        last = watcher.verdicts[-1]
        if last.step.status is None:
            _judge_end(script, watcher, outcome.status)
    return Played(watcher.values, params, watcher.verdicts, outcome, engine.happenings)


def _judge_end(script: Script, watcher: _Watcher, status: int) -> None:
    """The whole program's exit status, where the script knows it."""
    from gshell.replay.script import Difference

    if status == script.status:
        return
    last = watcher.verdicts[-1]
    differs = Difference("status", 0, f"[{script.status}]", f"[{status}]")
    watcher.verdicts[-1] = last._replace(
        differences=(*last.differences, differs),
        diff=(*last.diff, f"-[{script.status}]  of the whole", f"+[{status}]"),
    )


class _Secrets:
    """What is not stored in a script."""

    def __init__(self, source: str | None) -> None:
        self._lines = _secret_lines(source) if source else None
        self._asked: dict[int, str] = {}

    def get(self, number: int) -> str:
        """
        Raises:
            UsageError: there is none, and nobody to ask.
        """
        if self._lines is not None:
            if number > len(self._lines):
                raise UsageError(f"--secrets has {len(self._lines)} lines, and no secret {number}")
            return self._lines[number - 1]
        if number not in self._asked:
            if not sys.stdin.isatty():
                raise UsageError(f"(secret {number}) is typed there", hint="--secrets FILE")
            import getpass

            self._asked[number] = getpass.getpass(f"secret {number}: ")
        return self._asked[number]


def _secret_lines(source: str) -> list[str]:
    import stat

    try:
        if source.isdigit():
            with open(int(source), closefd=False) as file:
                return file.read().splitlines()
        with open(source) as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise UsageError(f"{source} can be read by others", hint=f"chmod 600 {source}")
            return file.read().splitlines()
    except OSError as error:
        raise UsageError(f"--secrets {source}: {error.strerror}") from None


# ------------------------------------------------------------------------------------------- files


def _learn(parsed: Parsed, script: Script, name: str, played: list[Played]) -> int:
    runs = [one for one in played if not one.timed_out and one.outcome.error is None]
    if len(runs) < 2:
        print("gshell: nothing was learnt: fewer than two runs went through", file=sys.stderr)
        return max(one.status for one in played)
    before = _text_of(name) if name.endswith(".gst") else None
    seen = [[verdict.seen for verdict in one.verdicts] for one in runs]
    text = learn.learn(script, seen, before)
    _write(name if parsed["in_place"] else parsed["write"], text)
    return 0


def _text_of(name: str) -> str:
    with open(name, encoding="utf-8") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    """Whole, or not at all."""
    try:
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)
    except OSError as error:
        raise GshellError(f"{path}: {error.strerror}") from None


def _files(parsed: Parsed, script: Script, name: str, played: list[Played], show: Show) -> None:
    if parsed["junit"] or parsed["csv"]:
        runs = [one.run(script) for one in played]
        if parsed["junit"]:
            _write(parsed["junit"], report.junit(runs))
        if parsed["csv"]:
            text = report.csv(runs)
            if parsed["csv"] == "-":
                sys.stdout.write(text)
            else:
                _write(parsed["csv"], text)
    if parsed["no_cast"] or (parsed["learn"] and not parsed["cast"]):
        return
    bad = [one for one in played if not one.ok]
    if parsed["cast"] or bad:
        which = bad[0] if bad else played[-1]
        day = time.strftime("%Y%m%d")
        path = parsed["cast"] or f"{os.path.basename(name)}.{day}.cast"
        try:
            _cast(path, script, which)
            show.cast = path
        except OSError as error:
            _note(parsed, f"the run is not recorded: {path}: {error.strerror}")


def _cast(path: str, script: Script, played: Played) -> None:
    """Asciicast v2 of the run."""
    import codecs

    columns, rows = script.size or SIZE
    decoders = {code: codecs.getincrementaldecoder("utf-8")("replace") for code in "oei"}
    head = {
        "version": 2, "width": columns, "height": rows, "timestamp": int(time.time()),
        "title": f"replay of {script.name}",
    }  # fmt: skip
    opener = lambda name, flags: os.open(name, flags, 0o600)
    with open(path, "w", encoding="utf-8", opener=opener) as file:
        file.write(json.dumps(head) + "\n")
        for one in played.happenings:
            decoder = decoders.get(one.code)
            text = decoder.decode(one.data) if decoder else one.data.decode(errors="replace")
            if text:
                file.write(json.dumps([round(one.at_s, 6), one.code, text]) + "\n")
        if played.outcome.status is not None:
            ended = [round(played.outcome.elapsed_s, 6), "x", str(played.outcome.status)]
            file.write(json.dumps(ended) + "\n")


def _note(parsed: Parsed, text: str) -> None:
    if not parsed["quiet"]:
        print(f"gshell: {text}", file=sys.stderr)


VERBS: dict[str, Callable[[Parsed], Any]] = {"replay": replay}
