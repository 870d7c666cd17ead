"""An experiment's file, read: every mistake in it is said before anything is run, with its file,
line and key. EXPERIMENT.md describes the file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gshell.errors import UsageError
from gshell.sweep import factors as spaces
from gshell.sweep import toml
from gshell.sweep.experiment import (
    FILL,
    KINDS,
    OURS,
    Capture,
    Experiment,
    HostSpec,
    Step,
    Where,
)
from gshell.sweep.factors import computed, expression, no_name, one_of
from gshell.sweep.results import NPB_NAMES
from gshell.sweep.space import HashableDict, slugify
from gshell.sweep.times import get_seconds

FORMATS = ("npb", "none")
WHICH = ("first", "last", "min", "max", "sum", "mean", "count")
TEXT, DURATION = (str,), (int, float, str)
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
BATCH = ("oar", "slurm", "sge")
GOES_WITH = {
    **dict.fromkeys(("hosts", "user", "port", "keyfile"), ("ssh",)), "agents": ("agent",),
    **dict.fromkeys(("site", "resources", "walltime", "queue", "job_type", "options"), BATCH),
}  # fmt: skip
RESULTS = {"format": TEXT, "capture": (dict,), "verify": TEXT, "best": TEXT}
CAPTURE = {"regex": TEXT, "which": TEXT, "optional": (bool,)}
PLOT = {
    "x": TEXT, "lines": (str, list), "figures": (str, list), "values": (str, list),
}  # fmt: skip


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
        self._wrong = document.wrong
        self._top = document.tables
        self._factors: dict[str, list[Any]] = {}

    def experiment(self, text: str, here: str, fallback: str) -> Experiment:
        self._document.check((), self._top, TOP)
        self._no_nul((), self._top)
        top = self._top
        name = slugify(top.get("name", fallback)) or "experiment"
        self._factors, points = spaces.read(self._document)
        derived = self._derived()
        run = top.get("run", {})
        self._document.check(("run",), run, RUN)
        if not run.get("command", "").strip():
            raise self._wrong(
                ("run",), "run.command is missing: what is to be run?",
                "[run]  command = './program {" + next(iter(self._factors)) + "}'",
            )  # fmt: skip
        known = [*self._factors, *derived]
        self._template(("run", "command"), run["command"], [*known, *OURS])
        self._template(("directory",), top.get("directory", ""), [*known, *OURS])
        slots = run.get("slots", 1)
        if isinstance(slots, str):
            expression(self._document, ("run", "slots"), slots, known)
        elif slots < 1:
            raise self._wrong(("run", "slots"), "it should be 1 at least")
        attempts = run.get("attempts", 3)
        if attempts < 1:
            raise self._wrong(("run", "attempts"), "it should be 1 at least")
        self._computable(points, derived, slots)
        captures = self._captures(known)
        kind = one_of(self._document, ("results", "format"), "npb", FORMATS)
        results = top.get("results", {})
        found = [*captures, *(NPB_NAMES if kind == "npb" else ())]
        verify = results.get("verify", "verified" if kind == "npb" else "")
        if verify:
            also = [f"{name}_found" for name in found if name in known]
            expression(self._document, ("results", "verify"), verify, [*known, *found, *also])
        best = results.get("best", "max mops" if kind == "npb" else "")
        if best:
            direction, _, of = best.partition(" ")
            if direction not in ("min", "max") or of not in found:
                raise self._wrong(
                    ("results", "best"), f"{best!r} is not min or max and the name of a result",
                    f'best = "min {found[0] if found else "seconds"}"',
                )  # fmt: skip
        return Experiment(
            name=name, text=text, here=here, directory=top.get("directory", ""),
            factors=self._factors, points=points, derived=derived,
            steps=tuple(self._steps()), command=run["command"],
            environment=self._environment(("run",), run, [*known, *OURS]), slots=slots,
            timeout=self._duration(("run", "timeout"), run.get("timeout")), attempts=attempts,
            where=self._where(known), format=kind, captures=captures, verify=verify, best=best,
            plot=self._plot([*known, *found]),
        )  # fmt: skip

    def _no_nul(self, path: toml.Path, value: Any) -> None:
        """No command, file or variable can have one."""
        if isinstance(value, dict):
            for key, inner in value.items():
                self._no_nul((*path, key), inner)
        elif isinstance(value, list):
            for inner in value:
                self._no_nul(path, inner)
        elif isinstance(value, str) and "\0" in value:
            raise self._wrong(path, "a text has a NUL in it, which no command can be given")

    def _template(self, path: toml.Path, text: str, known: Sequence[str]) -> None:
        for found in FILL.finditer(text):
            name = found.group(3)
            if name and not found.group(2) and name not in known:
                also = f"; {{{{{name}}}}} is {{{name}}} as it stands"
                raise no_name(self._document, path, name, known, also)

    def _derived(self) -> dict[str, str]:
        derived: dict[str, str] = {}
        for name, text in self._top.get("derived", {}).items():
            path = ("derived", name)
            spaces.factor_name(self._document, path, name)
            if name in self._factors:
                raise self._wrong(path, f"{name!r} is a factor already: another name, please")
            if not isinstance(text, str):
                raise self._wrong(path, "it is an expression, as text in quotes")
            expression(self._document, path, text, [*self._factors, *derived])
            derived[name] = text
        return derived

    def _computable(
        self, points: Iterable[HashableDict], derived: Mapping[str, str], slots: int | str
    ) -> None:
        """What is computed for each point can be, for all of them: better known now."""
        texts = {("derived", name): text for name, text in derived.items()}
        if isinstance(slots, str):
            texts["run", "slots"] = slots
        if not texts:
            return
        spoken: set[str] = set()
        for path, text in texts.items():
            spoken |= expression(self._document, path, text, [*self._factors, *derived])
        wanted = [name for name in self._factors if name in spoken]
        made: Any = None
        for levels in dict.fromkeys(tuple(map(point.get, wanted)) for point in points):
            names: dict[str, Any] = dict(zip(wanted, levels, strict=True))
            for path, text in texts.items():
                names[path[1]] = made = computed(self._document, path, text, names)
            if isinstance(slots, str) and (isinstance(made, str) or not made or int(made) < 1):
                where = ", ".join(f"{name} = {names[name]!r}" for name in wanted)
                raise self._wrong(
                    ("run", "slots"), f"it is {made!r} for {where}: it should be 1 at least"
                )

    def _duration(self, path: toml.Path, text: Any) -> float | None:
        try:
            seconds = get_seconds(text)
        except UsageError:
            raise self._wrong(
                path, f"{text!r} is no duration: seconds, or 'h:m:s'", "'10:00' is ten minutes"
            ) from None
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise self._wrong(
                path, f"{text!r}: it should be above 0", "leave it out, and there is no limit"
            )
        return seconds

    def _environment(
        self, path: toml.Path, table: Mapping[str, Any], known: Sequence[str] | None = None
    ) -> dict[str, str]:
        environment = table.get("environment", {})
        for name, text in environment.items():
            at = (*path, "environment", name)
            if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                raise self._wrong(at, "a variable's name is a word: letters, digits and _")
            if not isinstance(text, str | int | float):
                raise self._wrong(at, "it should be text")
            if known is not None:
                self._template(at, str(text), known)
        return {name: str(text) for name, text in environment.items()}

    def _texts(self, path: toml.Path, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
        for text in table.get(key, ()):
            if not isinstance(text, str):
                raise self._wrong((*path, key), "it should be a list of texts in quotes")
        return tuple(table.get(key, ()))

    def _steps(self) -> Iterator[Step]:
        for name, table in self._top.get("prepare", {}).items():
            path = ("prepare", name)
            if not re.fullmatch(r"\w[\w.-]*", name):
                raise self._wrong(path, "a step's name is a word: files are called after it")
            self._document.check(path, table, STEP)
            if not table.get("command", "").strip():
                raise self._wrong(path, "its command is missing")
            each = self._texts(path, table, "each")
            for factor in each:
                if factor not in self._factors:
                    raise no_name(self._document, (*path, "each"), factor, self._factors)
            for key in ("command", "inputs", "outputs"):
                for text in [table[key]] if key == "command" else self._texts(path, table, key):
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
        kind = one_of(
            self._document, ("where", "kind"), "ssh" if "hosts" in table else "here", KINDS
        )
        slots = table.get("slots", 1)
        for key in ("slots", "agents"):
            if table.get(key, 1) < 1:
                raise self._wrong((*path, key), "it should be 1 at least")
        if (kind == "ssh") != bool(table.get("hosts")):
            raise self._wrong(path, "hosts go with kind = 'ssh', and that needs them")
        for key in table:
            if kind not in GOES_WITH.get(key, KINDS):
                kinds = " or ".join(f"'{one}'" for one in GOES_WITH[key])
                raise self._wrong((*path, key), f"it goes with kind = {kinds}, not '{kind}'")
        for key in ("resources", "site"):
            self._template((*path, key), table.get(key, ""), [*known])
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
            spec = HostSpec(
                got["address"], got.get("slots", slots), got["user"], got["port"], got["keyfile"]
            )
            if not spec.address or spec.address.startswith("-") or " " in spec.address:
                raise self._wrong(path, f"{spec.address!r} is no host's address")
            if spec.slots < 1:
                raise self._wrong(path, f"the slots of {spec.address} should be 1 at least")
            if spec.port is not None and not 0 < spec.port < 65536:
                raise self._wrong(path, f"{spec.port} is no port")
            yield spec

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
            if which not in WHICH:
                raise self._wrong((*path, "which"), f"{which!r} is not one of {', '.join(WHICH)}")
            try:
                regex = re.compile(more.get("regex", ""), re.MULTILINE)
            except (re.error, OverflowError, RecursionError) as error:
                raise self._wrong(path, f"{more['regex']!r}: {error}") from None
            if regex.groups != 1:
                raise self._wrong(
                    path, "it should have one group: what is in ( ) is the result",
                    "(?: ) is a group that does not count",
                )  # fmt: skip
            captures[name] = Capture(regex, which, more.get("optional", False))
        return captures

    def _plot(self, known: Sequence[str]) -> dict[str, Any]:
        table = self._top.get("plot", {})
        self._document.check(("plot",), table, PLOT)
        for key, names in table.items():
            for name in [names] if isinstance(names, str) else names:
                if name not in [*known, "speedup", "efficiency"]:
                    raise no_name(self._document, ("plot", key), str(name), known)
        return dict(table)


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
