"""An experiment as a file in TOML: what is varied, what is prepared, what is run where, what is
taken from its output. Runs nothing; EXPERIMENT.md describes the file.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gshell.errors import UsageError
from gshell.sweep import toml
from gshell.sweep.space import HashableDict, geom, igeom, slugify, sweep
from gshell.sweep.substitution import NotOurs, compute, names_of
from gshell.sweep.times import get_seconds

REPETITION = "repetition"
MOST_POINTS = 2_000_000
KINDS = ("here", "ssh", "agent", "oar", "slurm", "sge")
FORMATS = ("npb", "none")
TEXT, NUMBER, DURATION = (str,), (int, float), (int, float, str)
TOP = {
    "name": TEXT, "directory": TEXT, "repetitions": (int,), "order": TEXT, "seed": (int,),
    "when": (str, list), "factors": (dict,), "zip": (list,), "derived": (dict,),
    "prepare": (dict,), "run": (dict,), "where": (dict,), "results": (dict,), "plot": (dict,),
}  # fmt: skip
STEP = {
    "command": TEXT, "each": (list,), "inputs": (list,), "outputs": (list,), "timeout": DURATION,
    "on": TEXT, "environment": (dict,),
}  # fmt: skip
RUN = {
    "command": TEXT, "slots": (int, str), "timeout": DURATION, "attempts": (int,),
    "environment": (dict,),
}  # fmt: skip
WHERE = {
    "kind": TEXT, "slots": (int,), "hosts": (list,), "user": TEXT, "port": (int,),
    "keyfile": TEXT, "agents": (int,), "site": TEXT, "resources": TEXT, "walltime": DURATION,
    "queue": TEXT, "job_type": TEXT, "options": TEXT,
}  # fmt: skip
RESULTS = {"format": TEXT, "capture": (dict,), "verify": TEXT, "best": TEXT}
CAPTURE = {"regex": TEXT, "which": TEXT, "optional": (bool,)}
PLOT = {
    "x": TEXT, "lines": (str, list), "figures": (str, list), "values": (str, list),
}  # fmt: skip
RANGE = {"from": NUMBER, "to": NUMBER, "step": NUMBER, "times": NUMBER, "count": (int,)}
OURS = ("results", "here", "slug", "attempt", "host", "hosts", "slots")
"""Names in a command that are no factors."""
_FILL = re.compile(r"\{\{(\w+)\}\}|(\$?)\{(\w+)\}")


@dataclass(frozen=True)
class Step:
    """What is done once for a result directory before anything is run."""

    name: str
    command: str
    each: tuple[str, ...] = ()
    """Once for each combination of these factors' levels."""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    timeout: float | None = None
    on: str = "here"
    """``here``, or ``hosts``: on each of them."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HostSpec:
    """A host and how many slots it has."""

    address: str
    slots: int
    user: str | None = None
    port: int | None = None
    keyfile: str | None = None


@dataclass(frozen=True)
class Where:
    """Where points are run."""

    kind: str = "here"
    slots: int = 1
    hosts: tuple[HostSpec, ...] = ()
    agents: int = 1
    site: str | None = None
    resources: str = ""
    walltime: float | None = None
    queue: str | None = None
    job_type: str | None = None
    options: str | None = None


@dataclass(frozen=True)
class Capture:
    """What is taken from an output: the first group of ``regex``."""

    regex: re.Pattern[str]
    which: str = "last"
    optional: bool = False


@dataclass(frozen=True)
class Experiment:
    """All of a file. ``points`` are in the order in which they are to be done."""

    name: str
    text: str
    here: str
    """The file's directory: relative paths and commands begin there."""
    directory: str
    """Where it is run, a template."""
    factors: dict[str, list[Any]]
    points: list[HashableDict]
    derived: dict[str, str]
    steps: tuple[Step, ...]
    command: str
    environment: Mapping[str, str]
    slots: int | str
    timeout: float | None
    attempts: int
    where: Where
    format: str
    captures: Mapping[str, Capture]
    verify: str
    best: str
    plot: Mapping[str, Any]

    def names(self, point: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
        """What commands and expressions may speak of."""
        names: dict[str, Any] = {**ours, **point}
        for name, expression in self.derived.items():
            names[name] = value(expression, names, f"derived.{name}")
        return names

    def slots_of(self, point: Mapping[str, Any]) -> int:
        """How many of a place it takes while it runs."""
        if isinstance(self.slots, int):
            return self.slots
        return int(value(self.slots, self.names(point, {}), "run.slots"))


def value(expression: str, names: Mapping[str, Any], where: str) -> Any:
    """Raises: UsageError: it cannot be computed."""

    def look(name: str) -> Any:
        if name not in names:
            raise NameError(name)
        return names[name]

    try:
        return compute(expression, look)
    except NotOurs:
        raise UsageError(f"{where}: {expression!r} is no expression") from None
    except NameError as error:
        raise UsageError(f"{where}: {expression!r}: there is no {error.args[0]!r}") from None
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"{where}: {expression!r}: {error}") from None


def fill(text: str, names: Mapping[str, Any]) -> str:
    """``{name}`` filled in; ``{{name}}`` is ``{name}``, and a shell's ``${name}`` stays.

    Raises:
        KeyError: there is no such name.
    """

    def one(found: re.Match[str]) -> str:
        if found.group(1) is not None:
            return "{" + found.group(1) + "}"
        if found.group(2):
            return found.group(0)
        return str(names[found.group(3)])

    return _FILL.sub(one, text)


def load(
    path: str | os.PathLike[str], here: str | None = None, name: str | None = None
) -> Experiment:
    """The experiment that ``path`` describes. ``here``, ``name``: as if it were in that directory,
    and its file had that name.

    Raises:
        UsageError: it cannot be read, or it makes no sense; with file, line and key.
    """
    text, document = toml.read(path)
    place = os.path.dirname(os.path.abspath(path)) if here is None else here
    fallback = name or os.path.splitext(os.path.basename(os.fspath(path)))[0]
    return _Reader(document).experiment(text, place, fallback)


class _Reader:
    """One document, read once."""

    def __init__(self, document: toml.Document) -> None:
        self._document = document
        self._top = document.tables
        self._factors: dict[str, list[Any]] = {}

    def _wrong(self, path: toml.Path, words: str, hint: str | None = None) -> UsageError:
        return self._document.wrong(path, words, hint)

    def experiment(self, text: str, here: str, fallback: str) -> Experiment:
        self._document.check((), self._top, TOP)
        top = self._top
        name = slugify(top.get("name", fallback)) or "experiment"
        points = self._points()
        derived = self._derived()
        run = top.get("run", {})
        self._document.check(("run",), run, RUN)
        if "command" not in run:
            raise self._wrong(("run",), "run.command is missing: what is to be run?")
        known = [*self._factors, *derived]
        self._template(("run", "command"), run["command"], [*known, *OURS])
        slots = run.get("slots", 1)
        if isinstance(slots, str):
            self._expression(("run", "slots"), slots, known)
        elif slots < 1:
            raise self._wrong(("run", "slots"), "it should be 1 at least")
        attempts = run.get("attempts", 3)
        if attempts < 1:
            raise self._wrong(("run", "attempts"), "it should be 1 at least")
        directory = top.get("directory", "")
        captures = self._captures(known)
        kind = self._one_of(("results", "format"), "npb", FORMATS)
        from gshell.sweep.results import NPB_NAMES

        results = top.get("results", {})
        found = [*captures, *(NPB_NAMES if kind == "npb" else ())]
        verify = results.get("verify", "verified" if kind == "npb" else "")
        if verify:
            also = [f"{name}_found" for name in found if name in known]
            self._expression(("results", "verify"), verify, [*known, *found, *also])
        best = results.get("best", "max mops" if kind == "npb" else "")
        if best:
            direction, _, of = best.partition(" ")
            if direction not in ("min", "max") or of not in found:
                raise self._wrong(
                    ("results", "best"), f"{best!r} is not min or max and the name of a result",
                    f'best = "min {found[0] if found else "seconds"}"',
                )  # fmt: skip
        return Experiment(
            name=name, text=text, here=here, directory=directory, factors=self._factors,
            points=points, derived=derived, steps=tuple(self._steps(known)),
            command=run["command"], environment=self._environment(("run",), run), slots=slots,
            timeout=self._duration(("run", "timeout"), run.get("timeout")), attempts=attempts,
            where=self._where(known), format=kind, captures=captures, verify=verify, best=best,
            plot=self._plot([*known, *found]),
        )  # fmt: skip

    # ------------------------------------------------------------------------------- the space

    def _points(self) -> list[HashableDict]:
        top = self._top
        factors = self._levels(("factors",), top.get("factors", {}))
        zipped = [self._zipped(number, one) for number, one in enumerate(top.get("zip", ()))]
        if not factors and not zipped:
            raise self._wrong(("factors",), "nothing is varied: [factors] has no factor")
        rows: list[dict[str, Any]] = [{}]
        for one in zipped:
            rows = [{**row, **more} for row in rows for more in one]
            self._limit(len(rows))
        size = len(rows)
        for levels in factors.values():
            size *= max(1, len(levels))
        self._limit(size)
        crossed = sweep(factors) if factors else [HashableDict()]
        every = [{**row, **more} for row in rows for more in crossed]
        for row in every:
            for name, level in row.items():
                levels = self._factors.setdefault(name, [])
                if level not in levels:
                    levels.append(level)
        every = [row for row in every if all(test(row) for test in self._tests())]
        if not every:
            raise self._wrong(("when",), "no point is left: it is true for none of them")
        return self._in_order(every)

    def _limit(self, count: int) -> None:
        if count > MOST_POINTS:
            raise self._wrong(("factors",), f"{count} points are more than {MOST_POINTS}")

    def _in_order(self, rows: list[dict[str, Any]]) -> list[HashableDict]:
        """All points once, then all of them again: what changes with time meets each of them."""
        count = self._top.get("repetitions", 1)
        if count < 1:
            raise self._wrong(("repetitions",), "it should be 1 at least")
        order = self._one_of(("order",), "given", ("given", "random"))
        luck = random.Random(self._top.get("seed", 1))
        points = []
        for number in range(1, count + 1):
            block = list(rows)
            if order == "random":
                luck.shuffle(block)
            more = {REPETITION: number} if count > 1 else {}
            points += [HashableDict({**row, **more}) for row in block]
        if count > 1:
            self._factors[REPETITION] = list(range(1, count + 1))
        return list(dict.fromkeys(points))

    def _levels(self, path: toml.Path, table: Any) -> dict[str, Any]:
        """As `space.sweep` wants them."""
        if not isinstance(table, dict):
            raise self._wrong(path, "this is a table: [" + ".".join(path) + "]")
        factors: dict[str, Any] = {}
        for name, levels in table.items():
            at = (*path, name)
            self._factor_name(at, name)
            if isinstance(levels, dict) and "from" in levels:
                factors[name] = self._range(at, levels)
            elif isinstance(levels, dict):
                factors[name] = {
                    _level(level): self._levels((*at, level), below)
                    for level, below in levels.items()
                }
            else:
                factors[name] = levels if isinstance(levels, list) else [levels]
                for level in factors[name]:
                    if isinstance(level, dict | list):
                        raise self._wrong(at, "a level is text, a number, or true or false")
            if not factors[name]:
                raise self._wrong(at, "it has no levels: nothing would be left of the whole sweep")
        return factors

    def _factor_name(self, path: toml.Path, name: str) -> None:
        if not name.isidentifier():
            raise self._wrong(path, "a factor's name is a word: letters, digits and _")
        if name in OURS or name == REPETITION:
            raise self._wrong(path, f"{name!r} means something else already: another name, please")

    def _range(self, path: toml.Path, table: dict[str, Any]) -> list[Any]:
        self._document.check(path, table, RANGE)
        ways = [key for key in ("step", "times", "count") if key in table]
        if "to" not in table or len(ways) > 1:
            raise self._wrong(
                path, "a range has from, to, and at most one of step, times, count",
                "{ from = 1, to = 64, times = 2 }",
            )  # fmt: skip
        first, last = table["from"], table["to"]
        if "count" in table:
            whole = isinstance(first, int) and isinstance(last, int)
            if table["count"] < 1 or first <= 0 or last <= 0:
                raise self._wrong(path, "with count, from, to and count should be above 0")
            return (igeom if whole else geom)(first, last, table["count"])
        times = table.get("times")
        step = table.get("step", 1)
        if (times is not None and (times <= 1 or first <= 0)) or (times is None and step <= 0):
            raise self._wrong(path, "it would never come to its end")
        levels: list[Any] = []
        at = first
        while at <= last * (1 + 1e-12) if last > 0 else at <= last:
            levels.append(at)
            self._limit(len(levels))
            # Not by adding up: what is a little off would be more so with each step.
            at = first * times ** len(levels) if times is not None else first + step * len(levels)
        return levels

    def _zipped(self, number: int, table: Any) -> list[dict[str, Any]]:
        path = ("zip",)
        if not isinstance(table, dict) or not table:
            raise self._wrong(path, "each [[zip]] is a table of factors")
        columns = self._levels(path, table)
        lengths = {len(levels) for levels in columns.values()}
        if len(lengths) > 1 or any(isinstance(one, dict) for one in columns.values()):
            sizes = ", ".join(f"{name} has {len(levels)}" for name, levels in columns.items())
            raise self._wrong(path, f"factors that go together have as many levels each: {sizes}")
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _tests(self) -> Iterator[Callable[[Mapping[str, Any]], bool]]:
        whens = self._top.get("when", [])
        for expression in [whens] if isinstance(whens, str) else whens:
            if not isinstance(expression, str):
                raise self._wrong(("when",), "each is an expression, as text in quotes")
            wanted = self._expression(("when",), expression, self._factors)

            def test(
                row: Mapping[str, Any], expression: str = expression, wanted: set[str] = wanted
            ) -> bool:
                # A factor of a sub-space that this point is not in: not about it.
                return not wanted <= row.keys() or bool(value(expression, row, "when"))

            yield test

    # ------------------------------------------------------------------------------- the rest

    def _expression(self, path: toml.Path, text: str, known: Any) -> set[str]:
        try:
            wanted = names_of(text)
        except NotOurs:
            raise self._wrong(path, f"{text!r} is no expression") from None
        for name in sorted(wanted):
            if name not in known:
                raise self._no_name(path, name, known)
        return wanted

    def _no_name(self, path: toml.Path, name: str, known: Any, also: str = "") -> UsageError:
        near = toml.meant(name, known)
        return self._wrong(
            path, f"there is no {name!r}" + (f"; did you mean {near!r}?" if near else ""),
            "it may speak of " + ", ".join(known) + also,
        )  # fmt: skip

    def _template(self, path: toml.Path, text: str, known: Sequence[str]) -> None:
        for found in _FILL.finditer(text):
            name = found.group(3)
            if name and not found.group(2) and name not in known:
                also = f"; {{{{{name}}}}} is {{{name}}} as it stands"
                raise self._no_name(path, name, known, also)

    def _derived(self) -> dict[str, str]:
        derived: dict[str, str] = {}
        table = self._top.get("derived", {})
        for name, expression in table.items():
            path = ("derived", name)
            self._factor_name(path, name)
            if not isinstance(expression, str):
                raise self._wrong(path, "it is an expression, as text in quotes")
            self._expression(path, expression, [*self._factors, *derived])
            derived[name] = expression
        return derived

    def _one_of(self, path: toml.Path, fallback: str, known: Sequence[str]) -> str:
        table: Any = self._top
        for key in path:
            table = table.get(key, {})
        word: str = table or fallback
        if word not in known:
            near = toml.meant(word, known)
            raise self._wrong(
                path, f"{word!r} is not one of {', '.join(known)}"
                + (f"; did you mean {near!r}?" if near else ""),
            )  # fmt: skip
        return word

    def _duration(self, path: toml.Path, text: Any) -> float | None:
        try:
            return get_seconds(text)
        except UsageError:
            raise self._wrong(path, f"{text!r} is no duration: seconds, or 'h:m:s'") from None

    def _environment(self, path: toml.Path, table: Mapping[str, Any]) -> dict[str, str]:
        environment = table.get("environment", {})
        for name, text in environment.items():
            if not isinstance(text, str | int | float):
                raise self._wrong((*path, "environment", name), "it should be text")
        return {name: str(text) for name, text in environment.items()}

    def _texts(self, path: toml.Path, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        for text in table.get(key, ()):
            if not isinstance(text, str):
                raise self._wrong((*path, key), "it should be a list of texts in quotes")
        return tuple(table.get(key, ()))

    def _steps(self, known: Sequence[str]) -> Iterator[Step]:
        for name, table in self._top.get("prepare", {}).items():
            path = ("prepare", name)
            self._document.check(path, table, STEP)
            if "command" not in table:
                raise self._wrong(path, "its command is missing")
            each = self._texts(path, table, "each")
            for factor in each:
                if factor not in self._factors:
                    raise self._no_name((*path, "each"), factor, self._factors)
            for key in ("command", *(["outputs"] if "outputs" in table else ())):
                texts = [table[key]] if key == "command" else self._texts(path, table, key)
                for text in texts:
                    self._template((*path, key), text, [*each, "results", "here"])
            on = table.get("on", "here")
            if on not in ("here", "hosts"):
                raise self._wrong((*path, "on"), f"{on!r} is not one of here, hosts")
            yield Step(
                name, table["command"], each, self._texts(path, table, "inputs"),
                self._texts(path, table, "outputs"),
                self._duration((*path, "timeout"), table.get("timeout")), on,
                self._environment(path, table),
            )  # fmt: skip

    def _where(self, known: Sequence[str]) -> Where:
        table = self._top.get("where", {})
        path = ("where",)
        self._document.check(path, table, WHERE)
        kind = self._one_of(("where", "kind"), "ssh" if "hosts" in table else "here", KINDS)
        slots = table.get("slots", 1)
        for key in ("slots", "agents"):
            if table.get(key, 1) < 1:
                raise self._wrong((*path, key), "it should be 1 at least")
        if (kind == "ssh") != ("hosts" in table):
            raise self._wrong(path, "hosts go with kind = 'ssh', and that needs them")
        if kind in ("oar", "slurm", "sge"):
            self._template((*path, "resources"), table.get("resources", ""), [*known])
            self._template((*path, "site"), table.get("site", ""), [*known])
        return Where(
            kind, slots, tuple(self._hosts(table, slots)), table.get("agents", 1),
            table.get("site"), table.get("resources", ""),
            self._duration((*path, "walltime"), table.get("walltime")), table.get("queue"),
            table.get("job_type"), table.get("options"),
        )  # fmt: skip

    def _hosts(self, table: Mapping[str, Any], slots: int) -> Iterator[HostSpec]:
        path = ("where", "hosts")
        keys = {"address": TEXT, "slots": (int,), "user": TEXT, "port": (int,), "keyfile": TEXT}
        for one in table.get("hosts", ()):
            more = one if isinstance(one, dict) else _host(one)
            if more is None:
                raise self._wrong(path, f'{one!r} is no host: "user@address:port"')
            self._document.check(path, more, keys)
            if "address" not in more:
                raise self._wrong(path, "its address is missing")
            got = {key: table.get(key) for key in ("user", "port", "keyfile")} | more
            yield HostSpec(
                got["address"], got.get("slots", slots), got["user"], got["port"], got["keyfile"]
            )

    def _captures(self, known: Sequence[str]) -> dict[str, Capture]:
        table = self._top.get("results", {})
        self._document.check(("results",), table, RESULTS)
        captures = {}
        for name, one in table.get("capture", {}).items():
            path = ("results", "capture", name)
            if not name.isidentifier() or name in known:
                raise self._wrong(path, "a result's name is a word, and no factor's")
            more: dict[str, Any] = {"regex": one} if isinstance(one, str) else one
            self._document.check(path, more, CAPTURE)
            which = more.get("which", "last")
            if which not in ("first", "last", "min", "max", "sum", "mean", "count"):
                raise self._wrong((*path, "which"), f"{which!r} is not one of first, last, min, "
                                  "max, sum, mean, count")  # fmt: skip
            try:
                regex = re.compile(more.get("regex", ""), re.MULTILINE)
            except re.error as error:
                raise self._wrong(path, f"{more['regex']!r}: {error}") from None
            if regex.groups != 1:
                raise self._wrong(path, "it should have one group: what is in ( ) is the result")
            captures[name] = Capture(regex, which, more.get("optional", False))
        return captures

    def _plot(self, known: Sequence[str]) -> dict[str, Any]:
        table = self._top.get("plot", {})
        self._document.check(("plot",), table, PLOT)
        for key, names in table.items():
            for name in [names] if isinstance(names, str) else names:
                if name not in [*known, "speedup", "efficiency"]:
                    raise self._no_name(("plot", key), str(name), known)
        return dict(table)


def _level(text: str) -> Any:
    """A key of TOML is always text; one that is a number was meant as that."""
    return int(text) if re.fullmatch(r"-?(0|[1-9]\d*)", text) else text


def _host(text: Any) -> dict[str, Any] | None:
    found = re.fullmatch(
        r"(?:([^@:\s]+)@)?(\[[0-9a-fA-F:.]+\]|[^@:\s\[\]-][^@:\s\[\]]*)(?::(\d+))?", str(text)
    )
    if found is None:
        return None
    more: dict[str, Any] = {"address": found.group(2).strip("[]")}
    if found.group(1):
        more["user"] = found.group(1)
    if found.group(3):
        more["port"] = int(found.group(3))
    return more
