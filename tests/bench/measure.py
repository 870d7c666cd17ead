"""Interleaved measuring: contestants take turns within one run, and medians are compared.

Knows nothing of gshell, of ssh or of what is measured. A contestant's turn returns a `Sample`, one
figure per quantity; a turn that went wrong raises `Failed`, and that contestant is out: its rows
say so, and no figure of it is shown.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Sample = dict[str, float]  # quantity -> figure; "ms", or "p99:ms" where one unit has several
Turn = Callable[[], Sample]

RUN_DEADLINE_S = 60.0  # one whole process; the slowest peer here takes about five seconds


class Failed(Exception):
    """A measured run gave another output or status than it had to."""


class Missing(Exception):
    """A peer, or what the row needs, isn't on this machine."""


@dataclass
class Samples:
    """What one contestant measured: figures, or else ``failure`` or ``missing`` says why not."""

    name: str
    turns: list[Sample] = field(default_factory=list)
    failure: str = ""
    missing: str = ""

    @property
    def usable(self) -> bool:
        return bool(self.turns) and not self.failure and not self.missing

    def all(self, quantity: str) -> list[float]:
        return [turn[quantity] for turn in self.turns if quantity in turn]

    def median(self, quantity: str) -> float:
        return statistics.median(self.all(quantity))


def interleaved(
    contestants: Mapping[str, Turn], rounds: int, *, warm_up: bool = True
) -> dict[str, Samples]:
    """``rounds`` turns of each contestant; who begins moves on by one each round.

    With ``warm_up`` a round whose figures are thrown away goes first: caches get warm, background
    processes start, and whoever can't do it at all drops out.
    """
    results = {name: Samples(name) for name in contestants}
    names = list(contestants)
    for number in range(rounds + warm_up):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            result = results[name]
            if result.failure or result.missing:
                continue
            try:
                sample = contestants[name]()
            except Missing as exc:
                result.missing = str(exc)
            except Failed as exc:
                result.failure = str(exc)
            except (OSError, subprocess.SubprocessError) as exc:
                result.failure = f"{type(exc).__name__}: {exc}"
            else:
                if number or not warm_up:
                    result.turns.append(sample)
    return results


def percentile(values: Sequence[float], fraction: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * fraction))]


def run_checked(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdout: bytes | None = b"",
    stderr: bytes | None = None,
    status: int = 0,
    deadline_s: float = RUN_DEADLINE_S,
) -> tuple[float, bytes]:
    """Run a whole process with stdin at end of file: seconds from start to reaped, and its stdout.

    Raises:
        Failed: another status, another stdout or stderr (None: any), or no end by the deadline.
    """
    begun = time.perf_counter()
    with subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            out, err = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed(f"no end after {deadline_s:.0f} s: {brief(argv)}") from None
        elapsed = time.perf_counter() - begun
    if process.returncode != status:
        what = f"status {process.returncode}, not {status}"
        raise Failed(f"{what}: {brief(argv)}: {tail(err or out)}")
    if stdout is not None and out != stdout:
        raise Failed(f"stdout {tail(out)!r}, not {tail(stdout)!r}: {brief(argv)}")
    if stderr is not None and err != stderr:
        raise Failed(f"stderr {tail(err)!r}, not {tail(stderr)!r}: {brief(argv)}")
    return elapsed, out


def whole_process(argv: Sequence[str], env: Mapping[str, str]) -> Sample:
    """A turn: milliseconds of a silent, successful process from start to reaped."""
    elapsed, _ = run_checked(argv, env)
    return {"ms": elapsed * 1000}


def brief(argv: Sequence[str], at_most: int = 100) -> str:
    text = " ".join(argv)
    return text if len(text) <= at_most else text[: at_most - 3] + "..."


def tail(data: bytes, at_most: int = 120) -> str:
    text = " ".join(data.decode(errors="replace").split())
    return text if len(text) <= at_most else "..." + text[-at_most:]
