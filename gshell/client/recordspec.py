"""What is to be recorded, and where. Values only."""

from __future__ import annotations

from gshell.model.record import Record


class RecordSpec(Record):
    """Asked for on the command line."""

    file: str
    """An absolute path; ``%j`` is the job's id, ``%r`` a rank's number: a file for each."""
    input: bool = False
    """What is typed, too."""
    version: int = 2
    append: bool = False
    overwrite: bool = False
    history: bool = False
    """What came before we did, at its own times."""
    told: bool = False
    """Where it is, is said at the end, whoever reads it."""
