"""What is told of a batch job that runs. Knows no batch system."""

from __future__ import annotations

from gshell.lrms.base import State
from gshell.model.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class BatchJob(Record):
    """Somebody's; what is not told is empty or None."""

    id: str
    """Of this one alone, and what it is asked after by."""
    state: State
    user: str = ""
    name: str = ""
    word: str = ""
    """Its state as the batch system says it, and why it waits."""
    hosts: tuple[str, ...] = ()
    """The one where the script runs first."""
    outputs: tuple[str, ...] = ()
    """Absolute paths of what it prints: stdout's, then stderr's if that is another."""
    code: int | None = None
    """How it ended, or is just ending; above 128 a signal's."""
    several: tuple[str, ...] = ()
    """What was asked after is these: an array's tasks, a job's unlike components."""
    began: float | None = None
    """Seconds since the epoch, where that is told; of an ended one, of what ``code`` is of."""


def outputs(*paths: str) -> tuple[str, ...]:
    """Of stdout and stderr: those that are files."""
    good = [path for path in paths if path.startswith("/") and path != "/dev/null"]
    return tuple(dict.fromkeys(good))


def under(folder: str, path: str) -> str:
    return path if path.startswith("/") or not path else f"{folder.rstrip('/')}/{path}"


def filled(path: str, value: Callable[[str], str | None]) -> str:
    """A file name's patterns, ``%j``, ``%5j``: what is not known stays."""
    import re

    def one(found: re.Match[str]) -> str:
        text = value(found[2])
        return found[0] if text is None else text.zfill(int(found[1] or 0))

    return re.sub(r"%(\d{0,2})([A-Za-z%])", one, path)
