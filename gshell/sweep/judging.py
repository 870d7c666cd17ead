"""Whether a point is done, by what its command has printed and how it ended; and what it found."""

from __future__ import annotations

from typing import Any

from gshell.errors import UsageError
from gshell.model.sanitize import sanitize
from gshell.sweep.experiment import Experiment, value
from gshell.sweep.places import NO_DIRECTORY
from gshell.sweep.process import ProcessBase
from gshell.sweep.results import extract, is_number, read_output, row_of
from gshell.sweep.space import HashableDict

SAID = 160  # columns of a program's last words in a reason


def judge(
    experiment: Experiment, point: HashableDict, process: ProcessBase, base: str
) -> tuple[dict[str, Any], str]:
    """Its results, and why it is not done; empty: it is. A status of 0 is not enough."""
    if process.error:
        return {}, f"cannot be started: {process.error_reason}"
    try:
        text = read_output(base + ".out.part")
    except OSError:
        text = ""
    found = extract(text, experiment.format, experiment.captures)
    lost = next((one.failed for one in process.guarded if one.failed), None)
    if lost is not None:
        return found, f"its output could not be kept: {getattr(lost, 'strerror', lost)}"
    if process.timeouted:
        return found, f"not over after {process.timeout:g} s"
    if process.killed:
        return found, "ended by hand"
    if process.exit_code:
        code = process.exit_code
        said = _last_words(base)
        if code == NO_DIRECTORY and not text:
            return found, f"exit {code}: no such directory{said}"
        return found, f"exit {code}{said}"
    lacking = [
        name for name, capture in experiment.captures.items()
        if name not in found and not capture.optional
    ]  # fmt: skip
    if lacking:
        return found, f"no {lacking[0]} in its output{_last_words(base)}"
    if experiment.verify:
        names = row_of(experiment.names(point, {}), found)
        try:
            if not value(experiment.verify, names, "results.verify"):
                return found, f"not verified: {experiment.verify} is not true"
        except UsageError as error:
            return found, f"not verified: {error}"
    return found, ""


def _last_words(base: str) -> str:
    for ending in (".err.part", ".out.part"):
        try:
            lines = read_output(base + ending).strip().splitlines()
        except OSError:
            continue
        if lines:
            return ": " + sanitize(lines[-1].strip(), SAID)
    return ""


def shown(experiment: Experiment, found: dict[str, Any], seconds: float) -> str:
    words = [f"{seconds:.1f} s"]
    wanted = experiment.best.partition(" ")[2]
    if is_number(found.get(wanted)):
        words.append(f"{wanted} {found[wanted]:g}")
    return ", ".join(words)
