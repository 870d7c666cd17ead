"""The steps before the first point: each done once for a result directory, and again only if what
it is made of has changed."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gshell.errors import LaunchError
from gshell.model.sanitize import sanitize
from gshell.sweep.experiment import Experiment, Step, fill
from gshell.sweep.places import DIRECTORY, Here, Place
from gshell.sweep.process import ProcessBase
from gshell.sweep.results import read_output, replace
from gshell.sweep.space import HashableDict, unique_slug

FOLDER = "prepare"
SAID_LINES = 8


class Preparation:
    """Invariant: what has a mark in ``prepare/`` was done to its end, of what the mark says."""

    def __init__(
        self,
        experiment: Experiment,
        folder: str,
        start: Callable[[ProcessBase], None],
        tell: Callable[[str], None],
    ) -> None:
        """``start`` runs a process to its end; ``tell`` a line about what is done."""
        self._experiment = experiment
        self._folder = folder
        self._start = start
        self._tell = tell
        self._before = ""
        """Of all steps so far: one is done again if one before it is."""

    def do(self, places: Sequence[Place]) -> None:
        """All steps, in order.

        Raises:
            LaunchError: one fails; its log says why.
        """
        for step in self._experiment.steps:
            digests = [self._once(step, point, where) for point, where in self._cases(step, places)]
            self._before = hashlib.sha256("".join([self._before, *digests]).encode()).hexdigest()

    def _cases(
        self, step: Step, places: Sequence[Place]
    ) -> Iterator[tuple[HashableDict, Place | None]]:
        points = dict.fromkeys(
            HashableDict((name, point[name]) for name in step.each if name in point)
            for point in self._experiment.points
        )
        for point in points:
            for where in places if step.on == "hosts" else [None]:
                yield point, where

    def _once(self, step: Step, point: Mapping[str, Any], where: Place | None) -> str:
        names = {
            **dict.fromkeys(step.each),
            **point,
            "results": self._folder,
            "here": self._experiment.here,
        }
        command = fill(step.command, names)
        outputs = [self._path(fill(one, names)) for one in step.outputs]
        digest = self._digest(step, command, names)
        title = unique_slug({**point, **({"host": where.name} if where else {})})
        title = f"{step.name}-{title}" if point or where else step.name
        base = os.path.join(self._folder, FOLDER, title)
        if _mark(base) == digest and all(map(os.path.exists, outputs)):
            return digest
        os.makedirs(os.path.dirname(base), exist_ok=True)
        Path(base + ".json").unlink(missing_ok=True)
        Path(base + ".log").unlink(missing_ok=True)
        self._tell(f"prepare {title}")
        process = (where or Here("here", 1)).process(
            command, self._experiment.here, {**step.environment, DIRECTORY: self._folder},
            stdout_handlers=[base + ".log"], stderr_handlers=[base + ".log"],
            timeout=step.timeout, nolog_exit_code=True, nolog_timeout=True, nolog_error=True,
        )  # fmt: skip
        self._start(process)
        lacking = [one for one in outputs if not os.path.exists(one)]
        if not process.finished_ok or lacking or process.killed:
            raise LaunchError(
                f"preparation {title!r} {self._why(process, lacking)}\n{_said(base + '.log')}",
                f"less {base}.log",
            )
        replace(base + ".json", json.dumps({"digest": digest, "command": command}).encode())
        return digest

    def _why(self, process: ProcessBase, lacking: list[str]) -> str:
        if process.error:
            return f"cannot be started: {process.error_reason}"
        if process.timeouted:
            return f"was not over after {process.timeout:g} s"
        if process.exit_code:
            return f"ended with exit {process.exit_code}"
        if lacking:
            return f"left no {sanitize(lacking[0])}"
        return "was ended"

    def _path(self, text: str) -> str:
        return os.path.join(self._experiment.here, os.path.expanduser(text))

    def _digest(self, step: Step, command: str, names: Mapping[str, Any]) -> str:
        digest = hashlib.sha256(f"{self._before}\0{command}\0".encode())
        digest.update(json.dumps(dict(step.environment), sort_keys=True).encode())
        for pattern in step.inputs:
            found = sorted(glob.glob(self._path(fill(pattern, names)), recursive=True))
            if not found:
                raise LaunchError(f"preparation {step.name!r}: no file is {pattern}")
            for name in found:
                if os.path.isfile(name):
                    data = Path(name).read_bytes()
                    digest.update(f"{name}\0{len(data)}\0".encode("utf-8", "replace") + data)
        return digest.hexdigest()


def _mark(base: str) -> str:
    try:
        with open(base + ".json", encoding="utf-8") as file:
            return str(json.load(file)["digest"])
    except (OSError, ValueError, KeyError):
        return ""


def _said(log: str) -> str:
    try:
        lines = read_output(log).strip().splitlines()[-SAID_LINES:]
    except OSError:
        return ""
    return "\n".join("  " + sanitize(line, 200) for line in lines)
