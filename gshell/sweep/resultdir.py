"""A result directory of an experiment's file: made, found, looked at; who was left there.
Runs nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep import definition
from gshell.sweep.attempts import History, Log, Progress, is_worked_on, progress
from gshell.sweep.experiment import Experiment
from gshell.sweep.places import DIRECTORY
from gshell.sweep.proctree import signal_tree
from gshell.sweep.results import Table, replace, row_of

DEFINITION = "experiment.toml"
ORIGIN = "origin.json"


def make(experiment: Experiment, folder: str, source: str) -> None:
    """Of a new run: with the experiment as it is now."""
    os.makedirs(folder, exist_ok=True)
    replace(os.path.join(folder, DEFINITION), experiment.text.encode())
    origin = {"file": os.path.abspath(source), "here": experiment.here, "name": experiment.name}
    replace(os.path.join(folder, ORIGIN), json.dumps(origin).encode())


def experiment_of(folder: str) -> Experiment:
    """The experiment that was begun there.

    Raises:
        UsageError: none was.
    """
    try:
        with open(os.path.join(folder, ORIGIN), encoding="utf-8") as file:
            origin = json.load(file)
            here, name = origin["here"], origin["name"]
    except (OSError, ValueError, KeyError):
        raise UsageError(
            f"{sanitize(folder)} is no result directory of gshell sweep run",
            "gshell sweep run FILE   makes one; gshell sweep list   shows them",
        ) from None
    return definition.load(os.path.join(folder, DEFINITION), here, name)


def changed_since(folder: str, experiment: Experiment) -> str:
    """The file that ``folder`` was made of, if it is another one by now; else empty."""
    try:
        source = str(json.loads(Path(folder, ORIGIN).read_text(encoding="utf-8"))["file"])
        text = Path(source).read_text(encoding="utf-8-sig")
    except (OSError, ValueError, KeyError):
        return ""
    return source if text != experiment.text else ""


def look(folder: str, experiment: Experiment | None = None) -> Progress:
    """How far it is, whoever works on it; changes nothing."""
    one = experiment or experiment_of(folder)
    live = is_worked_on(folder)
    history = History(Log(folder))
    return progress(
        one.points, history, one.attempts, time.time(), live, side_by_side(one), one.best
    )


def side_by_side(experiment: Experiment) -> float:
    where = experiment.where
    slots = sum(host.slots for host in where.hosts) if where.kind == "ssh" else where.slots
    each = max(1, experiment.slots_of(experiment.points[0]))
    return max(1.0, slots * (where.agents if where.kind == "agent" else 1) / each)


def table_of(folder: str, experiment: Experiment | None = None) -> Table:
    """The results so far, in the order of the points."""
    one = experiment or experiment_of(folder)
    history = History(Log(folder))
    rows = []
    for point in one.points:
        known = history.of(point)
        if known.state == "done":
            rows.append(row_of(point, known.found))
    return Table(rows, one.factors)


def end_strays(folder: str) -> None:
    """What an earlier run of ``folder`` left behind when it was killed, if its guardian was too."""
    mark = f"{DIRECTORY}={folder}".encode()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                marked = mark in file.read().split(b"\0")
        except OSError:
            continue
        if marked:
            signal_tree(int(name), signal.SIGKILL)
